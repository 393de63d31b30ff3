//! What the keeper has to say while it runs: on standard error in the foreground, and the last of it in `shunt status`.

use std::collections::VecDeque;
use std::fmt::Display;

pub(crate) struct Journal {
    speaks: bool,
    recent: VecDeque<String>,
}

impl Journal {
    pub(crate) fn new(speaks: bool) -> Journal {
        Journal { speaks, recent: VecDeque::new() }
    }

    pub(crate) fn note(&mut self, line: impl Display) {
        let line = line.to_string();
        if self.speaks {
            eprintln!("shunt: {line}");
        }
        // A line that repeats itself must not push the others out.
        if self.recent.back() == Some(&line) {
            return;
        }
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(line);
    }

    pub(crate) fn recent(&self) -> impl Iterator<Item = &str> {
        self.recent.iter().map(String::as_str)
    }
}

const KEPT: usize = 20;
