//! Programs that people use, each with the URLs that it is given: in the clear and over TLS, as RTMP and as FLV.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use support::api::{Member, PlayAnswer, PublishAnswer};
use support::ffmpeg::assert_is_clip;
use support::process::run;
use support::{Authority, EVENT, Gateway, MediaUrl, Peer, Pusher, Setup, Viewer, flv};
use tokio::process::Command;

struct Stage {
    authority: Authority,
    gateway: Gateway,
    boris: Member,
    published: PublishAnswer,
}

impl Stage {
    async fn new() -> Self {
        let authority = Authority::new();
        let issued = authority.issue("one");
        let gateway = Setup::new().with_tls(&issued.certificate, &issued.key).start().await;
        let conference = gateway.app().await.conference().await;
        let anna = conference.member("anna", 3).await;
        let boris = conference.member("boris", 1).await;
        let published = anna.publish("RTC1").await.expect("pubStream");
        Self { authority, gateway, boris, published }
    }

    async fn urls(&self) -> PlayAnswer {
        let request = serde_json::json!({ "profile": "live" });
        self.boris.subscribe_as(&self.published.stream_id, request).await.expect("subStream")
    }

    fn secure(&self, url: &MediaUrl) -> MediaUrl {
        url.over_tls(self.gateway.rtmps())
    }

    /// The FLV URL at the listener for TLS.
    async fn https_url(&self) -> String {
        let url = self.urls().await.flv;
        let (_, path) = url.split_once("/live/").expect("a path");
        format!("https://{}/live/{path}", self.gateway.https())
    }
}

/// What arrived is the clip, over more than one GOP.
async fn shows_the_clip(viewer: Viewer) {
    viewer.pictures(25).await;
    assert_is_clip(&viewer.body()).await;
}

#[tokio::test]
async fn ffmpeg_pushes_and_pulls_over_tls() {
    let stage = Stage::new().await;
    let authority = stage.authority.certificate();
    let authority = authority.to_str().expect("a path");
    // Whoever does not look at the certificate, and whoever does.
    for options in [&["-tls_verify", "0"][..], &["-tls_verify", "1", "-ca_file", authority]] {
        let pusher = Pusher::start_with_options(options, &stage.secure(&stage.published.url));
        pusher.sending().await;
        let url = stage.secure(&stage.urls().await.url).text();
        shows_the_clip(Viewer::ffmpeg_at(options, &url)).await;
        shows_the_clip(Viewer::ffmpeg_at(options, &stage.https_url().await)).await;
    }
    let strict = Viewer::ffmpeg_at(&["-tls_verify", "1"], &stage.https_url().await).closed().await;
    assert!(!strict.status.success(), "a certificate of an unknown authority is refused: {strict:?}");
    stage.gateway.stop().await;
}

#[tokio::test]
async fn rtmpdump_pulls_over_tls_what_ffmpeg_pushes_in_the_clear() {
    let stage = Stage::new().await;
    let _pusher = Pusher::start(&stage.published.url);
    let urls = stage.urls().await;
    shows_the_clip(Viewer::rtmpdump(&stage.secure(&urls.url))).await;
    shows_the_clip(Viewer::rtmpdump(&urls.url)).await;
    stage.gateway.stop().await;
}

#[tokio::test]
async fn gstreamer_pushes_and_pulls_in_the_clear_and_over_tls() {
    let stage = Stage::new().await;
    for secure in [false, true] {
        let url = |url: &MediaUrl| if secure { stage.secure(url) } else { url.clone() };
        let by_gstreamer = Viewer::gstreamer(&url(&stage.urls().await.url));
        let by_ffmpeg = Viewer::ffmpeg(&stage.urls().await.url);
        let pusher = Pusher::gstreamer(&url(&stage.published.url));
        for viewer in [by_gstreamer, by_ffmpeg] {
            shows_the_clip(viewer).await;
        }
        drop(pusher);
    }
    stage.gateway.stop().await;
}

#[tokio::test]
async fn curl_takes_flv_over_https_and_opens_a_websocket() {
    let stage = Stage::new().await;
    let _feed = Peer::publish(&stage.published.url).await.expect("publish").feed(flv::clip());
    let authority = stage.authority.certificate();
    let trust = ["--cacert", authority.to_str().expect("a path")];
    shows_the_clip(Viewer::curl(&trust, &stage.https_url().await)).await;

    let upgrade = [
        "--http1.1",
        "--include",
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: websocket",
        "-H",
        "Sec-WebSocket-Version: 13",
        "-H",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let socket = Viewer::curl(&[&trust[..], &upgrade].concat(), &stage.https_url().await);
    let opened = socket.process.stdout.wait(EVENT, "an upgrade and FLV behind it", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let (head, messages) = text.split_once("\r\n\r\n")?;
        let accepted = head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        (head.starts_with("HTTP/1.1 101") && accepted && messages.contains("FLV\u{1}")).then_some(())
    });
    opened.await.unwrap_or_else(|error| panic!("{error}; {}", socket.process.stderr.text()));
    stage.gateway.stop().await;
}

/// mpv without a screen: decodes some pictures, and says whether it could.
async fn mpv(url: &str) {
    let mut command = Command::new("mpv");
    command.args("--no-config --no-terminal --msg-level=all=warn --vo=null --ao=null --frames=20".split(' '));
    command.arg(url);
    let ended = run("mpv", command, EVENT).await;
    assert!(ended.status.success(), "mpv {url}: {ended:?}");
}

#[tokio::test]
async fn mpv_decodes_rtmp_and_flv_in_the_clear_and_over_tls() {
    let stage = Stage::new().await;
    let _feed = Peer::publish(&stage.published.url).await.expect("publish").feed(flv::clip());
    let urls = stage.urls().await;
    for url in [urls.url.text(), stage.secure(&urls.url).text(), urls.flv, stage.https_url().await] {
        mpv(&url).await;
    }
    let (refused, _) = urls.ws_flv.split_once("?t=").expect("a token");
    let mut command = Command::new("mpv");
    command.args([
        "--no-config",
        "--no-terminal",
        "--vo=null",
        "--ao=null",
        &refused.replace("ws://", "http://"),
    ]);
    assert!(!run("mpv", command, EVENT).await.status.success(), "mpv says when it could not");
    stage.gateway.stop().await;
}
