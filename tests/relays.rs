//! Relays: streams that are pushed to a far server and pulled from one. The far server is a second gateway, or a server of
//! the test's own where it has to misbehave.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use bytes::Bytes;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use support::api::{Refused as _, text};
use support::flv::{self, Kind, Tag};
use support::peer::{PUBLISH_REFUSED, Watch};
use support::{Authority, EVENT, MediaUrl, Peer, Setup, Solo, Viewer, ffmpeg, wait, within};
use tidegate::rtmp::handshake::{HandshakeProgress, ServerHandshake};
use tidegate::rtmp::proto::server::{MediaMessage, Output, ServerSession, SessionEvent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const TALKER: i64 = 3;

/// A gateway that may call this machine, and does not wait long.
fn near() -> Setup {
    Setup::new()
        .env("TIDEGATE_OUTBOUND_ALLOW", "127.0.0.0/8,::1/128")
        .env("TIDEGATE_RELAY_RETRY_MIN_MS", 50)
        .env("TIDEGATE_RELAY_RETRY_MAX_MS", 500)
        .env("TIDEGATE_LOG", "debug")
}

impl Solo {
    async fn watch(&self) -> Watch {
        let url = self.anna.subscribe(&self.published.stream_id).await.expect("subStream").url;
        Peer::play(&url).await.expect("play").watch()
    }

    async fn push(&self, url: &str) -> Value {
        let body = json!({ "direction": "push", "streamId": self.published.stream_id, "url": url });
        self.relay(body).await.expect("a relay")
    }

    /// Keys of `far` are secrets here as well.
    async fn push_to(&self, far: &MediaUrl) -> Value {
        self.gateway.secrets().learn(&far.token);
        self.gateway.secrets().learn(&far.stream);
        self.push(&far.text()).await
    }

    async fn relay(&self, body: Value) -> Result<Value, support::Refusal> {
        let app = &self.conference.app;
        app.api.post(&self.conference.path("/relays"), &app.key, body).await
    }

    async fn relays(&self) -> Vec<Value> {
        let app = &self.conference.app;
        let listed = app.api.get(&self.conference.path("/relays"), &app.key).await.expect("relays");
        listed["relays"].as_array().expect("a list").clone()
    }

    /// The one relay, once it is so.
    async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        wait::until(EVENT, what, || async {
            let relay = self.relays().await.into_iter().next()?;
            is_so(&relay).then_some(relay)
        })
        .await
    }

    async fn until_state(&self, state: &str) -> Value {
        self.until(state, |relay| relay["state"] == state).await
    }

    async fn until_gone(&self) {
        wait::until(EVENT, "the relay is gone", || async { self.relays().await.is_empty().then_some(()) })
            .await;
    }

    async fn delete(&self, relay: &Value) {
        let app = &self.conference.app;
        let path = self.conference.path(&format!("/relays/{}", text(relay, "/id")));
        app.api.delete(&path, &app.key).await.expect("deleted");
    }

    async fn until_nobody_publishes(&self) {
        wait::until(EVENT, "nobody publishes", || async {
            let sessions = self.sessions().await;
            sessions.iter().all(|session| session["direction"] != "publish").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_stream_is_pushed_to_a_far_server_whose_viewers_decode_it() {
    let far = Solo::with(Setup::new()).await;
    let near = Solo::with(near()).await;
    let made = near.push_to(&far.published.url).await;
    assert_eq!(made["url"], format!("rtmp://{}/live/…", far.gateway.rtmp), "{made}");
    near.until_state("waiting").await;
    let publisher = Peer::publish(&near.published.url).await.expect("publish").feed(flv::clip());
    let url = far.anna.subscribe(&far.published.stream_id).await.expect("subStream").url;
    let viewer = Viewer::ffmpeg(&url);
    // More than one GOP.
    viewer.pictures(40).await;
    ffmpeg::assert_is_clip(&viewer.body()).await;
    let live = near.until_state("live").await;
    assert!(live["bytes"].as_u64().is_some_and(|bytes| bytes > 10_000), "{live}");
    assert_eq!((&live["attempts"], &live["lastError"]), (&json!(1), &Value::Null));
    let sessions = near.sessions().await;
    assert!(sessions.iter().any(|session| session["protocol"] == "relay"), "{sessions:?}");
    let relays = "tidegate_relays{direction=\"push\",state=\"live\"}";
    assert_eq!(near.gateway.metric(relays).await, Some(1.0));
    let stats = near.conference.path(&format!("/streams/{}/stats", near.published.stream_id));
    let app = &near.conference.app;
    assert_eq!(app.api.get(&stats, &app.key).await.expect("stats")["viewers"], 1);
    assert!(!near.relays().await[0].to_string().contains(&far.published.url.token));

    near.delete(&live).await;
    assert!(near.relays().await.is_empty());
    far.until_nobody_publishes().await;
    assert!(publisher.is_open());
    near.gateway.stop().await;
    far.gateway.stop().await;
}

#[tokio::test]
async fn the_far_server_is_let_go_while_nobody_publishes() {
    let far = Solo::with(Setup::new()).await;
    let near = Solo::with(near().env("TIDEGATE_PUBLISHER_GRACE_MS", 100)).await;
    near.push_to(&far.published.url).await;
    for _ in 0..2 {
        let publisher = Peer::publish(&near.published.url).await.expect("publish").feed(flv::clip());
        near.until_state("live").await;
        far.watch().await.more_pictures(3).await;
        drop(publisher);
        near.until_state("waiting").await;
        far.until_nobody_publishes().await;
    }
    assert_eq!(near.relays().await[0]["lastError"], Value::Null);
    near.gateway.stop().await;
    far.gateway.stop().await;
}

#[tokio::test]
async fn a_far_server_that_holds_no_media_for_long_is_let_go_and_called_again() {
    let far = Solo::with(Setup::new()).await;
    let near = Solo::with(near().env("TIDEGATE_RELAY_IDLE_MS", 300)).await;
    near.push_to(&far.published.url).await;
    let mut publisher = Peer::publish(&near.published.url).await.expect("publish");
    let clip = flv::clip();
    for tag in clip.iter().take(30) {
        publisher.send(tag, tag.timestamp_ms).await.expect("sent");
    }
    near.until("live once", |relay| relay["attempts"] == 1).await;
    near.until_state("waiting").await;
    far.until_nobody_publishes().await;
    let _publisher = publisher.feed_from(clip, 60_000);
    near.until("live again", |relay| relay["state"] == "live" && relay["attempts"] == 2).await;
    near.gateway.stop().await;
    far.gateway.stop().await;
}

#[tokio::test]
async fn a_far_server_that_dies_and_returns_has_its_stream_again() {
    let far = Solo::with(Setup::new()).await;
    let near = Solo::with(near()).await;
    let _publisher = Peer::publish(&near.published.url).await.expect("publish").feed(flv::clip());
    near.push_to(&far.published.url).await;
    near.until_state("live").await;
    let here = near.watch().await;
    here.more_pictures(3).await;

    let ports = [far.gateway.rtmp.port(), 0, 0];
    let Solo { gateway, conference, anna, published } = far;
    let setup = gateway.kill().await;
    let lost = near.until_state("backoff").await;
    let reason = lost["lastError"]["reason"].as_str().expect("a reason");
    assert!(["closed", "unreachable"].contains(&reason), "{lost}");
    assert!(lost["nextAttemptAt"].is_string(), "{lost}");
    let gateway = setup.listen_on(IpAddr::V4(Ipv4Addr::LOCALHOST), ports).start().await;
    let far = Solo {
        conference: conference.at(gateway.api.clone()),
        anna: anna.at(gateway.api.clone()),
        gateway,
        published,
    };
    near.until_state("live").await;
    far.watch().await.more_pictures(10).await;
    assert!(here.is_open());
    near.gateway.stop().await;
    far.gateway.stop().await;
}

#[tokio::test]
async fn a_far_server_that_refuses_is_told_and_not_hammered() {
    let far = Solo::with(Setup::new()).await;
    let near = Solo::with(near()).await;
    let _publisher = Peer::publish(&near.published.url).await.expect("publish").feed(flv::clip());
    let forged = far.published.url.with_token("forged-token-of-a-stranger");
    near.push_to(&forged).await;
    let failed = near.until_state("failed").await;
    assert_eq!(failed["lastError"]["reason"], "url_invalid", "{failed}");
    let detail = text(&failed, "/lastError/detail");
    assert!(detail.contains(PUBLISH_REFUSED), "{detail}");
    assert_eq!(failed["attempts"], 1, "what cannot succeed is tried once");
    near.delete(&failed).await;

    // Nobody says why: it is asked a few times more.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let key = "the-stream-key-of-a-cdn";
    near.gateway.secrets().learn(key);
    near.push(&format!("rtmp://127.0.0.1:{port}/live/{key}")).await;
    for _ in 0..8 {
        let (socket, _) = within(EVENT, "the relay calls", listener.accept()).await.expect("a call");
        let mut far = FarServer::new(socket);
        far.request().await;
        far.refuse(&format!("no stream {key} here")).await;
    }
    let failed = near.until_state("failed").await;
    assert_eq!(
        (&failed["attempts"], &failed["lastError"]["reason"]),
        (&json!(8), &json!("refused")),
        "{failed}"
    );
    let detail = text(&failed, "/lastError/detail");
    assert!(detail.ends_with("no stream … here"), "{detail}");
    near.gateway.stop().await;
    far.gateway.stop().await;
}

/// A far server that does what the test says.
struct FarServer {
    socket: TcpStream,
    handshake: Option<ServerHandshake>,
    session: ServerSession,
    media: Vec<MediaMessage>,
}

impl FarServer {
    fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            handshake: Some(ServerHandshake::new()),
            session: ServerSession::new(),
            media: Vec::new(),
        }
    }

    /// Takes what comes; gives the first request to publish.
    async fn take(&mut self) -> Option<tidegate::rtmp::proto::MessageStreamId> {
        let mut buffer = [0; 16 * 1024];
        let read = self.socket.read(&mut buffer).await.expect("the relay's bytes");
        assert_ne!(read, 0, "the relay closed");
        let mut input = &buffer[..read];
        if let Some(handshake) = &mut self.handshake {
            let (output, rest) = match handshake.handle_input(input).expect("a handshake") {
                HandshakeProgress::InProgress { output } => (output, None),
                HandshakeProgress::Done { output, remainder } => (output, Some(remainder)),
            };
            self.socket.write_all(&output).await.expect("the relay reads");
            let rest = rest?;
            self.handshake = None;
            input = rest;
        }
        self.session.handle_input(input).expect("RTMP");
        self.say().await
    }

    async fn say(&mut self) -> Option<tidegate::rtmp::proto::MessageStreamId> {
        let mut asked = None;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(bytes) => self.socket.write_all(&bytes).await.expect("the relay reads"),
                Output::Event(SessionEvent::PublishRequested { stream, .. }) => asked = Some(stream),
                Output::Event(SessionEvent::Media(message)) => self.media.push(message),
                Output::Event(_) => {}
            }
        }
        asked
    }

    async fn request(&mut self) {
        within(EVENT, "the relay asks to publish", async { while self.take().await.is_none() {} }).await;
    }

    async fn accept(&mut self) {
        self.session.accept_publish(tidegate::rtmp::proto::MessageStreamId::FIRST).expect("a request");
        self.say().await;
    }

    async fn refuse(&mut self, description: &str) {
        self.session
            .refuse_publish(tidegate::rtmp::proto::MessageStreamId::FIRST, description)
            .expect("a request");
        self.say().await;
    }
}

/// The clip with pictures of a size that no kernel holds many of.
fn fat_clip(picture_bytes: usize) -> Vec<Tag> {
    let mut clip = flv::clip();
    for tag in clip.iter_mut().filter(|tag| tag.is_picture()) {
        let filler = picture_bytes.saturating_sub(tag.payload.len());
        tag.payload.extend(u32::try_from(filler).expect("a size").to_be_bytes());
        tag.payload.push(0x0C);
        tag.payload.resize(tag.payload.len() + filler.saturating_sub(1), 0xFF);
    }
    clip
}

#[tokio::test]
async fn a_far_server_that_reads_nothing_costs_a_bounded_room_and_nobody_else() {
    const PICTURE_BYTES: usize = 200_000;
    let near =
        Solo::with(near().env("TIDEGATE_VIEWER_STALL_MS", 60_000).env("TIDEGATE_LIVE_LAG_MAX_MS", 500)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let _publisher = Peer::publish(&near.published.url).await.expect("publish").feed(fat_clip(PICTURE_BYTES));
    let others = near.watch().await;
    near.push(&format!("rtmp://127.0.0.1:{port}/live/some-key")).await;
    let (socket, _) = within(EVENT, "the relay calls", listener.accept()).await.expect("a call");
    let mut far = FarServer::new(socket);
    far.request().await;
    far.accept().await;
    // From here on it reads nothing, for as long as others get 20 MB.
    let before = others.notes().pictures();
    let seen = others.more_pictures(100).await;
    assert!(seen.pictures() - before > 99, "the others go on");
    let relay = near.until_state("live").await;
    let taken = relay["bytes"].as_u64().expect("bytes");
    let all = 100 * PICTURE_BYTES as u64;
    assert!(taken < all / 3, "{taken} bytes were taken for a far server that reads none of {all}");
    // Whatever it reads then begins where decoding can.
    within(EVENT, "the far server is at the live edge again", async {
        loop {
            far.take().await;
            let skips = near.relays().await[0]["skips"].as_u64().expect("skips");
            if skips > 0
                && far.media.last().is_some_and(|last| last.kind == tidegate::rtmp::proto::MediaKind::Video)
            {
                break;
            }
        }
    })
    .await;
    let pictures: Vec<_> = far.media.iter().filter(|message| message.payload.len() > 1000).collect();
    assert_eq!(pictures[0].payload[0], 0x17, "the first picture is a keyframe");
    // Sound may come before it, where the newest keyframe is farther back than a viewer may be.
    assert_eq!(far.media[0].timestamp, 0, "a far server's time begins at zero");
    near.gateway.stop().await;
}

#[tokio::test]
async fn a_far_server_that_takes_nothing_for_too_long_is_left_and_called_again() {
    let near = Solo::with(near().env("TIDEGATE_VIEWER_STALL_MS", 300)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let _publisher = Peer::publish(&near.published.url).await.expect("publish").feed(fat_clip(200_000));
    near.push(&format!("rtmp://127.0.0.1:{port}/live/some-key")).await;
    let mut stuck = Vec::new();
    for _ in 0..2 {
        let (socket, _) = within(EVENT, "the relay calls", listener.accept()).await.expect("a call");
        let mut far = FarServer::new(socket);
        far.request().await;
        far.accept().await;
        stuck.push(far);
    }
    let relay = near.until("the reason", |relay| relay["lastError"]["reason"] == "stalled").await;
    assert!(relay["attempts"].as_u64() >= Some(2), "{relay}");
    near.gateway.stop().await;
}

#[tokio::test]
async fn metadata_reaches_a_far_server_as_an_encoder_sends_it() {
    let near = Solo::with(near()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // ffmpeg sends onMetaData, which the peer of the other tests does not.
    let _publisher = support::Pusher::start(&near.published.url);
    near.push(&format!("rtmp://127.0.0.1:{port}/live/some-key")).await;
    let (socket, _) = within(EVENT, "the relay calls", listener.accept()).await.expect("a call");
    let mut far = FarServer::new(socket);
    far.request().await;
    far.accept().await;
    let metadata = within(EVENT, "onMetaData", async {
        loop {
            far.take().await;
            let is_data = |message: &&MediaMessage| message.kind == tidegate::rtmp::proto::MediaKind::Data;
            if let Some(message) = far.media.iter().find(is_data) {
                break message.payload.clone();
            }
        }
    })
    .await;
    assert!(metadata.starts_with(b"\x02\x00\x0AonMetaData"), "{metadata:?}");
    assert!(contains(&metadata, b"videocodecid"), "{metadata:?}");
    near.gateway.stop().await;
}

fn contains(bytes: &Bytes, part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_stream_is_pulled_in_as_a_members_own_and_ends_with_its_kick() {
    let far = Solo::with(Setup::new()).await;
    // Nobody but the relay keeps the member.
    let near =
        Solo::with(near().env("TIDEGATE_FIRST_CONTACT_MS", 1500).env("TIDEGATE_MEMBER_TIMEOUT_MS", 1500))
            .await;
    let source = far.anna.subscribe(&far.published.stream_id).await.expect("subStream").url;
    near.gateway.secrets().learn(&source.token);
    let robot = near.conference.member("robot", TALKER).await;
    let pull = json!({ "direction": "pull", "user": "robot", "rtcId": "cdn", "url": source.text() });
    let made = near.relay(pull.clone()).await.expect("a relay");
    let stream = format!("cdn__Of_{}", robot.id);
    assert_eq!((&made["direction"], &made["streamId"]), (&json!("pull"), &json!(stream)));
    let twice = near.relay(pull).await.refused();
    twice.assert_is(422, "invalid_request", -200);
    let clara = near.conference.member("clara", 1).await;
    let _publisher = Peer::publish(&far.published.url).await.expect("publish").feed(flv::clip());
    let url = clara.subscribe(&stream).await.expect("subStream").url;
    let viewer = Viewer::ffmpeg(&url);
    let watch = Peer::play(&url).await.expect("play").watch();
    viewer.pictures(40).await;
    ffmpeg::assert_is_clip(&viewer.body()).await;
    // Longer than the member would be kept without a sign of life.
    watch.more_pictures(80).await;
    assert!(near.conference.member_names().await.contains("robot"));
    let seen = near.conference.get().await.expect("the conference");
    let pulled =
        seen["streams"].as_array().expect("streams").iter().find(|seen| seen["id"] == stream.as_str());
    assert_eq!(pulled.map(|seen| seen["live"].clone()), Some(json!(true)), "{seen}");

    // Muted as any publisher of its own.
    let app = &near.conference.app;
    let mute = json!({ "memberNames": ["robot"], "video": true });
    app.api.post(&near.conference.path("/mute"), &app.key, mute).await.expect("muted");
    watch.without(Kind::Video).await;

    near.conference.kick(&["robot"]).await.expect("kicked");
    watch.closed().await;
    near.until_gone().await;
    wait::until(EVENT, "the source has no viewer", || async {
        let sessions = far.sessions().await;
        sessions.iter().all(|session| session["direction"] == "publish").then_some(())
    })
    .await;
    near.gateway.stop().await;
    far.gateway.stop().await;
}

#[tokio::test]
async fn a_pull_waits_for_its_source_and_survives_its_absence() {
    let far = Solo::with(Setup::new().env("TIDEGATE_PLAY_WAIT_MS", 100)).await;
    let near = Solo::with(near()).await;
    let source = far.anna.subscribe(&far.published.stream_id).await.expect("subStream").url;
    let pull = json!({ "direction": "pull", "user": "anna", "rtcId": "cdn", "url": source.text() });
    near.relay(pull).await.expect("a relay");
    // More often than refusals make a relay give up.
    let absent = near
        .until("absent", |relay| relay["attempts"].as_u64() >= Some(10) && relay["state"] != "failed")
        .await;
    assert_eq!(absent["lastError"]["reason"], "stream_not_found", "{absent}");
    let _publisher = Peer::publish(&far.published.url).await.expect("publish").feed(flv::clip());
    let stream = format!("cdn__Of_{}", near.anna.id);
    let url = near.anna.subscribe(&stream).await.expect("subStream").url;
    Peer::play(&url).await.expect("play").watch().more_pictures(10).await;
    near.until_state("live").await;

    // Whoever publishes the stream itself has it, and the relay does not fight for it.
    let own = near.anna.publish("cdn").await.expect("pubStream");
    let own = Peer::publish(&own.url).await.expect("publish").feed(flv::clip());
    let failed = near.until_state("failed").await;
    assert_eq!(failed["lastError"]["reason"], "replaced", "{failed}");
    assert!(own.is_open());
    near.gateway.stop().await;
    far.gateway.stop().await;
}

#[tokio::test]
async fn the_end_of_the_conference_ends_its_relays() {
    let far = Solo::with(Setup::new()).await;
    let near = Solo::with(near()).await;
    let _publisher = Peer::publish(&near.published.url).await.expect("publish").feed(flv::clip());
    near.push_to(&far.published.url).await;
    near.until_state("live").await;
    let watch = far.watch().await;
    watch.more_pictures(3).await;
    near.conference.delete().await.expect("deleted");
    far.until_nobody_publishes().await;
    let live = "tidegate_relays{direction=\"push\",state=\"live\"}";
    wait::until(EVENT, "no relay is left", || async {
        (near.gateway.metric(live).await == Some(0.0)).then_some(())
    })
    .await;
    let setup = near.gateway.stop().await;
    // Nor does it come back.
    let gateway = setup.start().await;
    let waiting = "tidegate_relays{direction=\"push\",state=\"waiting\"}";
    assert_eq!(gateway.metric(waiting).await.unwrap_or_default(), 0.0);
    gateway.stop().await;
    far.gateway.stop().await;
}

#[tokio::test]
async fn a_relay_is_resumed_after_a_crash() {
    let far = Solo::with(Setup::new()).await;
    let near = Solo::with(near()).await;
    let publisher = Peer::publish(&near.published.url).await.expect("publish").feed(flv::clip());
    let made = near.push_to(&far.published.url).await;
    near.until_state("live").await;
    let Solo { gateway, conference, anna, published } = near;
    let setup = gateway.kill().await;
    drop(publisher);
    far.until_nobody_publishes().await;
    let gateway = setup.start().await;
    let url = published.url.at(gateway.rtmp);
    let near = Solo {
        conference: conference.at(gateway.api.clone()),
        anna: anna.at(gateway.api.clone()),
        gateway,
        published,
    };
    let back = near.relays().await;
    assert_eq!((back.len(), &back[0]["id"], &back[0]["url"]), (1, &made["id"], &made["url"]));
    let _publisher = Peer::publish(&url).await.expect("publish").feed(flv::clip());
    near.until_state("live").await;
    far.watch().await.more_pictures(10).await;
    near.gateway.stop().await;
    far.gateway.stop().await;
}

#[tokio::test]
async fn inner_addresses_are_refused_unless_the_operator_allows_them() {
    let near = Solo::with(Setup::new()).await;
    for host in ["127.0.0.1", "[::1]", "localhost", "169.254.169.254", "10.0.0.1", "[::ffff:127.0.0.1]"] {
        let url = format!("rtmp://{host}:1935/live/some-key");
        let body = json!({ "direction": "push", "streamId": near.published.stream_id, "url": url });
        let refusal = near.relay(body).await.refused();
        refusal.assert_is(403, "url_invalid", -500);
        assert!(refusal.detail.contains("outbound_allow"), "{}", refusal.detail);
    }
    // A spelling that only the system's resolver understands is found out when it is called.
    let _publisher = Peer::publish(&near.published.url).await.expect("publish").feed(flv::clip());
    near.push(&format!("rtmp://0x7f.1:{}/live/some-key", near.gateway.rtmp.port())).await;
    let lost = near.until("refused", |relay| relay["lastError"]["reason"] == "url_invalid").await;
    assert!(text(&lost, "/lastError/detail").contains("a loopback address"), "{lost}");
    near.gateway.stop().await;
}

#[tokio::test]
async fn tls_to_a_far_server_is_verified() {
    let authority = Authority::new();
    let issued = authority.issue("far");
    // On all addresses, of which the certificate names one.
    let everywhere =
        Setup::new().with_tls(&issued.certificate, &issued.key).env("TIDEGATE_RTMPS_LISTEN", "0.0.0.0:0");
    let far = Solo::with(everywhere).await;
    let secure = far.published.url.over_tls(SocketAddr::from(([127, 0, 0, 1], far.gateway.rtmps().port())));
    let trusting = near().env("TIDEGATE_RELAY_CA_FILE", authority.certificate().display());
    let near = Solo::with(trusting).await;
    let _publisher = Peer::publish(&near.published.url).await.expect("publish").feed(flv::clip());
    let made = near.push_to(&secure).await;
    assert!(text(&made, "/url").starts_with("rtmps://127.0.0.1:"), "{made}");
    near.until_state("live").await;
    far.watch().await.more_pictures(10).await;
    near.delete(&made).await;
    far.until_nobody_publishes().await;

    // The certificate is for 127.0.0.1, ::1 and localhost.
    let wrong = secure.text().replace("127.0.0.1", "127.0.0.2");
    near.push(&wrong).await;
    let lost = near.until("refused", |relay| relay["lastError"]["reason"] == "tls").await;
    assert!(text(&lost, "/lastError/detail").contains("certificate"), "{lost}");
    near.gateway.stop().await;

    // And nobody vouches for it here.
    let near = Solo::with(crate::near()).await;
    let _publisher = Peer::publish(&near.published.url).await.expect("publish").feed(flv::clip());
    near.push_to(&secure).await;
    let lost = near.until("refused", |relay| relay["lastError"]["reason"] == "tls").await;
    assert!(text(&lost, "/lastError/detail").contains("UnknownIssuer"), "{lost}");
    near.gateway.stop().await;
    far.gateway.stop().await;
}

#[tokio::test]
async fn a_session_of_a_relay_that_is_closed_comes_back() {
    let far = Solo::with(Setup::new()).await;
    let near = Solo::with(near()).await;
    let _publisher = Peer::publish(&near.published.url).await.expect("publish").feed(flv::clip());
    near.push_to(&far.published.url).await;
    near.until_state("live").await;
    let sessions = near.sessions().await;
    let relay = sessions.iter().find(|session| session["protocol"] == "relay").expect("the relay's session");
    let app = &near.conference.app;
    app.api.delete(&format!("/v1/sessions/{}", text(relay, "/id")), &app.key).await.expect("closed");
    near.until("live again", |relay| relay["state"] == "live" && relay["attempts"] == 2).await;
    near.gateway.stop().await;
    far.gateway.stop().await;
}
