//! What callers hand in stays data: no page, no script, no path, no command, no call to a place that they may not reach.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::api::Refused as _;
use support::wait::until;
use support::{EVENT, Gateway, Receiver, Setup, within};
use tokio::net::TcpListener;

/// What a page would run, each in a place where texts are taken.
const SCRIPT: &str = "<script>alert(1)<\u{2044}script><img src=x onerror=alert(1)>";

#[tokio::test]
async fn what_looks_like_a_page_comes_back_as_data() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let request = json!({ "metadata": { SCRIPT: SCRIPT }, "password": SCRIPT });
    let conference = app.create(request).await.expect("created");
    let anna = conference.member(SCRIPT, 3).await;
    app.api
        .patch(&anna.path("/members/me"), &anna.token, json!({ "nickName": SCRIPT, "ext": { "x": SCRIPT } }))
        .await
        .expect("changed");
    app.api
        .post(&anna.path("/messages"), &anna.token, json!({ "body": { "html": SCRIPT } }))
        .await
        .expect("sent");
    let (key, escaped) = (&app.key, "%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    let mut shown = 0;
    for path in [
        conference.path(""),
        conference.path("/events?after=0"),
        "/v1/conferences".to_owned(),
        "/v1/sessions".to_owned(),
        format!("/v1/conferences/{escaped}"),
        format!("/v1/{escaped}"),
        format!("/{escaped}"),
        format!("/docs/{escaped}"),
        format!("/live/{escaped}.flv?t={escaped}"),
        format!("{}?user={escaped}", conference.path("/members/me")),
        format!("{}&callback=alert(1)&jsonp=alert(1)", conference.path("?x=1")),
        "/openapi.json?callback=alert(1)".to_owned(),
    ] {
        for accept in ["text/html", "application/javascript", "*/*"] {
            let answer = app.api.client().get(app.api.url(&path)).bearer_auth(key).header("accept", accept);
            let answer = within(EVENT, &path, answer.send()).await.expect("an answer");
            let header =
                |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
            let kind = header("content-type").to_owned();
            assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
            assert!(
                ["application/json", "application/problem+json"].iter().any(|json| kind.starts_with(json)),
                "{path}: {kind}"
            );
            let body = answer.text().await.expect("a body");
            let parsed: Value =
                serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
            assert!(!body.starts_with("alert"), "{path} answers a script: {body}");
            shown += usize::from(parsed.to_string().contains("onerror"));
        }
    }
    assert!(shown >= 6, "the texts come back somewhere, as data: {shown}");
    // No other method turns a text into a page either.
    for method in [Method::OPTIONS, Method::HEAD, Method::TRACE, Method::PUT] {
        let request = app.api.client().request(method, app.api.url(&format!("/v1/{escaped}")));
        let answer = within(EVENT, "an answer", request.send()).await.expect("an answer");
        let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap_or("").to_owned());
        assert!(kind.is_none_or(|kind| kind.contains("json")), "a page");
    }
    gateway.stop().await;
}

/// The names of everything that a request may hold.
fn taken(document: &Value) -> BTreeSet<String> {
    let (mut names, mut open, mut seen) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for (path, methods) in document["paths"].as_object().expect("paths") {
        names.extend(
            path.split('/').filter_map(|part| Some(part.strip_prefix('{')?.strip_suffix('}')?.to_owned())),
        );
        for operation in methods.as_object().expect("methods").values() {
            open.push(&operation["requestBody"]);
            names.extend(
                operation["parameters"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|parameter| parameter["name"].as_str())
                    .map(str::to_owned),
            );
        }
    }
    while let Some(schema) = open.pop() {
        match schema {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str)
                    && seen.insert(reference.to_owned())
                {
                    open.extend(document.pointer(reference.trim_start_matches('#')));
                }
                names.extend(
                    fields
                        .get("properties")
                        .and_then(Value::as_object)
                        .into_iter()
                        .flat_map(|all| all.keys().cloned()),
                );
                open.extend(
                    fields
                        .iter()
                        .filter(|(name, _)| *name != "example" && *name != "examples")
                        .map(|(_, value)| value),
                );
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    names
}

#[tokio::test]
async fn no_request_names_a_file_a_command_or_a_setting() {
    let gateway = Gateway::start().await;
    let answer = reqwest::get(gateway.api.url("/openapi.json")).await.expect("the document");
    let names = taken(&answer.json().await.expect("JSON"));
    for expected in ["rtcId", "memberNames", "sessionKey", "url", "limit", "maxTalkerCount"] {
        assert!(names.contains(expected), "the search misses {expected}: {names:?}");
    }
    let telling = [
        "path",
        "directory",
        "folder",
        "filename",
        "command",
        "cmd",
        "exec",
        "script",
        "shell",
        "hook",
        "host",
        "address",
        "port",
        "env",
        "listen",
        "proxy",
        "redirect",
        "template",
        "plugin",
    ];
    // Where the app names a place to call, the policy for calls outward stands before it.
    let places: BTreeSet<&str> = BTreeSet::from(["url"]);
    // The name of a live stream and the client's own word for what it is.
    let known = ["file", "support"];
    for name in &names {
        let lower = name.to_lowercase();
        let found = telling
            .iter()
            .find(|word| lower.contains(**word) && !known.iter().any(|known| lower.contains(known)));
        assert!(
            found.is_none() || places.contains(name.as_str()),
            "{name} in a request may reach a {found:?}"
        );
    }
    assert!(!names.iter().any(|name| name.to_lowercase().contains("tidegate_")));
    gateway.stop().await;
}

#[tokio::test]
async fn no_app_makes_the_gateway_call_an_inner_network() {
    let gateway = Setup::new()
        .env("TIDEGATE_WEBHOOK_RETRY_MIN_MS", 20)
        .env("TIDEGATE_WEBHOOK_RETRY_MAX_MS", 50)
        .env("TIDEGATE_RELAY_RETRY_MIN_MS", 50)
        .env("TIDEGATE_RELAY_RETRY_MAX_MS", 100)
        .start()
        .await;
    let app = gateway.app().await;
    let receiver = Receiver::start().await;
    let port = receiver.address.port();
    let calls = Arc::new(AtomicUsize::new(0));
    let far = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let far_port = far.local_addr().expect("an address").port();
    let counted = Arc::clone(&calls);
    tokio::spawn(async move {
        while far.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    // This machine under every name that some resolver or parser knows for it, and others that nobody outside may reach.
    let hosts = [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.1.1",
        "[fe80::1]",
        "[fd00:ec2::254]",
    ];
    let (mut refused, mut taken) = (0, 0);
    let mut targets = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        let target = json!({ "id": format!("t{number}"), "url": format!("http://{host}:{port}/hook") });
        match app.api.put("/v1/webhooks", &app.key, json!({ "targets": [target.clone()] })).await {
            Ok(_) => targets.push(target),
            Err(refusal) => {
                assert!([400, 403, 422].contains(&refusal.status), "{host}: {refusal:?}");
                refused += 1;
            }
        }
    }
    if !targets.is_empty() {
        app.api
            .put("/v1/webhooks", &app.key, json!({ "targets": targets }))
            .await
            .expect("names that are looked up later");
    }
    let conference = app.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let _feed = support::Peer::publish(&published.url).await.expect("publish").feed(support::flv::clip());
    for host in hosts {
        let body = json!({ "direction": "push", "streamId": published.stream_id, "url": format!("rtmp://{host}:{far_port}/live/key") });
        match app.api.post(&conference.path("/relays"), &app.key, body).await {
            Ok(_) => taken += 1,
            Err(refusal) => {
                assert!([400, 403, 422].contains(&refusal.status), "{host}: {refusal:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > hosts.len(), "{refused} of {}", 2 * hosts.len());
    // What was taken fails when it is looked up, again and again, and never reaches anybody.
    if taken > 0 {
        until(EVENT, "relays fail", || async {
            let listed = app.api.get(&conference.path("/relays"), &app.key).await.ok()?;
            let relays = listed["relays"].as_array()?.clone();
            relays
                .iter()
                .all(|relay| !relay["error"].is_null() || !relay["lastError"].is_null())
                .then_some(())
        })
        .await;
    }
    if !targets.is_empty() {
        until(EVENT, "webhooks fail", || async {
            let failed = gateway.metric("tidegate_webhook_attempts_total{outcome=\"forbidden\"}").await?;
            (failed >= 2.0).then_some(())
        })
        .await;
    }
    assert_eq!((receiver.hooks().len(), calls.load(Ordering::SeqCst)), (0, 0), "an inner network was called");
    app.api.get("/v1/relays", &app.key).await.refused();
    gateway.stop().await;
}
