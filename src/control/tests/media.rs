//! pubStream, subStream, and taking a stream back.

use super::*;
use crate::domain::Direction;
use crate::domain::media_url::{MediaGrant, Profile};

/// What the token of a URL grants, as the media plane will read it.
fn grant(gateway: &Gateway, url: &str, direction: Direction) -> MediaGrant {
    let (path, token) = url.split_once("?t=").expect("a token");
    let name = path.rsplit('/').next().unwrap();
    let name = name.strip_suffix(".flv").unwrap_or(name);
    gateway.keys.media.verify(name, token, direction, clock::now()).expect("a good token")
}

#[tokio::test]
async fn a_published_stream_has_a_url_that_publishes_it() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    let path = format!("{conference}/streams");
    let request = json!({ "rtcId": "RTC1", "type": 1, "voff": 0, "aoff": 1 });
    let answer = gateway.post(&path, &anna, request).await.ok(201);
    let stream = &answer["stream"];
    let id = text(stream, "/id");
    assert_eq!(id, format!("RTC1__Of_{}", text(stream, "/memId")));
    assert_eq!((&stream["type"], &stream["aoff"], &stream["live"]), (&json!(1), &json!(1), &json!(false)));
    assert_eq!(stream["owner"]["name"], "anna");
    let rtmp = text(&answer, "/data/rtmp");
    assert!(rtmp.starts_with(&format!("rtmp://gw.example:40001/live/{id}?t=")), "{rtmp}");
    let (server, key) = (text(&answer, "/data/rtmpServer"), text(&answer, "/data/rtmpKey"));
    assert_eq!(format!("{server}/{key}"), rtmp);
    let first = grant(&gateway, &rtmp, Direction::Publish);
    assert_eq!(first.right.member.as_str(), text(stream, "/memId"));
    assert_eq!(text(&answer, "/expiresAt"), crate::events::views::rfc3339(first.expires_at));

    // The same again: the same stream, a fresh URL to the same right.
    let again = gateway.post(&path, &anna, json!({ "rtcId": "RTC1" })).await.ok(201);
    assert_eq!(again["stream"], answer["stream"]);
    assert_ne!(text(&again, "/data/rtmp"), rtmp);
    assert_eq!(grant(&gateway, &text(&again, "/data/rtmp"), Direction::Publish).right, first.right);

    // Deleted and declared again, it is another right.
    assert_eq!(gateway.delete(&format!("{path}/{id}"), &anna).await.ok(204), Value::Null);
    let anew = gateway.post(&path, &anna, json!({ "rtcId": "RTC1" })).await.ok(201);
    let anew = grant(&gateway, &text(&anew, "/data/rtmp"), Direction::Publish).right;
    assert_eq!((&anew.stream, &anew.member), (&first.right.stream, &first.right.member));
    assert!(anew.declared > first.right.declared);
}

#[tokio::test]
async fn a_declared_stream_can_be_subscribed_to_by_every_member() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    let listener = gateway.member(&conference, "listener", 1).await;
    let id = gateway.stream(&conference, &anna, "RTC1").await;
    let path = format!("{conference}/streams/{id}/subscriptions");
    for (member, request, profile) in [
        (&listener, Value::Null, Profile::Rtc),
        (&listener, json!({ "profile": "live" }), Profile::Live),
        (&anna, json!({ "profile": "rtc" }), Profile::Rtc),
    ] {
        let before = gateway.get(&conference, APP_KEY).await.ok(200)["seq"].clone();
        let answer = gateway.post(&path, member, request).await.ok(201);
        assert_eq!(answer["stream"]["id"], id.as_str());
        let play = |kind: &str| grant(&gateway, &text(&answer, kind), Direction::Play);
        assert_eq!(play("/data/rtmp").profile, profile);
        assert_eq!(play("/data/flv"), play("/data/rtmp"));
        assert_eq!(play("/data/wsFlv"), play("/data/rtmp"));
        assert!(text(&answer, "/data/flv").starts_with("http://gw.example:8080/live/"));
        assert!(text(&answer, "/data/wsFlv").starts_with("ws://gw.example:8080/live/"));
        assert_eq!(gateway.get(&conference, APP_KEY).await.ok(200)["seq"], before, "nothing is logged");
    }
    gateway.post(&path, &anna, json!({ "profile": "hd" })).await.refused(422, "invalid_request");
    for unknown in ["RTC9__Of_MS_unknown", "x", "%00"] {
        let path = format!("{conference}/streams/{unknown}/subscriptions");
        gateway.post(&path, &anna, json!({})).await.refused(404, "stream_not_found");
    }
}

#[tokio::test]
async fn the_app_key_acts_for_the_member_that_it_names() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    gateway.member(&conference, "boris", 1).await;
    let path = format!("{conference}/streams");
    let in_body = gateway.post(&path, APP_KEY, json!({ "rtcId": "RTC1", "user": "anna" })).await.ok(201);
    let query = format!("{path}?user=anna");
    let in_query = gateway.post(&query, APP_KEY, json!({ "rtcId": "RTC1" })).await.ok(201);
    assert_eq!(in_body["stream"], in_query["stream"]);
    let both = gateway.post(&query, APP_KEY, json!({ "rtcId": "RTC1", "user": "boris" })).await;
    both.refused(422, "invalid_request");
    let nobody = gateway.post(&path, APP_KEY, json!({ "rtcId": "RTC1" })).await;
    assert!(nobody.refused(422, "invalid_request").starts_with("user: "));
    let stranger = gateway.post(&path, APP_KEY, json!({ "rtcId": "RTC1", "user": "eve" })).await;
    stranger.refused(404, "not_found");
    let audience = gateway.post(&path, APP_KEY, json!({ "rtcId": "RTC1", "user": "boris" })).await;
    audience.refused(403, "not_allowed");
    let member = gateway.post(&path, &anna, json!({ "rtcId": "RTC1", "user": "anna" })).await;
    member.refused(422, "invalid_request");

    let id = text(&in_body, "/stream/id");
    let play = format!("{path}/{id}/subscriptions");
    let answer = gateway.post(&play, APP_KEY, json!({ "user": "boris" })).await.ok(201);
    let granted = grant(&gateway, &text(&answer, "/data/rtmp"), Direction::Play);
    assert_ne!(granted.right.member.as_str(), text(&in_body, "/stream/memId"));
}

#[tokio::test]
async fn streams_are_deleted_by_those_who_may() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    let boris = gateway.member(&conference, "boris", 3).await;
    let id = gateway.stream(&conference, &anna, "RTC1").await;
    let path = format!("{conference}/streams/{id}");
    gateway.delete(&path, &boris).await.refused(403, "not_allowed");
    gateway.delete(&format!("{path}?user=boris"), APP_KEY).await.refused(403, "not_allowed");
    gateway.delete(&format!("{path}?user=anna"), APP_KEY).await.ok(204);
    for bearer in [APP_KEY, &anna, &boris] {
        gateway.delete(&path, bearer).await.refused(404, "stream_not_found");
    }
    let kick = json!({ "memberNames": ["boris"] });
    gateway.post(&format!("{conference}/kick"), APP_KEY, kick).await.ok(200);
    gateway.delete(&path, &boris).await.refused(410, "member_gone");
}

#[tokio::test]
async fn the_role_is_read_live() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    let path = format!("{conference}/streams");
    let id = gateway.stream(&conference, &anna, "RTC1").await;
    let roles = async |role: u8| {
        let request = json!({ "memberNames": ["anna"], "role": role });
        gateway.post(&format!("{conference}/roles"), APP_KEY, request).await.ok(200);
    };
    roles(1).await;
    gateway.post(&path, &anna, json!({ "rtcId": "RTC1" })).await.refused(403, "not_allowed");
    let play = format!("{path}/{id}/subscriptions");
    gateway.post(&play, &anna, json!({})).await.refused(404, "stream_not_found");
    roles(3).await;
    gateway.post(&path, &anna, json!({ "rtcId": "RTC1" })).await.ok(201);
}

#[tokio::test]
async fn a_host_that_cannot_stand_in_a_url_is_refused() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    let request = Request::post(format!("{conference}/streams"))
        .header("host", "evil.example/?x=")
        .header("authorization", format!("Bearer {anna}"))
        .body(Body::from(json!({ "rtcId": "RTC1" }).to_string()))
        .unwrap();
    gateway.send(request).await.refused(400, "invalid_request");
}
