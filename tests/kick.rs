//! A kick ends the right at once: sockets close, the client's automatic retry is refused, old tickets are dead.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "test code")]

mod support;

use std::time::Instant;
use support::api::Refused as _;
use support::peer::{PLAY_REFUSED, PUBLISH_REFUSED};
use support::{EVENT, Gateway, Peer, Pusher, Viewer, flv, within};

#[tokio::test]
async fn a_kicked_viewer_sees_nothing_more_and_cannot_come_back() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let ticket = conference.ticket("boris", 3).await;
    let boris = conference.app.api.join(&conference.id, &ticket).await.expect("joins");
    let clara = conference.member("clara", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let _feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let url = boris.subscribe(&published.stream_id).await.expect("subStream").url;
    let kicked = Peer::play(&url).await.expect("play").watch();
    let kicked_player = Viewer::rtmpdump(&url);
    let clara_url = clara.subscribe(&published.stream_id).await.expect("subStream").url;
    let witness = Peer::play(&clara_url).await.expect("play").watch();
    kicked.more_pictures(5).await;
    kicked_player.pictures(5).await;

    let answer = conference.kick(&["boris"]).await.expect("kick");
    let answered = Instant::now();
    assert_eq!(answer["kicked"], serde_json::json!(["boris"]));
    let end = kicked.closed().await;
    report("viewer", answered, end.last_byte);
    kicked_player.closed().await;

    // What the phone does by itself, and what its page may try.
    Peer::play(&url).await.err().expect("a retry is refused").assert_refuses(PLAY_REFUSED, "member_gone");
    boris.subscribe(&published.stream_id).await.refused().assert_is(410, "member_gone", -504);
    boris.heartbeat().await.refused().assert_is(410, "member_gone", -504);
    conference.app.api.join(&conference.id, &ticket).await.refused().assert_is(410, "member_gone", -504);
    let user_token = conference.app.user_token("boris", false);
    let password = serde_json::json!({ "password": conference.password });
    let by_password = conference.app.api.join_with(&conference.id, Some(&user_token), password).await;
    by_password.refused().assert_is(410, "member_gone", -504);

    // The others notice nothing, and a new ticket forgives.
    witness.more_pictures(5).await;
    let again = conference.member("boris", 3).await;
    let url = again.subscribe(&published.stream_id).await.expect("subStream").url;
    Peer::play(&url).await.expect("play").watch().more_pictures(5).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_kicked_publisher_is_cut_and_cannot_come_back() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let url = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    let own_view = Peer::play(&url).await.expect("play").watch();
    own_view.more_pictures(5).await;

    conference.kick(&["anna"]).await.expect("kick");
    let answered = Instant::now();
    let end = feed.closed().await;
    report("publisher", answered, Some(end.closed));
    own_view.closed().await;
    let retry = Peer::publish(&published.url).await.err().expect("a retry is refused");
    retry.assert_refuses(PUBLISH_REFUSED, "member_gone");
    let streams = conference.get().await.expect("the conference")["streams"].clone();
    assert_eq!(streams, serde_json::json!([]), "a kick ends what the member had declared");
    gateway.stop().await;
}

#[tokio::test]
async fn a_kick_ends_ffmpeg_with_the_reason_at_its_next_try() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let pusher = Pusher::start(&published.url);
    pusher.sending().await;
    conference.kick(&["anna"]).await.expect("kick");
    pusher.refused().await;
    let words = Pusher::start(&published.url).refused().await;
    assert!(words.contains("member_gone"), "ffmpeg shows the reason: {words}");
    gateway.stop().await;
}

#[tokio::test]
async fn an_admin_ticket_kicks_without_joining_and_a_talker_cannot() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let path = conference.path("/kick");
    let request = serde_json::json!({ "memberNames": ["boris"] });
    let refusal = anna.api.post(&path, &anna.token, request.clone()).await.refused();
    refusal.assert_is(403, "not_allowed", -101);
    boris.heartbeat().await.expect("still there");
    anna.api.post(&path, &conference.ticket, request).await.expect("the creator's ticket is enough");
    boris.heartbeat().await.refused().assert_is(410, "member_gone", -504);
    gateway.stop().await;
}

#[tokio::test]
async fn deleting_a_conference_closes_everything() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let url = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    let viewer = Peer::play(&url).await.expect("play").watch();
    viewer.more_pictures(3).await;
    conference.delete().await.expect("deleted");
    within(EVENT, "both sessions end", async { (feed.closed().await, viewer.closed().await) }).await;
    Peer::play(&url).await.err().expect("refused").assert_refuses(PLAY_REFUSED, "conference_closed");
    let retry = Peer::publish(&published.url).await.err().expect("refused");
    retry.assert_refuses(PUBLISH_REFUSED, "conference_closed");
    gateway.stop().await;
}

#[tokio::test]
async fn deleting_a_stream_ends_its_publisher_and_its_url() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    anna.unpublish(&published.stream_id).await.expect("deleted");
    feed.closed().await;
    let retry = Peer::publish(&published.url).await.err().expect("refused");
    retry.assert_refuses(PUBLISH_REFUSED, "url_invalid");
    let again = anna.publish("RTC1").await.expect("declared again");
    let retry =
        Peer::publish(&published.url).await.err().expect("the URL of the earlier declaration stays dead");
    retry.assert_refuses(PUBLISH_REFUSED, "url_invalid");
    Peer::publish(&again.url).await.expect("the new URL is good");
    gateway.stop().await;
}

/// A figure for the reader of the test's output; not asserted, since two busy cores tell little about a server.
fn report(who: &str, answered: Instant, last: Option<Instant>) {
    let last = last.expect("something was received");
    let after = last.saturating_duration_since(answered);
    let before = answered.saturating_duration_since(last);
    println!("{who}: last byte {after:?} after the kick was answered ({before:?} before)");
}
