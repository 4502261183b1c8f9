//! A conference and its members are changed while they go on.

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use support::api::Refused as _;
use support::{Gateway, Peer, flv};

#[tokio::test]
async fn fewer_places_remove_nobody_and_refuse_newcomers() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let (app, api) = (conference.app.clone(), conference.app.api.clone());
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let url = boris.subscribe(&published.stream_id).await.expect("subStream").url;
    let viewer = Peer::play(&url).await.expect("play").watch();
    viewer.more_pictures(3).await;

    let fewer = json!({ "limits": { "maxTalkerCount": 1, "maxVideoCount": 1 } });
    let changed = api.patch(&conference.path(""), &app.key, fewer).await.expect("changed");
    assert_eq!(changed["limits"]["maxTalkerCount"], 1);
    assert_eq!(changed["limits"]["maxAudienceCount"], 600, "what is not named stays");
    assert_eq!(changed["members"].as_array().map(Vec::len), Some(2));
    let ticket = conference.ticket("clara", 3).await;
    api.join(&conference.id, &ticket).await.refused().assert_is(409, "talkers_full", -523);
    boris.publish("RTC1").await.refused().assert_is(409, "videos_full", -524);
    viewer.more_pictures(5).await;
    assert!(feed.is_open());
    // Who is inside may change phones.
    conference.member("boris", 3).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_new_password_stands_and_survives_a_crash() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let boss = conference.member("boss", 7).await;
    let eve = conference.app.user_token("eve", false);
    let api = conference.app.api.clone();
    let old = json!({ "password": conference.password });
    api.join_with(&conference.id, Some(&eve), old.clone()).await.expect("joins with the first password");
    let change = json!({ "password": "a-new-password", "memDefaultRole": 1 });
    api.secrets.learn("a-new-password");
    let changed = api.patch(&boss.path(""), &boss.token, change).await.expect("an ADMIN may");
    assert_eq!(changed.get("password"), None);
    let own = json!({ "nickName": "The boss", "ext": { "floor": 3 } });
    api.patch(&boss.path("/members/me"), &boss.token, own).await.expect("changed");
    let before = conference.get().await.expect("the conference");

    let gateway = gateway.kill().await.start().await;
    let (conference, boss) = (conference.at(gateway.api.clone()), boss.at(gateway.api.clone()));
    assert_eq!(conference.get().await.expect("the conference"), before);
    let named = boss.look().await.expect("the conference")["members"].clone();
    let named = named.as_array().and_then(|members| members.iter().find(|member| member["name"] == "boss"));
    assert_eq!(named.map(|member| &member["nickName"]), Some(&json!("The boss")));
    let api = &conference.app.api;
    let refused = api.join_with(&conference.id, Some(&eve), old).await.refused();
    refused.assert_is(403, "wrong_password", -508);
    let new = json!({ "password": "a-new-password" });
    let joined = api.join_with(&conference.id, Some(&eve), new).await.expect("the new password");
    assert_eq!(joined.role, 1);

    let cleared = json!({ "nickName": null });
    let answer = api.patch(&boss.path("/members/me"), &boss.token, cleared).await.expect("changed");
    assert_eq!(
        (&answer["member"]["nickName"], &answer["member"]["ext"]),
        (&Value::Null, &json!({ "floor": 3 }))
    );
    api.patch(&conference.path(""), &conference.ticket, json!({})).await.refused().assert_is(
        401,
        "unauthenticated",
        -100,
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_that_cannot_send_patch_says_so_on_a_post() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let api = &conference.app.api;
    let own = json!({ "nickName": "Anna from the phone" });
    let path = anna.path("/members/me");
    let send = |method: Method, meant: &'static str| {
        let (path, own, token) = (path.clone(), own.clone(), anna.token.clone());
        async move {
            let headers = [("x-http-method-override", meant)];
            api.call_with(method, &path, Some(&token), &headers, Some(own)).await
        }
    };
    let changed = send(Method::POST, "PATCH").await.expect("changed");
    assert_eq!(changed["member"]["nickName"], "Anna from the phone");
    send(Method::POST, "DELETE").await.refused().assert_is(405, "invalid_request", -200);
    send(Method::PUT, "PATCH").await.refused().assert_is(405, "invalid_request", -200);
    anna.heartbeat().await.expect("still inside");
    gateway.stop().await;
}
