//! The options of TCP: the values of the network namespace, and over them what the keeper was told itself.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use stack::shard::Shard;
use stack::tcp::{Row, Sysctls};

use crate::fault::Fault;

/// One option that the keeper was told: its name and its value.
pub(crate) type Told = (&'static str, u32);

pub(crate) struct Options {
    told: Vec<Told>,
    /// As the namespace has them.
    namespace: Sysctls,
    /// What the namespace asks for and this stack does not have; and whether that was told already.
    foreign: Option<String>,
    has_complained: bool,
    look_at: u64,
}

impl Options {
    /// `told` on the command line, which counts before what the environment says.
    pub(crate) fn new(told: &[Told]) -> Result<Options, Fault> {
        let mut all = from_environment()?;
        all.extend(told);
        let mut options = Options {
            told: all,
            namespace: Sysctls::default(),
            foreign: None,
            has_complained: false,
            look_at: 0,
        };
        options.look();
        Ok(options)
    }

    /// Reads the values of the namespace. True if they are others than before.
    pub(crate) fn look(&mut self) -> bool {
        let before = self.namespace;
        let mut files = HashMap::new();
        for row in Sysctls::default().each() {
            let text = files
                .entry(row.file)
                // What this kernel does not have, or keeps from a namespace, has its default.
                .or_insert_with(|| {
                    fs::read_to_string(format!("/proc/sys/net/{}", row.file)).unwrap_or_default()
                });
            let Some(word) = text.split_whitespace().nth(row.word) else { continue };
            match row.parse(word) {
                Some(value) => drop(self.namespace.set(row.name, value)),
                None => self.refuse(format!("{}: this stack has no {word}", row.name)),
            }
        }
        self.namespace != before
    }

    /// The same, if it is time. Forty small files: a quarter of a millisecond.
    pub(crate) fn look_again(&mut self, now: u64) -> bool {
        if now < self.look_at {
            return false;
        }
        self.look_at = now + PAUSE;
        self.look()
    }

    /// When [`Options::look_again`] has something to do.
    pub(crate) fn next_look(&self) -> u64 {
        self.look_at
    }

    fn in_force(&self) -> Sysctls {
        let mut sysctls = self.namespace;
        for &(name, value) in &self.told {
            sysctls.set(name, value);
        }
        sysctls
    }

    pub(crate) fn write(&self, shard: &mut Shard) {
        (shard.head.namespace, shard.head.sysctls) = (self.namespace, self.in_force());
    }

    fn refuse(&mut self, what: String) {
        if self.foreign.as_ref() != Some(&what) {
            (self.foreign, self.has_complained) = (Some(what), false);
        }
    }

    /// What the namespace asks for and cannot have, once.
    pub(crate) fn complaint(&mut self) -> Option<String> {
        let is_news = !core::mem::replace(&mut self.has_complained, true);
        self.foreign.clone().filter(|_| is_news)
    }

    /// The table: name, value, where the value is from, meaning.
    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        let rows = Sysctls::default().each().zip(self.in_force().each());
        for (default, row) in rows {
            let from = if self.told.iter().any(|(name, _)| *name == row.name) {
                "told"
            } else if default.value != row.value {
                "namespace"
            } else {
                "default"
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:<26} {:<11} {from:<10}{}", row.name, row.text(), row.meaning.trim());
        }
        text
    }
}

/// What [`parse`] reads again.
pub(crate) fn word((name, value): Told) -> String {
    let row = Sysctls::default().each().find(|row| row.name == name);
    let text = row.map_or_else(String::new, |row| Row { value, ..row }.text());
    format!("{name}={text}")
}

/// `NAME=VALUE`, as the command line and SHUNT_TCP have it.
pub(crate) fn parse(text: &str) -> Result<Told, String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE: tcp_sack=0")?;
    let row: Row = Sysctls::default()
        .each()
        .find(|row| row.name == name.trim())
        .ok_or_else(|| format!("there is no option {}: shunt options lists them", name.trim()))?;
    let value = row.parse(value.trim()).ok_or_else(|| format!("{} cannot be {}", row.name, value.trim()))?;
    let mut sysctls = Sysctls::default();
    sysctls.set(row.name, value);
    let taken = sysctls.each().find(|other| other.name == row.name).map_or(value, |row| row.value);
    Ok((row.name, taken))
}

fn from_environment() -> Result<Vec<Told>, Fault> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    words.map(|word| parse(word).map_err(|why| Fault::new(format!("{VARIABLE}: {why}")))).collect()
}

const VARIABLE: &str = "SHUNT_TCP";
const PAUSE: u64 = Duration::from_secs(1).as_nanos() as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_a_name_and_a_value_that_it_can_have() {
        assert_eq!(parse("tcp_sack=0"), Ok(("tcp_sack", 0)));
        assert_eq!(parse("tcp_congestion_control=reno"), Ok(("tcp_congestion_control", 1)));
        assert_eq!(parse("tcp_syn_retries=1000"), Ok(("tcp_syn_retries", 127)), "brought to its bounds");
        for (text, why) in [
            ("tcp_sack", "write NAME=VALUE"),
            ("tcp_sock=1", "there is no option tcp_sock"),
            ("tcp_sack=on", "tcp_sack cannot be on"),
            ("tcp_congestion_control=vegas", "tcp_congestion_control cannot be vegas"),
        ] {
            assert!(parse(text).expect_err(text).starts_with(why), "{text}");
        }
    }

    #[test]
    fn what_the_keeper_was_told_counts_before_what_the_namespace_says() {
        let mut options = Options::new(&[("tcp_sack", 0)]).expect("no SHUNT_TCP");
        options.namespace = Sysctls { tcp_sack: 1, tcp_retries2: 7, ..Sysctls::default() };
        let in_force = options.in_force();
        assert_eq!((in_force.tcp_sack, in_force.tcp_retries2), (0, 7));
        let report = options.report();
        let line = |name: &str| {
            let words = report.lines().find(|line| line.starts_with(name)).expect(name).split_whitespace();
            words.skip(1).take(2).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((line("tcp_sack ").as_str(), line("tcp_retries2 ").as_str()), ("0 told", "7 namespace"));
        assert_eq!(line("tcp_dsack "), "1 default");
    }
}
