//! Who carried the segments: the region's counters and the kernel's own, before and after.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use crate::rig::{Rig, Side, shunt_binary};
use crate::{Outcome, ensure};

/// `shunt status` as it stands: `name value` lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    pub fn of_region(rig: &Rig, side: Side) -> Outcome<Self> {
        Ok(Counters::parse(&text_of(rig.command(side, shunt_binary()).arg("status"))?))
    }

    /// From `name value` lines; others are passed over.
    pub fn parse(text: &str) -> Self {
        Counters(text.lines().filter_map(name_and_value).collect())
    }

    /// The kernel's TCP counters of that namespace (`Tcp` of /proc/net/snmp).
    pub fn of_kernel(rig: &Rig, side: Side) -> Outcome<Self> {
        let text = text_of(rig.command(side, "cat").arg("/proc/net/snmp"))?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
            return Err("no Tcp line in /proc/net/snmp".to_owned());
        };
        // MaxConn is -1, which is no counter and drops out.
        let pairs = names.split(' ').zip(values.split(' '));
        Ok(Counters(pairs.filter_map(|(n, v)| Some((n.to_owned(), v.parse().ok()?))).collect()))
    }

    /// A counter that must exist.
    pub fn value(&self, name: &str) -> Outcome<u64> {
        self.0.get(name).copied().ok_or_else(|| format!("there is no counter '{name}'"))
    }
}

fn name_and_value(line: &str) -> Option<(String, u64)> {
    let (name, value) = line.trim().split_once(char::is_whitespace)?;
    Some((name.to_owned(), value.trim().parse().ok()?))
}

fn text_of(command: &mut Command) -> Outcome<String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// The counters of one side at the start of the part that matters.
pub struct Before {
    rig: Rig,
    side: Side,
    accelerated: bool,
    region: Counters,
    kernel: Counters,
}

/// How much one side must at least have carried. All are of the whole case.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtLeast {
    pub connections: u64,
    pub segments_in: u64,
    pub segments_out: u64,
}

impl Before {
    /// A region that does not exist yet (its first program starts the keeper) counts from zero.
    pub fn look(rig: &Rig, side: Side, accelerated: bool) -> Outcome<Self> {
        let region = if accelerated {
            Counters::of_region(rig, side).unwrap_or_default()
        } else {
            Counters::default()
        };
        Ok(Before { rig: rig.clone(), side, accelerated, region, kernel: Counters::of_kernel(rig, side)? })
    }

    /// Accelerated: the region carried that much, and the kernel's TCP not one segment. Otherwise the kernel carried it,
    /// which also shows that this proof can fail.
    pub fn prove(&self, least: AtLeast) -> Outcome {
        let kernel = Counters::of_kernel(&self.rig, self.side)?;
        let since = |name| Ok::<u64, String>(kernel.value(name)?.saturating_sub(self.kernel.value(name)?));
        let (kernel_in, kernel_out) = (since("InSegs")?, since("OutSegs")?);
        let side = self.side;
        if !self.accelerated {
            ensure!(
                kernel_in >= least.connections && kernel_out >= least.connections,
                "{side:?}: the kernel should have carried this, but saw {kernel_in} segments in and {kernel_out} out"
            );
            return Ok(());
        }
        let region = Counters::of_region(&self.rig, self.side)?;
        let grown = |name| {
            Ok::<u64, String>(region.value(name)?.saturating_sub(self.region.value(name).unwrap_or(0)))
        };
        let opened = match side {
            Side::Server => "connections_opened_passive",
            Side::Client => "connections_opened_active",
        };
        for (name, least) in [
            (opened, least.connections),
            ("tcp_segments_in", least.segments_in.max(least.connections)),
            ("tcp_segments_out", least.segments_out.max(least.connections)),
            ("rx_frames", least.segments_in.max(least.connections)),
            ("tx_frames", least.segments_out.max(least.connections)),
        ] {
            let grown = grown(name)?;
            ensure!(
                grown >= least,
                "{side:?}: {name} grew by {grown}, at least {least} were due: not accelerated"
            );
        }
        // The rig damages nothing: whatever looks damaged was damaged by us.
        for name in
            ["tcp_bad_checksum", "tcp_malformed", "ip_bad_checksum", "ip_malformed", "ring_bad_descriptor"]
        {
            let grown = grown(name)?;
            ensure!(grown == 0, "{side:?}: {name} grew by {grown}");
        }
        ensure!(
            kernel_in == 0 && kernel_out == 0,
            "{side:?}: the kernel's TCP saw {kernel_in} segments in and {kernel_out} out: not (all) accelerated"
        );
        Ok(())
    }

    /// Nothing lost: frames and program slots are what they were, and nothing is left open. Time-wait takes no frame.
    pub fn nothing_lost(&self, within: Duration) -> Outcome {
        if !self.accelerated {
            return Ok(());
        }
        let expected = |name| self.region.value(name);
        let mut seen = String::new();
        let step = Duration::from_millis(20);
        for _ in 0..within.as_millis() / step.as_millis() {
            let now = Counters::of_region(&self.rig, self.side)?;
            seen.clear();
            for name in ["frames_free", "processes", "connections_live"] {
                if now.value(name)? != expected(name)? {
                    seen.push_str(&format!(" {name} {} instead of {}", now.value(name)?, expected(name)?));
                }
            }
            if seen.is_empty() {
                return Ok(());
            }
            sleep(step);
        }
        Err(format!("{:?}: the region does not return to what it was:{seen}", self.side))
    }
}
