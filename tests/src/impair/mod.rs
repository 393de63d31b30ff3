//! A bad wire between two ends: it drops, corrupts, duplicates, delays and reorders, all by seed.
//!
//! It sits in a network namespace of its own between those of the two ends (`RIG_MIDDLE=yes scripts/rig.sh up`), with a
//! device towards each. An XDP program on both devices decides about each packet (tests/bpf/impair.c); a relay takes what it lets
//! through off AF_XDP sockets, holds it for as long as the wire is long, and puts it on the other device.

mod capture;
mod clock;
mod lane;
mod program;
mod relay;
mod umem;

pub use program::Tally;
pub use relay::Relay;

use crate::Outcome;

/// What the wire does to packets. Chances are between 0 and 1 and hold for each direction by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Wire {
    pub seed: u64,
    pub loss: f64,
    pub corrupt: f64,
    pub duplicate: f64,
    pub reorder: f64,
    /// Half of it in each direction.
    pub round_trip_ms: f64,
    /// By how much a reordered packet comes too late.
    pub late_ms: f64,
    /// Of each direction; 0: as fast as the relay goes.
    pub megabits: f64,
    /// Packets that wait for the wire at most, if it has a rate.
    pub queue: u32,
    /// Where the packets that were let through are written, as tcpdump would.
    pub capture: Option<String>,
}

impl Default for Wire {
    fn default() -> Self {
        Wire {
            seed: 1,
            loss: 0.0,
            corrupt: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            round_trip_ms: 0.0,
            late_ms: 2.0,
            megabits: 0.0,
            queue: 1000,
            capture: None,
        }
    }
}

pub const OPTIONS: &str = "\
  --seed N         which packets it hits [1]
  --loss %         packets that are dropped, of each direction [0]
  --corrupt %      packets with one wrong byte [0]
  --duplicate %    packets that come twice [0]
  --reorder %      packets that come late [0]
  --late MS        by how much [2]
  --rtt MS         length of the wire, there and back [0]
  --rate MBIT      of each direction, 0: without limit [0]
  --queue PACKETS  that wait for the wire at most, if it has a rate [1000]
  --capture FILE   writes what was let through, for tcpdump -r";

impl Wire {
    /// Reads `--name value` pairs, as `OPTIONS` says.
    pub fn parse(words: &[String]) -> Outcome<Wire> {
        let mut wire = Wire::default();
        for pair in words.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} wants a value", pair.concat())) };
            let number = || value.parse::<f64>().ok().filter(|number| *number >= 0.0);
            let wrong = || format!("{name} {value}: not a number that it can be");
            let chance = || number().filter(|percent| *percent <= 100.0).map(|percent| percent / 100.0);
            match name.as_str() {
                "--seed" => wire.seed = value.parse().map_err(|_| wrong())?,
                "--loss" => wire.loss = chance().ok_or_else(wrong)?,
                "--corrupt" => wire.corrupt = chance().ok_or_else(wrong)?,
                "--duplicate" => wire.duplicate = chance().ok_or_else(wrong)?,
                "--reorder" => wire.reorder = chance().ok_or_else(wrong)?,
                "--late" => wire.late_ms = number().ok_or_else(wrong)?,
                "--rtt" => wire.round_trip_ms = number().ok_or_else(wrong)?,
                "--rate" => wire.megabits = number().ok_or_else(wrong)?,
                "--queue" => wire.queue = value.parse().map_err(|_| wrong())?,
                "--capture" => wire.capture = Some(value.clone()),
                _ => return Err(format!("no option {name}; there are:\n{OPTIONS}")),
            }
        }
        Ok(wire)
    }

    /// The same as words.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        option("--seed", self.seed.to_string());
        for (name, chance) in [
            ("--loss", self.loss),
            ("--corrupt", self.corrupt),
            ("--duplicate", self.duplicate),
            ("--reorder", self.reorder),
        ] {
            option(name, (chance * 100.0).to_string());
        }
        option("--late", self.late_ms.to_string());
        option("--rtt", self.round_trip_ms.to_string());
        option("--rate", self.megabits.to_string());
        option("--queue", self.queue.to_string());
        if let Some(file) = &self.capture {
            option("--capture", file.clone());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_survives_the_command_line() {
        let wire = Wire {
            seed: 7,
            loss: 0.25,
            corrupt: 0.5,
            duplicate: 0.125,
            reorder: 1.0,
            round_trip_ms: 12.5,
            late_ms: 3.0,
            megabits: 200.0,
            queue: 50,
            capture: Some("x".to_owned()),
        };
        assert_eq!(Wire::parse(&wire.words()), Ok(wire));
    }

    #[test]
    fn nonsense_is_told_so() {
        for words in
            [&["--loss", "101"][..], &["--loss", "-1"], &["--rtt"], &["--what", "1"], &["--seed", "x"]]
        {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            assert!(Wire::parse(&words).is_err(), "{words:?}");
        }
    }
}
