//! Streams as FLV over HTTP and over a WebSocket: the same pictures, the same rights, the same ends as over RTMP.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use futures_util::StreamExt as _;
use serde_json::Value;
use support::ffmpeg::assert_is_clip;
use support::flv::Tag;
use support::wait::until;
use support::{EVENT, Peer, Pusher, Scene, Setup, flv, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// What an FLV body gave so far.
struct Body {
    response: reqwest::Response,
    bytes: Vec<u8>,
}

impl Body {
    async fn open(url: &str) -> Self {
        let response = get(url).await;
        assert_eq!(response.status(), 200, "{response:?}");
        Self { response, bytes: Vec::new() }
    }

    async fn pictures(&mut self, count: usize) -> Vec<Tag> {
        within(EVENT, "pictures in the FLV body", async {
            loop {
                let (tags, _) = flv::tags(&self.bytes);
                if tags.iter().filter(|tag| tag.is_picture()).count() >= count {
                    return tags;
                }
                let piece = self.response.chunk().await.expect("the body goes on").expect("it does not end");
                self.bytes.extend_from_slice(&piece);
            }
        })
        .await
    }

    /// Reads on; true if the body ended in order.
    async fn read_to_end(mut self) -> bool {
        let read_all = async {
            loop {
                match self.response.chunk().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        };
        within(EVENT, "the end of the FLV body", read_all).await
    }
}

async fn get(url: &str) -> reqwest::Response {
    within(EVENT, "an answer", reqwest::get(url)).await.expect("the gateway answers")
}

async fn refused(url: &str, status: u16, reason: &str) {
    let response = get(url).await;
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.expect("a problem document");
    assert_eq!(problem["reason"], reason, "{problem}");
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(url: &str) -> Socket {
    connect_async(url).await.expect("the upgrade").0
}

/// Reads until there are so many pictures.
async fn pictures(socket: &mut Socket, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    within(EVENT, "pictures in WebSocket messages", async {
        while flv::tags(&bytes).0.iter().filter(|tag| tag.is_picture()).count() < count {
            match socket.next().await.expect("the socket is open").expect("a message") {
                Message::Binary(piece) => bytes.extend_from_slice(&piece),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    bytes
}

/// The code of the close frame, or none where the connection just broke.
async fn close_code(socket: &mut Socket) -> Option<u16> {
    within(EVENT, "the end of the WebSocket", async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_ffmpeg_pushes_comes_out_as_flv_and_as_websocket_messages() {
    let scene = Scene::new().await;
    let _pusher = Pusher::start(&scene.published.url);
    let urls = scene.urls("live").await;
    let mut body = Body::open(&urls.flv).await;
    let headers = body.response.headers().clone();
    assert_eq!(headers["content-type"], "video/x-flv");
    assert_eq!(headers["access-control-allow-origin"], "*");
    let tags = body.pictures(30).await;
    assert!(tags.iter().take(4).any(Tag::is_sequence_header), "a player needs the headers first: {tags:?}");
    assert!(tags.iter().find(|tag| tag.is_picture()).expect("a picture").is_keyframe());
    let (_, whole) = flv::tags(&body.bytes);
    assert_is_clip(&body.bytes[..whole]).await;

    let mut socket = open(&urls.ws_flv).await;
    let bytes = pictures(&mut socket, 30).await;
    let (_, whole) = flv::tags(&bytes);
    assert_is_clip(&bytes[..whole]).await;
    socket.close(None).await.expect("the close leaves");
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_url_that_does_not_fit_is_refused_with_the_reason() {
    let scene = Scene::with(Setup::new().env("TIDEGATE_PLAY_WAIT_MS", 300)).await;
    let urls = scene.urls("live").await;
    let (plain, token) = urls.flv.split_once("?t=").expect("a token");
    refused(plain, 403, "url_invalid").await;
    refused(&format!("{plain}?t={token}x"), 403, "url_invalid").await;
    let publish_token = scene.published.url.text();
    let (_, publish_token) = publish_token.split_once("?t=").expect("a token");
    refused(&format!("{plain}?t={publish_token}"), 403, "url_invalid").await;
    refused(&urls.flv.replace(".flv", ".m3u8"), 404, "not_found").await;
    // Nobody publishes.
    refused(&urls.flv, 404, "stream_not_found").await;
    let mut socket = open(&urls.ws_flv).await;
    assert_eq!(close_code(&mut socket).await, Some(4404));

    scene.anna.unpublish(&scene.published.stream_id).await.expect("deleted");
    refused(&urls.flv, 403, "url_invalid").await;
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_kick_cuts_both_in_the_middle_and_one_that_never_reads() {
    let scene = Scene::new().await;
    let _feed = Peer::publish(&scene.published.url).await.expect("publish").feed(flv::clip());
    let (one, two, three) = (scene.urls("live").await, scene.urls("live").await, scene.urls("live").await);
    let mut body = Body::open(&one.flv).await;
    body.pictures(3).await;
    let mut socket = open(&two.ws_flv).await;
    pictures(&mut socket, 3).await;
    let mut mute = TcpStream::connect(scene.gateway.http).await.expect("connects");
    let (_, path) = three.flv.split_once("/live/").expect("a path");
    let request = format!("GET /live/{path} HTTP/1.1\r\nhost: x\r\n\r\n");
    mute.write_all(request.as_bytes()).await.expect("the request leaves");
    let sessions = || async {
        let page =
            scene.conference.app.api.get("/v1/sessions", &scene.conference.app.key).await.expect("a page");
        let sessions = page["sessions"].as_array().expect("sessions").clone();
        sessions.iter().filter(|session| session["user"] == "boris").cloned().collect::<Vec<_>>()
    };
    let three_viewers =
        until(EVENT, "three sessions", async || Some(sessions().await).filter(|found| found.len() == 3))
            .await;
    let protocols: Vec<_> = three_viewers.iter().map(|session| session["protocol"].clone()).collect();
    assert_eq!(protocols, ["flv", "wsFlv", "flv"]);

    scene.conference.kick(&["boris"]).await.expect("kick");
    assert!(!body.read_to_end().await, "a body that was cut must not look whole");
    let code = close_code(&mut socket).await;
    assert!(matches!(code, None | Some(4410)), "{code:?}");
    let end = within(EVENT, "the end of who never read", async {
        let mut bytes = Vec::new();
        let ended = mute.read_to_end(&mut bytes).await;
        (ended.is_err(), bytes.ends_with(b"0\r\n\r\n"))
    });
    let (_, whole) = end.await;
    assert!(!whole, "a body that was cut must not look whole");
    until(EVENT, "no session is left", async || sessions().await.is_empty().then_some(())).await;
    refused(&one.flv, 410, "member_gone").await;
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_over_ends_its_bodies_in_order() {
    let scene = Scene::with(Setup::new().env("TIDEGATE_PUBLISHER_GRACE_MS", 100)).await;
    let publisher = Peer::publish(&scene.published.url).await.expect("publish");
    let feed = publisher.feed(flv::clip());
    let urls = scene.urls("live").await;
    let mut body = Body::open(&urls.flv).await;
    body.pictures(3).await;
    let mut socket = open(&urls.ws_flv).await;
    pictures(&mut socket, 3).await;
    drop(feed);
    assert!(body.read_to_end().await);
    assert_eq!(close_code(&mut socket).await, Some(1000));
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_stop_tells_websocket_viewers_and_ends_bodies() {
    let scene = Scene::new().await;
    let _feed = Peer::publish(&scene.published.url).await.expect("publish").feed(flv::clip());
    let urls = scene.urls("live").await;
    let mut body = Body::open(&urls.flv).await;
    body.pictures(3).await;
    let mut socket = open(&urls.ws_flv).await;
    pictures(&mut socket, 3).await;
    let stopped = tokio::spawn(scene.gateway.stop());
    assert_eq!(close_code(&mut socket).await, Some(4503));
    assert!(body.read_to_end().await);
    stopped.await.expect("the gateway stops");
}

#[tokio::test]
async fn only_pages_of_the_set_origins_may_read_a_stream() {
    let scene = Scene::with(Setup::new().env("TIDEGATE_CORS_ORIGINS", "https://app.example")).await;
    let _feed = Peer::publish(&scene.published.url).await.expect("publish").feed(flv::clip());
    let url = scene.urls("live").await.flv;
    for (origin, allowed) in
        [("https://app.example", Some("https://app.example")), ("https://evil.example", None)]
    {
        let request = reqwest::Client::new().get(&url).header("origin", origin).send();
        let response = within(EVENT, "an answer", request).await.expect("the gateway answers");
        assert_eq!(response.status(), 200);
        let told =
            response.headers().get("access-control-allow-origin").map(|value| value.to_str().expect("text"));
        assert_eq!(told, allowed, "{origin}");
    }
    scene.gateway.stop().await;
}
