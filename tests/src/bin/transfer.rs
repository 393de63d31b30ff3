//! A transfer whose every byte is checked, over plain sockets:
//!
//!   transfer receive PORT SEED LIMIT_SECONDS         takes one connection, reads it to its end
//!   transfer send ADDRESS PORT SEED BYTES ALGORITHM [--watch]
//!                                                    connects, sends, waits until the receiver has everything
//!
//! Both print `name value` lines. The receiver's `seconds` are those between accept() and the end of the stream; what
//! takes longer than the limit is cut off there (`complete 0`). The sender prints TCP_INFO as it was at the end, with
//! `--watch` ten times a second.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use shunt_tests::seeded::Seeded;
use shunt_tests::{Outcome, ensure, tcp_info};

const PIECE: usize = 1 << 16;
const WATCH: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<&str>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("transfer: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Outcome {
    match words[..] {
        ["receive", port, seed, limit] => receive(port, seed, limit),
        ["send", address, port, seed, bytes, algorithm] => {
            send((address, number(port)?), number(seed)?, number(bytes)?, algorithm, false)
        }
        ["send", address, port, seed, bytes, algorithm, "--watch"] => {
            send((address, number(port)?), number(seed)?, number(bytes)?, algorithm, true)
        }
        _ => Err("receive PORT SEED LIMIT, or send ADDRESS PORT SEED BYTES ALGORITHM [--watch]".to_owned()),
    }
}

fn receive(port: &str, seed: &str, limit: &str) -> Outcome {
    let listener = TcpListener::bind(("0.0.0.0", number(port)?)).map_err(|e| format!("port {port}: {e}"))?;
    let limit = Duration::from_secs(number(limit)?);
    let mut expected = Seeded::new(number(seed)?);
    let (mut stream, _) = listener.accept().map_err(|e| format!("accept: {e}"))?;
    let began = Instant::now();
    stream.set_read_timeout(Some(WATCH)).map_err(|e| format!("a time limit: {e}"))?;
    let mut piece = vec![0; PIECE];
    let mut complete = false;
    while !complete && began.elapsed() < limit {
        match stream.read(&mut piece) {
            Ok(0) => complete = true,
            Ok(count) => {
                let bytes = piece.get(..count).unwrap_or(&[]);
                expected.check(bytes).map_err(|at| format!("WRONG BYTES at {at}"))?;
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => return Err(format!("after {} bytes: {e}", expected.position)),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    if complete {
        stream.write_all(&expected.position.to_le_bytes()).map_err(|e| format!("the answer: {e}"))?;
    }
    println!("bytes {}\nseconds {seconds:.6}\ncomplete {}", expected.position, u8::from(complete));
    Ok(())
}

fn send(to: (&str, u16), seed: u64, bytes: u64, algorithm: &str, watch: bool) -> Outcome {
    let began = Instant::now();
    let stream = TcpStream::connect(to).map_err(|e| format!("connect: {e}"))?;
    println!("connect_seconds {:.6}", began.elapsed().as_secs_f64());
    choose(&stream, algorithm).map_err(|e| format!("congestion control {algorithm}: {e}"))?;
    let watched = if watch { Some(stream.try_clone().map_err(|e| format!("dup: {e}"))?) } else { None };
    if let Some(watched) = watched {
        std::thread::spawn(move || report_often(&watched, began));
    }
    let arrived = stream_out(&stream, seed, bytes);
    for (name, value) in tcp_info::of(&stream) {
        println!("{name} {value}");
    }
    match arrived {
        Ok(arrived) => ensure!(arrived == bytes, "{arrived} of {bytes} bytes arrived"),
        // The receiver has cut it off: it says so itself.
        Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => {}
        Err(e) => return Err(format!("sending: {e}")),
    }
    Ok(())
}

/// Congestion control is chosen here and not by sysctl: a network namespace may only have what the machine allows for all.
fn choose(stream: &TcpStream, algorithm: &str) -> std::io::Result<()> {
    // SAFETY: the pointer and the length are those of the string.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_CONGESTION,
            algorithm.as_ptr().cast(),
            algorithm.len() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Returns how many bytes the receiver says that it has.
fn stream_out(mut stream: &TcpStream, seed: u64, bytes: u64) -> std::io::Result<u64> {
    let mut content = Seeded::new(seed);
    let mut piece = vec![0; PIECE];
    while content.position < bytes {
        let count = (bytes - content.position).min(PIECE as u64) as usize;
        let now = piece.get_mut(..count).unwrap_or(&mut []);
        content.fill(now);
        stream.write_all(now)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    Ok(u64::from_le_bytes(answer))
}

fn report_often(stream: &TcpStream, began: Instant) {
    loop {
        let fields: Vec<String> =
            tcp_info::of(stream).iter().map(|(name, value)| format!("{name} {value}")).collect();
        eprintln!("{:.3} {}", began.elapsed().as_secs_f64(), fields.join(" "));
        std::thread::sleep(WATCH);
    }
}

fn number<T: FromStr>(word: &str) -> Outcome<T> {
    word.parse().map_err(|_| format!("{word} is not a number"))
}
