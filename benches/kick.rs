//! How long after the answer of a kick the last byte still comes. A measurement, not a check: it asserts no time.
//! `docs/benchmarks.md` says how to run it, and what was seen.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "test code")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};
use support::{Gateway, Peer, flv};

const KICKS: usize = 100;
const VIEWERS: usize = 3;

#[tokio::main]
async fn main() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let (mut answers, mut viewers, mut publishers) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..KICKS {
        let name = format!("publisher-{round}");
        let member = conference.member(&name, 3).await;
        let published = member.publish("RTC1").await.expect("pubStream");
        let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
        let mut watches = Vec::new();
        for seat in 0..VIEWERS {
            let viewer = conference.member(&format!("viewer-{seat}"), 1).await;
            let url = viewer.subscribe(&published.stream_id).await.expect("subStream").url;
            watches.push(Peer::play(&url).await.expect("play").watch());
        }
        for watch in &watches {
            watch.more_pictures(3).await;
        }

        let asked = Instant::now();
        conference.kick(&[&name]).await.expect("kick");
        let answered = Instant::now();
        answers.push(milliseconds(asked, answered));
        for watch in &watches {
            let last = watch.closed().await.last_byte.expect("something was received");
            viewers.push(milliseconds(answered, last));
        }
        publishers.push(milliseconds(answered, feed.closed().await.closed));
    }
    println!("{KICKS} kicks of a publisher with {VIEWERS} viewers, milliseconds:");
    print_row("call to its answer", answers);
    print_row("answer to a viewer's last byte", viewers);
    print_row("answer to the end of the publisher's socket", publishers);
    gateway.stop().await;
}

/// From one moment to another; negative when the other came first.
fn milliseconds(from: Instant, to: Instant) -> f64 {
    let length = |duration: Duration| duration.as_secs_f64() * 1000.0;
    length(to.saturating_duration_since(from)) - length(from.saturating_duration_since(to))
}

fn print_row(what: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    let at = |percent: usize| figures[(figures.len() - 1) * percent / 100];
    println!("{what:<44} p50 {:8.3}   p99 {:8.3}   max {:8.3}", at(50), at(99), at(100));
}
