//! The job itself: a backend makes a conference, members join by ticket, one pushes, the others see and hear it.

mod support;

use serde_json::json;
use support::api::text;
use support::{Gateway, Pusher, Viewer, ffmpeg};

const TALKER: i64 = 3;
const AUDIENCE: i64 = 1;

#[tokio::test]
async fn two_strangers_see_and_hear_a_member_push() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let anna = conference.member("anna", TALKER).await;
    let boris = conference.member("boris", TALKER).await;
    let clara = conference.member("clara", AUDIENCE).await;
    assert_eq!((anna.role, clara.role), (TALKER, AUDIENCE));

    let published = anna.publish("RTC1").await.expect("pubStream");
    assert_eq!(published.stream_id, format!("RTC1__Of_{}", anna.id));
    assert_eq!(published.url.address, gateway.rtmp);
    assert_eq!(published.url.app, "live");
    let pusher = Pusher::start(&published.url);
    pusher.sending().await;

    let by_ffmpeg = boris.subscribe(&published.stream_id).await.expect("subStream");
    let by_librtmp = clara.subscribe(&published.stream_id).await.expect("subStream");
    let (by_ffmpeg, by_librtmp) = (Viewer::ffmpeg(&by_ffmpeg.url), Viewer::rtmpdump(&by_librtmp.url));
    // More than one GOP, so that the burst at the start and the live edge are both in it.
    by_ffmpeg.pictures(40).await;
    by_librtmp.pictures(40).await;
    ffmpeg::assert_is_clip(&by_ffmpeg.body()).await;
    ffmpeg::assert_is_clip(&by_librtmp.body()).await;

    let seen = conference.get().await.expect("the conference");
    let stream = &seen["streams"][0];
    assert_eq!(stream["id"], published.stream_id.as_str());
    assert_eq!(stream["live"], true, "{stream}");
    assert_eq!(stream["memId"], anna.id.as_str());
    drop((by_ffmpeg, by_librtmp, pusher));
    gateway.stop().await;
}

#[tokio::test]
async fn obs_fields_push_as_well_as_the_url() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", TALKER).await;
    let published = anna.publish("cam").await.expect("pubStream");
    assert_eq!(format!("{}/{}", published.server, published.key), published.url.text());
    gateway.stop().await;
}

#[tokio::test]
async fn the_conference_says_what_was_asked_and_what_is_default() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let communication =
        app.create(json!({ "confrType": 10, "metadata": { "class": "5b" } })).await.expect("created");
    let live = app.create(json!({ "confrType": 12, "user": "teacher" })).await.expect("created");

    let seen = communication.get().await.expect("the conference");
    assert_eq!(seen["type"], 10);
    assert_eq!(seen["memDefaultRole"], TALKER);
    assert_eq!(seen["metadata"], json!({ "class": "5b" }));
    assert_eq!(seen["limits"]["maxTalkerCount"], 9);
    assert!(seen.get("password").is_none_or(serde_json::Value::is_null), "the password is told once only");
    assert_eq!(live.get().await.expect("the conference")["memDefaultRole"], AUDIENCE);

    let teacher = app.api.join(&live.id, &live.ticket).await.expect("the creator joins");
    assert_eq!((teacher.name.as_str(), teacher.role), ("teacher", 7));
    gateway.stop().await;
}

#[tokio::test]
async fn a_password_admits_to_the_default_role() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let live = app.create(json!({ "confrType": 12, "password": "open sesame" })).await.expect("created");
    let user_token = app.user_token("dora", false);
    let dora = app.api.join_with(&live.id, Some(&user_token), json!({ "password": "open sesame" })).await;
    let dora = dora.expect("a join by password");
    assert_eq!((dora.name.as_str(), dora.role), ("dora", AUDIENCE));

    let asked = app
        .api
        .post(&live.path("/tickets"), &user_token, json!({ "password": "open sesame", "role": 7 }))
        .await;
    let lowered = asked.expect("a ticket for the password");
    assert_eq!(lowered["role"], AUDIENCE, "more than the default role is lowered");
    assert!(!text(&lowered, "/ticket").is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn a_user_who_joins_again_replaces_the_earlier_self() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let ticket = conference.ticket("anna", TALKER).await;
    let phone = conference.app.api.join(&conference.id, &ticket).await.expect("joins");
    let tablet = conference.app.api.join(&conference.id, &ticket).await.expect("joins with the same ticket");
    assert_ne!(phone.id, tablet.id);
    let gone = phone.heartbeat().await.expect_err("the earlier self is gone");
    gone.assert_is(410, "member_gone", -504);
    tablet.heartbeat().await.expect("the newer self is there");
    assert_eq!(conference.get().await.expect("it")["members"].as_array().map(Vec::len), Some(1));
    gateway.stop().await;
}
