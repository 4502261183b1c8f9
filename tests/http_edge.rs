//! HTTP in odd hands: too large, too slow, too many, from behind a proxy, from a web page.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use support::{EVENT, Gateway, Setup, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What comes back on a connection of its own, until the gateway closes it.
async fn exchange(gateway: &Gateway, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway.http).await.expect("connects");
    stream.write_all(request).await.expect("written");
    let mut answer = Vec::new();
    // A reset after the answer is an end as well.
    let _ = within(EVENT, "the end of the connection", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn problem(answer: &str) -> Value {
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_else(|| panic!("no body: {answer}"));
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[tokio::test]
async fn a_body_is_limited_however_it_comes() {
    let gateway = Gateway::start().await;
    let key = gateway.app().await.key;
    let head = format!(
        "POST /v1/conferences HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\n"
    );
    let chunk = format!("2000\r\n{}\r\n", " ".repeat(0x2000));
    let chunked =
        |chunks: usize| format!("{head}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(chunks));
    let answer = exchange(&gateway, chunked(9).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(problem(&answer)["reason"], "payload_too_large");
    let announced = format!("{head}content-length: 70000\r\n\r\n{}", " ".repeat(70_000));
    assert!(exchange(&gateway, announced.as_bytes()).await.starts_with("HTTP/1.1 413 "));
    let just = format!("{head}content-length: 65536\r\n\r\n{{}}{}", " ".repeat(65_534));
    assert!(exchange(&gateway, just.as_bytes()).await.starts_with("HTTP/1.1 201 "));
    gateway.stop().await;
}

#[tokio::test]
async fn a_head_is_limited_in_bytes_and_in_lines() {
    let gateway = Gateway::start().await;
    for head in [
        format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(64 * 1024)),
        format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x-many: 1\r\n".repeat(500)),
        format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(100 * 1024)),
    ] {
        let answer = exchange(&gateway, head.as_bytes()).await;
        let refused = ["HTTP/1.1 431 ", "HTTP/1.1 414 "].iter().any(|start| answer.starts_with(start));
        assert!(refused || answer.is_empty(), "{answer}");
    }
    gateway.app().await.conference().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_closed() {
    let gateway = Setup::new().env("TIDEGATE_VIEWER_STALL_MS", 500).start().await;
    let app = gateway.app().await;
    for _ in 0..50 {
        app.create(json!({ "password": "", "metadata": { "padding": "x".repeat(1900) } }))
            .await
            .expect("created");
    }
    let mut stream = TcpStream::connect(gateway.http).await.expect("connects");
    let list =
        format!("GET /v1/conferences HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", app.key);
    let requests = list.repeat(64);
    // Each answer is a hundred kilobytes and nobody reads it: the gateway stops to take requests, and then closes.
    within(EVENT, "the gateway closes", async {
        while stream.write_all(requests.as_bytes()).await.is_ok() {}
    })
    .await;
    gateway.stop().await;
}

async fn ask(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut request = client.get(gateway.api.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    within(EVENT, path, request.send()).await.expect("an answer")
}

#[tokio::test]
async fn an_address_behind_a_proxy_is_limited_and_cannot_choose_its_name() {
    let gateway = Setup::new()
        .env("TIDEGATE_TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")
        .env("TIDEGATE_REQUESTS_PER_ADDRESS", 1)
        .start()
        .await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let limited = async |forwarded: &str| {
        let mut statuses = Vec::new();
        for _ in 0..30 {
            let answer = ask(&gateway, "/v1/nothing", &[("x-forwarded-for", forwarded)]).await;
            if answer.status() == 429 {
                let wait = answer.headers()["retry-after"].to_str().expect("text").to_owned();
                assert_eq!(wait, "1");
                assert_eq!(answer.json::<Value>().await.expect("a problem")["reason"], "rate_limited");
                return true;
            }
            statuses.push(answer.status().as_u16());
        }
        assert!(statuses.iter().all(|status| *status == 404), "{statuses:?}");
        false
    };
    assert!(limited("203.0.113.7").await);
    // What stands to the left was written by the client itself.
    let disguises = (0..30).map(|number| format!("198.51.100.{number}, 203.0.113.8, 10.1.1.1"));
    let mut refused = false;
    for disguise in disguises {
        refused |= ask(&gateway, "/v1/nothing", &[("x-forwarded-for", &disguise)]).await.status() == 429;
    }
    assert!(refused, "one address under many names");
    assert!(!limited("127.0.0.1").await, "loopback is exempt");
    let bearer = format!("Bearer {}", app.key);
    for _ in 0..30 {
        let headers = [("x-forwarded-for", "203.0.113.7"), ("authorization", bearer.as_str())];
        assert_eq!(
            ask(&gateway, &conference.path(""), &headers).await.status(),
            200,
            "the app key is not limited"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_has_an_id_in_answer_refusal_and_log() {
    let gateway = Setup::new().env("TIDEGATE_LOG", "debug").start().await;
    let answer = ask(&gateway, "/v1/nothing", &[("x-request-id", "mine-42")]).await;
    assert_eq!(answer.headers()["x-request-id"], "mine-42");
    assert_eq!(answer.json::<Value>().await.expect("a problem")["requestId"], "mine-42");
    let answer = ask(&gateway, "/v1/nothing", &[("x-request-id", "not valid")]).await;
    let made = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    assert_ne!(made, "not valid");
    assert_eq!(answer.json::<Value>().await.expect("a problem")["requestId"], made);
    for id in ["mine-42", &made] {
        let line = gateway.process.stderr.wait_line(EVENT, "the log line of the request", |line| {
            (line.contains(id) && line.contains("answered")).then_some(())
        });
        line.await.expect("a log line");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_web_page_may_call_where_its_origin_is_allowed() {
    let preflight = async |gateway: &Gateway, origin: &str| {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client
            .request(Method::OPTIONS, gateway.api.url("/v1/conferences/TS_a/members"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization, content-type, idempotency-key");
        let answer = within(EVENT, "a preflight", request.send()).await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
        let allowed = answer.headers().get("access-control-allow-origin");
        allowed.map(|origin| origin.to_str().expect("text").to_owned())
    };
    let open = Gateway::start().await;
    assert_eq!(preflight(&open, "https://any.example").await.as_deref(), Some("*"));
    open.stop().await;
    let gateway = Setup::new().env("TIDEGATE_CORS_ORIGINS", "https://app.example").start().await;
    assert_eq!(preflight(&gateway, "https://app.example").await.as_deref(), Some("https://app.example"));
    assert_eq!(preflight(&gateway, "https://any.example").await, None);
    gateway.stop().await;
}
