//! What the gateway's process and its metrics say at one moment, and where a row of such samples leads.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// One look.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub at: Duration,
    pub resident_kib: u64,
    /// Memory that is no file: heap and stacks.
    pub anonymous_kib: u64,
    pub descriptors: u64,
    pub threads: u64,
    pub tasks: u64,
    pub sessions: u64,
    pub streams: u64,
    pub conferences: u64,
    pub event_sockets: u64,
    pub files_kib: u64,
    pub cpu_ms: u64,
}

impl Sample {
    pub const HEADINGS: &str = "minute  resident  anonymous  descriptors  threads  tasks  sessions  streams  conferences  \
                                sockets  files  cpu-s";

    /// Looks at the process and asks for its metrics over a connection of `scraper`, which is itself a descriptor and a task.
    pub async fn take(at: Duration, process: u32, ops: SocketAddr, scraper: &reqwest::Client) -> Self {
        let answer = scraper.get(format!("http://{ops}/metrics")).send().await.expect("metrics");
        let metrics = answer.text().await.expect("metrics");
        let metric = |name: &str| -> u64 {
            let of_name = metrics.lines().filter_map(|line| {
                let rest = line.strip_prefix(name)?;
                let value = rest
                    .strip_prefix(' ')
                    .or_else(|| rest.strip_prefix('{')?.split_once("} ").map(|(_, value)| value));
                value?.parse::<u64>().ok()
            });
            of_name.sum()
        };
        let status =
            std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process is there");
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        let descriptors =
            Path::new(&format!("/proc/{process}/fd")).read_dir().expect("its descriptors").count();
        Self {
            at,
            resident_kib: field("VmRSS:"),
            anonymous_kib: field("RssAnon:"),
            descriptors: descriptors as u64,
            threads: field("Threads:"),
            tasks: metric("tidegate_tasks"),
            sessions: metric("tidegate_sessions"),
            streams: metric("tidegate_streams"),
            conferences: metric("tidegate_conferences"),
            event_sockets: metric("tidegate_event_sockets"),
            files_kib: (metric("tidegate_store_bytes") + metric("tidegate_store_wal_bytes")) / 1024,
            cpu_ms: cpu_ms(process),
        }
    }

    /// Whether nobody is there, and nothing is held for anybody.
    pub fn is_quiet(&self) -> bool {
        [self.sessions, self.streams, self.conferences, self.event_sockets] == [0; 4]
    }
}

/// Processor time so far, user and system.
pub fn cpu_ms(process: u32) -> u64 {
    /// `USER_HZ`, which is the same on every Linux.
    const TICK_MS: u64 = 10;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process is there");
    // The name in brackets may hold spaces; utime and stime are the 14th and 15th field of all.
    let (_, rest) = stat.rsplit_once(") ").expect("a name in brackets");
    rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks") * TICK_MS).sum()
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6.2}{:>10}{:>11}{:>13}{:>9}{:>7}{:>10}{:>9}{:>13}{:>9}{:>7}{:>7.1}",
            self.at.as_secs_f64() / 60.0,
            self.resident_kib,
            self.anonymous_kib,
            self.descriptors,
            self.threads,
            self.tasks,
            self.sessions,
            self.streams,
            self.conferences,
            self.event_sockets,
            self.files_kib,
            self.cpu_ms as f64 / 1000.0
        )
    }
}

/// Where a figure leads.
#[derive(Debug)]
pub struct Trend {
    name: &'static str,
    samples: usize,
    /// By least squares.
    pub slope_per_minute: f64,
    pub middle_third: f64,
    pub last_third: f64,
    max: u64,
}

impl Trend {
    pub fn of(name: &'static str, samples: &[Sample], figure: impl Fn(&Sample) -> u64) -> Self {
        let points: Vec<(f64, f64)> =
            samples.iter().map(|sample| (sample.at.as_secs_f64() / 60.0, figure(sample) as f64)).collect();
        let third = points.len() / 3;
        let mean = |points: &[(f64, f64)]| mean(points.iter().map(|(_, value)| *value));
        Self {
            name,
            samples: points.len(),
            slope_per_minute: slope(&points),
            middle_third: mean(&points[third..points.len() - third]),
            last_third: mean(&points[points.len() - third..]),
            max: samples.iter().map(figure).max().unwrap_or(0),
        }
    }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {:+.3} a minute over {} samples; middle third {:.1}, last third {:.1}, max {}",
            self.name, self.slope_per_minute, self.samples, self.middle_third, self.last_third, self.max
        )
    }
}

fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count();
    if count == 0 { 0.0 } else { values.sum::<f64>() / count as f64 }
}

fn slope(points: &[(f64, f64)]) -> f64 {
    let (x_mean, y_mean) = (mean(points.iter().map(|(x, _)| *x)), mean(points.iter().map(|(_, y)| *y)));
    let spread: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let both: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    if spread == 0.0 { 0.0 } else { both / spread }
}

#[test]
fn a_slope_is_what_grows_a_minute() {
    let sample = |minute: u64, kib| Sample {
        at: Duration::from_secs(60 * minute),
        anonymous_kib: kib,
        ..Sample::default()
    };
    let steady: Vec<Sample> = (0..12).map(|minute| sample(minute, 1000 + minute % 2)).collect();
    let leaking: Vec<Sample> = (0..12).map(|minute| sample(minute, 1000 + 70 * minute)).collect();
    let memory = |samples: &[Sample]| Trend::of("memory", samples, |sample| sample.anonymous_kib);
    assert!(memory(&steady).slope_per_minute.abs() < 0.1);
    assert!((memory(&leaking).slope_per_minute - 70.0).abs() < 0.001);
    assert!(memory(&leaking).last_third > memory(&leaking).middle_third);
}
