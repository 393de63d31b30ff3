//! Each test's expectation is what the kernel does with the same calls.

use super::events::{EDGE, EXCLUSIVE, IN, ONE_SHOT, OUT, RDNORM};
use super::*;
use crate::drive::{Entered, Stack};
use crate::region::{Region, Sizes};
use crate::socket::{self, hold, let_go};
use crate::tcp::Listener;
use crate::{Error, wait};

const ME: u16 = 0;
const OTHER: u16 = 1;

fn stack() -> Stack {
    let stack = Stack::new(Region::private(Sizes::tiny(), [1, 2], 0).unwrap(), ME, Vec::new());
    for (id, owner) in [(1, ME), (2, ME), (3, OTHER), (4, OTHER)] {
        stack.region.wakers()[id].owner.store(u32::from(owner) + 1, core::sync::atomic::Ordering::Relaxed);
    }
    stack
}

/// A listener that nobody can reach: its accept queue's length alone says whether it is readable.
fn socket(s: &mut Shard) -> SocketRef {
    let socket = SocketRef::Listener(s.listeners.alloc().unwrap());
    hold(s, socket, ME).unwrap();
    socket
}

fn listener(socket: SocketRef) -> Handle<Listener> {
    let SocketRef::Listener(h) = socket else { unreachable!() };
    h
}

fn becomes_ready(s: &mut Shard, socket: SocketRef) {
    s.listeners.get_mut(listener(socket)).unwrap().accept_queue = List { first: 1, last: 1, len: 1 };
    notify(s, socket, IN | RDNORM);
}

fn is_emptied(s: &mut Shard, socket: SocketRef) {
    s.listeners.get_mut(listener(socket)).unwrap().accept_queue = List::EMPTY;
}

fn interest(socket: SocketRef, events: u32, data: u64) -> Interest {
    Interest { descriptor: data as i32, socket, events, data }
}

fn wait_for(s: &mut Shard, epoll: Handle<Epoll>, most: usize) -> Vec<u64> {
    let mut told = Vec::new();
    collect(s, epoll, most, |ready| {
        assert_eq!(ready.events & !(IN | RDNORM), 0);
        told.push(ready.data);
    });
    wait::check(s).unwrap();
    told
}

fn fall_asleep(s: &Shard, waker: WakerId) {
    let slot = &s.region.wakers()[usize::from(waker.0)];
    slot.spin();
    assert!(slot.arm());
}

fn rung(s: &mut Entered<'_>) -> Vec<u16> {
    wait::check(s).unwrap();
    core::mem::take(&mut s.after.wake).into_iter().map(|w| w.0).collect()
}

#[test]
fn level_triggered_tells_until_it_is_over_and_edge_triggered_once_for_each_event() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let (level, edge) = (create(&mut s, ME).unwrap(), create(&mut s, ME).unwrap());
    let x = socket(&mut s);
    add(&mut s, level, &interest(x, IN, 7)).unwrap();
    add(&mut s, edge, &interest(x, IN | EDGE, 8)).unwrap();
    assert!(wait_for(&mut s, level, 8).is_empty() && wait_for(&mut s, edge, 8).is_empty());
    becomes_ready(&mut s, x);
    assert_eq!((wait_for(&mut s, level, 8), wait_for(&mut s, edge, 8)), (vec![7], vec![8]));
    assert_eq!((wait_for(&mut s, level, 8), wait_for(&mut s, edge, 8)), (vec![7], vec![]));
    becomes_ready(&mut s, x);
    assert_eq!((wait_for(&mut s, level, 8), wait_for(&mut s, edge, 8)), (vec![7], vec![8]));
    is_emptied(&mut s, x);
    assert!(wait_for(&mut s, level, 8).is_empty() && wait_for(&mut s, edge, 8).is_empty());
}

#[test]
fn what_is_ready_when_it_is_added_or_changed_is_told_of() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let epoll = create(&mut s, ME).unwrap();
    let x = socket(&mut s);
    becomes_ready(&mut s, x);
    add(&mut s, epoll, &interest(x, IN | EDGE, 1)).unwrap();
    assert_eq!(wait_for(&mut s, epoll, 8), [1]);
    assert!(wait_for(&mut s, epoll, 8).is_empty());
    modify(&mut s, epoll, &Interest { data: 5, ..interest(x, IN | EDGE, 1) }).unwrap();
    assert_eq!(wait_for(&mut s, epoll, 8), [5]);
    modify(&mut s, epoll, &interest(x, OUT, 1)).unwrap();
    assert!(wait_for(&mut s, epoll, 8).is_empty());
}

#[test]
fn a_one_shot_watch_fires_once_until_it_is_armed_again() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let epoll = create(&mut s, ME).unwrap();
    let x = socket(&mut s);
    add(&mut s, epoll, &interest(x, IN | ONE_SHOT, 1)).unwrap();
    becomes_ready(&mut s, x);
    assert_eq!(wait_for(&mut s, epoll, 8), [1]);
    becomes_ready(&mut s, x);
    assert!(wait_for(&mut s, epoll, 8).is_empty());
    modify(&mut s, epoll, &interest(x, IN | ONE_SHOT, 1)).unwrap();
    assert_eq!(wait_for(&mut s, epoll, 8), [1]);
    assert!(wait_for(&mut s, epoll, 8).is_empty());
}

#[test]
fn the_same_descriptor_is_added_once_and_another_number_of_the_socket_besides() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let epoll = create(&mut s, ME).unwrap();
    let x = socket(&mut s);
    add(&mut s, epoll, &interest(x, IN, 1)).unwrap();
    assert_eq!(add(&mut s, epoll, &interest(x, IN, 1)), Err(Error::Exists));
    add(&mut s, epoll, &interest(x, IN, 2)).unwrap();
    assert_eq!(modify(&mut s, epoll, &interest(x, IN, 3)), Err(Error::NoEntry));
    assert_eq!(remove(&mut s, epoll, 3, x), Err(Error::NoEntry));
    remove(&mut s, epoll, 1, x).unwrap();
    becomes_ready(&mut s, x);
    assert_eq!(wait_for(&mut s, epoll, 8), [2]);
    let wrong = IN | EXCLUSIVE | ONE_SHOT;
    assert_eq!(add(&mut s, epoll, &interest(x, wrong, 4)), Err(Error::Invalid));
}

#[test]
fn few_at_a_time_all_have_their_turn() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let epoll = create(&mut s, ME).unwrap();
    for data in 1..=5 {
        let x = socket(&mut s);
        add(&mut s, epoll, &interest(x, IN, data)).unwrap();
        becomes_ready(&mut s, x);
    }
    let told: Vec<_> = (0..5).map(|_| wait_for(&mut s, epoll, 2)).collect();
    assert_eq!(told, [[1, 2], [3, 4], [5, 1], [2, 3], [4, 5]]);
}

#[test]
fn one_event_wakes_one_of_the_threads_in_epoll_wait_and_the_next_event_another() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let epoll = create(&mut s, ME).unwrap();
    let sockets = [socket(&mut s), socket(&mut s)];
    for (data, x) in (1..).zip(sockets) {
        add(&mut s, epoll, &interest(x, IN | EDGE, data)).unwrap();
    }
    let sleeps: Vec<_> = [1, 3].map(|w| sleep_on(&mut s, epoll, WakerId(w)).unwrap()).into();
    fall_asleep(&s, WakerId(1));
    fall_asleep(&s, WakerId(3));
    becomes_ready(&mut s, sockets[0]);
    assert_eq!(rung(&mut s), [1]);
    becomes_ready(&mut s, sockets[1]);
    assert_eq!(rung(&mut s), [3]);
    becomes_ready(&mut s, sockets[1]);
    assert!(rung(&mut s).is_empty());
    sleeps.into_iter().for_each(|sleep| unwatch(&mut s, sleep));
    assert_eq!(wait_for(&mut s, epoll, 8), [1, 2]);
    assert_eq!(s.watches.in_use(), 2);
}

#[test]
fn what_one_thread_leaves_on_the_ready_list_wakes_the_next() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let epoll = create(&mut s, ME).unwrap();
    for data in 1..=2 {
        let x = socket(&mut s);
        becomes_ready(&mut s, x);
        add(&mut s, epoll, &interest(x, IN | EDGE, data)).unwrap();
    }
    sleep_on(&mut s, epoll, WakerId(1)).unwrap();
    fall_asleep(&s, WakerId(1));
    assert_eq!(wait_for(&mut s, epoll, 1), [1]);
    assert_eq!(rung(&mut s), [1]);
}

#[test]
fn a_wake_that_a_leaving_thread_did_not_heed_wakes_the_next() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let epoll = create(&mut s, ME).unwrap();
    let x = socket(&mut s);
    add(&mut s, epoll, &interest(x, IN | EDGE, 1)).unwrap();
    let leaving = sleep_on(&mut s, epoll, WakerId(1)).unwrap();
    sleep_on(&mut s, epoll, WakerId(2)).unwrap();
    fall_asleep(&s, WakerId(1));
    fall_asleep(&s, WakerId(2));
    becomes_ready(&mut s, x);
    assert_eq!(rung(&mut s), [1]);
    unwatch(&mut s, leaving);
    assert_eq!(rung(&mut s), [2]);
}

#[test]
fn an_exclusive_event_goes_to_one_instance_that_has_a_sleeper_and_to_all_when_none_has() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let x = socket(&mut s);
    let epolls: Vec<_> = (0..3).map(|_| create(&mut s, ME).unwrap()).collect();
    for &epoll in &epolls {
        add(&mut s, epoll, &interest(x, IN | EDGE | EXCLUSIVE, 1)).unwrap();
    }
    sleep_on(&mut s, epolls[1], WakerId(1)).unwrap();
    sleep_on(&mut s, epolls[2], WakerId(2)).unwrap();
    fall_asleep(&s, WakerId(1));
    fall_asleep(&s, WakerId(2));
    becomes_ready(&mut s, x);
    assert_eq!(rung(&mut s), [1]);
    let told: Vec<_> = epolls.iter().map(|&epoll| wait_for(&mut s, epoll, 8).len()).collect();
    assert_eq!(told, [1, 1, 0]);
    s.region.wakers().iter().for_each(|waker| {
        waker.disarm();
    });
    becomes_ready(&mut s, x);
    let told: Vec<_> = epolls.iter().map(|&epoll| wait_for(&mut s, epoll, 8).len()).collect();
    assert_eq!(told, [1, 1, 1]);
}

#[test]
fn threads_in_poll_are_woken_all_and_threads_in_accept_one_by_one() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let x = socket(&mut s);
    watch(&mut s, x, IN, WakerId(1)).unwrap();
    watch(&mut s, x, IN, WakerId(2)).unwrap();
    watch(&mut s, x, IN | EXCLUSIVE, WakerId(3)).unwrap();
    watch(&mut s, x, IN | EXCLUSIVE, WakerId(4)).unwrap();
    (1..=4).for_each(|waker| fall_asleep(&s, WakerId(waker)));
    notify(&mut s, x, OUT);
    assert!(rung(&mut s).is_empty());
    becomes_ready(&mut s, x);
    let mut first = rung(&mut s);
    first.sort_unstable();
    assert_eq!(first, [1, 2, 3]);
    becomes_ready(&mut s, x);
    assert_eq!(rung(&mut s), [4]);
}

#[test]
fn an_instance_that_is_watched_by_another_is_readable_while_it_has_something_to_tell() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let (inner, outer) = (create(&mut s, ME).unwrap(), create(&mut s, ME).unwrap());
    let x = socket(&mut s);
    add(&mut s, inner, &interest(x, IN, 1)).unwrap();
    add(&mut s, outer, &interest(SocketRef::Epoll(inner), IN, 2)).unwrap();
    sleep_on(&mut s, outer, WakerId(1)).unwrap();
    watch(&mut s, SocketRef::Epoll(outer), IN, WakerId(2)).unwrap();
    fall_asleep(&s, WakerId(1));
    fall_asleep(&s, WakerId(2));
    assert_eq!(socket::readiness(&s, SocketRef::Epoll(outer)), 0);
    becomes_ready(&mut s, x);
    assert_eq!(rung(&mut s), [1, 2]);
    assert_eq!(socket::readiness(&s, SocketRef::Epoll(outer)), IN | RDNORM);
    assert_eq!(wait_for(&mut s, outer, 8), [2]);
    is_emptied(&mut s, x);
    assert_eq!(socket::readiness(&s, SocketRef::Epoll(outer)), 0);
    assert!(wait_for(&mut s, outer, 8).is_empty());
}

#[test]
fn the_last_close_in_all_processes_ends_the_watches() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let epoll = create(&mut s, ME).unwrap();
    let x = socket(&mut s);
    hold(&mut s, x, OTHER).unwrap();
    add(&mut s, epoll, &interest(x, IN, 1)).unwrap();
    becomes_ready(&mut s, x);
    assert!(!let_go(&mut s, x, ME, 0));
    assert_eq!(wait_for(&mut s, epoll, 8), [1]);
    is_emptied(&mut s, x);
    becomes_ready(&mut s, x);
    is_emptied(&mut s, x);
    assert!(let_go(&mut s, x, OTHER, 0));
    assert!(wait_for(&mut s, epoll, 8).is_empty());
    assert_eq!(s.watches.in_use(), 0);
}

#[test]
fn a_watched_instance_that_is_closed_leaves_nothing_behind() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let (inner, outer) = (create(&mut s, ME).unwrap(), create(&mut s, ME).unwrap());
    let x = socket(&mut s);
    becomes_ready(&mut s, x);
    add(&mut s, inner, &interest(x, IN, 1)).unwrap();
    add(&mut s, outer, &interest(SocketRef::Epoll(inner), IN, 2)).unwrap();
    sleep_on(&mut s, inner, WakerId(1)).unwrap();
    socket::adopt(&mut s, ME, OTHER, 0).unwrap();
    assert!(!let_go(&mut s, SocketRef::Epoll(inner), ME, 0));
    assert_eq!(wait_for(&mut s, outer, 8), [2]);
    assert!(let_go(&mut s, SocketRef::Epoll(inner), OTHER, 0));
    assert!(wait_for(&mut s, outer, 8).is_empty());
    assert_eq!((s.watches.in_use(), s.epolls.in_use()), (0, 1));
}

#[test]
fn a_dead_process_leaves_no_watch_and_the_rings_it_owed_are_rung() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let epoll = create(&mut s, OTHER).unwrap();
    let x = socket(&mut s);
    add(&mut s, epoll, &interest(x, IN, 1)).unwrap();
    sleep_on(&mut s, epoll, WakerId(3)).unwrap();
    watch(&mut s, x, IN, WakerId(4)).unwrap();
    watch(&mut s, x, IN, WakerId(1)).unwrap();
    fall_asleep(&s, WakerId(1));
    becomes_ready(&mut s, x);
    assert_eq!(rung(&mut s), [1]);
    socket::drop_process(&mut s, OTHER, 0);
    assert_eq!((s.watches.in_use(), s.epolls.in_use()), (1, 0));
    assert_eq!(rung(&mut s), [1]);
}

#[test]
fn after_a_death_in_the_middle_the_lists_are_whole_and_nobody_sleeps_on() {
    let stack = stack();
    let mut s = stack.enter(0, 0).unwrap();
    let epoll = create(&mut s, ME).unwrap();
    let (x, gone) = (socket(&mut s), socket(&mut s));
    add(&mut s, epoll, &interest(x, IN, 1)).unwrap();
    add(&mut s, epoll, &interest(gone, IN, 2)).unwrap();
    sleep_on(&mut s, epoll, WakerId(1)).unwrap();
    watch(&mut s, x, OUT, WakerId(2)).unwrap();
    fall_asleep(&s, WakerId(1));
    fall_asleep(&s, WakerId(2));
    s.listeners.free(listener(gone));
    s.epolls.get_mut(epoll).unwrap().watches = List { first: 3, last: 1, len: 9 };
    s.socket_mut(x).unwrap().watches.len = 0;
    assert!(wait::check(&mut s).is_err());
    socket::recover(&mut s);
    wait::recover(&mut s);
    let mut woken = rung(&mut s);
    woken.sort_unstable();
    assert_eq!(woken, [1, 2]);
    becomes_ready(&mut s, x);
    assert_eq!(wait_for(&mut s, epoll, 8), [1]);
}
