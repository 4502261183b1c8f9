//! How many commands a gateway answers, and how soon, with everything on disk. A measurement, not a check: it asserts no
//! time. `docs/benchmarks.md` says how to run it, and what was seen.
//!
//! The gateway is the real binary in a process of its own; one thread of this one is all callers, over real sockets.
//! Words behind `--` choose parts: `closed`, `open`, `burst`, and a command's name.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use support::{Conference, Gateway, Member, Setup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Callers of the largest runs.
const CALLERS_MAX: usize = 256;
/// Members in each conference: an ordinary call that is nearly full.
const MEMBERS: usize = 8;
/// How long one run is measured, after a beginning that is not.
const MEASURED: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_secs(1);
/// Durable commands a second that the open loop asks for, whatever the gateway can do.
const OPEN_RATE: u32 = 5_000;
/// Joins at once of one LIVE conference: all the AUDIENCE that fits by default.
const BURST: usize = 600;
/// Synced writes of the raw disk.
const SYNCS: usize = 300;

/// One request as it goes over the wire, and the status it ought to be answered with.
struct Request {
    name: &'static str,
    bytes: Vec<u8>,
    status: u16,
}

impl Request {
    fn new(
        name: &'static str,
        status: u16,
        (method, path): (&str, &str),
        bearer: Option<&str>,
        body: &Value,
    ) -> Self {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let bearer = bearer.map(|bearer| format!("authorization: Bearer {bearer}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: gateway\r\n{bearer}content-length: {}\r\n\r\n",
            body.len()
        );
        Self { name, bytes: (head + &body).into_bytes(), status }
    }
}

/// What one caller asks for, again and again.
type Cycle = Arc<Vec<Request>>;

struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
    received: u64,
}

impl Caller {
    async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, buffer: Vec::with_capacity(256 * 1024), received: 0 }
    }

    /// Sends a request and reads its whole answer.
    async fn call(&mut self, request: &Request) {
        self.stream.write_all(&request.bytes).await.expect("sent");
        self.buffer.clear();
        let whole = loop {
            let read = self.stream.read_buf(&mut self.buffer).await.expect("an answer");
            assert!(read > 0, "{}: the gateway closed", request.name);
            if let Some(whole) = length(&self.buffer)
                && self.buffer.len() >= whole
            {
                break whole;
            }
        };
        assert_eq!(self.buffer.len(), whole, "one answer to one request");
        self.received += whole as u64;
        let status = self.buffer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        if status.and_then(|digits| digits.parse().ok()) != Some(request.status) {
            panic!("{}: {}", request.name, String::from_utf8_lossy(&self.buffer));
        }
    }
}

/// How long the answer at the start of `bytes` is, once its head is there.
fn length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let lines = bytes.get(..head)?.split(|byte| *byte == b'\n');
    let mut body = lines.filter_map(|line| {
        let (name, value) = line.split_at_checked(15)?;
        name.eq_ignore_ascii_case(b"content-length:")
            .then(|| std::str::from_utf8(value).ok()?.trim().parse().ok())?
    });
    Some(head + body.next_back().unwrap_or(0))
}

/// Processor time of a process so far, in seconds.
fn processor_time(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks = |field: usize| -> f64 {
        fields.split_whitespace().nth(field).and_then(|text| text.parse().ok()).expect("a number")
    };
    // Fields 14 and 15 of the line, in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}

/// What was seen in one run.
struct Run {
    what: String,
    callers: usize,
    seconds: f64,
    /// Microseconds, by the command's name.
    figures: BTreeMap<&'static str, Vec<u32>>,
    gateway_cores: f64,
    load_cores: f64,
    commits: f64,
    bytes: u64,
}

impl Run {
    fn print(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        let all = self.figures.values().map(Vec::len).sum::<usize>();
        let micros = self.gateway_cores * self.seconds * 1e6 / all as f64;
        for (name, figures) in &self.figures {
            let mut figures = figures.clone();
            figures.sort_unstable();
            let at = |thousandth: usize| f64::from(figures[(figures.len() - 1) * thousandth / 1000]) / 1000.0;
            let rate = figures.len() as f64 / self.seconds;
            let Self { what, callers, gateway_cores, load_cores, .. } = self;
            let commits = self.commits / self.seconds;
            println!(
                "{what:<12} {name:<14} {callers:>4} {rate:>9.0}/s  p50 {:>8.2}  p99 {:>8.2}  max {:>8.2} ms  \
                 cores: gateway {gateway_cores:.2} ({micros:.0} us each), load {load_cores:.2}  commits {commits:.0}/s",
                at(500),
                at(990),
                at(1000),
            );
            rows.push(json!({
                "run": what, "command": name, "callers": callers, "perSecond": rate, "p50Ms": at(500),
                "p99Ms": at(990), "maxMs": at(1000), "gatewayCores": gateway_cores, "gatewayMicrosEach": micros, "loadCores": load_cores,
                "commitsPerSecond": commits, "bytesReceived": self.bytes,
            }));
        }
        rows
    }
}

/// How fast callers call.
#[derive(Clone, Copy)]
enum Pace {
    /// Each as soon as it has its answer.
    Closed,
    /// All together so many a second; what is late counts from the moment that it was due.
    Open(u32),
}

struct Bench {
    gateway: Gateway,
    rows: Vec<Value>,
}

impl Bench {
    async fn commits(&self) -> f64 {
        let url = format!("http://{}/metrics", self.gateway.ops);
        let answer = reqwest::Client::builder().no_proxy().build().expect("a client").get(url).send().await;
        let text = answer.expect("metrics").text().await.expect("metrics");
        let line = text.lines().find(|line| line.starts_with("tidegate_store_commits_total"));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a count of commits")
    }

    /// Lets one caller per cycle call, and prints what was seen.
    async fn run(&mut self, what: &str, pace: Pace, cycles: &[Cycle]) {
        let callers = cycles.len();
        let pid = self.gateway.process.id().to_string();
        let mut connected = Vec::new();
        for _ in cycles {
            connected.push(Caller::connect(self.gateway.http).await);
        }
        let figures = Arc::new(Mutex::new(BTreeMap::new()));
        let begin = Instant::now() + Duration::from_millis(20);
        let (from, until) = (begin + WARM_UP, begin + WARM_UP + MEASURED);
        let mut running = JoinSet::new();
        for (seat, (mut caller, cycle)) in connected.into_iter().zip(cycles.iter().cloned()).enumerate() {
            let figures = Arc::clone(&figures);
            running.spawn(async move {
                let mut own: Vec<(&'static str, u32)> = Vec::new();
                let mut number = 0_u32;
                loop {
                    let due = match pace {
                        Pace::Closed => Instant::now().max(begin),
                        Pace::Open(rate) => {
                            let each = Duration::from_secs(1) * u32::try_from(callers).expect("few") / rate;
                            begin
                                + each * number
                                + each * u32::try_from(seat).expect("few")
                                    / u32::try_from(callers).expect("few")
                        }
                    };
                    if due >= until {
                        break;
                    }
                    if Instant::now() < due {
                        sleep_until(due).await;
                    }
                    let request = &cycle[number as usize % cycle.len()];
                    caller.call(request).await;
                    if due >= from {
                        own.push((
                            request.name,
                            u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX),
                        ));
                    }
                    number += 1;
                }
                let mut figures = figures.lock();
                for (name, figure) in own {
                    figures.entry(name).or_insert_with(Vec::new).push(figure);
                }
                caller.received
            });
        }
        sleep_until(from).await;
        let before = (processor_time(&pid), processor_time("self"), self.commits().await, Instant::now());
        sleep_until(until).await;
        let after = (processor_time(&pid), processor_time("self"), before.3.elapsed().as_secs_f64());
        let mut bytes = 0;
        while let Some(ended) = running.join_next().await {
            bytes += ended.expect("a caller");
        }
        let commits = self.commits().await - before.2;
        let figures = std::mem::take(&mut *figures.lock());
        let run = Run {
            what: what.to_owned(),
            callers,
            seconds: MEASURED.as_secs_f64(),
            figures,
            gateway_cores: (after.0 - before.0) / after.2,
            load_cores: (after.1 - before.1) / after.2,
            commits,
            bytes,
        };
        self.rows.extend(run.print());
    }

    /// All joins of one LIVE conference at the same moment.
    /// In a LIVE conference the answers name the talkers alone; in an ordinary one everybody who is inside.
    async fn burst(&mut self, name: &'static str, confr_type: u8) {
        let app = self.gateway.app().await;
        let conference =
            app.create(json!({ "confrType": confr_type, "password": "" })).await.expect("a conference");
        let mut cycles = Vec::new();
        for seat in 0..BURST {
            cycles.push(join(&conference, &conference.ticket(&format!("viewer-{seat}"), 1).await));
        }
        let mut callers = Vec::new();
        for _ in 0..BURST {
            callers.push(Caller::connect(self.gateway.http).await);
        }
        let pid = self.gateway.process.id().to_string();
        let before = (processor_time(&pid), processor_time("self"), self.commits().await);
        let begin = Instant::now();
        let mut running = JoinSet::new();
        for (mut caller, cycle) in callers.into_iter().zip(cycles) {
            running.spawn(async move {
                caller.call(&cycle).await;
                (u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX), caller.received)
            });
        }
        let (mut figures, mut bytes) = (Vec::new(), 0);
        while let Some(ended) = running.join_next().await {
            let (figure, received) = ended.expect("a caller");
            figures.push(figure);
            bytes += received;
        }
        let seconds = begin.elapsed().as_secs_f64();
        let after = (processor_time(&pid), processor_time("self"), self.commits().await);
        let stands = conference.get().await.expect("the conference");
        assert_eq!(stands["audienceCount"], BURST, "all joins stand");
        println!(
            "burst: {BURST} joins of one {name} conference stand after {:.0} ms, {bytes} bytes",
            seconds * 1000.0
        );
        let run = Run {
            what: format!("burst, {name}"),
            callers: BURST,
            seconds,
            figures: BTreeMap::from([("join", figures)]),
            gateway_cores: (after.0 - before.0) / seconds,
            load_cores: (after.1 - before.1) / seconds,
            commits: after.2 - before.2,
            bytes,
        };
        self.rows.extend(run.print());
    }
}

fn join(conference: &Conference, ticket: &str) -> Request {
    let body = json!({ "ticket": ticket });
    Request::new("join", 201, ("POST", &conference.path("/members")), None, &body)
}

/// A member that joins with its ticket again and again: each time its earlier self leaves in the same record.
fn joins(conference: &Conference, ticket: &str) -> Cycle {
    Arc::new(vec![join(conference, ticket)])
}

/// A member that declares a stream and takes it back.
fn publishes(member: &Member) -> Cycle {
    let request = |name, status, method, path: &str, body| {
        Request::new(name, status, (method, &member.path(path)), Some(&member.token), &body)
    };
    let stream = format!("/streams/CAM__Of_{}", member.id);
    let declare = json!({ "rtcId": "CAM", "voff": 1 });
    Arc::new(vec![
        request("pubStream", 201, "POST", "/streams", declare),
        request("delete stream", 204, "DELETE", &stream, Value::Null),
    ])
}

fn subscribes(member: &Member, stream: &str) -> Cycle {
    let path = member.path(&format!("/streams/{stream}/subscriptions"));
    let request = Request::new("subStream", 201, ("POST", &path), Some(&member.token), &Value::Null);
    Arc::new(vec![request])
}

/// What the callers do, one cycle for each.
struct Cycles {
    join: Vec<Cycle>,
    publish: Vec<Cycle>,
    subscribe: Vec<Cycle>,
}

impl Cycles {
    /// Members of their own for each kind of call, in conferences of their own: a member that joins again could not go
    /// on publishing.
    async fn prepare(gateway: &Gateway) -> Self {
        let app = gateway.app().await;
        let mut cycles = Self { join: Vec::new(), publish: Vec::new(), subscribe: Vec::new() };
        while cycles.join.len() < CALLERS_MAX {
            // Without a password: hashing a hundred would take longer than the bench.
            let create = || app.create(json!({ "password": "" }));
            let (joined, published) = (create().await.expect("created"), create().await.expect("created"));
            let watched = published.member("watched", 3).await.publish("CAM").await.expect("pubStream");
            for seat in 0..MEMBERS {
                let name = format!("member-{seat}");
                let ticket = joined.ticket(&name, 3).await;
                cycles.join.push(joins(&joined, &ticket));
                let member = published.member(&name, 3).await;
                cycles.publish.push(publishes(&member));
                cycles.subscribe.push(subscribes(&member, &watched.stream_id));
            }
        }
        cycles
    }
}

/// What the disk does without us: small writes, each synced, one after another.
fn raw_disk(folder: &Path) -> Value {
    let path = folder.join("raw");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("a file");
    let page = [7_u8; 4096];
    let mut figures = Vec::new();
    let begin = Instant::now();
    for _ in 0..SYNCS {
        let one = Instant::now();
        file.write_all(&page).and_then(|()| file.sync_data()).expect("synced");
        figures.push(one.elapsed().as_secs_f64() * 1000.0);
    }
    let rate = SYNCS as f64 / begin.elapsed().as_secs_f64();
    let _ = std::fs::remove_file(path);
    figures.sort_by(f64::total_cmp);
    let (p50, p99) = (figures[SYNCS / 2], figures[SYNCS * 99 / 100]);
    println!("raw disk: {rate:.0} writes of 4 KiB with fdatasync a second, p50 {p50:.2}, p99 {p99:.2} ms");
    json!({ "run": "raw disk", "perSecond": rate, "p50Ms": p50, "p99Ms": p99 })
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let asked = |parts: &[&str]| words.iter().all(|word| parts.contains(&word.as_str()));
    // One caller is a whole backend here: the limits that hold a single phone are not what is measured.
    let setup = Setup::new().env("TIDEGATE_REQUESTS_PER_CREDENTIAL", 1_000_000);
    let gateway = setup.start().await;
    let disk = raw_disk(gateway.setup.home());
    let cycles = Cycles::prepare(&gateway).await;
    let mut bench = Bench { gateway, rows: vec![disk] };
    for (name, cycles) in [("join", &cycles.join), ("pub", &cycles.publish), ("sub", &cycles.subscribe)] {
        if asked(&["closed", name]) {
            for callers in [1, 16, CALLERS_MAX] {
                bench.run("closed loop", Pace::Closed, &cycles[..callers]).await;
            }
        }
    }
    let half = CALLERS_MAX / 2;
    let mixed: Vec<_> = cycles.join[..half].iter().zip(&cycles.publish[..half]).collect();
    let mixed: Vec<_> =
        mixed.into_iter().flat_map(|(join, publish)| [Arc::clone(join), Arc::clone(publish)]).collect();
    if asked(&["open", "mixed"]) {
        bench.run("open loop", Pace::Open(OPEN_RATE), &mixed).await;
    }
    if asked(&["burst"]) {
        bench.burst("LIVE", 12).await;
        bench.burst("COMMUNICATION", 10).await;
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("commands.json");
    let report = serde_json::to_string_pretty(&bench.rows).expect("JSON");
    std::fs::write(&path, report).expect("a report");
    println!("{}", path.display());
    let Bench { gateway, .. } = bench;
    gateway.stop().await;
}
