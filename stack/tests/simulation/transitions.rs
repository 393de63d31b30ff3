//! Every state against every event, as one table, and what a program sees in each state.
//!
//! The table is that of RFC 9293 3.3.2 and 3.10, with RFC 5961's challenges; a change of it has to be explained.

use crate::peer::*;
use stack::region::Handle;
use stack::tcp::{self, Connection, Settings};

/// How a connection is brought into a state.
type Reach = fn() -> Case;
/// What happens to it there.
type Happen = fn(&mut Case);

const STATES: [(&str, Reach); 9] = [
    ("SYN_SENT", syn_sent),
    ("SYN_RECEIVED", syn_received),
    ("ESTABLISHED", established),
    ("FIN_WAIT_1", fin_wait_1),
    ("FIN_WAIT_2", fin_wait_2),
    ("CLOSE_WAIT", close_wait),
    ("CLOSING", closing),
    ("LAST_ACK", last_ack),
    ("TIME_WAIT", time_wait),
];

const EVENTS: [(&str, Happen); 10] = [
    ("shutdown", |x| tcp::shutdown_write(&mut x.peer.shard, x.c, x.peer.now)),
    ("close", |x| x.peer.close(x.c)),
    ("abort", |x| tcp::abort(&mut x.peer.shard, x.c, x.peer.now)),
    ("SYN", |x| x.peer.send(SYN, b"")),
    ("ACK", |x| x.peer.send(ACK, b"")),
    ("ACK of all", |x| x.acknowledge_all(ACK, b"")),
    ("data", |x| x.peer.send(ACK, b"data")),
    ("FIN", |x| x.peer.send(ACK | FIN, b"")),
    ("FIN+ACK of all", |x| x.acknowledge_all(ACK | FIN, b"")),
    ("RST", |x| x.peer.send(RST | ACK, b"")),
];

/// State after the event, and what was sent: S(YN) F(IN) R(ST) A(CK).
const TABLE: &str = "\
SYN_SENT
    shutdown        SYN_SENT
    close           CLOSED
    abort           CLOSED
    SYN             SYN_RECEIVED  SA
    ACK             SYN_SENT      R
    ACK of all      SYN_SENT
    data            SYN_SENT      R
    FIN             SYN_SENT      R
    FIN+ACK of all  SYN_SENT
    RST             SYN_SENT
SYN_RECEIVED
    shutdown        SYN_RECEIVED
    close           SYN_RECEIVED
    abort           CLOSED        RA
    SYN             SYN_RECEIVED  SA
    ACK             SYN_RECEIVED  R
    ACK of all      ESTABLISHED
    data            SYN_RECEIVED  R
    FIN             SYN_RECEIVED  R
    FIN+ACK of all  CLOSE_WAIT    A
    RST             CLOSED
ESTABLISHED
    shutdown        FIN_WAIT_1    FA
    close           FIN_WAIT_1    FA
    abort           CLOSED        RA
    SYN             ESTABLISHED   A
    ACK             ESTABLISHED
    ACK of all      ESTABLISHED
    data            ESTABLISHED   A
    FIN             CLOSE_WAIT    A
    FIN+ACK of all  CLOSE_WAIT    A
    RST             CLOSED
FIN_WAIT_1
    shutdown        FIN_WAIT_1
    close           FIN_WAIT_1
    abort           CLOSED        RA
    SYN             FIN_WAIT_1    A
    ACK             FIN_WAIT_1
    ACK of all      FIN_WAIT_2
    data            FIN_WAIT_1    A
    FIN             CLOSING       A
    FIN+ACK of all  TIME_WAIT     A
    RST             CLOSED
FIN_WAIT_2
    shutdown        FIN_WAIT_2
    close           FIN_WAIT_2
    abort           CLOSED        RA
    SYN             FIN_WAIT_2    A
    ACK             FIN_WAIT_2
    ACK of all      FIN_WAIT_2
    data            FIN_WAIT_2    A
    FIN             TIME_WAIT     A
    FIN+ACK of all  TIME_WAIT     A
    RST             CLOSED
CLOSE_WAIT
    shutdown        LAST_ACK      FA
    close           LAST_ACK      FA
    abort           CLOSED        RA
    SYN             CLOSE_WAIT    A
    ACK             CLOSE_WAIT
    ACK of all      CLOSE_WAIT
    data            CLOSE_WAIT
    FIN             CLOSE_WAIT
    FIN+ACK of all  CLOSE_WAIT
    RST             CLOSED
CLOSING
    shutdown        CLOSING
    close           CLOSING
    abort           CLOSED
    SYN             CLOSING       A
    ACK             CLOSING
    ACK of all      TIME_WAIT
    data            CLOSING
    FIN             CLOSING
    FIN+ACK of all  TIME_WAIT
    RST             CLOSED
LAST_ACK
    shutdown        LAST_ACK
    close           LAST_ACK
    abort           CLOSED
    SYN             LAST_ACK      A
    ACK             LAST_ACK
    ACK of all      CLOSED
    data            LAST_ACK
    FIN             LAST_ACK
    FIN+ACK of all  CLOSED
    RST             CLOSED
TIME_WAIT
    shutdown        TIME_WAIT
    close           TIME_WAIT
    abort           TIME_WAIT
    SYN             TIME_WAIT     A
    ACK             TIME_WAIT
    ACK of all      TIME_WAIT
    data            TIME_WAIT     A
    FIN             TIME_WAIT     A
    FIN+ACK of all  TIME_WAIT     A
    RST             CLOSED
";

struct Case {
    peer: Peer,
    c: Handle<Connection>,
    /// Behind everything that the stack has sent, its SYN and FIN counted.
    sent_end: u32,
}

impl Case {
    fn new(peer: Peer, c: Handle<Connection>) -> Self {
        let sent_end = peer.ack;
        Self { peer, c, sent_end }
    }

    fn note_sent(&mut self) -> Vec<Seen> {
        let sent = self.peer.sent();
        for s in &sent {
            let fin_or_syn = u32::from(s.flags & (SYN | FIN) != 0);
            self.sent_end = s.seq + s.payload.len() as u32 + fin_or_syn;
        }
        sent
    }

    fn acknowledge_all(&mut self, flags: u8, payload: &[u8]) {
        self.peer.ack = self.sent_end;
        self.peer.send(flags, payload);
    }

    fn shutdown(&mut self) {
        tcp::shutdown_write(&mut self.peer.shard, self.c, self.peer.now);
        self.note_sent();
    }

    fn condition(&mut self) -> &'static str {
        self.peer.entry_state().name()
    }
}

fn settings() -> Settings {
    Settings { no_delay: 1, ..Settings::default() }
}

fn syn_sent() -> Case {
    let mut peer = Peer::new();
    let c = peer.connect(&settings());
    let mut case = Case::new(peer, c);
    case.note_sent();
    case
}

fn syn_received() -> Case {
    let mut case = syn_sent();
    case.peer.send(SYN, b"");
    case.note_sent();
    case
}

fn established() -> Case {
    let (peer, c) = Peer::established(&settings());
    Case::new(peer, c)
}

fn fin_wait_1() -> Case {
    let mut case = established();
    case.shutdown();
    case
}

fn fin_wait_2() -> Case {
    let mut case = fin_wait_1();
    case.acknowledge_all(ACK, b"");
    case
}

fn close_wait() -> Case {
    let mut case = established();
    case.peer.send(ACK | FIN, b"");
    case.note_sent();
    case
}

fn closing() -> Case {
    let mut case = fin_wait_1();
    case.peer.send(ACK | FIN, b"");
    case.note_sent();
    case
}

fn last_ack() -> Case {
    let mut case = close_wait();
    case.shutdown();
    case
}

fn time_wait() -> Case {
    let mut case = fin_wait_2();
    case.peer.send(ACK | FIN, b"");
    case.note_sent();
    case
}

fn letters(sent: &[Seen]) -> String {
    let of = |s: &Seen| {
        let letters = [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (ACK, 'A')];
        letters.iter().filter(|l| s.flags & l.0 != 0).map(|l| l.1).collect::<String>()
    };
    sent.iter().map(of).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_state_does_with_every_event_what_the_table_says() {
    let mut table = String::new();
    for (name, make) in STATES {
        assert_eq!(make().condition(), name);
        table += &format!("{name}\n");
        for (event, happen) in EVENTS {
            let mut case = make();
            happen(&mut case);
            let sent = letters(&case.note_sent());
            table += format!("    {event:<16}{:<14}{sent}", case.condition()).trim_end();
            table.push('\n');
        }
    }
    println!("{table}");
    for (line, (is, should)) in table.lines().zip(TABLE.lines()).enumerate() {
        assert_eq!(is, should, "line {line}");
    }
    assert_eq!(table, TABLE);
}

const IN: u32 = 0x41;
const OUT: u32 = 0x104;
const ERR: u32 = 8;
const HUP: u32 = 0x10;
const RDHUP: u32 = 0x2000;

#[test]
fn readiness_is_what_linux_shows_in_each_state() {
    let cases: [(fn() -> Case, u32); 9] = [
        (syn_sent, 0),
        (syn_received, 0),
        (established, OUT),
        (fin_wait_1, OUT),
        (fin_wait_2, OUT),
        (close_wait, IN | OUT | RDHUP),
        (closing, IN | OUT | RDHUP | HUP),
        (last_ack, IN | OUT | RDHUP | HUP),
        (time_wait, IN | OUT | RDHUP | HUP),
    ];
    for ((make, expected), (name, _)) in cases.into_iter().zip(STATES) {
        let case = make();
        assert_eq!(tcp::readiness(&case.peer.shard, case.c), expected, "{name}");
    }
    let mut refused = syn_sent();
    refused.acknowledge_all(RST | ACK, b"");
    assert_eq!(tcp::readiness(&refused.peer.shard, refused.c), IN | OUT | RDHUP | HUP | ERR);
    let mut full = established();
    while full.peer.write(full.c, &[0; 1000]).is_ok() {}
    assert_eq!(tcp::readiness(&full.peer.shard, full.c), 0);
    let mut read_shut = established();
    tcp::shutdown_read(&mut read_shut.peer.shard, read_shut.c);
    assert_eq!(tcp::readiness(&read_shut.peer.shard, read_shut.c), IN | OUT | RDHUP);
    read_shut.peer.send(ACK, b"still taken");
    assert_eq!(read_shut.peer.read(read_shut.c, 100), Ok(b"still taken".to_vec()), "LINUX: until the end");
    assert_eq!(read_shut.peer.read(read_shut.c, 100), Ok(vec![]));
}
