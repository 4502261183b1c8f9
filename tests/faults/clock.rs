//! A wall clock that is set while the gateway runs.

use std::time::Instant;

use serde_json::{Value, json};

use crate::machine::Machine;
use crate::support::api::Refused as _;
use crate::support::events::Socket;
use crate::support::peer::{PLAY_REFUSED, Watch};
use crate::support::{Peer, Scene, Setup, flv};

const HOUR_MS: i64 = 3_600_000;
/// What a silent member is given: far less than the clock leaps.
const MEMBER_TIMEOUT_MS: u64 = 2000;
/// What a newcomer is given: longer than the test takes, and less than the clock leaps.
const FIRST_CONTACT_MS: u64 = 900_000;
/// How long URLs and tickets admit: less than the clock leaps.
const ADMIT_SECONDS: u64 = 1800;

/// Watches for longer than a silent member is left inside.
async fn longer_than_a_timeout(viewer: &Watch) {
    let began = Instant::now();
    while began.elapsed().as_millis() < u128::from(MEMBER_TIMEOUT_MS) * 3 / 2 {
        viewer.more_pictures(5).await;
    }
}

async fn pages(scene: &Scene) -> Vec<Value> {
    let app = &scene.conference.app;
    let page =
        app.api.get(&scene.conference.path("/events?after=0&limit=1000"), &app.key).await.expect("a page");
    page["events"].as_array().expect("events").clone()
}

#[tokio::test]
async fn a_clock_that_is_set_throws_nobody_out_and_rights_are_judged_by_it() {
    let setup = Setup::new()
        .env("TIDEGATE_MEMBER_TIMEOUT_MS", MEMBER_TIMEOUT_MS)
        .env("TIDEGATE_FIRST_CONTACT_MS", FIRST_CONTACT_MS)
        .env("TIDEGATE_PUBLISHER_IDLE_MS", 5000)
        .env("TIDEGATE_MEDIA_URL_TTL_SECONDS", ADMIT_SECONDS)
        .env("TIDEGATE_TICKET_TTL_SECONDS", ADMIT_SECONDS);
    let (machine, setup) = Machine::under(setup);
    let scene = Scene::with(setup).await;
    let feed = scene.publisher().await.feed(flv::clip());
    let url = scene.urls("rtc").await.url;
    let viewer = scene.watch("rtc").await;
    viewer.more_pictures(3).await;
    // One that is there by its event socket alone.
    let clara = scene.conference.member("clara", 1).await;
    let mut socket = Socket::open(&clara, None).await;
    socket.expect("snapshot").await;
    // And one of which nothing was heard yet.
    scene.conference.member("fred", 1).await;
    let ticket = scene.conference.ticket("dora", 1).await;
    let everybody = scene.conference.member_names().await;

    for (ahead_ms, admits) in [(HOUR_MS, false), (0, true), (-HOUR_MS, true), (0, true)] {
        machine.set_wall_clock_ahead_ms(ahead_ms);
        longer_than_a_timeout(&viewer).await;
        assert!(feed.is_open() && viewer.is_open(), "media ended at {ahead_ms} ms");
        assert_eq!(
            scene.conference.member_names().await,
            everybody,
            "somebody was thrown out at {ahead_ms} ms"
        );
        let stats = scene.stats().await;
        assert!(stats["fps"].as_f64().is_some_and(|fps| fps > 1.0), "pictures are counted: {stats}");
        let delay_ms = stats["addedDelayMaxMs"].as_u64();
        assert!(delay_ms.is_some_and(|ms| ms < ADMIT_SECONDS * 1000), "nothing waited for an hour: {stats}");
        // Whoever comes now is judged by the clock as it stands.
        let played = Peer::play(&url).await.map(Peer::watch);
        let joined = scene.conference.app.api.join(&scene.conference.id, &ticket).await;
        if admits {
            played.expect("a URL of today").more_pictures(3).await;
            joined.expect("a ticket of today").exit().await.expect("left");
        } else {
            played.err().expect("the URL has expired").assert_refuses(PLAY_REFUSED, "url_expired");
            joined.refused().assert_is(401, "ticket_expired", -502);
        }
        // What is made under this clock is good under it.
        scene.watch("rtc").await.more_pictures(3).await;
        scene.conference.member("erik", 1).await.exit().await.expect("left");
    }

    // The order is that of the numbers, whatever the clock says; and the feed is told every one.
    let events = pages(&scene).await;
    let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().expect("a seq")).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    let said = json!({ "body": "the last" });
    let app = &scene.conference.app;
    let last = app.api.post(&scene.conference.path("/messages"), &app.key, said).await.expect("said");
    let told = socket.through(last["seq"].as_u64().expect("a seq")).await;
    for pair in told.windows(2) {
        assert_eq!(pair[1]["prev"], pair[0]["seq"]);
    }
    scene.gateway.stop().await;
}
