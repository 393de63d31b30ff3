//! A script: its head, and lines with a time each. See docs/packet-scripts.md.

use crate::packet::{self, Segment};

pub(crate) struct Script {
    /// The RFC section or the Linux behaviour that it pins.
    pub pins: Vec<String>,
    /// Why it cannot pass yet.
    pub gap: Option<String>,
    /// Why the kernel does otherwise, or cannot be made to show it.
    pub not_linux: Option<String>,
    pub settings: Vec<Setting>,
    pub tolerance: u64,
    pub lines: Vec<Line>,
}

/// `option`, `device` or `size`, a name, a value.
pub(crate) struct Setting {
    pub of: String,
    pub name: String,
    pub value: String,
}

pub(crate) struct Line {
    pub number: usize,
    pub text: String,
    pub when: When,
    pub action: Action,
}

/// Times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// `+T`: so long after the line before.
    After(u64),
    /// `+T~+U`.
    Between(u64, u64),
    /// `T`: since the start.
    At(u64),
    /// `*`.
    Whenever,
}

pub(crate) enum Action {
    Inject(Segment),
    InjectIcmp(Icmp),
    Expect(Segment),
    ExpectNothing,
    Call { name: String, args: Vec<String>, result: String },
    Assert { what: String, relation: String, value: String },
}

/// `icmp KIND [mtu N] [first:behind(length)]`: an error that quotes such a segment of ours.
pub(crate) struct Icmp {
    pub flow: u16,
    pub kind: String,
    pub mtu: u16,
    pub seq: u32,
}

const DEFAULT_TOLERANCE: u64 = 2_000_000;

impl Script {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self {
            pins: vec![],
            gap: None,
            not_linux: None,
            settings: vec![],
            tolerance: DEFAULT_TOLERANCE,
            lines: vec![],
        };
        for (index, line) in text.lines().enumerate() {
            script.add(index + 1, line.trim()).map_err(|e| format!("line {}: {e}\n    {line}", index + 1))?;
        }
        if script.pins.is_empty() {
            return Err("no line `# pins: RFC ...` or `# pins: LINUX ...` says what it is for".into());
        }
        if script.lines.is_empty() {
            return Err("nothing happens in it".into());
        }
        Ok(script)
    }

    /// How long it takes, waits without a time left out.
    pub(crate) fn duration(&self) -> u64 {
        let of = |line: &Line| match line.when {
            When::After(time) | When::Between(_, time) => time,
            When::At(_) | When::Whenever => 0,
        };
        self.lines.iter().map(of).sum()
    }

    fn add(&mut self, number: usize, line: &str) -> Result<(), String> {
        if let Some(pin) = line.strip_prefix("# pins:") {
            let pin = pin.trim();
            if !pin.starts_with("RFC ") && !pin.starts_with("LINUX ") {
                return Err("a pin is an RFC's section or a LINUX behaviour".into());
            }
            self.pins.push(pin.into());
            return Ok(());
        }
        if let Some(gap) = line.strip_prefix("# gap:") {
            self.gap = Some(gap.trim().into());
            return Ok(());
        }
        if let Some(why) = line.strip_prefix("# not linux:") {
            self.not_linux = Some(why.trim().into());
            return Ok(());
        }
        let line = line.split(" //").next().unwrap_or("").trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
            return Ok(());
        }
        match line.split_once(' ') {
            Some((of @ ("option" | "device" | "size"), rest)) => self.add_settings(of, rest),
            Some(("tolerance", time)) => {
                self.tolerance = nanoseconds(time.trim())?;
                Ok(())
            }
            _ => self.add_line(number, line),
        }
    }

    fn add_settings(&mut self, of: &str, rest: &str) -> Result<(), String> {
        if !self.lines.is_empty() {
            return Err("settings stand before the first line with a time".into());
        }
        for pair in rest.split_whitespace() {
            let (name, value) = pair.split_once('=').ok_or(format!("{pair} is not name=value"))?;
            self.settings.push(Setting { of: of.into(), name: name.into(), value: value.into() });
        }
        Ok(())
    }

    fn add_line(&mut self, number: usize, line: &str) -> Result<(), String> {
        let (when, rest) = if line.starts_with("assert ") {
            (When::After(0), line)
        } else {
            let (time, rest) = line.split_once(' ').ok_or("a line is a time and what happens then")?;
            (when(time)?, rest.trim())
        };
        if let Some(opening) = opening(rest) {
            return self.open(number, line, when, &opening?);
        }
        let action = action(rest)?;
        self.lines.push(Line { number, text: line.into(), when, action });
        Ok(())
    }

    /// The lines that `established` and `connected` stand for.
    fn open(&mut self, number: usize, text: &str, when: When, o: &Opening) -> Result<(), String> {
        let Opening { fd, flow, options, window, round_trip, .. } = o;
        let scale = if options.contains("wscale") { 7 } else { 0 };
        let last = o.last.as_deref().unwrap_or("");
        let window_then = window >> scale;
        let lines = if o.is_ours {
            vec![
                format!("socket() = {fd}"),
                format!("connect({fd}, @{flow}) = -1 EINPROGRESS"),
                format!("> @{flow} S 0:0(0) <...>"),
                format!("+{round_trip} < @{flow} S. 0:0(0) ack 1 win {window} <{options}>"),
                format!("> @{flow} . 1:1(0) ack 1 <...>"),
                format!("connect({fd}, @{flow}) = 0"),
            ]
        } else {
            let mut lines = vec![
                format!("< @{flow} S 0:0(0) win {window} <{options}>"),
                format!("> @{flow} S. 0:0(0) ack 1 <...>"),
                format!("+{round_trip} < @{flow} . 1:1(0) ack 1 win {window_then} <{last}>"),
                format!("accept(3) = {fd}"),
            ];
            let has = |what: &str| self.lines.iter().any(|l| l.text.contains(what));
            let (has_socket, listens) = (has("socket() = 3"), has("listen(3"));
            if !listens {
                lines.insert(0, "listen(3, 8) = 0".into());
            }
            if !has_socket {
                lines.insert(0, "socket() = 3".into());
            }
            lines
        };
        for (index, line) in lines.iter().enumerate() {
            let (when, line) = match line.strip_prefix('+') {
                Some(rest) => {
                    let (time, rest) = rest.split_once(' ').ok_or("a time is missing")?;
                    (When::After(nanoseconds(time)?), rest)
                }
                None => (if index == 0 { when } else { When::After(0) }, line.as_str()),
            };
            let text = format!("{line}    (of: {text})");
            self.lines.push(Line { number, text, when, action: action(line)? });
        }
        Ok(())
    }
}

/// `established(FD) [@N] [rtt T] [win N] [<options of the peer's SYN>] [<options of its ACK>]`: the peer opens, and a
/// program accepts; `connected(FD) ...`: a program connects.
struct Opening {
    is_ours: bool,
    fd: u32,
    flow: u16,
    round_trip: String,
    window: u32,
    options: String,
    last: Option<String>,
}

fn opening(text: &str) -> Option<Result<Opening, String>> {
    let is_ours = text.starts_with("connected(");
    if !is_ours && !text.starts_with("established(") {
        return None;
    }
    Some(read_opening(is_ours, text))
}

fn read_opening(is_ours: bool, text: &str) -> Result<Opening, String> {
    let (fd, rest) =
        text.split_once('(').and_then(|t| t.1.split_once(')')).ok_or("a descriptor is missing")?;
    let mut opening = Opening {
        is_ours,
        fd: packet::number(fd)?,
        flow: 1,
        round_trip: "0.100".into(),
        window: 65_535,
        options: "mss 1460".into(),
        last: None,
    };
    let (words, options) = rest.split_once('<').unwrap_or((rest, ""));
    let mut lists = options.split('<').filter_map(|o| o.split('>').next()).filter(|o| !o.is_empty());
    opening.options = lists.next().map_or(opening.options, String::from);
    opening.last = lists.next().map(String::from);
    let mut words = words.split_whitespace();
    while let Some(word) = words.next() {
        if let Some(flow) = word.strip_prefix('@') {
            opening.flow = packet::number(flow)? as u16;
            continue;
        }
        let value = words.next().ok_or(format!("{word} wants a value"))?;
        match word {
            "rtt" => opening.round_trip = value.into(),
            "win" => opening.window = packet::number(value)?,
            _ => return Err(format!("what is {word}?")),
        }
    }
    Ok(opening)
}

fn when(text: &str) -> Result<When, String> {
    if text == "*" {
        return Ok(When::Whenever);
    }
    match (text.strip_prefix('+'), text.split_once('~')) {
        (Some(_), Some((from, to))) => {
            let part = |t: &str| nanoseconds(t.trim_start_matches('+'));
            Ok(When::Between(part(from)?, part(to)?))
        }
        (Some(time), None) => nanoseconds(time).map(When::After),
        (None, _) => nanoseconds(text).map(When::At),
    }
}

/// Seconds, with up to nine digits behind the point.
pub(crate) fn nanoseconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text} is not a time in seconds");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 9 || (whole.is_empty() && part.is_empty()) {
        return Err(wrong());
    }
    let digits = |t: &str| if t.is_empty() { Ok(0) } else { t.parse::<u64>().map_err(|_| wrong()) };
    Ok(digits(whole)? * 1_000_000_000 + digits(&format!("{part:0<9}"))?)
}

fn action(text: &str) -> Result<Action, String> {
    if let Some(rest) = text.strip_prefix("assert ") {
        return assertion(rest);
    }
    if let Some(rest) = text.strip_prefix('>') {
        return match rest.trim() {
            "no packet" => Ok(Action::ExpectNothing),
            segment => Segment::parse(segment).map(Action::Expect),
        };
    }
    if let Some(rest) = text.strip_prefix('<') {
        let rest = rest.trim();
        return match rest.strip_prefix("icmp ") {
            Some(icmp) => read_icmp(icmp).map(Action::InjectIcmp),
            None => {
                let segment = Segment::parse(rest)?;
                if segment.options.is_none() {
                    return Err("what is sent has certain options".into());
                }
                Ok(Action::Inject(segment))
            }
        };
    }
    call(text)
}

fn call(text: &str) -> Result<Action, String> {
    let wrong = "this is neither a segment nor a call with its result";
    let (name, rest) = text.split_once('(').ok_or(wrong)?;
    let (args, result) = rest.split_once(')').ok_or(wrong)?;
    let result = result.trim().strip_prefix('=').ok_or(wrong)?.trim();
    // A reader may like the arguments in their places: what is left open is left out.
    let args = args.split(',').map(str::trim).filter(|a| !a.is_empty() && *a != "...");
    Ok(Action::Call {
        name: name.trim().into(),
        args: args.map(String::from).collect(),
        result: result.into(),
    })
}

fn assertion(text: &str) -> Result<Action, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [what, relation @ ("==" | "!=" | "<" | "<=" | ">" | ">="), value] = words[..] else {
        return Err("assert WHAT ==|!=|<|<=|>|>= VALUE".into());
    };
    Ok(Action::Assert { what: what.into(), relation: relation.into(), value: value.into() })
}

fn read_icmp(text: &str) -> Result<Icmp, String> {
    let mut icmp = Icmp { flow: 1, kind: String::new(), mtu: 0, seq: 0 };
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        if let Some(flow) = word.strip_prefix('@') {
            icmp.flow = packet::number(flow)? as u16;
        } else if word == "mtu" {
            icmp.mtu = packet::number(words.next().ok_or("mtu wants a value")?)? as u16;
        } else if let Some(quote) = word.strip_prefix('[') {
            icmp.seq = packet::extent(quote.trim_end_matches(']'))?.0;
        } else {
            icmp.kind = word.into();
        }
    }
    Ok(icmp)
}
