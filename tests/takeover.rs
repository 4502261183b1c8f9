//! A publisher that comes back takes its stream over at once, and its viewers stay attached.

#![allow(clippy::expect_used, reason = "test code")]

mod support;

use std::time::Duration;

use support::flv::{Kind, Tag};
use support::peer::{Feed, Notes, mark_of, marked};
use support::{Gateway, Peer, Pusher, Scene, Setup, Viewer, flv};

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

/// The sequence headers that come between the last picture with one mark and the first with the next.
fn headers_at_change(seen: &[Tag], to: u8) -> Vec<Kind> {
    let change = seen.iter().position(|tag| mark_of(tag) == Some(to)).expect("the change");
    let before = seen[..change].iter().rev().take_while(|tag| mark_of(tag).is_none());
    before.filter(|tag| tag.is_sequence_header()).map(|tag| tag.kind).collect()
}

/// The old socket is open and nothing comes: a phone whose network went without a word. The same over both protocols.
#[tokio::test]
async fn a_publisher_returns_while_its_old_socket_is_half_open() {
    let scene = Scene::new().await;
    let (rtmp, http) = (scene.watch("rtc").await, scene.watch_flv("rtc").await);
    scene.attached(2).await;
    let mut silent = scene.publisher().await;
    let sent: Vec<_> = marked(flv::clip(), 1).into_iter().take_while(|tag| tag.timestamp_ms < 1500).collect();
    for tag in &sent {
        silent.send(tag, tag.timestamp_ms).await.expect("sent");
    }
    rtmp.until("the first session", |notes| notes.pictures() >= 22).await;
    assert!(scene.stats().await["publisherGapMs"].is_null());
    let again = scene.publisher().await.feed_from(marked(flv::clip(), 2), 4_000_000_000);
    let seen = rtmp.until("the second session", |notes| has_mark(notes, 2)).await;
    assert_continuous(&seen);
    let newer = |tags: &[Tag]| tags.iter().any(|tag| mark_of(tag) == Some(2));
    let over_http = http.received("the second session", newer).await;
    for tags in [&seen.tags, &over_http] {
        assert!(headers_at_change(tags, 2).contains(&Kind::Video), "fresh headers go ahead");
    }
    // The old one is told, and what it sends now goes nowhere.
    for tag in marked(flv::clip(), 1).iter().take(60) {
        if silent.send(tag, 2000 + tag.timestamp_ms).await.is_err() {
            break;
        }
    }
    let told = silent.watch();
    let told = told.closed().await;
    assert!(told.statuses.iter().any(|status| status.level == "error"), "{:?}", told.statuses);
    let seen = rtmp.more_pictures(20).await;
    let marks: Vec<u8> = seen.tags.iter().filter_map(mark_of).collect();
    assert!(marks.is_sorted(), "a write of the old socket got through: {marks:?}");
    assert!(again.is_open());
    // What viewers saw as a gap is on record, and is what their times went on by.
    let stats = scene.stats().await;
    let recorded = stats["publisherGapMs"].as_u64().expect("a gap");
    assert_eq!(stats["publisherChanges"], 1);
    let frames: Vec<_> = seen.tags.iter().filter(|tag| tag.is_picture() || tag.is_sound()).collect();
    let newest_before = frames.iter().filter(|tag| mark_of(tag) == Some(1) || tag.timestamp_ms < 1500);
    let end_ms = newest_before.map(|tag| tag.timestamp_ms).max().expect("the first session");
    let begin_ms =
        frames.iter().map(|tag| tag.timestamp_ms).filter(|ms| *ms > end_ms).min().expect("the second");
    assert_eq!(u64::from(begin_ms - end_ms), recorded.max(1));
    let metric = async |name: &str| scene.gateway.metric(name).await.expect("a metric");
    assert_eq!(metric("tidegate_publisher_changes_total").await, 1.0);
    let seconds = metric("tidegate_publisher_gap_seconds_total").await;
    assert!(
        (seconds - Duration::from_millis(recorded).as_secs_f64()).abs() < 0.0005,
        "{seconds} for {recorded} ms"
    );
    scene.gateway.stop().await;
}

/// Two encoders with one URL: whoever is thrown out comes again at once.
#[tokio::test]
async fn of_encoders_that_fight_for_a_url_one_is_live_at_a_time_and_viewers_see_one_stream() {
    const ROUNDS: u8 = 40;
    let scene = Scene::new().await;
    let (rtmp, http) = (scene.watch("rtc").await, scene.watch_flv("rtc").await);
    scene.attached(2).await;
    let mut thrown_out: Option<Feed> = None;
    for round in 1..=ROUNDS {
        let feed = scene.publisher().await.feed(marked(flv::clip(), round));
        if let Some(before) = thrown_out.replace(feed) {
            before.closed().await;
        }
        rtmp.until("this round's pictures", |notes| {
            notes.tags.last().is_some_and(|_| has_mark(notes, round))
        })
        .await;
    }
    let seen = rtmp.more_pictures(5).await;
    assert_continuous(&seen);
    let over_http =
        http.received("the last round", |tags| tags.iter().any(|tag| mark_of(tag) == Some(ROUNDS))).await;
    for tags in [&seen.tags, &over_http] {
        let marks: Vec<u8> = tags.iter().filter_map(mark_of).collect();
        assert!(marks.is_sorted(), "two were live at once: {marks:?}");
        let first = tags.iter().filter(|tag| mark_of(tag).is_some()).scan(0, |before, tag| {
            let mark = mark_of(tag).expect("filtered");
            let is_change = std::mem::replace(before, mark) != mark;
            Some((is_change, tag.is_keyframe()))
        });
        assert!(first.filter(|(is_change, _)| *is_change).all(|(_, is_keyframe)| is_keyframe));
    }
    assert_eq!(scene.stats().await["publisherChanges"], u64::from(ROUNDS) - 1);
    // To the others the stream was there all the time.
    let events =
        scene.boris.api.get(&scene.boris.path("/events?after=0"), &scene.boris.token).await.expect("events");
    let of = |word: &str| {
        events["events"].as_array().expect("a page").iter().filter(|event| event["type"] == word).count()
    };
    assert_eq!((of("streamAdded"), of("streamRemoved")), (1, 0), "{events}");
    scene.gateway.stop().await;
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
