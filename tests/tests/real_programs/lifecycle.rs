//! The keeper comes with the first program, costs nothing while nothing happens, and goes without a trace.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use shunt_tests::harness::Case;
use shunt_tests::program::{Program, eventually};
use shunt_tests::proof::{AtLeast, Counters};
use shunt_tests::rig::{DEVICE, SERVER_ADDRESS, Side, shunt_binary};
use shunt_tests::stage::{Placement, Stage};
use shunt_tests::{Outcome, ensure};

use crate::nginx::{Nginx, PORT};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "idle_costs_nothing",
        placements: Placement::SHUNT_SERVES,
        limit_seconds: 40,
        run: idle_costs_nothing,
    },
    Case {
        name: "stop_and_start_again",
        placements: Placement::SHUNT_SERVES,
        limit_seconds: 60,
        run: stop_and_start,
    },
    Case {
        name: "programs_share_a_keeper",
        placements: Placement::SHUNT_SERVES,
        limit_seconds: 40,
        run: share_a_keeper,
    },
];

const LIMIT: Duration = Duration::from_secs(10);
/// The unit of /proc/PID/stat's processor times.
const TICK: Duration = Duration::from_millis(10);

fn fetch(stage: &Stage) -> Outcome {
    let url = format!("http://{SERVER_ADDRESS}:{PORT}/");
    let words = ["/usr/bin/curl", "-sS", "--fail", "--max-time", "5", &url];
    let ended = stage.client("curl", &words)?.succeed(LIMIT)?;
    ensure!(ended.stdout.contains("nginx"), "another page{}", ended.said());
    Ok(())
}

fn pids_in(stage: &Stage, side: Side) -> Outcome<Vec<i32>> {
    let output = std::process::Command::new("ip")
        .args(["netns", "pids", &stage.rig.namespace(side)])
        .output()
        .map_err(|e| format!("ip netns pids: {e}"))?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect())
}

fn keepers_in(stage: &Stage, side: Side) -> Outcome<usize> {
    let is_keeper = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = words.split(|&byte| byte == 0);
        words.next().is_some_and(|word| word.ends_with(b"shunt")) && words.next() == Some(b"keeper")
    };
    Ok(pids_in(stage, side)?.iter().filter(|pid| is_keeper(pid)).count())
}

/// Processor time that all processes of that side have used.
fn ticks_used(stage: &Stage, side: Side) -> Outcome<u64> {
    let of_process = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(") ").next().unwrap_or_default().to_owned();
        let fields: Vec<u64> = after_name.split(' ').map(|field| field.parse().unwrap_or(0)).collect();
        // utime and stime are the 14th and 15th of all, the 12th and 13th after the name.
        fields.get(11).unwrap_or(&0) + fields.get(12).unwrap_or(&0)
    };
    Ok(pids_in(stage, side)?.into_iter().map(of_process).sum())
}

/// nginx with no connection, its workers asleep in epoll_wait: neither they nor the keeper wake up to look around.
fn idle_costs_nothing(stage: &Stage) -> Outcome {
    stage.write("index.html", "<html>served by nginx</html>\n")?;
    let nginx = Nginx::daemon(stage, 2)?;
    sleep(Duration::from_millis(500));
    idle(stage, "before the first connection")?;
    for _ in 0..5 {
        fetch(stage)?;
    }
    sleep(Duration::from_millis(500));
    idle(stage, "after the last connection")?;
    nginx.stop()
}

fn idle(stage: &Stage, when: &str) -> Outcome {
    const WATCHED: Duration = Duration::from_secs(2);
    let before = ticks_used(stage, Side::Server)?;
    sleep(WATCHED);
    let used = TICK * (ticks_used(stage, Side::Server)? - before) as u32;
    ensure!(
        used <= TICK,
        "{when}: {} ms of processor time in {} s of idling",
        used.as_millis(),
        WATCHED.as_secs()
    );
    Ok(())
}

/// `shunt stop` takes the XDP program off the device and the region out of memory; the next program finds a clean place.
fn stop_and_start(stage: &Stage) -> Outcome {
    stage.write("index.html", "<html>served by nginx</html>\n")?;
    for _ in 0..3 {
        let before = stage.look(Side::Server)?;
        let nginx = Nginx::daemon(stage, 1)?;
        ensure!(has_xdp(stage)?, "no XDP program on the device while shunt serves");
        fetch(stage)?;
        before.prove(AtLeast { connections: 1, ..AtLeast::default() })?;
        nginx.stop()?;
        let binary = shunt_binary().to_string_lossy().into_owned();
        let stop = Program::start("stop", stage.plain(Side::Server, &[&binary, "stop"]), stage.directory())?;
        stop.succeed(LIMIT)?;
        ensure!(
            eventually(LIMIT, || keepers_in(stage, Side::Server) == Ok(0)),
            "the keeper stays after shunt stop"
        );
        ensure!(!has_xdp(stage)?, "the XDP program stays after shunt stop");
    }
    Ok(())
}

fn has_xdp(stage: &Stage) -> Outcome<bool> {
    let output = stage.rig.command(Side::Server, "ip").args(["link", "show", DEVICE]).output();
    let output = output.map_err(|e| format!("ip link: {e}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("prog/xdp"))
}

/// Three programs that start at once find one keeper, and each is one of its processes.
fn share_a_keeper(stage: &Stage) -> Outcome {
    let serve = |port: u16| {
        let code = format!("import socket, time; s = socket.create_server(('', {port})); time.sleep(60)");
        stage.start(&format!("server-{port}"), Side::Server, &["/usr/bin/python3", "-c", &code])
    };
    let programs = [serve(7601)?, serve(7602)?, serve(7603)?];
    for port in [7601, 7602, 7603] {
        stage.await_listener(port, || true)?;
    }
    ensure!(keepers_in(stage, Side::Server)? == 1, "{} keepers", keepers_in(stage, Side::Server)?);
    let processes = || Counters::of_region(&stage.rig, Side::Server)?.value("processes");
    ensure!(processes()? == 3, "three programs, but processes is {}", processes()?);
    drop(programs);
    ensure!(
        eventually(LIMIT, || !matches!(processes(), Ok(n) if n > 0)),
        "the programs have ended, processes is {}",
        processes()?
    );
    Ok(())
}
