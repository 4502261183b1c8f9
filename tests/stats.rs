//! The figures of a stream.

#![allow(clippy::expect_used, reason = "test code")]

mod support;

use serde_json::Value;
use support::api::Refused as _;
use support::{EVENT, Gateway, Peer, Pusher, wait};

#[tokio::test]
async fn a_stream_tells_what_its_publisher_sends() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let path = anna.path(&format!("/streams/{}/stats", published.stream_id));
    let stats = async || anna.api.get(&path, &anna.token).await.expect("the figures");
    let before = stats().await;
    assert_eq!((&before["live"], &before["fps"]), (&Value::from(false), &Value::from(0.0)));
    assert_eq!(before["streamId"], published.stream_id.as_str());
    assert!(before["keyframeGapMs"].is_null() && before["addedDelayMs"].is_null());

    let pusher = Pusher::start(&published.url);
    pusher.sending().await;
    let url = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    let viewer = Peer::play(&url).await.expect("play").watch();
    // Three keyframes a second apart, so that the window holds more than the burst at the start.
    viewer.more_pictures(45).await;
    let seen = wait::until(EVENT, "the stream is told to be live", async || {
        let seen = stats().await;
        (seen["live"] == true).then_some(seen)
    })
    .await;
    let number = |name: &str| seen[name].as_f64().unwrap_or_else(|| panic!("{name} in {seen}"));
    // The clip has 15 pictures a second, a keyframe each second; ffmpeg sends its first second at once.
    assert!((10.0..=35.0).contains(&number("fps")), "{seen}");
    assert!((20_000.0..4_000_000.0).contains(&number("videoBitrateBps")), "{seen}");
    assert!((5_000.0..400_000.0).contains(&number("audioBitrateBps")), "{seen}");
    assert!((900.0..=1100.0).contains(&number("keyframeGapMs")), "{seen}");
    // A viewer that reads at once gets each packet when it comes; what it began with does not count.
    let (mean, longest) = (number("addedDelayMs"), number("addedDelayMaxMs"));
    assert!(mean <= longest && mean < 500.0, "{seen}");
    assert_eq!((number("viewers"), number("skips"), number("droppedPackets")), (1.0, 0.0, 0.0), "{seen}");
    conference.app.api.get(&path, &conference.app.key).await.expect("for the app too");
    let unknown = anna.path("/streams/x__Of_MS_x/stats");
    anna.api.get(&unknown, &anna.token).await.refused().assert_is(404, "stream_not_found", -301);
    anna.exit().await.expect("leaves");
    anna.api.get(&path, &anna.token).await.refused().assert_is(410, "member_gone", -504);
    drop(pusher);
    gateway.stop().await;
}
