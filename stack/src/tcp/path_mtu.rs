//! What the path carries: RFC 1191, where routers say so, and RFC 4821, where they do not.
//!
//! LINUX: with net.ipv4.tcp_mtu_probing a connection starts small (always, or once it seems that large packets get
//! lost), and tries now and then whether a segment halfway between what is known to pass and what may pass does.

use super::connection::Marks;
use super::recovery::{self, Phase};
use super::transmit::milliseconds;
use super::turn::Turn;
use super::{Seq, output, send_queue};
use crate::region::{FrameId, Steps, Walked};
use crate::wire::checksum;
use crate::wire::options::TIMESTAMPS_LEN;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const IP_AND_TCP: u32 = 40;
/// LINUX: values of IP_MTU_DISCOVER that leave the MTU to the device, whatever a router says.
const OF_INTERFACE: u8 = 4;
/// LINUX: net.ipv4.ip_no_pmtu_disc: no protocol hears of such errors.
const DROP_ERRORS: u32 = 2;
/// LINUX: tcp_mtu_probe(): a probe is as good as lost in a smaller window.
const LEAST_WINDOW: u32 = 11;
/// LINUX: net.ipv4.tcp_mtu_probing: also before anything was lost.
const ALWAYS: u32 = 2;

/// What is known of the path.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Probing {
    /// The errno of the last ICMP error that did not end the connection; 0 for none since something arrived.
    pub soft_error: u8,
    /// 1 when the MTU is searched for.
    is_on: u8,
    /// An MTU that passes, and the largest that might.
    low: u16,
    high: u16,
    /// The MTU that is being tried; 0 for none.
    size: u16,
    /// The place of the segment that tries it, and behind it.
    start: Seq,
    end: Seq,
    /// When the search began, in milliseconds.
    since: u32,
    /// When what a router said is to be forgotten, in seconds; 0 for nothing.
    until: u32,
}

impl Probing {
    /// The largest segment, without options, that is known to pass; None while nothing is searched.
    pub(super) fn limit(&self) -> Option<u16> {
        (self.is_on != 0).then(|| self.low.saturating_sub(IP_AND_TCP as u16))
    }

    /// A probe was sent; a peer may have acknowledged a part of it.
    pub(super) fn is_sound(&self, next: Seq) -> bool {
        self.size == 0 || !self.end.is_after(next)
    }
}

fn seconds(t: &Turn<'_>) -> u32 {
    ((t.now / 1_000_000_000) as u32).max(1)
}

/// Of the headers that every segment has, those that are options.
fn options(t: &Turn<'_>) -> u32 {
    if t.c.marks.has(Marks::TIMESTAMPS) { TIMESTAMPS_LEN as u32 } else { 0 }
}

fn payload_of(t: &Turn<'_>, mtu: u16) -> u32 {
    u32::from(mtu).saturating_sub(IP_AND_TCP + options(t))
}

fn mtu_of(t: &Turn<'_>, payload: u32) -> u16 {
    payload.saturating_add(IP_AND_TCP + options(t)).min(u32::from(u16::MAX)) as u16
}

/// The handshake is done: what the peer takes and the path may carry is known.
///
/// LINUX: tcp_mtup_init().
pub(super) fn start(t: &mut Turn<'_>) {
    let probing = Probing { soft_error: 0, until: t.c.probing.until, ..Probing::default() };
    t.c.probing = probing;
    if t.head.sysctls.tcp_mtu_probing >= ALWAYS {
        begin_search(t, t.head.sysctls.tcp_base_mss);
        t.fit_segments();
    }
}

fn begin_search(t: &mut Turn<'_>, payload: u32) {
    let (low, high) = (mtu_of(t, payload), t.c.send.peer_mss.saturating_add(IP_AND_TCP as u16));
    let since = milliseconds(t.now);
    let p = &mut t.c.probing;
    (p.is_on, p.low, p.high, p.size, p.since) = (1, low.min(high), high, 0, since);
}

/// A router says that it could not pass a segment on.
///
/// LINUX: tcp_v4_mtu_reduced().
pub(super) fn too_big(t: &mut Turn<'_>, seq: Seq, mtu: u16) {
    // RFC 5927 7: what is about to be lowered must be what was sent: an outstanding segment larger than that.
    let largest = payload_of(t, t.c.path.mtu);
    let is_outstanding = seq.is_before(t.c.send.next) && largest > 0;
    let believes = t.c.settings.mtu_discovery < OF_INTERFACE && t.head.sysctls.ip_no_pmtu_disc != DROP_ERRORS;
    // RFC 1191 3: a router never says more than what did not fit, and nothing on the way is as small as that.
    let is_likely = u32::from(mtu) >= t.head.sysctls.min_pmtu && mtu < t.c.path.mtu;
    if !is_outstanding || !believes || !is_likely {
        return;
    }
    t.counters.path_mtu_lowered += 1;
    let until = seconds(t).saturating_add(t.head.sysctls.mtu_expires);
    t.net.learn_mtu(t.c.head.tuple.remote, mtu, until, seconds(t));
    t.c.path.mtu = mtu;
    t.c.probing.until = until;
    t.c.probing.size = 0;
    t.fit_segments();
    recovery::send_again_smaller(t);
}

/// What routers have said of the way to this peer, to this connection or another one.
pub(super) fn recall(t: &mut Turn<'_>) {
    let now = seconds(t);
    if let Some((mtu, until)) = t.net.learned_mtu(t.c.head.tuple.remote, now)
        && mtu < t.c.path.mtu
    {
        t.c.path.mtu = mtu;
        t.c.probing.until = until;
    }
}

/// RFC 1191 6.3: "the PMTU estimate should be set to the first-hop data-link MTU" again, after ten minutes.
pub(super) fn forget_if_old(t: &mut Turn<'_>) {
    if t.c.probing.until != 0 && seconds(t) >= t.c.probing.until {
        t.c.probing.until = 0;
        // The next look at the path finds what the device carries.
        t.c.path.generation = 0;
    }
}

/// Timeouts follow one another: perhaps large packets get lost, and no router says so (RFC 2923, "black hole").
///
/// LINUX: tcp_mtu_probing().
pub(super) fn suspect_black_hole(t: &mut Turn<'_>) {
    let sysctls = &t.head.sysctls;
    if sysctls.tcp_mtu_probing == 0 || t.c.state.is_opening() {
        return;
    }
    let (base, floor) = (sysctls.tcp_base_mss, sysctls.tcp_mtu_probe_floor.max(sysctls.tcp_min_snd_mss));
    if t.c.probing.is_on == 0 {
        begin_search(t, base);
    } else {
        let payload = (payload_of(t, t.c.probing.low) / 2).min(base).max(floor);
        t.c.probing.low = mtu_of(t, payload);
    }
    t.counters.path_mtu_black_holes += 1;
    t.fit_segments();
}

/// Whether output goes on as usual.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    GoOn,
    /// The flight has to shrink first, for a probe to fit.
    Wait,
}

/// Sends the next fresh bytes as one segment that tries a larger MTU, if it is time and there are enough of them.
///
/// LINUX: tcp_mtu_probe(). RFC 4821 7.4: enough is in the queue for the loss to be found out by what follows.
pub(super) fn probe(t: &mut Turn<'_>) -> Verdict {
    if t.c.probing.is_on == 0 || t.c.probing.size != 0 {
        return Verdict::GoOn;
    }
    let high = t.c.probing.high.min(t.c.path.mtu);
    let low = t.c.probing.low.min(high);
    let mss = u32::from(t.c.send.mss);
    let is_calm = t.c.recovery.phase == Phase::OPEN
        && t.c.congestion.window / mss.max(1) >= LEAST_WINDOW
        && t.c.receive.beyond.len == 0;
    if !is_calm {
        return Verdict::GoOn;
    }
    if u32::from(high - low) < t.head.sysctls.tcp_probe_threshold.max(1) {
        search_again(t);
        return Verdict::GoOn;
    }
    let mtu = low + (high - low) / 2;
    let payload = payload_of(t, mtu);
    let needed = payload.saturating_add((u32::from(t.c.recovery.reordering) + 1).saturating_mul(mss));
    let is_enough = t.c.send.end.since(t.c.send.next) >= needed && t.c.send.window >= needed;
    if payload <= mss || !is_enough {
        return Verdict::GoOn;
    }
    let has_room = t.c.in_flight().saturating_add(2 * mss) <= t.c.congestion.window;
    if output::window_room(t) < needed || !has_room {
        return if t.c.has_outstanding() { Verdict::Wait } else { Verdict::GoOn };
    }
    send_probe(t, mtu, payload);
    Verdict::GoOn
}

fn send_probe(t: &mut Turn<'_>, mtu: u16, payload: u32) {
    let mss = u32::from(t.c.send.mss);
    let frame = t.c.send.fresh;
    if !gather(t, frame, payload as u16) {
        return;
    }
    let start = t.c.send.next;
    let next = FrameId(t.frames.meta(frame).map_or(0, |m| m.link.next));
    t.send_queued(frame);
    t.c.send.next = start + payload;
    t.c.send.fresh = next;
    t.counters.path_mtu_probes += 1;
    let p = &mut t.c.probing;
    (p.size, p.start, p.end) = (mtu, start, start + payload);
    // LINUX: "we are sending effectively two packets".
    t.c.congestion.window = t.c.congestion.window.saturating_sub(mss).max(mss);
}

/// Moves bytes of the frames behind `frame`, none of which was sent yet, into it, until it has `len` of them.
fn gather(t: &mut Turn<'_>, frame: FrameId, len: u16) -> bool {
    let Some(first) = t.frames.meta(frame).copied() else { return false };
    if first.in_flight != 0 || u32::from(first.payload) + u32::from(len) > t.frames.chunk_size() {
        return false;
    }
    let mut have = first.payload_len;
    let mut steps = Steps::over(t.frames);
    while have < len && steps.take(t.frames.damage()) {
        let next = FrameId(t.frames.meta(frame).map_or(0, |m| m.link.next));
        let Some(from) = t.frames.meta(next).copied() else { break };
        if from.in_flight != 0 || from.payload_len == 0 {
            break;
        }
        let part = (len - have).min(from.payload_len);
        send_queue::copy(t.frames, (next, from.payload), (frame, first.payload + have), part);
        have += part;
        if part == from.payload_len {
            t.c.send.queue.remove(t.frames, next.0);
            t.frames.release(next);
        } else if let Some(meta) = t.frames.meta_mut(next) {
            meta.cut_front(part);
            resum(t, next);
        }
        if let Some(meta) = t.frames.meta_mut(frame) {
            meta.payload_len = have;
        }
    }
    resum(t, frame);
    have == len
}

fn resum(t: &mut Turn<'_>, frame: FrameId) {
    let sum = checksum::sum(t.frames.payload(frame));
    if let Some(meta) = t.frames.meta_mut(frame) {
        meta.sum = sum;
    }
}

/// The search is over, or has been for so long that the path may be another one.
///
/// LINUX: tcp_mtu_check_reprobe().
fn search_again(t: &mut Turn<'_>) {
    let interval = t.head.sysctls.tcp_probe_interval.saturating_mul(1000);
    if milliseconds(t.now).wrapping_sub(t.c.probing.since) >= interval {
        begin_search(t, u32::from(t.c.send.mss));
    }
}

/// The acknowledgement number has moved: a probe that it covers has passed.
///
/// LINUX: tcp_mtup_probe_success(): the window stays the same in bytes on the wire.
#[inline]
pub(super) fn on_ack(t: &mut Turn<'_>) {
    if t.c.probing.size != 0 && !t.c.probing.end.is_after(t.c.send.una) {
        t.c.probing.low = t.c.probing.size;
        t.c.probing.size = 0;
        t.fit_segments();
    }
}

/// Something is lost. True if it is the probe alone, which says nothing but that it was too large.
///
/// LINUX: tcp_fastretrans_alert() and tcp_mtup_probe_failed().
pub(super) fn has_failed(t: &mut Turn<'_>) -> bool {
    let p = t.c.probing;
    if p.size == 0 || t.c.send.una != p.start || t.c.recovery.phase >= Phase::CWR {
        return false;
    }
    t.c.probing.high = p.size - 1;
    t.c.probing.size = 0;
    let mss = u32::from(t.c.send.mss);
    t.c.congestion.window = t.c.congestion.window.saturating_add(mss);
    recovery::repair_at_full_window(t);
    true
}

/// A timeout says nothing of the probe.
pub(super) fn is_inconclusive(t: &mut Turn<'_>) {
    t.c.probing.size = 0;
}
