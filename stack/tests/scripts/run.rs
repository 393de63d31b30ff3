//! Plays a script.

use crate::calls::Sockets;
use crate::packet::{self, Segment};
use crate::script::{Action, Line, Script, Setting, When};
use crate::world::{Setup, World};
use std::fmt;

/// Where a script went wrong, and what came instead.
pub(crate) struct Failure {
    /// Number and text of the line; none for what shows at the end.
    line: Option<(usize, String)>,
    what: String,
    around: Vec<String>,
}

const SHOWN_AROUND: usize = 14;
const SECOND: u64 = 1_000_000_000;
/// `* >` waits for so long.
const LONGEST_WAIT: u64 = 7200 * SECOND;

pub(crate) fn run(script: &Script, is_recovering: bool) -> Result<(), Failure> {
    let at_start = |what| Failure { line: None, what, around: vec![] };
    let setup = setup(script).map_err(at_start)?;
    let mut world = World::new(&setup).map_err(at_start)?;
    for setting in script.settings.iter().filter(|s| s.of == "option") {
        set_option(&mut world, setting).map_err(at_start)?;
    }
    let base = world.now;
    let mut player = Player { world, sockets: Sockets::default(), base, tolerance: script.tolerance };
    for line in &script.lines {
        let mut played = player.play(line);
        if is_recovering {
            // A shard that was rebuilt may send something once more, but its invariants hold.
            player.world.pending.clear();
            let recovered = player.world.recover();
            played = if player.world.is_broken { played.and(recovered) } else { Ok(()) };
        }
        played.map_err(|what| player.failure(Some(line), what))?;
    }
    if is_recovering {
        player.world.pending.clear();
    }
    player.finish().map_err(|what| player.failure(None, what))
}

fn setup(script: &Script) -> Result<Setup, String> {
    let opens = script.lines.iter().any(|l| l.text.contains("connect"));
    let mut setup = Setup { opens, ..Setup::default() };
    for Setting { of, name, value } in &script.settings {
        let n = || packet::number(value);
        match (of.as_str(), name.as_str()) {
            ("device", "mtu") => setup.mtu = n()?,
            ("size", "frames") => setup.sizes.frames = n()?,
            ("size", "connections") => setup.sizes.connections = n()?,
            ("size", "requests") => setup.sizes.requests = n()?,
            ("size", "time_waits") => setup.sizes.time_waits = n()?,
            ("size", "chunk") => setup.sizes.chunk_size = n()?,
            ("option", "peer_isn") => setup.peer_isn = n()?,
            ("option", "local_isn") => setup.local_isn = Some(n()?),
            ("option", _) => {}
            _ => return Err(format!("no {of} is called {name}")),
        }
    }
    Ok(setup)
}

/// The sysctls of TCP.
fn set_option(world: &mut World, setting: &Setting) -> Result<(), String> {
    match setting.name.as_str() {
        "peer_isn" | "local_isn" => Ok(()),
        name if world.shard.head.sysctls.set(name, packet::number(&setting.value)?) => Ok(()),
        name => Err(format!("no option is called {name}")),
    }
}

struct Player {
    world: World,
    sockets: Sockets,
    /// The time of the line before.
    base: u64,
    tolerance: u64,
}

impl Player {
    fn play(&mut self, line: &Line) -> Result<(), String> {
        let (from, to) = self.span(line);
        match &line.action {
            Action::Expect(wanted) => return self.expect(wanted, from, to),
            // What can be looked at all along the time; nothing of it may send anything.
            Action::ExpectNothing => {}
            _ if from > to => return Err("this is in the past".into()),
            _ => {}
        }
        self.world.advance(to)?;
        self.nothing_is_left()?;
        self.base = self.world.now;
        match &line.action {
            Action::Inject(segment) => self.world.inject(segment),
            Action::InjectIcmp(icmp) => self.world.inject_icmp(icmp),
            Action::Call { name, args, result } => {
                let came = self.sockets.call(&mut self.world, name, args, result)?;
                self.world.note(&format!("  {name}({}) = {came}", args.join(", ")));
                self.world.collect()?;
                if same(result, &came) { Ok(()) } else { Err(format!("it answers {came}")) }
            }
            Action::Assert { what, relation, value } => {
                let came = self.sockets.look(&mut self.world, what)?;
                if holds(&came, relation, value)? { Ok(()) } else { Err(format!("{what} is {came}")) }
            }
            Action::Expect(_) | Action::ExpectNothing => Ok(()),
        }
    }

    /// From when to when the line may happen.
    fn span(&self, line: &Line) -> (u64, u64) {
        let is_packet = matches!(line.action, Action::Expect(_));
        let around = |time: u64, is_exact: bool| match is_packet && !is_exact {
            true => (time.saturating_sub(self.tolerance).max(self.base), time + self.tolerance),
            false => (time, time),
        };
        match line.when {
            // What follows at once follows at once.
            When::After(0) => around(self.base, true),
            When::After(time) => around(self.base + time, false),
            When::At(time) => around(self.world.start + time, false),
            When::Between(from, to) => (self.base + from, self.base + to),
            When::Whenever => (self.base, self.base + LONGEST_WAIT),
        }
    }

    fn expect(&mut self, wanted: &Segment, from: u64, to: u64) -> Result<(), String> {
        self.world.advance(to)?;
        let Some((at, seen)) = self.world.pending.pop_front() else {
            self.base = self.world.now;
            return Err("nothing came".into());
        };
        let is_met = self.world.is_met(wanted, &seen);
        let shown = self.world.shown(&seen);
        if !is_met {
            return Err(format!("> {shown} came, at {}", self.world.seconds(at)));
        }
        if at < from || at > to {
            let (at, from) = (self.world.seconds(at), self.world.seconds(from));
            return Err(format!(
                "it came at {at}, and should have from {from} to {}",
                self.world.seconds(to)
            ));
        }
        self.base = at;
        Ok(())
    }

    fn nothing_is_left(&mut self) -> Result<(), String> {
        let Some((at, seen)) = self.world.pending.pop_front() else { return Ok(()) };
        let shown = self.world.shown(&seen);
        Err(format!("> {shown} came before, at {}, and no line expects it", self.world.seconds(at)))
    }

    /// Programs close what they have; in the end all memory must be free again.
    fn finish(&mut self) -> Result<(), String> {
        self.nothing_is_left()?;
        self.world.note("  the script ends");
        self.sockets.close_all(&mut self.world);
        let end = self.world.now + LONGEST_WAIT;
        while self.world.shard.wheel.armed() > 0 && self.world.now < end {
            self.world.pending.clear();
            self.world.advance(end)?;
        }
        let s = &self.world.shard;
        let left = [
            ("connections", s.connections.in_use()),
            ("half-open connections", s.requests.in_use()),
            ("TIME_WAIT entries", s.time_waits.in_use()),
            ("listeners", s.listeners.in_use()),
            ("frames", s.frames.total() - s.frames.available()),
        ];
        match left.iter().find(|l| l.1 != 0) {
            Some((what, n)) => Err(format!("{n} {what} are left two hours after the end")),
            None => Ok(()),
        }
    }

    fn failure(&self, line: Option<&Line>, what: String) -> Failure {
        let log = &self.world.log;
        let around = log[log.len().saturating_sub(SHOWN_AROUND)..].to_vec();
        Failure { line: line.map(|l| (l.number, l.text.clone())), what, around }
    }
}

/// Words joined by | may come in any order.
fn same(wanted: &str, came: &str) -> bool {
    let sorted = |text: &str| {
        let mut words: Vec<String> = text.split('|').map(|w| w.trim().to_string()).collect();
        words.sort();
        words
    };
    sorted(wanted) == sorted(came)
}

fn holds(came: &str, relation: &str, value: &str) -> Result<bool, String> {
    Ok(match (relation, came.parse::<i64>(), value.parse::<i64>()) {
        ("==", Ok(a), Ok(b)) => a == b,
        ("!=", Ok(a), Ok(b)) => a != b,
        ("<", Ok(a), Ok(b)) => a < b,
        ("<=", Ok(a), Ok(b)) => a <= b,
        (">", Ok(a), Ok(b)) => a > b,
        (">=", Ok(a), Ok(b)) => a >= b,
        ("==", ..) => came == value,
        ("!=", ..) => came != value,
        _ => return Err(format!("{came} and {value} are not both numbers")),
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.line {
            Some((number, text)) => writeln!(f, "  line {number}: {text}")?,
            None => writeln!(f, "  apart from any line:")?,
        }
        writeln!(f, "    {}", self.what)?;
        if !self.around.is_empty() {
            writeln!(f, "  what happened up to there:")?;
        }
        self.around.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}
