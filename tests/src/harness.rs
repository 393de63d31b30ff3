//! Runs the cases one after another, each in a rig of its own and in a process of its own, so that neither a hang nor an
//! abort of one touches the next.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::program::Program;
use crate::rig::{Rig, shunt_binary};
use crate::stage::{Placement, Stage};
use crate::{Outcome, ensure};

/// One case, run once for each of its placements.
pub struct Case {
    pub name: &'static str,
    pub placements: &'static [Placement],
    /// After so many seconds it counts as failed and is ended.
    pub limit_seconds: u64,
    pub run: fn(&Stage) -> Outcome,
}

/// The command line: words that select cases by a part of their name (`redis`, `curl/both`), or `--list`. The `wired` ones
/// get a rig with a middle.
pub fn main(plain: &[&[Case]], wired: &[&[Case]]) -> ExitCode {
    let cases: Vec<&Case> = plain.iter().chain(wired).copied().flatten().collect();
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = words.as_slice()
        && flag == "--one"
    {
        return run_one(&cases, name);
    }
    let selected: Vec<(&Case, Placement)> = cases
        .iter()
        .flat_map(|&case| case.placements.iter().map(move |&placement| (case, placement)))
        .filter(|&(case, placement)| selects(&words, &full_name(case, placement)))
        .collect();
    if words.iter().any(|word| word == "--list") {
        selected.iter().for_each(|&(case, placement)| println!("{}", full_name(case, placement)));
        return ExitCode::SUCCESS;
    }
    if let Err(why) = prerequisites(&selected) {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    let is_wired = |case: &Case| wired.iter().copied().flatten().any(|wired| wired.name == case.name);
    run_all(&selected, is_wired)
}

fn selects(words: &[String], name: &str) -> bool {
    let mut parts = words.iter().filter(|word| !word.starts_with("--")).peekable();
    parts.peek().is_none() || parts.any(|part| name.contains(part.as_str()))
}

fn full_name(case: &Case, placement: Placement) -> String {
    format!("{}/{}", case.name, placement.name())
}

fn prerequisites(selected: &[(&Case, Placement)]) -> Outcome {
    // SAFETY: geteuid takes nothing and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    ensure!(is_root, "the real programs need root and the rig: run scripts/test.sh as root");
    let shunt = shunt_binary();
    let needed = selected.iter().any(|&(_, placement)| placement != Placement::Kernel);
    ensure!(
        !needed || (shunt.exists() && shunt.with_file_name("libshunt.so").exists()),
        "{} and libshunt.so beside it are missing: run scripts/test.sh, or cargo build --release",
        shunt.display()
    );
    ensure!(!selected.is_empty(), "no case has such a name: --list shows them");
    Ok(())
}

fn run_all(selected: &[(&Case, Placement)], is_wired: impl Fn(&Case) -> bool) -> ExitCode {
    let prefix = std::env::var("RIG").unwrap_or_else(|_| format!("shunt-test-{}", std::process::id()));
    let rig = Rig::named(&prefix);
    let began = Instant::now();
    let mut failed = Vec::new();
    for &(case, placement) in selected {
        let name = full_name(case, placement);
        let started = Instant::now();
        let rig = if is_wired(case) { rig.with_middle() } else { rig.clone() };
        let outcome = in_own_process(&rig, case, &name);
        let took = started.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => println!("ok      {name} ({took:.1} s)"),
            Err(why) => {
                println!("FAILED  {name} ({took:.1} s): {why}");
                failed.push(name);
            }
        }
    }
    for name in &failed {
        println!("failed: {name}");
    }
    println!("real programs: {} s", began.elapsed().as_secs());
    println!("{} passed, {} failed", selected.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The rig belongs to this side of the process boundary: it goes down whatever the case did.
fn in_own_process(rig: &Rig, case: &Case, name: &str) -> Outcome {
    let _raised = rig.raise()?;
    let this = std::env::current_exe().map_err(|e| format!("where this program lies: {e}"))?;
    let mut command = Command::new(this);
    command.args(["--one", name]).env("RIG", rig.prefix());
    let files = CaseFiles::create(rig)?;
    let case_process = Program::start("case", command, &files.0)?;
    let ended = case_process.wait(Duration::from_secs(case.limit_seconds))?;
    if ended.status.success() {
        return Ok(());
    }
    let why = ended.stdout.trim();
    if why.is_empty() {
        Err(format!("the case itself broke ({}){}", ended.status, ended.said()))
    } else {
        Err(why.to_owned())
    }
}

/// Where a case's files lie, also those of a case that was ended: gone when the value goes.
struct CaseFiles(PathBuf);

impl CaseFiles {
    fn create(rig: &Rig) -> Outcome<Self> {
        let directory = Stage::directory_for(rig);
        let _ = fs::remove_dir_all(&directory);
        // Readable by all: servers drop their privileges.
        fs::create_dir_all(&directory)
            .and_then(|()| fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)))
            .map_err(|e| format!("{}: {e}", directory.display()))?;
        Ok(CaseFiles(directory))
    }
}

impl Drop for CaseFiles {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run_one(cases: &[&Case], name: &str) -> ExitCode {
    let wanted = cases
        .iter()
        .flat_map(|&case| case.placements.iter().map(move |&placement| (case, placement)))
        .find(|&(case, placement)| full_name(case, placement) == name);
    let Some((case, placement)) = wanted else {
        println!("no such case: {name}");
        return ExitCode::FAILURE;
    };
    let stage = Stage::new(Rig::named(&std::env::var("RIG").unwrap_or_default()), placement);
    let outcome = (case.run)(&stage).map_err(|why| format!("{why}{}", stage.complaints()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}
