//! Relays, as far as nothing has to be dialled.

use serde_json::{Value, json};

use super::{APP_KEY, OTHER_APP_KEY, gateway, text};

const FAR: &str = "rtmps://cdn.example/live/hidden-key?sign=hidden-sign";

fn push(stream: &str) -> Value {
    json!({ "direction": "push", "streamId": stream, "url": FAR })
}

#[tokio::test]
async fn a_relay_is_made_shown_without_keys_and_deleted() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    let stream = gateway.stream(&conference, &anna, "cam").await;
    let relays = format!("{conference}/relays");
    let made = gateway.post(&relays, APP_KEY, push(&stream)).await.ok(201);
    assert_eq!(made["state"], "waiting", "nobody publishes: {made}");
    assert_eq!(made["url"], "rtmps://cdn.example/live/…");
    assert_eq!((&made["lastError"], &made["nextAttemptAt"]), (&Value::Null, &Value::Null));
    assert_eq!((&made["direction"], &made["streamId"]), (&json!("push"), &json!(stream)));
    let one = format!("{relays}/{}", text(&made, "/id"));
    let listed = gateway.get(&relays, APP_KEY).await.ok(200);
    assert_eq!(listed["relays"][0], gateway.get(&one, APP_KEY).await.ok(200));
    for answer in [made, listed] {
        assert!(!answer.to_string().contains("hidden"), "{answer}");
    }
    gateway.get(&one, OTHER_APP_KEY).await.refused(404, "conference_not_found");
    gateway.delete(&one, OTHER_APP_KEY).await.refused(404, "conference_not_found");
    gateway.get(&relays, &anna).await.refused(401, "unauthenticated");
    assert_eq!(gateway.delete(&one, APP_KEY).await.status, 204);
    gateway.delete(&one, APP_KEY).await.refused(404, "not_found");
    gateway.get(&one, APP_KEY).await.refused(404, "not_found");
    gateway.get(&format!("{relays}/nothing"), APP_KEY).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_cannot_be_relayed_is_refused_by_name() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    gateway.member(&conference, "clara", 1).await;
    let stream = gateway.stream(&conference, &anna, "cam").await;
    let relays = format!("{conference}/relays");
    let with_url = |url: &str| json!({ "direction": "push", "streamId": stream, "url": url });
    for url in [
        "http://cdn.example/live/hidden",
        "rtmp://cdn.example/hidden",
        "rtmp://user:hidden@cdn.example/live/hidden",
        "rtmp://127.0.0.1/live/hidden",
        "rtmp://[::1]:1935/live/hidden",
        "rtmp://localhost/live/hidden",
        "rtmp://169.254.169.254/live/hidden",
        "rtmp://10.1.2.3/live/hidden",
    ] {
        let detail = gateway.post(&relays, APP_KEY, with_url(url)).await.refused(403, "url_invalid");
        assert!(detail.starts_with("url: ") && !detail.contains("hidden"), "{url}: {detail}");
    }
    let refused = async |body: Value, status, reason, field: &str| {
        let detail = gateway.post(&relays, APP_KEY, body).await.refused(status, reason);
        assert!(detail.contains(field), "{detail}");
    };
    refused(push("cam__Of_MS_nobody"), 404, "stream_not_found", "stream").await;
    refused(json!({ "direction": "push", "url": FAR }), 422, "invalid_request", "streamId").await;
    refused(json!({ "direction": "pull", "url": FAR }), 422, "invalid_request", "user").await;
    refused(json!({ "direction": "pull", "url": FAR, "user": "anna" }), 422, "invalid_request", "rtcId")
        .await;
    let both = json!({ "direction": "pull", "url": FAR, "user": "anna", "rtcId": "x", "streamId": stream });
    refused(both, 422, "invalid_request", "streamId").await;
    let other = json!({ "direction": "push", "url": FAR, "streamId": stream, "user": "anna" });
    refused(other, 422, "invalid_request", "user").await;
    let unknown = json!({ "direction": "push", "url": FAR, "streamId": stream, "key": "x" });
    refused(unknown, 422, "invalid_request", "key").await;
    let audience = json!({ "direction": "pull", "url": FAR, "user": "clara", "rtcId": "x" });
    refused(audience, 403, "not_allowed", "AUDIENCE").await;
    let stranger = json!({ "direction": "pull", "url": FAR, "user": "nobody", "rtcId": "x" });
    refused(stranger, 404, "not_found", "nobody").await;
    assert_eq!(gateway.get(&relays, APP_KEY).await.ok(200)["relays"], json!([]));
}

#[tokio::test]
async fn a_request_that_is_sent_again_makes_one_relay_and_there_are_limits() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    let stream = gateway.stream(&conference, &anna, "cam").await;
    let relays = format!("{conference}/relays");
    let first = gateway.keyed(&relays, APP_KEY, "key-1", push(&stream)).await.ok(201);
    let again = gateway.keyed(&relays, APP_KEY, "key-1", push(&stream)).await.ok(201);
    assert_eq!(first["id"], again["id"]);
    let other = json!({ "direction": "push", "streamId": stream, "url": "rtmp://cdn.example/live/other" });
    gateway.keyed(&relays, APP_KEY, "key-1", other).await.refused(422, "invalid_request");
    let second = gateway.keyed(&relays, APP_KEY, "key-2", push(&stream)).await.ok(201);
    assert_ne!(first["id"], second["id"]);
    let detail = gateway.post(&relays, APP_KEY, push(&stream)).await.refused(422, "invalid_request");
    assert!(detail.contains("at most 2 relays"), "{detail}");

    let elsewhere = gateway.conference(json!({})).await;
    let boris = gateway.member(&elsewhere, "boris", 3).await;
    let stream = gateway.stream(&elsewhere, &boris, "cam").await;
    let relays = format!("{elsewhere}/relays");
    gateway.post(&relays, APP_KEY, push(&stream)).await.ok(201);
    gateway.post(&relays, APP_KEY, push(&stream)).await.refused(503, "overloaded");
}

#[tokio::test]
async fn a_relay_is_gone_with_its_stream_and_with_its_conference() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    let relays = format!("{conference}/relays");
    let count = async || {
        let listed = gateway.get(&relays, APP_KEY).await;
        listed.body["relays"].as_array().map(Vec::len)
    };
    let stream = gateway.stream(&conference, &anna, "cam").await;
    gateway.post(&relays, APP_KEY, push(&stream)).await.ok(201);
    assert_eq!(count().await, Some(1));
    assert_eq!(gateway.delete(&format!("{conference}/streams/{stream}"), &anna).await.status, 204);
    while count().await != Some(0) {
        tokio::task::yield_now().await;
    }
    let stream = gateway.stream(&conference, &anna, "cam").await;
    gateway.post(&relays, APP_KEY, push(&stream)).await.ok(201);
    gateway.post(&format!("{conference}/kick"), APP_KEY, json!({ "memberNames": ["anna"] })).await.ok(200);
    while count().await != Some(0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.delete(&conference, APP_KEY).await.status, 204);
    gateway.get(&relays, APP_KEY).await.refused(410, "conference_closed");
    gateway.post(&relays, APP_KEY, push(&stream)).await.refused(410, "conference_closed");
}
