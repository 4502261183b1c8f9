//! What owners turn on and off, what flows, and video places.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use serde_json::{Value, json};
use support::api::{Answer, Refused as _, text};
use support::flv::{Kind, Tag};
use support::peer::Status;
use support::{Conference, EVENT, EventSocket, Feed, Gateway, MediaUrl, Member, Peer, Seen, flv, within};

async fn declare(member: &Member, rtc_id: &str, voff: u8) -> (String, MediaUrl) {
    let request = json!({ "rtcId": rtc_id, "voff": voff });
    let answer = member.api.post(&member.path("/streams"), &member.token, request).await.expect("pubStream");
    assert_eq!(answer["stream"]["voff"], voff);
    (text(&answer, "/stream/id"), MediaUrl::parse(&text(&answer, "/data/rtmp")))
}

async fn change(member: &Member, stream: &str, request: Value) -> Answer {
    member.api.patch(&member.path(&format!("/streams/{stream}")), &member.token, request).await
}

async fn push(url: &MediaUrl, tags: Vec<Tag>) -> Feed {
    Peer::publish(url).await.expect("publish").feed(tags)
}

fn sound_only() -> Vec<Tag> {
    flv::clip().into_iter().filter(|tag| tag.kind == Kind::Audio).collect()
}

async fn one_place(gateway: &Gateway) -> Conference {
    let app = gateway.app().await;
    app.create(json!({ "limits": { "maxVideoCount": 1 } })).await.expect("a conference")
}

fn is_media(kind: &str, stream: &str) -> impl Fn(&Value) -> bool {
    let (kind, stream) = (kind.to_owned(), stream.to_owned());
    move |frame| frame["type"] == kind.as_str() && frame["stream"]["id"] == stream.as_str()
}

fn offs(frame: &Value) -> (i64, i64) {
    let off = |name: &str| frame["stream"][name].as_i64().expect("0 or 1");
    (off("voff"), off("aoff"))
}

#[tokio::test]
async fn what_is_shown_follows_what_flows() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let mut feed = EventSocket::of(&anna).await;
    let (stream, url) = declare(&anna, "RTC1", 0).await;
    let voice = push(&url, sound_only()).await;
    let added = feed.find("streamAdded", is_media("streamAdded", &stream)).await;
    assert_eq!((offs(&added), &added["stream"]["video"]), ((1, 0), &Value::Null));
    drop(voice);
    let _camera = push(&url, flv::clip()).await;
    let shown = |frame: &Value| is_media("mediaChanged", &stream)(frame) && offs(frame) == (0, 0);
    let changed = feed.find("the camera", shown).await;
    assert_eq!(changed["stream"]["video"]["codec"], "h264");
    let seen = anna.look().await.expect("the conference");
    assert_eq!(seen["streams"][0], changed["stream"], "GET is the fold of the feed");
    gateway.stop().await;
}

#[tokio::test]
async fn an_owner_turns_pictures_and_sound_off_and_on() {
    let gateway = Gateway::start().await;
    let conference = one_place(&gateway).await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let (stream, url) = declare(&anna, "RTC1", 0).await;
    let _camera = push(&url, flv::clip()).await;
    let play = boris.subscribe(&stream).await.expect("subStream").url;
    let viewer = Peer::play(&play).await.expect("play").watch();
    viewer.more_pictures(5).await;

    let view = change(&anna, &stream, json!({ "voff": 1 })).await.expect("off");
    assert_eq!((&view["voff"], &view["aoff"], &view["live"]), (&json!(1), &json!(0), &json!(true)));
    let before = viewer.without(Kind::Video).await.pictures();

    // The place is free for another, and then not for this one.
    let (other, _) = declare(&boris, "RTC1", 0).await;
    change(&anna, &stream, json!({ "voff": 0 })).await.refused().assert_is(409, "videos_full", -524);
    boris.unpublish(&other).await.expect("deleted");
    change(&anna, &stream, json!({ "voff": 0, "aoff": 1 })).await.expect("on");
    let seen = viewer.more_pictures(10).await;
    let first = seen.tags.iter().filter(|tag| tag.is_picture()).nth(before).expect("another picture");
    assert!(first.is_keyframe());
    viewer.without(Kind::Audio).await;

    change(&boris, &stream, json!({ "voff": 1 })).await.refused().assert_is(403, "not_allowed", -101);
    change(&anna, "x__Of_MS_x", json!({})).await.refused().assert_is(404, "stream_not_found", -301);
    change(&anna, &stream, json!({ "voff": 2 })).await.refused().assert_is(422, "invalid_request", -200);
    let request = json!({ "aoff": 0, "user": "anna" });
    let path = anna.path(&format!("/streams/{stream}"));
    let view = conference.app.api.patch(&path, &conference.app.key, request).await.expect("by the app");
    assert_eq!(view["aoff"], 0);
    gateway.stop().await;
}

#[tokio::test]
async fn video_without_a_place_is_held_back_until_there_is_one() {
    let gateway = Gateway::start().await;
    let conference = one_place(&gateway).await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let (taken, _) = declare(&anna, "RTC1", 0).await;
    let (stream, url) = declare(&boris, "RTC1", 1).await;
    let play = anna.subscribe(&stream).await.expect("subStream").url;
    let viewer = Peer::ask_to_play(&play.in_name()).await.watch();
    let (mut own, mut other) = (EventSocket::of(&boris).await, EventSocket::of(&anna).await);
    let _camera = push(&url, flv::clip()).await;

    let told = own.find("videos_full", is_media("mediaChanged", &stream)).await;
    assert_eq!((offs(&told), &told["refused"]), ((1, 0), &json!("videos_full")));
    let heard =
        viewer.until("sound", |notes| notes.tags.iter().filter(|tag| tag.is_sound()).count() >= 10).await;
    assert!(heard.tags.iter().all(|tag| tag.kind != Kind::Video), "no video before it has a place");
    change(&boris, &stream, json!({ "voff": 0 })).await.refused().assert_is(409, "videos_full", -524);

    change(&anna, &taken, json!({ "voff": 1 })).await.expect("off");
    let frames = other.until("voff 0", |frame| is_media("mediaChanged", &stream)(frame)).await;
    assert!(frames.iter().all(|frame| frame.get("refused").is_none()), "told to its owner alone");
    assert_eq!(offs(frames.last().expect("one")), (0, 0));
    let seen = viewer.more_pictures(5).await;
    let video: Vec<_> = seen.tags.iter().filter(|tag| tag.kind == Kind::Video).collect();
    assert!(video[0].is_sequence_header() && video[1].is_keyframe());
    gateway.stop().await;
}

#[tokio::test]
async fn video_that_appears_takes_a_free_place() {
    let gateway = Gateway::start().await;
    let conference = one_place(&gateway).await;
    let anna = conference.member("anna", 3).await;
    let mut feed = EventSocket::of(&anna).await;
    let (stream, url) = declare(&anna, "RTC1", 1).await;
    let _camera = push(&url, flv::clip()).await;
    let granted = |frame: &Value| is_media("mediaChanged", &stream)(frame) && offs(frame) == (0, 0);
    feed.find("voff 0", granted).await;
    let play = anna.subscribe(&stream).await.expect("subStream").url;
    Peer::play(&play).await.expect("play").watch().more_pictures(5).await;
    let full = anna.publish("RTC2").await;
    full.refused().assert_is(409, "videos_full", -524);
    gateway.stop().await;
}

/// The next warning that a publisher is given.
async fn warned(peer: &mut Peer) -> Status {
    within(EVENT, "a warning", async {
        loop {
            match peer.next().await {
                Seen::Status(status) if status.level == "warning" => return status,
                Seen::Closed => panic!("closed without a warning"),
                _ => {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_publisher_is_warned_on_its_own_connection_when_no_place_is_free() {
    let gateway = Gateway::start().await;
    let conference = one_place(&gateway).await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let (taken, _) = declare(&anna, "RTC1", 0).await;
    let (stream, url) = declare(&boris, "RTC1", 1).await;
    // It also hears so who comes again while its pictures wait.
    for _ in 0..2 {
        let mut peer = Peer::publish(&url).await.expect("publish");
        for tag in flv::clip().iter().take(30) {
            peer.send(tag, tag.timestamp_ms).await.expect("sent");
        }
        let warning = warned(&mut peer).await;
        assert_eq!(warning.code, "NetStream.Publish.Warning");
        assert!(warning.description.starts_with("videos_full"), "{warning:?}");
    }
    let peer = Peer::publish(&url).await.expect("it stays welcome").feed(flv::clip());
    let mut feed = EventSocket::of(&boris).await;
    anna.unpublish(&taken).await.expect("deleted");
    let shown = |frame: &Value| is_media("mediaChanged", &stream)(frame) && frame["stream"]["voff"] == 0;
    feed.find("the picture has a place", shown).await;
    assert!(peer.is_open());
    gateway.stop().await;
}
