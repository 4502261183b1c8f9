//! Churn for as long as one likes, and what it leaves behind.
//!
//! Floods of conferences that begin, live and end in every way are followed by ebbs in which nobody is there. At each ebb the
//! gateway must be back to what it was: descriptors, tasks, sessions, streams and conferences exactly, memory and files by
//! the slope over all ebbs. `make soak MINUTES=60` runs it long and against the release build; the short form is a test.
//!
//! `TIDEGATE_SOAK_MINUTES` says how long, `TIDEGATE_SOAK_SEED` repeats the draws of an earlier run.

#![allow(unreachable_pub, reason = "the modules of this test are its own")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code"
)]

#[path = "../support/mod.rs"]
mod support;

mod life;
mod players;
mod sample;
mod town;

use std::time::Duration;

use sample::{Sample, Trend};
use support::Setup;
use tokio::time::Instant;
use town::Town;

/// Conferences that live at the same time.
const ORGANISERS: u64 = 4;
/// How long one flood of the long form lasts: long enough that hundreds of members came and went, and short enough that an hour
/// has some thirty ebbs.
const FLOOD: Duration = Duration::from_secs(100);
const SHORT_FLOOD: Duration = Duration::from_secs(2);
const SHORT_FLOODS: usize = 2;
/// Between two samples within a flood.
const SAMPLED_EVERY: Duration = Duration::from_secs(5);
/// The first part of a long run, in which allocator, caches, rings and files reach their size: a quarter.
const WARM_UP: usize = 4;
/// Growth of the gateway's own memory (`RssAnon`) from ebb to ebb, after the warm-up: less than four megabytes in an hour, in
/// which some two thousand conferences come and go. A leak of two kilobytes a conference is above it.
const MEMORY_SLOPE_MAX_KIB: f64 = 64.0;
/// The same for the database with its write-ahead log.
const FILES_SLOPE_MAX_KIB: f64 = 64.0;
/// The last third of the ebbs may be above the middle third by so much.
const THIRDS_RATIO_MAX: f64 = 1.05;
/// In the short form nothing has settled: each further flood may cost so much at most.
const SHORT_GROWTH_MAX_KIB: u64 = 24 * 1024;

/// What ends soon ends within a flood, and what is kept is kept for seconds, so that everything reaches its steady size.
fn setup() -> Setup {
    Setup::new()
        .env("TIDEGATE_LOG", "warn")
        .env("TIDEGATE_OUTBOUND_ALLOW", "127.0.0.0/8")
        .env("TIDEGATE_FIRST_CONTACT_MS", 2500)
        .env("TIDEGATE_MEMBER_TIMEOUT_MS", 2500)
        .env("TIDEGATE_UNUSED_CONFERENCE_MS", 2000)
        .env("TIDEGATE_EMPTY_CONFERENCE_MS", 300)
        .env("TIDEGATE_PUBLISHER_GRACE_MS", 1000)
        .env("TIDEGATE_PLAY_WAIT_MS", 1000)
        .env("TIDEGATE_HANDSHAKE_TIMEOUT_MS", 8000)
        .env("TIDEGATE_EVENTS_KEPT_SECONDS", 20)
        .env("TIDEGATE_CLOSED_TOLD_SECONDS", 30)
        .env("TIDEGATE_RETENTION_PAUSE_MS", 1000)
        .env("TIDEGATE_OVERVIEW_SAMPLE_MS", 1000)
        .env("TIDEGATE_RELAY_RETRY_MIN_MS", 50)
        .env("TIDEGATE_RELAY_RETRY_MAX_MS", 200)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_returns_when_everybody_has_left() {
    let mut town = Town::start(setup(), number("TIDEGATE_SOAK_SEED").unwrap_or(1)).await;
    // The store's readers open their files when they are first asked, pools and caches are made.
    town.flood(ORGANISERS, Instant::now() + SHORT_FLOOD).await;
    let mut ebbs = vec![town.ebb().await];
    println!("{}", Sample::HEADINGS);
    println!("{}", ebbs[0]);
    for _ in 0..SHORT_FLOODS {
        town.flood(ORGANISERS, Instant::now() + SHORT_FLOOD).await;
        ebbs.push(town.ebb().await);
        println!("{}", ebbs.last().expect("just pushed"));
    }
    town.tell();
    town.assert_all_kinds_were_done(&["created", "joined", "published", "watched", "kicked", "ended"]);
    for pair in ebbs.windows(2) {
        let grown = pair[1].anonymous_kib.saturating_sub(pair[0].anonymous_kib);
        assert!(
            grown < SHORT_GROWTH_MAX_KIB,
            "a flood leaves {grown} KiB behind: {} then {}",
            pair[0],
            pair[1]
        );
    }
    town.stop().await;
}

/// Conferences with a password of their own, one after the other and at once.
const PASSWORDS: usize = 48;
const PASSWORDS_AT_ONCE: usize = 8;
/// Two computations at once of 19 MiB each, and the rest of the gateway.
const PASSWORDS_MEMORY_MAX_KIB: u64 = 64 * 1024;

#[tokio::test]
async fn a_password_more_costs_no_memory() {
    let gateway = setup().start().await;
    let app = gateway.app().await;
    for _ in 0..PASSWORDS / PASSWORDS_AT_ONCE {
        app.conference().await;
        let created = (1..PASSWORDS_AT_ONCE).map(|_| app.conference());
        futures_util::future::join_all(created).await;
    }
    let scraper = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let sample = Sample::take(Duration::ZERO, gateway.process.id(), gateway.ops, &scraper).await;
    println!("{} KiB after {PASSWORDS} passwords", sample.anonymous_kib);
    assert!(sample.anonymous_kib < PASSWORDS_MEMORY_MAX_KIB, "{PASSWORDS} passwords: {sample}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs for an hour: `make soak MINUTES=60`"]
async fn nothing_grows_over_a_long_time() {
    let minutes = number("TIDEGATE_SOAK_MINUTES").unwrap_or(60);
    let mut town = Town::start(setup(), number("TIDEGATE_SOAK_SEED").unwrap_or(1)).await;
    town.flood(ORGANISERS, Instant::now() + SHORT_FLOOD).await;
    let began = Instant::now();
    let end = began + Duration::from_secs(60 * minutes);
    println!("{}", Sample::HEADINGS);
    println!("{}", town.ebb().await);
    let (mut ebbs, mut floods) = (Vec::new(), Vec::new());
    while Instant::now() < end {
        floods.extend(town.flood_and_sample(ORGANISERS, Instant::now() + FLOOD, SAMPLED_EVERY).await);
        let ebb = town.ebb().await;
        println!("{ebb}");
        ebbs.push(ebb);
    }
    town.tell();
    let settled = &ebbs[ebbs.len() / WARM_UP..];
    let busy = &floods[floods.len() / WARM_UP..];
    let memory = Trend::of("memory at ebb, KiB", settled, |sample| sample.anonymous_kib);
    let resident = Trend::of("resident set at ebb, KiB", settled, |sample| sample.resident_kib);
    let files = Trend::of("database and log at ebb, KiB", settled, |sample| sample.files_kib);
    let descriptors = Trend::of("descriptors at ebb", settled, |sample| sample.descriptors);
    let tasks = Trend::of("tasks at ebb", settled, |sample| sample.tasks);
    let threads = Trend::of("threads at ebb", settled, |sample| sample.threads);
    for trend in [&memory, &resident, &files, &descriptors, &tasks, &threads] {
        println!("{trend}");
    }
    println!("{}", Trend::of("memory in floods, KiB", busy, |sample| sample.anonymous_kib));
    println!("{}", Trend::of("descriptors in floods", busy, |sample| sample.descriptors));
    println!("{}", Trend::of("tasks in floods", busy, |sample| sample.tasks));
    println!("{}", Trend::of("sessions in floods", busy, |sample| sample.sessions));
    let cpu_ms = ebbs.last().map_or(0, |sample| sample.cpu_ms);
    println!("the gateway took {:.3} of a core", cpu_ms as f64 / began.elapsed().as_millis() as f64);
    for (trend, slope_max) in [(&memory, MEMORY_SLOPE_MAX_KIB), (&files, FILES_SLOPE_MAX_KIB)] {
        assert!(trend.slope_per_minute <= slope_max, "{trend}: above {slope_max} a minute");
        assert!(
            trend.last_third <= trend.middle_third * THIRDS_RATIO_MAX,
            "{trend}: the last third is higher"
        );
    }
    // Descriptors and tasks were held to the first ebb each time.
    town.stop().await;
}
