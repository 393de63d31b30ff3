//! Plays a script.

use crate::engine::Engine;
use crate::host::{Call, Host, opens};
use crate::kernel::Kernel;
use crate::packet::{self, Segment};
use crate::script::{Action, Line, Script, Setting, When};
use crate::world::{World, ours, theirs};
use stack::region::Sizes;
use std::fmt;

/// Where a script went wrong, and what came instead.
pub(crate) struct Failure {
    /// Number and text of the line; none for what shows at the end.
    line: Option<(usize, String)>,
    what: String,
    around: Vec<String>,
}

const SHOWN_AROUND: usize = 14;
const DEFAULT_PEER_ISN: u32 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// `* >` waits for so long.
const LONGEST_WAIT: u64 = 7200 * SECOND;

pub(crate) fn run(script: &Script, mode: Mode) -> Result<(), Failure> {
    let at_start = |what| Failure { line: None, what, around: vec![] };
    let setup = setup(script).map_err(at_start)?;
    let isn = setup.local_isn.map(|isn| (isn, if setup.opens { ours(1) } else { theirs(1) }));
    let mut host: Box<dyn Host> = match mode {
        Mode::Kernel => Box::new(Kernel::new(setup.mtu).map_err(at_start)?),
        _ => Box::new(Engine::new(setup.sizes, setup.mtu, isn).map_err(at_start)?),
    };
    for setting in script.settings.iter().filter(|s| s.of == "option" && !s.name.ends_with("_isn")) {
        host.set_option(&setting.name, &setting.value).map_err(at_start)?;
    }
    let world = World::new(host, setup.peer_isn);
    let is_lenient = mode == Mode::Recovering;
    let mut player = Player { base: world.start, world, tolerance: script.tolerance, is_lenient };
    for line in &script.lines {
        let mut played = player.play(line);
        if is_lenient {
            // A shard that was rebuilt may send something once more, but its invariants hold.
            player.world.pending.clear();
            let recovered = player.world.recover();
            played = if player.world.is_broken { played.and(recovered) } else { Ok(()) };
        }
        played.map_err(|what| player.failure(Some(line), what))?;
    }
    if is_lenient {
        player.world.pending.clear();
    }
    player.finish().map_err(|what| player.failure(None, what))
}

/// What a script is played on, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Engine,
    /// The shard is rebuilt after each line.
    Recovering,
    Kernel,
}

/// What a script may set before it begins.
struct Setup {
    sizes: Sizes,
    mtu: u32,
    peer_isn: u32,
    local_isn: Option<u32>,
    /// The initial number of a connection that we open, not of one that the peer opens, is to be `local_isn`.
    opens: bool,
}

fn setup(script: &Script) -> Result<Setup, String> {
    let opens = script.lines.iter().any(|l| l.text.contains("connect") || l.text.contains("MSG_FASTOPEN"));
    let mut setup =
        Setup { sizes: Sizes::tiny(), mtu: 1500, peer_isn: DEFAULT_PEER_ISN, local_isn: None, opens };
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

struct Player {
    world: World,
    /// The time of the line before.
    base: u64,
    tolerance: u64,
    /// What is sent is not judged.
    is_lenient: bool,
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
        self.pass(to)?;
        self.base = self.world.host.now().max(to);
        match &line.action {
            Action::Inject(segment) => self.world.inject(segment),
            Action::InjectIcmp(icmp) => self.world.inject_icmp(icmp),
            Action::Call { name, args, result } => self.call(name, args, result),
            Action::Assert { what, relation, value } => self.assert(what, relation, value),
            Action::Expect(_) | Action::ExpectNothing => Ok(()),
        }
    }

    fn call(&mut self, name: &str, args: &[String], result: &str) -> Result<(), String> {
        let flow = args.iter().map(String::as_str).find(|a| a.starts_with('@'));
        let tuple = self.world.tuple_of(opens(name, args), flow);
        let came = match (name, flow) {
            ("renew", Some(flow)) => {
                self.world.renew(packet::number(flow.trim_start_matches('@'))? as u16);
                "0".into()
            }
            _ => self.world.host.call(&Call { name, args, wanted: result, tuple })?,
        };
        self.world.note(&format!("  {name}({}) = {came}", args.join(", ")));
        self.world.collect()?;
        if same(result, &came) { Ok(()) } else { Err(format!("it answers {came}")) }
    }

    fn assert(&mut self, what: &str, relation: &str, value: &str) -> Result<(), String> {
        let (name, rest) = what.split_once('(').ok_or("what is to be looked at?")?;
        let (of, field) = rest.split_once(')').ok_or("a parenthesis is open")?;
        let tuple = self.world.tuple_of(false, Some(of));
        let Some(came) = self.world.host.look(name, of, field.trim_start_matches('.'), &tuple)? else {
            return Ok(());
        };
        if holds(&came, relation, value)? { Ok(()) } else { Err(format!("{what} is {came}")) }
    }

    /// From when to when the line may happen.
    fn span(&self, line: &Line) -> (u64, u64) {
        let is_packet = matches!(line.action, Action::Expect(_));
        let around = |base: u64, time: u64| match is_packet {
            true => {
                let late = self.tolerance + self.world.host.delay(time);
                ((base + time).saturating_sub(late).max(self.base), base + time + late)
            }
            false => (base + time, base + time),
        };
        match line.when {
            // What follows at once follows at once.
            When::After(0) if is_packet => (self.base, self.base + self.world.host.delay(0)),
            When::After(time) => around(self.base, time),
            When::At(time) => around(self.world.start, time),
            When::Between(from, to) => {
                let late = if is_packet { self.world.host.delay(to) } else { 0 };
                (self.base + from, self.base + to + late)
            }
            When::Whenever => (self.base, self.base + LONGEST_WAIT),
        }
    }

    fn expect(&mut self, wanted: &Segment, from: u64, to: u64) -> Result<(), String> {
        self.world.advance(to)?;
        let Some((at, seen)) = self.world.pending.pop_front() else {
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

    /// Lets time pass, in which nothing may be sent.
    fn pass(&mut self, to: u64) -> Result<(), String> {
        loop {
            self.world.advance(to)?;
            if !self.is_lenient || self.world.pending.is_empty() {
                return self.nothing_is_left();
            }
            self.world.pending.clear();
        }
    }

    fn nothing_is_left(&mut self) -> Result<(), String> {
        let Some((at, seen)) = self.world.pending.pop_front() else { return Ok(()) };
        let shown = self.world.shown(&seen);
        Err(format!("> {shown} came before, at {}, and no line expects it", self.world.seconds(at)))
    }

    fn finish(&mut self) -> Result<(), String> {
        self.nothing_is_left()?;
        self.world.note("  the script ends");
        self.world.host.finish()
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
