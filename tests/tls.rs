//! RTMPS and HTTPS: the same as without TLS, with a certificate that is renewed under way.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use support::api::{Conference, Member, PublishAnswer, text};
use support::flv::Tag;
use support::peer::Feed;
use support::tls::certificate_of;
use support::wait::until;
use support::{Api, Authority, EVENT, Gateway, Peer, Setup, flv, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

struct Stage {
    authority: Authority,

    gateway: Gateway,
    conference: Conference,
    anna: Member,
    boris: Member,
    published: PublishAnswer,
}

impl Stage {
    async fn new(setup: Setup) -> Self {
        let authority = Authority::new();
        let issued = authority.issue("first");
        let gateway = setup.with_tls(&issued.certificate, &issued.key).start().await;
        let conference = gateway.app().await.conference().await;
        let anna = conference.member("anna", 3).await;
        let boris = conference.member("boris", 1).await;
        let published = anna.publish("RTC1").await.expect("pubStream");
        Self { authority, gateway, conference, anna, boris, published }
    }

    /// Somebody publishes the clip over TLS.
    async fn feed(&self) -> Feed {
        let stream = self.authority.connect(self.gateway.rtmps()).await;
        let url = self.published.url.over_tls(self.gateway.rtmps());
        Peer::publish_over(stream, &url).await.expect("publish").feed(flv::clip())
    }

    async fn play_url(&self) -> support::MediaUrl {
        let url = self.boris.subscribe(&self.published.stream_id).await.expect("subStream").url;
        url.over_tls(self.gateway.rtmps())
    }

    /// A client of the API that came by HTTPS.
    fn api(&self) -> Api {
        Api::over_tls(self.gateway.https(), self.gateway.secrets().clone(), &self.authority.pem())
    }

    async fn sessions(&self) -> usize {
        let app = &self.conference.app;
        let page = app.api.get("/v1/sessions", &app.key).await.expect("a page");
        page["sessions"].as_array().expect("sessions").len()
    }
}

#[tokio::test]
async fn media_calls_and_urls_are_the_same_over_tls() {
    let stage = Stage::new(Setup::new()).await;
    let _feed = stage.feed().await;
    let stream = stage.authority.connect(stage.gateway.rtmps()).await;
    let viewer = Peer::play_over(stream, &stage.play_url().await).await.expect("play").watch();
    viewer.more_pictures(20).await;

    let (api, https) = (stage.api(), stage.gateway.https());
    let boris = stage.boris.at(api.clone());
    let urls = boris.subscribe(&stage.published.stream_id).await.expect("subStream");
    assert_eq!(urls.url.scheme, "rtmp", "what every phone takes, unless only TLS listens");
    assert_eq!(urls.url.address, stage.gateway.rtmp);
    assert!(urls.flv.starts_with(&format!("https://{https}/live/")), "{}", urls.flv);
    assert!(urls.ws_flv.starts_with(&format!("wss://{https}/live/")), "{}", urls.ws_flv);
    let ticket = stage.conference.ticket("clara", 1).await;
    let path = stage.conference.path("/members");
    let body = serde_json::json!({ "ticket": ticket });
    let joined = api.call(reqwest::Method::POST, &path, None, Some(body)).await.expect("a join");
    assert!(text(&joined, "/eventsUrl").starts_with(&format!("wss://{https}/v1/")), "{joined}");

    let mut body = api.client().get(&urls.flv).send().await.expect("an answer");
    let mut bytes = Vec::new();
    within(EVENT, "pictures over HTTPS", async {
        while flv::tags(&bytes).0.iter().filter(|tag| tag.is_picture()).count() < 20 {
            bytes.extend_from_slice(&body.chunk().await.expect("goes on").expect("no end"));
        }
    })
    .await;
    assert!(flv::tags(&bytes).0.iter().find(|tag| tag.is_picture()).is_some_and(Tag::is_keyframe));

    let plain = stage.boris.subscribe(&stage.published.stream_id).await.expect("subStream");
    assert!(plain.flv.starts_with("http://") && plain.ws_flv.starts_with("ws://"), "{}", plain.flv);
    drop((viewer, body));
    stage.gateway.stop().await;
}

#[tokio::test]
async fn where_only_rtmps_listens_its_urls_are_given() {
    let stage = Stage::new(Setup::new().env("TIDEGATE_RTMP_LISTEN", "")).await;
    assert_eq!(stage.gateway.rtmp.port(), 0, "RTMP is switched off");
    assert_eq!(stage.published.url.scheme, "rtmps");
    assert_eq!(stage.published.url.address, stage.gateway.rtmps());
    assert!(stage.published.server.starts_with("rtmps://"), "{}", stage.published.server);
    stage.gateway.stop().await;
}

#[tokio::test]
async fn https_speaks_http_1_1_and_says_so() {
    let stage = Stage::new(Setup::new()).await;
    let offered = stage.authority.try_connect(stage.gateway.https(), &["h2", "http/1.1"]).await.expect("TLS");
    assert_eq!(offered.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let refused = stage.authority.try_connect(stage.gateway.https(), &["h2"]).await;
    assert!(refused.is_err(), "a client that takes nothing else is told at once");
    let rtmp = stage.authority.try_connect(stage.gateway.rtmps(), &["anything"]).await;
    assert!(rtmp.is_ok(), "RTMP has no name there: {:?}", rtmp.err());
    stage.gateway.stop().await;
}

/// Makes `link` point at `target` at one moment, as certbot and Kubernetes do.
fn point(link: &Path, target: &Path) {
    let new = link.with_extension("new");
    std::os::unix::fs::symlink(target, &new).expect("a link");
    std::fs::rename(&new, link).expect("the link is swapped");
}

/// A folder with the pair under fixed names, as Kubernetes projects a secret.
fn folder(home: &Path, name: &str, certificate: &Path, key: &Path) -> PathBuf {
    let folder = home.join(name);
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::copy(certificate, folder.join("tls.crt")).expect("a copy");
    std::fs::copy(key, folder.join("tls.key")).expect("a copy");
    folder
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_cut_and_a_bad_one_is_not() {
    let authority = Authority::new();
    let (first, second, third) =
        (authority.issue("first"), authority.issue("second"), authority.issue("third"));
    let setup = Setup::new();
    let link = setup.home().join("live");
    point(&link, &folder(setup.home(), "v1", &first.certificate, &first.key));
    let gateway = setup.clone().with_tls(&link.join("tls.crt"), &link.join("tls.key")).start().await;
    let end = gateway.metric("tidegate_tls_certificate_not_after_seconds").await.expect("an end");
    let days = (end - support::token::now() as f64) / 86_400.0;
    assert!((28.0..31.0).contains(&days), "{days}");

    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let publisher = authority.connect(gateway.rtmps()).await;
    assert_eq!(certificate_of(&publisher), first.der());
    let url = published.url.over_tls(gateway.rtmps());
    let feed = Peer::publish_over(publisher, &url).await.expect("publish").feed(flv::clip());
    let url = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    let viewer = authority.connect(gateway.rtmps()).await;
    let viewer = Peer::play_over(viewer, &url).await.expect("play").watch();
    viewer.more_pictures(1).await;

    // Every connection on the way is good: with the old certificate, then with the new one.
    point(&link, &folder(setup.home(), "v2", &second.certificate, &second.key));
    for address in [gateway.rtmps(), gateway.https()] {
        until(EVENT, "the second certificate", async || {
            let shown = authority.shown_at(address).await;
            assert!([first.der(), second.der()].contains(&shown));
            (shown == second.der()).then_some(())
        })
        .await;
    }
    assert_eq!(gateway.metric("tidegate_tls_certificate_reloads_total{outcome=\"loaded\"}").await, Some(1.0));

    // A key of another pair, then a file that is gone: told, and the second certificate stays.
    let failed = || gateway.metric("tidegate_tls_certificate_reloads_total{outcome=\"failed\"}");
    point(&link, &folder(setup.home(), "v3", &third.certificate, &first.key));
    until(EVENT, "the bad pair is told", async || failed().await.filter(|count| *count == 1.0)).await;
    assert_eq!(authority.shown_at(gateway.https()).await, second.der());
    std::fs::remove_file(&link).expect("the link is gone");
    until(EVENT, "the lost pair is told", async || failed().await.filter(|count| *count == 2.0)).await;
    assert_eq!(authority.shown_at(gateway.rtmps()).await, second.der());
    let log = gateway.process.stderr.text();
    assert!(log.contains("does not fit the first certificate") && log.contains("stays in use"), "{log}");

    // Written over in place, one file after the other.
    point(&link, &folder(setup.home(), "v4", &third.certificate, &first.key));
    std::fs::copy(&third.key, link.join("tls.key")).expect("the key is written over");
    until(EVENT, "the third certificate", async || {
        (authority.shown_at(gateway.https()).await == third.der()).then_some(())
    })
    .await;
    viewer.more_pictures(5).await;
    assert!(feed.is_open(), "nobody was dropped");
    drop((viewer, feed));
    gateway.stop().await;
}

#[tokio::test]
async fn a_kick_cuts_viewers_over_tls_hard() {
    let stage = Stage::new(Setup::new()).await;
    let _feed = stage.feed().await;
    let url = stage.play_url().await;
    let reading = stage.authority.connect(stage.gateway.rtmps()).await;
    let reading = Peer::play_over(reading, &url).await.expect("play").watch();
    reading.more_pictures(5).await;
    let narrow = stage.authority.connect_narrow(stage.gateway.rtmps()).await;
    let mut not_reading = Peer::play_over(narrow, &url).await.expect("play");
    let mut flv_socket = stage.authority.connect_narrow(stage.gateway.https()).await;
    let flv_url = stage.boris.subscribe(&stage.published.stream_id).await.expect("subStream").flv;
    let (_, path) = flv_url.split_once("/live/").expect("a path");
    let request = format!("GET /live/{path} HTTP/1.1\r\nhost: x\r\n\r\n");
    flv_socket.write_all(request.as_bytes()).await.expect("the request leaves");
    until(EVENT, "the FLV session", async || (stage.sessions().await == 4).then_some(())).await;

    stage.conference.kick(&["boris"]).await.expect("kick");
    assert_eq!(stage.sessions().await, 1, "only the publisher is left");
    let end = reading.closed().await;
    let told = end.statuses.last().expect("who reads is told why");
    told.assert_refuses("NetStream.Play.Failed", "member_gone");
    // Who did not read gets what the network had, and then a reset in place of an end.
    within(EVENT, "the end over RTMPS", async {
        while !matches!(not_reading.next().await, support::Seen::Closed) {}
    })
    .await;
    assert_eq!(not_reading.broke, Some(ErrorKind::ConnectionReset));
    let mut rest = Vec::new();
    let ended = within(EVENT, "the end over HTTPS", flv_socket.read_to_end(&mut rest)).await;
    assert_eq!(ended.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    assert!(stage.anna.look().await.is_ok());
    stage.gateway.stop().await;
}

#[tokio::test]
async fn a_viewer_that_takes_nothing_is_closed_and_hurts_nobody() {
    let stage = Stage::new(Setup::new().env("TIDEGATE_VIEWER_STALL_MS", 1000)).await;
    let url = stage.published.url.over_tls(stage.gateway.rtmps());
    let publisher = stage.authority.connect(stage.gateway.rtmps()).await;
    let mut publisher = Peer::publish_over(publisher, &url).await.expect("publish");
    let mut keyframe = flv::clip().into_iter().find(Tag::is_keyframe).expect("a keyframe");
    keyframe.payload.resize(200_000, 0x5A);
    for header in flv::clip().iter().filter(|tag| tag.is_sequence_header()) {
        publisher.send(header, 0).await.expect("sent");
    }
    publisher.send(&keyframe, 0).await.expect("sent");
    let url = stage.play_url().await;
    let good = stage.authority.connect(stage.gateway.rtmps()).await;
    let good = Peer::play_over(good, &url).await.expect("play").watch();
    let narrow = stage.authority.connect_narrow(stage.gateway.rtmps()).await;
    let stuck = Peer::play_over(narrow, &url).await.expect("play");
    within(EVENT, "the stuck viewer is closed", async {
        for timestamp_ms in (40..).step_by(40) {
            publisher.send(&keyframe, timestamp_ms).await.expect("sent");
            good.more_pictures(1).await;
            if stage.gateway.metric("tidegate_viewers_stalled_total").await == Some(1.0) {
                break;
            }
        }
    })
    .await;
    assert_eq!(stage.sessions().await, 2, "the publisher and who reads are left");
    good.more_pictures(0).await;
    drop((stuck, good, publisher));
    stage.gateway.stop().await;
}

#[tokio::test]
async fn a_viewer_that_was_late_gets_the_last_of_what_waited() {
    let stage = Stage::new(Setup::new()).await;
    let url = stage.published.url.over_tls(stage.gateway.rtmps());
    let publisher = stage.authority.connect(stage.gateway.rtmps()).await;
    let mut publisher = Peer::publish_over(publisher, &url).await.expect("publish");
    let mut keyframe = flv::clip().into_iter().find(Tag::is_keyframe).expect("a keyframe");
    keyframe.payload.resize(200_000, 0x5A);
    let request = serde_json::json!({ "profile": "live" });
    let urls = stage.boris.subscribe_as(&stage.published.stream_id, request).await.expect("subStream");
    let url = urls.url.over_tls(stage.gateway.rtmps());
    let mut viewers = Vec::new();
    for _ in 0..2 {
        let stream = stage.authority.connect(stage.gateway.rtmps()).await;
        viewers.push(Peer::play_over(stream, &url).await.expect("play"));
    }
    let (late, prompt) = (viewers.pop().expect("two"), viewers.pop().expect("two").watch());
    // More than both kernels hold, in pieces that TLS takes whole, and then nothing that would push the rest.
    publisher.send(&keyframe, 0).await.expect("sent");
    let mut small = keyframe;
    small.payload.truncate(1500);
    small.payload[0] = 0x27;
    for picture in 1..3500 {
        publisher.send(&small, picture * 2).await.expect("sent");
    }
    prompt.until("all pictures", |notes| notes.pictures() == 3500).await;
    late.watch().until("all pictures, to the last byte", |notes| notes.pictures() == 3500).await;
    drop(publisher);
    stage.gateway.stop().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_or_is_none_ends_the_connection() {
    let stage = Stage::new(Setup::new().env("TIDEGATE_HANDSHAKE_TIMEOUT_MS", 300)).await;
    let failed = |cause: &str| format!("tidegate_handshakes_failed_total{{cause=\"{cause}\"}}");
    for address in [stage.gateway.rtmps(), stage.gateway.https()] {
        // The head of a TLS hello that never goes on, a word of RTMP, and TLS without a request.
        let mut half = TcpStream::connect(address).await.expect("connects");
        half.write_all(&[0x16, 3, 1, 2, 0, 1]).await.expect("sent");
        let mut plain = TcpStream::connect(address).await.expect("connects");
        plain.write_all(&[3; 1537]).await.expect("sent");
        let mut silent = stage.authority.connect(address).await;
        for stream in [&mut half, &mut plain] {
            let mut rest = Vec::new();
            let _ = within(EVENT, "the end of no handshake", stream.read_to_end(&mut rest)).await;
        }
        let mut rest = Vec::new();
        let _ = within(EVENT, "the end of a silent one", silent.read_to_end(&mut rest)).await;
        assert_eq!(rest, b"", "nothing was asked and nothing answered");
    }
    assert_eq!(stage.gateway.metric(&failed("timeout")).await, Some(4.0));
    assert_eq!(stage.gateway.metric(&failed("tls")).await, Some(2.0));
    assert_eq!(stage.gateway.metric("tidegate_connections{protocol=\"rtmp\"}").await, Some(0.0));
    stage.gateway.stop().await;
}

/// `serve --check` and `serve` with these files, which must be refused with these words.
async fn refused(certificate: &Path, key: &Path, words: &[&str]) {
    let setup = Setup::new().with_tls(certificate, key);
    let checked = setup.run(&["serve", "--check"]).await;
    let started = setup.refused().await;
    for ended in [checked, started] {
        assert_eq!(ended.status.code(), Some(1));
        let line = ended.stderr.lines().last().unwrap_or_default().to_owned();
        for word in words {
            assert!(line.contains(word), "{word:?} is not in {line:?}");
        }
        assert!(line.contains(';'), "it says how to mend it: {line}");
        assert!(!ended.stderr.contains("PRIVATE KEY-----\n"), "no key is told");
    }
}

#[tokio::test]
async fn files_that_are_no_pair_refuse_the_start_by_name() {
    let authority = Authority::new();
    let (one, other) = (authority.issue("one"), authority.issue("other"));
    let missing = authority.path("missing.pem");
    let name = |path: &Path| path.to_str().expect("text").to_owned();
    refused(&missing, &one.key, &["tls_cert", &name(&missing), "No such file"]).await;
    refused(&one.certificate, &missing, &["tls_key", &name(&missing), "No such file"]).await;
    let mixed = ["does not fit", &name(&one.certificate), &name(&other.key)];
    refused(&one.certificate, &other.key, &mixed).await;
    refused(&one.key, &one.certificate, &["tls_cert", "a private key", "swapped"]).await;
    refused(&one.certificate, &one.certificate, &["tls_key", "a certificate", "swapped"]).await;

    let der = authority.path("one.der");
    std::fs::write(&der, one.der()).expect("written");
    refused(&der, &one.key, &["tls_cert", &name(&der), "PEM", "openssl x509"]).await;
    let text = std::fs::read_to_string(&one.key).expect("the key");
    let broken = authority.path("broken.key");
    std::fs::write(&broken, text.replace("-----END", "-----STOP")).expect("written");
    refused(&one.certificate, &broken, &["tls_key", &name(&broken), "damaged"]).await;
    std::fs::write(&broken, text.replacen("\nM", "\n*", 1)).expect("written");
    refused(&one.certificate, &broken, &["tls_key", &name(&broken), "damaged"]).await;
    let long = authority.path("long.pem");
    std::fs::write(&long, vec![b'#'; 300_000]).expect("written");
    refused(&long, &one.key, &["tls_cert", &name(&long), "256 KiB"]).await;
    let sealed = authority.path("sealed.key");
    let ran = std::process::Command::new("openssl")
        .args(["pkcs8", "-topk8", "-passout", "pass:secret", "-in", &name(&one.key), "-out", &name(&sealed)])
        .status();
    assert!(ran.expect("openssl").success());
    refused(&one.certificate, &sealed, &["tls_key", &name(&sealed), "encrypted", "openssl pkey"]).await;
}

#[tokio::test]
async fn settings_that_are_half_of_tls_are_refused() {
    let authority = Authority::new();
    let issued = authority.issue("one");
    let whole = Setup::new().with_tls(&issued.certificate, &issued.key);
    assert!(whole.run(&["serve", "--check"]).await.status.success());
    for (missing, words) in [
        ("TIDEGATE_TLS_CERT", ["`tls_cert`", "TIDEGATE_TLS_CERT"]),
        ("TIDEGATE_TLS_KEY", ["`tls_key`", "TIDEGATE_TLS_KEY"]),
    ] {
        let ended = whole.clone().without_env(missing).run(&["serve", "--check"]).await;
        assert!(!ended.status.success());
        assert!(words.iter().all(|word| ended.stderr.contains(word)), "{}", ended.stderr);
    }
    let unused = whole.clone().without_env("TIDEGATE_RTMPS_LISTEN").without_env("TIDEGATE_HTTPS_LISTEN");
    let ended = unused.run(&["serve", "--check"]).await;
    assert!(ended.status.success() && ended.stderr.contains("have no effect"), "{ended:?}");
    let nowhere = Setup::new().env("TIDEGATE_RTMP_LISTEN", "");
    let ended = nowhere.run(&["serve", "--check"]).await;
    assert!(!ended.status.success() && ended.stderr.contains("nobody could publish"), "{ended:?}");
}

#[tokio::test]
async fn an_end_that_is_past_and_a_chain_that_is_cut_are_warned_of() {
    let authority = Authority::new();
    let chain = authority.pem();
    for (days, words, with_chain) in
        [("30", "the server's certificate alone", false), ("-1", "expired 1 day ago", true)]
    {
        let issued = authority.issue_for("one", days);
        if with_chain {
            let own = std::fs::read(&issued.certificate).expect("the certificate");
            std::fs::write(&issued.certificate, [own, chain.clone()].concat()).expect("written");
        }
        let setup = Setup::new().with_tls(&issued.certificate, &issued.key);
        let checked = setup.run(&["serve", "--check"]).await;
        assert!(checked.status.success(), "a warning is no refusal: {checked:?}");
        let gateway = setup.start().await;
        let log = gateway.process.stderr.text();
        for said in [&checked.stderr, &log] {
            assert!(said.contains(words), "{words:?} is not in {said}");
            assert_eq!(said.matches("tls_cert").count(), 1, "one thing at a time: {said}");
        }
        gateway.stop().await;
    }
    let issued = authority.issue("good");
    let checked = Setup::new().with_tls(&issued.certificate, &issued.key).run(&["serve", "--check"]).await;
    assert_eq!(checked.stderr, "");
}
