//! Behind a proxy of TCP: the PROXY header tells who the client is, and from others it is no header.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::net::SocketAddr;
use support::peer::Feed;
use support::wait::until;
use support::{Authority, EVENT, Peer, Setup, Solo, flv, raw, within};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The client that the proxy speaks of: of the range for documentation, so that no socket can be from there.
const CLIENT: &str = "203.0.113.7:50000";
const CLIENT_V6: &str = "[2001:db8::7]:50000";

fn line(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().expect("an address");
    let (family, own) = if client.is_ipv4() { ("TCP4", "192.0.2.1") } else { ("TCP6", "2001:db8::1") };
    format!("PROXY {family} {} {own} {} 1935\r\n", client.ip(), client.port()).into_bytes()
}

fn binary(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().expect("an address");
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    let (SocketAddr::V4(_), std::net::IpAddr::V4(address)) = (client, client.ip()) else { panic!("IPv4") };
    // 12 bytes of addresses and ports, and 4 that the proxy adds.
    bytes.extend([0x11, 0, 16]);
    bytes.extend(address.octets());
    bytes.extend([192, 0, 2, 1]);
    bytes.extend(client.port().to_be_bytes());
    bytes.extend([0x07, 0x8F, 4, 0, 1, 0]);
    bytes
}

/// A connection that a proxy passes on, behind its header.
async fn passed_on(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.set_nodelay(true).expect("a socket");
    stream.write_all(header).await.expect("the header leaves");
    stream
}

impl Solo {
    /// Where the only session is from, by what the sessions list says.
    async fn peer(&self) -> String {
        let sessions = self.sessions().await;
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        sessions[0]["peer"].as_str().expect("a peer").to_owned()
    }

    async fn failed(&self, cause: &str) -> Option<f64> {
        self.gateway.metric(&format!("tidegate_handshakes_failed_total{{cause=\"{cause}\"}}")).await
    }
}

/// What came until the gateway closed.
async fn rest(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = within(EVENT, "the gateway closes", stream.read_to_end(&mut bytes)).await;
    bytes
}

/// One request, and all of its answer.
async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: gw.example\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the request leaves");
    String::from_utf8_lossy(&rest(stream).await).into_owned()
}

#[tokio::test]
async fn the_client_behind_the_proxy_is_the_one_that_is_seen() {
    let authority = Authority::new();
    let issued = authority.issue("one");
    let setup = Setup::new()
        .with_tls(&issued.certificate, &issued.key)
        .env("TIDEGATE_RTMP_PROXY_PROTOCOL_FROM", "127.0.0.0/8");
    let stage = Solo::with(setup).await;
    let publish = |feed: Result<Peer, _>| -> Feed { feed.expect("publish").feed(flv::clip()) };
    for (header, client) in [(line(CLIENT), CLIENT), (binary(CLIENT), CLIENT), (line(CLIENT_V6), CLIENT_V6)] {
        let stream = passed_on(stage.gateway.rtmp, &header).await;
        let feed = publish(Peer::publish_over(stream, &stage.published.url).await);
        assert_eq!(stage.peer().await, client);
        drop(feed);
        until(EVENT, "the session ends", async || stage.sessions().await.is_empty().then_some(())).await;
    }
    // The header stands before TLS.
    let stream = passed_on(stage.gateway.rtmps(), &binary(CLIENT)).await;
    let stream = authority.handshake(stream, stage.gateway.rtmps(), &[]).await.expect("TLS");
    let url = stage.published.url.over_tls(stage.gateway.rtmps());
    let feed = publish(Peer::publish_over(stream, &url).await);
    assert_eq!(stage.peer().await, CLIENT);
    drop(feed);
    until(EVENT, "the session ends", async || stage.sessions().await.is_empty().then_some(())).await;
    // A connection of the proxy's own.
    let stream = passed_on(stage.gateway.rtmp, b"PROXY UNKNOWN\r\n").await;
    let _feed = publish(Peer::publish_over(stream, &stage.published.url).await);
    assert!(stage.peer().await.starts_with("127.0.0.1:"));
    stage.gateway.stop().await;
}

#[tokio::test]
async fn over_http_and_https_too_and_with_a_proxy_of_http_before_it() {
    let authority = Authority::new();
    let issued = authority.issue("one");
    let setup = Setup::new()
        .with_tls(&issued.certificate, &issued.key)
        .env("TIDEGATE_HTTP_PROXY_PROTOCOL_FROM", "127.0.0.1")
        .env("TIDEGATE_TRUSTED_PROXIES", "203.0.113.0/24")
        .env("TIDEGATE_FAILED_AUTHENTICATIONS_PER_ADDRESS", 1);
    let gateway = setup.start().await;
    let ask = async |client: &str, forwarded: &str| {
        let stream = passed_on(gateway.http, &line(client)).await;
        let bad = format!(
            "GET /v1/sessions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer no.key\r\n{forwarded}connection: close\r\n\r\n"
        );
        let mut stream = stream;
        stream.write_all(bad.as_bytes()).await.expect("the request leaves");
        let answer = String::from_utf8_lossy(&rest(stream).await).into_owned();
        answer.split(' ').nth(1).expect("a status").to_owned()
    };
    // Failures are counted for each client: the second of one address is too many.
    assert_eq!(ask("198.51.100.1:1", "").await, "401");
    assert_eq!(ask("198.51.100.2:1", "").await, "401");
    assert_eq!(ask("198.51.100.1:2", "").await, "429");
    // The client of this one is itself a proxy that is believed, and speaks for others.
    assert_eq!(ask(CLIENT, "x-forwarded-for: 198.51.100.3\r\n").await, "401");
    assert_eq!(ask(CLIENT, "x-forwarded-for: 198.51.100.3\r\n").await, "429");
    assert_eq!(ask(CLIENT, "x-forwarded-for: 198.51.100.4\r\n").await, "401");

    let stream = passed_on(gateway.https(), &binary(CLIENT)).await;
    let stream = authority.handshake(stream, gateway.https(), &[]).await.expect("TLS");
    assert!(get(stream, "/openapi.json").await.starts_with("HTTP/1.1 200"));
    gateway.stop().await;
}

#[tokio::test]
async fn connections_are_counted_for_the_client_and_not_for_the_proxy() {
    let setup = Setup::new()
        .env("TIDEGATE_RTMP_PROXY_PROTOCOL_FROM", "127.0.0.1")
        .env("TIDEGATE_CONNECTIONS_PER_ADDRESS_MAX", 1);
    let gateway = setup.start().await;
    let mut first = passed_on(gateway.rtmp, &line(CLIENT)).await;
    raw::handshake(&mut first).await.expect("the first of its address");
    let second = passed_on(gateway.rtmp, &line("203.0.113.7:50001")).await;
    assert_eq!(rest(second).await, b"", "the second of its address");
    let mut other = passed_on(gateway.rtmp, &line("203.0.113.8:50000")).await;
    raw::handshake(&mut other).await.expect("the first of another address");
    drop(first);
    until(EVENT, "the place is free again", async || {
        let mut third = passed_on(gateway.rtmp, &line("203.0.113.7:50002")).await;
        raw::handshake(&mut third).await.ok()
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_proxy_without_a_good_header_is_turned_away_and_the_log_says_why() {
    let setup = Setup::new()
        .env("TIDEGATE_RTMP_PROXY_PROTOCOL_FROM", "127.0.0.1")
        .env("TIDEGATE_HTTP_PROXY_PROTOCOL_FROM", "127.0.0.1")
        .env("TIDEGATE_HANDSHAKE_TIMEOUT_MS", 500);
    let gateway = setup.start().await;
    let failed = async |cause: &str| {
        gateway.metric(&format!("tidegate_handshakes_failed_total{{cause=\"{cause}\"}}")).await
    };
    let mut expected = 0.0;
    for address in [gateway.rtmp, gateway.http] {
        for bad in [
            &b"\x03\0\0\0"[..],
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
            b"PROXY TCP4 nobody 192.0.2.1 1 2\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0C",
        ] {
            assert_eq!(rest(passed_on(address, bad).await).await, b"", "{bad:?}");
            expected += 1.0;
            until(EVENT, "it is counted", async || {
                failed("proxy_header").await.filter(|count| *count == expected)
            })
            .await;
        }
        // One that never ends is given up, and one that says nothing is what health checks do.
        assert_eq!(rest(passed_on(address, b"PROXY TCP4 1").await).await, b"");
    }
    until(EVENT, "late ones are counted", async || failed("timeout").await.filter(|count| *count == 2.0))
        .await;
    let warned = |log: &str| log.matches("a connection of a proxy was closed").count();
    let log = gateway.process.stderr.text();
    assert_eq!(warned(&log), 10, "{log}");
    for words in
        ["no PROXY header begins like this", "byte 11: an IPv4 address was expected", "unknown version"]
    {
        assert!(log.contains(words), "{words:?} is not in {log}");
    }
    let mut silent = TcpStream::connect(gateway.rtmp).await.expect("connects");
    silent.shutdown().await.expect("closes");
    assert_eq!(rest(silent).await, b"");
    until(EVENT, "it is counted", async || failed("closed").await).await;
    assert_eq!(warned(&gateway.process.stderr.text()), 10, "a health check is no trouble");
    gateway.stop().await;
}

#[tokio::test]
async fn from_anybody_else_a_header_is_only_bytes() {
    let stage = Solo::with(Setup::new().env("TIDEGATE_RTMP_PROXY_PROTOCOL_FROM", "192.0.2.0/24")).await;
    let stream = passed_on(stage.gateway.rtmp, &line(CLIENT)).await;
    assert_eq!(rest(stream).await, b"", "no RTMP begins like this");
    assert_eq!(stage.failed("handshake").await, Some(1.0));
    let answer = get(passed_on(stage.gateway.http, &line(CLIENT)).await, "/openapi.json").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let _feed = Peer::publish(&stage.published.url).await.expect("publish").feed(flv::clip());
    assert!(stage.peer().await.starts_with("127.0.0.1:"));
    assert!(stage.anna.look().await.is_ok());
    stage.gateway.stop().await;
}
