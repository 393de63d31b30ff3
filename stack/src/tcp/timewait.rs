//! TIME_WAIT: what remains of a connection, to answer what is late. And FIN_WAIT_2 of a connection whose program is
//! gone, which needs no more.

use super::close::TIME_WAIT;
use super::connection::{Connection, Marks};
use super::segment::Segment;
use super::transmit::milliseconds;
use super::turn;
use super::{Seq, State, TimeWait, Tuple, reply, request, reuse_port, rtt};
use crate::region::Handle;
use crate::shard::{Entry, EntryHead, Shard};
use crate::wire::options::timestamp_bytes;
use crate::wire::{Flags, Timestamps};

const MILLISECOND: u64 = 1_000_000;
/// LINUX: how far behind the old connection's numbers the next one on the same addresses begins.
const NUMBERS_APART: u32 = 65_537;

/// A connection in TIME_WAIT, or one in FIN_WAIT_2 that lasts until `timers.idle`, becomes a small entry. Without room
/// for one it is simply over.
pub(super) fn enter(s: &mut Shard, h: Handle<Connection>, now: u64) {
    let Some(c) = s.connections.get(h).filter(|c| c.marks.has(Marks::IN_TABLE)) else { return };
    let lasts = match c.state {
        State::FIN_WAIT_2 => c.timers.idle.saturating_sub(now).max(rtt::timeout(&c.rtt) * 7 / 2),
        _ => TIME_WAIT,
    };
    let deadline = now + lasts;
    let interval = s.head.sysctls.tcp_invalid_ratelimit;
    let remains = TimeWait {
        head: EntryHead::new(c.head.tuple),
        send_next: c.send.next,
        receive_next: c.receive.next,
        ts_recent: c.receive.ts_recent,
        timestamp_offset: c.timestamp_offset,
        until: milliseconds(deadline),
        answered: milliseconds(now).wrapping_sub(interval),
        window: (c.receive_window() >> c.receive.scale.min(14)).min(u32::from(u16::MAX)) as u16,
        timestamps: u8::from(c.marks.has(Marks::TIMESTAMPS)),
        state: c.state,
        edge: c.receive.edge,
        since: milliseconds(now),
    };
    let has_room = s.time_waits.in_use() < s.head.sysctls.tcp_max_tw_buckets;
    let Some(entry) = has_room.then(|| s.time_waits.insert(remains)).flatten() else {
        s.counters.time_wait_overflows += 1;
        s.head.trace.note(c.head.tuple, c.state, State::CLOSED, now);
        return;
    };
    turn::give_place(s, Entry::Connection(h), Entry::TimeWait(entry));
    s.arm(Entry::TimeWait(entry), deadline);
}

fn last_for(s: &mut Shard, h: Handle<TimeWait>, nanoseconds: u64, now: u64) {
    let deadline = now + nanoseconds;
    if let Some(t) = s.time_waits.get_mut(h) {
        t.until = milliseconds(deadline);
    }
    s.arm(Entry::TimeWait(h), deadline);
}

pub(super) fn on_timer(s: &mut Shard, h: Handle<TimeWait>, now: u64) {
    let Some(t) = s.time_waits.get(h) else { return };
    let left = t.until.wrapping_sub(milliseconds(now)) as i32;
    if left > 0 {
        return s.arm(Entry::TimeWait(h), now + left as u64 * MILLISECOND);
    }
    end(s, h);
}

fn end(s: &mut Shard, h: Handle<TimeWait>) {
    if let Some(t) = s.time_waits.get(h) {
        let now = s.head.now;
        s.head.trace.note(t.head.tuple, t.state, State::CLOSED, now);
    }
    s.disarm(Entry::TimeWait(h));
    s.flow_remove(Entry::TimeWait(h));
    s.time_waits.free(h);
}

/// LINUX: tcp_timewait_state_process().
pub(super) fn on_segment(s: &mut Shard, h: Handle<TimeWait>, segment: &Segment, now: u64) {
    let Some(t) = s.time_waits.get(h).copied() else { return };
    // RFC 7323 5.3; a reset may do without, as it cleans up.
    let is_old = segment
        .timestamps
        .is_some_and(|x| t.timestamps != 0 && (x.value.wrapping_sub(t.ts_recent) as i32) < 0)
        && !segment.flags.has(Flags::RST);
    if is_old {
        s.counters.tcp_old_timestamp += 1;
    }
    match t.state {
        State::FIN_WAIT_2 => in_fin_wait_2(s, h, &t, segment, is_old, now),
        _ => in_time_wait(s, h, &t, segment, is_old, now),
    }
}

/// RFC 9293 3.10.7.4, for FIN-WAIT-2, where nobody can take data any more.
fn in_fin_wait_2(
    s: &mut Shard,
    h: Handle<TimeWait>,
    t: &TimeWait,
    segment: &Segment,
    is_old: bool,
    now: u64,
) {
    let next = t.receive_next;
    if is_old || !overlaps(segment, next, t.edge) {
        s.counters.tcp_out_of_window += 1;
        return answer(s, h, t, segment, now);
    }
    if segment.flags.has(Flags::RST) {
        s.counters.tcp_resets_in += 1;
        return end(s, h);
    }
    let is_new_syn = segment.flags.has(Flags::SYN) && !segment.seq.is_before(next);
    if is_new_syn {
        return refuse(s, h, segment);
    }
    if !segment.flags.has(Flags::ACK) || !segment.end().is_after(next) || segment.sequence_len() == 0 {
        return;
    }
    // LINUX: TCPABORTONDATA: what brings data, or a FIN behind data, cannot be taken.
    if !segment.flags.has(Flags::FIN) || segment.end() != next + 1 {
        return refuse(s, h, segment);
    }
    if let Some(entry) = s.time_waits.get_mut(h) {
        entry.state = State::TIME_WAIT;
        entry.receive_next = segment.end();
        entry.ts_recent = segment.timestamps.map_or(entry.ts_recent, |x| x.value);
    }
    s.head.trace.note(t.head.tuple, State::FIN_WAIT_2, State::TIME_WAIT, now);
    last_for(s, h, TIME_WAIT, now);
    let entry = s.time_waits.get(h).copied();
    if let Some(t) = entry {
        acknowledge(s, &t, segment, now);
    }
}

/// LINUX: tcp_in_window(): some of it lies in the window, or all of a segment without length does.
fn overlaps(segment: &Segment, next: Seq, edge: Seq) -> bool {
    let end = segment.end();
    segment.seq == next
        || (end.is_after(next) && segment.seq.is_before(edge))
        || (segment.seq == edge && segment.seq == end)
}

fn refuse(s: &mut Shard, h: Handle<TimeWait>, segment: &Segment) {
    reply::reset(s, segment);
    end(s, h);
}

/// RFC 9293 3.10.7.4, for TIME-WAIT.
fn in_time_wait(s: &mut Shard, h: Handle<TimeWait>, t: &TimeWait, segment: &Segment, is_old: bool, now: u64) {
    let flags = segment.flags;
    let is_bare = segment.sequence_len() == 0;
    if flags.has(Flags::RST) {
        // RFC 1337: a reset in its place ends TIME_WAIT, unless the administrator says that it is too dangerous.
        if segment.seq == t.receive_next && s.head.sysctls.tcp_rfc1337 == 0 {
            s.counters.tcp_resets_in += 1;
            end(s, h);
        }
        return;
    }
    if !is_old && segment.seq == t.receive_next && is_bare {
        if let Some(entry) = s.time_waits.get_mut(h) {
            entry.ts_recent = segment.timestamps.map_or(entry.ts_recent, |x| x.value);
        }
        return last_for(s, h, TIME_WAIT, now);
    }
    let is_syn = flags.only(Flags::SYN | Flags::ACK) == Flags::SYN;
    if is_syn
        && !is_old
        && may_reopen(t, segment)
        && let Some(listener) = reuse_port::choose(s, &segment.tuple)
    {
        // LINUX: beyond all that the old connection may have sent, whatever the clock says (RFC 6191 2).
        let iss = t.send_next + NUMBERS_APART;
        end(s, h);
        return request::on_syn(s, listener, segment, Some(iss), now);
    }
    // "Acknowledge it, and restart the 2 MSL timeout." LINUX: but not for a SYN, which may be of a new connection.
    if is_old || flags.has(Flags::ACK) {
        last_for(s, h, TIME_WAIT, now);
    }
    answer(s, h, t, segment, now);
}

/// LINUX: tcp_timewait_check_oow_rate_limit(): two ends that do not understand each other must not answer for ever.
fn answer(s: &mut Shard, h: Handle<TimeWait>, t: &TimeWait, segment: &Segment, now: u64) {
    let interval = s.head.sysctls.tcp_invalid_ratelimit;
    let Some(entry) = s.time_waits.get_mut(h) else { return };
    // LINUX: tcp_oow_rate_limited(): what carries something and is no SYN is hardly part of a loop of ACKs.
    let may_loop = segment.sequence_len() == 0 || segment.flags.has(Flags::SYN);
    let is_early = may_loop && milliseconds(now).wrapping_sub(entry.answered) < interval;
    if segment.flags.has(Flags::RST) || is_early {
        return;
    }
    if may_loop {
        entry.answered = milliseconds(now);
    }
    acknowledge(s, t, segment, now);
}

/// RFC 6191: a SYN that is certainly new, by its timestamp or its sequence number, ends TIME_WAIT.
fn may_reopen(t: &TimeWait, segment: &Segment) -> bool {
    let newer = |x: Timestamps| (x.value.wrapping_sub(t.ts_recent) as i32) > 0;
    segment.seq.is_after(t.receive_next) || (t.timestamps != 0 && segment.timestamps.is_some_and(newer))
}

fn acknowledge(s: &mut Shard, t: &TimeWait, segment: &Segment, now: u64) {
    let value = milliseconds(now).wrapping_add(t.timestamp_offset);
    let bytes = timestamp_bytes(Timestamps { value, echo: t.ts_recent });
    let options: &[u8] = if t.timestamps != 0 { &bytes } else { &[] };
    reply::send(s, segment, t.send_next, t.receive_next, Flags::ACK, t.window, options);
}

/// Whether connect() may have these addresses and ports: nothing is there, or a TIME_WAIT entry that may go.
pub(super) fn is_free(s: &mut Shard, tuple: &Tuple, now: u64) -> bool {
    match s.flow(tuple) {
        None => true,
        Some(Entry::TimeWait(h)) => s.time_waits.get(h).copied().is_some_and(|t| may_take_over(s, &t, now)),
        Some(_) => false,
    }
}

/// RFC 6191 and LINUX: tcp_twsk_unique() (net.ipv4.tcp_tw_reuse): timestamps keep the old one's segments apart.
fn may_take_over(s: &Shard, t: &TimeWait, now: u64) -> bool {
    let sysctls = &s.head.sysctls;
    let is_loopback = t.head.tuple.local.is_loopback() || t.head.tuple.remote.is_loopback();
    let is_wanted = sysctls.tcp_tw_reuse == 1 || (sysctls.tcp_tw_reuse == 2 && is_loopback);
    is_wanted
        && t.state == State::TIME_WAIT
        && t.timestamps != 0
        && milliseconds(now).wrapping_sub(t.since) > sysctls.tcp_tw_reuse_delay
}

/// Ends what [`is_free`] allowed to go; the initial number for the new connection, well behind those of the old one.
pub(super) fn take_over(s: &mut Shard, tuple: &Tuple) -> Option<Seq> {
    let Some(Entry::TimeWait(h)) = s.flow(tuple) else { return None };
    let last = s.time_waits.get(h)?.send_next;
    end(s, h);
    Some(last + NUMBERS_APART)
}
