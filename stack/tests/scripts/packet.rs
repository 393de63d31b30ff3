//! A segment as scripts write it: numbers relative to the initial ones of both sides.

use std::fmt;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

/// The letters of the flags, in the order in which they are printed.
const FLAGS: [(char, u8); 8] =
    [('F', FIN), ('S', SYN), ('R', RST), ('P', PSH), ('U', 32), ('E', 64), ('W', 128), ('.', ACK)];
/// The two ECN bits of the IP header.
const ECN: [&str; 4] = ["noecn", "ect1", "ect0", "ce"];

/// A segment: one to inject, one to expect (what is None is not looked at), or one that came.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// Which connection: `@2`; 1 when nothing is said.
    pub flow: u16,
    pub ecn: Option<u8>,
    pub flags: u8,
    pub seq: u32,
    pub len: u32,
    pub ack: Option<u32>,
    pub window: Option<u16>,
    pub urgent: Option<u16>,
    pub options: Option<Vec<Opt>>,
    pub content: Content,
    /// The initial sequence number, where `seq` is that of the wire: the pattern counts from there.
    pub content_base: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Each byte follows from its place in the stream.
    Pattern,
    Fill(u8),
    /// Neither: only of what came.
    Mixed,
}

/// The byte of a stream at relative sequence number `seq`.
pub(crate) fn pattern(seq: u32) -> u8 {
    (seq % 251) as u8
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Is(u32),
    Any,
    /// What the stack sent last.
    Last,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    Is(Vec<u8>),
    Any,
    Last,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opt {
    End,
    Nop,
    Mss(Number),
    WindowScale(Number),
    SackPermitted,
    Sack(Vec<(u32, u32)>),
    Timestamps { value: Number, echo: Number },
    FastOpen(Cookie),
    Raw(Vec<u8>),
}

impl Segment {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (before, options, after) = match (text.find('<'), text.rfind('>')) {
            (Some(from), Some(to)) if from < to => {
                (&text[..from], Some(&text[from + 1..to]), &text[to + 1..])
            }
            (None, None) => (text, Some(""), ""),
            _ => return Err("options stand between < and >".into()),
        };
        let mut words = before.split_whitespace().chain(after.split_whitespace()).peekable();
        let mut segment = Self {
            flow: 1,
            ecn: None,
            flags: 0,
            seq: 0,
            len: 0,
            ack: None,
            window: None,
            urgent: None,
            options: options.filter(|o| o.trim() != "...").map(parse_options).transpose()?,
            content: Content::Pattern,
            content_base: 0,
        };
        if let Some(flow) = words.peek().and_then(|w| w.strip_prefix('@')) {
            segment.flow = number(flow)? as u16;
            words.next();
        }
        if let Some(ecn) = words.peek().and_then(|w| w.strip_prefix('[')) {
            let name = ecn.trim_end_matches(']');
            let bits = ECN.iter().position(|e| *e == name).ok_or(format!("no ECN bits: {name}"))?;
            segment.ecn = Some(bits as u8);
            words.next();
        }
        segment.flags = flags(words.next().ok_or("flags are missing")?)?;
        (segment.seq, segment.len) = extent(words.next().ok_or("the sequence numbers are missing")?)?;
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} wants a value"))?;
            match word {
                "ack" => segment.ack = Some(number(value)?),
                "win" => segment.window = Some(number(value)? as u16),
                "urg" => segment.urgent = Some(number(value)? as u16),
                "fill" => segment.content = Content::Fill(number(value)? as u8),
                _ => return Err(format!("what is {word}?")),
            }
        }
        Ok(segment)
    }

    /// Whether what came is what was expected. Padding and the order of options count for nothing. `ticks`: by how
    /// much a timestamp may differ besides.
    pub(crate) fn is_met_by(&self, seen: &Segment, ticks: u32) -> bool {
        fn agree<T: PartialEq>(wanted: &Option<T>, seen: &Option<T>) -> bool {
            wanted.is_none() || wanted == seen
        }
        self.flow == seen.flow
            && agree(&self.ecn, &seen.ecn)
            && (self.flags, self.seq, self.len) == (seen.flags, seen.seq, seen.len)
            && (self.flags & ACK == 0 || self.ack == seen.ack)
            && agree(&self.window, &seen.window)
            && agree(&self.urgent, &seen.urgent)
            && self.content == seen.content
            && self.options.as_ref().is_none_or(|wanted| options_agree(wanted, seen, ticks))
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn options_agree(wanted: &[Opt], seen: &Segment, ticks: u32) -> bool {
    let is_padding = |o: &&Opt| matches!(o, Opt::Nop | Opt::End);
    let mut seen: Vec<&Opt> = seen.options.iter().flatten().filter(|o| !is_padding(o)).collect();
    for option in wanted.iter().filter(|o| !is_padding(o)) {
        let Some(place) = seen.iter().position(|s| option.is_met_by(s, ticks)) else { return false };
        seen.remove(place);
    }
    seen.is_empty()
}

/// Timestamps tick once a millisecond, and so does the timer wheel: a tick more or less may be both.
const TICKS: u32 = 2;

impl Opt {
    fn is_met_by(&self, seen: &Opt, ticks: u32) -> bool {
        match (self, seen) {
            (Opt::Mss(a), Opt::Mss(b)) | (Opt::WindowScale(a), Opt::WindowScale(b)) => a.is_met_by(*b, 0),
            (Opt::Timestamps { value: a, echo: x }, Opt::Timestamps { value: b, echo: y }) => {
                a.is_met_by(*b, TICKS + ticks) && x.is_met_by(*y, 0)
            }
            (Opt::FastOpen(Cookie::Any), Opt::FastOpen(_)) => true,
            _ => self == seen,
        }
    }
}

impl Number {
    fn is_met_by(self, seen: Number, tolerance: u32) -> bool {
        match (self, seen) {
            (Number::Any, _) => true,
            (Number::Is(a), Number::Is(b)) => (a.wrapping_sub(b) as i32).unsigned_abs() <= tolerance,
            _ => false,
        }
    }
}

fn flags(word: &str) -> Result<u8, String> {
    if word == "-" {
        return Ok(0);
    }
    word.chars().try_fold(0, |all, letter| {
        let flag = FLAGS.iter().find(|f| f.0 == letter).ok_or(format!("no flag is called {letter}"))?;
        Ok(all | flag.1)
    })
}

/// `first:behind(length)`.
pub(crate) fn extent(word: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("{word} is not first:behind(length)");
    let (first, rest) = word.split_once(':').ok_or_else(wrong)?;
    let (behind, len) = rest.strip_suffix(')').and_then(|r| r.split_once('(')).ok_or_else(wrong)?;
    let (first, behind, len) = (number(first)?, number(behind)?, number(len)?);
    if behind.wrapping_sub(first) != len {
        return Err(format!("{word}: the length is {}", behind.wrapping_sub(first)));
    }
    Ok((first, len))
}

/// Decimal or 0x..., a minus sign allowed: sequence numbers before the first are negative.
pub(crate) fn number(word: &str) -> Result<u32, String> {
    let (word, negative) = word.strip_prefix('-').map_or((word, false), |w| (w, true));
    let value = match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => word.parse(),
    };
    let value = value.map_err(|_| format!("{word} is not a number"))?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

fn parse_options(text: &str) -> Result<Vec<Opt>, String> {
    text.split(',').map(str::trim).filter(|o| !o.is_empty()).map(option).collect()
}

fn option(text: &str) -> Result<Opt, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(match words[..] {
        ["eol"] => Opt::End,
        ["nop"] => Opt::Nop,
        ["mss", n] => Opt::Mss(or_word(n)?),
        ["wscale", n] => Opt::WindowScale(or_word(n)?),
        ["sackOK"] => Opt::SackPermitted,
        ["sack", ref blocks @ ..] => Opt::Sack(blocks.iter().map(|b| block(b)).collect::<Result<_, _>>()?),
        ["TS", "val", value, "ecr", echo] => Opt::Timestamps { value: or_word(value)?, echo: or_word(echo)? },
        ["FO"] => Opt::FastOpen(Cookie::Is(vec![])),
        ["FO", "any"] => Opt::FastOpen(Cookie::Any),
        ["FO", "last"] => Opt::FastOpen(Cookie::Last),
        ["FO", digits] => Opt::FastOpen(Cookie::Is(bytes(digits)?)),
        ["raw", digits] => Opt::Raw(bytes(digits)?),
        _ => return Err(format!("no option is called {text}")),
    })
}

fn or_word(word: &str) -> Result<Number, String> {
    match word {
        "any" => Ok(Number::Any),
        "last" => Ok(Number::Last),
        _ => number(word).map(Number::Is),
    }
}

fn block(word: &str) -> Result<(u32, u32), String> {
    let (from, to) = word.split_once(':').ok_or(format!("{word} is not from:to"))?;
    Ok((number(from)?, number(to)?))
}

fn bytes(digits: &str) -> Result<Vec<u8>, String> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or("?"));
    pairs.map(|p| u8::from_str_radix(p, 16).map_err(|_| format!("{digits} is not hexadecimal"))).collect()
}

/// A number that may lie before the first.
struct Relative(u32);

impl fmt::Display for Relative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is that far before the first is more likely meant as a large number.
        let signed = self.0 as i32;
        if (-1_000_000..0).contains(&signed) { write!(f, "{signed}") } else { write!(f, "{}", self.0) }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.flow != 1 {
            write!(f, "@{} ", self.flow)?;
        }
        if let Some(ecn) = self.ecn.filter(|&e| e != 0) {
            write!(f, "[{}] ", ECN[usize::from(ecn & 3)])?;
        }
        let flags: String = FLAGS.iter().filter(|l| self.has(l.1)).map(|l| l.0).collect();
        let flags = if flags.is_empty() { "-" } else { &flags };
        let behind = Relative(self.seq.wrapping_add(self.len));
        write!(f, "{flags} {}:{behind}({})", Relative(self.seq), self.len)?;
        if let Some(ack) = self.ack.filter(|_| self.has(ACK)) {
            write!(f, " ack {}", Relative(ack))?;
        }
        if let Some(window) = self.window {
            write!(f, " win {window}")?;
        }
        if let Some(urgent) = self.urgent.filter(|&u| u != 0) {
            write!(f, " urg {urgent}")?;
        }
        match &self.options {
            None => write!(f, " <...>")?,
            Some(options) if options.is_empty() => {}
            Some(options) => {
                let all: Vec<String> = options.iter().map(Opt::to_string).collect();
                write!(f, " <{}>", all.join(", "))?;
            }
        }
        match self.content {
            Content::Pattern => Ok(()),
            Content::Fill(byte) => write!(f, " fill {byte:#x}"),
            Content::Mixed => write!(f, " (other bytes than the program wrote)"),
        }
    }
}

impl fmt::Display for Opt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Opt::End => write!(f, "eol"),
            Opt::Nop => write!(f, "nop"),
            Opt::Mss(n) => write!(f, "mss {n}"),
            Opt::WindowScale(n) => write!(f, "wscale {n}"),
            Opt::SackPermitted => write!(f, "sackOK"),
            Opt::Sack(blocks) => {
                write!(f, "sack")?;
                blocks.iter().try_for_each(|(a, b)| write!(f, " {}:{}", Relative(*a), Relative(*b)))
            }
            Opt::Timestamps { value, echo } => write!(f, "TS val {value} ecr {echo}"),
            Opt::FastOpen(cookie) => match cookie {
                Cookie::Any => write!(f, "FO any"),
                Cookie::Last => write!(f, "FO last"),
                Cookie::Is(bytes) => write!(f, "FO {}", hexadecimal(bytes)),
            },
            Opt::Raw(bytes) => write!(f, "raw {}", hexadecimal(bytes)),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Is(n) => write!(f, "{n}"),
            Number::Any => write!(f, "any"),
            Number::Last => write!(f, "last"),
        }
    }
}
