//! From the handshake to TIME_WAIT.

use crate::harness::*;
use stack::Error;
use stack::link::sim::Conditions;
use stack::tcp::{self, State};

#[test]
fn a_handshake_data_both_ways_and_an_orderly_end() {
    let mut sim = sim(Conditions::default(), 1);
    let (client, server) = connected(&mut sim);
    assert_eq!(write(&mut sim, CLIENT, client, b"question"), Ok(8));
    settle(&mut sim);
    assert_eq!(read(&mut sim, SERVER, server, 100), Ok(b"question".to_vec()));
    assert_eq!(write(&mut sim, SERVER, server, b"answer"), Ok(6));
    settle(&mut sim);
    assert_eq!(read(&mut sim, CLIENT, client, 3), Ok(b"ans".to_vec()));
    assert_eq!(read(&mut sim, CLIENT, client, 100), Ok(b"wer".to_vec()));
    assert_eq!(read(&mut sim, CLIENT, client, 100), Err(Error::Again));
    close(&mut sim, CLIENT, client);
    // The ACK of the FIN is delayed, for the server may close too.
    run_for(&mut sim, 50 * MILLISECOND);
    assert_eq!(state(&sim, SERVER, server), State::CLOSE_WAIT);
    assert_eq!(latest_state(&sim, CLIENT), State::FIN_WAIT_2);
    assert!(!exists(&sim, CLIENT, client), "a small entry waits for the FIN");
    assert_eq!(read(&mut sim, SERVER, server, 100), Ok(vec![]));
    close(&mut sim, SERVER, server);
    settle(&mut sim);
    assert!(!exists(&sim, SERVER, server) && !exists(&sim, CLIENT, client));
    assert_eq!(sim.ends[CLIENT].time_waits.in_use(), 1);
    run_for(&mut sim, 61 * SECOND);
    assert_nothing_is_left(&mut sim);
}

#[test]
fn a_megabyte_arrives_as_it_was_sent() {
    let mut sim = sim(Conditions::default(), 2);
    let (client, server) = connected(&mut sim);
    let bytes: Vec<u8> = (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut sent, mut got) = (0, Vec::new());
    while got.len() < bytes.len() {
        if let Ok(n) = write(&mut sim, CLIENT, client, &bytes[sent..]) {
            sent += n;
        }
        assert!(sim.step());
        sim.check().unwrap();
        if let Ok(part) = read(&mut sim, SERVER, server, 100_000) {
            got.extend(part);
        }
    }
    assert!(got == bytes);
}

#[test]
fn a_port_on_which_nobody_listens_refuses() {
    let mut sim = sim(Conditions::default(), 3);
    let client = connect_from(&mut sim, 40_000);
    settle(&mut sim);
    assert_eq!(state(&sim, CLIENT, client), State::CLOSED);
    assert_eq!(read(&mut sim, CLIENT, client, 10), Err(Error::Refused));
    assert_eq!(read(&mut sim, CLIENT, client, 10), Ok(vec![]));
    close(&mut sim, CLIENT, client);
    assert_nothing_is_left(&mut sim);
}

#[test]
fn closing_with_unread_bytes_resets_the_peer() {
    let mut sim = sim(Conditions::default(), 4);
    let (client, server) = connected(&mut sim);
    write(&mut sim, CLIENT, client, b"unread").unwrap();
    settle(&mut sim);
    close(&mut sim, SERVER, server);
    settle(&mut sim);
    assert_eq!(read(&mut sim, CLIENT, client, 10), Err(Error::Reset));
    assert_eq!(read(&mut sim, CLIENT, client, 10), Ok(vec![]));
    assert_eq!(write(&mut sim, CLIENT, client, b"x"), Err(Error::Pipe));
    close(&mut sim, CLIENT, client);
    assert_nothing_is_left(&mut sim);
}

#[test]
fn half_a_connection_goes_on_when_the_other_is_closed() {
    let mut sim = sim(Conditions::default(), 5);
    let (client, server) = connected(&mut sim);
    shutdown_write(&mut sim, CLIENT, client);
    settle(&mut sim);
    assert_eq!(read(&mut sim, SERVER, server, 10), Ok(vec![]));
    assert_eq!(write(&mut sim, CLIENT, client, b"x"), Err(Error::Pipe));
    for _ in 0..3 {
        assert_eq!(write(&mut sim, SERVER, server, b"still here"), Ok(10));
        settle(&mut sim);
        assert_eq!(read(&mut sim, CLIENT, client, 100), Ok(b"still here".to_vec()));
    }
    let now = sim.now;
    tcp::abort(&mut sim.ends[SERVER], server, now);
    settle(&mut sim);
    assert_eq!(read(&mut sim, CLIENT, client, 10), Err(Error::Reset));
    close(&mut sim, CLIENT, client);
    close(&mut sim, SERVER, server);
    assert_nothing_is_left(&mut sim);
}

#[test]
fn an_idle_connection_costs_less_than_a_kilobyte_and_no_frame() {
    use stack::tcp::{Connection, Request, TimeWait};
    println!(
        "connection {}, half open {}, TIME_WAIT {} bytes",
        size_of::<Connection>(),
        size_of::<Request>(),
        size_of::<TimeWait>()
    );
    assert!(size_of::<Connection>() <= 896 && size_of::<Request>() <= 64 && size_of::<TimeWait>() <= 64);
    let mut sim = sim(Conditions::default(), 6);
    let free = sim.ends.each_ref().map(|s| s.frames.available());
    let (client, server) = connected(&mut sim);
    write(&mut sim, CLIENT, client, b"something").unwrap();
    settle(&mut sim);
    read(&mut sim, SERVER, server, 100).unwrap();
    run_for(&mut sim, SECOND);
    assert_eq!(sim.ends.each_ref().map(|s| s.frames.available()), free);
}
