//! Connections that break without a word, wait, or are slow: a proxy stands for the network.

use std::time::{Duration, Instant};

use crate::pictures::Arrivals;
use crate::support::flv::Tag;
use crate::support::peer::{mark_of, marked};
use crate::support::{EVENT, Peer, Proxy, Scene, Setup, Way, flv, wait};

/// Beyond the time for which the publisher was away, what a viewer may wait for the first new picture: the wait of a phone for
/// its keyframe, and a busy machine.
const GAP_MAX: Duration = Duration::from_secs(4);

async fn returns_after(
    scene: &Scene,
    proxy: &Proxy,
    viewer: &mut Arrivals,
    away: Duration,
    mark: u8,
) -> Duration {
    let url = scene.published.url.at(proxy.address);
    let feed = Peer::publish(&url).await.expect("publish").feed(marked(flv::clip(), mark));
    viewer.until("its pictures", |tag| mark_of(tag) == Some(mark)).await;
    viewer.take(15).await;
    proxy.cut();
    let last = viewer_runs_dry(viewer).await;
    tokio::time::sleep(away.saturating_sub(last.elapsed())).await;
    let returned = Instant::now();
    let again = Peer::publish(&url).await.expect("nobody is told that the stream is busy");
    let again = again.feed(marked(flv::clip(), mark + 1));
    let came = viewer.until("the second connection", |tag| mark_of(tag) == Some(mark + 1)).await;
    let (first, tag) = came.last().expect("the one waited for");
    assert!(tag.is_keyframe(), "it begins with a keyframe");
    let gap = first.duration_since(returned);
    assert!(gap < GAP_MAX, "{gap:?} until the first picture");
    viewer.take(10).await;
    drop((feed, again));
    gap
}

/// Waits until no picture came for a moment; gives the time of the last.
async fn viewer_runs_dry(viewer: &mut Arrivals) -> Instant {
    let mut last = Instant::now();
    while let Ok(came) = tokio::time::timeout(Duration::from_millis(300), viewer.take(1)).await {
        last = came[0].0;
    }
    last
}

async fn a_publisher_returns_after(aways_s: &[u64]) {
    let setup = Setup::new().env("TIDEGATE_PUBLISHER_GRACE_MS", 15_000);
    let scene = Scene::with(setup).await;
    let proxy = Proxy::to(scene.gateway.rtmp).await;
    let play = Peer::ask_to_play(&scene.urls("rtc").await.url.in_name()).await;
    let mut viewer = Arrivals::of(play);
    for (round, away_s) in (0..).zip(aways_s) {
        let away = Duration::from_secs(*away_s);
        let gap = returns_after(&scene, &proxy, &mut viewer, away, 2 * round + 1).await;
        println!(
            "cut without a word, back after {away_s} s on another port: first picture {gap:?} after that"
        );
    }
    let changes = scene.stats().await["publisherChanges"].as_u64().expect("a count");
    assert!(changes >= aways_s.len() as u64, "{changes}");
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_publisher_that_was_cut_off_without_a_word_returns_at_once_and_its_viewers_stay() {
    a_publisher_returns_after(&[0, 1]).await;
}

#[tokio::test]
#[ignore = "takes long: `make chaos`"]
async fn a_publisher_that_was_cut_off_returns_after_up_to_ten_seconds_and_its_viewers_stay() {
    a_publisher_returns_after(&[0, 1, 3, 10]).await;
}

/// How many sessions there are in each direction.
async fn sessions(scene: &Scene) -> [usize; 2] {
    let app = &scene.conference.app;
    let path = format!("/v1/sessions?confrId={}", scene.conference.id);
    let listed = app.api.get(&path, &app.key).await.expect("sessions");
    let listed = listed["sessions"].as_array().expect("a list");
    ["publish", "play"].map(|word| listed.iter().filter(|session| session["direction"] == word).count())
}

#[tokio::test]
async fn half_open_publishers_and_viewers_are_found_and_let_go_and_the_others_notice_nothing() {
    let setup = Setup::new()
        .env("TIDEGATE_PUBLISHER_IDLE_MS", 1500)
        .env("TIDEGATE_VIEWER_STALL_MS", 1500)
        .env("TIDEGATE_PUBLISHER_GRACE_MS", 500);
    let scene = Scene::with(setup).await;
    let (near, far) = (Proxy::to(scene.gateway.rtmp).await, Proxy::to(scene.gateway.rtmp).await);
    let published = scene.published.url.at(near.address);
    let feed = Peer::publish(&published).await.expect("publish").feed(flv::clip());
    let watching = scene.watch("rtc").await;
    let cut_off = Peer::play(&scene.urls("rtc").await.url.at(far.address)).await.expect("play").watch();
    cut_off.more_pictures(3).await;
    assert_eq!(sessions(&scene).await, [1, 2]);

    // The proxy takes nothing more from the gateway, and nobody tells it so.
    far.set(Way::Stalled);
    wait::until(EVENT, "the stuck viewer is let go", async || {
        (sessions(&scene).await == [1, 1]).then_some(())
    })
    .await;
    assert_eq!(scene.gateway.metric("tidegate_viewers_stalled_total").await, Some(1.0));
    watching.more_pictures(10).await;

    near.cut();
    wait::until(EVENT, "the silent publisher is let go", async || {
        (sessions(&scene).await[0] == 0).then_some(())
    })
    .await;
    wait::until(EVENT, "its stream is no longer live", async || {
        (scene.stream().await["live"] == false).then_some(())
    })
    .await;
    drop(feed);
    scene.gateway.stop().await;
}

/// How often each viewer skipped, in rising order.
async fn skips(scene: &Scene) -> Vec<u64> {
    let app = &scene.conference.app;
    let path = format!("/v1/sessions?confrId={}", scene.conference.id);
    let listed = app.api.get(&path, &app.key).await.expect("sessions");
    let plays = listed["sessions"].as_array().expect("a list").iter();
    let plays = plays.filter(|session| session["direction"] == "play");
    let mut skips: Vec<u64> = plays.map(|session| session["skips"].as_u64().expect("a count")).collect();
    skips.sort_unstable();
    skips
}

#[tokio::test]
async fn a_viewer_behind_a_slow_network_sees_all_of_it_and_one_whose_network_stood_still_skips() {
    let scene = Scene::new().await;
    let _feed = scene.publisher().await.feed(flv::clip());
    let proxy = Proxy::to(scene.gateway.rtmp).await;
    proxy.set(Way::Open(Duration::from_millis(300)));
    let url = scene.urls("rtc").await.url.at(proxy.address);
    let viewer = Peer::play(&url).await.expect("play").watch();
    let seen = viewer.more_pictures(45).await;
    let times: Vec<u32> =
        seen.tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.timestamp_ms).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] < 200), "something is missing: {times:?}");
    assert_eq!(skips(&scene).await, [0], "who is late by as much all the time has nothing to skip");

    proxy.set(Way::Stalled);
    let watching = scene.watch("rtc").await;
    // What is behind by the end: these six seconds, less what waits in kernels and the outbox.
    watching.more_pictures(90).await;
    proxy.set(Way::Open(Duration::ZERO));
    let seen = viewer.more_pictures(75).await;
    let pictures: Vec<&Tag> = seen.tags.iter().filter(|tag| tag.is_picture()).collect();
    let leaps = pictures.windows(2).filter(|pair| pair[1].timestamp_ms - pair[0].timestamp_ms >= 200);
    let leaps: Vec<_> =
        leaps.map(|pair| (pair[1].is_keyframe(), pair[1].timestamp_ms - pair[0].timestamp_ms)).collect();
    assert!(leaps.iter().any(|(_, ms)| *ms >= 1000), "it came back to what is sent now: {leaps:?}");
    assert!(leaps.iter().all(|(at_keyframe, _)| *at_keyframe), "each leap ends at a keyframe: {leaps:?}");
    let skips = skips(&scene).await;
    assert!(skips[0] == 0 && skips[1] == leaps.len() as u64, "{skips:?} skips, {leaps:?}");
    assert_eq!(scene.stats().await["skips"], skips[1]);
    assert!(viewer.is_open() && watching.is_open());
    scene.gateway.stop().await;
}
