//! The member event feed: what each reader is told, in which order, and how its socket ends.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use serde_json::json;
use support::events::{Socket, seq};
use support::{Gateway, Peer, Setup, flv};

#[tokio::test]
async fn the_feed_tells_in_order_and_resumes_without_gap_or_repeat() {
    let gateway = Setup::new().env("TIDEGATE_PUBLISHER_GRACE_MS", 200).start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let mut socket = Socket::open(&anna, None).await;
    let first = socket.expect("snapshot").await;
    assert_eq!(first["member"]["id"], anna.id.as_str());
    let boris = conference.member("boris", 3).await;
    let joined = socket.expect("memberJoined").await;
    assert_eq!((&joined["member"]["name"], &joined["prev"]), (&json!("boris"), &first["seq"]));
    let published = boris.publish("RTC1").await.expect("pubStream");
    let media = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let added = socket.expect("streamAdded").await;
    assert_eq!(added["prev"], joined["seq"]);
    assert_eq!(added["stream"]["id"], published.stream_id.as_str());
    conference.set_role(&["anna"], 7).await.expect("roles");
    let mut role = socket.next().await;
    while role.as_ref().is_ok_and(|frame| frame["type"] == "mediaChanged") {
        role = socket.next().await;
    }
    let role = Socket::frame(role, "roleChanged");
    assert!(role["roleToken"].is_string(), "a fresh token for the member itself");

    drop(socket);
    conference.kick(&["boris"]).await.expect("kick");
    media.closed().await;
    let gateway = gateway.kill().await.start().await;
    let (anna, conference) = (anna.at(gateway.api.clone()), conference.at(gateway.api.clone()));
    let mut socket = Socket::open(&anna, Some(seq(&role))).await;
    let removed = socket.expect("streamRemoved").await;
    assert_eq!(removed["prev"], role["seq"]);
    let exited = socket.expect("memberExited").await;
    assert_eq!((&exited["reason"], &exited["prev"]), (&json!(12), &removed["seq"]));
    conference.member("clara", 3).await;
    let clara = socket.expect("memberJoined").await;
    assert_eq!(clara["prev"], exited["seq"]);

    let path = anna.path(&format!("/events?after={}", seq(&role)));
    let page = anna.api.get(&path, &anna.token).await.expect("a page");
    assert_eq!(page["events"], json!([removed, exited, clara]));
    assert_eq!(page["nextAfter"], clara["seq"]);
    let folded = Socket::open(&anna, None).await.expect("snapshot").await;
    let seen = anna.look().await.expect("the conference");
    assert_eq!(folded["conference"], seen);
    conference.delete().await.expect("deleted");
    assert_eq!(socket.next().await.err(), Some(4009), "the socket for the snapshot was newer");
    gateway.stop().await;
}

#[tokio::test]
async fn a_socket_ends_with_a_code_that_says_why() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let mut old = Socket::open(&anna, None).await;
    old.expect("snapshot").await;
    let mut socket = Socket::open(&anna, None).await;
    socket.expect("snapshot").await;
    assert_eq!(old.next().await, Err(4009));
    conference.kick(&["anna"]).await.expect("kick");
    assert_eq!(socket.expect("conferenceExit").await["reason"], 12);
    assert_eq!(socket.next().await, Err(1000));
    let mut gone = Socket::open(&anna, None).await;
    assert_eq!(gone.expect("conferenceExit").await["reason"], 12);
    assert_eq!(gone.next().await, Err(4410));
    let mut bad = Socket::with_token(&anna, "a.b.c", None).await;
    assert_eq!(bad.expect("conferenceExit").await["reason"], 4);
    assert_eq!(bad.next().await, Err(4401));
    let boris = conference.member("boris", 3).await;
    let mut ended = Socket::open(&boris, None).await;
    ended.expect("snapshot").await;
    conference.delete().await.expect("deleted");
    assert_eq!(ended.expect("conferenceExit").await["reason"], 11);
    assert_eq!(ended.next().await, Err(1000));

    let other = gateway.app().await.conference().await;
    let clara = other.member("clara", 3).await;
    let mut draining = Socket::open(&clara, None).await;
    draining.expect("snapshot").await;
    let (_, ()) = tokio::join!(gateway.stop(), async {
        draining.expect("serverDraining").await;
        assert_eq!(draining.next().await, Err(4503));
    });
}
