//! The gateway: the real binary with its embedded store; conferences and URLs come from its API.

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::str::FromStr as _;

use serde_json::{Value, json};

use super::super::link::Target;
use super::super::support::api::{Api, App, Secrets, text};
use super::super::wire::Url;
use super::{Server, Stream, spawn};

/// Sessions that one play URL serves, as the bench sets it: the most that can be set.
const PLAYS_PER_URL: usize = 1000;

/// The binary that cargo built for this bench, or another one.
fn binary() -> OsString {
    std::env::var_os("TIDEGATE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tidegate").into())
}

fn command(home: &Path) -> Command {
    let mut command = Command::new(binary());
    // What stands in the environment for the gateway is passed on, so that settings can be tried.
    command.env_remove("TIDEGATE_BIN").env("TIDEGATE_DATA_DIR", home.join("data")).current_dir(home);
    command
}

pub fn start(profile: &str, streams: usize, viewers: usize) -> Server {
    let home = tempfile::tempdir().expect("a directory");
    let mut serve = command(home.path());
    serve.arg("serve").stderr(File::create(home.path().join("log")).expect("a file"));
    for (name, value) in [
        ("TIDEGATE_RTMP_LISTEN", "127.0.0.1:0"),
        ("TIDEGATE_HTTP_LISTEN", "127.0.0.1:0"),
        ("TIDEGATE_OPS_LISTEN", "127.0.0.1:0"),
        // As the others are run without a log of accesses.
        ("TIDEGATE_LOG", "warn"),
        ("TIDEGATE_PLAYS_PER_URL", "1000"),
        // Idle players are measured for longer than the default lets them wait.
        ("TIDEGATE_PLAY_WAIT_MS", "600000"),
    ] {
        serve.env(name, value);
    }
    let (child, line) = spawn(serve);
    let listening: Value = serde_json::from_str(&line).expect("the listening line");
    let http: SocketAddr = text(&listening, "/http").parse().expect("an address");
    let shown = command(home.path()).args(["key", "show"]).output().expect("key show");
    let key = String::from_utf8_lossy(&shown.stdout).trim().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let streams = runtime.block_on(async {
        let app = App::new(Api::new(http, Secrets::default()), &key);
        let mut made = Vec::new();
        for _ in 0..streams {
            made.push(declare(&app, profile, viewers.div_ceil(PLAYS_PER_URL).max(1)).await);
        }
        made
    });
    Server { process: Some(child.id()), child: Some(child), streams, _home: Some(home) }
}

/// A conference with a stream, and so many URLs to play it.
async fn declare(app: &App, profile: &str, urls: usize) -> Stream {
    // Without a password: hashing a thousand would take longer than the bench.
    let conference = app.create(json!({ "password": "" })).await.expect("a conference");
    let member = app.api.join(&conference.id, &conference.ticket).await.expect("a join");
    let path = conference.path("/streams");
    let published = app.api.post(&path, &member.token, json!({ "rtcId": "CAM" })).await.expect("pubStream");
    let target = |answer: &Value| Target::Rtmp(Url::from_str(&text(answer, "/data/rtmp")).expect("a URL"));
    let watch = format!("{path}/{}/subscriptions", text(&published, "/stream/id"));
    let mut play = Vec::new();
    for _ in 0..urls {
        let watched = app.api.post(&watch, &member.token, json!({ "profile": profile })).await;
        play.push(target(&watched.expect("subStream")));
    }
    Stream { publish: target(&published), play }
}
