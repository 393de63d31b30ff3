//! Unmodified programs from Debian's packages, in the rig, with shunt at the server, at the client, at both, and at
//! neither. Run by scripts/test.sh; by hand: `cargo test --release -p shunt-tests --test real_programs -- redis`.

mod bad_wire;
mod coexistence;
mod curl;
mod death;
mod errors;
mod iperf3;
mod lifecycle;
mod nginx;
mod python;
mod redis;
mod reuse_port;
mod sockperf;
mod wrk;

use std::process::ExitCode;

use shunt_tests::harness;

fn main() -> ExitCode {
    let plain = &[
        curl::CASES,
        wrk::CASES,
        redis::CASES,
        iperf3::CASES,
        sockperf::CASES,
        python::CASES,
        coexistence::CASES,
        death::CASES,
        errors::CASES,
        lifecycle::CASES,
        reuse_port::CASES,
    ];
    harness::main(plain, &[bad_wire::CASES])
}
