//! python3's http.server and urllib: one interpreter serves files, another fetches and hashes them.

use std::time::Duration;

use shunt_tests::harness::Case;
use shunt_tests::proof::AtLeast;
use shunt_tests::rig::SERVER_ADDRESS;
use shunt_tests::stage::{Placement, Stage};
use shunt_tests::{Outcome, ensure};

use crate::curl::noise;

pub(crate) const CASES: &[Case] = &[Case {
    name: "python_http_server_and_urllib",
    placements: Placement::EVERY,
    limit_seconds: 60,
    run: fetch_many,
}];

const FETCHES: u64 = 40;
const SIZE: usize = 1_000_000;

const FETCH: &str = "
import sys, urllib.request
url, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
expected = open(path, 'rb').read()
for i in range(count):
    with urllib.request.urlopen(url, timeout=20) as answer:
        body = answer.read()
    if body != expected:
        sys.exit(f'fetch {i}: {len(body)} bytes, not the {len(expected)} that were due, or others')
print('fetched', count)
";

fn fetch_many(stage: &Stage) -> Outcome {
    let file = stage.write("file.bin", noise(SIZE, 2))?;
    let _server = stage.serve("http-server", &["/usr/bin/python3", "-m", "http.server", "8000"], 8000)?;
    let bulk = FETCHES * SIZE as u64 / 1460;
    let server = AtLeast { connections: FETCHES, segments_out: bulk, ..AtLeast::default() };
    let client = AtLeast { connections: FETCHES, segments_in: bulk, ..AtLeast::default() };
    stage.proving(server, client, || {
        let (url, path) =
            (format!("http://{SERVER_ADDRESS}:8000/file.bin"), file.to_string_lossy().into_owned());
        let words = ["/usr/bin/python3", "-c", FETCH, &url, &path, &FETCHES.to_string()];
        let ended = stage.client("urllib", &words)?.succeed(Duration::from_secs(40))?;
        ensure!(
            ended.stdout.contains(&format!("fetched {FETCHES}")),
            "urllib did not finish{}",
            ended.said()
        );
        Ok(())
    })
}
