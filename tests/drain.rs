//! Drains: nobody new is let in, those inside go on and are told, and all of it can be taken back, unless the process ends.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use serde_json::{Value, json};
use support::api::{Conference, Member, PlayAnswer, PublishAnswer, Refused as _};
use support::feed_client::{Ask, Feed as Socket};
use support::peer::{PLAY_REFUSED, PUBLISH_REFUSED, Watch};
use support::{EVENT, Gateway, Peer, Setup, flv, within};

const DRAINING: (u16, &str, i64) = (503, "draining", -503);

/// A conference that goes on: anna publishes, boris watches, and both have their event sockets.
struct Stage {
    conference: Conference,
    anna: Member,
    boris: Member,
    published: PublishAnswer,
    url: PlayAnswer,
    feed: support::Feed,
    watch: Watch,
    annas_socket: Socket,
    boris_socket: Socket,
}

impl Stage {
    async fn new(gateway: &Gateway) -> Self {
        let conference = gateway.app().await.conference().await;
        let anna = conference.member("anna", 3).await;
        let boris = conference.member("boris", 1).await;
        let published = anna.publish("RTC1").await.expect("pubStream");
        let url = boris.subscribe(&published.stream_id).await.expect("subStream");
        let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
        let watch = Peer::play(&url.url).await.expect("play").watch();
        watch.more_pictures(3).await;
        let annas_socket = Ask::member(&anna).open().await.expect("upgraded");
        let boris_socket = Ask::member(&boris).open().await.expect("upgraded");
        Self { conference, anna, boris, published, url, feed, watch, annas_socket, boris_socket }
    }
}

/// The next frame of this type; what comes before it is passed over.
async fn next_of(socket: &mut Socket, kind: &str) -> Value {
    within(EVENT, kind, async {
        loop {
            match socket.next().await {
                Ok(frame) if frame["type"] == kind => return frame,
                Ok(_) => {}
                Err(closed) => panic!("closed with {closed:?} instead of {kind}"),
            }
        }
    })
    .await
}

async fn readiness(gateway: &Gateway) -> (u16, Value) {
    let answer = reqwest::get(format!("http://{}/readyz", gateway.ops)).await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn run(setup: &Setup, arguments: &[&str]) -> String {
    let ended = setup.run(arguments).await;
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    ended.stdout
}

#[tokio::test]
async fn a_drained_gateway_lets_nobody_new_in_and_those_inside_go_on() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let mut stage = Stage::new(&gateway).await;
    let ticket = stage.conference.ticket("clara", 3).await;
    let second = stage.anna.publish("RTC2").await.expect("declared before");

    let told = run(&gateway.setup, &["drain", "--deadline-ms", "60000"]).await;
    assert!(told.contains("60000 ms") && told.contains("1 publishers, 1 viewers, 2 event sockets"), "{told}");
    for socket in [&mut stage.annas_socket, &mut stage.boris_socket] {
        let frame = next_of(socket, "serverDraining").await;
        assert_eq!((&frame["deadlineMs"], &frame["seq"]), (&json!(60_000), &frame["prev"]));
    }
    let (status, why) = readiness(&gateway).await;
    assert_eq!((status, &why["reasons"][0]["part"]), (503, &json!("gateway")), "{why}");
    assert!(why["reasons"][0]["why"].as_str().is_some_and(|why| why.contains("tidegate undrain")), "{why}");

    // Nothing new.
    let (status, reason, code) = DRAINING;
    app.create(json!({})).await.map(drop).refused().assert_is(status, reason, code);
    gateway.api.join(&stage.conference.id, &ticket).await.refused().assert_is(status, reason, code);
    let user = app.user_token("clara", true);
    gateway
        .api
        .post("/v1/rooms/lobby/members", &user, json!({}))
        .await
        .refused()
        .assert_is(status, reason, code);
    stage.anna.publish("RTC3").await.refused().assert_is(status, reason, code);
    stage.boris.subscribe(&stage.published.stream_id).await.refused().assert_is(status, reason, code);
    Peer::publish(&second.url).await.err().expect("refused").assert_refuses(PUBLISH_REFUSED, "draining");
    Peer::play(&stage.url.url).await.err().expect("refused").assert_refuses(PLAY_REFUSED, "draining");
    let flv = reqwest::get(&stage.url.flv).await.expect("an answer");
    assert_eq!(flv.status(), 503);
    assert!(flv.headers().contains_key("retry-after"), "{flv:?}");
    // Whoever proves nothing is not told what goes on.
    gateway.api.post("/v1/conferences", "x.y", json!({})).await.refused().assert_is(
        401,
        "unauthenticated",
        -100,
    );

    // Those inside.
    stage.watch.more_pictures(3).await;
    stage.anna.heartbeat().await.expect("inside");
    stage.conference.set_role(&["boris"], 3).await.expect("the app goes on");
    let mut again = Ask::member(&stage.anna).open().await.expect("a socket that comes back");
    again.expect("snapshot").await;
    let left = again.expect("serverDraining").await["deadlineMs"].as_u64().expect("a time");
    assert!((1..60_000).contains(&left), "what is left of it: {left}");

    let told = run(&gateway.setup, &["undrain"]).await;
    assert!(told.contains("everybody is let in again"), "{told}");
    next_of(&mut again, "serverResumed").await;
    next_of(&mut stage.boris_socket, "serverResumed").await;
    assert_eq!(readiness(&gateway).await.0, 200);
    gateway.api.join(&stage.conference.id, &ticket).await.expect("joined");
    Peer::publish(&second.url).await.expect("publish");
    Peer::play(&stage.url.url).await.expect("play");
    assert!(stage.feed.is_open() && stage.watch.is_open(), "nobody was thrown out");
    let told = run(&gateway.setup, &["undrain", "--json"]).await;
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["draining"], &told["changed"]), (&json!(false), &json!(false)));
    // Those who came in vain could fill the log otherwise.
    let log = gateway.process.stderr.text();
    assert!(log.contains("an operator drains the gateway") && !log.contains(" WARN "), "{log}");
    gateway.stop().await;
}

/// The time that those inside have is far beyond the deadline of a test.
async fn patient() -> Gateway {
    let setup = Setup::new().env("TIDEGATE_DRAIN_MS", 600_000).env("TIDEGATE_DRAIN_NOTICE_MS", 300_000);
    setup.start().await
}

#[tokio::test]
async fn a_stop_tells_those_inside_and_ends_when_they_have_left() {
    let gateway = patient().await;
    let mut stage = Stage::new(&gateway).await;
    let ticket = stage.conference.ticket("clara", 3).await;
    gateway.process.terminate().await;
    let frame = next_of(&mut stage.annas_socket, "serverDraining").await;
    assert_eq!(frame["deadlineMs"], 600_000);
    let (status, why) = readiness(&gateway).await;
    assert_eq!((status, &why["reasons"][0]["why"]), (503, &json!("it is shutting down")));
    gateway.api.join(&stage.conference.id, &ticket).await.refused().assert_is(503, "draining", -503);
    let undrain = gateway.setup.run(&["undrain"]).await;
    assert_eq!(undrain.status.code(), Some(1), "an end is not taken back: {undrain:?}");
    stage.watch.more_pictures(3).await;

    let Stage { feed, watch, annas_socket, boris_socket, .. } = stage;
    annas_socket.close().await;
    boris_socket.close().await;
    drop((feed, watch));
    let ended = gateway.process.ended(EVENT).await;
    assert!(ended.status.success(), "it does not wait for its time to be over: {ended:?}");
}

#[tokio::test]
async fn a_second_signal_cuts_a_stop_short() {
    let gateway = patient().await;
    let mut stage = Stage::new(&gateway).await;
    gateway.process.terminate().await;
    next_of(&mut stage.boris_socket, "serverDraining").await;
    gateway.process.signal("INT").await;
    let ended = gateway.process.ended(EVENT).await;
    assert!(ended.status.success() && ended.stderr.contains("cut short"), "{ended:?}");
    within(EVENT, "everybody sees the end", async {
        (stage.feed.closed().await, stage.watch.closed().await)
    })
    .await;
}
