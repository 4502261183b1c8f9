//! One run: a fresh server, one shape, one window.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::figures::Durations;
use super::load::Load;
use super::process;
use super::roles::Part;
use super::shapes::{Plan, Shape};
use super::targets::{self, Kind, Other, Server};

/// How long publishers, and then each batch of viewers, may take until media flows.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that are being made at once.
const BATCH: usize = 64;
/// Between the last arrival and the measured time.
const WARM_UP: Duration = Duration::from_millis(1500);
/// Longer than the ring of any server here: a conference goes on for minutes, and a ring that fills costs memory's first use.
const RING: Duration = Duration::from_secs(22);
/// Between two joins in mid-GOP.
const JOIN_EVERY: Duration = Duration::from_millis(10);
/// Between two looks into the kernel's queues.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What was seen, by the name in the report.
pub type Figures = BTreeMap<&'static str, f64>;

/// One run that came to its end.
#[derive(Debug)]
pub struct Outcome {
    pub figures: Figures,
    /// The first thing that went wrong.
    pub failure: Option<String>,
}

pub fn run(shape: &Shape, kind: &Kind, other: &Other, window: Duration) -> io::Result<Outcome> {
    let server = targets::start(kind, shape.streams, shape.viewers, other);
    let mut load = Load::new()?;
    let outcome = Run { shape, server: &server, load: &mut load }.go(window)?;
    Ok(outcome)
}

struct Run<'a> {
    shape: &'a Shape,
    server: &'a Server,
    load: &'a mut Load,
}

impl Run<'_> {
    fn processes(&self) -> Vec<u32> {
        self.server.process.map(process::tree).unwrap_or_default()
    }

    fn go(&mut self, window: Duration) -> io::Result<Outcome> {
        let shape = self.shape;
        if shape.plan != Plan::Idle {
            self.publish()?;
            self.load.run_for(if shape.plan == Plan::Churn { WARM_UP } else { RING })?;
        }
        let processes = self.processes();
        let empty_kib = process::memory_kib(&processes);
        self.seat()?;
        if shape.plan == Plan::Churn {
            return self.churn(&processes, empty_kib, window);
        }
        self.load.run_for(WARM_UP)?;
        if shape.plan == Plan::Join {
            let target = self.load.add_target(&self.server.streams[0].play[0]);
            self.load.let_join(JOIN_EVERY, target);
        }
        let mut figures = self.measure(&processes, window)?;
        if processes.is_empty() {
            return Ok(self.outcome(figures));
        }
        let grown_kib = process::memory_kib(&processes) - empty_kib;
        let viewers = (shape.streams * shape.viewers) as f64;
        figures.insert("memoryGrownMib", grown_kib / 1024.0);
        if matches!(shape.plan, Plan::Idle | Plan::Memory) {
            figures.insert("kibPerViewer", grown_kib / viewers);
        }
        Ok(self.outcome(figures))
    }

    fn outcome(&mut self, mut figures: Figures) -> Outcome {
        figures.insert("failures", self.load.tally.failures as f64);
        Outcome { figures, failure: self.load.tally.failure.take() }
    }

    fn publish(&mut self) -> io::Result<()> {
        for batch in self.server.streams.chunks(BATCH) {
            let wanted = self.load.running().0 + batch.len();
            for stream in batch {
                self.load.publish(&stream.publish, self.shape.encoding)?;
            }
            let all = |load: &Load| load.running().0 >= wanted || load.tally.failures > 0;
            let done = self.load.run_until(PATIENCE, all)?;
            assert!(done && self.load.tally.failures == 0, "publishers: {:?}", self.load.tally.failure);
        }
        Ok(())
    }

    /// Lets all viewers of the shape come.
    fn seat(&mut self) -> io::Result<()> {
        let Shape { plan, viewers, encoding, .. } = *self.shape;
        let mut seats = Vec::new();
        for stream in &self.server.streams {
            let urls: Vec<usize> = stream.play.iter().map(|url| self.load.add_target(url)).collect();
            for viewer in 0..viewers {
                let part = match plan {
                    Plan::Crawl(slow) if viewer < slow => Part::Crawl(encoding.kilobits * 125 / 4),
                    Plan::Churn => Part::Churn,
                    _ => Part::Watch,
                };
                seats.push((urls[viewer * urls.len() / viewers], part));
            }
        }
        if plan == Plan::Churn {
            return seats.into_iter().try_for_each(|(target, part)| self.load.view(target, part));
        }
        let mut wanted = 0;
        for batch in seats.chunks(BATCH) {
            for (target, part) in batch {
                self.load.view(*target, *part)?;
            }
            wanted += batch.len();
            let all = |load: &Load| {
                let seated = if plan == Plan::Idle { load.playing() } else { load.running().1 };
                seated >= wanted || load.tally.failures > 0
            };
            let done = self.load.run_until(PATIENCE, all)?;
            assert!(done && self.load.tally.failures == 0, "viewers: {:?}", self.load.tally.failure);
        }
        Ok(())
    }

    fn measure(&mut self, processes: &[u32], window: Duration) -> io::Result<Figures> {
        let slow = self.load.slow_ports();
        let before = (process::seconds(processes), process::own_seconds(), process::switches(processes));
        let begin = Instant::now();
        self.load.begin_window();
        let mut most_unsent = 0;
        if slow.is_empty() {
            self.load.run_for(window)?;
        } else {
            while begin.elapsed() < window {
                self.load.run_for(LOOK_EVERY.min(window))?;
                most_unsent = most_unsent.max(process::most_unsent(&slow));
            }
        }
        self.load.end_window();
        let spent = process::seconds(processes) - before.0;
        let own = process::own_seconds() - before.1;
        let switched = process::switches(processes);
        self.load.stop_joins();
        let tally = &self.load.tally;
        let seconds = tally.seconds();
        let gigabits = (tally.bytes + tally.slow_bytes) as f64 * 8.0 / 1e9;
        let mut figures = Figures::from([
            ("seconds", seconds),
            ("gigabits", gigabits),
            ("loadCores", own / seconds),
            ("framesPerSecond", tally.frames as f64 / seconds),
            ("lost", tally.lost as f64),
            ("disordered", tally.disordered as f64),
            ("stalls", tally.stalls as f64),
            ("viewersCut", tally.cut as f64),
            ("slowViewersCut", tally.slow_cut as f64),
            ("framesNotSent", tally.unsent as f64),
            ("loadSlips", tally.slips as f64),
        ]);
        if !processes.is_empty() {
            figures.insert("serverCores", spent / seconds);
            figures.insert("sleepsPerSecond", (switched.0 - before.2.0) as f64 / seconds);
            figures.insert("preemptionsPerSecond", (switched.1 - before.2.1) as f64 / seconds);
            if gigabits > 0.0 {
                figures.insert("cpuSecondsPerGigabit", spent / gigabits);
            }
        }
        if !slow.is_empty() {
            figures.insert("slowViewerUnsentKib", most_unsent as f64 / 1024.0);
        }
        let mut all = |durations: &Durations, names: [&'static str; 4]| {
            if let Some(max_ms) = durations.max_ms() {
                for (name, percent) in names.into_iter().zip([50.0, 95.0, 99.0]) {
                    figures.extend(durations.percentile_ms(percent).map(|value| (name, value)));
                }
                figures.insert(names[3], max_ms);
            }
        };
        all(&tally.delay, ["delayP50Ms", "delayP95Ms", "delayP99Ms", "delayMaxMs"]);
        all(&tally.late, ["lateP50Ms", "lateP95Ms", "lateP99Ms", "lateMaxMs"]);
        let play = ["keyframeP50Ms", "keyframeP95Ms", "keyframeP99Ms", "keyframeMaxMs"];
        all(&tally.keyframe_after_play, play);
        let connect = ["connectP50Ms", "connectP95Ms", "connectP99Ms", "connectMaxMs"];
        all(&tally.keyframe_after_connect, connect);
        if tally.joined > 0 {
            figures.insert("joinsPerSecond", tally.joined as f64 / seconds);
            figures.insert("cpuMsPerJoin", spent * 1000.0 / tally.joined as f64);
        }
        Ok(figures)
    }

    fn churn(&mut self, processes: &[u32], empty_kib: f64, window: Duration) -> io::Result<Outcome> {
        self.load.run_for(WARM_UP)?;
        let mut figures = self.measure(processes, window)?;
        figures.insert("memoryGrownMib", (process::memory_kib(processes) - empty_kib) / 1024.0);
        Ok(self.outcome(figures))
    }
}
