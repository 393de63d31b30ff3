//! `fuzz --runs N --seed S [--world W]`: W starts at that world, to repeat what went wrong in it.

use std::sync::atomic::{AtomicU64, Ordering};

static WORLD: AtomicU64 = AtomicU64::new(0);

fn main() {
    let (mut runs, mut seed, mut world) = (100_000, 1, 0);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().and_then(|v| v.parse().ok());
        match (arg.as_str(), value) {
            ("--runs", Some(n)) => runs = n,
            ("--seed", Some(n)) => seed = n,
            ("--world", Some(n)) => world = n,
            _ => {
                eprintln!("usage: fuzz [--runs N] [--seed N] [--world N]");
                std::process::exit(2);
            }
        }
    }
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        eprintln!("repeat with: fuzz --runs 48 --seed {seed} --world {}", WORLD.load(Ordering::Relaxed));
    }));
    std::thread::spawn(move || watch(seed));
    let began = std::time::Instant::now();
    match fuzz::run(seed, world, runs, |number| WORLD.store(number, Ordering::Relaxed)) {
        Ok(report) => {
            println!("{report:#?}");
            println!("{:.1} s; 1 passed; 0 failed", began.elapsed().as_secs_f64());
        }
        Err(broken) => {
            println!("FAILED: seed {seed}, {broken}");
            println!("0 passed; 1 failed");
            std::process::exit(1);
        }
    }
}

/// A world that takes this long hangs.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

fn watch(seed: u64) {
    loop {
        let before = WORLD.load(Ordering::Relaxed);
        std::thread::sleep(PATIENCE);
        if WORLD.load(Ordering::Relaxed) == before {
            println!("FAILED: a world hangs; repeat with: fuzz --runs 48 --seed {seed} --world {before}");
            println!("0 passed; 1 failed");
            std::process::exit(1);
        }
    }
}
