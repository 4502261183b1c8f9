//! Several apps on one gateway: each sees its own only, and its operator adds, rotates and removes them by command.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::os::unix::fs::PermissionsExt as _;

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use support::api::{Refused as _, text};
use support::process::Ended;
use support::{App, EVENT, Gateway, Peer, Setup, flv, token, within};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// Runs a command that ought to succeed; gives its stdout.
async fn run(setup: &Setup, arguments: &[&str]) -> String {
    let ended = setup.run(arguments).await;
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    ended.stdout
}

/// Asserts that a command failed with exit code 1 and one line that has `part`.
async fn refused(setup: &Setup, arguments: &[&str], part: &str) -> Ended {
    let ended = setup.run(arguments).await;
    assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {ended:?}");
    assert_eq!(ended.stdout, "", "{arguments:?}");
    let line = ended.stderr.trim_end();
    assert!(line.starts_with("tidegate: ") && line.lines().count() == 1, "{line}");
    assert!(line.contains(part), "{part:?} is not in: {line}");
    ended
}

async fn add(gateway: &Gateway, name: &str) -> App {
    let key = run(&gateway.setup, &["app", "add", name]).await;
    let app = App::new(gateway.api.clone(), key.trim_end());
    assert_eq!((app.id.as_str(), key.lines().count()), (name, 1));
    app
}

/// Asserts that the app's key opens nothing.
async fn locked_out(app: &App) {
    let refusal = app.api.post("/v1/conferences", &app.key, json!({})).await.refused();
    assert_eq!(refusal.status, 401, "{refusal:?}");
}

#[tokio::test]
async fn no_route_shows_or_changes_what_belongs_to_another_app() {
    let gateway = Gateway::start().await;
    let (ours, theirs) = (gateway.app().await, add(&gateway, "theirs").await);
    let conference = theirs.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let boris = conference.member("boris", 1).await;
    let watch = Peer::play(&boris.subscribe(&published.stream_id).await.expect("subStream").url).await;
    let watch = watch.expect("play").watch();
    watch.more_pictures(3).await;
    let before = conference.get().await.expect("the conference");
    let sessions = theirs.api.get("/v1/sessions", &theirs.key).await.expect("sessions");
    let session = text(&sessions, "/sessions/0/id");

    let stream = format!("/streams/{}", published.stream_id);
    let kick = json!({ "memberNames": ["anna"] });
    let calls = [
        (Method::GET, conference.path(""), None),
        (Method::PATCH, conference.path(""), Some(json!({ "metadata": { "mine": true } }))),
        (Method::DELETE, conference.path(""), None),
        (Method::POST, conference.path("/tickets"), Some(json!({ "user": "eve", "role": 7 }))),
        (Method::POST, conference.path("/members"), Some(json!({ "user": "eve" }))),
        (Method::PATCH, conference.path("/members/me?user=anna"), Some(json!({ "nickName": "eve" }))),
        (Method::DELETE, conference.path("/members/me?user=anna"), None),
        (Method::POST, conference.path("/heartbeat"), Some(json!({ "user": "anna" }))),
        (Method::POST, conference.path("/kick"), Some(kick.clone())),
        (Method::POST, conference.path("/roles"), Some(json!({ "memberNames": ["boris"], "role": 7 }))),
        (
            Method::POST,
            conference.path("/mute"),
            Some(json!({ "memberNames": ["anna"], "audio": true, "video": true })),
        ),
        (Method::POST, conference.path("/streams"), Some(json!({ "user": "anna", "rtcId": "RTC2" }))),
        (Method::PATCH, conference.path(&stream), Some(json!({ "user": "anna", "voff": 1 }))),
        (Method::DELETE, conference.path(&stream), None),
        (Method::POST, conference.path(&format!("{stream}/subscriptions")), Some(json!({ "user": "boris" }))),
        (Method::POST, conference.path(&format!("{stream}/subscriptions")), None),
        (Method::GET, conference.path(&format!("{stream}/stats")), None),
        (Method::POST, conference.path("/messages"), Some(json!({ "body": "hello" }))),
        (Method::GET, conference.path("/events"), None),
        (Method::GET, conference.path("/relays"), None),
        (Method::GET, format!("/v1/sessions?confrId={}", conference.id), None),
        (Method::DELETE, format!("/v1/sessions/{session}"), None),
    ];
    for (method, path, body) in calls {
        let what = format!("{method} {path}");
        let refusal = gateway.api.call(method, &path, Some(&ours.key), body).await.refused();
        assert_eq!(refusal.status, 404, "{what}: {refusal:?}");
        assert!(!refusal.detail.contains("anna"), "{what}: {refusal:?}");
    }

    // Nothing of it shows in a list, and nothing was done.
    for (path, field) in [("/v1/conferences", "conferences"), ("/v1/sessions", "sessions")] {
        assert_eq!(gateway.api.get(path, &ours.key).await.expect("a page")[field], json!([]), "{path}");
    }
    let after = conference.get().await.expect("the conference");
    assert_eq!((&after["members"], &after["seq"]), (&before["members"], &before["seq"]));
    watch.more_pictures(3).await;
    assert!(feed.is_open());

    // Nor does anything that our app can sign or hold lead in.
    let our_conference = ours.conference().await;
    let our_member = our_conference.member("eve", 7).await;
    let eve = ours.user_token("eve", true);
    let with_password = json!({ "password": conference.password });
    for path in ["/members", "/tickets"] {
        let call = gateway.api.post(&conference.path(path), &eve, with_password.clone()).await;
        call.refused().assert_is(404, "conference_not_found", -301);
    }
    let ticket = our_conference.ticket.clone();
    gateway.api.join(&conference.id, &ticket).await.refused().assert_is(401, "ticket_invalid", -500);
    let call = gateway.api.post(&conference.path("/kick"), &ticket, kick.clone()).await;
    call.refused().assert_is(401, "ticket_invalid", -500);
    let call = gateway.api.post(&conference.path("/kick"), &our_member.token, kick).await;
    assert_eq!(call.refused().status, 403);
    let forged = json!({ "iss": theirs.id, "sub": "eve", "exp": token::now() + 600 });
    let forged = token::hs256(&forged, ours.secret.as_bytes());
    let call = gateway.api.post(&conference.path("/members"), &forged, with_password).await;
    assert_eq!(call.refused().status, 401);

    // The feed says what it says of a conference that is not there.
    let url = format!("ws://{}{}?access_token={}", gateway.http, conference.path("/events"), ours.key);
    let (mut socket, _) = connect_async(url).await.expect("upgraded");
    let first = within(EVENT, "a frame", socket.next()).await.expect("a frame").expect("a frame");
    let first: Value = serde_json::from_str(first.to_text().expect("text")).expect("JSON");
    assert_eq!((&first["type"], &first["failed"]), (&json!("conferenceExit"), &json!(-301)), "{first}");
    let close = within(EVENT, "the close", socket.next()).await.expect("a close").expect("a close");
    assert!(matches!(close, Message::Close(Some(frame)) if u16::from(frame.code) == 4410));
    gateway.stop().await;
}

#[tokio::test]
async fn a_name_of_one_app_is_another_room_in_another() {
    let gateway = Gateway::start().await;
    let (ours, theirs) = (gateway.app().await, add(&gateway, "theirs").await);
    let enter = async |app: &App, bearer: &str, body: Value| {
        app.api.post("/v1/rooms/lunch/members", bearer, body).await
    };
    let their_password = json!({ "user": "anna", "password": "sesame" });
    let anna = enter(&theirs, &theirs.key, their_password).await.expect("makes the room");
    let eve = ours.user_token("eve", false);
    let stranger = enter(&ours, &eve, json!({ "password": "sesame" })).await.refused();
    assert_eq!((stranger.status, stranger.reason.as_str()), (403, "not_allowed"), "no such room in our app");
    let own = enter(&ours, &ours.key, json!({ "user": "eve" })).await.expect("makes another room");
    assert_eq!((&own["isCreator"], &own["confr"]["roomName"]), (&json!(true), &json!("lunch")));
    assert_ne!(own["confr"]["confrId"], anna["confr"]["confrId"]);
    let boris = enter(&theirs, &theirs.key, json!({ "user": "boris" })).await.expect("joins theirs");
    assert_eq!(boris["confr"]["confrId"], anna["confr"]["confrId"]);
    let path = format!("/v1/conferences/{}", text(&own, "/confr/confrId"));
    let seen = ours.api.get(&path, &ours.key).await.expect("our room");
    assert_eq!(seen["members"].as_array().map(Vec::len), Some(1));

    // Nor does the removal of an app touch the room of the same name.
    run(&gateway.setup, &["app", "remove", "theirs", "--force"]).await;
    ours.api.get(&path, &ours.key).await.expect("our room goes on");
    let again = enter(&ours, &eve, json!({})).await.expect("eve comes again");
    assert_eq!(again["confr"]["confrId"], own["confr"]["confrId"]);
    gateway.stop().await;
}

#[tokio::test]
async fn an_app_is_added_listed_limited_and_survives_a_kill() {
    let gateway = Setup::new().env("TIDEGATE_LOG", "trace").start().await;
    let first = gateway.app().await;
    let shop = add(&gateway, "shop").await;
    shop.conference().await;
    refused(&gateway.setup, &["app", "add", "shop"], "already").await;
    refused(&gateway.setup, &["app", "add", "no/name"], "letters, digits").await;
    run(&gateway.setup, &["app", "limits", "shop", "--rooms-per-day", "1000", "--conferences", "5"]).await;
    run(&gateway.setup, &["app", "limits", "shop", "--rooms-per-day", "none"]).await;
    let listed: Value =
        serde_json::from_str(&run(&gateway.setup, &["app", "list", "--json"]).await).expect("JSON");
    let shops = listed["apps"].as_array().expect("apps").iter().find(|app| app["appId"] == "shop");
    let limits = json!({ "roomsPerDayMax": null, "conferencesMax": 5 });
    let expected =
        json!({ "appId": "shop", "first": false, "secrets": 1, "limits": limits, "conferences": 1 });
    assert_eq!(shops, Some(&expected));
    let table = run(&gateway.setup, &["app", "list"]).await;
    assert!(table.starts_with("APP ") && table.lines().count() == 3, "{table}");
    assert!(
        !listed.to_string().contains(&shop.secret) && !table.contains(&first.secret),
        "no secret is listed"
    );

    let setup = gateway.kill().await;
    assert!(setup.data_path().join("control.sock").exists(), "a killed gateway leaves its socket");
    refused(&setup, &["app", "list"], "no gateway is running").await;
    let gateway = setup.start().await;
    shop.at(gateway.api.clone()).conference().await;
    let socket = gateway.setup.data_path().join("control.sock");
    let mode = std::fs::metadata(&socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let setup = gateway.stop().await;
    assert!(!socket.exists(), "a stop removes the socket");
    refused(&setup, &["app", "add", "later"], "tidegate serve").await;
}

#[tokio::test]
async fn during_a_rotation_both_keys_hold_and_key_show_stays_true() {
    let gateway = Setup::new().env("TIDEGATE_LOG", "trace").start().await;
    let old = gateway.app().await;
    refused(&gateway.setup, &["app", "rotate", &old.id, "--finish"], "no rotation").await;
    let new = run(&gateway.setup, &["app", "rotate", &old.id]).await;
    let new = App::new(gateway.api.clone(), new.trim_end());
    assert!(new.id == old.id && new.secret != old.secret);
    assert_eq!(run(&gateway.setup, &["key", "show"]).await.trim_end(), new.key);
    refused(&gateway.setup, &["app", "rotate", &old.id], "--finish").await;
    let conference = old.conference().await;
    let join = |app: &App, user: &str| {
        let (api, id, bearer) = (app.api.clone(), conference.id.clone(), app.user_token(user, false));
        let body = json!({ "password": conference.password });
        async move { api.join_with(&id, Some(&bearer), body).await }
    };
    for (app, user) in [(&old, "anna"), (&new, "boris")] {
        app.conference().await;
        join(app, user).await.expect("a join");
    }
    let ticket = conference.ticket("clara", 3).await;

    run(&gateway.setup, &["app", "rotate", &old.id, "--finish"]).await;
    locked_out(&old).await;
    assert_eq!(join(&old, "eve").await.refused().status, 401);
    join(&new, "dora").await.expect("a join");
    gateway.api.join(&conference.id, &ticket).await.expect("tickets do not end with an app's secret");

    // What was rotated holds after a start, with the key file that was rewritten.
    let file = gateway.setup.data_path().join("app.key");
    assert_eq!(std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let gateway = gateway.kill().await.start().await;
    assert_eq!(gateway.app().await.key, new.key);
    new.at(gateway.api.clone()).conference().await;
    locked_out(&old.at(gateway.api.clone())).await;

    let lost = run(&gateway.setup, &["app", "rotate", &new.id]).await;
    let lost = App::new(gateway.api.clone(), lost.trim_end());
    run(&gateway.setup, &["app", "rotate", &new.id, "--cancel"]).await;
    locked_out(&lost).await;
    assert_eq!(gateway.app().await.key, new.key);
    gateway.stop().await;
}

#[tokio::test]
async fn an_app_is_removed_with_its_conferences_or_not_at_all() {
    let gateway = Gateway::start().await;
    let first = gateway.app().await;
    let kept = first.conference().await;
    let shop = add(&gateway, "shop").await;
    let conference = shop.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    refused(&gateway.setup, &["app", "remove", "shop"], "1 open conferences").await;
    assert!(feed.is_open());
    anna.look().await.expect("a refused removal changes nothing");
    refused(&gateway.setup, &["app", "remove", &first.id, "--force"], "first app").await;
    refused(&gateway.setup, &["app", "remove", "nobody"], "no app nobody").await;

    run(&gateway.setup, &["app", "remove", "shop", "--force"]).await;
    feed.closed().await;
    anna.look().await.refused().assert_is(410, "conference_closed", -302);
    locked_out(&shop).await;
    kept.get().await.expect("conferences of other apps go on");
    refused(&gateway.setup, &["app", "add", "shop"], "choose another name").await;
    let gateway = gateway.kill().await.start().await;
    locked_out(&shop.at(gateway.api.clone())).await;
    assert!(!run(&gateway.setup, &["app", "list"]).await.contains("shop"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_data_directory_with_a_long_path_is_administered_too() {
    let setup = Setup::new();
    let deep = setup.home().join("d".repeat(120)).join("data");
    let gateway = setup.data_dir(deep).start().await;
    add(&gateway, "shop").await.conference().await;
    gateway.stop().await;
}
