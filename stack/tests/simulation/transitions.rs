//! Every state against every event, as one table beside RFC 9293's, and what a program sees in each state.
//!
//! The table is `transitions/table.txt`. A change of it has to be explained; `SHUNT_BLESS=1` writes it anew.

mod cases;
mod rfc9293;

use crate::peer::*;
use cases::{Case, EVENTS, STATES, settings};
use stack::tcp;
use std::fmt::Write;
use std::path::Path;

/// What was sent: S(YN) F(IN) R(ST) A(CK), + for payload; what comes again and again once.
fn letters(sent: &[Seen]) -> String {
    let of = |s: &Seen| {
        let letters = [(SYN, "S"), (FIN, "F"), (RST, "R"), (ACK, "A")];
        let mut word: String = letters.iter().filter(|l| s.flags & l.0 != 0).map(|l| l.1).collect();
        if !s.payload.is_empty() {
            word.push('+');
        }
        word
    };
    let mut words: Vec<String> = sent.iter().map(of).collect();
    words.dedup();
    words.join(" ")
}

/// What happens in a state: `STATE sent`, `=` for the same state.
fn outcome(name: &str, case: &mut Case) -> String {
    let plain = name.trim_end_matches('*');
    let sent = letters(&case.note_sent());
    let state = case.condition();
    let state = if state == plain { "=" } else { state };
    format!("{state} {sent}").trim_end().to_string()
}

#[test]
fn every_state_does_with_every_event_what_the_table_says() {
    let mut table = String::from(HEAD);
    let mut unexplained = Vec::new();
    for (column, (name, reach)) in STATES.into_iter().enumerate() {
        assert_eq!(reach().condition(), name.trim_end_matches('*'));
        let _ = writeln!(table, "\n{name}");
        for (event, happen) in EVENTS {
            let mut case = reach();
            let answer = happen(&mut case);
            let ours = outcome(name, &mut case);
            let rfc = rfc9293::says(event, column);
            let reason = rfc9293::reason(event, name);
            let differs = rfc.is_some_and(|rfc| rfc != ours);
            if differs != reason.is_some() {
                unexplained.push(format!("{name}, {event}: {ours}, RFC 9293: {rfc:?}, reason: {reason:?}"));
            }
            let rfc = if differs { rfc.unwrap_or("") } else { "" };
            let line =
                format!("    {event:<20}{ours:<20}{answer:<14}{rfc:<18}{}", reason.unwrap_or_default());
            let _ = writeln!(table, "{}", line.trim_end());
        }
    }
    println!("{table}");
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    compare(&table);
}

const HEAD: &str = "\
Each state: event, state after it (= the same) and what was sent (S, F, R, A; + payload), what a call answers, what RFC 9293
says if it says otherwise, and why. SYN_RECEIVED* is a connection that both sides open at once.
";

fn compare(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/transitions/table.txt");
    if std::env::var_os("SHUNT_BLESS").is_some() {
        std::fs::write(&path, table).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (is, should)) in table.lines().zip(kept.lines()).enumerate() {
        assert_eq!(is, should, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(table, kept);
}

const IN: u32 = 0x41;
const OUT: u32 = 0x104;
const ERR: u32 = 8;
const HUP: u32 = 0x10;
const RDHUP: u32 = 0x2000;

#[test]
fn readiness_is_what_linux_shows_in_each_state() {
    let expected = [
        ("SYN_SENT", 0),
        ("SYN_RECEIVED*", 0),
        ("ESTABLISHED", OUT),
        ("FIN_WAIT_1", OUT),
        ("FIN_WAIT_2", OUT),
        ("CLOSE_WAIT", IN | OUT | RDHUP),
        ("CLOSING", IN | OUT | RDHUP | HUP),
        ("LAST_ACK", IN | OUT | RDHUP | HUP),
        ("TIME_WAIT", IN | OUT | RDHUP | HUP),
    ];
    for (name, events) in expected {
        let (_, reach) = STATES.into_iter().find(|s| s.0 == name).unwrap();
        assert_eq!(reach().readiness(), events, "{name}");
    }
    let mut refused = cases::syn_sent();
    refused.arrives(RST | ACK, 0, refused.sent_end, b"");
    assert_eq!(refused.readiness(), IN | OUT | RDHUP | HUP | ERR);
    let (mut full, c) = Peer::established(&settings());
    while full.write(c, &[0; 1000]).is_ok() {}
    assert_eq!(tcp::readiness(&full.shard, c), 0);
    let (mut read_shut, c) = Peer::established(&settings());
    tcp::shutdown_read(&mut read_shut.shard, c);
    assert_eq!(tcp::readiness(&read_shut.shard, c), IN | OUT | RDHUP);
    read_shut.send(ACK, b"still taken");
    assert_eq!(read_shut.read(c, 100), Ok(b"still taken".to_vec()), "LINUX: until the end");
    assert_eq!(read_shut.read(c, 100), Ok(vec![]));
}
