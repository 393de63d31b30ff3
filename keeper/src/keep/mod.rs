//! The keeper: one process, one thread, one loop. It holds what programs share, answers them, follows the network,
//! drives when nobody does, and cleans up after those that ended.

mod deaths;
mod driver;
mod journal;
mod network;
mod options;
mod owners;
mod ports;
mod report;
mod requests;
mod sessions;
mod setup;
#[cfg(test)]
mod tests;
mod wakers;

use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read};
use rustix::net::{SocketFlags, accept_with};
use stack::drive::{Bell, Entered, Stack};
use stack::link::xsk::Xsk;
use stack::tcp;

use crate::device::Device;
use crate::ethtool::Unmerged;
use crate::fault::{Fault, explain};
use crate::lease::Lease;
use crate::steer::Steering;
use deaths::Deaths;
use driver::{Driver, Waits};
use journal::Journal;
use network::Network;
use options::Options;
use owners::Owners;
use ports::{Ports, Usage};
use sessions::{Admission, Id, Session, Sessions};
use wakers::Wakers;

pub(crate) use options::{Told, parse as parse_option, word as option_word};
pub(crate) use setup::{Begun, begin};

pub(crate) struct Keeper {
    device: Device,
    stack: Stack,
    region_fd: OwnedFd,
    /// Copies of the links' descriptors, to be handed out.
    links: Vec<OwnedFd>,
    /// How each link is bound: "zero-copy", "copy (why)".
    modes: Vec<String>,
    steering: Steering,
    /// Restores the device's setting when the keeper ends.
    _unmerged: Option<Unmerged>,
    lease: Lease,
    ports: Ports,
    network: Network,
    options: Options,
    wakers: Wakers,
    sessions: Sessions,
    deaths: Deaths,
    owners: Owners,
    admission: Admission,
    drivers: Vec<Driver>,
    journal: Journal,
    epoll: OwnedFd,
    control: OwnedFd,
    /// Programs ring it when the keeper has something to do.
    bell: OwnedFd,
    signals: OwnedFd,
    /// The rings are among what the loop waits for.
    waits_for_packets: bool,
    /// A turn of our own left something for us to do.
    has_errand: bool,
    is_ending: bool,
    /// To end after this long with nothing to keep; None for a keeper that stays until it is stopped.
    lingers: Option<Duration>,
    idle_since: Option<u64>,
    /// A card was busy: when to kick it again.
    kick_at: Option<u64>,
    sweep_at: u64,
    sweep_pause: u64,
}

/// What the loop waits for, as epoll's 64 bits: the kind above, a number below.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Control,
    Bell,
    Signals,
    Network,
    Packets,
    Session(Id),
    Process(Id),
}

impl Source {
    fn encode(self) -> EventData {
        let (kind, number) = match self {
            Source::Control => (1, 0),
            Source::Bell => (2, 0),
            Source::Signals => (3, 0),
            Source::Network => (4, 0),
            Source::Packets => (5, 0),
            Source::Session(id) => (6, id),
            Source::Process(id) => (7, id),
        };
        EventData::new_u64(kind << 32 | u64::from(number))
    }

    fn decode(data: EventData) -> Option<Source> {
        let number = data.u64() as u32;
        Some(match data.u64() >> 32 {
            1 => Source::Control,
            2 => Source::Bell,
            3 => Source::Signals,
            4 => Source::Network,
            5 => Source::Packets,
            6 => Source::Session(number),
            7 => Source::Process(number),
            _ => return None,
        })
    }
}

impl Keeper {
    /// Keeps until it is told to end, or (in the background) nobody needs it any more.
    pub(crate) fn run(&mut self) -> Result<(), Fault> {
        let mut rung = false;
        while !self.is_ending {
            let now = now();
            let is_called = rung | core::mem::take(&mut self.has_errand);
            let waits = self.look(now, is_called);
            if is_called || waits.asked {
                self.resolve_wanted(now);
                self.signal_owners(now);
            }
            if is_called || waits.asked || self.kick_at.is_some_and(|time| time <= now) {
                self.kick(now);
            }
            self.follow_network(now);
            self.tidy(now);
            let until = [waits.until, self.kick_at, self.network.next_retake(), self.next_chore(now)];
            let until = until.into_iter().flatten().min();
            self.wait_for_packets(waits.for_packets)?;
            rung = self.sleep(until, now)?;
        }
        Ok(())
    }

    fn look(&mut self, now: u64, rung: bool) -> Waits {
        let has_listeners = !self.ports.is_empty();
        let mut all = Waits { for_packets: true, ..Waits::default() };
        for driver in &mut self.drivers {
            let waits = driver.look(&self.stack, &self.wakers, now, rung, has_listeners);
            all.until = [all.until, waits.until].into_iter().flatten().min();
            all.for_packets &= waits.for_packets;
            all.asked |= waits.asked;
        }
        all
    }

    /// Sleeps until something happens, and deals with it. True if a program rang.
    fn sleep(&mut self, until: Option<u64>, now: u64) -> Result<bool, Fault> {
        let mut room = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 64];
        let timeout = until.map(|time| Duration::from_nanos(time.saturating_sub(now)));
        let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
        let count = match epoll::wait(&self.epoll, &mut room[..], timeout.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(errno) => return Err(Fault::new(format!("the keeper cannot wait: {}", explain(errno)))),
        };
        let mut rung = false;
        for event in room.iter().take(count) {
            match Source::decode(event.data) {
                Some(Source::Control) => self.admit(),
                Some(Source::Bell) => rung |= read(&self.bell, &mut [0u8; 8]).is_ok(),
                Some(Source::Signals) => self.is_ending = true,
                Some(Source::Network) => self.hear_network(now),
                Some(Source::Session(id)) => self.hear(id),
                Some(Source::Process(id)) => self.bury(id),
                // The driver looks for itself.
                Some(Source::Packets) | None => {}
            }
        }
        Ok(rung)
    }

    fn admit(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(socket) = accept_with(&self.control, flags) {
            // One that has gone again already, or for which there is no room: it sees its connection end.
            if let Ok(id) = self.sessions.begin(socket, &self.admission)
                && self.listen_to(id).is_err()
            {
                self.sessions.end(id);
            }
        }
    }

    /// From now on the loop hears the session.
    fn listen_to(&self, id: Id) -> Result<(), Errno> {
        let Some(session) = self.sessions.get(id) else { return Ok(()) };
        let flags = EventFlags::IN | EventFlags::RDHUP;
        epoll::add(&self.epoll, &session.socket, Source::Session(id).encode(), flags)?;
        match &session.process {
            Some(process) => epoll::add(&self.epoll, process, Source::Process(id).encode(), EventFlags::IN),
            None => Ok(()),
        }
    }

    /// The session's process has ended: what it held in the region is let go, as the kernel closes descriptors.
    fn bury(&mut self, id: Id) {
        let Some(Session { slot, wakers, .. }) = self.sessions.end(id) else { return };
        let Some(slot) = slot else { return };
        let region = self.stack.region.clone();
        let Some(place) = region.processes().get(usize::from(slot)) else { return };
        place.bury();
        self.deaths.forget(slot);
        let on_watch = place.on_watch.swap(0, std::sync::atomic::Ordering::Relaxed);
        for index in 0..self.stack.shard_count() {
            if let Some(gate) = self.stack.gate(index) {
                take_off_watch(gate, on_watch);
            }
            let Some(mut turn) = self.stack.enter(index, now()) else { continue };
            let now = turn.now();
            stack::wait::drop_process(&mut turn, slot);
            stack::socket::drop_process(&mut turn, slot, now);
            self.has_errand |= self.leave(turn);
            // It may have died between its turn and the kick that belongs to it.
            for link in self.stack.watch_fds(index) {
                let _ = Xsk::kick(link);
            }
        }
        for waker in wakers {
            self.wakers.take_back(region.wakers(), waker);
        }
        self.ports.release_all_of(slot);
        self.sweep_soon();
        place.vacate();
    }

    /// A port was let go: whoever gets it from the kernel next must get its packets.
    fn sweep_soon(&mut self) {
        self.sweep_at = 0;
        self.sweep_pause = FIRST_SWEEP_PAUSE;
    }

    /// Ends a turn of the keeper's own. True if the turn left something for the keeper to do.
    fn leave(&self, turn: Entered<'_>) -> bool {
        let mut rung = false;
        turn.leave(|bell| match bell {
            Bell::Thread(waker) => self.wakers.ring(waker),
            Bell::Keeper => rung = true,
        });
        rung
    }

    /// Frames that a busy card has left on a TX ring: nobody else will come back to them before a timer does.
    fn kick(&mut self, now: u64) {
        let left = self.links.iter().filter(|link| Xsk::kick(link.as_fd()) == Err(Errno::AGAIN)).count();
        self.kick_at = (left > 0).then_some(now + KICK_PAUSE);
    }

    fn hear_network(&mut self, now: u64) {
        match self.network.take_events(now) {
            Ok(changed) if changed.is_empty() => {}
            Ok(changed) => self.in_each_shard(now, |network, shard| network.tell_neighbours(shard, &changed)),
            Err(fault) => self.journal.note(fault),
        }
    }

    /// Urgent data has come for some connections: their owners hear of it.
    fn signal_owners(&mut self, now: u64) {
        for index in 0..self.stack.shard_count() {
            if !self.owners.has_any_in(index) {
                continue;
            }
            let Some(mut turn) = self.stack.enter(index, now) else { continue };
            let owed = self.owners.gather_owed(index, |connection| tcp::take_signal(&mut turn, connection));
            self.has_errand |= self.leave(turn);
            self.owners.signal(index, &owed);
        }
    }

    fn resolve_wanted(&mut self, now: u64) {
        let mut wanted = Vec::new();
        self.in_each_shard(now, |network, shard| wanted.extend(network.gather_wanted(shard, now)));
        self.network.resolve(&wanted);
    }

    /// What goes wrong here passes, or leaves the stack with the picture that it has: no reason to leave the programs alone.
    fn follow_network(&mut self, now: u64) {
        match self.network.retake(now) {
            Ok(true) => {}
            Ok(false) => return,
            Err(fault) => return self.journal.note(fault),
        }
        let mut cut = 0;
        self.in_each_shard(now, |network, shard| cut += network.write_picture(shard));
        if cut > 0 {
            self.journal.note(setup::does_not_fit(cut));
        }
        if self.network.picture().has_policy {
            self.journal.note(setup::POLICY_ROUTING);
        }
        for gone in &self.network.picture().gone {
            self.journal
                .note(format!("device {gone} is gone, and its connections with it: run shunt stop --force"));
        }
        if let Err(fault) = self.steering.update_local_addresses(&self.network.picture().local_addresses()) {
            self.journal.note(fault);
        }
    }

    /// The namespace's sysctls hold here too, from when they are set on.
    fn follow_options(&mut self) {
        if self.options.look() {
            self.write_options();
        }
    }

    fn write_options(&mut self) {
        for index in 0..self.stack.shard_count() {
            let Some(mut turn) = self.stack.enter(index, now()) else { continue };
            self.options.write(&mut turn);
            self.has_errand |= self.leave(turn);
        }
        if let Some(complaint) = self.options.complaint() {
            self.journal.note(complaint);
        }
    }

    fn in_each_shard(&mut self, now: u64, mut each: impl FnMut(&mut Network, &mut stack::shard::Shard)) {
        for index in 0..self.stack.shard_count() {
            let Some(mut turn) = self.stack.enter(index, now) else { continue };
            each(&mut self.network, &mut turn);
            let rung = self.leave(turn);
            self.has_errand |= rung;
        }
    }

    /// What is done once in a while: neighbours in use, sysctls, ports that nobody uses any more, and going when idle.
    fn tidy(&mut self, now: u64) {
        if self.options.look_again(now) {
            self.write_options();
        }
        if self.has_connections() && now >= self.network.next_refresh() {
            let mut stale = Vec::new();
            self.in_each_shard(now, |network, shard| stale.extend(network.gather_stale(shard, now)));
            self.network.resolve(&stale);
        }
        if self.ports.has_unclaimed() && now >= self.sweep_at {
            self.sweep_at = now + self.sweep_pause;
            self.sweep_pause = (2 * self.sweep_pause).min(LONGEST_SWEEP_PAUSE);
            let asked = self.ports.unclaimed();
            let mut usages = Vec::new();
            self.in_each_shard(now, |_, shard| usages.push(Usage::of(shard, &asked)));
            if let Err(fault) = self.ports.sweep(&usages, &mut self.steering) {
                self.journal.note(fault);
            }
        }
        let is_idle = self.sessions.is_empty() && !self.has_connections();
        self.idle_since = if is_idle { self.idle_since.or(Some(now)) } else { None };
        if self.end_of_linger().is_some_and(|end| end <= now) {
            self.is_ending = true;
        }
    }

    fn next_chore(&self, now: u64) -> Option<u64> {
        let refresh = self.has_connections().then(|| self.network.next_refresh().max(now));
        let sweep = self.ports.has_unclaimed().then(|| self.sweep_at.max(now));
        // Without connections what has changed is seen when a program attaches or listens.
        let options = self.has_connections().then(|| self.options.next_look().max(now));
        [refresh, sweep, options, self.end_of_linger()].into_iter().flatten().min()
    }

    fn end_of_linger(&self) -> Option<u64> {
        Some(self.idle_since? + self.lingers?.as_nanos() as u64)
    }

    fn has_connections(&self) -> bool {
        let live = |index| {
            self.stack.gate(index).map_or(0, |gate| gate.live.load(std::sync::atomic::Ordering::Relaxed))
        };
        (0..self.stack.shard_count()).any(|index| live(index) != 0)
    }

    /// Puts the rings among what the loop waits for, or takes them away: a packet must not wake us while others wait for it.
    fn wait_for_packets(&mut self, wanted: bool) -> Result<(), Fault> {
        if core::mem::replace(&mut self.waits_for_packets, wanted) == wanted {
            return Ok(());
        }
        for link in &self.links {
            let result = if wanted {
                epoll::add(&self.epoll, link, Source::Packets.encode(), EventFlags::IN)
            } else {
                epoll::delete(&self.epoll, link)
            };
            result.map_err(|errno| {
                Fault::new(format!("the keeper cannot wait for packets: {}", explain(errno)))
            })?;
        }
        Ok(())
    }

    fn listen_for(&self, descriptor: BorrowedFd<'_>, source: Source) -> Result<(), Fault> {
        epoll::add(&self.epoll, descriptor, source.encode(), EventFlags::IN)
            .map_err(|errno| Fault::new(format!("the keeper cannot wait: {}", explain(errno))))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Programs that are still attached hold the link too; the packets go back to the kernel all the same.
        self.steering.detach();
        // Whoever waits for a lock that we held must not wait for ever.
        if let Some(own) = self.stack.region.processes().first() {
            own.bury();
        }
    }
}

/// What a dead process leaves in the count of those on watch. The counts come from programs: they may be anything.
fn take_off_watch(gate: &stack::region::Gate, threads: u32) {
    use std::sync::atomic::Ordering::Relaxed;
    let less = |count: u32| Some(count.saturating_sub(threads));
    // The closure never declines.
    let _ = gate.on_watch.fetch_update(Relaxed, Relaxed, less);
}

/// Nanoseconds of CLOCK_MONOTONIC, as every driver counts.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

const KICK_PAUSE: u64 = Duration::from_millis(1).as_nanos() as u64;
const FIRST_SWEEP_PAUSE: u64 = Duration::from_millis(5).as_nanos() as u64;
const LONGEST_SWEEP_PAUSE: u64 = Duration::from_secs(1).as_nanos() as u64;
