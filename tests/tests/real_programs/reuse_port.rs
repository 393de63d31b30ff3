//! nginx with `reuseport`: each worker has a listener of its own, and all of them get connections.

use std::collections::HashSet;
use std::time::Duration;

use shunt_tests::harness::Case;
use shunt_tests::proof::AtLeast;
use shunt_tests::rig::SERVER_ADDRESS;
use shunt_tests::stage::{Placement, Stage};
use shunt_tests::{Outcome, ensure};

use crate::nginx::{Nginx, PORT};

pub(crate) const CASES: &[Case] = &[Case {
    name: "nginx_reuseport_spreads",
    placements: Placement::EVERY,
    limit_seconds: 40,
    run: spreads,
}];

const WORKERS: u32 = 4;
const CONNECTIONS: u64 = 120;

const ASK: &str = "
import sys, urllib.request
for i in range(int(sys.argv[2])):
    with urllib.request.urlopen(sys.argv[1], timeout=20) as answer:
        print(answer.read().decode().strip())
";

fn spreads(stage: &Stage) -> Outcome {
    let server = format!("listen {PORT} reuseport; location / {{ return 200 \"$pid\\n\"; }}");
    let nginx = Nginx::with_server(stage, WORKERS, &server)?;
    let least = AtLeast { connections: CONNECTIONS, ..AtLeast::default() };
    stage.proving(least, least, || {
        let url = format!("http://{SERVER_ADDRESS}:{PORT}/");
        let words = ["/usr/bin/python3", "-c", ASK, &url, &CONNECTIONS.to_string()];
        let ended = stage.client("urllib", &words)?.succeed(Duration::from_secs(30))?;
        let workers: HashSet<_> = ended.stdout.lines().collect();
        ensure!(
            workers.len() == WORKERS as usize,
            "{} of {WORKERS} workers served{}",
            workers.len(),
            ended.said()
        );
        Ok(())
    })?;
    nginx.stop()
}
