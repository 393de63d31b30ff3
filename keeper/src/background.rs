//! The keeper that `shunt run` starts: off the terminal, no child of the program's, and heard until it is ready.
//!
//! run ── spawns ──> keeper --background (new session) ── spawns ──> keeper --background (goes on alone)
//!                        └── ends at once                                └── one line on the pipe: ready, or why not

use std::env;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::stdio::dup2_stdout;

use crate::cli::Setup;
use crate::client;
use crate::fault::Fault;
use crate::keep::{self, Begun};

/// Starts a keeper and waits until it answers.
pub(crate) fn start(setup: &Setup) -> Result<(), Fault> {
    let mut child = again(setup, Stdio::piped(), false)?;
    let mut line = String::new();
    let said = match child.stdout.take() {
        Some(pipe) => BufReader::new(pipe).read_line(&mut line),
        None => Ok(0),
    };
    // The one that we spawned has ended, or is about to; the keeper is its child.
    let _ = child.wait();
    said.map_err(Fault::of("cannot hear the keeper that was started"))?;
    match line.trim_end() {
        READY => Ok(()),
        "" => Err(Fault::new(
            "the keeper that was started ended without a word: try shunt keeper, which shows its errors",
        )),
        fault => Err(Fault::new(fault)),
    }
}

/// What `shunt keeper --background` does.
pub(crate) fn keep(setup: &Setup) -> Result<(), Fault> {
    if env::var_os(ALONE).is_none() {
        // A group leader cannot begin a session; nothing is lost if we are one.
        let _ = rustix::process::setsid();
        return again(setup, Stdio::inherit(), true).map(drop);
    }
    // Nobody's directory is held, so that file systems can be unmounted.
    let _ = env::set_current_dir("/");
    match begin_or_find(setup) {
        Ok(None) => {
            say(READY);
            Ok(())
        }
        Ok(Some(mut keeper)) => {
            say(READY);
            // Nobody listens any more but the kernel's log.
            keeper.run().inspect_err(|fault| drop(std::fs::write("/dev/kmsg", format!("shunt: {fault}\n"))))
        }
        Err(fault) => {
            say(&fault.to_string());
            Ok(())
        }
    }
}

/// None if another keeper was quicker: then as soon as that one answers.
fn begin_or_find(setup: &Setup) -> Result<Option<Box<keep::Keeper>>, Fault> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match keep::begin(setup, true)? {
            Begun::Keeper(keeper) => return Ok(Some(keeper)),
            Begun::AnotherIsThere if client::is_there() => return Ok(None),
            Begun::AnotherIsThere if Instant::now() > deadline => {
                return Err(Fault::new(
                    "a keeper is there but does not answer: end it (shunt stop), and try again",
                ));
            }
            // It is being set up, or about to end.
            Begun::AnotherIsThere => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn again(setup: &Setup, output: Stdio, alone: bool) -> Result<Child, Fault> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("shunt").arg("keeper").arg("--background").args(setup.words());
    // The keeper must not run on itself.
    command.env_remove("LD_PRELOAD");
    if alone {
        command.env(ALONE, "1");
    }
    command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .map_err(Fault::of("cannot start a keeper"))
}

/// The line that `start` waits for. After it nobody listens any more.
fn say(line: &str) {
    let mut output = io::stdout();
    // A reader who has gone need not be told.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
    if let Ok(null) = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = dup2_stdout(&null);
    }
}

const READY: &str = "ready";
/// Set for the one that goes on alone.
const ALONE: &str = "SHUNT_KEEPER_ALONE";
/// For another keeper to be set up, or to end.
const PATIENCE: Duration = Duration::from_secs(10);
