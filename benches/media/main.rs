//! What the media path costs: processor time for each gigabit that viewers received, added delay, first keyframe, loss,
//! stalls and memory, beside a bare server (the floor), nginx and any other. A measurement, not a check: it asserts no
//! time. `docs/benchmarks.md` says how to run it, and what was seen.
//!
//! The server is a process of its own, fresh for each run. All publishers and viewers are one thread of this one:
//! frames are made beforehand, and nothing is allocated for a frame. A frame carries its number and its time of
//! sending inside, where every server passes it on. In each round every target has its turn, so that what disturbs the
//! machine disturbs all; ratios are taken within a round.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "test code"
)]
#![allow(clippy::cast_possible_truncation, unreachable_pub, reason = "test code; what is cast is small")]

mod arguments;
mod chunks;
mod figures;
mod link;
mod load;
mod process;
mod report;
mod roles;
mod run;
mod shapes;
mod stamps;
#[path = "../../tests/support/mod.rs"]
mod support;
mod tally;
mod targets;
mod wire;

use std::process::ExitCode;

use arguments::{Arguments, USAGE};
use report::Row;
use shapes::{SHAPES, Shape};
use targets::floor;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // A server of thousands of viewers, and as many viewers here.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    if let [command, merging] = words.as_slice()
        && command == floor::COMMAND
    {
        let merging = merging.parse().expect("a way to merge");
        return floor::serve(merging).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let arguments = match Arguments::parse(words.into_iter()) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            for shape in SHAPES {
                eprintln!("  {:<8} {}", shape.name, shape.about);
            }
            return ExitCode::from(2);
        }
    };
    let (mut rows, mut loads) = (Vec::new(), Vec::new());
    for shape in &arguments.shapes {
        println!("\n{}: {}", shape.name, shape.about);
        let measured = measure(shape, &arguments, &mut loads);
        println!("{}", report::table(&measured.iter().collect::<Vec<_>>()));
        rows.extend(measured);
    }
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report::json(&rows, &loads)).expect("JSON");
        std::fs::write(path, text).expect("a report");
    }
    ExitCode::SUCCESS
}

/// All rounds of one shape.
fn measure(shape: &Shape, arguments: &Arguments, loads: &mut Vec<f64>) -> Vec<Row> {
    let targets = arguments.targets.iter().filter(|target| shape.suits(target));
    let mut rows: Vec<Row> =
        targets.map(|target| Row { shape: *shape, target: target.clone(), outcomes: Vec::new() }).collect();
    for round in 1..=arguments.runs {
        for row in &mut rows {
            let outcome = run::run(shape, &row.target, &arguments.other, arguments.window).expect("sockets");
            let load = process::load_average();
            loads.push(load);
            let figure = |name: &str| outcome.figures.get(name).copied().unwrap_or(f64::NAN);
            println!(
                "  round {round} {:<14} {:>7.3} CPU-s/Gbit  p99 {:>8.2} ms  lost {:>5}  load average {load:.1}",
                row.target,
                figure("cpuSecondsPerGigabit"),
                figure("delayP99Ms"),
                figure("lost"),
            );
            if let Some(failure) = &outcome.failure {
                println!("    {} failures; the first: {failure}", figure("failures"));
            }
            row.outcomes.push(outcome);
        }
    }
    rows
}
