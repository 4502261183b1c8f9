//! Rights from outside, in the hands of somebody who has some of them: forged, cut, replayed and swapped; asked for where
//! they are not; shown as they expire.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::api::{Refused as _, text};
use support::peer::{PLAY_REFUSED, PUBLISH_REFUSED};
use support::wait::until;
use support::{Api, EVENT, Gateway, MediaUrl, Peer, Refusal, Setup, flv, raw, token, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The refusal of an FLV URL.
async fn flv_refusal(api: &Api, stream: &str, token: &str) -> Refusal {
    api.call(Method::GET, &format!("/live/{stream}.flv?t={token}"), None, None).await.refused()
}

/// The token with each bit turned over, and with each character exchanged.
fn changed(token: &str) -> Vec<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).expect("base64url");
    let mut all = Vec::new();
    for at in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        all.push(URL_SAFE_NO_PAD.encode(bytes));
    }
    all.extend((0..token.len()).map(|at| token::flipped(token, at)));
    all.retain(|changed| changed != token);
    all
}

#[tokio::test]
async fn no_bit_of_a_media_token_can_be_changed_and_no_part_of_it_left_out() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let urls = anna.subscribe(&published.stream_id).await.expect("subStream");
    let stream = &published.stream_id;
    // Without a publisher a good URL waits: so nobody but a forged one is answered at once.
    let mut tried = 0;
    for forged in changed(&urls.url.token) {
        flv_refusal(&anna.api, stream, &forged).await.assert_is(403, "url_invalid", -500);
        tried += 1;
    }
    for length in 0..urls.url.token.len() {
        flv_refusal(&anna.api, stream, &urls.url.token[..length]).await.assert_is(403, "url_invalid", -500);
        let tail = &urls.url.token[length + 1..];
        flv_refusal(&anna.api, stream, tail).await.assert_is(403, "url_invalid", -500);
        tried += 2;
    }
    assert!(tried > 800, "{tried}");
    // The same verifier stands behind RTMP; some of them there, in both directions.
    for forged in changed(&published.url.token).iter().step_by(37) {
        let refusal = Peer::publish(&published.url.with_token(forged)).await.err();
        refusal.expect(forged).assert_refuses(PUBLISH_REFUSED, "url_invalid");
    }
    for forged in changed(&urls.url.token).iter().step_by(37) {
        let refusal = Peer::play(&urls.url.with_token(forged)).await.err();
        refusal.expect(forged).assert_refuses(PLAY_REFUSED, "url_invalid");
    }
    let feed = Peer::publish(&published.url).await.expect("the true one admits").feed(flv::clip());
    Peer::play(&urls.url).await.expect("the true one admits").watch().more_pictures(3).await;
    assert!(feed.is_open());
    gateway.stop().await;
}

#[tokio::test]
async fn no_part_of_a_ticket_or_a_member_token_is_enough() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let api = &conference.app.api;
    let ticket = conference.ticket("anna", 3).await;
    let anna = api.join(&conference.id, &ticket).await.expect("joins");
    for length in 1..ticket.len() {
        let refusal = api.join(&conference.id, &ticket[..length]).await.refused();
        refusal.assert_is(401, "ticket_invalid", -500);
    }
    for length in 1..anna.token.len() {
        let refusal = api.get(&conference.path(""), &anna.token[..length]).await.refused();
        refusal.assert_is(401, "unauthenticated", -100);
    }
    for at in (0..ticket.len()).step_by(5) {
        let forged = token::flipped(&ticket, at);
        if forged != ticket {
            api.join(&conference.id, &forged).await.refused().assert_is(401, "ticket_invalid", -500);
        }
    }
    for at in (0..anna.token.len()).step_by(5) {
        let forged = token::flipped(&anna.token, at);
        if forged != anna.token {
            let refusal = api.get(&conference.path(""), &forged).await.refused();
            refusal.assert_is(401, "unauthenticated", -100);
        }
    }
    anna.look().await.expect("the true one still speaks");
    gateway.stop().await;
}

#[tokio::test]
async fn what_belonged_to_an_earlier_stay_is_worth_nothing_in_a_later_one() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let star = conference.member("star", 3).await;
    let shown = star.publish("RTC1").await.expect("pubStream");
    let _feed = Peer::publish(&shown.url).await.expect("publish").feed(flv::clip());
    for (way, reason) in [("leave", "member_gone"), ("kick", "member_gone"), ("rejoin", "member_gone")] {
        let ticket = conference.ticket("anna", 3).await;
        let before = conference.app.api.join(&conference.id, &ticket).await.expect("joins");
        let own = before.publish("RTC2").await.expect("pubStream");
        let view = before.subscribe(&shown.stream_id).await.expect("subStream");
        match way {
            "leave" => drop(before.exit().await.expect("exit")),
            "kick" => drop(conference.kick(&["anna"]).await.expect("kick")),
            _ => {}
        }
        let after = conference.member("anna", 3).await;
        assert_ne!(before.id, after.id);
        let again = after.publish("RTC2").await.expect("the same name in the later stay");
        // The old URLs with the old names, and the old tokens on the new names.
        let refusal = Peer::publish(&own.url).await.err().expect("of the earlier stay");
        refusal.assert_refuses(PUBLISH_REFUSED, reason);
        let refusal = Peer::publish(&again.url.with_token(&own.url.token)).await.err().expect("swapped");
        refusal.assert_refuses(PUBLISH_REFUSED, "url_invalid");
        let refusal = Peer::play(&view.url).await.err().expect("of the earlier stay");
        refusal.assert_refuses(PLAY_REFUSED, reason);
        flv_refusal(&after.api, &shown.stream_id, &view.url.token).await.assert_is(410, reason, -504);
        before.look().await.refused().assert_is(410, "member_gone", -504);
        Peer::publish(&again.url).await.expect("the new one is good").leave().await;
        after.exit().await.expect("exit");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_right_serves_one_direction_one_stream_one_member_one_conference_and_one_app() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let shown = gateway.setup.run(&["app", "add", "second"]).await;
    assert!(shown.status.success(), "{shown:?}");
    let key = shown.stdout.split_whitespace().find(|word| word.starts_with("second.")).expect("its key");
    let second = support::App::new(app.api.clone(), key);
    let (here, there, foreign) = (app.conference().await, app.conference().await, second.conference().await);
    let mut rights = Vec::new();
    for conference in [&here, &there, &foreign] {
        for name in ["anna", "boris"] {
            let member = conference.member(name, 3).await;
            let published = member.publish("RTC1").await.expect("pubStream");
            let view = member.subscribe(&published.stream_id).await.expect("subStream").url;
            rights.push((published.stream_id, published.url.token, view.token));
        }
    }
    let (stream, publish, play) = &rights[0];
    let url = MediaUrl::parse(&format!("rtmp://{}/live/{stream}?t={publish}", gateway.rtmp));
    for (index, (_, other_publish, other_play)) in rights.iter().enumerate() {
        // Whatever does not publish: anybody's right to play, and anybody else's right to publish.
        for swapped in [Some(other_play), (index > 0).then_some(other_publish)].into_iter().flatten() {
            let refusal = Peer::publish(&url.with_token(swapped)).await.err().expect("swapped");
            refusal.assert_refuses(PUBLISH_REFUSED, "url_invalid");
        }
        for swapped in [Some(other_publish), (index > 0).then_some(other_play)].into_iter().flatten() {
            let refusal = Peer::play(&url.with_token(swapped)).await.err().expect("swapped");
            refusal.assert_refuses(PLAY_REFUSED, "url_invalid");
            flv_refusal(&app.api, stream, swapped).await.assert_is(403, "url_invalid", -500);
        }
    }
    // A user token of one app is none in another, whoever's secret signs it and whichever app it names.
    let claims = |iss: &str| json!({ "iss": iss, "sub": "eve", "exp": token::now() + 60, "can": ["create"] });
    for (iss, secret) in [(&app.id, &second.secret), (&second.id, &app.secret)] {
        let forged = token::hs256(&claims(iss), secret.as_bytes());
        let call = app.api.post("/v1/conferences", &forged, json!({})).await;
        call.refused().assert_is(401, "unauthenticated", -100);
    }
    for wrong in [app.id.as_bytes(), app.key.as_bytes(), b"", b"\0"] {
        let forged = token::hs256(&claims(&app.id), wrong);
        let call = app.api.post("/v1/conferences", &forged, json!({})).await;
        call.refused().assert_is(401, "unauthenticated", -100);
    }
    let eve = token::hs256(&claims(&app.id), app.secret.as_bytes());
    let body = json!({ "password": foreign.password });
    let call = app.api.join_with(&foreign.id, Some(&eve), body).await;
    call.refused().assert_is(404, "conference_not_found", -301);
    app.api.get(&foreign.path(""), &app.key).await.refused().assert_is(404, "conference_not_found", -301);
    let mixed = format!("{}.{}", app.id, second.secret);
    app.api.get("/v1/conferences", &mixed).await.refused().assert_is(401, "unauthenticated", -100);
    // And the right ones are right.
    assert_ne!(publish, play);
    Peer::publish(&url).await.expect("its own").leave().await;
    gateway.stop().await;
}

#[tokio::test]
async fn who_proves_nothing_learns_nothing() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let claims = |iss: &str| json!({ "iss": iss, "sub": "eve", "exp": token::now() + 60, "can": ["create"] });
    let wrong = "x".repeat(app.secret.len());
    // Known and unknown app with a wrong credential; and then the same at a conference that is there and at none.
    let as_key = [format!("{}.{wrong}", app.id), format!("nobody.{wrong}"), "nobody.x".to_owned()];
    let as_user = [
        token::hs256(&claims(&app.id), wrong.as_bytes()),
        token::hs256(&claims("nobody"), wrong.as_bytes()),
        token::hs256(&claims("nobody"), app.secret.as_bytes()),
        token::hs256(&json!({ "iss": app.id, "sub": "anna", "exp": 1 }), wrong.as_bytes()),
        token::hs256(&json!({ "iss": "nobody", "sub": "anna", "exp": 1 }), wrong.as_bytes()),
    ];
    let as_ticket = [
        token::hs256(&json!({ "typ": "ticket", "iss": app.id, "confr": conference.id }), b"x"),
        token::hs256(&json!({ "typ": "ticket", "iss": "nobody", "confr": "TS_none" }), b"x"),
    ];
    let unknown = "/v1/conferences/TS_aaaaaaaaaaaaaaaa".to_owned();
    let places = [conference.path(""), unknown.clone()];
    for (kind, bearers) in [("key", &as_key[..]), ("user", &as_user), ("ticket", &as_ticket)] {
        for (method, rest) in [
            (Method::POST, "/members"),
            (Method::POST, "/tickets"),
            (Method::POST, "/kick"),
            (Method::GET, ""),
        ] {
            let mut answers = BTreeSet::new();
            for place in &places {
                for bearer in bearers {
                    let body = (method == Method::POST).then(|| json!({}));
                    let path = format!("{place}{rest}");
                    let call = app.api.call(method.clone(), &path, Some(bearer), body);
                    let refusal = call.await.refused();
                    assert_eq!(refusal.status, 401, "{kind}, {method} {place}{rest}: {refusal:?}");
                    answers.insert((refusal.status, refusal.reason, refusal.code, refusal.detail));
                }
            }
            assert_eq!(answers.len(), 1, "{kind}, {method} {rest} tells things apart: {answers:#?}");
        }
        let mut answers = BTreeSet::new();
        for bearer in bearers {
            let refusal = app.api.post("/v1/conferences", bearer, json!({})).await.refused();
            answers.insert((refusal.status, refusal.reason, refusal.code, refusal.detail));
        }
        assert_eq!(answers.len(), 1, "{kind} at the list tells things apart: {answers:#?}");
    }
    // A user of the app itself does not learn who is inside, nor whether a name is known.
    let known = conference.member("anna", 3).await;
    let mut answers = BTreeSet::new();
    for user in [known.name.as_str(), "nobody-at-all"] {
        let token = app.user_token(user, false);
        let body = json!({ "password": "wrong" });
        let refusal = app.api.join_with(&conference.id, Some(&token), body).await.refused();
        answers.insert((refusal.status, refusal.reason, refusal.code, refusal.detail));
    }
    assert_eq!(answers.len(), 1, "{answers:#?}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_right_that_expires_in_the_middle_of_a_handshake_does_not_admit() {
    let gateway = Setup::new().env("TIDEGATE_MEDIA_URL_TTL_SECONDS", 2).start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let view = anna.subscribe(&published.stream_id).await.expect("subStream");
    // Connected in time, and asked too late.
    let to = published.url.in_name();
    let mut stream = TcpStream::connect(to.address).await.expect("connects");
    raw::handshake(&mut stream).await.expect("handshake");
    stream.write_all(&raw::connect(&to.app, &to.tc_url)).await.expect("connect");
    let admitted = Peer::publish(&published.url).await.expect("in time");
    let feed = admitted.feed(flv::clip());
    let watch = Peer::play(&view.url).await.expect("in time").watch();
    watch.more_pictures(3).await;
    until(EVENT, "the URLs expire", || async {
        let refusal = flv_refusal_or_none(&anna.api, &published.stream_id, &view.url.token).await?;
        (refusal.reason == "url_expired").then_some(())
    })
    .await;
    let mut request = raw::create_stream(2.0);
    request.extend(raw::publish(1, &to.name));
    stream.write_all(&request).await.expect("publish");
    let mut said = Vec::new();
    within(EVENT, "the refusal", stream.read_to_end(&mut said)).await.expect("the end");
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("url_expired") && !said.contains("NetStream.Publish.Start"), "{said}");
    // Who is in stays in.
    watch.more_pictures(5).await;
    assert!(feed.is_open());

    // A ticket that was good when its request began and is not when it is read.
    let request = json!({ "user": "late", "role": 3, "ttlSeconds": 1 });
    let ticket = text(&conference.ticket_with(request).await.expect("a ticket"), "/ticket");
    let body = json!({ "ticket": ticket }).to_string();
    let mut stream = TcpStream::connect(gateway.http).await.expect("connects");
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        conference.path("/members"),
        body.len()
    );
    let (first, rest) = body.split_at(body.len() / 2);
    stream.write_all(format!("{head}{first}").as_bytes()).await.expect("half of it");
    until(EVENT, "the ticket expires", || async {
        conference.app.api.join(&conference.id, &ticket).await.err()
    })
    .await;
    stream.write_all(rest.as_bytes()).await.expect("the rest");
    let mut answer = String::new();
    within(EVENT, "the refusal", stream.read_to_string(&mut answer)).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("ticket_expired"), "{answer}");
    gateway.stop().await;
}

/// The refusal of an FLV URL, or none where it admits: the head of the answer is enough.
async fn flv_refusal_or_none(api: &Api, stream: &str, token: &str) -> Option<Refusal> {
    let url = api.url(&format!("/live/{stream}.flv?t={token}"));
    let answer = within(EVENT, "an answer", api.client().get(url).send()).await.expect("an answer");
    if answer.status().is_success() {
        return None;
    }
    Some(flv_refusal(api, stream, token).await)
}

#[tokio::test]
async fn a_fresh_gateway_lets_nobody_in() {
    let gateway = Gateway::start().await;
    let api = &gateway.api;
    let document: Value = {
        let answer = api.client().get(api.url("/openapi.json")).send().await.expect("the document");
        answer.json().await.expect("JSON")
    };
    // Every call of the document, by nobody and by what scanners try.
    let open = ["/openapi.json", "/docs", "/console", "/join", "/assets"];
    let (mut calls, mut id) = (0, String::new());
    for (path, methods) in document["paths"].as_object().expect("paths") {
        if open.iter().any(|open| path.starts_with(open)) {
            continue;
        }
        let refused = if path.starts_with("/live/") { 403 } else { 401 };
        let place: String = path
            .split('/')
            .map(|part| match part {
                "{confrId}" => "TS_aaaaaaaaaaaaaaaa",
                "{streamId}" => "RTC1__Of_MS_aaaaaaaaaaaaaaaa",
                "{file}" => "RTC1__Of_MS_aaaaaaaaaaaaaaaa.flv",
                part if part.starts_with('{') => "x",
                part => part,
            })
            .collect::<Vec<_>>()
            .join("/");
        for method in methods.as_object().expect("methods").keys() {
            let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes()) else { continue };
            for bearer in
                [None, Some("admin.admin"), Some("default.secret"), Some("tidegate.tidegate"), Some("null")]
            {
                let mut request = api.client().request(method.clone(), api.url(&place));
                if let Some(bearer) = bearer {
                    request = request.bearer_auth(bearer);
                }
                if method != Method::GET {
                    request = request.header("content-type", "application/json").body("{}");
                }
                let answer = within(EVENT, &place, request.send()).await.expect("an answer");
                let status = answer.status().as_u16();
                id = answer.text().await.expect("a body");
                assert_eq!(status, refused, "{method} {place} by {bearer:?}: {id}");
                calls += 1;
            }
        }
    }
    assert!(calls > 100, "{calls} calls; {id}");
    for name in ["live", "stream", "RTC1__Of_MS_aaaaaaaaaaaaaaaa", "RTC1__Of_MS_aaaaaaaaaaaaaaaa?t=", "x?t=x"]
    {
        let stream = name.split('?').next().unwrap_or_default().to_owned();
        let token = name.split_once("?t=").map_or("", |(_, token)| token).to_owned();
        let (scheme, app, address) = ("rtmp".to_owned(), "live".to_owned(), gateway.rtmp);
        let mut to = MediaUrl { scheme, address, app, stream, token }.in_name();
        to.name = name.to_owned();
        let refusal = Peer::publish_placed(&to).await.err().expect("nobody publishes");
        refusal.assert_refuses(PUBLISH_REFUSED, "url_invalid");
        let refusal = Peer::play_placed(&to).await.err().expect("nobody plays");
        refusal.assert_refuses(PLAY_REFUSED, "url_invalid");
    }
    // The operators' doors are not on the public one, and the socket is its owner's alone.
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/admin",
        "/v1/admin",
        "/v1/apps",
        "/apps",
        "/status",
        "/debug/pprof",
    ] {
        let answer = api.client().get(api.url(path)).send().await.expect("an answer");
        assert!([401, 404].contains(&answer.status().as_u16()), "{path}: {}", answer.status());
    }
    let socket = gateway.setup.data_path().join("control.sock");
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    };
    assert_eq!((mode(&socket), mode(gateway.setup.data_path())), (0o600, 0o700));
    assert_eq!(listeners_of(gateway.process.id()), 3, "nothing listens beside RTMP, HTTP and ops");
    gateway.stop().await;
}

/// How many TCP sockets of this process listen.
fn listeners_of(pid: u32) -> usize {
    let own: BTreeSet<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("its descriptors")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    const LISTENS: &str = "0A";
    ["tcp", "tcp6"]
        .iter()
        .flat_map(|table| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
            text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(3) == Some(&LISTENS) && fields.get(9).is_some_and(|inode| own.contains(*inode))
        })
        .count()
}

#[test]
fn no_shipped_file_holds_a_secret() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("docker-compose.yml"), root.join("Dockerfile")];
    for folder in ["deploy", "examples"] {
        collect(&root.join(folder), &mut files);
    }
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            let found = secret_in(line);
            assert!(found.is_none(), "{}:{}: {found:?} looks like a secret", file.display(), number + 1);
        }
    }
}

fn collect(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "node_modules" {
            collect(&path, files);
        } else if path.is_file() && name != "package-lock.json" {
            files.push(path);
        }
    }
}

/// What on this line looks like a secret's value: a PEM key, or behind a telling name a word that is no placeholder and no
/// reference to somewhere else.
fn secret_in(line: &str) -> Option<String> {
    if line.contains("PRIVATE KEY-----") {
        return Some(line.to_owned());
    }
    let lower = line.to_lowercase();
    let telling =
        ["secret", "token", "password", "passwd", "api_key", "apikey", "app_key", "appkey", "master_key"];
    let at = telling.iter().filter_map(|name| Some(lower.find(name)? + name.len())).min()?;
    let rest =
        line[at..].trim_start_matches(|letter: char| letter.is_alphanumeric() || "_\"'".contains(letter));
    let value = rest.trim_start().strip_prefix([':', '='])?.trim_start();
    let value: String = value
        .trim_start_matches(['"', '\''])
        .chars()
        .take_while(|letter| letter.is_ascii_alphanumeric() || "+/=_-.".contains(*letter))
        .collect();
    let digits = value.chars().filter(char::is_ascii_digit).count();
    // Names, paths and numbers are no secrets; a random word of letters and digits is.
    let looks_random =
        value.len() >= 16 && digits >= 3 && !value.contains('/') && value.chars().any(char::is_alphabetic);
    looks_random.then_some(value)
}

#[test]
fn the_search_for_secrets_in_files_finds_one() {
    assert!(secret_in("TIDEGATE_APP_SECRET: \"5nq2x7k0c3v9b1m8z4\"").is_some());
    assert!(secret_in("-----BEGIN PRIVATE KEY-----").is_some());
    assert!(secret_in("TIDEGATE_OPS_TOKEN: ${OPS_TOKEN:?set it}").is_none());
    assert!(secret_in("const token = await mint(user)").is_none());
}
