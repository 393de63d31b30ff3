//! Peers and strangers that mean harm: what they can make a stack spend, and what they cannot change.

use crate::harness::*;
use crate::peer::*;
use stack::link::sim::{Conditions, Sim};
use stack::region::Handle;
use stack::socket::SocketRef;
use stack::tcp::{self, Connection, Settings, State};

fn settings() -> Settings {
    Settings { no_delay: 1, ..Settings::default() }
}

/// Repeatable chance.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32 % limit.max(1)
    }
}

fn frames_in_use(peer: &Peer) -> u32 {
    peer.shard.frames.total() - peer.shard.frames.available()
}

fn sack(blocks: &[(u32, u32)]) -> Vec<u8> {
    let mut options = vec![1, 1, 5, 2 + 8 * blocks.len() as u8];
    for (from, to) in blocks {
        options.extend(from.to_be_bytes());
        options.extend(to.to_be_bytes());
    }
    options
}

const SACK_PERMITTED: [u8; 8] = [2, 4, 5, 180, 4, 2, 1, 1];

#[test]
fn two_ends_out_of_step_do_not_answer_each_other_for_ever() {
    let mut sim = sim(Conditions::default(), 11);
    let (client, server) = connected(&mut sim);
    assert_eq!(write(&mut sim, SERVER, server, b"hello"), Ok(5));
    run_for(&mut sim, SECOND);
    // A stranger gives each of them a few bytes of the other that were never sent: now each acknowledges what the
    // other has not sent, and finds the other's number wrong.
    sim.tap = Some(vec![]);
    assert_eq!(write(&mut sim, CLIENT, client, b"a"), Ok(1));
    run_for(&mut sim, 100 * MILLISECOND);
    assert_eq!(write(&mut sim, SERVER, server, b"b"), Ok(1));
    run_for(&mut sim, 100 * MILLISECOND);
    let seen = sim.tap.take().unwrap();
    for to in [CLIENT, SERVER] {
        let real = seen.iter().rev().find(|p| p.to == to && read_payload(&p.bytes) > 0).unwrap();
        let forged = stack::link::sim::Packet { bytes: forged_next(&real.bytes), ..real.clone() };
        sim.deliver(&forged);
    }
    sim.tap = Some(vec![]);
    run_for(&mut sim, 20 * SECOND);
    let packets = sim.tap.take().unwrap().len();
    assert!(packets < 100, "{packets} packets in twenty seconds");
}

fn read_payload(packet: &[u8]) -> usize {
    crate::peer::read(packet).payload.len()
}

/// The segment that would follow this one, with bytes that nobody sent.
fn forged_next(packet: &[u8]) -> Vec<u8> {
    use etherparse::{Ethernet2Header, IpNumber, Ipv4Header, TcpHeader};
    let (ethernet, rest) = Ethernet2Header::from_slice(packet).unwrap();
    let (ip, rest) = Ipv4Header::from_slice(rest).unwrap();
    let (tcp, payload) = TcpHeader::from_slice(rest).unwrap();
    let mut forged = TcpHeader::new(
        tcp.source_port,
        tcp.destination_port,
        tcp.sequence_number.wrapping_add(payload.len() as u32),
        tcp.window_size,
    );
    (forged.ack, forged.acknowledgment_number) = (true, tcp.acknowledgment_number);
    let options: Vec<u8> = tcp.options.as_slice().to_vec();
    forged.set_options_raw(&options).unwrap();
    let bytes = [0x42; 300];
    let len = forged.header_len() as u16 + bytes.len() as u16;
    let mut header = Ipv4Header::new(len, 64, IpNumber::TCP, ip.source, ip.destination).unwrap();
    header.dont_fragment = true;
    header.header_checksum = header.calc_header_checksum();
    forged.checksum = forged.calc_checksum_ipv4(&header, &bytes).unwrap();
    let mut out = ethernet.to_bytes().to_vec();
    header.write(&mut out).unwrap();
    forged.write(&mut out).unwrap();
    out.extend(bytes);
    out
}

#[test]
fn a_sweep_of_resets_and_syns_through_the_window_ends_nothing_and_is_hardly_answered() {
    let (mut peer, c) = Peer::established(&settings());
    let base = peer.seq;
    for guess in 0..20_000_u32 {
        let seq = base.wrapping_add(1 + guess * 7);
        peer.send_at(seq, if guess % 2 == 0 { RST } else { SYN }, b"");
        peer.wait(MILLISECOND / 10);
    }
    assert_eq!(peer.state(c), State::ESTABLISHED);
    let answers = peer.sent().len();
    assert!(answers <= 8, "{answers} answers in two seconds");
    peer.send(ACK, b"the real one");
    assert_eq!(peer.read(c, 100), Ok(b"the real one".to_vec()));
}

#[test]
fn acks_of_what_was_never_sent_open_no_window_and_free_nothing() {
    let (mut peer, c) = Peer::established(&settings());
    let written = peer.write(c, &[7; 100_000]).unwrap();
    let first = peer.sent();
    let sent_end = first.iter().map(|s| s.seq + s.payload.len() as u32).max().unwrap();
    let before = frames_in_use(&peer);
    for step in 1..10_000 {
        peer.ack = sent_end.wrapping_add(step * 536);
        peer.send_at(peer.seq, ACK, b"");
    }
    let data: usize = peer.sent().iter().map(|s| s.payload.len()).sum();
    assert_eq!((data, frames_in_use(&peer)), (0, before));
    assert_eq!(tcp::unacknowledged(&peer.shard, c), written);
}

#[test]
fn a_million_lies_in_sack_blocks_cost_no_memory_and_end_nothing() {
    let (mut peer, c) = Peer::established_with(&settings(), &SACK_PERMITTED);
    let written = peer.write(c, &[7; 200_000]).unwrap();
    let una = peer.sent()[0].seq;
    let mut dice = Dice(5);
    let mut most = 0;
    for step in 0..330_000 {
        let mut block = || {
            let from = una.wrapping_add(dice.below(40_000)).wrapping_sub(10_000);
            (from, from.wrapping_add(dice.below(3000)))
        };
        let options = sack(&[block(), block(), block()]);
        let (seq, ack) = (peer.seq, una);
        peer.send_any(&Send { flags: ACK, seq, ack, window: 65_535, payload: vec![], options });
        if step % 1000 == 0 {
            peer.wait(MILLISECOND);
            peer.sent();
        } else {
            peer.sent_unchecked();
        }
        most = most.max(frames_in_use(&peer));
    }
    assert_eq!(peer.state(c), State::ESTABLISHED);
    assert!(most < 400, "{most} frames");
    // The peer comes to its senses: all arrives.
    let mut arrived = una;
    for _ in 0..2000 {
        peer.ack = arrived;
        peer.send(ACK, b"");
        peer.wait(100 * MILLISECOND);
        for s in peer.sent() {
            if s.seq.wrapping_sub(arrived) as i32 <= 0 {
                let end = s.seq.wrapping_add(s.payload.len() as u32);
                arrived = if end.wrapping_sub(arrived) as i32 > 0 { end } else { arrived };
            }
        }
    }
    assert_eq!(arrived.wrapping_sub(una), written as u32);
}

#[test]
fn a_peer_that_takes_a_byte_at_a_time_gets_small_segments_but_no_more_memory() {
    let mut peer = Peer::new();
    let listener = peer.listen(4, &settings());
    // An MSS of one byte: as much as net.ipv4.tcp_min_snd_mss is sent all the same.
    peer.open_with(&[2, 4, 0, 1]);
    let c = tcp::accept(&mut peer.shard, listener).unwrap();
    let mut written = 0;
    while let Ok(n) = peer.write(c, &[7; 1000]) {
        written += n;
    }
    let most = frames_in_use(&peer);
    assert!(most <= peer.shard.frames.total() * 3 / 4, "{most} frames for {written} bytes");
    for segment in peer.sent() {
        assert!(segment.payload.len() >= 28, "{segment:?}");
    }
    // A window of a byte: no segment of a byte for each ACK.
    let mut segments = 0;
    for _ in 0..2000 {
        let (seq, ack) = (peer.seq, peer.ack);
        peer.send_any(&Send { flags: ACK, seq, ack, window: 1, payload: vec![], options: vec![] });
        let sent = peer.sent();
        segments += sent.len();
        if let Some(last) = sent.last().filter(|s| !s.payload.is_empty()) {
            peer.ack = last.seq + last.payload.len() as u32;
        }
        peer.wait(MILLISECOND);
    }
    assert!(segments < 100, "{segments} segments in two seconds");
    assert_eq!(peer.state(c), State::ESTABLISHED);
}

#[test]
fn holes_on_every_connection_leave_frames_for_one_that_has_none() {
    let mut peer = Peer::new();
    let listener = peer.listen(64, &settings());
    let mut victims: Vec<(u16, u32, u32, Handle<Connection>)> = Vec::new();
    for port in 0..40 {
        peer.port = 6000 + port;
        (peer.seq, peer.ack) = (10_000, 0);
        let c = peer.join(listener);
        victims.push((peer.port, peer.seq, peer.ack, c));
    }
    let (port, seq, ack, honest) = victims.pop().unwrap();
    for step in 0..2000_u32 {
        for (port, seq, ack, _) in &victims {
            (peer.port, peer.ack) = (*port, *ack);
            peer.send_at(seq.wrapping_add(2 + 900 * (step % 70)), ACK, &[0x42; 600]);
        }
        if step % 20 == 0 {
            peer.wait(MILLISECOND);
            peer.sent();
        } else {
            peer.sent_unchecked();
        }
    }
    (peer.port, peer.seq, peer.ack) = (port, seq, ack);
    for round in 0..200_u32 {
        peer.send(ACK, &[round as u8; 500]);
        peer.sent();
        assert_eq!(peer.read(honest, 1000), Ok(vec![round as u8; 500]), "round {round}");
    }
}

#[test]
fn overlapping_segments_of_different_bytes_never_change_what_a_program_has_seen() {
    for seed in 1..40 {
        let (mut peer, c) = Peer::established(&settings());
        let (base, mut dice) = (peer.seq, Dice(seed));
        const SPAN: usize = 6000;
        let mut sent: Vec<Vec<u8>> = vec![vec![]; SPAN];
        let (mut delivered, mut peeked): (Vec<u8>, Vec<u8>) = (vec![], vec![]);
        for step in 0..300_u32 {
            let from = dice.below(SPAN as u32) as usize;
            let from = if step % 5 == 0 { delivered.len().min(SPAN - 1) } else { from };
            let len = (1 + dice.below(900) as usize).min(SPAN - from);
            let byte = step as u8;
            sent[from..from + len].iter_mut().for_each(|place| place.push(byte));
            peer.send_at(base.wrapping_add(from as u32), ACK, &vec![byte; len]);
            peer.sent();
            if step % 3 == 0 {
                let mut look = vec![0; SPAN];
                let n = tcp::read(&mut peer.shard, c, &mut &mut look[..], true, peer.now).unwrap_or(0);
                let common = peeked.len().min(n);
                assert_eq!(look[..common], peeked[..common], "seed {seed}: seen bytes have changed");
                peeked = look[..n].to_vec();
            }
            if step % 7 == 0
                && let Ok(bytes) = peer.read(c, 1 + dice.below(2000) as usize)
            {
                let common = peeked.len().min(bytes.len());
                assert_eq!(bytes[..common], peeked[..common], "seed {seed}: seen bytes have changed");
                peeked.drain(..common);
                delivered.extend(bytes);
            }
        }
        for (at, byte) in delivered.iter().enumerate() {
            assert!(sent[at].contains(byte), "seed {seed}: nobody sent byte {at}");
        }
        assert!(!delivered.is_empty());
    }
}

#[test]
fn strangers_that_guess_cannot_reach_a_connection_with_data_or_icmp() {
    let (mut peer, c) = Peer::established(&settings());
    peer.write(c, b"outstanding").unwrap();
    peer.sent();
    let (seq, ack) = (peer.seq, peer.ack);
    for guess in 1..2000_u32 {
        // A number in the window is not enough: the acknowledgement must be near as well.
        peer.ack = ack.wrapping_sub(100_000 + guess * 65_536);
        peer.send_at(seq.wrapping_add(guess), ACK, b"injected");
    }
    assert_eq!(peer.read(c, 100), Err(stack::Error::Again));
    (peer.seq, peer.ack) = (seq, ack.wrapping_add(11));
    peer.send(ACK, b"real");
    assert_eq!(peer.read(c, 100), Ok(b"real".to_vec()));
    assert_eq!(tcp::unacknowledged(&peer.shard, c), 0);
}

#[test]
fn a_storm_of_fins_and_closes_leaves_nothing_behind() {
    let mut sim: Sim = sim(Conditions::default(), 3);
    let l = listen(&mut sim, 32);
    let mut dice = Dice(9);
    for round in 0..300 {
        let client = connect_from(&mut sim, 40_000 + round);
        run_for(&mut sim, 2 * MILLISECOND);
        let server = accept(&mut sim, l);
        let sides = [Some((CLIENT, client)), server.map(|s| (SERVER, s))];
        for side in sides.into_iter().flatten() {
            if dice.below(2) == 0 {
                let _ = write(&mut sim, side.0, side.1, &[1; 3000]);
            }
            match dice.below(3) {
                0 => shutdown_write(&mut sim, side.0, side.1),
                1 => tcp::abort(&mut sim.ends[side.0], side.1, sim.now),
                _ => {}
            }
            close(&mut sim, side.0, side.1);
        }
        run_for(&mut sim, u64::from(dice.below(3)) * MILLISECOND);
    }
    let now = sim.now;
    stack::socket::let_go(&mut sim.ends[SERVER], SocketRef::Listener(l), 1, now);
    run_for(&mut sim, 3600 * SECOND);
    assert_nothing_is_left(&mut sim);
}
