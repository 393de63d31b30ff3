//! Packet scripts: segments in and out, socket calls and their results, against a clock. See docs/packet-scripts.md.
//!
//!   cargo test -p stack --test scripts -- [-v] [FILTER]...
//!
//! runs those whose name (`group/name`) contains one of the filters; `-v` names each. Each is played a second time with
//! the shard rebuilt after every line, as if the owner of its lock had died there: then its invariants alone are
//! looked at.

mod calls;
mod packet;
mod run;
mod script;
mod wire;
mod world;

use script::Script;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

enum Verdict {
    Passed,
    KnownGap(String),
    Failed(String),
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    gaps: usize,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let names_each = args.iter().any(|a| a == "-v");
    let filters: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let mut groups: BTreeMap<String, Tally> = BTreeMap::new();
    for path in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")) {
        let name = name(&path);
        if !filters.is_empty() && !filters.iter().any(|f| name.contains(f.as_str())) {
            continue;
        }
        let group = name.split('/').next().unwrap_or("").to_string();
        let tally = groups.entry(group).or_default();
        match judge(&path) {
            Verdict::Passed => {
                tally.passed += 1;
                if names_each {
                    println!("passed  {name}");
                }
            }
            Verdict::KnownGap(why) => {
                tally.gaps += 1;
                println!("gap     {name}: {why}");
            }
            Verdict::Failed(what) => {
                tally.failed += 1;
                println!("FAILED  {name}\n{what}");
            }
        }
    }
    summary(&groups)
}

fn summary(groups: &BTreeMap<String, Tally>) -> ExitCode {
    for (group, Tally { passed, failed, gaps }) in groups {
        println!("{group:<20}{passed:>4} passed, {failed} failed, {gaps} known gaps");
    }
    let sum = |of: fn(&Tally) -> usize| groups.values().map(of).sum::<usize>();
    let failed = sum(|t| t.failed);
    println!(
        "\npacket scripts: {} passed; {failed} failed; {} known gaps",
        sum(|t| t.passed),
        sum(|t| t.gaps)
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn judge(path: &Path) -> Verdict {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return Verdict::Failed(error.to_string()),
    };
    let script = match Script::parse(&text) {
        Ok(script) => script,
        Err(what) => return Verdict::Failed(format!("  {what}")),
    };
    let failure = play(&script, false);
    let broken = play(&script, true).map(|what| format!("  with the shard rebuilt after each line:\n{what}"));
    match (failure, broken, script.gap) {
        (_, Some(broken), _) => Verdict::Failed(broken),
        (None, None, None) => Verdict::Passed,
        (Some(_), None, Some(gap)) => Verdict::KnownGap(gap),
        (Some(failure), None, None) => Verdict::Failed(failure),
        (None, None, Some(_)) => Verdict::Failed("  it passes: the line `# gap:` is no longer true".into()),
    }
}

fn play(script: &Script, is_recovering: bool) -> Option<String> {
    let played = catch_unwind(AssertUnwindSafe(|| run::run(script, is_recovering)));
    match played {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure.to_string()),
        Err(_) => Some("  the engine panicked, see above".into()),
    }
}

fn files(under: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![under.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "script") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `group/name`.
fn name(path: &Path) -> String {
    let group = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    format!("{group}/{}", path.file_stem().unwrap_or_default().to_string_lossy())
}
