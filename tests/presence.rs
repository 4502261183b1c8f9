//! Who gives no sign of life leaves; media and heartbeats are signs of life; an empty conference ends.

#![allow(clippy::expect_used, reason = "test code")]

mod support;

use std::collections::BTreeSet;

use support::api::Refused as _;
use support::feed_client::Ask;
use support::{EVENT, Gateway, Peer, Setup, flv};

async fn impatient() -> Gateway {
    let setup = Setup::new()
        .env("TIDEGATE_FIRST_CONTACT_MS", 1500)
        .env("TIDEGATE_MEMBER_TIMEOUT_MS", 1500)
        .env("TIDEGATE_EMPTY_CONFERENCE_MS", 1000)
        .env("TIDEGATE_PUBLISHER_GRACE_MS", 200);
    setup.start().await
}

#[tokio::test]
async fn a_silent_member_leaves_and_one_with_media_stays() {
    let gateway = impatient().await;
    let conference = gateway.app().await.conference().await;
    let publisher = conference.member("publisher", 3).await;
    let published = publisher.publish("RTC1").await.expect("pubStream");
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let player = conference.member("player", 1).await;
    let url = player.subscribe(&published.stream_id).await.expect("subStream").url;
    let watch = Peer::play(&url).await.expect("play").watch();
    let silent = conference.member("silent", 3).await;
    let inside = |names: &[&str]| {
        let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let conference = conference.clone();
        support::wait::until(EVENT, "who is inside", move || {
            let (conference, wanted) = (conference.clone(), wanted.clone());
            async move { (conference.member_names().await == wanted).then_some(()) }
        })
    };
    inside(&["player", "publisher"]).await;
    silent.heartbeat().await.refused().assert_is(410, "member_gone", -504);
    assert!(watch.is_open() && feed.is_open());

    drop(feed);
    watch.closed().await;
    inside(&[]).await;
    support::wait::until(EVENT, "the empty conference ends", || async {
        conference.get().await.err().filter(|refusal| refusal.reason == "conference_closed").map(drop)
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_event_socket_is_a_sign_of_life_however_short() {
    let gateway = Setup::new().env("TIDEGATE_MEMBER_TIMEOUT_MS", 1500).start().await;
    let conference = gateway.app().await.conference().await;
    let mut witness = Ask::app(&conference.app, &conference.id).open().await.expect("the feed");
    witness.expect("snapshot").await;
    let brief = conference.member("brief", 3).await;
    witness.expect("memberJoined").await;
    Ask::member(&brief).open().await.expect("the feed").close().await;
    // Without that sign it would have its first contact ahead of it, for two minutes.
    let exited = witness.expect("memberExited").await;
    assert_eq!((&exited["member"]["name"], &exited["reason"]), (&"brief".into(), &1.into()));
    gateway.stop().await;
}
