//! What a user can get wrong, or a machine lack: each ends in one clear line that says what to do, and a program in front
//! of which no keeper answers runs on the kernel all the same.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use shunt_tests::harness::Case;
use shunt_tests::program::{Ended, Program};
use shunt_tests::rig::{DEVICE, Side, shunt_binary};
use shunt_tests::stage::{Placement, Stage};
use shunt_tests::taken_queue::TakenQueue;
use shunt_tests::{Outcome, ensure, version};

const SHUNT: &[Placement] = &[Placement::Server];

pub(crate) const CASES: &[Case] = &[
    Case { name: "error_not_root", placements: SHUNT, limit_seconds: 30, run: not_root },
    Case { name: "error_no_af_xdp", placements: SHUNT, limit_seconds: 30, run: no_af_xdp },
    Case { name: "error_no_such_device", placements: SHUNT, limit_seconds: 30, run: no_such_device },
    Case { name: "error_driver_without_xdp", placements: SHUNT, limit_seconds: 30, run: driver_without_xdp },
    Case { name: "error_queue_taken", placements: SHUNT, limit_seconds: 30, run: queue_taken },
    Case { name: "error_memory_limit", placements: SHUNT, limit_seconds: 30, run: memory_limit },
    Case { name: "error_other_version", placements: SHUNT, limit_seconds: 30, run: other_version },
    Case { name: "error_nothing_to_run", placements: SHUNT, limit_seconds: 30, run: nothing_to_run },
];

const LIMIT: Duration = Duration::from_secs(10);

fn shunt(stage: &Stage, words: &[&str]) -> Command {
    let binary = shunt_binary().to_string_lossy().into_owned();
    let words: Vec<&str> = std::iter::once(binary.as_str()).chain(words.iter().copied()).collect();
    stage.plain(Side::Server, &words)
}

/// The keeper for the rig's device, which must refuse in one line that has all of these words.
fn keeper_refuses(stage: &Stage, command: Command, words: &[&str]) -> Outcome {
    let ended = Program::start("keeper", command, stage.directory())?.wait(LIMIT)?;
    ensure!(!ended.status.success(), "the keeper starts{}", ended.said());
    one_line(&ended, words)
}

fn one_line(ended: &Ended, words: &[&str]) -> Outcome {
    ensure!(ended.stderr.lines().count() == 1, "not one line{}", ended.said());
    ensure!(ended.stderr.starts_with("shunt: "), "a line that does not say whose it is{}", ended.said());
    for word in words {
        ensure!(ended.stderr.contains(word), "nothing of '{word}' in the line{}", ended.said());
    }
    Ok(())
}

/// Where no keeper can be, the program runs on the kernel, and one line says why.
fn program_runs_all_the_same(stage: &Stage, mut command: Command, words: &[&str]) -> Outcome {
    command.args([
        "/usr/bin/python3",
        "-c",
        "import socket; socket.create_server(('', 7500)).close(); print('ran')",
    ]);
    let ended = Program::start("program", command, stage.directory())?.succeed(LIMIT)?;
    ensure!(ended.stdout.trim() == "ran", "the program did not run{}", ended.said());
    one_line(&ended, words)
}

fn not_root(stage: &Stage) -> Outcome {
    let nobody = |words: &[&str]| {
        // The namespace is entered as root, so it is setpriv inside that gives root up.
        let binary = shunt_binary().to_string_lossy().into_owned();
        let prefix = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", &binary];
        let words: Vec<&str> = prefix.into_iter().chain(words.iter().copied()).collect();
        stage.plain(Side::Server, &words)
    };
    keeper_refuses(stage, nobody(&["keeper", "--dev", DEVICE]), &["root"])?;
    program_runs_all_the_same(stage, nobody(&["run", "--dev", DEVICE, "--"]), &["root"])
}

/// A kernel without AF_XDP answers EAFNOSUPPORT to socket(); a seccomp filter makes this one do so.
fn no_af_xdp(stage: &Stage) -> Outcome {
    let words = ["AF_XDP", "CONFIG_XDP_SOCKETS"];
    keeper_refuses(stage, without_af_xdp(shunt(stage, &["keeper", "--dev", DEVICE])), &words)?;
    program_runs_all_the_same(
        stage,
        without_af_xdp(shunt(stage, &["run", "--dev", DEVICE, "--"])),
        &["AF_XDP"],
    )
}

fn without_af_xdp(mut command: Command) -> Command {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const SKIP_UNLESS_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    let refused = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT.cast_unsigned();
    let filter = [
        step(LOAD, 0, 0), // the number of the system call
        step(SKIP_UNLESS_EQUAL, 3, libc::SYS_socket as u32),
        step(LOAD, 0, 16), // the lower half of its first argument
        step(SKIP_UNLESS_EQUAL, 1, libc::AF_XDP.cast_unsigned()),
        step(RETURN, 0, refused),
        step(RETURN, 0, libc::SECCOMP_RET_ALLOW),
    ];
    // SAFETY: between fork and exec only prctl is called, with a filter that the closure owns.
    unsafe {
        command.pre_exec(move || {
            let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0
            {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command
}

fn no_such_device(stage: &Stage) -> Outcome {
    let words = ["nosuch0", DEVICE];
    keeper_refuses(stage, shunt(stage, &["keeper", "--dev", "nosuch0"]), &words)?;
    // A slip in the command line is an error, not a reason to run without acceleration unnoticed.
    keeper_refuses(stage, shunt(stage, &["run", "--dev", "nosuch0", "--", "/bin/true"]), &words)
}

/// A bridge knows no XDP of its own: the kernel's generic one stands in, and the keeper says so.
fn driver_without_xdp(stage: &Stage) -> Outcome {
    for words in [
        &["link", "add", "plain0", "type", "bridge"][..],
        &["addr", "add", "10.97.0.1/24", "dev", "plain0"],
        &["link", "set", "plain0", "up"],
    ] {
        let status = stage.rig.command(Side::Server, "ip").args(words).status().map_err(|e| e.to_string())?;
        ensure!(status.success(), "ip {}", words.join(" "));
    }
    let mut keeper =
        Program::start("keeper", shunt(stage, &["keeper", "--dev", "plain0"]), stage.directory())?;
    let told = shunt_tests::program::eventually(LIMIT, || {
        keeper.complained().contains("generic") || !keeper.is_running()
    });
    ensure!(
        told && keeper.complained().contains("generic"),
        "it does not say that XDP is generic here: {}",
        keeper.complained()
    );
    ensure!(keeper.is_running(), "the keeper has ended: {}", keeper.complained());
    Ok(())
}

fn queue_taken(stage: &Stage) -> Outcome {
    let _taken = TakenQueue::take(&stage.rig, Side::Server)?;
    keeper_refuses(stage, shunt(stage, &["keeper", "--dev", DEVICE]), &["queue", "taken"])?;
    program_runs_all_the_same(stage, shunt(stage, &["run", "--dev", DEVICE, "--"]), &["queue", "taken"])
}

/// Locked memory is limited for whoever lacks CAP_IPC_LOCK, root or not.
fn memory_limit(stage: &Stage) -> Outcome {
    let binary = shunt_binary().to_string_lossy().into_owned();
    let limited = [
        "/usr/bin/setpriv",
        "--bounding-set=-ipc_lock,-sys_resource",
        "/usr/bin/prlimit",
        "--memlock=65536:65536",
        &binary,
        "keeper",
        "--dev",
        DEVICE,
    ];
    keeper_refuses(stage, stage.plain(Side::Server, &limited), &["memory", "ulimit -l"])
}

/// A keeper refuses a program of another version, and a program that is refused says so and runs on the kernel.
fn other_version(stage: &Stage) -> Outcome {
    let mut keeper = Program::start("keeper", shunt(stage, &["keeper", "--dev", DEVICE]), stage.directory())?;
    let mut answer = Err("no keeper".to_owned());
    shunt_tests::program::eventually(LIMIT, || {
        answer = version::answer_to_other_layout(&stage.rig, Side::Server);
        answer.is_ok() || !keeper.is_running()
    });
    let answer = answer.map_err(|why| format!("{why}: {}", keeper.complained()))?;
    ensure!(answer.errno != 0, "the keeper admits a program of another version");
    for word in ["version", "shunt stop"] {
        ensure!(answer.text().contains(word), "nothing of '{word}' in the refusal: {}", answer.text());
    }
    drop(keeper);
    version::refuse_everybody(
        &stage.rig,
        Side::Server,
        "the keeper is of another version: shunt stop, then start again",
    )?;
    program_runs_all_the_same(
        stage,
        shunt(stage, &["run", "--dev", DEVICE, "--"]),
        &["another version", "shunt stop"],
    )
}

fn nothing_to_run(stage: &Stage) -> Outcome {
    let missing = shunt(stage, &["run", "--dev", DEVICE, "--", "/no/such/program"]);
    let ended = Program::start("missing", missing, stage.directory())?.wait(LIMIT)?;
    ensure!(
        ended.status.code() == Some(127),
        "a shell would say 127, this is {}{}",
        ended.status,
        ended.said()
    );
    ensure!(ended.stderr.contains("/no/such/program"), "which program?{}", ended.said());
    Ok(())
}
