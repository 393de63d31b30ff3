//! The command line.

use std::ffi::OsString;
use std::ops::RangeInclusive;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(
    name = "shunt",
    version,
    about = "Runs unmodified programs on a user-space TCP/IP stack over AF_XDP"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a program; a keeper is started if none answers in this network namespace
    Run(Run),
    /// Keep the stack of this network namespace, in the foreground, until stopped
    Keeper(Keeper),
    /// Print the keeper's counters, one "name value" on a line
    Status,
    /// Print the options of TCP: name, value, where it is from, meaning
    Options,
    /// Print the latest changes of connections' states, and how many there were of each kind
    Trace,
    /// End the keeper
    Stop(Stop),
    /// Look for what would keep shunt from working here, or from working well
    Doctor(Doctor),
}

#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// How long a call that must wait spins before it sleeps
    #[arg(long, value_enum, default_value_t = Profile::Balanced)]
    pub(crate) profile: Profile,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct Keeper {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// Started by `shunt run`: say on standard output whether it worked, go on without a terminal, end when idle
    #[arg(long, hide = true)]
    pub(crate) background: bool,
}

/// What a keeper is told when it starts. `shunt run` passes these on.
#[derive(Args, Clone, Debug)]
pub(crate) struct Setup {
    /// The network device to accelerate [default: the only one that is up and has an IPv4 address]
    #[arg(long, value_name = "IF")]
    pub(crate) dev: Option<String>,
    /// Memory for frames and sockets
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) memory: Option<usize>,
    /// Local ports of outgoing connections [default: the upper 20000 of the kernel's own range]
    #[arg(long, value_name = "FROM-TO", value_parser = parse_ports)]
    pub(crate) ports: Option<RangeInclusive<u16>>,
    /// A further user (by number) whose programs may attach
    #[arg(long, value_name = "UID")]
    pub(crate) allow_uid: Vec<u32>,
    /// An option of TCP for all connections, before what the namespace's sysctls say (shunt options lists them)
    #[arg(long, value_name = "NAME=VALUE", value_parser = crate::keep::parse_option)]
    pub(crate) tcp: Vec<crate::keep::Told>,
    /// Attach XDP in generic mode even if the driver could do better
    #[arg(long)]
    pub(crate) generic: bool,
}

#[derive(Args)]
pub(crate) struct Stop {
    /// Even if programs are attached; their connections end
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct Doctor {
    /// The device that would be accelerated
    #[arg(long, value_name = "IF")]
    pub(crate) dev: Option<String>,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Spin: the shortest round trip, for a core per waiting thread
    Latency,
    /// Sleep almost at once
    Balanced,
}

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Profile::Latency => "latency",
            Profile::Balanced => "balanced",
        }
    }
}

impl Setup {
    /// The same words again, for the keeper that `shunt run` starts.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        if let Some(dev) = &self.dev {
            option("--dev", dev.clone());
        }
        if let Some(memory) = self.memory {
            option("--memory", memory.to_string());
        }
        if let Some(ports) = &self.ports {
            option("--ports", format!("{}-{}", ports.start(), ports.end()));
        }
        for uid in &self.allow_uid {
            option("--allow-uid", uid.to_string());
        }
        for told in &self.tcp {
            option("--tcp", crate::keep::option_word(*told));
        }
        if self.generic {
            words.push("--generic".into());
        }
        words
    }
}

/// "256M", "1G", "268435456".
fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err("write a number of bytes, or one with K, M or G".into()),
    };
    let size = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(1 << shift));
    let size = size.ok_or("write a number of bytes, or one with K, M or G")?;
    if (LEAST_MEMORY..=MOST_MEMORY).contains(&size) { Ok(size) } else { Err("between 8M and 64G".into()) }
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let number = |part: &str| part.parse::<u16>().ok().filter(|&port| port >= 1024);
    match text.split_once('-').map(|(from, to)| (number(from), number(to))) {
        Some((Some(from), Some(to))) if from < to => Ok(from..=to),
        _ => Err("write two ports from 1024 on, the lower first: 40000-59999".into()),
    }
}

pub(crate) const DEFAULT_MEMORY: usize = 128 << 20;
const LEAST_MEMORY: usize = 8 << 20;
const MOST_MEMORY: usize = 64 << 30;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_and_ranges_are_read_or_refused() {
        for (text, size) in [("8M", 8 << 20), ("1g", 1 << 30), ("16MiB", 16 << 20), ("268435456", 256 << 20)]
        {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for text in ["", "M", "1T", "12x", "99999999999999999999G", "1K", "-8M"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(parse_ports("2000-2999"), Ok(2000..=2999));
        for text in ["2000", "3000-2000", "80-2000", "2000-70000", "-"] {
            assert!(parse_ports(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_keeper_that_run_starts_is_told_what_run_was_told() {
        let words = "shunt run --dev eth9 --memory 64M --ports 2000-2999 --allow-uid 7 --allow-uid 8 --tcp tcp_sack=0 --tcp tcp_congestion_control=reno --generic -- curl --dev x";
        let Ok(Cli { command: Command::Run(run) }) = Cli::try_parse_from(words.split(' ')) else {
            panic!("parsed")
        };
        assert_eq!(run.command, ["curl", "--dev", "x"]);
        let again = ["shunt", "keeper"].into_iter().map(String::from).chain(run.setup.words());
        let Ok(Cli { command: Command::Keeper(keeper) }) = Cli::try_parse_from(again) else {
            panic!("parsed")
        };
        assert_eq!(format!("{:?}", keeper.setup), format!("{:?}", run.setup));
    }
}
