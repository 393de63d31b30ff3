//! TIME_WAIT: what remains of a connection, to answer what is late.

use super::connection::{Connection, Marks};
use super::request::ANSWER_INTERVAL;
use super::segment::Segment;
use super::transmit::milliseconds;
use super::turn;
use super::{State, TimeWait, reply, request, reuse_port};
use crate::region::Handle;
use crate::shard::{Entry, EntryHead, Shard};
use crate::wire::options::timestamp_bytes;
use crate::wire::{Flags, Timestamps};

/// LINUX: TCP_TIMEWAIT_LEN; RFC 9293 says twice the maximum segment lifetime.
const DURATION: u64 = 60_000_000_000;

/// A connection in TIME_WAIT becomes a small entry. Without room for one it is simply over.
pub(super) fn enter(s: &mut Shard, h: Handle<Connection>, now: u64) {
    let Some(c) = s.connections.get(h).filter(|c| c.marks.has(Marks::IN_TABLE)).copied() else { return };
    turn::leave_table(s, Entry::Connection(h));
    let Some(entry) = s.time_waits.alloc() else {
        s.counters.table_full += 1;
        s.head.trace.note(c.head.tuple, State::TIME_WAIT, State::CLOSED, now);
        return;
    };
    let Some(t) = s.time_waits.get_mut(entry) else { return };
    *t = TimeWait {
        head: EntryHead::new(c.head.tuple),
        send_next: c.send.next,
        receive_next: c.receive.next,
        ts_recent: c.receive.ts_recent,
        timestamp_offset: c.timestamp_offset,
        until: 0,
        answered: milliseconds(now).wrapping_sub(ANSWER_INTERVAL),
        window: (c.receive_window() >> c.receive.scale.min(14)).min(u32::from(u16::MAX)) as u16,
        timestamps: u8::from(c.marks.has(Marks::TIMESTAMPS)),
        pad: 0,
    };
    s.flow_insert(Entry::TimeWait(entry));
    restart(s, entry, now);
}

fn restart(s: &mut Shard, h: Handle<TimeWait>, now: u64) {
    let deadline = now + DURATION;
    if let Some(t) = s.time_waits.get_mut(h) {
        t.until = milliseconds(deadline);
    }
    s.arm(Entry::TimeWait(h), deadline);
}

pub(super) fn on_timer(s: &mut Shard, h: Handle<TimeWait>, now: u64) {
    let Some(t) = s.time_waits.get(h) else { return };
    let left = t.until.wrapping_sub(milliseconds(now)) as i32;
    if left > 0 {
        return s.arm(Entry::TimeWait(h), now + left as u64 * 1_000_000);
    }
    end(s, h);
}

fn end(s: &mut Shard, h: Handle<TimeWait>) {
    if let Some(t) = s.time_waits.get(h) {
        let now = s.head.now;
        s.head.trace.note(t.head.tuple, State::TIME_WAIT, State::CLOSED, now);
    }
    s.disarm(Entry::TimeWait(h));
    s.flow_remove(Entry::TimeWait(h));
    s.time_waits.free(h);
}

/// RFC 9293 3.10.7.4, for TIME-WAIT.
pub(super) fn on_segment(s: &mut Shard, h: Handle<TimeWait>, segment: &Segment, now: u64) {
    let Some(t) = s.time_waits.get(h).copied() else { return };
    let flags = segment.flags;
    let timestamps = segment.timestamps.filter(|_| t.timestamps != 0);
    let is_old = timestamps.is_some_and(|x| (x.value.wrapping_sub(t.ts_recent) as i32) < 0);
    if flags.has(Flags::RST) {
        // RFC 1337 and LINUX (net.ipv4.tcp_rfc1337 off): a reset in its place ends TIME_WAIT.
        if segment.seq == t.receive_next && !is_old {
            end(s, h);
        }
        return;
    }
    let is_syn = flags.only(Flags::SYN | Flags::ACK) == Flags::SYN;
    if is_syn && !is_old && may_reopen(&t, segment) {
        return reopen(s, h, segment, now);
    }
    if is_old {
        s.counters.tcp_old_timestamp += 1;
    }
    let has_sequence = segment.sequence_len() > 0;
    // "Acknowledge it, and restart the 2 MSL timeout."
    if flags.has(Flags::FIN) && segment.end() == t.receive_next {
        restart(s, h, now);
    }
    if (has_sequence || segment.seq != t.receive_next) && may_answer(s, h, now) {
        acknowledge(s, &t, segment, now);
    }
}

/// LINUX: tcp_timewait_check_oow_rate_limit(): two ends that do not understand each other must not answer for ever.
fn may_answer(s: &mut Shard, h: Handle<TimeWait>, now: u64) -> bool {
    let Some(t) = s.time_waits.get_mut(h) else { return false };
    let is_due = milliseconds(now).wrapping_sub(t.answered) >= ANSWER_INTERVAL;
    if is_due {
        t.answered = milliseconds(now);
    }
    is_due
}

/// RFC 6191: a SYN that is certainly new, by its timestamp or its sequence number, ends TIME_WAIT.
fn may_reopen(t: &TimeWait, segment: &Segment) -> bool {
    let newer = |x: Timestamps| (x.value.wrapping_sub(t.ts_recent) as i32) > 0;
    segment.seq.is_after(t.receive_next) || (t.timestamps != 0 && segment.timestamps.is_some_and(newer))
}

fn reopen(s: &mut Shard, h: Handle<TimeWait>, segment: &Segment, now: u64) {
    if let Some(listener) = reuse_port::choose(s, &segment.tuple) {
        let Some(t) = s.time_waits.get(h).copied() else { return };
        end(s, h);
        // LINUX: beyond all that the old connection may have sent, whatever the clock says (RFC 6191 2).
        let iss = t.send_next + (u32::from(u16::MAX) + 2);
        request::on_syn(s, listener, segment, Some(iss), now);
    } else {
        s.counters.tcp_no_socket += 1;
        reply::reset(s, segment);
    }
}

fn acknowledge(s: &mut Shard, t: &TimeWait, segment: &Segment, now: u64) {
    let value = milliseconds(now).wrapping_add(t.timestamp_offset);
    let bytes = timestamp_bytes(Timestamps { value, echo: t.ts_recent });
    let options: &[u8] = if t.timestamps != 0 { &bytes } else { &[] };
    reply::send(s, segment, t.send_next, t.receive_next, Flags::ACK, t.window, options);
}
