//! Programs that die: their peers hear of it, the region loses nothing, and everybody else goes on.

use std::time::Duration;

use shunt_tests::harness::Case;
use shunt_tests::program::{Program, eventually};
use shunt_tests::proof::Before;
use shunt_tests::rig::{SERVER_ADDRESS, Side};
use shunt_tests::stage::{Placement, Stage};
use shunt_tests::{Outcome, ensure};

use crate::nginx::{Nginx, PORT, signal};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "killed_in_a_transfer",
        placements: Placement::EVERY,
        limit_seconds: 90,
        run: killed_in_a_transfer,
    },
    Case {
        name: "killed_again_and_again",
        placements: Placement::EVERY,
        limit_seconds: 90,
        run: killed_again_and_again,
    },
    Case {
        name: "data_sent_before_exit_arrives",
        placements: Placement::EVERY,
        limit_seconds: 40,
        run: sent_before_exit,
    },
    Case { name: "nginx_worker_killed", placements: Placement::EVERY, limit_seconds: 40, run: worker_killed },
];

const STREAM: &str = include_str!("stream.py");
const SETTLES: Duration = Duration::from_secs(5);
const MIDWAY: Duration = Duration::from_secs(10);
/// The peer of a program that has ended must hear of it within this. A second is much; a busy machine gets more.
const HEARS: Duration = Duration::from_secs(5);

/// Holds the region open on each accelerated side, so that its counters can be compared before and after.
fn hold_region_open(stage: &Stage) -> Outcome<Vec<Program>> {
    let idle = "import socket, time; s = socket.create_server(('0.0.0.0', 9)); print('idle', flush=True); time.sleep(1000)";
    let mut held = Vec::new();
    for side in Side::BOTH {
        if stage.placement.accelerates(side) {
            let program = stage.start(&format!("idle-{side:?}"), side, &["/usr/bin/python3", "-c", idle])?;
            ensure!(
                eventually(MIDWAY, || program.printed().contains("idle")),
                "no idle program: {}",
                program.complained()
            );
            held.push(program);
        }
    }
    Ok(held)
}

/// Starts the listening end of a stream, then the connecting one, and returns (server, client).
fn stream(
    stage: &Stage,
    name: &str,
    port: u16,
    serves: &str,
    client: &str,
    seconds: u32,
) -> Outcome<(Program, Program)> {
    let script = stage.write("stream.py", STREAM)?.to_string_lossy().into_owned();
    let (port_text, seconds) = (port.to_string(), seconds.to_string());
    let words = |role, action| {
        ["/usr/bin/python3", &script, role, action, SERVER_ADDRESS, &port_text, "--seconds", &seconds]
    };
    let server = stage.serve(&format!("{name}-server"), &words("listen", serves), port)?;
    let client = stage.client(&format!("{name}-client"), &words("connect", client))?;
    Ok((server, client))
}

/// All four: the sender and the receiver, at the server and at the client. Beside each a stream of other programs goes
/// on, whose bytes are checked to the last.
fn killed_in_a_transfer(stage: &Stage) -> Outcome {
    let _held = hold_region_open(stage)?;
    let before = (stage.look(Side::Server)?, stage.look(Side::Client)?);
    let rounds = [
        ("send", "receive", Side::Server),
        ("send", "receive", Side::Client),
        ("receive", "send", Side::Server),
        ("receive", "send", Side::Client),
    ];
    for (round, (serves, client, victim)) in rounds.into_iter().enumerate() {
        let port = 7100 + 10 * round as u16;
        let name = format!("{victim:?}-that-{}s", if victim == Side::Server { serves } else { client });
        let bystanders = stream(stage, &format!("beside-{name}"), port + 1, "echo", "ask", 2)?;
        kill_one(stage, &name, port, (serves, client), victim).map_err(|why| format!("{name}: {why}"))?;
        finish(bystanders).map_err(|why| format!("beside {name}: {why}"))?;
        settled(&before).map_err(|why| format!("after {name} was killed: {why}"))?;
    }
    Ok(())
}

fn kill_one(stage: &Stage, name: &str, port: u16, actions: (&str, &str), victim: Side) -> Outcome {
    let (server, client) = stream(stage, name, port, actions.0, actions.1, 60)?;
    let (mut killed, survivor) = match victim {
        Side::Server => (server, client),
        Side::Client => (client, server),
    };
    ensure!(eventually(MIDWAY, || killed.printed().contains("midway")), "the transfer does not get going");
    kill(&mut killed)?;
    ensure!(
        eventually(HEARS, || survivor.printed().contains("ended")),
        "the peer did not hear of it within {} seconds",
        HEARS.as_secs()
    );
    survivor.succeed(SETTLES)?;
    Ok(())
}

/// The kernel may take its time to end a process on a busy machine: that is not what is looked at here.
fn kill(program: &mut Program) -> Outcome {
    program.signal(libc::SIGKILL);
    ensure!(eventually(MIDWAY, || !program.is_running()), "a killed program does not end");
    Ok(())
}

/// A stream that nothing happened to: both ends finish, with every byte right.
fn finish((server, client): (Program, Program)) -> Outcome {
    let ended = client.succeed(Duration::from_secs(20))?;
    ensure!(
        ended.stdout.contains("ended cleanly"),
        "the client of another stream was disturbed{}",
        ended.said()
    );
    let ended = server.succeed(SETTLES)?;
    ensure!(
        ended.stdout.contains("ended cleanly"),
        "the server of another stream was disturbed{}",
        ended.said()
    );
    Ok(())
}

fn settled(before: &(Before, Before)) -> Outcome {
    before.0.nothing_lost(SETTLES)?;
    before.1.nothing_lost(SETTLES)
}

/// A busy program is killed at whatever point it has reached, twenty times, also inside the lock of the stack.
fn killed_again_and_again(stage: &Stage) -> Outcome {
    let _held = hold_region_open(stage)?;
    let before = (stage.look(Side::Server)?, stage.look(Side::Client)?);
    let bystanders = stream(stage, "bystander", 7200, "echo", "ask", 12)?;
    for round in 0..20u16 {
        let (server, client) = stream(stage, &format!("victim{round}"), 7300 + round, "echo", "ask", 30)?;
        ensure!(
            eventually(MIDWAY, || client.printed().contains("open")),
            "round {round}: no connection{}",
            client.complained()
        );
        std::thread::sleep(Duration::from_micros(20_000 + 1_777 * u64::from(round)));
        let (mut killed, survivor) = if round % 2 == 0 { (client, server) } else { (server, client) };
        kill(&mut killed)?;
        ensure!(
            eventually(HEARS, || survivor.printed().contains("ended")),
            "round {round}: the peer did not hear of it in time"
        );
    }
    finish(bystanders)?;
    settled(&before)
}

/// What send() took is delivered, although the program has gone and the peer takes its time.
fn sent_before_exit(stage: &Stage) -> Outcome {
    const SEND: &str = "
import socket, os
s = socket.create_server(('0.0.0.0', 7400)).accept()[0]
s.setblocking(False)
sent = 0
while True:
    try: sent += s.send(bytes((sent + i) % 251 for i in range(5000)))
    except BlockingIOError: break
print('sent', sent, flush=True)
os._exit(0)
";
    const RECEIVE: &str = "
import socket, time
s = socket.create_connection(('10.99.0.1', 7400), timeout=10)
time.sleep(1.5)
got = b''
while data := s.recv(65536): got += data
print('got', len(got), all(b == i % 251 for i, b in enumerate(got)))
";
    let _held = hold_region_open(stage)?;
    let before = (stage.look(Side::Server)?, stage.look(Side::Client)?);
    let sender = stage.serve("sender", &["/usr/bin/python3", "-c", SEND], 7400)?;
    let receiver = stage.client("receiver", &["/usr/bin/python3", "-c", RECEIVE])?;
    let sent = sender.succeed(Duration::from_secs(10))?;
    let amount = sent.stdout.trim().strip_prefix("sent ").unwrap_or("nothing").to_owned();
    let got = receiver.succeed(Duration::from_secs(15))?;
    ensure!(got.stdout.trim() == format!("got {amount} True"), "sent {amount}, but {}", got.stdout.trim());
    settled(&before)
}

/// nginx's master starts another worker, and the listening socket that they share goes on.
fn worker_killed(stage: &Stage) -> Outcome {
    stage.write("index.html", "<html>served by nginx</html>\n")?;
    let nginx = Nginx::daemon(stage, 2)?;
    let url = format!("http://{SERVER_ADDRESS}:{PORT}/");
    for _ in 0..3 {
        let workers = nginx.pids()?;
        ensure!(
            workers.len() == 3,
            "a master and two workers were due, {} processes are there",
            workers.len()
        );
        signal(workers[1], libc::SIGKILL);
        ensure!(
            eventually(SETTLES, || nginx
                .pids()
                .is_ok_and(|now| now.len() == 3 && !now.contains(&workers[1]))),
            "the master starts no new worker"
        );
        std::thread::sleep(Duration::from_millis(200));
        for _ in 0..5 {
            let ended = stage
                .client("curl", &["/usr/bin/curl", "-sS", "--fail", "--max-time", "5", &url])?
                .succeed(SETTLES)?;
            ensure!(ended.stdout.contains("nginx"), "another page{}", ended.said());
        }
    }
    nginx.stop()
}
