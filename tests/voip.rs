//! VoIP rooms from outside: what WeChat's own rooms promise, and what a signature is worth.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use support::api::{Answer, Refused as _, text};
use support::{App, Gateway, token};

const KEY: &str = "gDyVgzwa0mFz9uUP7M6GQQ==";

/// The backend hands in the session key of this user's login.
async fn login(app: &App, openid: &str, session_key: &str) -> Answer {
    let path = format!("/v1/voip/sessions/{openid}");
    let body = json!({ "sessionKey": session_key });
    app.api.call(Method::PUT, &path, Some(&app.key), Some(body)).await
}

/// What `joinVoIPChat` is given, signed by the gateway for the backend.
async fn signed(app: &App, group: &str, changes: Value) -> Value {
    let mut request = json!({ "appId": app.id, "groupId": group, "sessionKey": KEY });
    request.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    app.api.post("/v1/voip/signatures", &app.key, request).await.expect("a signature")
}

fn join_body(signed: &Value, room_type: &str) -> Value {
    json!({
        "signature": signed["signature"], "nonceStr": signed["nonceStr"], "timeStamp": signed["timeStamp"],
        "roomType": room_type,
    })
}

async fn send(app: &App, group: &str, openid: &str, body: Value) -> Answer {
    let path = format!("/v1/voip/rooms/{group}/members");
    app.api.post(&path, &app.user_token(openid, false), body).await
}

async fn join(app: &App, group: &str, openid: &str, room_type: &str) -> Answer {
    let signed = signed(app, group, json!({})).await;
    send(app, group, openid, join_body(&signed, room_type)).await
}

#[tokio::test]
async fn a_signature_is_the_one_of_the_documentation() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    for time in [json!(1_559_129_714), json!("1559129714")] {
        let request = json!({
            "appId": "wx20afc706a711eefc", "groupId": "1559129713_672975982", "nonceStr": "8AP6DT9ybtniUJfb",
            "timeStamp": time, "sessionKey": KEY,
        });
        let answer = app.api.post("/v1/voip/signatures", &app.key, request).await.expect("signs");
        let expected = json!({
            "groupId": "1559129713_672975982", "nonceStr": "8AP6DT9ybtniUJfb", "timeStamp": 1_559_129_714,
            "signature": "b002b824688dd8593a6079e11d8c5e8734fbcb39a6d5906eb347bfbcad79c617",
        });
        assert_eq!(answer, expected);
    }
    let request = json!({ "appId": "wx", "groupId": "g", "nonceStr": "n".repeat(128), "sessionKey": KEY });
    let refused = app.api.post("/v1/voip/signatures", &app.key, request).await.refused();
    refused.assert_is(422, "invalid_request", -200);
    let user = app.user_token("anna", true);
    let refused = app.api.post("/v1/voip/signatures", &user, json!({})).await.refused();
    refused.assert_is(401, "unauthenticated", -100);
    gateway.stop().await;
}

#[tokio::test]
async fn a_signature_opens_once_even_over_a_kill_and_only_for_whom_it_was_made() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    app.api.secrets.learn(KEY);
    join(&app, "g", "anna", "voice").await.refused().assert_is(401, "unauthenticated", -100);
    for openid in ["anna", "boris"] {
        login(&app, openid, KEY).await.expect("kept");
    }
    let good = join_body(&signed(&app, "g", json!({})).await, "video");
    let made = send(&app, "g", "anna", good.clone()).await.expect("opens");
    assert_eq!((&made["isCreator"], text(&made, "/confr/groupId")), (&json!(true), "g".to_owned()));
    for openid in ["anna", "boris"] {
        send(&app, "g", openid, good.clone()).await.refused().assert_is(401, "unauthenticated", -100);
    }
    let unused = join_body(&signed(&app, "g", json!({})).await, "video");

    let gateway = gateway.kill().await.start().await;
    let app = app.at(gateway.api.clone());
    send(&app, "g", "anna", good).await.refused().assert_is(401, "unauthenticated", -100);
    let joined = send(&app, "g", "boris", unused).await.expect("the session key is still known");
    assert_eq!(
        (&joined["isCreator"], &joined["confr"]["confrId"]),
        (&json!(false), &made["confr"]["confrId"])
    );

    let late = signed(&app, "g", json!({ "timeStamp": token::now() - 310 })).await;
    let early = signed(&app, "g", json!({ "timeStamp": token::now() + 310 })).await;
    let elsewhere = signed(&app, "other", json!({})).await;
    for wrong in [late, early, elsewhere] {
        let refused = send(&app, "g", "anna", join_body(&wrong, "video")).await.refused();
        refused.assert_is(401, "unauthenticated", -100);
    }
    // The next login replaces the key.
    login(&app, "anna", "another session key").await.expect("kept");
    join(&app, "g", "anna", "video").await.refused().assert_is(401, "unauthenticated", -100);
    let own = signed(&app, "g", json!({ "sessionKey": "another session key" })).await;
    send(&app, "g", "anna", join_body(&own, "video")).await.expect("opens again");
    gateway.stop().await;
}

#[tokio::test]
async fn the_same_join_again_with_its_key_is_answered_again_even_over_a_kill() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    for openid in ["anna", "boris"] {
        login(&app, openid, KEY).await.expect("kept");
    }
    let body = join_body(&signed(&app, "g", json!({})).await, "voice");
    let keyed = async |app: &App, openid: &str, key: &str, body: &Value| {
        let (token, headers) = (app.user_token(openid, false), [("idempotency-key", key)]);
        let path = "/v1/voip/rooms/g/members";
        app.api.call_with(Method::POST, path, Some(&token), &headers, Some(body.clone())).await
    };
    let first = keyed(&app, "anna", "k", &body).await.expect("opens");
    let gateway = gateway.kill().await.start().await;
    let app = app.at(gateway.api.clone());
    let again = keyed(&app, "anna", "k", &body).await.expect("is answered again");
    assert_eq!((&again["member"], &again["isCreator"]), (&first["member"], &json!(true)));
    assert_eq!(again["confr"]["members"].as_array().map(Vec::len), Some(1));
    // The signature is worth nothing to any other request.
    keyed(&app, "anna", "l", &body).await.refused().assert_is(401, "unauthenticated", -100);
    keyed(&app, "boris", "k", &body).await.refused().assert_is(401, "unauthenticated", -100);
    send(&app, "g", "anna", body.clone()).await.refused().assert_is(401, "unauthenticated", -100);
    let fresh = join_body(&signed(&app, "g", json!({})).await, "voice");
    keyed(&app, "anna", "k", &fresh).await.refused().assert_is(422, "invalid_request", -200);
    let fresh = join_body(&signed(&app, "g", json!({})).await, "voice");
    keyed(&app, "boris", "k", &fresh).await.expect("another caller's key is another");
    gateway.stop().await;
}

#[tokio::test]
async fn ten_find_a_place_and_the_group_gets_a_new_room_after_the_last() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let mut members = Vec::new();
    for number in 0..11 {
        let openid = format!("openid-{number}");
        login(&app, &openid, KEY).await.expect("kept");
        let answer = join(&app, "group-7", &openid, "voice").await;
        if number == 10 {
            answer.refused().assert_is(409, "members_full", -522);
        } else {
            members.push(answer.expect("joins"));
        }
    }
    let conference = format!("/v1/conferences/{}", text(&members[0], "/confr/confrId"));
    let token = text(&members[0], "/roleToken");
    let streams = format!("{conference}/streams");
    let video = app.api.post(&streams, &token, json!({ "rtcId": "cam" })).await;
    video.refused().assert_is(409, "videos_full", -524);
    app.api.post(&streams, &token, json!({ "rtcId": "mic", "voff": 1 })).await.expect("sound");
    let muted = json!({ "ext": { "muteConfig": { "muteMicrophone": true } } });
    let own = format!("{conference}/members/me");
    let changed = app.api.patch(&own, &token, muted.clone()).await.expect("changes");
    assert_eq!(changed["member"]["ext"], muted["ext"]);

    for member in &members {
        app.api.delete(&own, &text(member, "/roleToken")).await.expect("leaves");
    }
    let gone = app.api.get(&conference, &app.key).await.refused();
    gone.assert_is(410, "conference_closed", -302);
    let again = join(&app, "group-7", "openid-3", "video").await.expect("a new room");
    assert_eq!((&again["isCreator"], text(&again, "/confr/roomType")), (&json!(true), "video".to_owned()));
    assert_ne!(again["confr"]["confrId"], members[0]["confr"]["confrId"]);
    gateway.stop().await;
}
