//! iperf3 in both directions.

use std::time::Duration;

use shunt_tests::harness::Case;
use shunt_tests::proof::AtLeast;
use shunt_tests::rig::SERVER_ADDRESS;
use shunt_tests::stage::{Placement, Stage};
use shunt_tests::{Outcome, ensure};

pub(crate) const CASES: &[Case] = &[
    Case { name: "iperf3_upload", placements: Placement::EVERY, limit_seconds: 60, run: upload },
    Case { name: "iperf3_download", placements: Placement::EVERY, limit_seconds: 60, run: download },
];

const AMOUNT: u64 = 500_000_000;
/// A megabyte may still be under way when the sender says that it has sent everything.
const SEGMENTS: u64 = (AMOUNT - 1_000_000) / 1460;

fn upload(stage: &Stage) -> Outcome {
    let (receiver, sender) = ends();
    transfer(stage, &[], receiver, sender)
}

fn download(stage: &Stage) -> Outcome {
    let (receiver, sender) = ends();
    transfer(stage, &["-R"], sender, receiver)
}

/// A control connection and a data connection.
fn ends() -> (AtLeast, AtLeast) {
    let either = AtLeast { connections: 2, ..AtLeast::default() };
    (AtLeast { segments_in: SEGMENTS, ..either }, AtLeast { segments_out: SEGMENTS, ..either })
}

fn transfer(stage: &Stage, direction: &[&str], server: AtLeast, client: AtLeast) -> Outcome {
    let serving = stage.serve("iperf3-server", &["/usr/bin/iperf3", "-s", "-1", "-p", "5201"], 5201)?;
    stage.proving(server, client, || {
        let amount = AMOUNT.to_string();
        let mut words = vec!["/usr/bin/iperf3", "-c", SERVER_ADDRESS, "-p", "5201", "-n", &amount, "-f", "m"];
        words.extend_from_slice(direction);
        let ended = stage.client("iperf3", &words)?.succeed(Duration::from_secs(40))?;
        ensure!(ended.stdout.contains("iperf Done."), "iperf3 did not finish{}", ended.said());
        serving.succeed(Duration::from_secs(10))?;
        Ok(())
    })
}
