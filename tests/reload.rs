//! Settings that change while the gateway runs, by the command and by SIGHUP: all of them or none.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::api::Refused as _;
use support::wait::until;
use support::{EVENT, Gateway, Setup};

const PAGE: &str = "https://app.example";

/// A gateway that reads its settings from a file.
struct Stage {
    gateway: Gateway,
    file: PathBuf,
}

impl Stage {
    async fn new(text: &str) -> Self {
        let setup = Setup::new();
        let file = setup.home().join("tidegate.toml");
        std::fs::write(&file, text).expect("written");
        Self { gateway: setup.arg("--config").arg(&file).start().await, file }
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).expect("written");
    }

    async fn reload(&self) -> Result<String, String> {
        let ended = self.gateway.setup.run(&["reload"]).await;
        if ended.status.success() {
            return Ok(ended.stdout);
        }
        assert_eq!((ended.status.code(), ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
        Err(ended.stderr)
    }

    /// What a page of another site is told by the API.
    async fn allowed_origin(&self) -> Option<String> {
        let request = self.gateway.api.client().get(self.gateway.api.url("/openapi.json"));
        let answer = request.header("origin", "https://other.example").send().await.expect("an answer");
        let allowed = answer.headers().get("access-control-allow-origin");
        allowed.map(|origin| origin.to_str().expect("text").to_owned())
    }

    async fn told(&self, what: &str) {
        let line = |line: &str| line.contains(what).then_some(());
        self.gateway.process.stderr.wait_line(EVENT, what, line).await.expect("a log line");
    }
}

#[tokio::test]
async fn what_can_change_changes_while_the_gateway_runs() {
    let stage = Stage::new("conferences_per_app_max = 1\n").await;
    let app = stage.gateway.app().await;
    let conference = app.conference().await;
    app.create(json!({})).await.map(drop).refused();
    assert_eq!(stage.allowed_origin().await.as_deref(), Some("*"));
    assert_eq!(stage.reload().await.expect("nothing is wrong"), "no setting has changed\n");

    stage.write(&format!(
        "conferences_per_app_max = 5\ncors_origins = \"{PAGE}\"\nrequests_per_credential = 1\nlog = \"info,tidegate::app=debug\"\n\
         connections_max = 14000\noutbound_allow = \"127.0.0.0/8\"\n"
    ));
    let changed = "connections_max, requests_per_credential, cors_origins, outbound_allow, conferences_per_app_max, log";
    assert_eq!(stage.reload().await.expect("taken"), format!("changed: {changed}\n"));
    app.create(json!({})).await.expect("a second conference");
    assert_eq!(stage.allowed_origin().await, None);
    let anna = conference.member("anna", 3).await;
    // Five at once, and one a second.
    until(EVENT, "too many requests", || async { anna.look().await.err() }).await.assert_is(
        429,
        "rate_limited",
        -429,
    );

    // And by the signal.
    stage.write(&format!("conferences_per_app_max = 5\ncors_origins = \"{PAGE}\"\n"));
    stage.gateway.process.signal("HUP").await;
    stage
        .told(
            "settings were changed changed=\"connections_max, requests_per_credential, outbound_allow, log\"",
        )
        .await;
    for _ in 0..20 {
        anna.look().await.expect("the limit is as before");
    }
    assert_eq!(stage.allowed_origin().await, None);
    stage.gateway.stop().await;
}

#[tokio::test]
async fn an_inner_network_may_be_called_as_soon_as_it_is_allowed() {
    let stage = Stage::new("").await;
    let app = stage.gateway.app().await;
    let hook = json!({ "targets": [{ "url": "http://127.0.0.1:9/hook" }] });
    let put = || stage.gateway.api.put("/v1/webhooks", &app.key, hook.clone());
    put().await.refused().assert_is(422, "invalid_request", -200);
    stage.write("outbound_allow = \"127.0.0.0/8\"\n");
    stage.reload().await.expect("taken");
    put().await.expect("taken");
    stage.write("");
    stage.reload().await.expect("taken");
    put().await.refused().assert_is(422, "invalid_request", -200);
    stage.gateway.stop().await;
}

#[tokio::test]
async fn a_change_that_cannot_be_made_makes_none() {
    let stage = Stage::new("drain_ms = 5000\n").await;
    let taken = format!("cors_origins = \"{PAGE}\"\n");
    for (text, words) in [
        ("drain_ms = 6000\nplays_per_url = 2\n", &["drain_ms, plays_per_url", "restart"][..]),
        ("drain_ms = 5000\nconnections_max = \"many\"\n", &["connections_max", "many", "tidegate.toml"]),
        ("drain_ms = 5000\nconections_max = 5\n", &["conections_max", "`connections_max`"]),
        ("drain_ms = 5000\nlog = \"loud\"\n", &["`log`", "loud"]),
        ("drain_ms = [\n", &["not valid TOML"]),
    ] {
        stage.write(&format!("{text}{taken}"));
        let line = stage.reload().await.expect_err("refused");
        for word in words.iter().chain(&["nothing was changed"]) {
            assert!(line.contains(word), "{word:?} is not in: {line}");
        }
        assert_eq!(stage.allowed_origin().await.as_deref(), Some("*"), "after {text}");
    }
    stage.gateway.process.signal("HUP").await;
    stage.told("settings were not changed").await;
    std::fs::remove_file(&stage.file).expect("removed");
    assert!(stage.reload().await.expect_err("refused").contains("cannot read the config file"));
    stage.gateway.app().await.conference().await;
    // What was refused is not half taken when it is mended.
    stage.write(&format!("drain_ms = 5000\n{taken}"));
    assert_eq!(stage.reload().await.expect("taken"), "changed: cors_origins\n");
    stage.gateway.stop().await;
}

#[tokio::test]
async fn the_printed_settings_say_which_ones_a_reload_takes() {
    let printed = Setup::new().run(&["serve", "--print-config"]).await.stdout;
    let mut marked = None;
    let mut live = Vec::new();
    for line in printed.lines() {
        match line.strip_prefix('#') {
            Some(comment) => marked = Some(comment.ends_with(" Reload.")),
            None => {
                if marked.take() == Some(true) {
                    live.extend(line.split(' ').next().map(str::to_owned));
                }
            }
        }
    }
    for key in ["log", "cors_origins", "outbound_allow", "connections_max", "requests_per_address"] {
        assert!(live.iter().any(|live| live == key), "{key} is not in {live:?}");
    }
    assert!(!live.iter().any(|live| live == "data_dir" || live == "rtmp_listen"), "{live:?}");
    // Each is really taken: a gateway whose file changes in all of them takes all.
    let value = |key: &str| match key {
        "log" => json!("warn"),
        "cors_origins" => json!(PAGE),
        "outbound_allow" => json!("10.0.0.0/8"),
        _ => Value::from(77),
    };
    let text: String = live.iter().map(|key| format!("{key} = {}\n", value(key))).collect();
    let stage = Stage::new("").await;
    stage.write(&text);
    assert_eq!(stage.reload().await.expect("taken"), format!("changed: {}\n", live.join(", ")));
    stage.gateway.stop().await;
}
