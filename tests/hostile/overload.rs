//! Past a mark of overload newcomers are refused, and those inside are left alone.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::api::{Refusal, Refused as _};
use crate::support::peer::{PLAY_REFUSED, PUBLISH_REFUSED};
use crate::support::wait::until;
use crate::support::{EventSocket, Peer, Setup};
use crate::{EVENT, Scene};

#[track_caller]
fn assert_overloaded(refusal: &Refusal) {
    refusal.assert_is(503, "overloaded", -503);
}

async fn readiness(scene: &Scene) -> (u16, Value) {
    let answer = reqwest::get(format!("http://{}/readyz", scene.gateway.ops)).await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn is_ready(scene: &Scene) -> Option<()> {
    (readiness(scene).await.0 == 200).then_some(())
}

async fn reload(scene: &Scene, file: &std::path::Path, text: &str) {
    std::fs::write(file, text).expect("written");
    let ended = scene.gateway.setup.run(&["reload"]).await;
    assert!(ended.status.success(), "{ended:?}");
}

/// The status of a request for a WebSocket, and whether it says when to come again.
async fn upgrade(scene: &Scene, url: &str, bearer: &str) -> (u16, bool) {
    let request = scene.gateway.api.client().get(url).bearer_auth(bearer);
    let request = request.header("connection", "upgrade").header("upgrade", "websocket");
    let request =
        request.header("sec-websocket-version", "13").header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==");
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.headers().contains_key("retry-after"))
}

#[tokio::test]
async fn past_a_mark_of_memory_nobody_new_is_let_in_and_those_inside_go_on() {
    let setup = Setup::new();
    let file = setup.home().join("tidegate.toml");
    std::fs::write(&file, "").expect("written");
    let mut scene = Scene::with(setup.arg("--config").arg(&file)).await;
    let app = scene.conference.app.clone();
    let boris = scene.conference.member("boris", 1).await;
    let clara = scene.conference.member("clara", 3).await;
    let ticket = scene.conference.ticket("dora", 3).await;
    let unused = clara.publish("RTC2").await.expect("pubStream");
    let urls = boris.subscribe(&scene.published.stream_id).await.expect("subStream");
    let mut socket = EventSocket::of(&boris).await;
    is_ready(&scene).await.expect("ready before");

    // Less than any process takes.
    reload(&scene, &file, "overload_memory_bytes = 4096\n").await;
    until(EVENT, "it is overloaded", || async { is_ready(&scene).await.is_none().then_some(()) }).await;
    let (_, why) = readiness(&scene).await;
    assert_eq!(why["reasons"][0]["part"], "load");
    assert_eq!(scene.gateway.metric("tidegate_overloaded").await, Some(1.0));

    assert_overloaded(&app.create(json!({})).await.map(drop).refused());
    assert_overloaded(&scene.gateway.api.join(&scene.conference.id, &ticket).await.refused());
    assert_overloaded(&clara.publish("RTC3").await.refused());
    assert_overloaded(&boris.subscribe(&scene.published.stream_id).await.refused());
    let Err(status) = Peer::play(&urls.url).await else { panic!("a play was let in") };
    status.assert_refuses(PLAY_REFUSED, "overloaded");
    let Err(status) = Peer::publish(&unused.url).await else { panic!("a publish was let in") };
    status.assert_refuses(PUBLISH_REFUSED, "overloaded");
    let answer = reqwest::get(&urls.flv).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().ok()), (503, Some("5")));
    let events = scene.gateway.api.url(&clara.path("/events"));
    assert_eq!(upgrade(&scene, &events, &clara.token).await, (503, true));
    assert!(scene.reached("overload_memory_bytes").await >= 8.0);

    // Those inside.
    scene.viewer.more_pictures(5).await;
    assert!(scene.feed.is_open());
    boris.heartbeat().await.expect("a heartbeat");
    boris.look().await.expect("a look");
    clara.unpublish(&unused.stream_id).await.expect("an end of a stream");
    scene.conference.kick(&["clara"]).await.expect("a kick");
    socket.find("the kick", |frame| frame["type"] == "memberExit" || frame["type"] == "memberExited").await;
    let ended = app.api.call(Method::GET, "/v1/sessions", Some(&app.key), None).await;
    ended.expect("operators are no newcomers");

    reload(&scene, &file, "").await;
    until(EVENT, "it is calm again", || is_ready(&scene)).await;
    assert_eq!(scene.gateway.metric("tidegate_overloaded").await, Some(0.0));
    scene.gateway.api.join(&scene.conference.id, &ticket).await.expect("a join");
    boris.exit().await.expect("a leave");
    scene.assert_unharmed("an overload").await;
    scene.end().await;
}

/// Lets the gateway run for a moment in ten, for ever.
async fn starve(scene: &Scene) -> std::convert::Infallible {
    loop {
        scene.gateway.process.signal("STOP").await;
        sleep(Duration::from_millis(450)).await;
        scene.gateway.process.signal("CONT").await;
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn without_processor_time_nobody_new_is_let_in_and_those_inside_go_on() {
    let mut scene = Scene::with(Setup::new().env("TIDEGATE_OVERLOAD_LATENESS_MS", 200)).await;
    let boris = scene.conference.member("boris", 1).await;
    let ticket = scene.conference.ticket("dora", 3).await;
    is_ready(&scene).await.expect("ready before");

    let refused = async {
        until(EVENT, "it is overloaded", || async { is_ready(&scene).await.is_none().then_some(()) }).await;
        assert_overloaded(&scene.gateway.api.join(&scene.conference.id, &ticket).await.refused());
        assert!(scene.reached("overload_lateness_ms").await >= 1.0);
        boris.heartbeat().await.expect("a heartbeat");
    };
    tokio::select! {
        never = starve(&scene) => match never {},
        () = refused => {}
    }
    scene.gateway.process.signal("CONT").await;

    until(EVENT, "it is calm again", || is_ready(&scene)).await;
    scene.gateway.api.join(&scene.conference.id, &ticket).await.expect("a join");
    scene.assert_unharmed("a famine").await;
    scene.end().await;
}
