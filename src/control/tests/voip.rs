//! VoIP rooms: signatures, sessions and joins.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::domain::voip::{Signed, SignedAt};

const KEY: &str = "gDyVgzwa0mFz9uUP7M6GQQ==";

/// A user of app1 with a session key, and signatures as its mini program would make them.
struct Phone<'a> {
    gateway: &'a Gateway,
    openid: &'a str,
}

impl Phone<'_> {
    fn body(&self, group: &str, room_type: &str) -> Value {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let nonce = format!("nonce-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let at = SignedAt::at(clock::now());
        let signed = Signed { app_id: "app1", group_id: group, nonce: &nonce, at };
        json!({ "signature": signed.signature(KEY), "nonceStr": nonce, "timeStamp": at, "roomType": room_type })
    }

    async fn send(&self, group: &str, body: Value) -> Answered {
        let path = format!("/v1/voip/rooms/{group}/members");
        self.gateway.post(&path, &user_token(self.openid, false), body).await
    }

    async fn join(&self, group: &str, room_type: &str) -> Answered {
        self.send(group, self.body(group, room_type)).await
    }
}

async fn phone<'a>(gateway: &'a Gateway, openid: &'a str) -> Phone<'a> {
    let path = format!("/v1/voip/sessions/{openid}");
    gateway.call("PUT", &path, Some(APP_KEY), json!({ "sessionKey": KEY })).await.ok(204);
    Phone { gateway, openid }
}

#[tokio::test]
async fn signatures_are_those_of_the_documentation() {
    let gateway = gateway().await;
    let mut request = json!({
        "appId": "wx20afc706a711eefc", "groupId": "1559129713_672975982", "nonceStr": "8AP6DT9ybtniUJfb",
        "timeStamp": "1559129714", "sessionKey": KEY,
    });
    let signature = "b002b824688dd8593a6079e11d8c5e8734fbcb39a6d5906eb347bfbcad79c617";
    let expected = json!({
        "groupId": "1559129713_672975982", "nonceStr": "8AP6DT9ybtniUJfb", "timeStamp": 1_559_129_714, "signature": signature,
    });
    assert_eq!(gateway.post("/v1/voip/signatures", APP_KEY, request.clone()).await.ok(200), expected);
    request["timeStamp"] = json!(1_559_129_714);
    assert_eq!(gateway.post("/v1/voip/signatures", APP_KEY, request.clone()).await.ok(200), expected);

    let short = json!({ "appId": "wx1", "groupId": "g", "sessionKey": KEY });
    let before = clock::now().as_secs();
    let made = gateway.post("/v1/voip/signatures", APP_KEY, short.clone()).await.ok(200);
    assert!((before..=clock::now().as_secs()).contains(&made["timeStamp"].as_u64().unwrap()));
    assert_eq!(text(&made, "/nonceStr").len(), 24);
    let again = gateway.post("/v1/voip/signatures", APP_KEY, short).await.ok(200);
    assert_ne!(again["nonceStr"], made["nonceStr"]);

    for (field, value, rule) in [
        ("nonceStr", json!("n".repeat(128)), "nonceStr: is 1 to 127 characters"),
        ("nonceStr", json!(""), "nonceStr: is 1 to 127 characters"),
        ("timeStamp", json!("soon"), "timeStamp: expected seconds since 1970"),
        ("timeStamp", json!("007"), "timeStamp: expected seconds since 1970"),
        ("timeStamp", json!(-1), "timeStamp: expected seconds since 1970"),
        ("timeStamp", json!(1.5), "timeStamp: expected seconds since 1970"),
        ("sessionKey", json!(""), "sessionKey: is 1 to 256 characters"),
        ("groupId", json!("a/b"), "groupId: "),
        ("surprise", json!(1), "surprise: no such field"),
    ] {
        let mut wrong = request.clone();
        wrong[field] = value;
        let detail =
            gateway.post("/v1/voip/signatures", APP_KEY, wrong).await.refused(422, "invalid_request");
        assert!(detail.starts_with(rule), "{detail}");
    }
    let user = user_token("anna", true);
    gateway.post("/v1/voip/signatures", &user, request.clone()).await.refused(401, "unauthenticated");
    gateway
        .call("PUT", "/v1/voip/sessions/anna", Some(&user), json!({ "sessionKey": KEY }))
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_good_signature_opens_a_room_once() {
    let gateway = gateway().await;
    let (anna, boris) = (phone(&gateway, "anna").await, phone(&gateway, "boris").await);
    let mut body = anna.body("group-1", "video");
    body["muteConfig"] = json!({ "muteMicrophone": true });
    let made = anna.send("group-1", body.clone()).await.ok(201);
    assert_eq!((&made["isCreator"], &made["member"]["name"]), (&json!(true), &json!("anna")));
    assert_eq!(made["member"]["ext"], json!({ "muteConfig": { "muteMicrophone": true } }));
    assert_eq!((&made["confr"]["groupId"], &made["confr"]["roomType"]), (&json!("group-1"), &json!("video")));
    assert_eq!(made["confr"]["limits"]["maxTalkerCount"], 10);
    let detail = anna.send("group-1", body).await.refused(401, "unauthenticated");
    assert!(detail.starts_with("nonceStr: "), "{detail}");

    let joined = boris.join("group-1", "voice").await.ok(201);
    assert_eq!((&joined["isCreator"], &joined["confr"]["roomType"]), (&json!(false), &json!("video")));
    assert_eq!(joined["confr"]["confrId"], made["confr"]["confrId"]);
    let conference = format!("/v1/conferences/{}", text(&made, "/confr/confrId"));
    let token = text(&made, "/roleToken");
    let muted = json!({ "ext": { "muteConfig": { "muteMicrophone": false } } });
    let changed = gateway.patch(&format!("{conference}/members/me"), &token, muted.clone()).await.ok(200);
    assert_eq!(changed["member"]["ext"], muted["ext"]);
    let more = json!({ "limits": { "maxTalkerCount": 11 } });
    gateway.patch(&conference, &token, more).await.refused(403, "not_allowed");
}

#[tokio::test]
async fn what_proves_nothing_opens_nothing() {
    let gateway = gateway().await;
    let anna = phone(&gateway, "anna").await;
    let stranger = Phone { gateway: &gateway, openid: "stranger" };
    stranger.join("g", "voice").await.refused(401, "unauthenticated");
    let good = anna.body("g", "voice");
    let other_group = anna.send("h", good.clone()).await;
    other_group.refused(401, "unauthenticated");
    let late = SignedAt::from_number(clock::now().as_secs() - 301).unwrap();
    let signed = Signed { app_id: "app1", group_id: "g", nonce: "late", at: late };
    let late = json!({ "signature": signed.signature(KEY), "nonceStr": "late", "timeStamp": late, "roomType": "voice" });
    let detail = anna.send("g", late).await.refused(401, "unauthenticated");
    assert!(detail.starts_with("timeStamp: "), "{detail}");
    for (field, value) in [("signature", json!("00".repeat(32))), ("nonceStr", json!("another"))] {
        let mut wrong = good.clone();
        wrong[field] = value;
        anna.send("g", wrong).await.refused(401, "unauthenticated");
    }
    for (field, value) in
        [("roomType", json!("both")), ("muteConfig", json!({ "mute": true })), ("x", json!(1))]
    {
        let mut wrong = good.clone();
        wrong[field] = value;
        anna.send("g", wrong).await.refused(422, "invalid_request");
    }
    gateway.post("/v1/voip/rooms/g/members", APP_KEY, good.clone()).await.refused(401, "unauthenticated");
    anna.send("a%2Fb", good.clone()).await.refused(422, "invalid_request");
    // Nothing of all that used the nonce up.
    anna.send("g", good).await.ok(201);

    let other_key = json!({ "sessionKey": "another key", "appId": "wx1" });
    gateway.call("PUT", "/v1/voip/sessions/anna", Some(APP_KEY), other_key).await.ok(204);
    anna.join("g", "voice").await.refused(401, "unauthenticated");
    let at = SignedAt::at(clock::now());
    let signed = Signed { app_id: "wx1", group_id: "g", nonce: "new", at };
    let signature = signed.signature("another key");
    let body = json!({ "signature": signature, "nonceStr": "new", "timeStamp": at.to_string(), "roomType": "voice" });
    anna.send("g", body).await.ok(201);
}

#[tokio::test]
async fn ten_talk_without_pictures_and_the_room_is_gone_with_the_last() {
    let gateway = gateway().await;
    let names: Vec<_> = (0..11).map(|number| format!("user-{number}")).collect();
    let mut tokens = Vec::new();
    let mut room = Value::Null;
    for name in &names {
        let answer = phone(&gateway, name).await.join("g", "voice").await;
        if tokens.len() == 10 {
            answer.refused(409, "members_full");
        } else {
            room = answer.ok(201);
            tokens.push(text(&room, "/roleToken"));
        }
    }
    let conference = format!("/v1/conferences/{}", text(&room, "/confr/confrId"));
    let video = gateway.post(&format!("{conference}/streams"), &tokens[0], json!({ "rtcId": "cam" })).await;
    video.refused(409, "videos_full");
    let sound = json!({ "rtcId": "mic", "voff": 1 });
    gateway.post(&format!("{conference}/streams"), &tokens[0], sound).await.ok(201);
    // A place that a demotion frees is no place for an eleventh member.
    let listener = json!({ "memberNames": ["user-9"], "role": 1 });
    gateway.post(&format!("{conference}/roles"), APP_KEY, listener).await.ok(200);
    phone(&gateway, "user-10").await.join("g", "voice").await.refused(409, "members_full");

    for token in &tokens {
        assert_eq!(gateway.get(&conference, APP_KEY).await.status, 200);
        gateway.delete(&format!("{conference}/members/me"), token).await.ok(204);
    }
    gateway.get(&conference, APP_KEY).await.refused(410, "conference_closed");
    let again = phone(&gateway, "user-9").await.join("g", "video").await.ok(201);
    assert_eq!((&again["isCreator"], &again["confr"]["roomType"]), (&json!(true), &json!("video")));
    assert_ne!(again["confr"]["confrId"], room["confr"]["confrId"]);
}
