//! Who comes late starts at a keyframe with the sequence headers, at once, and in the order that decoders need.

#![allow(clippy::expect_used, reason = "test code")]

mod support;

use support::peer::Notes;
use support::{Gateway, Peer, Pusher, Viewer, ffmpeg, flv};

#[tokio::test]
async fn a_late_joiner_starts_with_headers_and_a_keyframe() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let url = boris.subscribe(&published.stream_id).await.expect("subStream").url;

    // The first viewer shows that the stream is well under way, past a keyframe and between two of them.
    let early = Peer::play(&url).await.expect("play").watch();
    early.more_pictures(20).await;
    let late = Peer::play(&url).await.expect("play").watch();
    let seen = late.more_pictures(15).await;
    assert_starts_decodable(&seen);
    assert!(feed.is_open());
    gateway.stop().await;
}

#[tokio::test]
async fn a_late_joiner_with_a_real_player_decodes_from_the_first_picture() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let pusher = Pusher::start(&published.url);
    pusher.sending().await;
    let url = boris.subscribe(&published.stream_id).await.expect("subStream").url;
    Viewer::ffmpeg(&url).pictures(20).await;

    let late = Viewer::rtmpdump(&url);
    late.pictures(20).await;
    ffmpeg::assert_is_clip(&late.body()).await;
    gateway.stop().await;
}

#[tokio::test]
async fn both_profiles_serve_the_same_stream() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let _feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    for profile in ["rtc", "live"] {
        let request = serde_json::json!({ "profile": profile });
        let url = boris.subscribe_as(&published.stream_id, request).await.expect("subStream").url;
        let viewer = Peer::play(&url).await.expect("play").watch();
        assert_starts_decodable(&viewer.more_pictures(20).await);
    }
    gateway.stop().await;
}

fn assert_starts_decodable(seen: &Notes) {
    let first_picture = seen.tags.iter().position(flv::Tag::is_picture).expect("a picture");
    assert!(seen.tags[first_picture].is_keyframe(), "the first picture is no keyframe");
    let headers: Vec<_> = seen.tags[..first_picture].iter().filter(|tag| tag.is_sequence_header()).collect();
    assert!(headers.iter().any(|tag| tag.kind == flv::Kind::Video), "no H.264 sequence header before it");
    let first_sound = seen.tags.iter().position(flv::Tag::is_sound).expect("sound");
    let header = seen.tags.iter().position(|tag| tag.kind == flv::Kind::Audio && tag.is_sequence_header());
    assert!(header.is_some_and(|header| header < first_sound), "sound before its sequence header");
    let times: Vec<u32> =
        seen.tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.timestamp_ms).collect();
    assert!(times.is_sorted(), "picture times go backwards: {times:?}");
}
