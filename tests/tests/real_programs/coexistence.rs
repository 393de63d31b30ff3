//! The kernel keeps what shunt does not take: plain servers beside accelerated ones, ping, and plain clients of an
//! accelerated server.

use std::time::Duration;

use shunt_tests::harness::Case;
use shunt_tests::program::Program;
use shunt_tests::proof::AtLeast;
use shunt_tests::rig::{SERVER_ADDRESS, Side};
use shunt_tests::stage::{Placement, Stage};
use shunt_tests::{Outcome, ensure};

use crate::nginx::{Nginx, PORT};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "plain_server_and_ping_beside_shunt",
        placements: Placement::EVERY,
        limit_seconds: 40,
        run: coexist,
    },
    Case { name: "dual_listen", placements: Placement::EVERY, limit_seconds: 40, run: dual_listen },
    Case {
        name: "port_taken_by_a_plain_server",
        placements: Placement::EVERY,
        limit_seconds: 40,
        run: port_conflict,
    },
];

const PLAIN_PORT: u16 = 8081;
const LIMIT: Duration = Duration::from_secs(10);

/// One device, one address: port 8080 is shunt's, port 8081 and ICMP are the kernel's.
fn coexist(stage: &Stage) -> Outcome {
    stage.write("index.html", "<html>served by nginx</html>\n")?;
    std::fs::create_dir(stage.path("plain")).map_err(|e| e.to_string())?;
    stage.write("plain/index.html", "<html>served by python</html>\n")?;
    let nginx = Nginx::daemon(stage, 1)?;
    let serve = ["/usr/bin/python3", "-m", "http.server", "8081", "--bind", SERVER_ADDRESS, "-d", "plain"];
    let _plain = Program::start("plain-server", stage.plain(Side::Server, &serve), stage.directory())?;
    stage.await_listener(PLAIN_PORT, || true)?;

    let least = AtLeast { connections: 5, ..AtLeast::default() };
    stage.proving(least, least, || {
        (0..5)
            .try_for_each(|_| fetch(stage, stage.command(Side::Client, &curl(SERVER_ADDRESS, PORT)), "nginx"))
    })?;
    for _ in 0..5 {
        fetch(stage, stage.command(Side::Client, &curl(SERVER_ADDRESS, PLAIN_PORT)), "python")?;
        fetch(stage, stage.plain(Side::Client, &curl(SERVER_ADDRESS, PLAIN_PORT)), "python")?;
    }
    ping(stage)?;
    // And it is shunt's port still.
    fetch(stage, stage.command(Side::Client, &curl(SERVER_ADDRESS, PORT)), "nginx")?;
    nginx.stop()
}

fn ping(stage: &Stage) -> Outcome {
    let words = ["/usr/bin/ping", "-c", "3", "-i", "0.2", "-W", "1", SERVER_ADDRESS];
    let ended =
        Program::start("ping", stage.plain(Side::Client, &words), stage.directory())?.succeed(LIMIT)?;
    ensure!(ended.stdout.contains(" 0% packet loss"), "ping loses answers{}", ended.said());
    Ok(())
}

/// An accelerated server is there for plain clients of its own host too, by either address, and for accelerated ones.
fn dual_listen(stage: &Stage) -> Outcome {
    stage.write("index.html", "<html>served by nginx</html>\n")?;
    let nginx = Nginx::daemon(stage, 1)?;
    for _ in 0..3 {
        for address in ["127.0.0.1", SERVER_ADDRESS] {
            fetch(stage, stage.plain(Side::Server, &curl(address, PORT)), "nginx")?;
            fetch(stage, stage.command(Side::Server, &curl(address, PORT)), "nginx")?;
        }
        fetch(stage, stage.command(Side::Client, &curl(SERVER_ADDRESS, PORT)), "nginx")?;
    }
    nginx.stop()
}

/// Nobody takes a port that the kernel gave to another: bind fails as it would without shunt.
fn port_conflict(stage: &Stage) -> Outcome {
    let serve = ["/usr/bin/python3", "-m", "http.server", "8081"];
    let _plain = Program::start("plain-server", stage.plain(Side::Server, &serve), stage.directory())?;
    stage.await_listener(PLAIN_PORT, || true)?;
    let second = stage.start("second-server", Side::Server, &serve)?.wait(LIMIT)?;
    ensure!(!second.status.success(), "two servers hold the same port");
    ensure!(
        second.stderr.contains("Address already in use"),
        "another error than EADDRINUSE{}",
        second.said()
    );
    fetch(stage, stage.command(Side::Client, &curl(SERVER_ADDRESS, PLAIN_PORT)), "Directory listing")
}

fn curl(address: &str, port: u16) -> Vec<&'static str> {
    let url: &'static str = Box::leak(format!("http://{address}:{port}/").into_boxed_str());
    vec!["/usr/bin/curl", "-sS", "--fail", "--max-time", "5", url]
}

fn fetch(stage: &Stage, command: std::process::Command, expected: &str) -> Outcome {
    let ended = Program::start("curl", command, stage.directory())?.succeed(LIMIT)?;
    ensure!(ended.stdout.contains(expected), "another page than the one of {expected}{}", ended.said());
    Ok(())
}
