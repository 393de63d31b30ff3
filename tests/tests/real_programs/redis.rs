//! redis-server under redis-benchmark.

use std::time::Duration;

use shunt_tests::harness::Case;
use shunt_tests::proof::AtLeast;
use shunt_tests::rig::SERVER_ADDRESS;
use shunt_tests::stage::{Placement, Stage};
use shunt_tests::{Outcome, ensure};

pub(crate) const CASES: &[Case] = &[
    Case { name: "redis_benchmark", placements: Placement::EVERY, limit_seconds: 60, run: one_by_one },
    Case {
        name: "redis_benchmark_pipelined",
        placements: Placement::EVERY,
        limit_seconds: 60,
        run: pipelined,
    },
];

fn one_by_one(stage: &Stage) -> Outcome {
    under_benchmark(stage, 50_000, 1)
}

fn pipelined(stage: &Stage) -> Outcome {
    under_benchmark(stage, 200_000, 16)
}

fn under_benchmark(stage: &Stage, requests: u64, pipeline: u64) -> Outcome {
    let server = [
        "/usr/bin/redis-server",
        "--port",
        "6379",
        "--bind",
        "0.0.0.0",
        "--protected-mode",
        "no",
        "--save",
        "",
        "--appendonly",
        "no",
    ];
    let _server = stage.serve("redis-server", &server, 6379)?;
    // Each of SET and GET has fifty connections, and a pipeline of 16 may share one segment.
    let least =
        AtLeast { connections: 100, segments_in: requests / pipeline, segments_out: requests / pipeline };
    stage.proving(least, least, || {
        let (requests, pipeline) = (requests.to_string(), pipeline.to_string());
        let words = [
            "/usr/bin/redis-benchmark",
            "-h",
            SERVER_ADDRESS,
            "-p",
            "6379",
            "-c",
            "50",
            "-n",
            &requests,
            "-P",
            &pipeline,
            "-t",
            "set,get",
            "-d",
            "64",
            "--csv",
        ];
        let ended = stage.client("redis-benchmark", &words)?.succeed(Duration::from_secs(40))?;
        for test in ["SET", "GET"] {
            let line = ended.stdout.lines().find(|line| line.starts_with(&format!("\"{test}\"")));
            ensure!(line.is_some(), "redis-benchmark reports no {test}{}", ended.said());
        }
        ensure!(!ended.stderr.contains("Error"), "redis-benchmark: {}", ended.said());
        Ok(())
    })
}
