//! impair DEVICE DEVICE [--name value]...: a bad wire between two devices of this network namespace, until SIGTERM.
//!
//! Says "ready", and at the end what it did, as `name value` lines.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use shunt_tests::Outcome;
use shunt_tests::impair::{OPTIONS, Relay, Wire};

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match relay(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("impair: {why}");
            ExitCode::FAILURE
        }
    }
}

fn relay(words: &[String]) -> Outcome {
    let [first, second, options @ ..] = words else {
        return Err(format!("impair DEVICE DEVICE [options]\n{OPTIONS}"));
    };
    let wire = Wire::parse(options)?;
    stop_at(libc::SIGTERM);
    stop_at(libc::SIGINT);
    wake_on_time();
    run_before_others();
    let mut relay = Relay::between([first, second], &wire)?;
    println!("ready");
    relay.run(&STOP);
    for (name, value) in relay.report() {
        println!("{name} {value}");
    }
    Ok(())
}

extern "C" fn stop(_signal: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// Without SA_RESTART: the sleep ends.
fn stop_at(signal: libc::c_int) {
    let handler: extern "C" fn(libc::c_int) = stop;
    // SAFETY: an all-zero action is a valid one; the handler does nothing but store to an atomic.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        libc::sigaction(signal, &raw const action, core::ptr::null_mut());
    }
}

/// Timers are let run 50 us late by default, which is as long as some wires.
fn wake_on_time() {
    // SAFETY: takes numbers alone.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

/// On a busy machine a millisecond of waiting for a processor would be a millisecond of wire. Only a wish.
fn run_before_others() {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: the kernel reads a live value.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const priority) };
}
