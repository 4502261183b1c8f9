//! Viewers that take nothing: what waits for them is bounded, others do not notice, and a kick is not held up by them.

use std::io::ErrorKind;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::support::api::Member;
use crate::support::flv::{Kind, Tag};
use crate::support::wait::until;
use crate::support::{Peer, Setup, raw};
use crate::{EVENT, Scene};

/// What a client's kernel takes for it at most.
const NARROW_BYTES: u32 = 4096;
/// Viewers of each kind.
const OF_EACH: usize = 10;
/// One picture of what is published fast.
const PICTURE_BYTES: usize = 64 * 1024;
/// The ring of a stream, as the gateway of these tests is set.
const RING_BYTES: usize = 1 << 20;

fn setup() -> Setup {
    Setup::new()
        .env("TIDEGATE_RING_BYTES_MAX", RING_BYTES)
        .env("TIDEGATE_VIEWER_STALL_MS", 600_000)
        .env("TIDEGATE_MAX_AUDIENCE_COUNT", 100)
}

async fn narrow(address: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(NARROW_BYTES).expect("a small buffer");
    socket.connect(address).await.expect("connects")
}

/// Connections that play `stream` for `member` and never read: RTMP, FLV, FLV over WebSocket, and an event socket beside them.
async fn mute_viewers(scene: &Scene, member: &Member, stream: &str) -> Vec<TcpStream> {
    let (mut held, before) = (Vec::new(), viewers(scene, stream).await);
    for number in 0..OF_EACH {
        // Four plays for a URL.
        let urls = member.subscribe(stream).await.expect("subStream");
        let mut rtmp = narrow(scene.gateway.rtmp).await;
        raw::handshake(&mut rtmp).await.expect("the handshake");
        let asked = [raw::connect("live", "rtmp://127.0.0.1/live"), raw::create_stream(2.0)].concat();
        rtmp.write_all(&[asked, raw::play(1, &urls.url.in_name().name)].concat()).await.expect("sent");
        held.push(rtmp);
        let (_, path) = urls.flv.split_once("/live/").expect("a path");
        let key = "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n";
        let upgrade = format!("upgrade: websocket\r\nconnection: upgrade\r\n{key}");
        let events = member.path("/events");
        let bearer = format!("authorization: Bearer {}\r\n", scene.conference.app.key);
        for request in [
            format!("GET /live/{path} HTTP/1.1\r\nhost: x\r\n\r\n"),
            format!("GET /live/{path} HTTP/1.1\r\nhost: x\r\n{upgrade}\r\n"),
            format!("GET {events} HTTP/1.1\r\nhost: x\r\n{bearer}{upgrade}\r\n"),
        ] {
            let mut http = narrow(scene.gateway.http).await;
            http.write_all(request.as_bytes()).await.expect("sent");
            held.push(http);
        }
        let wanted = before + 3 * (number + 1);
        until(EVENT, "they play", || async { (viewers(scene, stream).await == wanted).then_some(()) }).await;
    }
    held
}

async fn viewers(scene: &Scene, stream: &str) -> usize {
    let app = &scene.conference.app;
    let page = app.api.get("/v1/sessions?limit=500", &app.key).await.expect("a page");
    let sessions = page["sessions"].as_array().expect("sessions").clone();
    sessions.iter().filter(|session| session["streamId"] == stream && session["direction"] == "play").count()
}

/// Another publisher of the scene, and its stream.
async fn pourer(scene: &Scene) -> (Peer, String) {
    let clara = scene.conference.member("clara", 3).await;
    let poured = clara.publish("RTC2").await.expect("pubStream");
    let mut publisher = Peer::publish(&poured.url).await.expect("publish");
    let clip = crate::support::flv::clip();
    let header = clip.iter().find(|tag| tag.kind == Kind::Video && tag.is_sequence_header());
    publisher.send(header.expect("a header"), 0).await.expect("sent");
    (publisher, poured.stream_id)
}

/// How often viewers skipped so far.
async fn skips(scene: &Scene) -> f64 {
    scene.gateway.metric("tidegate_viewer_skips_total").await.expect("a number")
}

/// Pictures as fast as the gateway takes them, each tenth of them a keyframe.
async fn pour(publisher: &mut Peer, from_ms: &mut u32, pictures: usize) {
    for number in 0..pictures {
        let head = if number % 10 == 0 { 0x17 } else { 0x27 };
        let mut payload = vec![head, 1, 0, 0, 0];
        payload.resize(PICTURE_BYTES, 0);
        let tag = Tag { kind: Kind::Video, timestamp_ms: 0, payload };
        publisher.send(&tag, *from_ms).await.expect("sent");
        *from_ms += 40;
    }
}

#[tokio::test]
async fn what_waits_for_viewers_that_take_nothing_is_bounded() {
    /// Beside the ring: for each what its socket did not take of one turn, parts of pictures that all share.
    const GROWTH_KIB: u64 = 12 * 1024;
    /// 16 MiB, which a queue without bound would hold.
    const PICTURES: usize = 256;
    let mut scene = Scene::with(setup()).await;
    let (mut publisher, stream) = pourer(&scene).await;
    let boris = scene.conference.member("boris", 1).await;
    let held = mute_viewers(&scene, &boris, &stream).await;
    let good = boris.subscribe(&stream).await.expect("subStream").url;
    let good = Peer::play(&good).await.expect("play").watch();
    let before = scene.figures();
    let mut now_ms = 0;
    pour(&mut publisher, &mut now_ms, PICTURES).await;
    let last = now_ms - 40;
    let seen = |notes: &crate::support::peer::Notes| notes.tags.iter().any(|tag| tag.timestamp_ms >= last);
    good.until("the last picture", seen).await;
    let first = scene.figures();
    pour(&mut publisher, &mut now_ms, PICTURES).await;
    let last = now_ms - 40;
    good.until("the last picture again", |notes| notes.tags.iter().any(|tag| tag.timestamp_ms >= last)).await;
    let second = scene.figures();
    let grown = [first.grown_kib(&before), second.grown_kib(&first)];
    eprintln!("{} viewers that take nothing, 16 MiB twice: {grown:?} KiB more", 3 * OF_EACH);
    assert!(grown[0] < GROWTH_KIB && grown[1] < GROWTH_KIB / 3, "{grown:?} KiB more");
    assert_eq!(viewers(&scene, &stream).await, 3 * OF_EACH + 1, "nobody was closed");
    assert!(skips(&scene).await >= 1.0, "who takes nothing skips");
    scene.assert_unharmed("viewers that take nothing").await;
    drop(held);
    scene.end().await;
}

#[tokio::test]
async fn a_kick_ends_viewers_that_never_read_and_leaves_nothing_of_them() {
    let mut scene = Scene::with(setup()).await;
    let (mut publisher, stream) = pourer(&scene).await;
    let before = scene.figures();
    let boris = scene.conference.member("boris", 1).await;
    let held = mute_viewers(&scene, &boris, &stream).await;
    // More than what their kernels take, so that their writes are stuck.
    pour(&mut publisher, &mut 0, 64).await;
    until(EVENT, "all of it is published", || async {
        let received = scene.gateway.metric("tidegate_media_received_bytes_total{protocol=\"rtmp\"}").await;
        received.filter(|bytes| *bytes >= 64.0 * 65_536.0)
    })
    .await;
    assert!(scene.figures().descriptors >= before.descriptors + held.len(), "they are open");
    scene.conference.kick(&["boris"]).await.expect("kick");
    until(EVENT, "no session is left", || async { (viewers(&scene, &stream).await == 0).then_some(()) })
        .await;
    // The event sockets are the app's own, and stay. Nobody reads here: that would free the writes that are stuck.
    for (number, stream) in held.iter().enumerate().filter(|(number, _)| number % 4 != 3) {
        let what = format!("viewer {number} is cut off, and what waited for it is thrown away");
        let error = until(EVENT, &what, || async { stream.take_error().expect("its state") }).await;
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "viewer {number}");
    }
    drop(held);
    before.descriptors_are_back().await;
    scene.assert_unharmed("a kick of viewers that never read").await;
    scene.end().await;
}
