//! A request that is sent again with its `Idempotency-Key` takes effect once, also across a kill -9.

#![allow(clippy::expect_used, reason = "test code")]

mod support;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use support::Gateway;
use support::api::{Answer, Api, Refused as _, text};

async fn keyed(api: &Api, path: &str, bearer: &str, key: &str, body: Value) -> Answer {
    api.call_with(Method::POST, path, Some(bearer), &[("idempotency-key", key)], Some(body)).await
}

#[tokio::test]
async fn a_retry_after_a_crash_is_answered_with_what_was_done_before() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let created = keyed(&app.api, "/v1/conferences", &app.key, "create-1", json!({})).await.expect("created");
    let path = format!("/v1/conferences/{}", text(&created, "/confrId"));
    let join = json!({ "user": "anna", "nickName": "A" });
    let members = format!("{path}/members");
    let joins = (0..20).map(|_| keyed(&app.api, &members, &app.key, "join-1", join.clone()));
    let joins = join_all(joins).await;
    let first = joins[0].clone().expect("joined");
    for answer in joins {
        assert_eq!(answer.expect("joined")["member"]["id"], first["member"]["id"]);
    }
    let token = text(&first, "/roleToken");
    let streams = format!("{path}/streams");
    let rtc = json!({ "rtcId": "RTC1" });
    let stream = keyed(&app.api, &streams, &token, "pub-1", rtc.clone()).await.expect("pubStream");

    let gateway = gateway.kill().await.start().await;
    let app = app.at(gateway.api.clone());
    let again = keyed(&app.api, "/v1/conferences", &app.key, "create-1", json!({})).await.expect("answered");
    assert_eq!((&again["confrId"], &again["password"]), (&created["confrId"], &created["password"]));
    let rejoined = keyed(&app.api, &members, &app.key, "join-1", join).await.expect("answered");
    assert_eq!(rejoined["member"], first["member"]);
    let other = json!({ "user": "anna", "nickName": "B" });
    let refused = keyed(&app.api, &members, &app.key, "join-1", other).await.refused();
    refused.assert_is(422, "invalid_request", -200);
    let republished = keyed(&app.api, &streams, &token, "pub-1", rtc).await.expect("answered");
    assert_eq!(republished["stream"]["id"], stream["stream"]["id"]);
    let refused = keyed(&app.api, &streams, &token, "pub-1", json!({ "rtcId": "RTC2" })).await.refused();
    refused.assert_is(422, "invalid_request", -200);
    let conference = app.api.get(&path, &app.key).await.expect("the conference");
    assert_eq!(conference["members"].as_array().map(Vec::len), Some(1));
    gateway.stop().await;
}
