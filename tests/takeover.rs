//! A publisher that comes back takes its stream over at once, and its viewers stay attached.

mod support;

use support::peer::{Notes, mark_of, marked};
use support::{Gateway, Peer, Pusher, Setup, Viewer, flv};

fn has_mark(notes: &Notes, mark: u8) -> bool {
    notes.tags.iter().any(|tag| mark_of(tag) == Some(mark))
}

#[tokio::test]
async fn a_second_publisher_with_the_same_url_replaces_the_first() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let url = boris.subscribe(&published.stream_id).await.expect("subStream").url;
    let first = Peer::publish(&published.url).await.expect("publish").feed(marked(flv::clip(), 1));
    let viewer = Peer::play(&url).await.expect("play").watch();
    viewer.until("the first publisher", |notes| has_mark(notes, 1)).await;

    let second = Peer::publish(&published.url).await.expect("the newer one is let in");
    let second = second.feed(marked(flv::clip(), 2));
    first.closed().await;
    viewer.until("the second publisher", |notes| has_mark(notes, 2)).await;
    let seen = viewer.more_pictures(10).await;
    assert!(second.is_open());
    let marks: Vec<u8> = seen.tags.iter().filter_map(mark_of).collect();
    assert!(marks.is_sorted(), "a late write of the replaced publisher got through: {marks:?}");
    let change = seen.tags.iter().position(|tag| mark_of(tag) == Some(2)).expect("seen above");
    assert!(seen.tags[change].is_keyframe(), "the change begins with a keyframe");
    assert_continuous(&seen);
    gateway.stop().await;
}

#[tokio::test]
async fn a_publisher_that_vanishes_and_returns_keeps_its_viewers() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let url = boris.subscribe(&published.stream_id).await.expect("subStream").url;
    let viewer = {
        let _first = Peer::publish(&published.url).await.expect("publish").feed(marked(flv::clip(), 1));
        let viewer = Peer::play(&url).await.expect("play").watch();
        viewer.until("the first session", |notes| has_mark(notes, 1)).await;
        viewer
    };
    let again = Peer::publish(&published.url).await.expect("the same URL again");
    let _again = again.feed(marked(flv::clip(), 2));
    viewer.until("the second session", |notes| has_mark(notes, 2)).await;
    assert_continuous(&viewer.more_pictures(10).await);
    gateway.stop().await;
}

#[tokio::test]
async fn a_publisher_that_says_goodbye_may_return_too() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let url = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    let mut first = Peer::publish(&published.url).await.expect("publish");
    for tag in marked(flv::clip(), 1).iter().take(30) {
        first.send(tag, tag.timestamp_ms).await.expect("sent");
    }
    let viewer = Peer::play(&url).await.expect("play").watch();
    viewer.until("the first session", |notes| has_mark(notes, 1)).await;
    first.leave().await;
    let again = Peer::publish(&published.url).await.expect("the same URL again");
    let _again = again.feed(marked(flv::clip(), 2));
    viewer.until("the second session", |notes| has_mark(notes, 2)).await;
    gateway.stop().await;
}

#[tokio::test]
async fn after_the_grace_time_the_stream_is_no_longer_live() {
    let gateway = Setup::new().env("TIDEGATE_PUBLISHER_GRACE_MS", 200).start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let url = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    Peer::play(&url).await.expect("play").watch().more_pictures(3).await;
    let live = |wanted: bool| {
        let conference = conference.clone();
        support::wait::until(support::EVENT, "`live` follows the media", move || {
            let conference = conference.clone();
            async move {
                let seen = conference.get().await.expect("the conference");
                (seen["streams"][0]["live"] == wanted).then_some(())
            }
        })
    };
    live(true).await;
    drop(feed);
    live(false).await;
    // Declared it still is: the URL brings it back.
    let _again = Peer::publish(&published.url).await.expect("the URL still holds").feed(flv::clip());
    live(true).await;
    gateway.stop().await;
}

#[tokio::test]
async fn real_clients_survive_a_takeover() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let url = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    let first = Pusher::start(&published.url);
    first.sending().await;
    let viewer = Viewer::rtmpdump(&url);
    viewer.pictures(5).await;
    let second = Pusher::start(&published.url);
    second.sending().await;
    first.refused().await;
    let before = viewer.picture_count();
    viewer.pictures(before + 30).await;
    support::ffmpeg::assert_is_clip(&viewer.body()).await;
    gateway.stop().await;
}

/// Players drop or freeze on times that jump back, and stall on times that jump far ahead.
fn assert_continuous(seen: &Notes) {
    /// The publisher's gap in these tests is far shorter, even on a busy machine.
    const LARGEST_GAP_MS: u32 = 20_000;
    let times: Vec<u32> =
        seen.tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.timestamp_ms).collect();
    for pair in times.windows(2) {
        assert!(pair[0] <= pair[1], "times go back: {pair:?}");
        assert!(pair[1] - pair[0] < LARGEST_GAP_MS, "times jump ahead: {pair:?}");
    }
}
