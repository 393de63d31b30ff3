//! Packets as they reach the wire, in the file format that tcpdump and Wireshark read.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::time::Duration;

use crate::Outcome;

pub(super) struct Capture {
    file: BufWriter<File>,
}

impl Capture {
    pub(super) fn create(path: &str) -> Outcome<Capture> {
        let file = File::create(path).map_err(|e| format!("{path}: {e}"))?;
        let mut capture = Capture { file: BufWriter::new(file) };
        // Nanoseconds; version 2.4; no zone, no accuracy; how much of a packet is kept; Ethernet.
        for word in [0xa1b2_3c4d, 2 | 4 << 16, 0, 0, KEPT as u32, 1] {
            capture.word(word);
        }
        Ok(capture)
    }

    /// The headers are what one looks at.
    pub(super) fn note(&mut self, at: Duration, frame: &[u8]) {
        let kept = frame.get(..KEPT).unwrap_or(frame);
        for word in [at.as_secs() as u32, at.subsec_nanos(), kept.len() as u32, frame.len() as u32] {
            self.word(word);
        }
        // A capture that cannot be written is noticed by whoever reads it.
        let _ = self.file.write_all(kept);
    }

    fn word(&mut self, word: u32) {
        let _ = self.file.write_all(&word.to_le_bytes());
    }
}

const KEPT: usize = 128;
