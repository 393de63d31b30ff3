//! Packet scripts: segments in and out, socket calls and their results, against a clock. See docs/packet-scripts.md.
//!
//!   cargo test -p stack --test scripts -- [-v] [--kernel] [FILTER]...
//!
//! runs those whose name (`group/name`) contains one of the filters; `-v` names each. `--kernel` plays them on the
//! kernel instead, in real time and as root: what a script says of Linux must be true of it. Each is played a second time with
//! the shard rebuilt after every line, as if the owner of its lock had died there: then its invariants alone are
//! looked at.

mod engine;
mod host;
mod kernel;
mod packet;
mod run;
mod script;
mod wire;
mod world;

use run::Mode;
use script::Script;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

enum Verdict {
    Passed,
    KnownGap(String),
    /// The kernel does otherwise, or cannot show it.
    LeftOut(String),
    Failed(String),
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    gaps: usize,
    left_out: usize,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|a| a == flag);
    let filters: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let paths = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts"));
    let is_wanted =
        |path: &PathBuf| filters.is_empty() || filters.iter().any(|f| name(path).contains(f.as_str()));
    let paths: Vec<PathBuf> = paths.into_iter().filter(is_wanted).collect();
    let verdicts = if has("--kernel") {
        on_kernel(&paths)
    } else {
        paths.iter().map(|path| judge(path, on_engine)).collect()
    };
    let mut groups: BTreeMap<String, Tally> = BTreeMap::new();
    for (path, verdict) in paths.iter().zip(verdicts) {
        let name = name(path);
        let tally = groups.entry(name.split('/').next().unwrap_or("").into()).or_default();
        match verdict {
            Verdict::Passed => {
                tally.passed += 1;
                if has("-v") {
                    println!("passed  {name}");
                }
            }
            Verdict::KnownGap(why) => {
                tally.gaps += 1;
                println!("gap     {name}: {why}");
            }
            Verdict::LeftOut(why) => {
                tally.left_out += 1;
                println!("left out {name}: {why}");
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
    for (group, Tally { passed, failed, gaps, left_out }) in groups {
        println!("{group:<16} passed {passed:>3}, failed {failed}, known gaps {gaps}, left out {left_out}");
    }
    let sum = |of: fn(&Tally) -> usize| groups.values().map(of).sum::<usize>();
    let failed = sum(|t| t.failed);
    println!(
        "\npacket scripts: {} passed; {failed} failed; {} known gaps; {} left out",
        sum(|t| t.passed),
        sum(|t| t.gaps),
        sum(|t| t.left_out)
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn judge(path: &Path, by: fn(&Script) -> Verdict) -> Verdict {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return Verdict::Failed(error.to_string()),
    };
    Script::parse(&text).map_or_else(|what| Verdict::Failed(format!("  {what}")), |script| by(&script))
}

fn on_engine(script: &Script) -> Verdict {
    let broken = play(script, Mode::Recovering);
    match (play(script, Mode::Engine), broken, script.gap.clone()) {
        (_, Some(broken), _) => {
            Verdict::Failed(format!("  with the shard rebuilt after each line:\n{broken}"))
        }
        (None, None, None) => Verdict::Passed,
        (Some(_), None, Some(gap)) => Verdict::KnownGap(gap),
        (Some(failure), None, None) => Verdict::Failed(failure),
        (None, None, Some(_)) => Verdict::Failed("  it passes: the line `# gap:` is no longer true".into()),
    }
}

/// Scripts mostly wait, so many are played at once, each in a thread with a namespace of its own.
fn on_kernel(paths: &[PathBuf]) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some((index, path)) = paths.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let verdict = judge(path, against_kernel);
            verdicts.lock().unwrap().insert(index, verdict);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    verdicts.into_inner().unwrap().into_values().collect()
}

const AT_ONCE: usize = 40;
const TRIES: usize = 3;
const LONGEST_ON_KERNEL: u64 = 150_000_000_000;

fn against_kernel(script: &Script) -> Verdict {
    if let Some(why) = &script.not_linux {
        return Verdict::LeftOut(why.clone());
    }
    if script.duration() > LONGEST_ON_KERNEL {
        return Verdict::LeftOut("it takes too long".into());
    }
    // A busy machine is late now and then; what is wrong is wrong each time.
    let mut failure = None;
    for _ in 0..TRIES {
        failure = play(script, Mode::Kernel);
        if failure.is_none() {
            return Verdict::Passed;
        }
    }
    failure.map_or(Verdict::Passed, Verdict::Failed)
}

fn play(script: &Script, mode: Mode) -> Option<String> {
    let played = catch_unwind(AssertUnwindSafe(|| run::run(script, mode)));
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
