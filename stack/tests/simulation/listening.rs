//! What a listener does with floods: SYN cookies, pruning, limits; and what it agrees to.

use crate::harness::{MILLISECOND, SECOND};
use crate::peer::*;
use stack::link::sim::address;
use stack::tcp::{self, Settings, State};

/// An MSS of 1400, SACK and timestamps of 1000, scaling by 7.
const ALL_OPTIONS: [u8; 20] = [2, 4, 5, 120, 4, 2, 8, 10, 0, 0, 3, 232, 0, 0, 0, 0, 1, 3, 3, 7];

impl Peer {
    /// A SYN with options from a port of its own.
    fn syn_with(&mut self, port: u16, options: &[u8]) {
        self.port = port;
        let options = options.to_vec();
        self.send_any(&Send { flags: SYN, seq: 500, ack: 0, window: 1000, payload: vec![], options });
    }

    /// Fills the SYN queue of a listener with a backlog of 1.
    fn fill_queue(&mut self) {
        for port in [1, 2] {
            self.syn_with(port, &[]);
            assert_eq!(self.only().flags, SYN | ACK);
        }
        assert_eq!(self.shard.requests.in_use(), 2);
    }

    /// The final ACK of a handshake begun by `syn_with`.
    fn confirm(&mut self, answer: &Seen, payload: &[u8]) {
        let mut options = vec![];
        if let Some(at) = answer.options.windows(2).position(|w| w == [8, 10]) {
            options = vec![1, 1, 8, 10, 0, 0, 3, 233];
            options.extend_from_slice(&answer.options[at + 2..at + 6]);
        }
        let ack = answer.seq.wrapping_add(1);
        let payload = payload.to_vec();
        self.ack = ack;
        self.send_any(&Send { flags: ACK, seq: 501, ack, window: 2, payload, options });
    }
}

#[test]
fn a_full_syn_queue_answers_with_cookies_and_lets_real_peers_in() {
    for options in [&ALL_OPTIONS[..], &[2, 4, 2, 24], &[]] {
        let mut peer = Peer::new();
        let listener = peer.listen(1, &Settings::default());
        peer.fill_queue();
        peer.syn_with(7000, options);
        let answer = peer.only();
        assert_eq!((answer.flags, answer.ack), (SYN | ACK, 501));
        assert_eq!(peer.shard.requests.in_use(), 2, "nothing is kept");
        peer.confirm(&answer, b"hello");
        let c = tcp::accept(&mut peer.shard, listener).expect("a connection");
        assert_eq!(peer.state(c), State::ESTABLISHED);
        assert_eq!(peer.read(c, 10), Ok(b"hello".to_vec()));
        let counters = &peer.shard.counters;
        assert_eq!((counters.syn_cookies_sent, counters.syn_cookies_received), (1, 1));
        let info = tcp::info(&peer.shard, c, peer.now);
        let has_all = options.len() == ALL_OPTIONS.len();
        assert_eq!((info.timestamps, info.window_scaling), (has_all, has_all));
        assert_eq!(info.send_scale, if has_all { 7 } else { 0 });
        assert_eq!(info.send_window, if has_all { 2 << 7 } else { 2 });
        assert_eq!(info.send_mss, if has_all { 1300 - 12 } else { 536 }, "rounded down to the table's");
    }
}

#[test]
fn a_cookie_is_good_for_two_minutes_at_most_and_for_its_own_peer_alone() {
    for (wait, is_good) in [(1, true), (55, true), (121, false)] {
        let mut peer = Peer::new();
        let listener = peer.listen(1, &Settings::default());
        peer.fill_queue();
        peer.syn_with(7000, &[]);
        let answer = peer.only();
        peer.now += wait * SECOND;
        // The listener is flooded still.
        peer.syn_with(7001, &[]);
        peer.sent();
        peer.port = 7002;
        peer.confirm(&answer, b"");
        assert_eq!(peer.only().flags, RST, "another port");
        peer.port = 7000;
        peer.confirm(&Seen { seq: answer.seq.wrapping_add(4), ..answer.clone() }, b"");
        assert_eq!(peer.only().flags, RST, "an index that the table has not");
        peer.confirm(&answer, b"");
        assert_eq!(tcp::accept(&mut peer.shard, listener).is_some(), is_good, "after {wait} s");
        assert_eq!(peer.sent().iter().filter(|x| x.flags == RST).count(), usize::from(!is_good));
    }
}

#[test]
fn cookies_are_believed_only_while_and_shortly_after_they_are_sent() {
    let mut peer = Peer::new();
    let listener = peer.listen(1, &Settings::default());
    peer.fill_queue();
    peer.syn_with(7000, &[]);
    let answer = peer.only();
    peer.shard.head.sysctls.tcp_syncookies = 0;
    peer.confirm(&answer, b"");
    assert_eq!(peer.only().flags, RST);
    peer.shard.head.sysctls.tcp_syncookies = 1;
    peer.confirm(&answer, b"");
    assert!(tcp::accept(&mut peer.shard, listener).is_some());
    // A listener that has never sent one does not even look.
    let mut peer = Peer::new();
    peer.listen(1, &Settings::default());
    peer.port = 7000;
    peer.confirm(&answer, b"");
    assert_eq!((peer.only().flags, peer.shard.counters.syn_cookies_failed), (RST, 0));
}

#[test]
fn cookies_may_be_sent_always_and_a_full_table_of_requests_sends_them_too() {
    let mut peer = Peer::new();
    peer.shard.head.sysctls.tcp_syncookies = 2;
    let listener = peer.listen(8, &Settings::default());
    peer.syn_with(9, &ALL_OPTIONS);
    let answer = peer.only();
    assert_eq!(peer.shard.requests.in_use(), 0);
    peer.confirm(&answer, b"x");
    assert!(tcp::accept(&mut peer.shard, listener).is_some());

    let mut peer = Peer::new();
    let listener = peer.listen(1000, &Settings::default());
    let mut answers = Vec::new();
    for port in 1..=100 {
        peer.syn_with(port, &[]);
        answers.push(peer.only());
    }
    assert!(peer.shard.requests.is_full());
    for (port, answer) in (1..=60).zip(&answers) {
        peer.port = port;
        peer.confirm(answer, b"");
    }
    peer.port = 100;
    peer.confirm(&answers[99], b"");
    assert_eq!(peer.shard.counters.syn_cookies_received, 1);
    assert_eq!((0..100).filter(|_| tcp::accept(&mut peer.shard, listener).is_some()).count(), 61);
}

#[test]
fn a_full_accept_queue_drops_a_cookie_that_comes_back() {
    let mut peer = Peer::new();
    peer.shard.head.sysctls.tcp_syncookies = 2;
    let listener = peer.listen(0, &Settings::default());
    let mut answers = Vec::new();
    for port in [10, 11] {
        peer.syn_with(port, &[]);
        answers.push(peer.only());
    }
    for (port, answer) in [10, 11].into_iter().zip(&answers) {
        peer.port = port;
        peer.confirm(answer, b"");
    }
    assert_eq!(peer.sent(), [], "no reset: the peer tries again");
    assert!(tcp::accept(&mut peer.shard, listener).is_some());
    peer.confirm(&answers[1], b"again");
    let c = tcp::accept(&mut peer.shard, listener).unwrap();
    assert_eq!(peer.read(c, 10), Ok(b"again".to_vec()));
}

/// A million SYNs from a million places: no memory, and real clients are still served.
#[test]
fn a_flood_of_a_million_syns_costs_no_memory_and_real_peers_get_in() {
    const FLOOD: u32 = 1_000_000;
    let mut peer = Peer::new();
    let listener = peer.listen(16, &Settings::default());
    let frames = peer.shard.frames.available();
    let template = peer.frame(&Send {
        flags: SYN,
        seq: 77,
        ack: 0,
        window: 1000,
        payload: vec![],
        options: ALL_OPTIONS.to_vec(),
    });
    let mut served = 0;
    for n in 0..FLOOD {
        peer.now += 1_000;
        peer.shard.head.now = peer.now;
        peer.give(&from_elsewhere(&template, n));
        if n % 10_000 == 5_000 {
            drain(&mut peer);
            peer.syn_with(20_000 + (n / 10_000) as u16, &ALL_OPTIONS);
            let answer = peer.only();
            peer.confirm(&answer, b"GET");
            let c = tcp::accept(&mut peer.shard, listener).expect("a real peer is let in");
            assert_eq!(peer.read(c, 10), Ok(b"GET".to_vec()));
            tcp::abort(&mut peer.shard, c, peer.now);
            tcp::close(&mut peer.shard, c, peer.now);
            served += 1;
        }
        drain(&mut peer);
    }
    assert_eq!(served, 100);
    assert!(peer.shard.requests.in_use() <= 17);
    assert_eq!(peer.shard.connections.in_use(), 0);
    assert_eq!(peer.shard.frames.available(), frames);
    assert!(peer.shard.counters.syn_cookies_sent > u64::from(FLOOD) - 200);
    peer.shard.check().unwrap();
}

/// The same SYN from another source: 200 neighbours that nobody knows, and many ports.
fn from_elsewhere(template: &[u8], n: u32) -> Vec<u8> {
    let mut frame = template.to_vec();
    let source = address(1).0 & 0xffff_ff00 | (10 + n % 200);
    frame[26..30].copy_from_slice(&source.to_be_bytes());
    frame[34..36].copy_from_slice(&((n / 200) as u16 + 1024).to_be_bytes());
    // Both checksums anew.
    frame[24..26].fill(0);
    let sum = fold(words(&frame[14..34]));
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame[50..52].fill(0);
    let len = (frame.len() - 34) as u32;
    let sum = fold(words(&frame[26..34]) + 6 + len + words(&frame[34..]));
    frame[50..52].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0))).sum()
}

fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    !((once & 0xffff) + (once >> 16)) as u16
}

/// The card takes what is queued; nobody looks.
fn drain(peer: &mut Peer) {
    while let Some(frame) = peer.shard.next_out() {
        peer.shard.advance_outbox();
        peer.shard.frames.completed(frame);
    }
}

#[test]
fn without_cookies_the_last_quarter_of_the_namespace_s_queue_stays_free() {
    let mut peer = Peer::new();
    peer.shard.head.sysctls.tcp_syncookies = 0;
    peer.shard.head.sysctls.tcp_max_syn_backlog = 16;
    peer.listen(1000, &Settings::default());
    for port in 1..=40 {
        peer.syn_with(port, &[]);
    }
    assert_eq!(peer.shard.requests.in_use(), 13);
    assert_eq!(peer.shard.counters.syn_queue_overflows, 27);
}

#[test]
fn a_crowded_queue_gives_its_old_entries_fewer_tries() {
    // How many of a listener's half-open connections are left after so many seconds.
    let left = |count: u16, seconds: u64| {
        let mut peer = Peer::new();
        peer.listen(16, &Settings::default());
        for port in 1..=count {
            peer.syn_with(port, &[]);
        }
        peer.wait(seconds * SECOND);
        peer.sent();
        peer.shard.requests.in_use()
    };
    // Two timeouts are at 1 and 3 s, the next ones at 7, 15, 31 and 63 s.
    assert_eq!((left(8, 40), left(8, 64)), (8, 0));
    // LINUX: they are thrown out at 7 s, until no more than half of the queue is taken.
    assert_eq!((left(16, 6), left(16, 8), left(16, 40)), (16, 8, 8));
}

#[test]
fn tcp_synack_retries_and_tcp_syncnt_say_how_often_a_syn_ack_is_sent_again() {
    for (sysctl, option, expected) in [(3, 0, 3), (5, 2, 2), (0, 0, 0)] {
        let mut peer = Peer::new();
        peer.shard.head.sysctls.tcp_synack_retries = sysctl;
        peer.listen(4, &Settings { syn_count: option, ..Settings::default() });
        peer.send(SYN, b"");
        peer.only();
        peer.wait(100 * SECOND);
        assert_eq!(peer.sent().len(), expected);
        assert_eq!(peer.shard.requests.in_use(), 0);
    }
}

#[test]
fn a_full_accept_queue_may_reset_instead() {
    let mut peer = Peer::new();
    peer.shard.head.sysctls.tcp_abort_on_overflow = 1;
    let listener = peer.listen(1, &Settings::default());
    let mut answers = Vec::new();
    peer.open();
    for port in [6000, 6001] {
        peer.syn_with(port, &[]);
        answers.push(peer.only());
    }
    for (port, answer) in [6000, 6001].into_iter().zip(&answers) {
        peer.port = port;
        peer.confirm(answer, b"");
    }
    let reset = peer.only();
    assert_eq!((reset.flags, reset.seq), (RST, answers[1].seq + 1));
    assert_eq!(peer.shard.requests.in_use(), 0);
    assert!(tcp::accept(&mut peer.shard, listener).is_some());
}

#[test]
fn listen_again_changes_the_backlog_and_somaxconn_bounds_it() {
    let mut peer = Peer::new();
    peer.shard.head.sysctls.somaxconn = 2;
    let listener = peer.listen(100, &Settings::default());
    let backlog = |peer: &Peer| peer.shard.listeners.get(listener).unwrap().backlog;
    assert_eq!(backlog(&peer), 2);
    tcp::set_backlog(&mut peer.shard, listener, 1);
    assert_eq!(backlog(&peer), 1);
    tcp::set_backlog(&mut peer.shard, listener, u32::MAX);
    assert_eq!(backlog(&peer), 2);
}

#[test]
fn a_segment_that_cannot_be_right_is_challenged_and_one_in_its_place_is_believed() {
    let mut peer = Peer::new();
    peer.listen(4, &Settings::default());
    peer.syn_with(4000, &[]);
    let answer = peer.only();
    // RFC 5961 3.2: a reset beside RCV.NXT asks for another one.
    peer.ack = answer.seq + 1;
    peer.send_at(700, RST, b"");
    let challenge = peer.only();
    assert_eq!((challenge.flags, challenge.seq, challenge.ack), (ACK, answer.seq + 1, 501));
    peer.send_at(700, SYN, b"");
    assert_eq!(peer.sent(), [], "one in tcp_invalid_ratelimit");
    peer.now += 600 * MILLISECOND;
    peer.send_at(800, SYN, b"");
    assert_eq!(peer.only(), challenge);
    peer.now += 600 * MILLISECOND;
    peer.send_at(99_000, ACK, b"");
    assert_eq!(peer.only(), challenge, "out of the window");
    peer.send_at(99_000, RST, b"");
    assert_eq!((peer.sent().len(), peer.shard.requests.in_use()), (0, 1));
    peer.ack = answer.seq + 7;
    peer.send_at(501, ACK, b"");
    assert_eq!(peer.only().flags, RST);
    assert_eq!(peer.shard.requests.in_use(), 1, "not acceptable, and not believed");
    peer.send_at(501, RST, b"");
    assert_eq!(peer.shard.requests.in_use(), 0);
}

#[test]
fn a_listener_answers_neither_resets_nor_a_syn_that_is_the_end_as_well() {
    let mut peer = Peer::new();
    peer.listen(4, &Settings::default());
    for flags in [RST, RST | ACK, RST | SYN, SYN | FIN, FIN, 0] {
        peer.send_at(9, flags, b"");
        assert_eq!(peer.sent(), [], "{flags:#x}");
    }
    for flags in [ACK, ACK | FIN, SYN | ACK] {
        peer.ack = 4711;
        peer.send_at(9, flags, b"");
        let reset = peer.only();
        assert_eq!((reset.flags, reset.seq), (RST, 4711), "{flags:#x}");
    }
    assert_eq!(peer.shard.requests.in_use(), 0);
}

#[test]
fn data_in_an_ordinary_syn_is_left_for_the_peer_to_send_again() {
    let mut peer = Peer::new();
    let listener = peer.listen(4, &Settings::default());
    peer.send_at(500, SYN, b"early");
    let answer = peer.only();
    assert_eq!(answer.ack, 501, "the SYN alone");
    peer.confirm(&answer, b"early");
    let c = tcp::accept(&mut peer.shard, listener).unwrap();
    assert_eq!(peer.read(c, 10), Ok(b"early".to_vec()));
}
