//! Webhooks against real receivers: order and pairing, signatures, failures of every kind, restarts, dead letters.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::api::{App, Refused as _, text};
use support::wait::until;
use support::{EVENT, Gateway, Hook, Peer, Receiver, Reply, Setup, flv};
use tokio::net::TcpListener;

/// Receivers of tests stand on loopback, and a test does not wait for a second's backoff.
fn setup() -> Setup {
    Setup::new()
        .env("TIDEGATE_OUTBOUND_ALLOW", "127.0.0.0/8")
        .env("TIDEGATE_WEBHOOK_RETRY_MIN_MS", 20)
        .env("TIDEGATE_WEBHOOK_RETRY_MAX_MS", 100)
        .env("TIDEGATE_PUBLISHER_GRACE_MS", 200)
}

async fn put(app: &App, targets: Value) -> Value {
    app.api.put("/v1/webhooks", &app.key, json!({ "targets": targets })).await.expect("the targets")
}

fn kinds(hooks: &[Hook]) -> Vec<&str> {
    hooks.iter().map(Hook::kind).collect()
}

fn seqs(hooks: &[Hook]) -> Vec<u64> {
    hooks.iter().map(|hook| hook.body["seq"].as_u64().expect("a seq")).collect()
}

/// The messages without what may come any number of times.
fn without_changes(mut hooks: Vec<Hook>) -> Vec<Hook> {
    hooks.retain(|hook| hook.kind() != "mediaChanged");
    hooks
}

#[tokio::test]
async fn a_conference_is_told_in_order_with_each_start_before_its_stop() {
    let gateway = setup().start().await;
    let app = gateway.app().await;
    let receiver = Receiver::start().await;
    let answer = put(&app, json!([{ "url": receiver.url("/hook") }])).await;
    let secret = text(&answer, "/targets/0/secret");
    assert!(secret.starts_with("whsec_"), "a secret is made where none is named");

    let conference = app.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    receiver.taken_until(&conference.id, "streamAdded").await;
    conference.kick(&["anna"]).await.expect("kick");
    feed.closed().await;
    conference.delete().await.expect("deleted");
    let told = receiver.taken_until(&conference.id, "conferenceExit").await;
    for hook in &told {
        assert_eq!(hook.path, "/hook");
        assert_eq!(hook.headers["content-type"], "application/json");
        let agent = hook.headers["user-agent"].to_str().expect("text");
        assert!(agent.starts_with("Tidegate/"), "{agent}");
        assert!(hook.is_signed_with(&secret), "{hook:?}");
        assert!(!hook.is_signed_with("whsec_another-secret-than-ours"));
        assert_eq!(hook.body["appId"], app.id.as_str());
        assert_eq!(hook.id(), format!("{}-{}", conference.id, hook.body["seq"]));
    }
    let ids: BTreeSet<_> = told.iter().map(Hook::id).collect();
    assert_eq!((ids.len(), receiver.hooks().len()), (told.len(), told.len()), "nothing is told twice");
    assert!(seqs(&told).is_sorted_by(|one, next| one < next), "{:?}", seqs(&told));

    // The payloads are those of the app's own feed.
    let path = conference.path("/events?after=0&limit=100");
    let page = app.api.get(&path, &app.key).await.expect("what an ended conference told");
    let mut events = page["events"].as_array().expect("events").clone();
    let mut bodies: Vec<_> = told.iter().skip(1).map(|hook| hook.body.clone()).collect();
    for event in events.iter_mut().chain(&mut bodies) {
        let fields = event.as_object_mut().expect("an object");
        for own in ["prev", "id", "appId"] {
            fields.remove(own);
        }
    }
    assert_eq!(events, bodies);
    let told = without_changes(told);
    let expected = [
        "conferenceStarted",
        "memberJoined",
        "streamAdded",
        "streamRemoved",
        "memberExited",
        "conferenceExit",
    ];
    assert_eq!(kinds(&told), expected);
    assert_eq!(told[0].body["conference"]["confrId"], conference.id.as_str());
    assert_eq!((&told[4].body["reason"], &told[5].body["reason"]), (&json!(12), &json!(11)));
    gateway.stop().await;
}

#[tokio::test]
async fn a_target_is_told_of_the_types_that_it_names() {
    let gateway = setup().start().await;
    let app = gateway.app().await;
    let (all, some) = (Receiver::start().await, Receiver::start().await);
    let targets = json!([
        { "url": all.url("/") },
        { "id": "some", "url": some.url("/"), "events": ["memberJoined", "conferenceExit"] },
        { "id": "off", "url": some.url("/off"), "enabled": false },
    ]);
    put(&app, targets).await;
    let conference = app.conference().await;
    conference.member("anna", 3).await.exit().await.expect("exit");
    conference.delete().await.expect("deleted");
    let told = all.taken_until(&conference.id, "conferenceExit").await;
    assert_eq!(kinds(&told), ["conferenceStarted", "memberJoined", "memberExited", "conferenceExit"]);
    let told = some.taken_until(&conference.id, "conferenceExit").await;
    assert_eq!(kinds(&told), ["memberJoined", "conferenceExit"]);
    assert!(told.iter().all(|hook| hook.path == "/"));

    let listed = app.api.get("/v1/webhooks", &app.key).await.expect("the targets");
    assert_eq!(listed["targets"][1]["events"], json!(["conferenceExit", "memberJoined"]));
    assert_eq!(
        (&listed["targets"][2]["enabled"], &listed["targets"][0]["events"]),
        (&json!(false), &Value::Null)
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_target_that_hangs_delays_neither_another_target_nor_the_api() {
    let gateway = setup().start().await;
    let app = gateway.app().await;
    let (hangs, works) = (Receiver::start().await, Receiver::start().await);
    hangs.answer(|_| Reply::Never);
    put(&app, json!([{ "url": hangs.url("/") }, { "url": works.url("/") }])).await;
    // More conferences than a target is told of at once.
    for number in 0..12 {
        let conference = app.conference().await;
        conference.member(&format!("member-{number}"), 3).await;
        conference.delete().await.expect("deleted");
        let told = works.taken_until(&conference.id, "conferenceExit").await;
        assert_eq!(kinds(&told), ["conferenceStarted", "memberJoined", "conferenceExit"]);
    }
    // Nothing was answered there, and no second message of a conference was sent on top of its first.
    let waiting = hangs.hooks();
    assert!(!waiting.is_empty() && waiting.len() <= 8, "{}", waiting.len());
    assert!(waiting.iter().all(|hook| hook.kind() == "conferenceStarted"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_failing_event_holds_back_its_own_conference_and_is_told_when_it_works_again() {
    let gateway = setup().start().await;
    let app = gateway.app().await;
    let receiver = Receiver::start().await;
    put(&app, json!([{ "url": receiver.url("/") }])).await;
    let poisoned = app.conference().await;
    receiver.taken_until(&poisoned.id, "conferenceStarted").await;
    let id = poisoned.id.clone();
    receiver.answer(move |hook| Reply::Status(if hook.body["confrId"] == id.as_str() { 500 } else { 200 }));
    poisoned.member("anna", 3).await;
    poisoned.member("boris", 3).await;
    for _ in 0..3 {
        let other = app.conference().await;
        other.delete().await.expect("deleted");
        receiver.taken_until(&other.id, "conferenceExit").await;
    }
    receiver
        .until("several attempts", |receiver| {
            (receiver.hooks().iter().filter(|hook| hook.status == 500).count() > 3).then_some(())
        })
        .await;
    let refused: Vec<_> = receiver.hooks().into_iter().filter(|hook| hook.status == 500).collect();
    assert!(refused.iter().all(|hook| hook.raw == refused[0].raw), "the same event, byte by byte");
    receiver.answer(|_| Reply::Status(204));
    let told = receiver
        .until("what was held back", |receiver| {
            let hooks = receiver.hooks();
            let told: Vec<_> =
                hooks.into_iter().filter(|hook| hook.body["confrId"] == poisoned.id.as_str()).collect();
            (told.iter().filter(|hook| hook.status == 204).count() == 2).then_some(told)
        })
        .await;
    let names: Vec<_> =
        told.iter().filter(|hook| hook.status == 204).map(|hook| text(&hook.body, "/member/name")).collect();
    assert_eq!(names, ["anna", "boris"]);
    gateway.stop().await;
}

#[tokio::test]
async fn answers_that_are_no_yes_are_tried_again_and_redirects_are_not_followed() {
    let gateway = setup().start().await;
    let app = gateway.app().await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let target = elsewhere.url("/stolen");
    put(&app, json!([{ "url": receiver.url("/") }])).await;
    let attempts = std::sync::atomic::AtomicUsize::new(0);
    receiver.answer(move |_| match attempts.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::RedirectTo(target.clone()),
        1 => Reply::Endless,
        2 => Reply::Status(410),
        3 => Reply::Status(404),
        _ => Reply::Status(200),
    });
    let conference = app.conference().await;
    receiver.taken_until(&conference.id, "conferenceStarted").await;
    let statuses: Vec<_> = receiver.hooks().iter().map(|hook| hook.status).collect();
    assert_eq!(statuses, [307, 299, 410, 404, 200]);
    assert!(elsewhere.hooks().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn a_kill_while_the_receiver_is_down_loses_nothing() {
    let gateway = setup().start().await;
    let app = gateway.app().await;
    let receiver = Receiver::start().await;
    let address = receiver.address;
    let answer = put(&app, json!([{ "url": receiver.url("/") }])).await;
    let secret = text(&answer, "/targets/0/secret");
    let early = app.conference().await;
    early.member("anna", 3).await;
    let before = receiver.taken_until(&early.id, "memberJoined").await;
    drop(receiver);

    early.member("boris", 3).await;
    let late = app.conference().await;
    late.member("clara", 3).await;
    let gateway = gateway.kill().await.start().await;
    let app = app.at(gateway.api.clone());
    let (early, late) = (early.at(gateway.api.clone()), late.at(gateway.api.clone()));
    early.delete().await.expect("deleted");
    late.delete().await.expect("deleted");

    let receiver = Receiver::on(TcpListener::bind(address).await.expect("the same port"));
    let told = receiver.taken_until(&early.id, "conferenceExit").await;
    let repeated: BTreeSet<_> = before.iter().map(Hook::id).collect();
    let new: Vec<_> = told.iter().filter(|hook| !repeated.contains(hook.id())).cloned().collect();
    assert_eq!(kinds(&new), ["memberJoined", "conferenceExit"]);
    assert_eq!(new[0].body["member"]["name"], "boris");
    assert!(new.iter().all(|hook| hook.is_signed_with(&secret)), "the secret outlives the kill");
    for hook in told.iter().filter(|hook| repeated.contains(hook.id())) {
        let first = before.iter().find(|first| first.id() == hook.id()).expect("told before");
        assert_eq!(first.raw, hook.raw, "the same event under the same id");
    }
    let told = receiver.taken_until(&late.id, "conferenceExit").await;
    assert_eq!(kinds(&told), ["conferenceStarted", "memberJoined", "conferenceExit"]);
    let listed = app.api.get("/v1/webhooks", &app.key).await.expect("the targets");
    assert!(!text(&listed, "/targets/0/secret").contains(&secret));
    gateway.stop().await;
}

#[tokio::test]
async fn an_orderly_restart_repeats_nothing() {
    let gateway = setup().start().await;
    let app = gateway.app().await;
    let receiver = Receiver::start().await;
    put(&app, json!([{ "url": receiver.url("/") }])).await;
    let conference = app.conference().await;
    conference.member("anna", 3).await;
    receiver.taken_until(&conference.id, "memberJoined").await;
    let gateway = gateway.stop().await.start().await;
    let conference = conference.at(gateway.api.clone());
    conference.delete().await.expect("deleted");
    let told = receiver.taken_until(&conference.id, "conferenceExit").await;
    assert_eq!(kinds(&told), ["conferenceStarted", "memberJoined", "conferenceExit"]);
    assert_eq!(receiver.hooks().len(), 3);
    gateway.stop().await;
}

#[tokio::test]
async fn a_secret_is_rotated_without_a_message_that_neither_side_knows() {
    let gateway = setup().start().await;
    let app = gateway.app().await;
    let receiver = Receiver::start().await;
    let target = |secret: &str| json!([{ "id": "main", "url": receiver.url("/"), "secret": secret }]);
    let (old, new) = ("the-old-secret-of-16", "the-new-secret-of-16");
    put(&app, target(old)).await;
    let answer = put(&app, target(new)).await;
    assert_eq!(answer["targets"][0]["secret"], new);
    assert!(answer["targets"][0]["previousSecretUntil"].is_string());
    let first = app.conference().await;
    let told = receiver.taken_until(&first.id, "conferenceStarted").await;
    assert!(told[0].is_signed_with(old) && told[0].is_signed_with(new), "both hold for a while");
    assert_eq!(told[0].signature().1.len(), 2);

    // What a GET shows can be put back; naming the secret again retires the old one.
    let listed = app.api.get("/v1/webhooks", &app.key).await.expect("the targets");
    assert_eq!(listed["targets"][0]["secret"], "****f-16");
    assert_eq!(app.api.put("/v1/webhooks", &app.key, listed.clone()).await, Ok(listed));
    put(&app, target(new)).await;
    let second = app.conference().await;
    let told = receiver.taken_until(&second.id, "conferenceStarted").await;
    assert!(!told[0].is_signed_with(old) && told[0].is_signed_with(new));
    gateway.stop().await;
}

#[tokio::test]
async fn what_was_given_up_on_is_listed_and_replayed() {
    let gateway = setup().env("TIDEGATE_WEBHOOK_GIVE_UP_SECONDS", 1).start().await;
    let app = gateway.app().await;
    let receiver = Receiver::start().await;
    put(&app, json!([{ "id": "main", "url": receiver.url("/") }])).await;
    let works = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&works);
    receiver.answer(move |hook| {
        let takes = hook.kind() == "webhookGap" || switch.load(Ordering::SeqCst);
        Reply::Status(if takes { 200 } else { 503 })
    });
    let conference = app.conference().await;
    conference.member("anna", 3).await;
    let told = receiver.taken_until(&conference.id, "webhookGap").await;
    assert_eq!(kinds(&told), ["webhookGap"]);
    let gap = &told[0].body;
    assert_eq!((&gap["fromSeq"], &gap["seq"]), (&json!(1), &gap["toSeq"]));

    works.store(true, Ordering::SeqCst);
    conference.member("boris", 3).await;
    let told = receiver.taken_until(&conference.id, "memberJoined").await;
    assert_eq!(kinds(&told), ["webhookGap", "memberJoined"]);
    assert_eq!(told[1].body["member"]["name"], "boris");

    let page = app.api.get("/v1/webhooks/dead-letters?limit=1", &app.key).await.expect("dead letters");
    let letter = &page["deadLetters"][0];
    assert_eq!(page["nextCursor"], Value::Null);
    assert_eq!(
        (&letter["targetId"], &letter["confrId"], &letter["fromSeq"], &letter["toSeq"]),
        (&json!("main"), &json!(conference.id), &gap["fromSeq"], &gap["toSeq"])
    );
    assert_eq!(letter["lastError"], "the receiver answered 503");
    let path = format!("/v1/webhooks/dead-letters/{}/replay", text(letter, "/id"));
    let answer = app.api.call(reqwest::Method::POST, &path, Some(&app.key), None).await;
    assert_eq!(answer, Ok(Value::Null));
    let told = receiver.taken_until(&conference.id, "conferenceStarted").await;
    assert_eq!(told[2].kind(), "conferenceStarted");
    until(EVENT, "the dead letter is gone", || async {
        let page = app.api.get("/v1/webhooks/dead-letters", &app.key).await.expect("dead letters");
        (page["deadLetters"] == json!([])).then_some(())
    })
    .await;
    let names: Vec<_> = receiver
        .taken()
        .iter()
        .filter_map(|hook| hook.body["member"]["name"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(names, ["boris", "anna"]);
    for gone in [path.as_str(), "/v1/webhooks/dead-letters/never-was/replay"] {
        let answer = app.api.call(reqwest::Method::POST, gone, Some(&app.key), None).await;
        answer.refused().assert_is(404, "not_found", -301);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn inner_addresses_are_refused_unless_the_operator_allows_them() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let put = |targets: Value| app.api.put("/v1/webhooks", &app.key, json!({ "targets": targets }));
    for url in [
        "http://127.0.0.1:9/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost:8080/",
        "http://2130706433/",
        "https://user:pass@hooks.example.com/",
        "ftp://hooks.example.com/",
        "hooks.example.com",
    ] {
        let refused = put(json!([{ "url": "https://hooks.example.com/" }, { "url": url }])).await.refused();
        refused.assert_is(422, "invalid_request", -200);
        assert!(refused.detail.contains("targets[1].url"), "{}", refused.detail);
    }
    let listed = app.api.get("/v1/webhooks", &app.key).await.expect("the targets");
    assert_eq!(listed, json!({ "targets": [] }), "a refused list changes nothing");

    // A list that was allowed once is not called when it is no more.
    let setup = gateway.stop().await;
    let gateway = setup.clone().env("TIDEGATE_OUTBOUND_ALLOW", "127.0.0.0/8").start().await;
    let app = app.at(gateway.api.clone());
    let receiver = Receiver::start().await;
    let body = json!({ "targets": [{ "url": receiver.url("/") }] });
    app.api.put("/v1/webhooks", &app.key, body).await.expect("allowed now");
    let first = app.conference().await;
    receiver.taken_until(&first.id, "conferenceStarted").await;
    gateway.stop().await;
    let gateway = setup.start().await;
    let app = app.at(gateway.api.clone());
    let before = receiver.hooks().len();
    app.conference().await;
    let metric = "tidegate_webhook_attempts_total{outcome=\"forbidden\"}";
    until(EVENT, "an attempt that is forbidden", || async {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let page = client.get(format!("http://{}/metrics", gateway.ops)).send().await.expect("metrics");
        page.text().await.expect("a body").contains(metric).then_some(())
    })
    .await;
    assert_eq!(receiver.hooks().len(), before);
    gateway.stop().await;
}

#[tokio::test]
async fn only_the_app_key_may_look_at_webhooks() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let anna = conference.member("anna", 7).await;
    let user = app.user_token("anna", true);
    for bearer in [anna.token.as_str(), user.as_str(), "x.y"] {
        for path in ["/v1/webhooks", "/v1/webhooks/dead-letters"] {
            let refused = app.api.get(path, bearer).await.refused();
            assert!([401, 403].contains(&refused.status), "{path}: {refused:?}");
        }
    }
    gateway.stop().await;
}
