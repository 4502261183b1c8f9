//! `tidegate doctor` over good and broken set-ups: one line for each check, what to mend, and the exit code.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use support::process::Ended;
use support::{Authority, Gateway, Setup};

/// The checks of this name that are not good, as they are printed.
fn trouble<'a>(ended: &'a Ended, name: &str) -> Vec<&'a str> {
    let lines = ended.stdout.lines().filter(|line| line.starts_with("warn") || line.starts_with("FAIL"));
    lines.filter(|line| line.get(6..).is_some_and(|rest| rest.starts_with(name))).collect()
}

/// Fails unless exactly one check of this name is not good, comes out as `verdict` and says all of `words`.
#[track_caller]
fn assert_told(ended: &Ended, verdict: &str, name: &str, words: &[&str]) {
    let found = trouble(ended, name);
    let [line] = found[..] else { panic!("{name}: {found:?} in\n{}", ended.stdout) };
    assert!(line.starts_with(verdict), "{line}");
    for word in words {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
    let failed = ended.stdout.lines().any(|line| line.starts_with("FAIL"));
    assert_eq!(ended.status.code(), Some(i32::from(failed)), "{ended:?}");
}

#[tokio::test]
async fn a_sound_machine_is_told_so_beside_a_running_gateway_too() {
    let setup = Setup::new();
    let before = setup.run(&["doctor"]).await;
    assert_eq!(before.status.code(), Some(0), "{before:?}");
    assert!(before.stdout.contains("none runs on this data directory"), "{}", before.stdout);
    assert!(!setup.data_path().exists(), "it makes nothing");

    // Ports that are known before the start.
    let free =
        || std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let (http, other) = (free(), free());
    let gateway = setup.env("TIDEGATE_HTTP_LISTEN", http).env("TIDEGATE_RTMP_LISTEN", other).start().await;
    let beside = gateway.setup.run(&["doctor", "--json"]).await;
    assert_eq!(beside.status.code(), Some(0), "{beside:?}");
    let report: Value = serde_json::from_str(&beside.stdout).expect("one JSON document");
    assert_eq!(report["ok"], true);
    let says = |name: &str| -> Vec<&str> {
        let checks = report["checks"].as_array().expect("checks").iter();
        checks.filter(|check| check["name"] == name).filter_map(|check| check["says"].as_str()).collect()
    };
    assert!(says("gateway")[0].contains("runs on this data directory"), "{report:#}");
    for listener in ["http_listen", "rtmp_listen"] {
        assert!(says(listener)[0].contains("held by the running gateway"), "{report:#}");
    }
    for name in ["settings", "data directory", "disk space", "disk sync", "open files", "kernel", "clock"] {
        assert!(!says(name).is_empty(), "{name} is not in {report:#}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn wrong_settings_and_held_ports_are_told() {
    let ended = Setup::new().env("TIDEGATE_DRAIN_MS", "soon").run(&["doctor"]).await;
    assert_told(&ended, "FAIL", "settings", &["drain_ms", "soon", "TIDEGATE_DRAIN_MS"]);
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = held.local_addr().expect("its address").to_string();
    let ended = Setup::new().env("TIDEGATE_OPS_LISTEN", &address).run(&["doctor"]).await;
    assert_told(&ended, "FAIL", "ops_listen", &[&address, "another program", "ss -ltnp"]);
    // Nothing else is wrong with it.
    assert_eq!(ended.stdout.matches("FAIL").count(), 1, "{}", ended.stdout);
    assert_eq!(ended.stderr, "tidegate: one check failed\n");
}

#[tokio::test]
async fn a_data_directory_that_others_reach_is_told() {
    let setup = Gateway::start().await.stop().await;
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the mode");
    };
    let key = setup.data_path().join("app.key");
    mode(&key, 0o644);
    mode(setup.data_path(), 0o777);
    let ended = setup.run(&["doctor"]).await;
    assert_told(&ended, "FAIL", "app key", &["app.key", "644", "chmod 600", "rotate"]);
    mode(&key, 0o600);
    let ended = setup.run(&["doctor"]).await;
    assert_told(&ended, "warn", "data directory", &["777", "chmod 700"]);

    let file = setup.home().join("file");
    std::fs::write(&file, "").expect("written");
    let ended = setup.clone().data_dir(file.join("data")).run(&["doctor"]).await;
    assert_told(&ended, "FAIL", "data directory", &["is a file and no folder"]);
    let ended = setup.env("TIDEGATE_MASTER_KEY_FILE", "/nowhere/key").run(&["doctor"]).await;
    assert_told(&ended, "FAIL", "master key", &["/nowhere/key"]);
}

#[tokio::test]
async fn a_certificate_that_clients_refuse_is_told() {
    let authority = Authority::new();
    let (good, other) = (authority.issue("good"), authority.issue("other"));
    let setup = Setup::new().with_tls(&good.certificate, &good.key);
    let sound = setup.clone().env("TIDEGATE_PUBLIC_HTTP_URL", "https://localhost").run(&["doctor"]).await;
    assert_eq!(trouble(&sound, "certificate"), [""; 0], "{}", sound.stdout);
    let ended =
        setup.clone().env("TIDEGATE_PUBLIC_HTTP_URL", "https://live.example.com").run(&["doctor"]).await;
    assert_told(&ended, "FAIL", "certificate", &["does not name live.example.com", "public_http_url"]);
    let ended = setup.env("TIDEGATE_TLS_KEY", other.key.display()).run(&["doctor"]).await;
    assert_told(&ended, "FAIL", "certificate", &["key"]);
    let past = authority.issue_for("past", "-1");
    let ended = Setup::new().with_tls(&past.certificate, &past.key).run(&["doctor"]).await;
    let lines = trouble(&ended, "certificate");
    assert!(
        lines.iter().any(|line| line.starts_with("FAIL") && line.contains("expired")),
        "{}",
        ended.stdout
    );
    assert_eq!(ended.status.code(), Some(1));
}

#[tokio::test]
async fn urls_and_doors_that_are_unwise_are_warned_of() {
    let ended = Setup::new()
        .env("TIDEGATE_PUBLIC_HTTP_URL", "https://127.0.0.1")
        .env("TIDEGATE_TRUSTED_PROXIES", "127.0.0.1")
        .env("TIDEGATE_OUTBOUND_ALLOW", "0.0.0.0/0")
        .run(&["doctor"])
        .await;
    assert_told(&ended, "warn", "public_http_url", &["this machine only"]);
    assert_told(&ended, "warn", "outbound_allow", &["every address"]);
    assert_eq!(ended.status.code(), Some(0), "a warning is no failure: {ended:?}");
}
