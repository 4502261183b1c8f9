//! The running gateway keeps to its OpenAPI document: Schemathesis reads the document, makes calls that obey it and calls that do not,
//! and compares every answer with it: statuses, content types, bodies, headers, and no fault of the gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use support::process::run;
use support::{Gateway, Setup};
use tokio::process::Command;

/// How long one run may take: most of it waits for the cores, which a compiler may hold beside the test.
const RUN_MAX: Duration = Duration::from_secs(400);
/// Generated calls for each operation.
const EXAMPLES: &str = "10";
/// Every kind of generation: examples of the document, the limits of its schemas, and chance.
const THOROUGH: &str = "examples,coverage,fuzzing";
/// For whoever is refused everywhere.
const BRIEF: &str = "examples,fuzzing";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance";

/// Where `tools/prepare-tests` puts it.
fn schemathesis() -> PathBuf {
    let tool = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".tools/schemathesis/bin/schemathesis");
    assert!(tool.exists(), "{} is missing; tools/prepare-tests installs it", tool.display());
    tool
}

/// A gateway whose members stay although they do nothing.
async fn gateway() -> Gateway {
    let patient = 600_000;
    Setup::new()
        .env("TIDEGATE_FIRST_CONTACT_MS", patient)
        .env("TIDEGATE_MEMBER_TIMEOUT_MS", patient)
        .start()
        .await
}

/// One run of these `phases` with `bearer`, and with `config` for what the document cannot know.
async fn conforms(gateway: &Gateway, phases: &str, bearer: Option<&str>, config: &str) {
    let home = gateway.setup.home();
    let file = home.join("schemathesis.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(schemathesis());
    command.current_dir(home).arg("--config-file").arg(&file).arg("run");
    command.args(["--checks", CHECKS, "--phases", phases, "--max-examples", EXAMPLES]);
    command.args(["--generation-deterministic", "--continue-on-failure"]);
    command.args([
        "--no-color",
        "--suppress-health-check",
        "all",
        "--warnings",
        "off",
        "--request-timeout",
        "20",
    ]);
    if let Some(bearer) = bearer {
        command.args(["--header", &format!("Authorization: Bearer {bearer}")]);
    }
    command.arg(gateway.api.url("/openapi.json"));
    let ended = run("schemathesis", command, RUN_MAX).await;
    let told = format!("{}{}", ended.stdout, ended.stderr);
    assert!(ended.status.success(), "the gateway does not keep to its document:\n{told}");
    assert!(ended.stdout.contains("Tested: "), "no operation was tested:\n{told}");
}

#[tokio::test]
async fn the_app_key_gets_what_the_document_says() {
    let gateway = gateway().await;
    let app = gateway.app().await;
    let (open, doomed) = (app.conference().await, app.conference().await);
    let anna = open.member("anna", 3).await;
    let stream = anna.publish("RTC1").await.unwrap();
    // The names of what exists; the calls that end it get other ones.
    let config = format!(
        r#"
        [parameters]
        "path.confrId" = "{open}"
        "path.streamId" = "{stream}"
        [[operations]]
        include-operation-id = "endConference"
        parameters = {{ "path.confrId" = "{doomed}" }}
        [[operations]]
        include-operation-id = ["changeOwnMember", "heartbeat", "publishStream", "subscribeStream"]
        parameters = {{ "query.user" = "anna" }}
        "#,
        open = open.id,
        doomed = doomed.id,
        stream = stream.stream_id,
    );
    conforms(&gateway, THOROUGH, Some(&app.key), &config).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_member_gets_what_the_document_says() {
    let gateway = gateway().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let boss = conference.member("boss", 7).await;
    let stream = boss.publish("RTC1").await.unwrap();
    let config = format!(
        r#"
        [parameters]
        "path.confrId" = "{}"
        "path.streamId" = "{}"
        [[operations]]
        include-operation-id = ["endConference", "leave"]
        enabled = false
        "#,
        conference.id, stream.stream_id,
    );
    conforms(&gateway, THOROUGH, Some(&boss.token), &config).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_stranger_gets_what_the_document_says() {
    let gateway = gateway().await;
    let app = gateway.app().await;
    let conference = app.create(json!({ "password": "" })).await.unwrap();
    conforms(&gateway, BRIEF, None, "").await;
    // Whoever has the right to join, and nothing else.
    let config = format!("[parameters]\n\"path.confrId\" = \"{}\"\n", conference.id);
    conforms(&gateway, BRIEF, Some(&app.user_token("eve", true)), &config).await;
    gateway.stop().await;
}
