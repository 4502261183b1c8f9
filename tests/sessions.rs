//! The app's backend sees who publishes and plays, and closes single connections.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use serde_json::Value;
use support::api::{App, Refused as _, text};
use support::wait::until;
use support::{EVENT, Gateway, Peer, flv};

/// The sessions that `query` selects.
async fn sessions(app: &App, query: &str) -> Vec<Value> {
    let page = app.api.get(&format!("/v1/sessions{query}"), &app.key).await.expect("a page");
    assert_eq!(page["nextCursor"], Value::Null);
    page["sessions"].as_array().expect("sessions").clone()
}

fn of<'a>(sessions: &'a [Value], user: &str, direction: &str) -> &'a Value {
    let found = sessions.iter().find(|session| session["user"] == user && session["direction"] == direction);
    found.unwrap_or_else(|| panic!("no session of {user} ({direction}) in {sessions:?}"))
}

#[tokio::test]
async fn sessions_are_listed_counted_and_closed() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let (conference, other) = (app.conference().await, app.conference().await);
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 1).await;
    let clara = conference.member("clara", 1).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let his_url = boris.subscribe(&published.stream_id).await.expect("subStream").url;
    let her_url = clara.subscribe(&published.stream_id).await.expect("subStream").url;
    let his_view = Peer::play(&his_url).await.expect("play").watch();
    let her_view = Peer::play(&her_url).await.expect("play").watch();
    his_view.more_pictures(5).await;
    her_view.more_pictures(5).await;

    let listed = sessions(&app, "").await;
    assert_eq!(listed.len(), 3);
    assert_eq!(sessions(&app, &format!("?confrId={}", conference.id)).await.len(), 3);
    assert_eq!(sessions(&app, &format!("?confrId={}", other.id)).await, Vec::<Value>::new());
    let publishing = of(&listed, "anna", "publish");
    for (session, member) in [(publishing, &anna), (of(&listed, "boris", "play"), &boris)] {
        assert_eq!(text(session, "/confrId"), conference.id);
        assert_eq!(text(session, "/memId"), member.id);
        assert_eq!(text(session, "/streamId"), published.stream_id);
        assert_eq!(text(session, "/protocol"), "rtmp");
        assert!(text(session, "/peer").starts_with("127.0.0.1:"));
        assert!(session["packets"].as_u64() >= Some(5), "{session}");
        assert!(session["bytes"].as_u64() > session["packets"].as_u64(), "{session}");
    }

    // A viewer is closed; the others notice nothing, and its URL is as good as before.
    let close = format!("/v1/sessions/{}", text(of(&listed, "boris", "play"), "/id"));
    app.api.delete(&close, &app.key).await.expect("closed");
    let end = his_view.closed().await;
    let said = end.statuses.last().expect("the reason is told");
    assert!(said.description.starts_with("closed: "), "{said:?}");
    assert_eq!(sessions(&app, "").await.len(), 2);
    app.api.delete(&close, &app.key).await.refused().assert_is(404, "not_found", -301);
    her_view.more_pictures(5).await;
    assert!(feed.is_open());
    boris.look().await.expect("still a member");
    let again = Peer::play(&his_url).await.expect("the URL still admits").watch();
    again.more_pictures(3).await;

    // So is a publisher; what it left behind waits for its return.
    app.api.delete(&format!("/v1/sessions/{}", text(publishing, "/id")), &app.key).await.expect("closed");
    feed.closed().await;
    let again = Peer::publish(&published.url).await.expect("the URL still admits").feed(flv::clip());
    her_view.more_pictures(5).await;
    assert!(again.is_open());
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_that_ended_by_itself_is_gone_from_the_list() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let peer = Peer::publish(&published.url).await.expect("publish");
    assert_eq!(sessions(&conference.app, "").await.len(), 1);
    peer.leave().await;
    until(EVENT, "the list is empty", || async {
        sessions(&conference.app, "").await.is_empty().then_some(())
    })
    .await;
    gateway.stop().await;
}
