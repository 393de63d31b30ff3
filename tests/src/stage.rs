//! One case's stage: which side runs on shunt, where its files lie, and how its programs are started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::program::{Program, eventually};
use crate::proof::{AtLeast, Before};
use crate::rig::{DEVICE, Rig, Side, shunt_binary};
use crate::{Outcome, ensure};

/// Which sides run under shunt. `Kernel` proves the case itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    Kernel,
    Server,
    Client,
    Both,
}

impl Placement {
    pub const EVERY: &[Placement] =
        &[Placement::Kernel, Placement::Server, Placement::Client, Placement::Both];
    pub const SHUNT_SERVES: &[Placement] = &[Placement::Server, Placement::Both];
    pub const ACCELERATED: &[Placement] = &[Placement::Server, Placement::Client, Placement::Both];

    pub fn name(self) -> &'static str {
        match self {
            Placement::Kernel => "kernel",
            Placement::Server => "server",
            Placement::Client => "client",
            Placement::Both => "both",
        }
    }

    pub fn accelerates(self, side: Side) -> bool {
        match side {
            Side::Server => matches!(self, Placement::Server | Placement::Both),
            Side::Client => matches!(self, Placement::Client | Placement::Both),
        }
    }
}

pub struct Stage {
    pub rig: Rig,
    pub placement: Placement,
    directory: PathBuf,
}

impl Stage {
    pub fn new(rig: Rig, placement: Placement) -> Self {
        let directory = Stage::directory_for(&rig);
        Stage { rig, placement, directory }
    }

    /// The harness makes it before the case and removes it after.
    pub fn directory_for(rig: &Rig) -> PathBuf {
        std::env::temp_dir().join(format!("{}-files", rig.prefix()))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Outcome<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    /// `words` as a command of that side: under shunt where the placement says so, otherwise plain.
    pub fn command(&self, side: Side, words: &[&str]) -> Command {
        if self.placement.accelerates(side) { self.under_shunt(side, words) } else { self.plain(side, words) }
    }

    pub fn under_shunt(&self, side: Side, words: &[&str]) -> Command {
        let mut command = self.rig.command(side, shunt_binary());
        command.args(["run", "--dev", DEVICE, "--"]).args(words).current_dir(&self.directory);
        command
    }

    /// The name of Debian's program is looked up on the fixed path: another python or curl first on PATH is not it.
    pub fn plain(&self, side: Side, words: &[&str]) -> Command {
        let mut command = self.rig.command(side, "env");
        command.arg("--").args(words).current_dir(&self.directory);
        command
    }

    pub fn start(&self, name: &str, side: Side, words: &[&str]) -> Outcome<Program> {
        Program::start(name, self.command(side, words), &self.directory)
    }

    /// Starts a server and waits until its port is open. A listener under shunt holds its port in the kernel too.
    pub fn serve(&self, name: &str, words: &[&str], port: u16) -> Outcome<Program> {
        let mut server = self.start(name, Side::Server, words)?;
        self.await_listener(port, || server.is_running())
            .map_err(|why| format!("{name}: {why}\n{}", server.complained()))?;
        Ok(server)
    }

    pub fn await_listener(&self, port: u16, mut is_running: impl FnMut() -> bool) -> Outcome {
        let open = eventually(Duration::from_secs(10), || self.listens(port) || !is_running());
        ensure!(open && self.listens(port), "nothing listens on port {port}");
        // The kernel's listener is there a moment before the region's.
        std::thread::sleep(Duration::from_millis(100));
        Ok(())
    }

    fn listens(&self, port: u16) -> bool {
        let wanted = format!(":{port:04X}");
        let table = self.rig.command(Side::Server, "cat").args(["/proc/net/tcp", "/proc/net/tcp6"]).output();
        let Ok(table) = table else { return false };
        String::from_utf8_lossy(&table.stdout).lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, state) = (words.next(), words.nth(1));
            local.is_some_and(|local| local.ends_with(&wanted)) && state == Some("0A")
        })
    }

    /// Starts a client.
    pub fn client(&self, name: &str, words: &[&str]) -> Outcome<Program> {
        self.start(name, Side::Client, words)
    }

    /// The last lines that the case's programs wrote to their standard error, for the report of a failure.
    pub fn complaints(&self) -> String {
        let mut text = String::new();
        let Ok(entries) = fs::read_dir(&self.directory) else { return text };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in
            files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "err" || kind == "log"))
        {
            let content = String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
            let lines: Vec<&str> = content.lines().collect();
            for line in &lines[lines.len().saturating_sub(5)..] {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                text.push_str(&format!("\n    {name}: {line}"));
            }
        }
        text
    }

    pub fn look(&self, side: Side) -> Outcome<Before> {
        Before::look(&self.rig, side, self.placement.accelerates(side))
    }

    /// Runs `work` and proves on both sides who carried it.
    pub fn proving(&self, server: AtLeast, client: AtLeast, work: impl FnOnce() -> Outcome) -> Outcome {
        let before = (self.look(Side::Server)?, self.look(Side::Client)?);
        work()?;
        before.0.prove(server)?;
        before.1.prove(client)
    }
}
