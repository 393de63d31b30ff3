//! What an ACK tells, as it is found out.

use super::scoreboard;
use crate::region::FrameMeta;
use crate::tcp::Seq;
use crate::tcp::connection::Marks;
use crate::tcp::segment::Segment;
use crate::tcp::turn::Turn;

/// What an ACK has told so far.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tcp) struct Progress {
    pub una_before: Seq,
    /// Behind the last byte that the peer was known to have.
    pub highest_before: Seq,
    /// Bytes.
    pub flight_before: u32,
    pub acked: u32,
    pub delivered: u32,
    pub lost: u32,
    /// Frames that were acknowledged as a whole.
    pub segments: u32,
    /// The peer's echo of our timestamp.
    pub echo: Option<u32>,
    /// When the oldest and the newest were sent of those that were acknowledged and never sent again; 0 for none.
    pub oldest_sent_at: u64,
    pub newest_sent_at: u64,
    /// The same of those that SACK has named.
    pub oldest_sacked_at: u64,
    pub newest_sacked_at: u64,
    /// When the first of those that were sent more than once was last sent; 0 when there is none.
    pub resent_at: u64,
    /// The lowest place that arrived late without having been sent again.
    pub overtaken: Option<Seq>,
    /// SACK has named something new.
    pub sacked: bool,
    pub is_duplicate: bool,
    pub duplicate_reported: bool,
    pub probe_was_needless: bool,
    /// Something outstanding at the timeout has arrived that was never sent again.
    pub original_arrived: bool,
    pub repetition_lost: bool,
    /// RACK waits for what may still overtake.
    pub is_waiting: bool,
}

impl Progress {
    pub(super) fn begin(t: &Turn<'_>) -> Self {
        let (una_before, highest_before) = (t.c.send.una, t.c.recovery.highest);
        Self { una_before, highest_before, flight_before: t.c.in_flight(), ..Self::default() }
    }

    pub(in crate::tcp) fn of(t: &Turn<'_>, segment: &Segment) -> Self {
        let timestamps = segment.timestamps.filter(|_| t.c.marks.has(Marks::TIMESTAMPS));
        Self { echo: timestamps.map(|x| x.echo).filter(|&echo| echo != 0), ..Self::begin(t) }
    }

    /// A frame that was never sent again has arrived.
    pub(super) fn note_original(&mut self, t: &Turn<'_>, meta: &FrameMeta) {
        let start = Seq(meta.seq);
        if start.is_before(self.highest_before) {
            self.overtaken = Some(self.overtaken.map_or(start, |lowest| lowest.earlier_of(start)));
        }
        self.original_arrived |= !scoreboard::end_of(meta).is_after(t.c.recovery.until);
    }
}
