//! The shape of the code, held by a test: who may name whom, which crate stands behind which door, what the pure
//! parts must not touch, and that ARCHITECTURE.md names tests that exist.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Room, and the rooms that it may name besides itself. `app` and `main` assemble and may name every room.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("media", &[]),
    ("rtmp/proto", &[]),
    ("store", &["domain"]),
    ("hub", &["media", "domain"]),
    ("conferences", &["store", "domain"]),
    ("events", &["conferences", "store", "domain", "hub", "telemetry"]),
    (
        "events/webhooks",
        &["conferences", "store", "domain", "telemetry", "outbound", "clock", "entropy", "secret"],
    ),
    (
        "relays",
        &[
            "conferences",
            "store",
            "domain",
            "hub",
            "rtmp",
            "outbound",
            "presence",
            "telemetry",
            "tls",
            "clock",
            "entropy",
        ],
    ),
    ("outbound", &[]),
    ("overview", &["conferences", "domain", "hub", "clock"]),
    ("presence", &["conferences", "domain", "hub", "clock"]),
    ("retention", &["conferences", "store", "domain", "telemetry"]),
    ("admission", &["conferences", "hub", "intake", "domain"]),
    ("drain", &["domain"]),
    ("intake", &["drain", "overload", "domain"]),
    ("overload", &["domain"]),
    ("rtmp", &["admission", "hub", "media", "domain", "telemetry", "entrance", "tls", "clock", "listen"]),
    ("flv", &["admission", "hub", "media", "domain", "telemetry", "clock"]),
    (
        "control",
        &[
            "conferences",
            "events",
            "presence",
            "overview",
            "admission",
            "drain",
            "intake",
            "hub",
            "flv",
            "relays",
            "domain",
            "telemetry",
            "clock",
            "entropy",
            "secret",
            "entrance",
            "listen",
            "places",
        ],
    ),
    ("tls", &["domain"]),
    ("entrance", &["proxy_header", "tls"]),
    ("proxy_header", &[]),
    ("telemetry", &["domain"]),
    ("clock", &["domain"]),
    ("secret", &[]),
    ("entropy", &["secret"]),
    ("data_dir", &["domain", "entropy", "secret"]),
    ("doctor", &["clock", "config", "data_dir", "domain", "listen", "local_socket", "open_files", "tls"]),
    ("environment", &[]),
    ("listen", &["environment"]),
    ("local_socket", &[]),
    ("places", &[]),
    ("open_files", &[]),
    ("healthcheck", &[]),
    ("config", &["domain", "environment", "listen", "telemetry", "secret"]),
    ("command_line", &["listen"]),
    ("backup", &["conferences", "data_dir", "domain", "secret", "store"]),
    (
        "cli",
        &[
            "backup",
            "clock",
            "command_line",
            "config",
            "data_dir",
            "domain",
            "environment",
            "listen",
            "local_socket",
            "secret",
        ],
    ),
];

/// Foreign crate, and the only places that may name it.
const DOORS: &[(&str, &[&str])] = &[
    ("axum", &["control"]),
    ("governor", &["control/rate.rs"]),
    ("utoipa", &["control", "events/schema.rs", "events/views.rs"]),
    ("utoipa_axum", &["control"]),
    ("reqwest", &["outbound", "cli"]),
    ("rml_rtmp", &["rtmp/handshake.rs"]),
    ("rusqlite", &["store/embedded"]),
    ("tokio_rustls", &["tls"]),
    ("rustls", &["tls"]),
    ("rustls_native_certs", &["tls"]),
    ("jsonwebtoken", &["domain/ticket.rs"]),
    ("aws_lc_rs", &["domain/sealed.rs", "tls"]),
    ("argon2", &["domain/password.rs"]),
    ("prometheus_client", &["telemetry"]),
    ("governor", &["control/rate.rs"]),
    ("rust_embed", &["control/console.rs"]),
    ("tower_http", &["control/cors.rs"]),
    ("tracing_subscriber", &["telemetry"]),
    ("figment", &["config"]),
    ("clap", &["command_line", "main.rs"]),
    ("getrandom", &["entropy.rs"]),
    ("rustix", &["data_dir.rs", "rtmp/transport.rs"]),
    ("socket2", &["listen.rs", "local_socket.rs"]),
];

/// Rooms without IO, clock and chance.
const PURE: &[&str] = &["domain", "media", "rtmp/proto", "proxy_header"];

/// What a pure room must not touch.
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::io",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "Instant",
    "SystemTime",
    "getrandom",
    "async fn",
    ".await",
    "HashMap",
    "HashSet",
    "tracing::",
];

struct Source {
    /// Relative to `src`, with slashes.
    path: String,
    /// Without comments and without inline test modules.
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let is_test = |path: &str| {
        path.ends_with("tests.rs")
            || path.contains("/tests/")
            || path.ends_with("fixtures.rs")
            || path.ends_with("recording.rs")
    };
    let files = rust_files(&src).into_iter().map(|file| {
        let path = file.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
        let text = fs::read_to_string(&file).unwrap();
        let before_tests = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = before_tests.lines().map(|line| line.split("//").next().unwrap_or_default());
        Source { path, code: lines.collect::<Vec<_>>().join("\n") }
    });
    files.filter(|source| !is_test(&source.path)).collect()
}

fn is_in(path: &str, place: &str) -> bool {
    path == place || path == format!("{place}.rs") || path.starts_with(&format!("{place}/"))
}

/// The rooms that `code` names through `crate::`, with the rooms inside braces.
fn named_rooms(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let group = rest.strip_prefix('{').map(|rest| rest.split('}').next().unwrap_or_default());
        let names: Vec<&str> = match group {
            Some(group) => group.split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let word: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !word.is_empty() {
                rooms.insert(word);
            }
        }
    }
    rooms
}

#[test]
fn no_room_names_a_room_that_it_may_not() {
    let mut wrong = Vec::new();
    for source in sources() {
        let rules = MAY_NAME.iter().filter(|(room, _)| is_in(&source.path, room));
        let Some((room, allowed)) = rules.max_by_key(|(room, _)| room.len()) else {
            assert!(
                ["app.rs", "main.rs", "lib.rs"].contains(&source.path.as_str()) || is_in(&source.path, "app"),
                "{}: a room without a rule; add it to MAY_NAME and to ARCHITECTURE.md",
                source.path
            );
            continue;
        };
        let own = room.split('/').next().unwrap_or_default();
        for named in named_rooms(&source.code) {
            if named != own && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{} names {named}", source.path));
            }
        }
        if *room == "rtmp/proto"
            && source.code.split("crate::rtmp::").skip(1).any(|rest| !rest.starts_with("proto"))
        {
            wrong.push(format!("{} names a driver of its own room", source.path));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_foreign_crate_stays_behind_its_door() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, doors) in DOORS {
            let names =
                source.code.contains(&format!("{name}::")) || source.code.contains(&format!("use {name};"));
            if names && !doors.iter().any(|door| is_in(&source.path, door)) {
                wrong.push(format!("{} names {name}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_rooms_have_no_io_no_clock_and_no_chance() {
    let mut wrong = Vec::new();
    for source in sources() {
        if !PURE.iter().any(|room| is_in(&source.path, room)) {
            continue;
        }
        for word in IMPURE {
            let whole = |at: usize| {
                let before = source.code[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            };
            if source.code.match_indices(word).any(|(at, _)| word.starts_with('.') || whole(at)) {
                wrong.push(format!("{} touches {word}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_queue_is_unbounded() {
    let unbounded: Vec<_> = sources()
        .into_iter()
        .filter(|source| source.code.contains("unbounded"))
        .map(|source| source.path)
        .collect();
    assert!(unbounded.is_empty(), "{unbounded:?}");
}

#[test]
fn every_invariant_names_tests_that_exist() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let invariants = map.split("## Invariants").nth(1).expect("ARCHITECTURE.md has a chapter of invariants");
    let rows: Vec<_> =
        invariants.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")).collect();
    assert!(rows.len() >= 12, "every invariant has a row");
    let tree: String = ["src", "tests"]
        .iter()
        .flat_map(|folder| rust_files(&root().join(folder)))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    for row in rows {
        let held_by = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let tests: Vec<_> = held_by.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test in: {row}");
        for test in tests {
            let name = test.rsplit("::").next().unwrap_or_default();
            assert!(
                tree.contains(&format!("fn {name}(")),
                "ARCHITECTURE.md names {test}, which does not exist"
            );
        }
    }
}

#[test]
fn files_stay_readable() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|source| source.code.lines().count() > 600)
        .map(|source| source.path)
        .collect();
    assert!(long.is_empty(), "split these by what they do: {long:?}");
}
