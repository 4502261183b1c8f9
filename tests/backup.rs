//! A backup that is taken while the gateway runs, restored elsewhere, is the gateway of that moment.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use support::api::{App, Refused as _};
use support::process::{Ended, Running};
use support::{Conference, EVENT, Gateway, Setup};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Backends that make conferences and members as fast as they can while the backup is taken.
const BACKENDS: usize = 4;
/// Conferences in all that are acknowledged before the backup begins.
const ACKNOWLEDGED: usize = 40;

async fn run(setup: &Setup, arguments: &[&str]) -> Ended {
    let ended = setup.run(arguments).await;
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    ended
}

async fn failure(setup: &Setup, arguments: &[&str]) -> String {
    let ended = setup.run(arguments).await;
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(1), ""), "{arguments:?}: {ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    ended.stderr
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Makes conferences with one member each until the gateway is gone, and counts what was acknowledged.
async fn work(app: App, done: watch::Sender<usize>) -> Vec<(Conference, String)> {
    let mut made = Vec::new();
    loop {
        let path = "/v1/conferences";
        let request = json!({ "password": "tide", "metadata": { "number": made.len() } });
        let Ok(created) = app.api.try_call(reqwest::Method::POST, path, Some(&app.key), Some(request)).await
        else {
            return made;
        };
        let answer = created.expect("a conference");
        let field = |name: &str| answer[name].as_str().expect("text").to_owned();
        let conference = Conference {
            app: app.clone(),
            id: field("confrId"),
            password: field("password"),
            ticket: field("ticket"),
            answer: answer.clone(),
        };
        let path = conference.path("/members");
        let body = json!({ "user": "anna" });
        let Ok(joined) = app.api.try_call(reqwest::Method::POST, &path, Some(&app.key), Some(body)).await
        else {
            return made;
        };
        let token = joined.expect("a member")["roleToken"].as_str().expect("a token").to_owned();
        app.api.secrets.learn(&token);
        made.push((conference, token));
        done.send_modify(|count| *count += 1);
    }
}

#[tokio::test]
async fn what_was_acknowledged_before_a_backup_under_load_is_there_elsewhere() {
    let gateway = Gateway::start().await;
    let first = gateway.app().await;
    let key = run(&gateway.setup, &["app", "add", "shop"]).await.stdout;
    let shop = App::new(gateway.api.clone(), key.trim_end());
    let early = shop.conference().await;
    let ticket = early.ticket("boris", 3).await;
    let (done, mut count) = watch::channel(0);
    let mut backends = JoinSet::new();
    for _ in 0..BACKENDS {
        backends.spawn(work(first.clone(), done.clone()));
    }
    count.wait_for(|count| *count >= ACKNOWLEDGED).await.expect("the backends work");
    let listed = run(&gateway.setup, &["conferences", "--json"]).await.stdout;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let before = *count.borrow_and_update();

    let home = gateway.setup.home().to_owned();
    let file = home.join("monday.db");
    let told = run(&gateway.setup, &["backup", text(&file)]).await;
    gateway.secrets().assert_absent("stderr of the backup", &told.stderr);
    assert_eq!((told.stdout.as_str(), mode(&file)), ("", 0o600));
    count.wait_for(|count| *count > before).await.expect("they work on during and after the backup");
    let setup = gateway.kill().await;
    let mut made = Vec::new();
    while let Some(backend) = backends.join_next().await {
        made.extend(backend.expect("no panic"));
    }

    let elsewhere = home.join("elsewhere");
    run(&setup, &["restore", "--data-dir", text(&elsewhere), text(&file)]).await;
    assert_eq!((mode(&elsewhere), mode(&elsewhere.join("tidegate.db"))), (0o700, 0o600));
    assert_eq!(mode(&elsewhere.join("app.key")), 0o600);
    let gateway = setup.data_dir(&elsewhere).start().await;
    assert_eq!(gateway.app().await.key, first.key, "key show is true");
    let (first, early) = (first.at(gateway.api.clone()), early.at(gateway.api.clone()));
    let restored = listed["conferences"].as_array().expect("conferences");
    assert!(restored.len() >= ACKNOWLEDGED, "{} conferences", restored.len());
    for conference in restored {
        let id = conference["confrId"].as_str().expect("an id");
        let now = first.api.get(&format!("/v1/conferences/{id}"), &first.key).await.expect("it is there");
        assert_eq!(now["metadata"], conference["metadata"]);
        let (before, after) = (&conference["seq"], &now["seq"]);
        assert!(after.as_u64() >= before.as_u64(), "{id}: {before} became {after}");
    }
    // Members, their tokens, tickets, passwords and app keys of before hold.
    let (conference, token) =
        made.iter().find(|(made, _)| made.id == restored[0]["confrId"]).expect("it was made");
    let seen = gateway.api.get(&conference.path(""), token).await.expect("a member token of before");
    assert_eq!(seen["members"][0]["name"], "anna");
    let user = first.user_token("clara", false);
    let body = json!({ "password": "tide" });
    gateway.api.join_with(&conference.id, Some(&user), body).await.expect("the password of before");
    gateway.api.join(&early.id, &ticket).await.expect("a ticket of before");
    early.app.conference().await;
    first.conference().await;
    gateway.stop().await;
}

#[tokio::test]
async fn nothing_is_overwritten_unless_it_is_forced() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let home = gateway.setup.home().to_owned();
    let (file, data) = (home.join("backup.db"), gateway.setup.data_path().to_owned());
    fs::write(&file, "mine").expect("a file");
    let line = failure(&gateway.setup, &["backup", text(&file)]).await;
    assert!(line.contains("is there already") && line.contains("--force"), "{line}");
    assert_eq!(fs::read(&file).expect("a file"), b"mine");
    run(&gateway.setup, &["backup", "--force", text(&file)]).await;
    assert_eq!(mode(&file), 0o600);
    let left: Vec<_> =
        fs::read_dir(&home).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{left:?}");

    let line = failure(&gateway.setup, &["restore", "--force", text(&file)]).await;
    assert!(line.contains("another tidegate is running"), "{line}");
    let setup = gateway.stop().await;
    let line = failure(&setup, &["restore", text(&file)]).await;
    assert!(line.contains("there is data in") && line.contains("--force"), "{line}");

    // What is moved aside is whole: it can be put back.
    let gateway = setup.start().await;
    let later = gateway.app().await.conference().await;
    let setup = gateway.kill().await;
    let told = run(&setup, &["restore", "--force", text(&file)]).await.stderr;
    let aside = fs::read_dir(&data).expect("a folder").flatten().map(|entry| entry.path());
    let aside =
        aside.into_iter().find(|path| text(path).contains("replaced-")).expect("what was there before");
    assert!(told.contains(text(&aside)), "{told}");
    let gateway = setup.start().await;
    conference.at(gateway.api.clone()).get().await.expect("it was in the backup");
    later.at(gateway.api.clone()).get().await.refused().assert_is(404, "conference_not_found", -301);
    let setup = gateway.stop().await.data_dir(&aside);
    let gateway = setup.start().await;
    later.at(gateway.api.clone()).get().await.expect("it was moved aside");
    gateway.stop().await;
}

#[tokio::test]
async fn nothing_is_served_that_a_restore_left_half_done() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let file = gateway.setup.home().join("backup.db");
    run(&gateway.setup, &["backup", text(&file)]).await;
    let setup = gateway.stop().await;
    let data = setup.data_path().to_owned();
    // As a cut leaves it between the move aside and the move into place.
    fs::create_dir(data.join("replaced-1")).expect("a folder");
    for name in ["tidegate.db", "app.key"] {
        fs::rename(data.join(name), data.join("replaced-1").join(name)).expect("moved aside");
    }
    fs::write(data.join("restore-unfinished"), "").expect("a mark");
    let refused = setup.refused().await;
    assert!(refused.stderr.contains("broke off half way"), "{refused:?}");
    assert!(refused.stderr.contains("`tidegate restore --force`"), "{refused:?}");
    assert!(!data.join("tidegate.db").exists() && !data.join("app.key").exists(), "nothing was begun anew");
    run(&setup, &["restore", "--force", text(&file)]).await;
    let gateway = setup.start().await;
    conference.at(gateway.api.clone()).get().await.expect("it was in the backup");
    gateway.stop().await;
}

#[tokio::test]
async fn a_backup_goes_through_a_pipe_from_a_gateway_that_is_stopped() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let setup = gateway.stop().await;
    let program = env!("CARGO_BIN_EXE_tidegate");
    let script = "\"$0\" backup - | \"$0\" restore --data-dir \"$1\" -";
    let elsewhere = setup.home().join("elsewhere");
    let mut command = tokio::process::Command::new("sh");
    command
        .args(["-c", script, program, text(&elsewhere)])
        .env("TIDEGATE_DATA_DIR", setup.data_path())
        .stdin(Stdio::null());
    let ended = Running::start("backup through a pipe", command).ended(EVENT).await;
    assert!(ended.status.success() && ended.stdout.is_empty(), "{ended:?}");
    let left = fs::read_dir(setup.data_path()).expect("a folder").flatten().map(|entry| entry.file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains("backup")).collect();
    assert!(left.is_empty(), "{left:?}");
    let gateway = setup.data_dir(&elsewhere).start().await;
    conference.at(gateway.api.clone()).get().await.expect("it is there");
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_no_whole_backup_is_refused_and_leaves_the_folder_empty() {
    let gateway = Gateway::start().await;
    gateway.app().await.conference().await;
    let home = gateway.setup.home().to_owned();
    let file = home.join("backup.db");
    run(&gateway.setup, &["backup", text(&file)]).await;
    let setup = gateway.stop().await;
    let whole = fs::read(&file).expect("a backup");
    let (broken, elsewhere) = (home.join("broken.db"), home.join("elsewhere"));
    let mut newer = whole.clone();
    // The user version stands in the header, bytes 60 to 63 (SQLite file format, section 1.3).
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    let mut spoilt = whole.clone();
    spoilt[4096..8192].fill(0xA5);
    for (bytes, part) in [
        (&b"a shopping list"[..], "not a Tidegate store"),
        (&whole[..whole.len() / 2], "damaged"),
        (&spoilt, "damaged"),
        (&newer, "newer release (format version 99"),
    ] {
        fs::write(&broken, bytes).expect("a file");
        let line = failure(&setup, &["restore", "--data-dir", text(&elsewhere), text(&broken)]).await;
        assert!(line.contains(part) && line.contains("broken.db"), "{part:?} is not in: {line}");
        let left = fs::read_dir(&elsewhere).expect("a folder").flatten().map(|entry| entry.file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["tidegate.lock"], "{part}");
    }
    let line = failure(&setup, &["restore", "--data-dir", text(&elsewhere), "/nowhere/backup.db"]).await;
    assert!(line.contains("/nowhere/backup.db"), "{line}");
    let line = failure(&setup, &["backup", "--data-dir", text(&home), text(&home.join("none.db"))]).await;
    assert!(line.contains("there is no store in"), "{line}");
    run(&setup, &["restore", "--data-dir", text(&elsewhere), text(&file)]).await;
}

#[tokio::test]
async fn a_lost_or_spoilt_key_file_is_written_anew_from_the_store() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let mut setup = gateway.stop().await;
    let file = setup.data_path().join("app.key");
    fs::write(&file, "garbage").expect("a file");
    let refused = setup.refused().await;
    assert!(refused.stderr.contains("remove it and start the gateway"), "{refused:?}");
    // The advice is true: the same key is back, and all that belongs to it.
    fs::remove_file(&file).expect("a file");
    let gateway = setup.start().await;
    assert_eq!(gateway.app().await.key, app.key);
    conference.at(gateway.api.clone()).get().await.expect("it is there");
    setup = gateway.stop().await;
    assert_eq!(mode(&setup.data_path().join("app.key")), 0o600);
}
