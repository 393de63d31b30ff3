//! nginx as a daemon with two workers, under wrk: connections kept, and a new one for each request.

use std::time::Duration;

use shunt_tests::harness::Case;
use shunt_tests::proof::AtLeast;
use shunt_tests::rig::SERVER_ADDRESS;
use shunt_tests::stage::{Placement, Stage};
use shunt_tests::{Outcome, ensure};

use crate::nginx::{Nginx, PORT};

pub(crate) const CASES: &[Case] = &[
    Case { name: "wrk_keep_alive", placements: Placement::EVERY, limit_seconds: 60, run: keep_alive },
    Case {
        name: "wrk_connection_close",
        placements: Placement::EVERY,
        limit_seconds: 60,
        run: connection_close,
    },
];

fn keep_alive(stage: &Stage) -> Outcome {
    under_wrk(stage, &[], 64)
}

fn connection_close(stage: &Stage) -> Outcome {
    under_wrk(stage, &["-H", "Connection: close"], 200)
}

fn under_wrk(stage: &Stage, header: &[&str], connections: u64) -> Outcome {
    stage.write("index.html", "<html>served by nginx</html>\n")?;
    let nginx = Nginx::daemon(stage, 2)?;
    let least = AtLeast { connections, segments_in: 200, segments_out: 200 };
    stage.proving(least, least, || {
        let url = format!("http://{SERVER_ADDRESS}:{PORT}/");
        let mut words = vec!["/usr/bin/wrk", "-t", "2", "-c", "64", "-d", "3"];
        words.extend_from_slice(header);
        words.push(&url);
        let ended = stage.client("wrk", &words)?.succeed(Duration::from_secs(30))?;
        let report = &ended.stdout;
        ensure!(!report.contains("Socket errors"), "wrk: {}", ended.said());
        ensure!(!report.contains("Non-2xx"), "wrk: {}", ended.said());
        let requests = requests_of(report).ok_or_else(|| format!("wrk printed no count{}", ended.said()))?;
        ensure!(requests >= 200, "only {requests} requests in 3 s");
        Ok(())
    })?;
    nginx.stop()
}

/// "  123456 requests in 3.00s, 29.65MB read"
fn requests_of(report: &str) -> Option<u64> {
    let line = report.lines().find(|line| line.contains(" requests in "))?;
    line.split_whitespace().next()?.parse().ok()
}
