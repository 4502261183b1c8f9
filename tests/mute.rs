//! Mute: the publisher stays, nothing of what is muted reaches anybody, and what comes after can be decoded.

#![allow(clippy::expect_used, reason = "test code")]

mod support;

use serde_json::{Value, json};
use support::api::{Answer, Refused as _};
use support::flv::{Kind, Tag};
use support::peer::{Notes, Watch};
use support::{Conference, EventSocket, Gateway, Member, Peer, Pusher, Viewer, flv};

async fn mute(conference: &Conference, bearer: &str, request: Value) -> Answer {
    conference.app.api.post(&conference.path("/mute"), bearer, request).await
}

async fn watch(member: &Member, stream: &str) -> Watch {
    let url = member.subscribe(stream).await.expect("subStream").url;
    Peer::play(&url).await.expect("play").watch()
}

fn count(notes: &Notes, is_it: impl Fn(&Tag) -> bool) -> usize {
    notes.tags.iter().filter(|tag| is_it(tag)).count()
}

fn muted(audio: bool, video: bool) -> Value {
    json!({ "audio": audio, "video": video })
}

#[tokio::test]
async fn muted_media_stops_for_everyone_and_comes_back_decodable() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let stream = published.stream_id.as_str();
    let mut feed = EventSocket::of(&boris).await;
    let pusher = Pusher::start(&published.url);
    pusher.sending().await;
    feed.find("streamAdded", |frame| frame["type"] == "streamAdded").await;
    let viewer = watch(&boris, stream).await;
    let player = {
        let url = boris.subscribe(stream).await.expect("subStream").url;
        Viewer::rtmpdump(&url)
    };
    viewer.more_pictures(5).await;
    player.pictures(5).await;

    let key = conference.app.key.clone();
    let answer = mute(&conference, &key, json!({ "memberNames": ["anna", "nobody"], "audio": true })).await;
    assert_eq!(answer.expect("muted"), json!({ "muted": ["anna"] }));
    let told = feed.find("memberChanged", |frame| frame["type"] == "memberChanged").await;
    assert_eq!(told["member"]["muted"], muted(true, false));
    let told = feed.next().await;
    assert_eq!(
        (&told["type"], &told["stream"]["owner"]["muted"]),
        (&json!("mediaChanged"), &muted(true, false))
    );
    viewer.without(Kind::Audio).await;
    assert_eq!(conference.get().await.expect("it")["members"][0]["muted"], muted(true, false));

    mute(&conference, &conference.ticket, json!({ "memberNames": ["anna"], "audio": false, "video": true }))
        .await
        .expect("by the ADMIN ticket");
    let before = viewer.without(Kind::Video).await;
    let joiner = watch(&boris, stream).await;
    let joined = joiner.until("sound", |notes| count(notes, Tag::is_sound) >= 5).await;
    assert_eq!(count(&joined, |tag| tag.kind == Kind::Video), 0, "a joiner gets nothing of it either");

    assert_eq!(viewer.notes().pictures(), before.pictures(), "pictures of a muted member");
    mute(&conference, &key, json!({ "memberNames": ["anna"], "video": false })).await.expect("lifted");
    let seen = joiner.more_pictures(20).await;
    let video: Vec<_> = seen.tags.iter().filter(|tag| tag.kind == Kind::Video).collect();
    assert!(video[0].is_sequence_header() && video[1].is_keyframe(), "a header and a keyframe first");
    let seen = viewer.more_pictures(20).await;
    let at = before.tags.len();
    let again = seen.tags[at..].iter().find(|tag| tag.is_picture()).expect("pictures");
    assert!(again.is_keyframe());
    for kind in [Kind::Video, Kind::Audio] {
        let times: Vec<_> =
            seen.tags.iter().filter(|tag| tag.kind == kind).map(|tag| tag.timestamp_ms).collect();
        assert!(times.is_sorted(), "{kind:?} goes back in time");
    }
    let pictures = player.picture_count();
    player.pictures(pictures + 20).await;
    support::ffmpeg::assert_is_clip(&player.body()).await;
    drop(pusher);
    gateway.stop().await;
}

#[tokio::test]
async fn a_mute_outlives_a_restart_a_rejoin_and_the_members_own_wish() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let ticket = conference.ticket("anna", 3).await;
    let anna = conference.app.api.join(&conference.id, &ticket).await.expect("joins");
    let request = json!({ "memberNames": ["anna"], "audio": true, "video": true });
    mute(&conference, &conference.app.key.clone(), request).await.expect("muted");
    mute(&conference, &anna.token, json!({ "memberNames": ["anna"], "audio": false }))
        .await
        .refused()
        .assert_is(403, "not_allowed", -101);
    anna.exit().await.expect("leaves");

    let gateway = gateway.kill().await.start().await;
    let conference = conference.at(gateway.api.clone());
    let anna = conference.app.api.join(&conference.id, &ticket).await.expect("joins again");
    assert_eq!(conference.get().await.expect("it")["members"][0]["muted"], muted(true, true));
    let published = anna.publish("RTC1").await.expect("pubStream");

    // The gates of declared streams stand after a restart too.
    let gateway = gateway.kill().await.start().await;
    let (conference, anna) = (conference.at(gateway.api.clone()), anna.at(gateway.api.clone()));
    let boss = conference.member("boss", 7).await;
    let _media = Peer::publish(&published.url.at(gateway.rtmp)).await.expect("publish").feed(flv::clip());
    let url = boss.subscribe(&published.stream_id).await.expect("subStream").url.at(gateway.rtmp);
    let viewer = Peer::play(&url).await.expect("play").watch();
    mute(&conference, &boss.token, json!({ "memberNames": ["anna"], "audio": false })).await.expect("lifted");
    let heard = viewer.until("sound", |notes| count(notes, Tag::is_sound) >= 5).await;
    assert_eq!(count(&heard, |tag| tag.kind == Kind::Video), 0);
    drop(anna);
    gateway.stop().await;
}

#[tokio::test]
async fn a_mute_says_what_it_is_about() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let key = conference.app.key.clone();
    for request in [
        json!({ "memberNames": ["anna"] }),
        json!({ "memberNames": [], "audio": true }),
        json!({ "memberNames": ["anna"], "audio": 1 }),
        json!({ "audio": true }),
    ] {
        mute(&conference, &key, request).await.refused().assert_is(422, "invalid_request", -200);
    }
    let answer = mute(&conference, &key, json!({ "memberNames": ["late"], "video": true })).await;
    assert_eq!(answer.expect("for the absent"), json!({ "muted": [] }));
    gateway.stop().await;
}
