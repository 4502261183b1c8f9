//! Event sockets in odd hands: slow, silent, too many, without a right.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::api::{App, Conference, Refused as _, text};
use support::feed_client::{Ask, Shown, seq};
use support::wait::until;
use support::{EVENT, Gateway, Setup, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Several times what the kernel takes for a peer that does not read, and what the feed keeps for it, together.
const FLOOD_BYTES: usize = 3 * 1024 * 1024;
/// Changes at once: fewer than the feed keeps for sockets that are a little behind.
const AT_ONCE: u32 = 8;

/// A conference of which every `conferenceChanged` is large.
async fn crowded(app: &App) -> Conference {
    let conference = app.create(json!({ "memDefaultRole": 1 })).await.expect("created");
    let ext = json!({ "padding": "x".repeat(1900) });
    let joins = (0..15).map(|number| {
        let body = json!({ "user": format!("listener-{number}"), "ext": ext });
        app.api.join_with(&conference.id, Some(&app.key), body)
    });
    for joined in join_all(joins).await {
        joined.expect("joined");
    }
    conference
}

/// Changes the conference a few times at once; gives about the bytes that each reader is told.
async fn change(conference: &Conference, from: u32) -> usize {
    let patches =
        (0..AT_ONCE).map(|part| {
            let (api, path, key) = (&conference.app.api, conference.path(""), &conference.app.key);
            async move {
                api.patch(&path, key, json!({ "metadata": { "n": from + part } })).await.expect("patched")
            }
        });
    join_all(patches).await.iter().map(|answer| answer.to_string().len()).sum()
}

#[tokio::test]
async fn a_reader_that_stops_is_closed_4008_and_resumes_without_gap() {
    let gateway = Setup::new().env("TIDEGATE_VIEWER_STALL_MS", 120_000).start().await;
    let conference = crowded(&gateway.app().await).await;
    let anna = conference.member("anna", 3).await;
    let mut slow = Ask { receive_buffer: Some(4096), ..Ask::member(&anna) }.open().await.expect("upgraded");
    let first = slow.expect("snapshot").await;
    let mut quick = Ask::app(&conference.app, &conference.id).open().await.expect("upgraded");
    quick.expect("snapshot").await;

    // Nobody reads `slow` from here on: the kernel's buffers fill, then the ring runs over. The other notices nothing.
    let (mut changes, mut told) = (0, 0);
    while told < FLOOD_BYTES {
        told += change(&conference, changes).await;
        changes += AT_ONCE;
        for _ in 0..AT_ONCE {
            quick.expect("conferenceChanged").await;
        }
    }

    let (mut last, mut got) = (seq(&first), 0);
    let closed = loop {
        match slow.next().await {
            Ok(frame) => {
                assert_eq!((&frame["type"], &frame["prev"]), (&json!("conferenceChanged"), &json!(last)));
                (last, got) = (seq(&frame), got + 1);
            }
            Err(closed) => break closed,
        }
    };
    assert_eq!(closed, Some(4008));
    assert!(got < changes, "the flood did not fill the buffers: {got} of {changes}");
    let mut again = Ask::member(&anna).after(last).open().await.expect("upgraded");
    while got < changes {
        let frame = again.expect("conferenceChanged").await;
        assert_eq!(frame["prev"], last);
        (last, got) = (seq(&frame), got + 1);
    }
    conference.member("boris", 3).await;
    assert_eq!(again.expect("memberJoined").await["prev"], last);
    gateway.stop().await;
}

#[tokio::test]
async fn a_peer_that_never_pongs_is_closed_and_one_that_does_stays() {
    let gateway = Setup::new().env("TIDEGATE_EVENT_PING_MS", 800).start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let mut lively = Ask::member(&boris).open().await.expect("upgraded");
    lively.expect("snapshot").await;
    let mut mute = TcpStream::connect(gateway.http).await.expect("connects");
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nauthorization: Bearer {}\r\n\r\n",
        anna.path("/events"),
        anna.token
    );
    mute.write_all(request.as_bytes()).await.expect("written");
    // The lively one answers pings while it waits for its next frame.
    let (heard, joined) = tokio::join!(
        async {
            let mut heard = Vec::new();
            let _ = within(EVENT, "the end of the mute socket", mute.read_to_end(&mut heard)).await;
            conference.member("clara", 3).await;
            heard
        },
        lively.expect("memberJoined")
    );
    assert!(heard.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&heard));
    assert!(heard.ends_with(&[0x89, 0]), "the last word was a ping");
    assert_eq!(joined["member"]["name"], "clara");
    gateway.stop().await;
}

#[tokio::test]
async fn sockets_are_counted_in_all_and_by_address() {
    let gateway = Setup::new()
        .env("TIDEGATE_EVENT_SOCKETS_MAX", 4)
        .env("TIDEGATE_CONNECTIONS_PER_ADDRESS_MAX", 2)
        .env("TIDEGATE_TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let ask = |address: &str| Ask::app(&app, &conference.id).forwarded_for(address);
    let first = ask("203.0.113.1").open().await.expect("upgraded");
    let _second = ask("203.0.113.1").open().await.expect("upgraded");
    assert_eq!(ask("203.0.113.1").open().await.err(), Some(429), "an address has its places");
    let _third = ask("203.0.113.2").open().await.expect("another address");
    first.close().await;
    let ask = &ask;
    let again = until(EVENT, "the place is free again", || async { ask("203.0.113.1").open().await.ok() });
    let again = again.await;
    let _fourth = ask("203.0.113.3").open().await.expect("the last place");
    assert_eq!(ask("203.0.113.4").open().await.err(), Some(503), "all places are taken");
    again.close().await;
    until(EVENT, "a place is free again", || async { ask("203.0.113.4").open().await.ok() }).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_token_is_taken_wherever_it_stands_and_a_bad_one_nowhere() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let anna = conference.member("anna", 3).await;
    for shown in [Shown::Bearer, Shown::Query, Shown::Protocol] {
        let mut socket = Ask::member(&anna).shown(shown, &anna.token).open().await.expect("upgraded");
        assert_eq!(socket.expect("snapshot").await["member"]["id"], anna.id.as_str(), "{shown:?}");
        let ticket = conference.ticket("anna", 3).await;
        for bad in ["nonsense", "a.b.c", &ticket, "app.guessed"] {
            let mut socket = Ask::member(&anna).shown(shown, bad).open().await.expect("upgraded");
            assert_eq!(socket.expect("conferenceExit").await["reason"], 4, "{shown:?} {bad}");
            assert_eq!(socket.closed().await, Some(4401), "{shown:?} {bad}");
        }
        let mut socket = Ask::member(&anna).shown(shown, &app.key).open().await.expect("upgraded");
        assert!(socket.expect("snapshot").await.get("member").is_none(), "the app is no member");
    }
    let mut nobody = Ask { token: None, ..Ask::member(&anna) }.open().await.expect("upgraded");
    nobody.expect("conferenceExit").await;
    assert_eq!(nobody.closed().await, Some(4401));
    let elsewhere = app.conference().await;
    let path = elsewhere.path("/events");
    let mut wrong = Ask { path, ..Ask::member(&anna) }.open().await.expect("upgraded");
    wrong.expect("conferenceExit").await;
    assert_eq!(wrong.closed().await, Some(4401), "a token for another conference");

    anna.exit().await.expect("left");
    let mut gone = Ask::member(&anna).open().await.expect("upgraded");
    assert_eq!(gone.expect("conferenceExit").await["reason"], 0);
    assert_eq!(gone.closed().await, Some(4410));
    let gateway = gateway.kill().await.start().await;
    let anna = anna.at(gateway.api.clone());
    let mut gone = Ask::member(&anna).open().await.expect("upgraded");
    assert_eq!(gone.expect("conferenceExit").await["reason"], 0, "the log still tells");
    assert_eq!(gone.closed().await, Some(4410));
    gateway.stop().await;
}

#[tokio::test]
async fn many_sockets_with_the_app_key_do_not_replace_each_other() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = Ask::app(&app, &conference.id).open().await.expect("upgraded");
        socket.expect("snapshot").await;
        sockets.push(socket);
    }
    let anna = conference.member("anna", 3).await;
    for socket in &mut sockets {
        assert_eq!(socket.expect("memberJoined").await["member"]["id"], anna.id.as_str());
    }
    let mut older = Ask::member(&anna).open().await.expect("upgraded");
    older.expect("snapshot").await;
    let mut newer = Ask::member(&anna).open().await.expect("upgraded");
    newer.expect("snapshot").await;
    assert_eq!(older.closed().await, Some(4009));
    conference.delete().await.expect("deleted");
    for socket in sockets.iter_mut().chain([&mut newer]) {
        assert_eq!(socket.expect("conferenceExit").await["reason"], 11);
        assert_eq!(socket.closed().await, Some(1000));
    }
    gateway.stop().await;
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().expect("members").iter().map(|member| text(member, "/name")).collect()
}

#[tokio::test]
async fn the_audience_of_a_live_conference_is_silent_to_members_and_plain_to_the_app() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.create(json!({ "confrType": 12 })).await.expect("created");
    let anna = conference.member("anna", 3).await;
    let mut seen_by_anna = Ask::member(&anna).open().await.expect("upgraded");
    let first = seen_by_anna.expect("snapshot").await;
    let mut seen_by_app = Ask::app(&app, &conference.id).open().await.expect("upgraded");
    let mut of_app = seq(&seen_by_app.expect("snapshot").await);

    let listener = conference.member("listener", 1).await;
    let left = conference.member("left", 1).await;
    left.exit().await.expect("left");
    let boris = conference.member("boris", 3).await;
    let joined = seen_by_anna.expect("memberJoined").await;
    assert_eq!((&joined["member"]["name"], &joined["prev"]), (&json!("boris"), &first["seq"]));
    for (kind, name) in [
        ("memberJoined", "listener"),
        ("memberJoined", "left"),
        ("memberExited", "left"),
        ("memberJoined", "boris"),
    ] {
        let frame = seen_by_app.expect(kind).await;
        assert_eq!((&frame["member"]["name"], &frame["prev"]), (&json!(name), &json!(of_app)));
        of_app = seq(&frame);
    }

    let page = |bearer: &str| {
        let (api, path, bearer) = (app.api.clone(), anna.path("/events?after=0"), bearer.to_owned());
        async move {
            let page = api.get(&path, &bearer).await.expect("a page");
            let events = page["events"].as_array().expect("events").clone();
            let of = |event: &Value| (text(event, "/type"), event["member"]["name"].clone());
            events.iter().map(of).filter(|(_, name)| *name != "anna").collect::<Vec<_>>()
        }
    };
    assert_eq!(page(&anna.token).await, [("memberJoined".to_owned(), json!("boris"))]);
    assert_eq!(page(&app.key).await.len(), 4);
    for (bearer, seen) in
        [(&anna.token, vec!["anna", "boris"]), (&app.key, vec!["anna", "boris", "listener"])]
    {
        let looked = app.api.get(&conference.path(""), bearer).await.expect("the conference");
        let mut found = names(&looked["members"]);
        found.sort();
        assert_eq!(
            (found, &looked["audienceCount"]),
            (seen.iter().map(ToString::to_string).collect(), &json!(1))
        );
    }
    // What a listener sees of itself: its own member, and the talkers.
    let mut own = Ask::member(&listener).open().await.expect("upgraded");
    let snapshot = own.expect("snapshot").await;
    assert_eq!(snapshot["member"]["id"], listener.id.as_str());
    assert_eq!(snapshot["conference"]["audienceCount"].as_u64(), Some(1));

    conference.set_role(&["listener"], 3).await.expect("promoted");
    let raised = seen_by_anna.expect("roleChanged").await;
    assert_eq!((&raised["member"]["name"], raised.get("roleToken")), (&json!("listener"), None));
    let own_role = own.expect("roleChanged").await;
    let fresh = text(&own_role, "/roleToken");
    app.api.get(&conference.path(""), &fresh).await.expect("the fresh token holds");
    listener.look().await.expect("the old token holds as well");
    conference.kick(&["boris"]).await.expect("kicked");
    assert_eq!(seen_by_anna.expect("memberExited").await["reason"], 12);
    boris.look().await.refused().assert_is(410, "member_gone", -504);
    gateway.stop().await;
}

#[tokio::test]
async fn a_stop_tells_a_socket_and_does_not_wait_for_one_that_does_not_read() {
    let setup = Setup::new().env("TIDEGATE_DRAIN_MS", 300_000).env("TIDEGATE_VIEWER_STALL_MS", 300_000);
    let gateway = setup.start().await;
    let app = gateway.app().await;
    let conference = crowded(&app).await;
    let (mut changes, mut told) = (0, 0);
    while told < FLOOD_BYTES {
        told += change(&conference, changes).await;
        changes += AT_ONCE;
    }
    let stuck = Ask { receive_buffer: Some(4096), ..Ask::app(&app, &conference.id) };
    let mut stuck = stuck.after(1).open().await.expect("upgraded");
    stuck.next().await.expect("the first of all that it missed");
    let anna = conference.member("anna", 3).await;
    let mut lively = Ask::member(&anna).open().await.expect("upgraded");
    let first = lively.expect("snapshot").await;
    // The stop has a deadline far below what the settings allow.
    let (_, ()) = tokio::join!(gateway.stop(), async {
        let told = lively.expect("serverDraining").await;
        assert_eq!((&told["prev"], &told["deadlineMs"]), (&first["seq"], &json!(300_000)));
        assert_eq!(lively.closed().await, Some(4503));
    });
    drop(stuck);
}
