//! Programs that a case starts: their output goes to files, they have a time limit, and they end with the case.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Outcome;

const POLL: Duration = Duration::from_millis(5);

/// A running program, killed and collected when dropped.
pub struct Program {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// What a program that has ended left behind.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// Starts `command`; what it prints goes to `NAME.out` and `NAME.err` in `directory`.
    pub fn start(name: &str, mut command: Command, directory: &Path) -> Outcome<Self> {
        let (stdout, stderr) = (directory.join(format!("{name}.out")), directory.join(format!("{name}.err")));
        let create = |path: &Path| File::create(path).map_err(|e| format!("{}: {e}", path.display()));
        command.stdin(Stdio::null()).stdout(create(&stdout)?).stderr(create(&stderr)?);
        end_with_parent(&mut command);
        let child = command.spawn().map_err(|e| format!("{name} does not start: {e}"))?;
        Ok(Program { name: name.to_owned(), child, stdout, stderr })
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the child is not collected yet, so its number still names it; `kill` touches no memory.
        unsafe { libc::kill(self.pid(), signal) };
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        read_lossy(&self.stdout)
    }

    pub fn complained(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// Waits for its end, at most so long; a program that does not end is killed and fails the case.
    pub fn wait(mut self, limit: Duration) -> Outcome<Ended> {
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    return Ok(Ended { status, stdout: self.printed(), stderr: self.complained() });
                }
                Ok(None) if Instant::now() < deadline => sleep(POLL),
                Ok(None) => {
                    return Err(format!(
                        "{} did not end within {} s{}",
                        self.name,
                        limit.as_secs(),
                        self.said()
                    ));
                }
                Err(e) => return Err(format!("waiting for {}: {e}", self.name)),
            }
        }
    }

    /// Waits for its end, which must be a success.
    pub fn succeed(self, limit: Duration) -> Outcome<Ended> {
        let name = self.name.clone();
        let ended = self.wait(limit)?;
        if ended.status.success() {
            return Ok(ended);
        }
        Err(format!("{name} failed ({}){}", ended.status, ended.said()))
    }

    fn said(&self) -> String {
        last_lines(&self.printed(), &self.complained())
    }
}

impl Ended {
    pub fn said(&self) -> String {
        last_lines(&self.stdout, &self.stderr)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A case that is killed takes its programs with it.
fn end_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec only the async-signal-safe prctl is called.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

/// Repeats `probe` until it is true; `false` when it is not within the limit.
pub fn eventually(limit: Duration, mut probe: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !probe() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(POLL);
    }
    true
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn last_lines(stdout: &str, stderr: &str) -> String {
    let mut text = String::new();
    for (label, stream) in [("stdout", stdout), ("stderr", stderr)] {
        let lines: Vec<&str> = stream.lines().collect();
        for line in &lines[lines.len().saturating_sub(8)..] {
            text.push_str(&format!("\n    {label}: {line}"));
        }
    }
    text
}
