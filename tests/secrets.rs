//! One scene with every kind of secret, told through every door that refuses and every door that fails, at the log level
//! that says most. Afterwards everything that the gateway said or wrote is searched for each of them.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

mod support;

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use support::api::Refused as _;
use support::secrets::Secrets;
use support::wait::until;
use support::{
    App, Authority, Conference, EVENT, EventSocket, Gateway, MediaUrl, Member, Peer, Receiver, Reply, Setup,
    flv, token, within,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const PASSWORD: &str = "the-pass-word-of-the-scene";
const SESSION_KEY: &str = "gDyVgzwa0mFz9uUP7M6GQQ==";
const OPS_TOKEN: &str = "an-operators-token-of-the-scene";
const MASTER_KEY: &str = "the-master-key-of-the-scene-has-its-bytes";
const WEBHOOK_SECRET: &str = "whsec_of-the-scene-and-of-no-other";
const HOOK_QUERY: &str = "hook-query-of-the-scene";
const FAR_KEY: &str = "far-stream-key-of-the-scene";
const FAR_SIGNATURE: &str = "far-signature-of-the-scene";

/// The setting of the scene: everything that can be configured to be a secret is one.
struct Scene {
    gateway: Gateway,
    app: App,
    other: App,
    conference: Conference,
    anna: Member,
    boris: Member,
    publish: MediaUrl,
    play: MediaUrl,
    stream: String,
    ticket: String,
}

impl Scene {
    async fn start(setup: Setup, authority: &Authority) -> Self {
        let issued = authority.issue("scene");
        let master = setup.home().join("master.key");
        std::fs::write(&master, MASTER_KEY).expect("a key file");
        restrict(&master);
        let setup = setup
            .with_tls(&issued.certificate, &issued.key)
            .env("TIDEGATE_LOG", "trace")
            .env("TIDEGATE_MEMBER_TIMEOUT_MS", 600_000)
            .env("TIDEGATE_OPS_TOKEN", OPS_TOKEN)
            .env("TIDEGATE_MASTER_KEY_FILE", master.display())
            .env("TIDEGATE_OUTBOUND_ALLOW", "127.0.0.0/8")
            .env("TIDEGATE_WEBHOOK_TIMEOUT_MS", 300)
            .env("TIDEGATE_WEBHOOK_RETRY_MIN_MS", 20)
            .env("TIDEGATE_WEBHOOK_RETRY_MAX_MS", 50)
            .env("TIDEGATE_RELAY_RETRY_MIN_MS", 50)
            .env("TIDEGATE_RELAY_RETRY_MAX_MS", 100);
        let gateway = setup.start().await;
        let secrets = gateway.secrets();
        for secret in
            [PASSWORD, SESSION_KEY, OPS_TOKEN, MASTER_KEY, WEBHOOK_SECRET, HOOK_QUERY, FAR_KEY, FAR_SIGNATURE]
        {
            secrets.learn(secret);
        }
        let pem = std::fs::read_to_string(&issued.key).expect("the TLS key");
        pem.lines().filter(|line| !line.starts_with('-')).for_each(|line| secrets.learn(line));
        let app = gateway.app().await;
        let added = gateway.setup.run(&["app", "add", "second"]).await;
        let other = App::new(app.api.clone(), added.stdout.trim());
        let conference = app.create(json!({ "password": PASSWORD })).await.expect("created");
        let ticket = conference.ticket("anna", 3).await;
        let anna = app.api.join(&conference.id, &ticket).await.expect("joins");
        let eve = json!({ "password": PASSWORD });
        let boris = app.user_token("boris", true);
        let boris = app.api.join_with(&conference.id, Some(&boris), eve).await.expect("joins");
        let published = anna.publish("RTC1").await.expect("pubStream");
        let play = boris.subscribe(&published.stream_id).await.expect("subStream").url;
        let (publish, stream) = (published.url, published.stream_id);
        Self { gateway, app, other, conference, anna, boris, publish, play, stream, ticket }
    }

    /// Credentials of every kind, true and false.
    fn credentials(&self) -> Vec<String> {
        let claims = json!({ "iss": self.app.id, "sub": "eve", "exp": token::now() + 60 });
        let all = vec![
            self.app.key.clone(),
            self.other.key.clone(),
            self.ticket.clone(),
            self.conference.ticket.clone(),
            self.anna.token.clone(),
            self.app.user_token("eve", true),
            self.publish.token.clone(),
            self.play.token.clone(),
            token::hs256(&claims, b"nobody's secret"),
            token::flipped(&self.ticket, self.ticket.len() / 2),
            token::flipped(&self.anna.token, self.anna.token.len() - 10),
            format!("{}.{}", self.app.id, "wrong-secret-of-the-scene"),
            PASSWORD.to_owned(),
            OPS_TOKEN.to_owned(),
        ];
        all.iter().for_each(|credential| self.gateway.secrets().learn(credential));
        all
    }

    /// Sends these bytes and gives whatever comes back, searched.
    async fn raw(&self, to: SocketAddr, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(to).await.expect("connects");
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = within(EVENT, "the end of the connection", stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        self.gateway.secrets().assert_absent("an answer", &answer);
        answer
    }
}

/// The master key's file belongs to its owner alone.
fn restrict(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("its rights");
}

#[tokio::test]
async fn no_secret_of_a_whole_scene_is_told_in_a_text_log() {
    play_through(Setup::new(), true).await;
}

#[tokio::test]
async fn no_secret_of_a_whole_scene_is_told_in_a_json_log() {
    play_through(Setup::new().env("TIDEGATE_LOG_FORMAT", "json"), false).await;
}

/// The form of the log changes how a field is written, not which there are: one of the two runs takes the odd requests as well.
async fn play_through(setup: Setup, is_whole: bool) {
    let authority = Authority::new();
    let scene = Scene::start(setup, &authority).await;
    let secrets = scene.gateway.secrets().clone();
    let hooks = webhooks(&scene).await;
    relays(&scene).await;
    voip(&scene).await;
    media(&scene, &authority).await;
    if is_whole {
        http(&scene).await;
        bodies(&scene).await;
    }
    sockets(&scene).await;
    answers(&scene).await;
    commands(&scene).await;
    for hook in hooks.iter().flat_map(Receiver::hooks) {
        secrets.assert_absent("a webhook", &String::from_utf8_lossy(&hook.raw));
    }
    let pid = scene.gateway.process.id();
    for file in ["cmdline", "status"] {
        let shown = std::fs::read(format!("/proc/{pid}/{file}")).expect("what ps shows");
        secrets.assert_absent("ps", &String::from_utf8_lossy(&shown));
    }
    let (never_stored, gateway) = (never_stored(&scene), scene.gateway);
    let setup = gateway.stop().await;
    at_rest(&setup, &never_stored);
    println!("{} secrets were looked for", secrets.count());
    assert!(secrets.count() > 50, "{}", secrets.count());
}

/// Receivers that take, refuse, hang, redirect and are not there.
async fn webhooks(scene: &Scene) -> Vec<Receiver> {
    let receivers =
        [Receiver::start().await, Receiver::start().await, Receiver::start().await, Receiver::start().await];
    let elsewhere = format!("http://127.0.0.1:1/?key={HOOK_QUERY}");
    receivers[1].answer(|_| Reply::Status(500));
    receivers[2].answer(|_| Reply::Never);
    receivers[3].answer(move |_| Reply::RedirectTo(elsewhere.clone()));
    let mut targets: Vec<Value> = receivers
        .iter()
        .enumerate()
        .map(|(number, receiver)| {
            let url = receiver.url(&format!("/hook?key={HOOK_QUERY}"));
            json!({ "id": format!("t{number}"), "url": url, "secret": format!("{WEBHOOK_SECRET}-{number}") })
        })
        .collect();
    targets.push(json!({ "id": "gone", "url": format!("http://127.0.0.1:1/?key={HOOK_QUERY}"), "secret": WEBHOOK_SECRET }));
    let app = &scene.app;
    let made = app.api.put("/v1/webhooks", &app.key, json!({ "targets": targets })).await;
    made.expect("targets");
    for url in [
        format!("http://10.1.2.3/?key={HOOK_QUERY}"),
        format!("ftp://127.0.0.1/{HOOK_QUERY}"),
        format!("http://{HOOK_QUERY}@127.0.0.1/"),
        format!("{HOOK_QUERY} is no URL"),
    ] {
        let targets = json!({ "targets": [{ "url": url, "secret": WEBHOOK_SECRET }] });
        app.api.put("/v1/webhooks", &app.key, targets).await.refused();
    }
    app.api
        .put("/v1/webhooks", &app.key, json!({ "targets": [{ "url": WEBHOOK_SECRET, "secret": 5 }] }))
        .await
        .refused();
    let conference = app.conference().await;
    conference.member("told", 3).await;
    receivers[0].taken_until(&conference.id, "memberJoined").await;
    for receiver in &receivers[1..] {
        receiver.until("a second attempt", |receiver| (receiver.hooks().len() > 1).then_some(())).await;
    }
    receivers.into()
}

/// Far servers that hang up, that are no RTMP servers, and that may not be called.
async fn relays(scene: &Scene) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let far = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(format!("HTTP/1.1 400 {FAR_KEY} is unknown\r\n\r\n").as_bytes()).await;
        }
    });
    let feed = Peer::publish(&scene.publish).await.expect("publish").feed(flv::clip());
    let path = scene.conference.path("/relays");
    let app = &scene.app;
    let url = |authority: &str| format!("rtmp://{authority}/live/{FAR_KEY}?sign={FAR_SIGNATURE}");
    for authority in [far.to_string(), "127.0.0.1:1".to_owned(), "does-not-exist.invalid".to_owned()] {
        let body = json!({ "direction": "push", "streamId": scene.stream, "url": url(&authority) });
        app.api.post(&path, &app.key, body).await.expect("a relay");
    }
    for bad in [
        url("10.1.2.3"),
        url(&format!("{FAR_KEY}@127.0.0.1")),
        format!("{FAR_KEY} is no URL"),
        FAR_SIGNATURE.to_owned(),
    ] {
        let body = json!({ "direction": "push", "streamId": scene.stream, "url": bad });
        let _ = app.api.post(&path, &app.key, body).await;
    }
    until(EVENT, "relays fail", || async {
        let listed = app.api.get(&path, &app.key).await.expect("relays");
        scene.gateway.secrets().assert_absent("the list of relays", &listed.to_string());
        let failed =
            listed["relays"].as_array()?.iter().filter(|relay| !relay["lastError"].is_null()).count();
        (failed >= 3).then_some(())
    })
    .await;
    drop(feed);
}

async fn voip(scene: &Scene) {
    let app = &scene.app;
    let body = json!({ "sessionKey": SESSION_KEY });
    app.api.call(Method::PUT, "/v1/voip/sessions/open-id", Some(&app.key), Some(body)).await.expect("kept");
    let ask = json!({ "appId": app.id, "groupId": "group", "sessionKey": SESSION_KEY });
    app.api.post("/v1/voip/signatures", &app.key, ask).await.expect("signed");
    for wrong in [
        json!({ "sessionKey": [SESSION_KEY] }),
        json!({ "sessionKey": { "x": SESSION_KEY } }),
        json!({ "key": SESSION_KEY }),
    ] {
        app.api.call(Method::PUT, "/v1/voip/sessions/open-id", Some(&app.key), Some(wrong)).await.refused();
    }
    let join = json!({ "signature": "0".repeat(64), "nonceStr": "once", "timeStamp": token::now(), "roomType": "voice" });
    let user = app.user_token("open-id", false);
    app.api.post("/v1/voip/rooms/group/members", &user, join).await.refused();
}

/// Every credential in every place of an RTMP or FLV request, right and wrong, in the clear and over TLS.
async fn media(scene: &Scene, authority: &Authority) {
    for (number, credential) in scene.credentials().into_iter().enumerate().step_by(2) {
        let url = [&scene.publish, &scene.play][number / 2 % 2].with_token(&credential);
        for (place, to) in [url.in_name(), url.in_app(), url.in_tc_url()].iter().enumerate() {
            if (number / 2 + place) % 2 == 0 && credential != scene.publish.token {
                Peer::publish_placed(to).await.err().expect("refused");
            } else if credential != scene.play.token {
                Peer::play_placed(to).await.err().expect("refused");
            }
        }
        // A key where the stream's name or the app ought to be, as users of OBS do it.
        let named = MediaUrl { stream: credential.clone(), ..scene.publish.clone() };
        Peer::publish(&named).await.err().expect("refused");
        let named = MediaUrl { app: format!("live/{credential}"), ..scene.publish.with_token("x") };
        Peer::publish(&named).await.err().expect("refused");
        let path = format!("/live/{}.flv?t={credential}", scene.stream);
        if credential != scene.play.token {
            scene.app.api.call(Method::GET, &path, None, None).await.refused();
        }
        scene
            .app
            .api
            .call(Method::GET, &format!("/live/{credential}.flv?t={credential}"), None, None)
            .await
            .refused();
        scene
            .app
            .api
            .call(Method::GET, &format!("/live/{}?hevc={credential}", scene.stream), None, None)
            .await
            .refused();
    }
    let feed = Peer::publish(&scene.publish).await.expect("publish").feed(flv::clip());
    let watch = Peer::play(&scene.play).await.expect("play").watch();
    watch.more_pictures(3).await;
    let tls = authority.connect(scene.gateway.rtmps()).await;
    let url = scene.publish.over_tls(scene.gateway.rtmps());
    Peer::publish_over(tls, &url.with_token(PASSWORD)).await.err().expect("refused");
    scene.conference.kick(&["boris"]).await.expect("kick");
    watch.closed().await;
    Peer::play(&scene.play).await.err().expect("kicked");
    drop(feed);
}

/// Credentials where they do not belong: in paths, queries, headers, methods and broken requests.
async fn http(scene: &Scene) {
    let gateway = &scene.gateway;
    for (number, credential) in scene.credentials().into_iter().enumerate().step_by(2) {
        for path in [
            format!("/v1/conferences/{credential}"),
            format!("/v1/{credential}"),
            format!("/{credential}"),
            format!("/v1/conferences/{}/streams/{credential}", scene.conference.id),
            format!("/v1/conferences?limit={credential}"),
            format!("/v1/conferences?cursor={credential}"),
            format!("/v1/conferences?{credential}=1"),
            format!("/v1/sessions?confrId={credential}"),
            format!("/v1/conferences/{}?access_token={credential}", scene.conference.id),
        ] {
            let bearer = (number / 2 % 2 == 0).then_some(credential.as_str());
            let _ = scene.app.api.call(Method::GET, &path, bearer, None).await;
        }
        for (header, value) in [
            ("authorization", format!("Basic {credential}")),
            ("authorization", credential.clone()),
            ("cookie", format!("token={credential}")),
            ("referer", format!("http://h/?t={credential}")),
            ("user-agent", credential.clone()),
            ("x-forwarded-for", credential.clone()),
        ] {
            let path = scene.conference.path("");
            scene.app.api.call_with(Method::GET, &path, None, &[(header, &value)], None).await.refused();
        }
        for broken in [
            format!("GET /{credential} HTTP/1.1\r\n\r\n"),
            format!("GET /live/x.flv?t={credential} HTTP/9.9\r\nhost: x\r\n\r\n"),
            format!("{credential} / HTTP/1.1\r\nhost: x\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nhost: {credential}\r\nconnection: close\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nauthorization {credential}\r\n\r\n"),
            format!("GET /?t={credential}&x={} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(70_000)),
            format!(
                "POST /v1/conferences HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {credential}\r\ncontent-length: -1\r\n\r\n"
            ),
        ] {
            scene.raw(gateway.http, broken.as_bytes()).await;
        }
        // Plain text at doors that speak something else.
        let plain = format!("GET /?t={credential} HTTP/1.1\r\nhost: x\r\n\r\n");
        for door in [gateway.https(), gateway.rtmps(), gateway.rtmp] {
            scene.raw(door, plain.as_bytes()).await;
        }
        let ops = format!(
            "GET /metrics?t={credential} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {credential}x\r\nconnection: close\r\n\r\n"
        );
        scene.raw(gateway.ops, ops.as_bytes()).await;
    }
}

/// Bodies that are cut, of wrong types, and with fields twice. A field that nobody knows is named in the refusal, as the
/// contract asks.
async fn bodies(scene: &Scene) {
    let (app, confr) = (&scene.app, &scene.conference);
    let paths = ["/members", "/tickets", "/kick", "/roles", "/mute", "/messages", "/relays", "/streams"]
        .map(|rest| confr.path(rest));
    let paths: Vec<String> = paths
        .into_iter()
        .chain(["/v1/conferences", "/v1/user-tokens", "/v1/rooms/room/members"].map(str::to_owned))
        .collect();
    for secret in [scene.ticket.as_str(), PASSWORD] {
        let bodies = [
            format!("{{\"ticket\":\"{secret}"),
            format!("{{\"ticket\":\"{secret}\"}} {secret}"),
            secret.to_owned(),
            format!("\"{secret}\""),
            format!("[\"{secret}\"]"),
            format!("{{\"role\":\"{secret}\",\"memberNames\":\"{secret}\"}}"),
            format!("{{\"ttlSeconds\":\"{secret}\",\"user\":\"{secret}/\"}}"),
            format!("{{\"confrType\":\"{secret}\"}}"),
            format!("{{\"password\":{{\"x\":\"{secret}\"}}}}"),
            format!("{{\"password\":[\"{secret}\"],\"ticket\":[\"{secret}\"]}}"),
            format!("{{\"rtcId\":\"{secret}/\",\"type\":\"{secret}\"}}"),
            format!("{{\"ticket\":\"{secret}\",\"ticket\":\"{secret}\"}}"),
            format!("{{\"direction\":\"{secret}\",\"streamId\":\"{secret}\",\"url\":\"{secret}\"}}"),
            format!("{{\"to\":[\"{secret}\"],\"body\":1,\"client\":\"{secret}\"}}"),
        ];
        for path in &paths {
            for (number, body) in bodies.iter().enumerate() {
                let bearer = [&app.key, &scene.anna.token][number % 2];
                let _ = app.api.call_raw(Method::POST, path, Some(bearer), body.clone().into_bytes()).await;
            }
        }
        let long = format!("{{\"ticket\":\"{secret}\",\"x\":\"{}\"}}", "x".repeat(70_000));
        app.api.call_raw(Method::POST, &paths[0], None, long.into_bytes()).await.refused();
        for key in [secret.to_owned(), format!("{secret}\u{e9}")] {
            let headers = [("idempotency-key", key.as_str())];
            let _ = app
                .api
                .call_with(Method::POST, "/v1/conferences", Some(&app.key), &headers, Some(json!({ "x": 1 })))
                .await;
        }
    }
    for wrong in ["wrong-guess-of-the-scene-1", "wrong-guess-of-the-scene-2"] {
        let eve = app.user_token("eve", false);
        app.api.join_with(&confr.id, Some(&eve), json!({ "password": wrong })).await.refused();
    }
}

/// Event and FLV sockets with the token in the query, in the subprotocol and in the header, right and wrong.
async fn sockets(scene: &Scene) {
    let at = scene.gateway.http;
    let mut feed = EventSocket::of(&scene.anna).await;
    scene.conference.member("seen", 1).await;
    feed.until("a member joins", |frame| frame["type"] == "memberJoined").await;
    let events = scene.anna.path("/events");
    for credential in scene.credentials().into_iter().step_by(3) {
        for (url, protocol) in [
            (format!("ws://{at}{events}?access_token={credential}"), None),
            (format!("ws://{at}{events}?after={credential}"), None),
            (format!("ws://{at}{events}"), Some(format!("tidegate.{credential}"))),
            (format!("ws://{at}/live/{}.flv?t={credential}x", scene.stream), None),
        ] {
            let mut request = url.into_client_request().expect("a request");
            if let Some(protocol) = protocol.and_then(|protocol| protocol.parse().ok()) {
                request.headers_mut().insert("sec-websocket-protocol", protocol);
            }
            let stream = TcpStream::connect(at).await.expect("connects");
            match within(EVENT, "an upgrade", tokio_tungstenite::client_async(request, stream)).await {
                Ok((mut socket, _)) => {
                    let first = within(EVENT, "a frame", socket.next()).await;
                    scene.gateway.secrets().assert_absent("a frame", &format!("{first:?}"));
                }
                Err(error) => scene.gateway.secrets().assert_absent("a refused upgrade", &error.to_string()),
            }
        }
    }
}

/// What may be read again and again must not echo what is told once.
async fn answers(scene: &Scene) {
    let app = &scene.app;
    let secrets = scene.gateway.secrets();
    let confr = &scene.conference;
    for (path, bearer) in [
        ("/v1/conferences".to_owned(), &app.key),
        (confr.path(""), &app.key),
        (confr.path(""), &scene.anna.token),
        (confr.path("/events?after=0&limit=100"), &app.key),
        (confr.path("/events?after=0&limit=100"), &scene.anna.token),
        (confr.path("/relays"), &app.key),
        ("/v1/sessions".to_owned(), &app.key),
        ("/v1/overview".to_owned(), &app.key),
        ("/v1/webhooks/dead-letters".to_owned(), &app.key),
        ("/v1/webhooks".to_owned(), &app.key),
        ("/openapi.json".to_owned(), &app.key),
    ] {
        let answer = app.api.get(&path, bearer).await.expect(&path);
        // The app may read where its own webhooks go, with whatever it put into that URL.
        let shown = answer.to_string().replace(HOOK_QUERY, "");
        secrets.assert_absent(&path, &shown);
    }
    let metrics =
        app.api.client().get(format!("http://{}/metrics", scene.gateway.ops)).bearer_auth(OPS_TOKEN);
    let metrics = metrics.send().await.expect("metrics").text().await.expect("metrics");
    assert!(metrics.contains("# EOF"), "{metrics}");
    secrets.assert_absent("/metrics", &metrics);
}

async fn commands(scene: &Scene) {
    let (setup, secrets) = (&scene.gateway.setup, scene.gateway.secrets());
    for arguments in [
        &["sessions"][..],
        &["sessions", "--json"],
        &["conferences", "--json"],
        &["conference", "show", &scene.conference.id],
        &["conference", "show", &scene.conference.id, "--json"],
        &["events", &scene.conference.id],
        &["events", &scene.conference.id, "--json"],
        &["app", "list"],
        &["doctor"],
        &["serve", "--check"],
        &["serve", "--print-config"],
        &["conference", "show", PASSWORD],
        &["kick", &scene.ticket, "x"],
        &["conferences", "--app-key-file", "/dev/null"],
    ] {
        let ended = setup.run(arguments).await;
        let said = format!("{}{}", ended.stdout, ended.stderr);
        // What somebody types is theirs already.
        let said = arguments.iter().fold(said, |said, argument| said.replace(argument, ""));
        secrets.assert_absent(&format!("tidegate {}", arguments.join(" ")), &said);
    }
}

/// What the gateway has no reason to write down as it is: rights that it signs, passwords that it hashes, and what it seals.
fn never_stored(scene: &Scene) -> Secrets {
    let secrets = Secrets::default();
    for secret in [
        &scene.ticket,
        &scene.conference.ticket,
        &scene.anna.token,
        &scene.boris.token,
        &scene.publish.token,
        &scene.play.token,
        PASSWORD,
        SESSION_KEY,
        FAR_KEY,
        FAR_SIGNATURE,
        OPS_TOKEN,
        MASTER_KEY,
    ] {
        secrets.learn(secret);
    }
    secrets
}

fn at_rest(setup: &Setup, never_stored: &Secrets) {
    let (mut files, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(setup.data_path()).expect("the data directory") {
        let path = entry.expect("an entry").path();
        let Ok(content) = std::fs::read(&path) else { continue };
        let found = never_stored.found_in(&content);
        assert_eq!(found, None, "{} holds a secret", path.display());
        files += 1;
        bytes += content.len();
    }
    assert!(files >= 2 && bytes > 10_000, "{files} files, {bytes} bytes");
}
