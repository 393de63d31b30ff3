//! `shunt run`: a keeper if there is none, the library into the environment, and then the program in our place.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use stack::control::Report;

use crate::background;
use crate::cli::{Run, Setup};
use crate::client::{self, Unheard};
use crate::device;
use crate::fault::{Fault, explain};
use crate::netlink::Netlink;

pub(crate) fn run(run: &Run) -> ExitCode {
    let Some((program, arguments)) = run.command.split_first() else { return ExitCode::from(2) };
    if let Err(fault) = check_device(&run.setup) {
        eprintln!("shunt: {fault}");
        return ExitCode::from(2);
    }
    let mut command = Command::new(program);
    command.args(arguments);
    match prepare(&run.setup) {
        Ok(library) => {
            command.env("LD_PRELOAD", preload(&library, env::var_os("LD_PRELOAD").as_deref()));
            command.env("SHUNT_PROFILE", run.profile.name());
        }
        // A program never fails because shunt is there.
        Err(fault) => eprintln!("shunt: {fault} (the program runs on the kernel)"),
    }
    let error = command.exec();
    eprintln!("shunt: cannot run {}: {error}", program.display());
    // As shells say it.
    ExitCode::from(if error.kind() == ErrorKind::NotFound { 127 } else { 126 })
}

/// A device that is not there is a mistake in the command, not a reason to go on without.
fn check_device(setup: &Setup) -> Result<(), Fault> {
    let Some(name) = &setup.dev else { return Ok(()) };
    let mut netlink = Netlink::open()
        .map_err(|errno| Fault::new(format!("cannot list the devices: {}", explain(errno))))?;
    device::must_exist(&mut netlink, name)
}

fn prepare(setup: &Setup) -> Result<PathBuf, Fault> {
    let library = find_library()?;
    match client::report(Report::Status) {
        Ok(report) => check_keeper(&report, setup)?,
        Err(Unheard::Absent) => background::start(setup)?,
        Err(Unheard::Refused(fault)) => return Err(fault),
    }
    Ok(library)
}

/// The keeper that is there may serve another device than the one asked for.
fn check_keeper(report: &str, setup: &Setup) -> Result<(), Fault> {
    let serves = report.lines().find_map(|line| line.strip_prefix("device ")).unwrap_or("");
    match &setup.dev {
        Some(wanted) if wanted != serves => Err(Fault::new(format!(
            "the keeper of this network namespace serves {serves}, not {wanted}: end it first (shunt stop)"
        ))),
        _ => Ok(()),
    }
}

/// Beside this binary, or in ../lib.
fn find_library() -> Result<PathBuf, Fault> {
    let binary = env::current_exe().map_err(Fault::of("cannot find the place of this program"))?;
    let directory = binary.parent().unwrap_or(Path::new("/"));
    let places = [directory.join(LIBRARY), directory.join("../lib").join(LIBRARY)];
    let found = places.iter().find(|place| place.exists()).cloned();
    found.ok_or_else(|| {
        Fault::new(format!(
            "{LIBRARY} is neither in {} nor in ../lib beside it: install it there",
            directory.display()
        ))
    })
}

/// Ours first, then what was there; not twice.
fn preload(library: &Path, before: Option<&OsStr>) -> OsString {
    let mut list = OsString::from(library);
    let Some(before) = before.filter(|before| !before.is_empty()) else { return list };
    let is_listed = before
        .as_encoded_bytes()
        .split(|byte| b": ".contains(byte))
        .any(|entry| entry == list.as_encoded_bytes());
    if is_listed {
        return before.to_owned();
    }
    list.push(":");
    list.push(before);
    list
}

const LIBRARY: &str = "libshunt.so";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_preload_is_kept_and_ours_is_not_listed_twice() {
        let library = Path::new("/opt/libshunt.so");
        let with = |before: &str| preload(library, Some(OsStr::new(before)));
        assert_eq!(preload(library, None), "/opt/libshunt.so");
        assert_eq!(with(""), "/opt/libshunt.so");
        assert_eq!(with("/a.so:/b.so"), "/opt/libshunt.so:/a.so:/b.so");
        assert_eq!(with("/a.so /opt/libshunt.so"), "/a.so /opt/libshunt.so");
    }

    #[test]
    fn a_keeper_of_another_device_is_refused() {
        let setup = |dev: Option<&str>| Setup {
            dev: dev.map(str::to_owned),
            memory: None,
            ports: None,
            allow_uid: Vec::new(),
            tcp: Vec::new(),
            generic: false,
        };
        let report = "device eth0\nprocesses 1\n";
        assert!(check_keeper(report, &setup(None)).is_ok());
        assert!(check_keeper(report, &setup(Some("eth0"))).is_ok());
        assert!(check_keeper(report, &setup(Some("eth1"))).is_err());
    }
}
