//! How far behind now a player ends that joins eight seconds after a keyframe, where keyframes come every ten seconds. A
//! measurement, not a check. `docs/benchmarks.md` says how to run it, and what was seen.
//!
//! Three players: a model that begins with the first picture, holds back a set buffer and plays at the pace of the stamps,
//! and ffplay and mpv without a screen. What is measured is the publisher's stamp of the moment less that of the picture
//! that is shown.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, unreachable_pub, reason = "test code")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use support::flv::{self, Tag};
use support::process::{Running, run};
use support::{EVENT, Peer, Scene, Seen};
use tokio::process::Command;
use tokio::time::{Instant, sleep, sleep_until};

/// Into the first GOP.
const JOINED_AFTER: Duration = Duration::from_secs(8);
/// From then on: over the next keyframe and well into its GOP.
const WATCHED: Duration = Duration::from_secs(15);
/// At its end players have settled.
const SETTLED: Duration = Duration::from_secs(5);
/// What the model holds back before it shows the first picture.
const BUFFERS_MS: [u64; 3] = [0, 200, 1000];
const ENCODE: &str = "-y -hide_banner -nostdin -loglevel error -f lavfi -i testsrc2=size=360x640:rate=15 -f lavfi -i \
    sine=frequency=440:sample_rate=48000 -t 30 -c:v libx264 -profile:v baseline -preset ultrafast -g 150 -keyint_min 150 \
    -sc_threshold 0 -pix_fmt yuv420p -b:v 500k -c:a aac -ac 1 -b:a 32k -f flv";

async fn clip() -> Vec<Tag> {
    let file = tempfile::NamedTempFile::with_suffix(".flv").expect("a temporary file");
    let mut command = Command::new("ffmpeg");
    command.args(ENCODE.split_whitespace()).arg(file.path());
    let ended = run("ffmpeg (encode)", command, EVENT).await;
    assert!(ended.status.success(), "{ended:?}");
    flv::tags(&std::fs::read(file.path()).expect("the clip")).0
}

/// Where the publisher's clock stands. Its frames are sent when they are due.
#[derive(Clone, Copy)]
struct Edge(Instant);

impl Edge {
    fn now_ms(self) -> f64 {
        self.0.elapsed().as_secs_f64() * 1000.0
    }
}

async fn publish(mut peer: Peer, tags: Vec<Tag>, edge: Edge) {
    for tag in tags {
        sleep_until(edge.0 + Duration::from_millis(tag.timestamp_ms.into())).await;
        if peer.send(&tag, tag.timestamp_ms).await.is_err() {
            return;
        }
    }
}

/// How far behind the model ends for each buffer, and how long it stood still because the next picture was not there.
async fn model(mut peer: Peer, edge: Edge) -> Vec<(f64, f64)> {
    let until = Instant::now() + WATCHED;
    let mut arrivals = Vec::new();
    while let Ok(seen) = tokio::time::timeout_at(until, peer.next()).await {
        match seen {
            Seen::Media(tag) if tag.is_picture() => {
                arrivals.push((edge.now_ms(), f64::from(tag.timestamp_ms)));
            }
            Seen::Closed => panic!("closed"),
            _ => {}
        }
    }
    let (first_ms, first_stamp) = arrivals[0];
    let play = |buffer_ms: u64| {
        let (mut behind_ms, mut stood_ms) = (first_ms + buffer_ms as f64 - first_stamp, 0.0);
        for (arrived_ms, stamp) in &arrivals {
            // A picture that is not there when it is due is shown when it comes, and all that follow as much later.
            let late_ms = arrived_ms - (stamp + behind_ms);
            if late_ms > 0.0 {
                behind_ms += late_ms;
                stood_ms += late_ms;
            }
        }
        (behind_ms, stood_ms)
    };
    BUFFERS_MS.map(play).to_vec()
}

/// The median of how far behind a real player is once it has settled. `position` reads seconds from one of its lines.
async fn player(name: &str, command: Command, edge: Edge, position: fn(&str) -> Option<f64>) -> Option<f64> {
    let process = Running::start(name, command);
    let newest = || {
        let text = process.stdout.text() + &process.stderr.text();
        text.rsplit(['\r', '\n']).find_map(position)
    };
    sleep(WATCHED - SETTLED).await;
    let until = Instant::now() + SETTLED;
    let mut behind = Vec::new();
    while Instant::now() < until {
        sleep(Duration::from_millis(100)).await;
        if let Some(seconds) = newest() {
            behind.push(edge.now_ms() - seconds * 1000.0);
        }
    }
    behind.sort_by(f64::total_cmp);
    behind.get(behind.len() / 2).copied()
}

fn ffplay(options: &str, url: &str) -> Command {
    let mut command = Command::new("ffplay");
    command.env("SDL_VIDEODRIVER", "dummy").env("SDL_AUDIODRIVER", "dummy");
    command.args(["-hide_banner", "-stats"]).args(options.split_whitespace()).args(["-i", url]);
    command
}

fn mpv(options: &str, url: &str) -> Command {
    let mut command = Command::new("mpv");
    command.args("--no-config --vo=null --ao=null --no-input-terminal --rebase-start-time=no".split(' '));
    command.args(["--msg-level=all=no,statusline=status", "--term-status-msg=POS=${=time-pos}"]);
    command.args(options.split_whitespace()).arg(url);
    command
}

/// `  12.34 A-V: …`
fn ffplay_position(line: &str) -> Option<f64> {
    let (seconds, _) = line.trim_start().split_once(' ')?;
    line.contains("A-V").then(|| seconds.parse().ok())?
}

fn mpv_position(line: &str) -> Option<f64> {
    line.split_once("POS=")?.1.trim().parse().ok()
}

#[tokio::main]
async fn main() {
    let tags = clip().await;
    println!("| profile | player | behind now, ms | stood still, ms |\n|---|---|--:|--:|");
    for profile in ["rtc", "live"] {
        let scene = Scene::new().await;
        let edge = Edge(Instant::now());
        tokio::spawn(publish(scene.publisher().await, tags.clone(), edge));
        let mut urls = Vec::new();
        for _ in 0..5 {
            urls.push(scene.urls(profile).await);
        }
        sleep_until(edge.0 + JOINED_AFTER).await;
        let text = |number: usize| urls[number].url.text();
        let low = "-fflags nobuffer -flags low_delay -framedrop -probesize 200000 -analyzeduration 300000";
        let (model, plain, tuned, patient, hasty) = tokio::join!(
            async { model(Peer::play(&urls[0].url).await.expect("play"), edge).await },
            player("ffplay", ffplay("", &text(1)), edge, ffplay_position),
            player("ffplay", ffplay(low, &text(2)), edge, ffplay_position),
            player("mpv", mpv("", &text(3)), edge, mpv_position),
            player("mpv", mpv("--profile=low-latency", &text(4)), edge, mpv_position),
        );
        for (buffer_ms, (behind_ms, stood_ms)) in BUFFERS_MS.iter().zip(model) {
            println!("| {profile} | model, {buffer_ms} ms held back | {behind_ms:.0} | {stood_ms:.0} |");
        }
        for (name, behind_ms) in [
            ("ffplay", plain),
            ("ffplay, nobuffer and low_delay", tuned),
            ("mpv", patient),
            ("mpv, low-latency", hasty),
        ] {
            let behind = behind_ms.map_or_else(|| "no position".to_owned(), |ms| format!("{ms:.0}"));
            println!("| {profile} | {name} | {behind} | |");
        }
        scene.gateway.stop().await;
    }
}
