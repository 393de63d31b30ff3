//! The two namespaces, raised by `scripts/rig.sh` and taken down when the value goes.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;

/// The addresses that `scripts/rig.sh` gives to the two sides.
pub const SERVER_ADDRESS: &str = "10.99.0.1";
pub const CLIENT_ADDRESS: &str = "10.99.0.2";
/// The device that both sides have.
pub const DEVICE: &str = "veth0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Server,
    Client,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Server, Side::Client];

    fn letter(self) -> char {
        match self {
            Side::Server => 'a',
            Side::Client => 'b',
        }
    }
}

/// Names one rig. Cloning the name does not raise another; only [`RaisedRig`] owns it.
#[derive(Clone, Debug)]
pub struct Rig {
    prefix: String,
    has_middle: bool,
}

impl Rig {
    pub fn named(prefix: &str) -> Self {
        Rig { prefix: prefix.to_owned(), has_middle: false }
    }

    /// The same, but when it is raised a third namespace lies between the two: see `impair`.
    pub fn with_middle(&self) -> Self {
        Rig { has_middle: true, ..self.clone() }
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn namespace(&self, side: Side) -> String {
        format!("{}-{}", self.prefix, side.letter())
    }

    pub fn command(&self, side: Side, program: impl AsRef<std::ffi::OsStr>) -> Command {
        command_inside(&self.namespace(side), program)
    }

    /// The same in the namespace between the two.
    pub fn command_in_the_middle(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        command_inside(&format!("{}-m", self.prefix), program)
    }

    pub fn raise(&self) -> Outcome<RaisedRig> {
        self.script("up")?;
        Ok(RaisedRig { rig: self.clone() })
    }

    fn script(&self, verb: &str) -> Outcome {
        let output = Command::new(root_dir().join("scripts/rig.sh"))
            .arg(verb)
            .env("RIG", &self.prefix)
            .env("RIG_MIDDLE", if self.has_middle { "yes" } else { "no" })
            .output()
            .map_err(|e| format!("scripts/rig.sh does not start: {e}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("rig.sh {verb}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// A rig that is up. Going down ends every process inside, so nothing of a case outlives it.
pub struct RaisedRig {
    rig: Rig,
}

impl Drop for RaisedRig {
    fn drop(&mut self) {
        if let Err(why) = self.rig.script("down") {
            eprintln!("{why}");
        }
    }
}

/// The project's root: the parent of this package.
pub fn root_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_path_buf()
}

/// The `shunt` binary, beside which `libshunt.so` lies.
pub fn shunt_binary() -> PathBuf {
    match std::env::var_os("SHUNT_BINARY") {
        Some(path) => path.into(),
        None => root_dir().join("target/release/shunt"),
    }
}

/// `program` inside a namespace. The process that is spawned becomes the program itself, so the child's process id is the
/// program's. Not by `ip netns exec`, which gives each program mounts of its own too: one that ends then takes them down
/// before its sockets are closed, which on a busy machine takes the kernel seconds.
fn command_inside(namespace: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}")).arg(program);
    command
}
