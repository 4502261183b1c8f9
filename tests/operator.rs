//! The commands with which an operator sees and changes what goes on, against the real gateway.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use serde_json::{Value, json};
use support::api::{Refused as _, text};
use support::process::Running;
use support::{App, EVENT, Gateway, Peer, Setup, flv};

async fn run(setup: &Setup, arguments: &[&str]) -> String {
    let ended = setup.run(arguments).await;
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    ended.stdout
}

/// The one JSON document that a command prints.
async fn json_of(setup: &Setup, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&run(setup, &arguments).await).expect("one JSON document")
}

/// The line of a command that failed.
async fn failure(setup: &Setup, arguments: &[&str]) -> String {
    let ended = setup.run(arguments).await;
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(1), ""), "{arguments:?}: {ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    ended.stderr
}

#[tokio::test]
async fn conferences_are_listed_shown_and_ended() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let setup = &gateway.setup;
    assert_eq!(run(setup, &["conferences"]).await, "no conference is open\n");
    let conference = app.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let boris = conference.member("boris", 1).await;
    let watch = Peer::play(&boris.subscribe(&published.stream_id).await.expect("subStream").url).await;
    let watch = watch.expect("play").watch();
    watch.more_pictures(3).await;

    let listed = json_of(setup, &["conferences"]).await;
    assert_eq!(listed, json!({ "conferences": [conference.get().await.expect("the conference")] }));
    let table = run(setup, &["conferences"]).await;
    assert!(table.contains(&conference.id) && table.contains("1 live of 1"), "{table}");
    let shown = json_of(setup, &["conference", "show", &conference.id]).await;
    assert_eq!(shown, conference.get().await.expect("the conference"));
    let page = run(setup, &["conference", "show", &conference.id]).await;
    for part in ["anna", "talker", "boris", "audience", &published.stream_id, "h264 360x640"] {
        assert!(page.contains(part), "{part:?} is not in:\n{page}");
    }
    let sessions = json_of(setup, &["sessions", "--conference", &conference.id]).await;
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(2), "{sessions}");
    let table = run(setup, &["sessions"]).await;
    assert!(table.lines().count() == 3 && table.contains("publish") && table.contains("play"), "{table}");

    assert_eq!(
        json_of(setup, &["kick", &conference.id, "boris", "nobody"]).await,
        json!({ "kicked": ["boris"] })
    );
    watch.closed().await;
    assert_eq!(run(setup, &["kick", &conference.id, "anna"]).await, "kicked anna\n");
    feed.closed().await;
    run(setup, &["end", &conference.id]).await;
    conference.get().await.refused().assert_is(410, "conference_closed", -302);
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_refused_tells_the_detail_and_the_reason() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let setup = &gateway.setup;
    run(setup, &["end", &conference.id]).await;
    let line = failure(setup, &["kick", &conference.id, "anna"]).await;
    assert!(line.contains("the conference has ended (conference_closed, HTTP 410)"), "{line}");
    for arguments in [&["end", &conference.id][..], &["events", &conference.id, "--follow"]] {
        assert!(failure(setup, arguments).await.contains("conference_closed"), "{arguments:?}");
    }
    let line = failure(setup, &["end", "../../v1/x"]).await;
    assert!(line.contains("begins with TS_"), "{line}");
    let line = failure(setup, &["token", "anna", "--ttl", "999999999"]).await;
    assert!(line.contains("ttlSeconds") && line.contains("invalid_request"), "{line}");
    assert!(failure(setup, &["conferences", "--url", "ftp://x"]).await.contains("https://live.example.com"));
    let setup = gateway.stop().await;
    let line = failure(&setup, &["conferences"]).await;
    assert!(line.contains("no gateway is running") && line.contains("tidegate serve"), "{line}");
    let line = failure(&setup, &["conferences", "--url", "http://127.0.0.1:1"]).await;
    assert!(line.contains("no answer from http://127.0.0.1:1"), "{line}");
}

#[tokio::test]
async fn another_app_and_place_can_be_named() {
    let gateway = Gateway::start().await;
    let key = run(&gateway.setup, &["app", "add", "shop"]).await;
    let shop = App::new(gateway.api.clone(), key.trim_end());
    let conference = shop.conference().await;
    let file = gateway.setup.home().join("shop.key");
    std::fs::write(&file, &key).expect("a key file");
    let url = format!("http://{}/", gateway.http);
    // Nothing is found in a data directory here.
    let far = gateway.setup.clone().data_dir(gateway.setup.home().join("elsewhere"));
    let named = ["conferences", "--url", &url, "--app-key-file", file.to_str().expect("text")];
    assert_eq!(text(&json_of(&far, &named).await, "/conferences/0/confrId"), conference.id);
    let far = far.env("TIDEGATE_URL", &url).env("TIDEGATE_APP_KEY", &shop.key);
    assert_eq!(text(&json_of(&far, &["conferences"]).await, "/conferences/0/confrId"), conference.id);
    let far = far.env("TIDEGATE_APP_KEY", "shop.wrong-secret-0123456789");
    assert!(failure(&far, &["conferences"]).await.contains("(unauthenticated, HTTP 401)"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_token_lets_its_user_in() {
    let gateway = Gateway::start().await;
    let token = run(&gateway.setup, &["token", "anna", "--can-create", "--ttl", "60"]).await;
    let created = gateway.api.post("/v1/conferences", token.trim_end(), json!({})).await.expect("created");
    assert_eq!(created["members"], json!([]));
    let answer = json_of(&gateway.setup, &["token", "boris"]).await;
    assert!(answer["expiresAt"].is_string());
    let refused = gateway.api.post("/v1/conferences", &text(&answer, "/token"), json!({})).await.refused();
    refused.assert_is(403, "not_allowed", refused.code);
    gateway.stop().await;
}

/// The frames that `events --follow --json` prints, up to the first for which `last` holds.
async fn frames_until(follower: &Running, what: &str, last: impl Fn(&Value) -> bool) -> Vec<Value> {
    let parsed = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]).to_owned();
        whole.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect::<Vec<Value>>()
    };
    let found = follower.stdout.wait(EVENT, what, |bytes| {
        let frames = parsed(bytes);
        frames.iter().any(&last).then_some(frames)
    });
    found.await.unwrap_or_else(|error| panic!("{error}: {}", follower.stderr.text()))
}

#[tokio::test]
async fn events_are_followed_over_a_restart_without_gap_or_repeat() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    conference.member("anna", 3).await;
    let past = run(&gateway.setup, &["events", &conference.id, "--json"]).await;
    assert!(past.lines().any(|line| line.contains("memberJoined") && line.contains("anna")), "{past}");

    let command = gateway.setup.command(&["events", &conference.id, "--follow", "--json"]);
    let follower = Running::start("tidegate events", command);
    frames_until(&follower, "the snapshot", |frame| frame["type"] == "snapshot").await;
    conference.member("boris", 3).await;
    let joined =
        |frame: &Value, name: &str| frame["type"] == "memberJoined" && frame["member"]["name"] == name;
    frames_until(&follower, "boris joins", |frame| joined(frame, "boris")).await;

    // The next gateway has another port: the follower finds it through the data directory.
    let gateway = gateway.kill().await.start().await;
    let conference = conference.at(gateway.api.clone());
    conference.member("clara", 3).await;
    frames_until(&follower, "clara joins", |frame| joined(frame, "clara")).await;
    conference.delete().await.expect("the end");
    let frames = frames_until(&follower, "the end", |frame| frame["type"] == "conferenceExit").await;
    let ended = follower.ended(EVENT).await;
    assert!(ended.status.success(), "{ended:?}");
    let events: Vec<&Value> = frames.iter().filter(|frame| frame["type"] != "serverDraining").collect();
    for pair in events.windows(2) {
        assert_eq!(pair[0]["seq"], pair[1]["prev"], "no gap and no repeat: {frames:#?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    for _ in 0..3 {
        app.conference().await;
    }
    let program = env!("CARGO_BIN_EXE_tidegate");
    let script = "{ \"$0\" conferences --json; echo \"exit $?\" >&2; } | true";
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", script, program]).env("TIDEGATE_DATA_DIR", gateway.setup.data_path());
    let ended = support::process::run("a pipe that ends", command, EVENT).await;
    assert_eq!(ended.stderr, "exit 0\n");
    gateway.stop().await;
}

#[tokio::test]
async fn the_help_teaches_by_example() {
    let setup = Setup::new();
    for arguments in [
        &["--help"][..],
        &["app", "--help"],
        &["app", "rotate", "--help"],
        &["conferences", "--help"],
        &["events", "--help"],
        &["token", "--help"],
        &["backup", "--help"],
        &["restore", "--help"],
    ] {
        let help = run(&setup, arguments).await;
        assert!(help.contains("Example") || help.contains("Step by step"), "{arguments:?}: {help}");
        assert!(help.lines().all(|line| line.chars().count() <= 130), "{arguments:?}: {help}");
    }
}
