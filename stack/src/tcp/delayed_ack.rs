//! When what was received is acknowledged: RFC 9293 3.8.6.3, RFC 5681 4.2.
//!
//! LINUX: a connection begins by acknowledging each segment at once, so that the peer's window grows ("quick"). Once the
//! program answers what it gets, a reply carries the ACK ("interactive"). The delay follows the time between segments.

use super::connection::{Connection, Marks};
use super::transmit::milliseconds;
use super::turn::{self, Turn};
use super::{Settings, State, Sysctls, rtt};
use crate::region::Handle;
use crate::shard::Shard;
use crate::wire::Flags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How this side acknowledges.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Acking {
    /// ACKs that are still sent at once.
    pub quick: u8,
    /// Replies that followed soon on something received.
    pub replies: u8,
    /// What the delay goes by, in milliseconds: the time between segments; 0 before the first.
    pub interval: u16,
    /// Payload of the last segment that was not full.
    pub last_size: u16,
    /// ACKs sent for segments beyond a hole since the acknowledgement number moved, and those that the end of the
    /// burst, or a timer, stands for.
    pub repeated: u8,
    pub held: u8,
}

/// LINUX: TCP_DELACK_MIN, which is TCP_ATO_MIN too.
pub(super) const DELAY: u64 = 40_000_000;
const LEAST_INTERVAL: u16 = 40;
/// LINUX: TCP_DELACK_MAX.
const LARGEST_INTERVAL: u16 = 200;
/// LINUX: TCP_MAX_QUICKACKS.
const MOST_QUICK: u8 = 16;
/// LINUX: TCP_FASTRETRANS_THRESH: as many duplicates tell a peer without SACK of a loss.
const REPEATED_AT_ONCE: u8 = 3;
/// A shorter time than the timer wheel can tell: the end of the burst stands for it.
const SHORTEST_HOLD: u64 = 1_000_000;
/// LINUX: TCP_MSS_DEFAULT and TCP_MIN_MSS: what counts as full whatever came before.
const SURELY_FULL: u16 = 536;
const LEAST_FULL: u16 = 88;
/// A larger step than options can explain: the peer's segments were not full before.
const MOST_OPTIONS: u16 = 40;

pub(super) fn initial(settings: &Settings, sysctls: &Sysctls) -> Acking {
    let replies = if settings.quick_ack == 0 { threshold(sysctls) } else { 0 };
    Acking { replies, ..Acking::default() }
}

/// Whether a flag is set that full segments in the middle of a bulk do not have.
pub(super) fn is_marked(flags: Flags) -> bool {
    flags.has(Flags::PSH) || flags.has(Flags::FIN) || flags.has(Flags::SYN) || flags.has(Flags::URG)
}

fn threshold(sysctls: &Sysctls) -> u8 {
    sysctls.tcp_pingpong_thresh.min(255) as u8
}

fn is_interactive(c: &Connection, sysctls: &Sysctls) -> bool {
    c.acking.replies >= threshold(sysctls)
}

/// A segment with so much payload has come; `is_marked` by a flag that a sender in the middle of a bulk does not set.
///
/// LINUX: tcp_event_data_recv().
#[inline(always)]
pub(super) fn on_segment(c: &mut Connection, sysctls: &Sysctls, len: u16, is_marked: bool, now: u64) {
    measure(c, len, is_marked);
    let now = milliseconds(now);
    let since = now.wrapping_sub(core::mem::replace(&mut c.timers.data_at, now));
    if c.acking.interval != 0 && since <= u32::from(LEAST_INTERVAL) / 2 {
        c.acking.interval = c.acking.interval / 2 + LEAST_INTERVAL / 2;
    } else {
        after_pause(c, since);
    }
    if c.acking.quick > 0 && !is_interactive(c, sysctls) {
        c.marks.set(Marks::ACK_NOW);
    }
}

/// The peer's FIN has come.
///
/// LINUX: tcp_fin(): a program that reads the end mostly closes soon, and its own FIN carries the ACK.
pub(super) fn expect_reply(c: &mut Connection, sysctls: &Sysctls) {
    c.acking.replies = c.acking.replies.max(threshold(sysctls));
}

/// The first segment, or one that came late after the last.
fn after_pause(c: &mut Connection, since: u32) {
    let limit = timeout(c);
    let interval = u32::from(c.acking.interval);
    if interval == 0 {
        quicken(c);
        c.acking.interval = LEAST_INTERVAL;
    } else if since < interval {
        c.acking.interval = (interval / 2 + since).min(limit) as u16;
    } else if since > limit {
        // The sender was idle for long, and perhaps begins anew with a small window.
        quicken(c);
    }
}

/// The retransmission timeout in milliseconds.
fn timeout(c: &Connection) -> u32 {
    (rtt::timeout(&c.rtt) / 1_000_000).min(u64::from(u16::MAX)) as u32
}

/// Estimates what a full segment of the peer is, and notes small ones.
///
/// LINUX: tcp_measure_rcv_mss().
#[inline]
fn measure(c: &mut Connection, len: u16, is_marked: bool) {
    let last = core::mem::take(&mut c.acking.last_size);
    if len >= c.receive.mss {
        if len > c.receive.mss.saturating_add(MOST_OPTIONS) {
            c.marks.set(Marks::PUSHED);
        }
        c.receive.mss = len;
        return;
    }
    if len >= SURELY_FULL || (len >= LEAST_FULL && !is_marked) {
        // Two of the same size in a row: that is how large they are now.
        c.acking.last_size = len;
        if len == last {
            c.receive.mss = len;
            return;
        }
    }
    if c.marks.has(Marks::PUSHED) {
        c.marks.set(Marks::PUSHED_AGAIN);
    }
    c.marks.set(Marks::PUSHED);
}

/// The next segments are acknowledged at once: as many as half the window holds.
fn quicken(c: &mut Connection) {
    let by_window = c.receive_window() / (2 * u32::from(c.receive.mss.max(1)));
    let quick = by_window.clamp(2, u32::from(MOST_QUICK)) as u8;
    c.acking.quick = c.acking.quick.max(quick);
}

/// The peer misses something, or sends what is here: it needs to hear of us.
///
/// LINUX: tcp_enter_quickack_mode().
pub(super) fn be_quick(c: &mut Connection) {
    quicken(c);
    c.acking.replies = 0;
    c.acking.interval = LEAST_INTERVAL;
}

pub(super) fn acknowledge_if_due(t: &mut Turn<'_>) {
    let pending = t.c.receive.next.since(t.c.receive.acked);
    if !t.c.marks.has(Marks::ACK_NOW) && pending == 0 {
        return;
    }
    // RFC 9293 3.8.6.3 and RFC 5681 4.2: an ACK for at least every second full segment.
    let is_due = t.c.marks.has(Marks::ACK_NOW) || pending > u32::from(t.c.receive.mss);
    if is_due || !delay(t) {
        acknowledge(t);
    }
}

/// Puts the ACK off. False: it would be due so soon that it can go at once.
///
/// LINUX: tcp_send_delayed_ack().
fn delay(t: &mut Turn<'_>) -> bool {
    let mut interval = u32::from(t.c.acking.interval);
    if interval > u32::from(LEAST_INTERVAL) {
        let round_trip = t.c.rtt.smoothed / 8 / 1000;
        let most = if t.c.rtt.smoothed == 0 { u32::MAX } else { round_trip.max(LEAST_INTERVAL.into()) };
        interval = interval.min(most);
    }
    let interval = u64::from(interval.clamp(LEAST_INTERVAL.into(), LARGEST_INTERVAL.into())) * 1_000_000;
    let due = t.now + interval;
    if t.c.timers.ack == 0 {
        t.c.timers.ack = due;
        return true;
    }
    t.c.timers.ack = t.c.timers.ack.min(due);
    t.c.timers.ack > t.now + interval / 4
}

/// The delay is over, and no reply has carried the ACK.
///
/// LINUX: tcp_delack_timer_handler().
pub(super) fn on_timer(t: &mut Turn<'_>) {
    if t.c.acking.held > 0 {
        t.c.marks.set(Marks::ACK_NOW);
        return;
    }
    if t.c.receive.acked == t.c.receive.next {
        return;
    }
    if is_interactive(t.c, &t.head.sysctls) {
        t.c.acking.replies = 0;
        t.c.acking.interval = LEAST_INTERVAL;
    } else {
        let doubled = u32::from(t.c.acking.interval) * 2;
        t.c.acking.interval = doubled.min(timeout(t.c)) as u16;
    }
    t.c.marks.set(Marks::ACK_NOW);
}

/// Sends an ACK without payload; if that is not possible now, it stays due.
pub(super) fn acknowledge(t: &mut Turn<'_>) {
    let seq = t.c.send.next;
    if !t.has_path() || !t.send_bare(Flags::ACK, seq) {
        t.c.marks.set(Marks::ACK_NOW);
        if t.c.timers.push == 0 {
            t.c.timers.push = t.now + DELAY;
        }
    }
}

/// Answers a segment beyond a hole: at once, or, when the peer has been told of the hole often enough and each ACK says
/// what came, one for many of them.
///
/// LINUX: __tcp_ack_snd_check().
pub(super) fn acknowledge_beyond_hole(t: &mut Turn<'_>) {
    let may_hold = t.c.marks.has(Marks::SACK)
        && !t.c.marks.has(Marks::DUPLICATE)
        && t.c.acking.repeated >= REPEATED_AT_ONCE
        && u32::from(t.c.acking.held) < t.head.sysctls.tcp_comp_sack_nr.min(255);
    if may_hold {
        t.c.acking.held += 1;
        t.counters.tcp_acks_held += 1;
        match hold_time(t) {
            time if time < SHORTEST_HOLD => t.c.marks.set(Marks::ACK_NOW),
            time if t.c.timers.ack == 0 => t.c.timers.ack = t.now + time,
            _ => {}
        }
        return;
    }
    t.c.acking.repeated = t.c.acking.repeated.saturating_add(1);
    acknowledge(t);
}

/// For how long such an ACK may wait: a twentieth of the round trip, and `tcp_comp_sack_delay_ns` at most. Before there is
/// a sample of it, not beyond the burst.
fn hold_time(t: &Turn<'_>) -> u64 {
    let (as_receiver, as_sender) = (t.c.tuning.round_trip, t.c.rtt.smoothed);
    let eighths = if as_sender == 0 { as_receiver } else { as_receiver.min(as_sender) };
    let share = u64::from(eighths) * 1000 / 8 / 20;
    share.min(t.head.sysctls.tcp_comp_sack_delay_ns.into())
}

/// An ACK has left; `is_new` when it acknowledges what none has before.
pub(super) fn acknowledged(c: &mut Connection, is_new: bool) {
    c.acking.held = 0;
    c.marks.clear(Marks::ACK_NOW | Marks::PUSHED | Marks::PUSHED_AGAIN);
    c.timers.ack = 0;
    if !is_new {
        return;
    }
    c.acking.repeated = 0;
    match c.acking.quick {
        0 => {}
        1 => (c.acking.quick, c.acking.interval) = (0, LEAST_INTERVAL),
        more => c.acking.quick = more - 1,
    }
}

/// The program has read. LINUX: tcp_cleanup_rbuf(): what is due anyway goes now; and when all is read, and the peer
/// seems to wait, because its last segment was small, no reply will come.
pub(super) fn is_due_after_read(t: &Turn<'_>) -> bool {
    let pending = t.c.receive.next.since(t.c.receive.acked);
    if pending == 0 || t.c.marks.has(Marks::FIN_RECEIVED) {
        return false;
    }
    let is_drained = t.c.receive.unread == 0 && t.c.receive.beyond.is_empty();
    let waits = t.c.marks.has(Marks::PUSHED_AGAIN)
        || (t.c.marks.has(Marks::PUSHED) && !is_interactive(t.c, &t.head.sysctls));
    pending > u32::from(t.c.receive.mss) || (is_drained && waits)
}

/// LINUX: tcp_event_data_sent(): a program that answers soon after it got something will answer again.
pub(super) fn note_replies(t: &mut Turn<'_>, segments: u32) {
    let since = milliseconds(t.now).wrapping_sub(t.c.timers.data_at);
    if since < u32::from(t.c.acking.interval) {
        t.c.acking.replies = t.c.acking.replies.saturating_add(segments.min(u32::from(u8::MAX)) as u8);
    }
}

/// TCP_QUICKACK: acts on the moment and lasts no longer than until the program answers again.
///
/// LINUX: __tcp_sock_set_quickack(): even numbers other than 0 send what is due and change nothing else.
pub fn set_quick_ack(s: &mut Shard, c: Handle<Connection>, value: u32, now: u64) {
    let Some(mut t) = turn::begin(s, c, now) else { return };
    let interactive = threshold(&t.head.sysctls);
    t.c.acking.replies = if value == 0 { interactive } else { 0 };
    let is_open = matches!(t.c.state, State::ESTABLISHED | State::CLOSE_WAIT);
    if value != 0 && is_open && t.c.receive.acked != t.c.receive.next {
        t.c.marks.set(Marks::PUSHED);
        if is_due_after_read(&t) {
            acknowledge(&mut t);
        }
        t.c.acking.replies = if value & 1 == 0 { interactive } else { 0 };
    }
    turn::settle(s, c, now);
}

/// What TCP_QUICKACK reads.
pub fn is_quick_ack(s: &Shard, c: Handle<Connection>) -> bool {
    s.connections.get(c).is_none_or(|c| !is_interactive(c, &s.head.sysctls))
}
