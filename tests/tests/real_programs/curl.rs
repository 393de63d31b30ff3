//! curl from nginx: a 100 MB file byte for byte, alone and fifty at a time.

use std::io::Read;
use std::process::{Child, Stdio};

use shunt_tests::harness::Case;
use shunt_tests::proof::AtLeast;
use shunt_tests::rig::{SERVER_ADDRESS, Side};
use shunt_tests::stage::{Placement, Stage};
use shunt_tests::{Outcome, ensure};

use crate::nginx::{Nginx, PORT};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "curl_100_mb_from_nginx",
        placements: Placement::EVERY,
        limit_seconds: 60,
        run: one_large_file,
    },
    Case {
        name: "curl_100_mb_fifty_at_a_time",
        placements: Placement::EVERY,
        limit_seconds: 300,
        run: fifty_at_a_time,
    },
];

const LARGE: usize = 100_000_000;
const LARGEST_SEGMENT: u64 = 1460;

fn one_large_file(stage: &Stage) -> Outcome {
    download(stage, 1)
}

fn fifty_at_a_time(stage: &Stage) -> Outcome {
    download(stage, 50)
}

fn download(stage: &Stage, at_a_time: u64) -> Outcome {
    let content = noise(LARGE, 1);
    stage.write("large.bin", &content)?;
    let nginx = Nginx::daemon(stage, 2)?;
    let segments = at_a_time * LARGE as u64 / LARGEST_SEGMENT;
    let server = AtLeast { connections: at_a_time, segments_out: segments, ..AtLeast::default() };
    let client = AtLeast { connections: at_a_time, segments_in: segments, ..AtLeast::default() };
    stage.proving(server, client, || {
        let children = (0..at_a_time).map(|_| start_curl(stage)).collect::<Outcome<Vec<_>>>()?;
        std::thread::scope(|scope| {
            let content = &content;
            let readers: Vec<_> =
                children.into_iter().map(|c| scope.spawn(move || expect(c, content))).collect();
            readers
                .into_iter()
                .try_for_each(|r| r.join().unwrap_or_else(|_| Err("a reader broke".to_owned())))
        })
    })?;
    nginx.stop()
}

/// Its output comes through a pipe and is compared as it comes: fifty files of 100 MB need no disk.
fn start_curl(stage: &Stage) -> Outcome<Child> {
    let url = format!("http://{SERVER_ADDRESS}:{PORT}/large.bin");
    let mut command =
        stage.command(Side::Client, &["/usr/bin/curl", "-sS", "--fail", "--max-time", "280", &url]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|e| format!("curl does not start: {e}"))
}

fn expect(mut curl: Child, content: &[u8]) -> Outcome {
    let outcome = compare(&mut curl, content);
    if outcome.is_err() {
        let _ = curl.kill();
    }
    let mut complaint = String::new();
    if let Some(mut stderr) = curl.stderr.take() {
        let _ = stderr.read_to_string(&mut complaint);
    }
    let status = curl.wait().map_err(|e| format!("waiting for curl: {e}"))?;
    outcome.map_err(|why| format!("{why}: {}", complaint.trim()))?;
    ensure!(status.success(), "curl failed ({status}): {}", complaint.trim());
    Ok(())
}

fn compare(curl: &mut Child, content: &[u8]) -> Outcome {
    let mut stdout = curl.stdout.take().ok_or("curl has no output")?;
    let mut buffer = vec![0; 1 << 18];
    let mut at = 0;
    loop {
        let n = stdout.read(&mut buffer).map_err(|e| format!("reading curl's output: {e}"))?;
        if n == 0 {
            break;
        }
        ensure!(content.get(at..at + n) == Some(&buffer[..n]), "wrong bytes between {at} and {}", at + n);
        at += n;
    }
    ensure!(at == content.len(), "{at} bytes came instead of {}", content.len());
    Ok(())
}

/// Bytes without any period that a lost or doubled segment could hide in (xorshift64*).
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1 << 40;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
