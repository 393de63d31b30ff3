//! A short run of the fuzzer, in the build that traps overflow as well.

#[test]
fn ten_thousand_hostile_inputs_break_nothing() {
    let mut world = 0;
    let report = fuzz::run(7, 0, 10_000, |number| world = number);
    let report = report.unwrap_or_else(|broken| panic!("{broken}"));
    assert!(report.segments_in > 10_000 && report.bytes_read > 0 && report.out_of_order > 0, "{report:?}");
}

/// Worlds in which something was found once: seed and number.
const FOUND: [(u64, u64); 2] = [(202, 15_394), (204, 39_905)];

#[test]
fn what_was_found_once_stays_mended() {
    for (seed, world) in FOUND {
        if let Err(broken) = fuzz::run(seed, world, 48, |_| {}) {
            panic!("{broken}");
        }
    }
}
