//! The receivers of the guide, as they stand there, against the real gateway.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use std::path::{Path, PathBuf};
use support::process::Running;
use support::{EVENT, Setup, token, within};
use tokio::process::Command;

const SECRET: &str = "whsec_of-the-receivers-test";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/webhooks").join(name)
}

fn signature(at_secs: i64, secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(format!("{at_secs}.{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at_secs},v1={hex}")
}

async fn takes_what_is_genuine(name: &str, mut command: Command) {
    command.env("TIDEGATE_WEBHOOK_SECRET", SECRET).env("PORT", "0").env("HOST", "127.0.0.1");
    let receiver = Running::start(name, command);
    let listening = |line: &str| line.strip_prefix("listening on ")?.parse::<u16>().ok();
    let port = receiver.stdout.wait_line(EVENT * 3, "the port of the receiver", listening).await;
    let port = port.unwrap_or_else(|error| panic!("{name}: {error}; {}", receiver.stderr.text()));
    let url = format!("http://127.0.0.1:{port}/");

    let gateway = Setup::new().env("TIDEGATE_OUTBOUND_ALLOW", "127.0.0.1").start().await;
    let app = gateway.app().await;
    let targets = json!({ "targets": [{ "id": "main", "url": url, "secret": SECRET }] });
    app.api.put("/v1/webhooks", &app.key, targets.clone()).await.expect("the targets");
    let conference = app.conference().await;
    let line = format!("conferenceStarted {}-1", conference.id);
    let taken = receiver.stdout.wait_line(EVENT, &line, |told| (told == line).then_some(())).await;
    taken.unwrap_or_else(|error| panic!("{name}: {error}"));

    // While the secret is changed the old one still verifies.
    let mut rotated = targets;
    rotated["targets"][0]["secret"] = json!("whsec_that-comes-after-it");
    app.api.put("/v1/webhooks", &app.key, rotated).await.expect("the targets");
    conference.delete().await.expect("deleted");
    let ends = |told: &str| told.starts_with(&format!("conferenceExit {}-", conference.id)).then_some(());
    receiver.stdout.wait_line(EVENT, "the end", ends).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    gateway.stop().await;

    let now = token::now();
    let body = r#"{"id":"TS_a-1","type":"forged"}"#;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for (what, header, expected) in [
        ("another secret", Some(signature(now, "whsec_of-somebody-else", body)), 401),
        ("another body", Some(signature(now, SECRET, "{}")), 401),
        ("too old", Some(signature(now - 301 - 10, SECRET, body)), 401),
        ("from the future", Some(signature(now + 301 + 10, SECRET, body)), 401),
        ("no signature in it", Some(format!("t={now}")), 401),
        ("garbage", Some("t=,v1=zz,,=".to_owned()), 401),
        ("no header", None, 401),
        ("genuine", Some(signature(now, SECRET, body)), 204),
        ("genuine beside another", Some(signature(now, SECRET, body).replace(",v1", ",v1=00,v1")), 204),
    ] {
        let mut request = client.post(&url).body(body);
        if let Some(header) = header {
            request = request.header("tidegate-signature", header);
        }
        let answer = within(EVENT, what, request.send()).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), expected, "{name}: {what}");
    }
    let forged = receiver.stdout.text().lines().filter(|line| *line == "forged TS_a-1").count();
    assert_eq!(forged, 1, "{name}: the same id is the same event");
}

#[tokio::test]
async fn the_javascript_receiver_of_the_guide_takes_what_is_genuine() {
    let mut command = Command::new("node");
    command.arg(file("receiver.mjs"));
    takes_what_is_genuine("receiver.mjs", command).await;
}

#[tokio::test]
async fn the_python_receiver_of_the_guide_takes_what_is_genuine() {
    let mut command = Command::new("python3");
    command.arg(file("receiver.py"));
    takes_what_is_genuine("receiver.py", command).await;
}

#[tokio::test]
async fn the_go_receiver_of_the_guide_takes_what_is_genuine() {
    // The tools that tests need do not include Go.
    if Command::new("go").arg("version").output().await.is_err() {
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    let program = home.path().join("receiver");
    let mut build = Command::new("go");
    build.arg("build").arg("-o").arg(&program).arg(file("receiver.go")).env("GOTOOLCHAIN", "local");
    let built = build.status().await.expect("go build");
    assert!(built.success(), "receiver.go does not build");
    takes_what_is_genuine("receiver.go", Command::new(program)).await;
}
