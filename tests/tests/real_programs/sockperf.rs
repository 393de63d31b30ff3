//! sockperf's ping-pong over TCP, blocking and non-blocking.

use std::time::Duration;

use shunt_tests::harness::Case;
use shunt_tests::proof::AtLeast;
use shunt_tests::rig::SERVER_ADDRESS;
use shunt_tests::stage::{Placement, Stage};
use shunt_tests::{Outcome, ensure};

pub(crate) const CASES: &[Case] = &[
    Case { name: "sockperf_ping_pong", placements: Placement::EVERY, limit_seconds: 40, run: blocking },
    Case {
        name: "sockperf_ping_pong_nonblocked",
        placements: Placement::EVERY,
        limit_seconds: 40,
        run: nonblocked,
    },
];

fn blocking(stage: &Stage) -> Outcome {
    ping_pong(stage, &[])
}

fn nonblocked(stage: &Stage) -> Outcome {
    ping_pong(stage, &["--nonblocked"])
}

fn ping_pong(stage: &Stage, mode: &[&str]) -> Outcome {
    let common = ["--tcp", "-i", SERVER_ADDRESS, "-p", "11111"];
    let server: Vec<&str> =
        ["/usr/bin/sockperf", "server"].iter().chain(&common).chain(mode).copied().collect();
    let _server = stage.serve("sockperf-server", &server, 11111)?;
    // How many is a matter of speed, which a busy machine has not.
    let least = AtLeast { connections: 1, segments_in: 20, segments_out: 20 };
    stage.proving(least, least, || {
        let client = ["/usr/bin/sockperf", "ping-pong"].iter().chain(&common).chain(mode).copied();
        let client: Vec<&str> = client.chain(["-t", "1", "-m", "64"]).collect();
        let ended = stage.client("sockperf", &client)?.succeed(Duration::from_secs(20))?;
        ensure!(ended.stdout.contains("percentile 50.000"), "sockperf measured nothing{}", ended.said());
        let clean = "# dropped messages = 0; # duplicated messages = 0; # out-of-order messages = 0";
        ensure!(ended.stdout.contains(clean), "sockperf lost messages{}", ended.said());
        Ok(())
    })
}
