//! Buffers that grow with the flow, and the windows that they give.

use crate::harness::*;
use crate::peer::{ACK, Peer, Send};
use stack::Error;
use stack::link::sim::{Conditions, Sim};
use stack::region::{Handle, Sizes};
use stack::tcp::{self, Connection, Settings};

/// MSS 1460, SACK, timestamps, and windows that are scaled by nothing.
const OFFER: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 0];
/// MSS 1460 and windows scaled by 7.
const SCALED: [u8; 8] = [2, 4, 5, 180, 1, 3, 3, 7];
const MEBIBYTE: u32 = 1 << 20;
const OUT: u32 = 4;

fn buffers(sim: &Sim, end: usize, c: Handle<Connection>) -> (u32, u32) {
    let c = sim.ends[end].connections.get(c).unwrap();
    (c.send_buffer(), c.receive_buffer())
}

/// Both programs do all they can for a while; bytes that the server's got in that time.
fn pump(sim: &mut Sim, client: Handle<Connection>, server: Handle<Connection>, nanoseconds: u64) -> u64 {
    let (end, zeros, mut into) = (sim.now + nanoseconds, vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut got = 0;
    while sim.now < end && sim.step() {
        let now = sim.now;
        while tcp::write(&mut sim.ends[CLIENT], client, &mut &zeros[..], false, now).is_ok() {}
        while let Ok(n) = tcp::read(&mut sim.ends[SERVER], server, &mut &mut into[..], false, now) {
            got += n as u64;
        }
    }
    got
}

fn wide(delay: u64, most: u32, settings: &Settings) -> (Sim, Handle<Connection>, Handle<Connection>) {
    let sizes = Sizes { frames: 1 << 16, ..Sizes::tiny() };
    let conditions = Conditions { delay, jitter: 0, ..Conditions::default() };
    let mut sim = Sim::new(sizes, conditions, 7).unwrap();
    for end in &mut sim.ends {
        (end.head.sysctls.tcp_rmem_most, end.head.sysctls.tcp_wmem_most) = (most, most);
    }
    let listener =
        tcp::listen(&mut sim.ends[SERVER], stack::link::sim::address(SERVER), PORT, 4, settings).unwrap();
    let client = connect_with(&mut sim, 40_000, settings);
    sim.run_for(3 * delay + MILLISECOND);
    let server = accept(&mut sim, listener).unwrap();
    (sim, client, server)
}

#[test]
fn both_buffers_grow_to_fill_a_gigabit_over_a_fifth_of_a_second() {
    let (mut sim, client, server) = wide(100 * MILLISECOND, 96 * MEBIBYTE, &Settings::default());
    assert_eq!((buffers(&sim, CLIENT, client).0, buffers(&sim, SERVER, server).1), (87_040, 131_072));
    pump(&mut sim, client, server, 4 * SECOND);
    let got = pump(&mut sim, client, server, SECOND);
    assert!(got * 8 > 900_000_000, "{} Mb/s", got * 8 / 1_000_000);
    let window = tcp::info(&sim.ends[SERVER], server, sim.now).receive_window;
    assert!(window > 25_000_000, "{window}");
    sim.check().unwrap();
}

#[test]
fn a_buffer_grows_to_its_limit_and_not_beyond() {
    let (mut sim, client, server) = wide(20 * MILLISECOND, 2 * MEBIBYTE, &Settings::default());
    pump(&mut sim, client, server, 3 * SECOND);
    assert_eq!((buffers(&sim, CLIENT, client).0, buffers(&sim, SERVER, server).1), (2 << 20, 2 << 20));
    assert!(tcp::info(&sim.ends[SERVER], server, sim.now).receive_window <= MEBIBYTE + 128);
}

/// What overhead a frame has is not a bulk writer's affair: Linux's buffers have next to none.
#[test]
fn a_send_buffer_holds_its_size_in_full_segments() {
    let set = Settings { send_buffer: MEBIBYTE, buffers_fixed: 1, ..Settings::default() };
    let (mut sim, _, server) = wide(SECOND, MEBIBYTE, &set);
    let (now, bytes) = (sim.now, vec![0; 100_000]);
    while tcp::write(&mut sim.ends[SERVER], server, &mut &bytes[..], false, now).is_ok() {}
    let held = tcp::unacknowledged(&sim.ends[SERVER], server) as u32;
    assert!((MEBIBYTE..MEBIBYTE + 1460).contains(&held), "{held}");
}

#[test]
fn a_size_that_the_program_has_set_stays() {
    let set =
        Settings { receive_buffer: 200_000, send_buffer: 100_000, buffers_fixed: 3, ..Settings::default() };
    let (mut sim, client, server) = wide(20 * MILLISECOND, 8 * MEBIBYTE, &set);
    pump(&mut sim, client, server, 2 * SECOND);
    assert_eq!(buffers(&sim, SERVER, server), (100_000, 200_000));
    assert!(tcp::info(&sim.ends[SERVER], server, sim.now).receive_window <= 100_000);
    // RFC 7323 2.3: such a buffer needs no more than a shift of one.
    assert_eq!(tcp::info(&sim.ends[SERVER], server, sim.now).receive_scale, 1);
}

#[test]
fn without_moderation_or_without_a_reader_nothing_grows() {
    let (mut sim, client, server) = wide(20 * MILLISECOND, 8 * MEBIBYTE, &Settings::default());
    sim.ends[SERVER].head.sysctls.tcp_moderate_rcvbuf = 0;
    pump(&mut sim, client, server, 2 * SECOND);
    assert_eq!(buffers(&sim, SERVER, server).1, 131_072);

    let (mut sim, client, server) = wide(20 * MILLISECOND, 8 * MEBIBYTE, &Settings::default());
    let zeros = vec![0; 1 << 20];
    for _ in 0..400 {
        let _ = write(&mut sim, CLIENT, client, &zeros);
        run_for(&mut sim, 5 * MILLISECOND);
    }
    assert_eq!(buffers(&sim, SERVER, server).1, 131_072);
    assert!(tcp::unread(&sim.ends[SERVER], server) <= 131_072);
}

#[test]
fn the_first_window_is_64_kilobytes_and_its_scale_that_of_the_largest_buffer() {
    let mut peer = Peer::new();
    peer.listen(4, &Settings::default());
    let seq = peer.seq;
    peer.send_any(&Send { flags: 2, seq, ack: 0, window: 65_535, payload: vec![], options: OFFER.to_vec() });
    let answer = peer.only();
    assert_eq!(answer.window, 65_535);
    let scale = answer.options.windows(3).find(|w| w[..2] == [3, 3]).map(|w| w[2]);
    assert_eq!(scale, Some(7), "6 MiB of tcp_rmem");
}

#[test]
fn a_window_clamp_holds_from_the_first_window_on() {
    let clamped = Settings { window_clamp: 10_000, no_delay: 1, ..Settings::default() };
    let (mut peer, c) = Peer::established_with(&clamped, &[]);
    for _ in 0..100 {
        peer.send(ACK, &[1; 1000]);
        for seen in peer.sent() {
            assert!(seen.window <= 10_000, "{seen:?}");
        }
        while peer.read(c, 4000).is_ok() {}
    }
    assert!(peer.seq > 100_000, "and the flow goes on");
}

#[test]
fn a_program_that_reads_in_small_pieces_opens_the_window_by_segments() {
    let small = Settings { receive_buffer: 65_536, buffers_fixed: 2, no_delay: 1, ..Settings::default() };
    let (mut peer, c) = Peer::established_with(&small, &[]);
    while peer.shard.connections.get(c).is_some() {
        peer.send(ACK, &[1; 1000]);
        peer.wait(50 * MILLISECOND);
        if peer.sent().last().is_some_and(|s| s.window < 1000) {
            break;
        }
    }
    let mut edges = Vec::new();
    while peer.read(c, 100).is_ok() {
        for seen in peer.sent() {
            edges.push(seen.ack.wrapping_add(u32::from(seen.window)));
        }
        // The peer asks again and again.
        peer.send_at(peer.seq.wrapping_sub(1), ACK, b"");
        edges.extend(peer.sent().iter().map(|s| s.ack.wrapping_add(u32::from(s.window))));
        peer.wait(SECOND);
    }
    let steps: Vec<u32> =
        edges.windows(2).map(|w| w[1].wrapping_sub(w[0])).filter(|&step| step > 0).collect();
    assert!(!steps.is_empty() && steps.iter().all(|&step| step >= 1000), "{steps:?}");
}

#[test]
fn what_was_not_sent_stays_below_its_low_water_mark_and_wakes_writers_at_half_of_it() {
    let few = Settings { not_sent_low_water: 20_000, no_delay: 1, ..Settings::default() };
    let (mut peer, c) = Peer::established_with(&few, &OFFER);
    let (mut written, bytes) = (0, [0; 1000]);
    while let Ok(n) = peer.write(c, &bytes) {
        written += n;
    }
    let sent: usize = peer.sent().iter().map(|s| s.payload.len()).sum();
    assert!((sent + 20_000..sent + 22_000).contains(&written), "{written} written, {sent} sent");
    assert_eq!(tcp::readiness(&peer.shard, c) & OUT, 0);
    // Acknowledged bit by bit: writable as soon as less than half of the mark waits.
    let mut acked = 0;
    loop {
        acked += 1448;
        let (seq, ack) = (peer.seq, peer.ack.wrapping_add(acked));
        peer.send_any(&Send { flags: ACK, seq, ack, window: 65_535, payload: vec![], options: vec![] });
        peer.sent();
        let waiting = tcp::info(&peer.shard, c, peer.now).not_sent;
        let writable = tcp::readiness(&peer.shard, c) & OUT != 0;
        assert_eq!(writable, waiting < 10_000, "{waiting} wait");
        if waiting == 0 {
            break;
        }
    }
    // The namespace's mark holds where the program has none.
    let (mut peer, c) = Peer::established_with(&Settings::default(), &OFFER);
    peer.shard.head.sysctls.tcp_notsent_lowat = 1;
    assert!(peer.write(c, &[0; 100]).is_ok());
    peer.shard.head.sysctls.tcp_notsent_lowat = 0;
    assert_eq!(peer.write(c, &[0; 5000]), Err(Error::Again));
}

#[test]
fn small_segments_that_nobody_reads_do_not_outgrow_the_buffer_by_the_rounding_of_windows() {
    let scaled = [&OFFER[..19], &[7][..]].concat();
    let settings = Settings { no_delay: 1, ..Settings::default() };
    for timestamps in [false, true] {
        let (mut peer, c) = Peer::established_with(&settings, if timestamps { &scaled } else { &SCALED });
        let mut options = vec![];
        if timestamps {
            options = vec![1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 0];
        }
        for _ in 0..3_000 {
            let (seq, ack, payload) = (peer.seq, peer.ack, vec![1; 100]);
            let options = options.clone();
            peer.send_any(&Send { flags: ACK, seq, ack, window: 65_535, payload, options });
            if let Some(answer) = peer.sent_unchecked().last() {
                peer.seq = answer.ack;
            }
        }
        assert!(tcp::unread(&peer.shard, c) <= 131_072 + 100, "{}", tcp::unread(&peer.shard, c));
        // What was dropped comes again once there is room.
        while peer.read(c, 4000).is_ok() {}
        peer.sent();
        let (seq, ack, payload) = (peer.seq, peer.ack, vec![2; 100]);
        peer.send_any(&Send { flags: ACK, seq, ack, window: 65_535, payload, options });
        assert_eq!(peer.read(c, 4000), Ok(vec![2; 100]));
    }
}
