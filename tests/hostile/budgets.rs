//! Limits of numbers: who is turned away, by which limit, and who is not.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::api::Refused as _;
use crate::support::peer::PLAY_REFUSED;
use crate::support::wait::until;
use crate::support::{EVENT, Peer, Setup, raw, within};
use crate::{Scene, closed, stranger};

/// A connection that the gateway holds: it has answered its hello.
async fn shaking(address: std::net::SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let mut hello = header.to_vec();
    hello.push(3);
    hello.extend([0; raw::HANDSHAKE_BYTES]);
    let _ = stream.write_all(&hello).await;
    stream
}

#[tokio::test]
async fn handshakes_have_places_of_their_own_and_those_inside_need_none() {
    let setup = Setup::new().env("TIDEGATE_HANDSHAKES_MAX", 3).env("TIDEGATE_HANDSHAKE_TIMEOUT_MS", 600_000);
    let mut scene = Scene::with(setup).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(stranger(&scene.gateway).await);
    }
    for address in [scene.gateway.rtmp, scene.gateway.http] {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        assert_eq!(closed(&mut stream, "one too many is closed").await, b"");
    }
    assert!((scene.reached("handshakes_max").await - 2.0).abs() < 0.5);
    let refused = "tidegate_connections_refused_total{cause=\"handshakes_max\"}";
    assert_eq!(scene.gateway.metric(refused).await, Some(2.0));
    // Those inside are past it: the publisher, its viewer, and who has asked over HTTP before.
    scene.viewer.more_pictures(2).await;
    scene.conference.get().await.expect("an answer on a connection that is there");
    held.truncate(1);
    until(EVENT, "a place is free again", || async {
        let mut stream = TcpStream::connect(scene.gateway.rtmp).await.expect("connects");
        raw::handshake(&mut stream).await.ok()
    })
    .await;
    scene.assert_unharmed("half-open connections").await;
    scene.end().await;
}

#[tokio::test]
async fn an_address_has_so_many_handshakes_and_a_network_of_ipv6_is_one() {
    let setup = Setup::new()
        .env("TIDEGATE_HANDSHAKES_PER_ADDRESS_MAX", 1)
        .env("TIDEGATE_HANDSHAKE_TIMEOUT_MS", 600_000)
        .env("TIDEGATE_RTMP_PROXY_PROTOCOL_FROM", "127.0.0.1");
    let gateway = setup.start().await;
    let line = |client: &str| match client.contains(':') {
        true => format!("PROXY TCP6 {client} 2001:db8:ffff::1 50000 1935\r\n").into_bytes(),
        false => format!("PROXY TCP4 {client} 192.0.2.1 50000 1935\r\n").into_bytes(),
    };
    let address = gateway.rtmp;
    let mut held = Vec::new();
    for client in ["203.0.113.7", "2001:db8:1:1::7", "203.0.113.8", "2001:db8:1:2::7"] {
        let stream = shaking(address, &line(client)).await;
        within(EVENT, "an answer", stream.readable()).await.expect("readable");
        let mut start = [0];
        assert_eq!(stream.peek(&mut start).await.ok(), Some(1), "{client} is served");
        held.push(stream);
    }
    for client in ["203.0.113.7", "2001:db8:1:1::8"] {
        let mut stream = shaking(address, &line(client)).await;
        assert_eq!(closed(&mut stream, "one too many is closed").await, b"", "{client}");
    }
    let reached = "tidegate_limits_reached_total{limit=\"handshakes_per_address_max\"}";
    assert_eq!(gateway.metric(reached).await, Some(2.0));
    drop(held);
    gateway.stop().await;
}

#[tokio::test]
async fn a_conference_has_so_many_viewers_however_many_urls_they_have() {
    let mut scene = Scene::with(Setup::new().env("TIDEGATE_VIEWERS_PER_CONFERENCE_MAX", 2)).await;
    let boris = scene.conference.member("boris", 1).await;
    let stream = scene.published.stream_id.clone();
    let second = Peer::play(&boris.subscribe(&stream).await.expect("subStream").url).await.expect("play");
    let third = boris.subscribe(&stream).await.expect("a URL is not a play");
    let Err(status) = Peer::play(&third.url).await else { panic!("a third viewer was let in") };
    status.assert_refuses(PLAY_REFUSED, "overloaded");
    let answer = reqwest::get(&third.flv).await.expect("an answer");
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert!((scene.reached("viewers_per_conference_max").await - 2.0).abs() < 0.5);
    drop(second);
    until(EVENT, "a place is free again", || async { Peer::play(&third.url).await.ok() }).await;
    until(EVENT, "and again", || async {
        let counts = scene.gateway.metric("tidegate_sessions{direction=\"play\"}").await;
        (counts == Some(1.0)).then_some(())
    })
    .await;
    scene.assert_unharmed("a full conference").await;
    scene.end().await;
}

#[tokio::test]
async fn heads_and_bodies_that_are_too_long_are_counted() {
    let scene = Scene::set().await;
    let mut stream = TcpStream::connect(scene.gateway.http).await.expect("connects");
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(64 * 1024));
    let _ = stream.write_all(head.as_bytes()).await;
    closed(&mut stream, "a head that is too long is refused").await;
    assert!(scene.reached("request_head_bytes_max").await > 0.5);
    let app = &scene.conference.app;
    let body = vec![b' '; 70_000];
    let refused = app.api.call_raw(reqwest::Method::POST, "/v1/conferences", Some(&app.key), body).await;
    assert_eq!(refused.refused().status, 413);
    assert!(scene.reached("request_body_bytes_max").await > 0.5);
    scene.end().await;
}
