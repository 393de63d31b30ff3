//! Frames to feed: honest ones bent a little, copies damaged at random, noise.

use crate::dice::Dice;
use stack::wire::{EthernetHeader, Flags, Ipv4Header, SegmentHeaders, TcpHeader, checksum};
use zerocopy::{FromBytes, IntoBytes};

/// What of a captured packet can be read.
#[derive(Clone, Copy)]
struct Anatomy {
    ethernet: EthernetHeader,
    ip: Ipv4Header,
    tcp: TcpHeader,
    payload_len: u32,
}

fn dissect(packet: &[u8]) -> Option<Anatomy> {
    let (ethernet, rest) = EthernetHeader::read_from_prefix(packet).ok()?;
    let (ip, rest) = Ipv4Header::read_from_prefix(rest).ok()?;
    let (tcp, _) = TcpHeader::read_from_prefix(rest).ok()?;
    let payload_len = rest.len().saturating_sub(tcp.header_len()) as u32;
    Some(Anatomy { ethernet, ip, tcp, payload_len })
}

/// A frame for the end to which `seen` was once sent.
pub(crate) fn make(dice: &mut Dice, seen: &[u8]) -> Vec<u8> {
    match dice.below(20) {
        0 => {
            let len = dice.below(1700);
            dice.bytes(len)
        }
        1 | 2 => damaged_copy(dice, seen),
        3 => truncated(dice, seen),
        4 => icmp(dice, seen),
        5 => seen.to_vec(),
        _ => crafted(dice, seen).unwrap_or_else(|| dice.bytes(60)),
    }
}

fn damaged_copy(dice: &mut Dice, seen: &[u8]) -> Vec<u8> {
    let mut packet = seen.to_vec();
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(packet.len());
        if let Some(byte) = packet.get_mut(at) {
            *byte = dice.roll() as u8;
        }
    }
    if !dice.one_in(4) {
        repair_checksums(&mut packet);
    }
    packet
}

fn truncated(dice: &mut Dice, seen: &[u8]) -> Vec<u8> {
    let mut packet = seen.to_vec();
    packet.truncate(dice.below(packet.len() + 1));
    packet
}

/// Makes a damaged packet pass for a whole one, so that the damage gets further.
fn repair_checksums(packet: &mut [u8]) -> Option<()> {
    let (ip, _) = Ipv4Header::read_from_prefix(packet.get(14..)?).ok()?;
    let start = 14 + ip.header_len().max(20);
    packet.get_mut(24..26)?.fill(0);
    let field = checksum::finish(checksum::sum(packet.get(14..start)?));
    packet.get_mut(24..26)?.copy_from_slice(&field.to_be_bytes());
    let len = packet.len().checked_sub(start)? as u16;
    packet.get_mut(start + 16..start + 18)?.fill(0);
    let pseudo = checksum::pseudo_header(ip.source.get(), ip.destination.get(), 6, len);
    let field = checksum::finish(pseudo + u64::from(checksum::sum(packet.get(start..)?)));
    packet.get_mut(start + 16..start + 18)?.copy_from_slice(&field.to_be_bytes());
    Some(())
}

const DISTANCES: [i64; 22] = [
    0,
    0,
    0,
    0,
    1,
    -1,
    2,
    100,
    -100,
    1447,
    1448,
    1449,
    -1448,
    2896,
    14_480,
    65_535,
    524_288,
    -524_288,
    524_289,
    1 << 20,
    1 << 31,
    -(1 << 30),
];
const FLAGS: [u8; 18] = [16, 16, 16, 16, 24, 24, 17, 17, 2, 18, 4, 20, 1, 0, 25, 0x38, 0xff, 0x12 | 0x40];
const WINDOWS: [u16; 8] = [0, 1, 100, 1448, 4096, 32_768, 65_535, 65_535];
const LENGTHS: [usize; 12] = [0, 0, 0, 1, 2, 10, 100, 513, 1000, 1447, 1448, 1460];

/// A segment with right checksums whose numbers are near those of a real one.
fn crafted(dice: &mut Dice, seen: &[u8]) -> Option<Vec<u8>> {
    let real = dissect(seen)?;
    let options = options(dice, seen);
    let len = dice.pick(&LENGTHS).min(1460_usize.saturating_sub(options.len()));
    let payload = dice.bytes(len);
    let near = |dice: &mut Dice, base: u32| base.wrapping_add(dice.pick(&DISTANCES) as u32);
    let next = real.tcp.seq.get().wrapping_add(if dice.one_in(2) { real.payload_len } else { 0 });
    let stray = |dice: &mut Dice, value: u16| if dice.one_in(40) { dice.roll() as u16 } else { value };
    let headers = SegmentHeaders {
        mac_to: real.ethernet.to,
        mac_from: real.ethernet.from,
        source: real.ip.source.get(),
        destination: real.ip.destination.get(),
        source_port: stray(dice, real.tcp.source.get()),
        destination_port: stray(dice, real.tcp.destination.get()),
        seq: near(dice, next),
        ack: near(dice, real.tcp.ack.get()),
        flags: if dice.one_in(10) { Flags(dice.roll() as u8) } else { Flags(dice.pick(&FLAGS)) },
        window: dice.pick(&WINDOWS),
        urgent: dice.pick(&[0, 0, 1, 2, len as u16, 1448, u16::MAX]),
        service: dice.pick(&[0, 0, 0, 1, 2, 3]),
        options: &options,
        payload_len: len as u16,
        payload_sum: checksum::sum(&payload),
    };
    let mut packet = vec![0; 94];
    headers.write(&mut packet)?;
    let mut packet = packet.split_off(94 - headers.byte_len());
    packet.extend(payload);
    Some(packet)
}

/// Selective acknowledgements around what the real segment acknowledges, behind its timestamps if it has room.
fn blocks(dice: &mut Dice, seen: &[u8]) -> Vec<u8> {
    let ack = dissect(seen).map_or(0, |a| a.tcp.ack.get());
    let timestamps = seen.get(54..66).filter(|o| o.starts_with(&[1, 1, 8, 10]) && dice.one_in(2));
    let mut options = timestamps.unwrap_or(&[]).to_vec();
    let count = 1 + dice.below(3);
    options.extend([1, 1, 5, 2 + 8 * count as u8]);
    for _ in 0..count {
        // Whole segments mostly, so that they name some that were sent.
        let segments = |dice: &mut Dice| dice.below(12) as u32 * 1448;
        let from = match dice.below(4) {
            0 => ack.wrapping_add(dice.pick(&DISTANCES) as u32),
            1 => ack.wrapping_sub(segments(dice)),
            _ => ack.wrapping_add(segments(dice)),
        };
        let to = match dice.below(6) {
            0 => from.wrapping_add(dice.pick(&DISTANCES) as u32),
            _ => from.wrapping_add(1448 + segments(dice)),
        };
        options.extend(from.to_be_bytes());
        options.extend(to.to_be_bytes());
    }
    options
}

/// Options of a SYN: sizes, scales and cookies of all kinds.
fn of_syn(dice: &mut Dice) -> Vec<u8> {
    let mut options = vec![2, 4, dice.pick(&[0, 0, 1, 5, 255]), dice.roll() as u8];
    options.extend([4, 2, 1, 1, 1, 3, 3, dice.pick(&[0, 7, 14, 15, 255])]);
    let len = dice.pick(&[0, 2, 4, 8, 8, 16, 17]);
    options.extend([34, 2 + len as u8]);
    options.extend(dice.bytes(len));
    options.resize(options.len().next_multiple_of(4), 1);
    options
}

/// Options of the real segment, of none, or noise; always whole words.
fn options(dice: &mut Dice, seen: &[u8]) -> Vec<u8> {
    match dice.below(9) {
        6 | 7 => return blocks(dice, seen),
        8 if dice.one_in(3) => return of_syn(dice),
        _ => {}
    }
    match dice.below(6) {
        0 => Vec::new(),
        1 => {
            let words = dice.below(11);
            dice.bytes(words * 4)
        }
        2 => vec![8, 10, 0, 0, 0, dice.roll() as u8, 0, 0, 0, 0, 1, 1],
        choice => {
            let header = dissect(seen).map_or(20, |a| a.tcp.header_len()).clamp(20, 60);
            let mut options = seen.get(54..34 + header).unwrap_or(&[]).to_vec();
            if choice == 3 && !options.is_empty() {
                let at = dice.below(options.len());
                options[at] = options[at].wrapping_add(dice.pick(&[1, 255, 128]));
            }
            options
        }
    }
}

/// An ICMP error that quotes a packet, of one that we sent with luck.
fn icmp(dice: &mut Dice, seen: &[u8]) -> Vec<u8> {
    let Some(real) = dissect(seen) else { return seen.to_vec() };
    // Turned round: what the receiver of `seen` would have sent.
    let mut quote_ip = real.ip;
    (quote_ip.source, quote_ip.destination) = (real.ip.destination, real.ip.source);
    let mut quote_tcp = real.tcp;
    (quote_tcp.source, quote_tcp.destination) = (real.tcp.destination, real.tcp.source);
    quote_tcp.seq = real.tcp.ack.get().wrapping_add(dice.pick(&DISTANCES) as u32).into();
    let mut icmp =
        vec![dice.pick(&[3, 3, 3, 11, 12, 8]), dice.pick(&[0, 1, 2, 3, 4, 9, 13, 200]), 0, 0, 0, 0];
    icmp.extend((dice.roll() as u16 % 1600).to_be_bytes());
    icmp.extend_from_slice(quote_ip.as_bytes());
    icmp.extend_from_slice(&quote_tcp.as_bytes()[..8 + dice.below(13)]);
    let sum = checksum::finish(checksum::sum(&icmp));
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut ip = real.ip;
    ip.protocol.0 = 1;
    ip.total_len = (20 + icmp.len() as u16).into();
    ip.checksum = 0.into();
    ip.checksum = checksum::finish(checksum::sum(ip.as_bytes())).into();
    let mut packet = real.ethernet.as_bytes().to_vec();
    packet.extend_from_slice(ip.as_bytes());
    packet.extend(icmp);
    packet
}
