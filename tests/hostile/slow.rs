//! Peers that never finish what they begin. The time runs from the first byte, so that a trickle does not prolong it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Scene;
use crate::support::{Authority, EVENT, Setup, raw, within};

/// Between two bytes of a trickle: well below the time that all of it may take.
const PACE: Duration = Duration::from_millis(50);

/// Says `bytes` one after another, and the last one again and again, until the gateway closes; gives what it said.
async fn trickle(address: std::net::SocketAddr, what: &str, bytes: &[u8]) -> Vec<u8> {
    let stream = TcpStream::connect(address).await.expect("connects");
    stream.set_nodelay(true).expect("a socket");
    let (mut reader, mut writer) = stream.into_split();
    let mut said = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    let last = *bytes.last().expect("a byte");
    let trickling = async {
        let mut bytes = bytes.iter().copied().chain(std::iter::repeat(last));
        loop {
            pace.tick().await;
            let byte = bytes.next().expect("no end");
            if writer.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    };
    within(EVENT, what, async {
        tokio::select! {
            _ = reader.read_to_end(&mut said) => {}
            () = trickling => {}
        }
    })
    .await;
    said
}

#[tokio::test]
async fn who_never_finishes_what_it_begins_is_closed_in_time() {
    let authority = Authority::new();
    let issued = authority.issue("gateway");
    let setup = Setup::new().env("TIDEGATE_HANDSHAKE_TIMEOUT_MS", 1000);
    let mut scene = Scene::with(setup.with_tls(&issued.certificate, &issued.key)).await;
    let (rtmp, rtmps) = (scene.gateway.rtmp, scene.gateway.rtmps());
    let (http, https) = (scene.gateway.http, scene.gateway.https());
    // The beginning of a TLS record that announces 16 KiB of hello.
    let hello = [0x16, 3, 1, 0x40, 0, 1, 0, 0x3F, 0xFC, 3, 3, 0];
    let upgrade = b"GET /v1/conferences/x/events HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nx-y: z";
    let body = format!(
        "POST /v1/conferences HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 60000\r\n\r\n ",
        scene.conference.app.key
    );
    let slow_body = async {
        let mut stream = TcpStream::connect(http).await.expect("connects");
        stream.write_all(body.as_bytes()).await.expect("sent");
        let mut said = Vec::new();
        let _ = within(EVENT, "a body that does not come", stream.read_to_end(&mut said)).await;
        String::from_utf8_lossy(&said).into_owned()
    };
    let connected = async {
        // Behind its handshake it has no more time than before.
        let mut stream = TcpStream::connect(rtmp).await.expect("connects");
        raw::handshake(&mut stream).await.expect("the handshake");
        let mut said = Vec::new();
        let _ = within(EVENT, "a handshake with nothing behind", stream.read_to_end(&mut said)).await;
    };
    let before = timeouts(&scene).await;
    let (answer, ..) = tokio::join!(
        slow_body,
        connected,
        trickle(rtmp, "an RTMP handshake", &[3, 0]),
        trickle(http, "an HTTP head", b"GET / HTTP/1.1\r\nx: y"),
        trickle(http, "a WebSocket's head", upgrade),
        trickle(https, "a TLS hello for HTTP", &hello),
        trickle(rtmps, "a TLS hello for RTMP", &hello),
    );
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!((timeouts(&scene).await - before - 6.0).abs() < 0.5, "each is counted");
    scene.assert_unharmed("slow peers").await;
    scene.end().await;
}

async fn timeouts(scene: &Scene) -> f64 {
    scene.gateway.metric("tidegate_handshakes_failed_total{cause=\"timeout\"}").await.expect("a number")
}
