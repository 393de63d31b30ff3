//! Transfers over a wire that loses, damages, doubles and shuffles: every byte arrives, in order, once.

use std::time::Duration;

use shunt_tests::harness::Case;
use shunt_tests::impair::Wire;
use shunt_tests::program::{Program, eventually};
use shunt_tests::proof::Counters;
use shunt_tests::rig::{SERVER_ADDRESS, Side};
use shunt_tests::stage::{Placement, Stage};
use shunt_tests::{Outcome, ensure};

/// Over a rig with a middle, where the wire is.
pub(crate) const CASES: &[Case] = &[
    Case { name: "wire_that_loses", placements: Placement::EVERY, limit_seconds: 90, run: losing },
    Case { name: "wire_that_shuffles", placements: Placement::EVERY, limit_seconds: 90, run: shuffling },
];

const LIMIT: Duration = Duration::from_secs(60);
const PORT: u16 = 7000;
/// As TCP_INFO shows it.
const NO_THRESHOLD: u64 = i32::MAX as u64;
const DAMAGES: [&str; 4] = ["dropped", "corrupted", "duplicated", "reordered"];

fn losing(stage: &Stage) -> Outcome {
    let wire = Wire {
        seed: 5,
        loss: 0.02,
        corrupt: 0.01,
        duplicate: 0.01,
        reorder: 0.01,
        round_trip_ms: 4.0,
        megabits: 100.0,
        ..Wire::default()
    };
    transfer_over(stage, &wire, 1_000_000, &DAMAGES)
}

/// What comes late here comes later than what is lost is noticed.
fn shuffling(stage: &Stage) -> Outcome {
    let wire = Wire {
        seed: 6,
        corrupt: 0.002,
        duplicate: 0.1,
        reorder: 0.1,
        round_trip_ms: 2.0,
        late_ms: 3.0,
        megabits: 100.0,
        ..Wire::default()
    };
    transfer_over(stage, &wire, 2_000_000, &["corrupted", "duplicated", "reordered"])
}

fn transfer_over(stage: &Stage, wire: &Wire, bytes: u64, damages: &[&str]) -> Outcome {
    let relay = start_relay(stage, wire)?;
    let (port, amount, seed) = (PORT.to_string(), bytes.to_string(), wire.seed.to_string());
    let transfer = env!("CARGO_BIN_EXE_transfer");
    let limit = LIMIT.as_secs().to_string();
    let receiver = stage.serve("receiver", &[transfer, "receive", &port, &seed, &limit], PORT)?;
    let sender =
        stage.client("sender", &[transfer, "send", SERVER_ADDRESS, &port, &seed, &amount, "cubic"])?;
    let received = receiver.succeed(LIMIT)?;
    ensure!(
        received.stdout.contains(&format!("bytes {bytes}\n")) && received.stdout.contains("complete 1"),
        "not everything arrived{}",
        received.said()
    );
    let sent = Counters::parse(&sender.succeed(LIMIT)?.stdout);
    // Of the algorithms there are, only the one that was asked for has found a threshold; the machine's default may be BBR.
    ensure!(sent.value("ssthresh")? < NO_THRESHOLD, "the sender did not use CUBIC, or saw no loss");
    damage_was_done(&stop_relay(relay)?, damages)?;
    Side::BOTH.into_iter().try_for_each(|side| noticed_the_damage(stage, side))
}

fn start_relay(stage: &Stage, wire: &Wire) -> Outcome<Program> {
    let mut command = stage.rig.command_in_the_middle(env!("CARGO_BIN_EXE_impair"));
    command.args(["to-a", "to-b"]).args(wire.words());
    let mut relay = Program::start("relay", command, stage.directory())?;
    let ready = eventually(LIMIT, || relay.printed().contains("ready") || !relay.is_running());
    ensure!(ready && relay.is_running(), "the relay does not start: {}", relay.complained());
    Ok(relay)
}

fn stop_relay(relay: Program) -> Outcome<Counters> {
    relay.signal(libc::SIGTERM);
    Ok(Counters::parse(&relay.succeed(LIMIT)?.stdout))
}

/// Otherwise the case shows nothing. The data goes from the client, that is from `to-b`.
fn damage_was_done(relay: &Counters, damages: &[&str]) -> Outcome {
    for damage in damages {
        let times = relay.value(&format!("to-b_{damage}"))?;
        ensure!(times > 0, "no packet was {damage}: choose another seed");
    }
    for stray in ["to-a_stray", "to-b_stray", "out_of_memory"] {
        ensure!(relay.value(stray)? == 0, "the relay lost packets by itself: {stray}");
    }
    Ok(())
}

/// The stack that should have had the segments had them, and threw the damaged ones away.
fn noticed_the_damage(stage: &Stage, side: Side) -> Outcome {
    let kernel = Counters::of_kernel(&stage.rig, side)?;
    let segments = kernel.value("InSegs")?;
    if !stage.placement.accelerates(side) {
        ensure!(segments > 0, "{side:?}: the kernel should have carried this");
        // Few packets go towards the sender: none of them need be a damaged one.
        ensure!(
            side == Side::Client || kernel.value("InCsumErrors")? > 0,
            "no segment with a wrong sum came"
        );
        return Ok(());
    }
    // A segment whose port is damaged is not ours to see: its sum tells the kernel.
    let sound = segments.saturating_sub(kernel.value("InCsumErrors")?);
    ensure!(sound == 0, "{side:?}: the kernel's TCP saw {sound} segments: not (all) accelerated");
    let region = Counters::of_region(&stage.rig, side)?;
    let damaged = region.value("tcp_bad_checksum")? + region.value("ip_bad_checksum")?;
    ensure!(side == Side::Client || damaged > 0, "no segment with a wrong sum came");
    Ok(())
}
