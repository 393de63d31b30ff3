//! What the keeper reports. `shunt status`: one "name value" on a line, then "# " and what the keeper had to say lately.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use stack::ip::net::Addr;
use stack::link::xsk::KernelDrops;

use super::Keeper;

impl Keeper {
    pub(crate) fn report(&mut self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} {value}");
        };
        let now = super::now();
        line("device", &self.device.name);
        line("xdp", &self.attachment_word());
        line("links", &self.modes.join(","));
        line("queues", &self.device.queues);
        line("memory", &self.stack.region.bytes());
        line("ports", &format!("{}-{}", self.lease.ports.start(), self.lease.ports.end()));
        line("processes", &self.sessions.attached());
        line("listening_ports", &self.ports.iter().count());
        let (segments, errors) = self.steering.redirected();
        line("xdp_redirected_segments", &segments);
        line("xdp_redirected_icmp", &errors);
        for index in 0..self.stack.shard_count() {
            let Some(gate) = self.stack.gate(index) else { continue };
            let live = gate.live.load(Ordering::Relaxed);
            let (on_watch, pumps) =
                (gate.on_watch.load(Ordering::Relaxed), gate.pumps.load(Ordering::Relaxed));
            let Some(mut shard) = self.stack.enter(index, now) else { continue };
            // Frames that the card has done with come back with a pump; an idle shard may not have had one since.
            shard.pump();
            let on_fill_rings = shard.frames.on_fill_rings();
            // What lies on a fill ring is free to be received into; the level there changes with every packet.
            let (free, total) =
                (shard.frames.available().saturating_add(on_fill_rings), shard.frames.total());
            let counters = *shard.counters;
            let slabs = [
                ("requests", shard.requests.in_use()),
                ("connections", shard.connections.in_use()),
                ("time_waits", shard.time_waits.in_use()),
                ("listeners", shard.listeners.in_use()),
                ("references", shard.references.in_use()),
                ("watches", shard.watches.in_use()),
                ("epolls", shard.epolls.in_use()),
            ];
            self.leave(shard);
            line("connections_live", &live);
            line("frames_free", &free);
            line("frames_total", &total);
            line("frames_on_fill_rings", &on_fill_rings);
            line("threads_on_watch", &on_watch);
            line("pumps", &pumps);
            for (name, used) in slabs {
                line(name, &used);
            }
            for (name, _, value) in counters.each() {
                line(name, &value);
            }
        }
        let mut drops = [0u64; 5];
        for link in (0..self.stack.shard_count()).flat_map(|index| self.stack.watch_fds(index)) {
            let now = KernelDrops::at(link).unwrap_or_default();
            let each =
                [now.rx_dropped, now.rx_ring_full, now.fill_ring_empty, now.rx_invalid, now.tx_invalid];
            drops.iter_mut().zip(each).for_each(|(sum, part)| *sum += part);
        }
        for (name, value) in
            ["dropped", "rx_ring_full", "fill_ring_empty", "rx_invalid", "tx_invalid"].iter().zip(drops)
        {
            line(&format!("xsk_{name}"), &value);
        }
        for note in self.journal.recent() {
            let _ = writeln!(text, "# {note}");
        }
        text
    }

    /// `shunt options`.
    pub(crate) fn report_options(&mut self) -> String {
        self.follow_options();
        self.options.report()
    }

    /// `shunt trace`: the latest changes of state, with milliseconds before now, then how often each kind was.
    pub(crate) fn report_trace(&mut self) -> String {
        let mut text = String::new();
        for index in 0..self.stack.shard_count() {
            let Some(shard) = self.stack.enter(index, super::now()) else { continue };
            let trace = shard.head.trace;
            let now = shard.now();
            self.leave(shard);
            for change in trace.latest() {
                let ago = now.saturating_sub(change.at) as f64 / 1e6;
                let end = |addr: Addr, port: u16| format!("{addr:?}:{port}");
                let local = end(change.tuple.local, change.tuple.local_port);
                let remote = end(change.tuple.remote, change.tuple.remote_port);
                let (from, to) = (change.from.name(), change.to.name());
                let _ = writeln!(text, "-{ago:.3}ms {local} {remote} {from} {to}");
            }
            for (from, to, count) in trace.counts() {
                let _ = writeln!(text, "{} {} {count}", from.name(), to.name());
            }
        }
        text
    }
}
