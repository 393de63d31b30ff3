//! Every change of state is reported, with both its ends.

use crate::harness::*;
use stack::link::sim::Conditions;
use stack::tcp::State;

#[test]
fn the_trace_shows_every_change_of_a_connection_from_its_syn_to_the_end_of_time_wait() {
    let mut sim = sim(Conditions::default(), 1);
    let (client, server) = connected(&mut sim);
    close(&mut sim, CLIENT, client);
    settle(&mut sim);
    close(&mut sim, SERVER, server);
    run_for(&mut sim, 61 * SECOND);
    let path = |end: usize| {
        let latest = sim.ends[end].head.trace.latest();
        let mut states = vec![State::CLOSED];
        for change in latest {
            assert_eq!(states.last(), Some(&change.from), "a change went unreported");
            states.push(change.to);
        }
        states
    };
    use State as S;
    assert_eq!(
        path(CLIENT),
        [S::CLOSED, S::SYN_SENT, S::ESTABLISHED, S::FIN_WAIT_1, S::FIN_WAIT_2, S::TIME_WAIT, S::CLOSED]
    );
    assert_eq!(
        path(SERVER),
        [S::CLOSED, S::SYN_RECEIVED, S::ESTABLISHED, S::CLOSE_WAIT, S::LAST_ACK, S::CLOSED]
    );
    assert!(sim.ends[CLIENT].head.trace.counts().all(|(_, _, count)| count == 1));
}
