//! The `shunt` command: runs programs on the stack, keeps the region, steers the card.

mod background;
mod channel;
mod cli;
mod client;
mod device;
mod doctor;
mod ethtool;
mod fault;
mod firewall;
mod keep;
mod lease;
mod netlink;
mod picture;
mod proof;
mod run;
mod signals;
mod steer;
#[cfg(test)]
mod test_rig;

use std::process::ExitCode;

use clap::Parser as _;
use stack::control::Report;

use cli::{Cli, Command};
use fault::Fault;
use keep::Begun;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(arguments) => return run::run(&arguments),
        Command::Keeper(arguments) if arguments.background => background::keep(&arguments.setup),
        Command::Keeper(arguments) => keep_in_foreground(&arguments.setup),
        Command::Status => print(Report::Status),
        Command::Options => print(Report::Options),
        Command::Trace => print(Report::Trace),
        Command::Stop(arguments) => client::stop(arguments.force).map_err(client::Unheard::into_fault),
        Command::Doctor(arguments) => doctor::examine(arguments.dev.as_deref()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("shunt: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn print(which: Report) -> Result<(), Fault> {
    client::report(which).map(|report| print!("{report}")).map_err(client::Unheard::into_fault)
}

fn keep_in_foreground(setup: &cli::Setup) -> Result<(), Fault> {
    match keep::begin(setup, false)? {
        Begun::Keeper(mut keeper) => keeper.run(),
        Begun::AnotherIsThere => Err(Fault::new(
            "a keeper is there already in this network namespace: see shunt status, or end it with shunt stop",
        )),
    }
}
