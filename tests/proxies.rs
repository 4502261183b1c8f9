//! The example of a reverse proxy in deploy/nginx, as a real nginx runs it: event sockets and live FLV pass at once, URLs name
//! the proxy, and its log holds no token.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use futures_util::StreamExt as _;
use serde_json::Value;
use support::process::Running;
use support::wait::until;
use support::{Api, Authority, EVENT, Gateway, Peer, Setup, flv, within};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

/// A gateway behind nginx.
struct Stage {
    authority: Authority,
    gateway: Gateway,
    /// Where nginx speaks TLS, and where it sends on to there.
    secure: SocketAddr,
    plain: SocketAddr,
    log: std::path::PathBuf,
    _nginx: Running,
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port")
}

/// The example with this machine's places in it: every one of them must be there to be replaced.
fn example(replace: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nginx/tidegate.conf");
    let mut text = std::fs::read_to_string(path).expect("the example");
    for (from, to) in replace {
        assert!(text.contains(from), "{from} is not in the example");
        text = text.replace(from, to);
    }
    text
}

impl Stage {
    async fn new() -> Self {
        let authority = Authority::new();
        let issued = authority.issue("proxy");
        let (secure, plain) = (free(), free());
        let setup = Setup::new()
            .env("TIDEGATE_PUBLIC_HTTP_URL", format!("https://localhost:{}", secure.port()))
            .env("TIDEGATE_TRUSTED_PROXIES", "127.0.0.1");
        let gateway = setup.start().await;
        let home = gateway.setup.home();
        let log = home.join("access.log");
        let server = example(&[
            ("server 127.0.0.1:8080;", format!("server {};", gateway.http)),
            ("    listen [::]:80;\n", String::new()),
            ("    listen [::]:443 ssl;\n", String::new()),
            ("listen 80;", format!("listen {plain};")),
            ("listen 443 ssl;", format!("listen {secure} ssl;")),
            ("live.example.com;", "localhost;".to_owned()),
            (
                "/etc/letsencrypt/live/live.example.com/fullchain.pem",
                issued.certificate.display().to_string(),
            ),
            ("/etc/letsencrypt/live/live.example.com/privkey.pem", issued.key.display().to_string()),
            ("/var/log/nginx/tidegate.log", log.display().to_string()),
        ]);
        let home = home.display();
        let file = format!(
            "daemon off; master_process off; pid {home}/nginx.pid; error_log stderr notice;\nevents {{}}\nhttp {{\n\
             client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/f;\n\
             uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;\n{server}\n}}\n"
        );
        let config = gateway.setup.home().join("nginx.conf");
        std::fs::write(&config, file).expect("written");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&config);
        let nginx = Running::start("nginx", command);
        until(EVENT, "nginx listens", || async { TcpStream::connect(secure).await.ok() }).await;
        Self { authority, gateway, secure, plain, log, _nginx: nginx }
    }

    fn api(&self) -> Api {
        Api::over_tls(self.secure, self.gateway.secrets().clone(), &self.authority.pem())
    }

    /// A WebSocket at a `wss://` URL that the gateway gave.
    async fn socket(
        &self,
        url: &str,
    ) -> WebSocketStream<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + use<>> {
        assert!(
            url.starts_with(&format!("wss://localhost:{}/", self.secure.port())),
            "the URL leads elsewhere"
        );
        let request = url.into_client_request().expect("a request");
        let stream = self.authority.connect(self.secure).await;
        within(EVENT, "an upgrade", client_async(request, stream)).await.expect("upgraded").0
    }
}

#[tokio::test]
async fn sockets_and_live_media_pass_the_example_for_nginx() {
    let stage = Stage::new().await;
    let app = stage.gateway.app().await.at(stage.api());
    let conference = app.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());

    // Events, as they happen.
    let ticket = conference.ticket("boris", 1).await;
    let joined = conference
        .app
        .api
        .post(&conference.path("/members"), &ticket, serde_json::json!({}))
        .await
        .expect("joined");
    let events = format!(
        "{}?access_token={}",
        support::api::text(&joined, "/eventsUrl"),
        support::api::text(&joined, "/roleToken")
    );
    let mut socket = stage.socket(&events).await;
    let mut next = async || loop {
        match within(EVENT, "a frame", socket.next()).await {
            Some(Ok(Message::Text(text))) => break serde_json::from_str::<Value>(&text).expect("JSON"),
            Some(Ok(_)) => {}
            other => panic!("{other:?} instead of a frame"),
        }
    };
    assert_eq!(next().await["type"], "snapshot");
    let clara = conference.member("clara", 3).await;
    while next().await["type"] != "memberJoined" {}

    // Media, while it flows: neither body has an end.
    let urls = clara.subscribe(&published.stream_id).await.expect("subStream");
    assert!(urls.flv.starts_with(&format!("https://localhost:{}/", stage.secure.port())));
    let mut body = stage.api().client().get(&urls.flv).send().await.expect("an answer");
    assert_eq!(body.status(), 200);
    let mut bytes = Vec::new();
    within(EVENT, "pictures over HTTPS", async {
        while flv::tags(&bytes).0.iter().filter(|tag| tag.is_picture()).count() < 5 {
            bytes.extend_from_slice(&body.chunk().await.expect("it goes on").expect("it does not end"));
        }
    })
    .await;
    let mut socket = stage.socket(&urls.ws_flv).await;
    let mut bytes = Vec::new();
    within(EVENT, "pictures over a WebSocket", async {
        while flv::tags(&bytes).0.iter().filter(|tag| tag.is_picture()).count() < 5 {
            match socket.next().await {
                Some(Ok(Message::Binary(piece))) => bytes.extend_from_slice(&piece),
                Some(Ok(_)) => {}
                other => panic!("{other:?} instead of media"),
            }
        }
    })
    .await;
    assert!(feed.is_open());

    // The proxy's own.
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    let plain = client.expect("a client").get(format!("http://{}/docs?x=1", stage.plain)).send().await;
    let plain = plain.expect("an answer");
    assert_eq!(
        (plain.status().as_u16(), &plain.headers()["location"]),
        (308, &"https://127.0.0.1/docs?x=1".parse().expect("text"))
    );
    drop((body, socket));
    let log = until(EVENT, "the play is in the proxy's log", || async {
        std::fs::read_to_string(&stage.log).ok().filter(|log| log.contains(".flv"))
    });
    let log = log.await;
    stage.gateway.secrets().assert_absent("the proxy's log", &log);
    assert!(!log.contains("?"), "a query is in the proxy's log");
    stage.gateway.stop().await;
}
