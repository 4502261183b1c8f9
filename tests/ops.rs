//! What an operator's tools ask: alive, ready, and the metrics in OpenMetrics, without a name or a secret in them.

#![allow(clippy::expect_used, reason = "test code")]

mod support;

use std::net::SocketAddr;
use support::{EVENT, Gateway, Live, Peer, Setup, within};

struct Page {
    status: u16,
    kind: String,
    body: String,
}

async fn get(address: SocketAddr, path: &str, bearer: Option<&str>) -> Page {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut request = client.get(format!("http://{address}{path}"));
    if let Some(bearer) = bearer {
        request = request.bearer_auth(bearer);
    }
    let answer = within(EVENT, path, request.send()).await.expect(path);
    let kind =
        answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("").to_owned();
    Page { status: answer.status().as_u16(), kind, body: answer.text().await.expect("a body") }
}

#[tokio::test]
async fn it_is_alive_and_ready() {
    let gateway = Gateway::start().await;
    assert_eq!(get(gateway.ops, "/healthz", None).await.status, 200);
    assert_eq!(get(gateway.ops, "/readyz", None).await.status, 200);
    assert_eq!(get(gateway.ops, "/nothing", None).await.status, 404);
    // The public listener serves none of it.
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_ne!(get(gateway.http, path, None).await.status, 200, "{path} on the public listener");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn metrics_are_open_metrics_and_name_nobody() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let live = Live::of(&conference, "anna-of-the-metrics").await;
    let _ = Peer::play(&live.url.with_token("forged")).await.err().expect("refused");

    let page = get(gateway.ops, "/metrics", None).await;
    assert_eq!(page.status, 200);
    assert!(page.kind.starts_with("application/openmetrics-text"), "{}", page.kind);
    assert!(page.body.trim_end().ends_with("# EOF"), "{}", page.body);
    check_lines(&page.body);
    for name in [&app.id, &conference.id, &live.member.id, &live.member.name, &live.published.stream_id] {
        assert!(!page.body.contains(name.as_str()), "{name} is a label of a metric: labels must stay few");
    }
    gateway.secrets().assert_absent("/metrics", &page.body);
    gateway.stop().await;
}

/// Every line is a comment of the format or a sample of a family that was declared before it.
fn check_lines(body: &str) {
    let mut families = Vec::new();
    for line in body.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            families.push(declared.split(' ').next().unwrap_or("").to_owned());
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap_or("");
            let known = families.iter().any(|family| name.starts_with(family.as_str()));
            assert!(known, "a sample without a declared type: {line}");
            let value = line.rsplit(' ').next().unwrap_or("");
            assert!(value.parse::<f64>().is_ok(), "not a number: {line}");
        }
    }
    assert!(!families.is_empty(), "no metrics at all");
}

#[tokio::test]
async fn off_loopback_metrics_need_the_token() {
    let token = "an-operator-token-of-some-length";
    let setup = Setup::new().env("TIDEGATE_OPS_LISTEN", "0.0.0.0:0").env("TIDEGATE_OPS_TOKEN", token);
    let gateway = setup.start().await;
    gateway.secrets().learn(token);
    let ops = SocketAddr::from(([127, 0, 0, 1], gateway.ops.port()));
    assert_eq!(get(ops, "/metrics", None).await.status, 401);
    assert_eq!(get(ops, "/metrics", Some("wrong")).await.status, 401);
    assert_eq!(get(ops, "/metrics", Some(token)).await.status, 200);
    assert_eq!(get(ops, "/healthz", None).await.status, 200, "probes carry no token");
    gateway.stop().await;

    let open = Setup::new().env("TIDEGATE_OPS_LISTEN", "0.0.0.0:0");
    let gateway = open.start().await;
    let ops = SocketAddr::from(([127, 0, 0, 1], gateway.ops.port()));
    assert_ne!(get(ops, "/metrics", None).await.status, 200, "no token is set: nobody is let in");
    gateway.stop().await;
}
