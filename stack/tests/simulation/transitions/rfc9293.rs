//! What RFC 9293 3.10 says of each event in each state, and why we do otherwise where we do.

/// For each event the outcome in each state, in the order of `STATES`: the state after it (`=`: the same) and what is
/// sent. `-`: the RFC says nothing of it. Calls that are errors there change nothing.
///
/// 3.10.7.4 has segments acceptable by their number only; RFC 5961, which it refers to, adds the challenges.
#[rustfmt::skip]
const TABLE: [(&str, [&str; 12]); 28] = [
    //                     CLOSED         LISTEN            SYN_SENT         SYN_RECEIVED      SYN_RECEIVED*     ESTABLISHED      FIN_WAIT_1      FIN_WAIT_2     CLOSE_WAIT    CLOSING      LAST_ACK    TIME_WAIT
    ("connect",            ["SYN_SENT S", "SYN_SENT S",     "=",             "=",              "=",              "=",             "=",            "=",           "=",          "=",         "=",        "="]),
    ("listen",             ["LISTEN",     "=",              "=",             "=",              "=",              "=",             "=",            "=",           "=",          "=",         "=",        "="]),
    ("accept",             ["-",          "-",              "-",             "-",              "-",              "-",             "-",            "-",           "-",          "-",         "-",        "-"]),
    ("send",               ["=",          "=",              "=",             "=",              "=",              "= A+",          "=",            "=",           "= A+",       "=",         "=",        "="]),
    ("receive",            ["=",          "=",              "=",             "=",              "=",              "=",             "=",            "=",           "=",          "=",         "=",        "="]),
    ("shutdown",           ["=",          "CLOSED",         "CLOSED",        "FIN_WAIT_1 FA",  "FIN_WAIT_1 FA",  "FIN_WAIT_1 FA", "=",            "=",           "LAST_ACK FA", "=",        "=",        "="]),
    ("close",              ["=",          "CLOSED",         "CLOSED",        "FIN_WAIT_1 FA",  "FIN_WAIT_1 FA",  "FIN_WAIT_1 FA", "=",            "=",           "LAST_ACK FA", "=",        "=",        "="]),
    ("abort",              ["=",          "CLOSED",         "CLOSED",        "CLOSED R",       "CLOSED R",       "CLOSED R",      "CLOSED R",     "CLOSED R",    "CLOSED R",   "CLOSED",    "CLOSED",   "CLOSED"]),
    ("SYN",                ["= RA",       "SYN_RECEIVED SA", "SYN_RECEIVED SA", "LISTEN",      "= A",            "= A",           "= A",          "= A",         "= A",        "= A",       "= A",      "= A"]),
    ("SYN, old",           ["= RA",       "SYN_RECEIVED SA", "SYN_RECEIVED SA", "= A",         "= A",            "= A",           "= A",          "= A",         "= A",        "= A",       "= A",      "= A"]),
    ("SYN+ACK",            ["= R",        "= R",            "ESTABLISHED A", "LISTEN",         "= A",            "= A",           "= A",          "= A",         "= A",        "= A",       "= A",      "= A"]),
    ("ACK, nothing new",   ["= R",        "= R",            "= R",           "= R",            "= R",            "=",             "=",            "=",           "=",          "=",         "=",        "="]),
    ("ACK of all",         ["= R",        "= R",            "=",             "ESTABLISHED",    "ESTABLISHED",    "=",             "FIN_WAIT_2",   "=",           "=",          "TIME_WAIT", "CLOSED",   "="]),
    ("ACK of unsent",      ["= R",        "= R",            "= R",           "= R",            "= R",            "= A",           "= A",          "= A",         "= A",        "= A",       "= A",      "="]),
    ("ACK, too old",       ["= R",        "= R",            "= R",           "= R",            "= R",            "= A",           "= A",          "= A",         "= A",        "= A",       "= A",      "="]),
    ("data",               ["= R",        "= R",            "= R",           "= R",            "= R",            "= A",           "= A",          "= A",         "=",          "=",         "=",        "="]),
    ("data, old",          ["= R",        "= R",            "= R",           "= A",            "= A",            "= A",           "= A",          "= A",         "= A",        "= A",       "= A",      "= A"]),
    ("data beyond a hole", ["= R",        "= R",            "= R",           "= R",            "= R",            "= A",           "= A",          "= A",         "=",          "=",         "=",        "="]),
    ("data behind window", ["= R",        "= R",            "= R",           "= A",            "= A",            "= A",           "= A",          "= A",         "= A",        "= A",       "= A",      "= A"]),
    ("FIN",                ["= R",        "= R",            "= R",           "= R",            "= R",            "CLOSE_WAIT A",  "CLOSING A",    "TIME_WAIT A", "=",          "=",         "=",        "= A"]),
    ("FIN, ACK of all",    ["= R",        "= R",            "=",             "CLOSE_WAIT A",   "CLOSE_WAIT A",   "CLOSE_WAIT A",  "TIME_WAIT A",  "TIME_WAIT A", "=",          "TIME_WAIT", "CLOSED",   "= A"]),
    ("RST",                ["=",          "=",              "=",             "LISTEN",         "CLOSED",         "CLOSED",        "CLOSED",       "CLOSED",      "CLOSED",     "CLOSED",    "CLOSED",   "CLOSED"]),
    ("RST, ACK of all",    ["=",          "=",              "CLOSED",        "LISTEN",         "CLOSED",         "CLOSED",        "CLOSED",       "CLOSED",      "CLOSED",     "CLOSED",    "CLOSED",   "CLOSED"]),
    ("RST in the window",  ["=",          "=",              "=",             "= A",            "= A",            "= A",           "= A",          "= A",         "= A",        "= A",       "= A",      "= A"]),
    ("RST outside",        ["=",          "=",              "=",             "=",              "=",              "=",             "=",            "=",           "=",          "=",         "=",        "="]),
    ("no flags",           ["= RA",       "=",              "=",             "=",              "=",              "=",             "=",            "=",           "=",          "=",         "=",        "="]),
    ("3 seconds",          ["=",          "=",              "= S",           "= SA",           "= SA",           "=",             "= FA",         "=",           "=",          "= FA",      "= FA",     "="]),
    ("2 hours",            ["=",          "=",              "CLOSED S",      "LISTEN SA",      "CLOSED SA",      "=",             "CLOSED FA",    "=",           "=",          "CLOSED FA", "CLOSED FA", "CLOSED"]),
];

/// What the RFC says of an event in the state of this column.
pub(super) fn says(event: &str, column: usize) -> Option<&'static str> {
    let row = TABLE.iter().find(|row| row.0 == event);
    row.and_then(|row| row.1.get(column)).copied().filter(|cell| *cell != "-")
}

/// Why we do otherwise: events, states, reason.
#[rustfmt::skip]
const REASONS: [(&str, &str, &str); 16] = [
    ("connect", "LISTEN", "LINUX: EISCONN; a socket that listens is no other"),
    ("shutdown", "LISTEN", "LINUX: inet_shutdown(): SHUT_WR is nothing to a listener"),
    ("abort", "LISTEN", "a listener is closed"),
    ("shutdown|abort", "SYN_RECEIVED", "no program holds it yet"),
    ("close", "SYN_RECEIVED", "LINUX: inet_csk_listen_stop(): closes the listener, whose half-open connections go without a word"),
    ("SYN|SYN+ACK", "SYN_RECEIVED", "LINUX: tcp_check_req(): challenged as RFC 5961 has it for other states"),
    ("data, old|data behind window", "SYN_RECEIVED", "LINUX: tcp_check_req(): its wrong ACK is looked at first"),
    ("shutdown|close", "SYN_RECEIVED*", "LINUX: tcp_shutdown(): the FIN waits until the connection is established"),
    ("abort", "SYN_RECEIVED* ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSE_WAIT", "LINUX: tcp_send_active_reset(): the reset has an ACK"),
    ("SYN|SYN, old|SYN+ACK|data, old|data behind window|RST in the window", "SYN_RECEIVED*", "the SYN+ACK is that ACK, and may have been lost"),
    ("FIN", "ESTABLISHED", "LINUX: tcp_fin(): the ACK is delayed, for the program's FIN may carry it"),
    ("FIN, ACK of all", "SYN_RECEIVED SYN_RECEIVED* ESTABLISHED", "LINUX: tcp_fin(): the ACK is delayed, for the program's FIN may carry it"),
    ("abort", "TIME_WAIT", "LINUX: inet_timewait_sock: no program holds it any more"),
    ("data|data beyond a hole", "TIME_WAIT", "LINUX: tcp_timewait_state_process(): whatever has bytes is answered"),
    ("no flags", "TIME_WAIT", "LINUX: tcp_timewait_state_process(): whatever has bytes is answered"),
    ("RST in the window", "TIME_WAIT", "LINUX: tcp_timewait_state_process(): resets are never answered"),
];

/// The reason for what differs; one that stands for nothing is found by the test.
pub(super) fn reason(event: &str, state: &str) -> Option<&'static str> {
    let is_of = |states: &str| states.split_whitespace().any(|s| s == state);
    let has = |events: &str| events.split('|').any(|e| e == event);
    REASONS.iter().find(|r| has(r.0) && is_of(r.1)).map(|r| r.2)
}
