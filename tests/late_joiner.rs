//! Who comes late starts at a keyframe with the sequence headers, at once, and in the order that decoders need.

#![allow(clippy::expect_used, reason = "test code")]

mod support;

use support::peer::Notes;
use support::process::run;
use support::scene::assert_flows;
use support::{EVENT, Gateway, Peer, Pusher, Scene, Setup, Viewer, ffmpeg, flv};
use tokio::process::Command;

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

/// Twelve seconds with a keyframe every ten, as some encoders have it.
async fn clip_of_a_long_gop() -> Vec<flv::Tag> {
    let file = tempfile::NamedTempFile::with_suffix(".flv").expect("a temporary file");
    let mut command = Command::new("ffmpeg");
    let arguments = "-y -hide_banner -nostdin -loglevel error -f lavfi -i testsrc2=size=192x336:rate=15 -f lavfi -i \
        sine=frequency=440:sample_rate=48000 -t 12 -c:v libx264 -profile:v baseline -preset ultrafast -g 150 -keyint_min 150 \
        -sc_threshold 0 -pix_fmt yuv420p -c:a aac -aac_pns 0 -ac 1 -f flv";
    command.args(arguments.split_whitespace()).arg(file.path());
    let ended = run("ffmpeg (encode)", command, EVENT).await;
    assert!(ended.status.success(), "{ended:?}");
    flv::tags(&std::fs::read(file.path()).expect("the clip")).0
}

/// Eight seconds of a GOP are there when it comes: a decoder gets each picture of them, squeezed in time or as they were.
#[tokio::test]
async fn a_joiner_eight_seconds_into_a_gop_decodes_every_picture() {
    let clip = clip_of_a_long_gop().await;
    let original = ffmpeg::decode(&flv::file(&clip)).await;
    for (profile, span_ms) in [("rtc", 500), ("live", 7900)] {
        // Media is sent faster than it plays, and a player that is still looking at what it gets lags behind in its time: that is no
        // reason to skip here.
        let lags = ["TIDEGATE_RTC_LAG_MAX_MS", "TIDEGATE_LIVE_LAG_MAX_MS", "TIDEGATE_RING_MS_MAX"];
        let scene =
            Scene::with(lags.into_iter().fold(Setup::new(), |setup, name| setup.env(name, 60_000))).await;
        let early = scene.watch("live").await;
        let mut publisher = scene.publisher().await;
        let (burst, rest): (Vec<_>, Vec<_>) = clip.iter().partition(|tag| tag.timestamp_ms < 8000);
        for tag in burst {
            publisher.send(tag, tag.timestamp_ms).await.expect("sent");
        }
        early.until("eight seconds", |notes| notes.pictures() == 120).await;
        let urls = scene.urls(profile).await;
        let joiners =
            [Viewer::ffmpeg(&urls.url), Viewer::ffmpeg_at(&[], &urls.flv), Viewer::rtmpdump(&urls.url)];
        // Each has asked for the burst before more is sent.
        scene.attached(4).await;
        for tag in rest {
            publisher.send(tag, tag.timestamp_ms).await.expect("sent");
        }
        // What ffmpeg holds back of the sound at its end leaves with what comes next.
        for tag in clip.iter().filter(|tag| !tag.is_sequence_header() && tag.kind != flv::Kind::Script) {
            publisher.send(tag, 12_100 + tag.timestamp_ms).await.expect("sent");
        }
        for joiner in joiners {
            let tags = joiner.pictures(180).await;
            let end = tags.iter().enumerate().filter(|(_, tag)| tag.is_picture()).nth(179).expect("enough").0;
            let seen = ffmpeg::decode(&flv::file(&tags[..=end])).await;
            assert_eq!(seen.complaints, "", "{}", joiner.process.name);
            assert_eq!(
                seen.video, original.video,
                "every picture from the keyframe on: {}",
                joiner.process.name
            );
            assert_flows(&tags[..=end], 70);
            let times: Vec<_> =
                tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.timestamp_ms).collect();
            let span = times[119] - times[0];
            assert!(span.abs_diff(span_ms) <= 70, "{}: the burst spans {span} ms", joiner.process.name);
        }
        scene.gateway.stop().await;
    }
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
