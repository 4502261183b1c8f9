//! Past events: found again after a kill, gone when they are old; and what is said of conferences that ended.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use serde_json::{Value, json};
use support::api::Refused as _;
use support::events::{Socket, seq};
use support::wait::until;
use support::{Conference, EVENT, Gateway, Setup};

fn short_of(setup: Setup) -> Setup {
    setup.env("TIDEGATE_RETENTION_PAUSE_MS", 100).env("TIDEGATE_RETENTION_STEPS_PER_SECOND", 1000)
}

/// Comings and goings, some with several events in one record.
async fn life(conference: &Conference, rounds: usize) {
    for round in 0..rounds {
        let name = format!("guest of round {round}");
        conference.member(&name, 3).await;
        conference.set_role(&[&name], 7).await.expect("roles");
        conference.kick(&[&name]).await.expect("kick");
    }
}

/// Each frame names the one before it.
#[track_caller]
fn assert_chain(mut prev: u64, frames: &[Value]) {
    for frame in frames {
        assert_eq!(frame["prev"], prev, "{frame}");
        prev = seq(frame);
    }
}

async fn page(conference: &Conference, after: u64) -> Value {
    let path = conference.path(&format!("/events?after={after}&limit=1000"));
    conference.app.api.get(&path, &conference.app.key).await.expect("a page")
}

/// The frame without the token that is made anew whenever it is written.
fn without_token(frame: &Value) -> Value {
    let mut frame = frame.clone();
    frame.as_object_mut().expect("an object").remove("roleToken");
    frame
}

/// The number of the newest event that is shown.
async fn newest(conference: &Conference) -> u64 {
    let page = page(conference, 0).await;
    page["events"].as_array().and_then(|events| events.last()).map(seq).expect("events")
}

#[tokio::test]
async fn a_feed_goes_on_after_a_kill_without_gap_or_repeat_wherever_it_was_cut() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let mut socket = Socket::open(&anna, None).await;
    let begin = seq(&socket.expect("snapshot").await);
    life(&conference, 6).await;
    let newest = newest(&conference).await;
    let told = socket.through(newest).await;
    assert_chain(begin, &told);

    let gateway = gateway.kill().await.start().await;
    let (anna, conference) = (anna.at(gateway.api.clone()), conference.at(gateway.api.clone()));
    for (cut, after) in [begin].into_iter().chain(told.iter().map(seq)).enumerate() {
        let mut socket = Socket::open(&anna, Some(after)).await;
        let mut missed = Vec::new();
        if after < newest {
            missed = socket.through(newest).await;
        }
        let untold = told[cut..].iter().map(without_token);
        assert_eq!(missed.iter().map(without_token).collect::<Vec<_>>(), untold.collect::<Vec<_>>());
        if cut % 5 == 0 {
            let name = format!("after the cut {cut}");
            let later = conference.member(&name, 1).await;
            let joined = loop {
                let frame = socket.expect("memberJoined").await;
                if frame["member"]["id"] == later.id.as_str() {
                    break frame;
                }
            };
            assert!(seq(&joined) > newest);
        }
    }
    // A number that was never given is of no use.
    let snapshot = Socket::open(&anna, Some(1_000_000)).await.expect("snapshot").await;
    assert_eq!(snapshot["conference"], anna.look().await.expect("the conference"));
    gateway.stop().await;
}

#[tokio::test]
async fn what_was_trimmed_is_a_snapshot_for_sockets_and_a_gap_for_pages() {
    let setup = short_of(Setup::new()).env("TIDEGATE_EVENTS_KEPT_MAX", 12);
    let gateway = setup.start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let mut socket = Socket::open(&anna, None).await;
    let begin = seq(&socket.expect("snapshot").await);
    life(&conference, 10).await;
    let newest = newest(&conference).await;
    let told = socket.through(newest).await;
    let cut = until(EVENT, "past events go", || async {
        let page = page(&conference, 0).await;
        let events = page["events"].as_array().expect("events").clone();
        // The oldest may go one by one: wait for the last that must, after which all stays. Here each record ends with an event
        // that is shown.
        let first = events.first().filter(|first| seq(first) > newest - 12)?.clone();
        assert_eq!(page["truncated"], true);
        Some(first)
    })
    .await;
    let gap = cut["prev"].as_u64().expect("a prev");
    assert!(gap > 0, "the gap shows: {cut}");
    let metrics = reqwest::get(format!("http://{}/metrics", gateway.ops)).await.expect("answers");
    let metrics = metrics.text().await.expect("a text");
    assert!(!metrics.contains("tidegate_records_trimmed_total 0\n"), "{metrics}");

    let gateway = gateway.kill().await.start().await;
    let (anna, conference) = (anna.at(gateway.api.clone()), conference.at(gateway.api.clone()));
    let first = Socket::open(&anna, Some(begin)).await.expect("snapshot").await;
    assert_eq!(first["prev"], first["seq"]);
    let kept = told.iter().filter(|frame| seq(frame) > gap).cloned().collect::<Vec<_>>();
    assert!(kept.len() > 3, "{kept:?}");
    let missed = Socket::open(&anna, Some(gap)).await.through(newest).await;
    assert_eq!(missed[1..], kept[1..], "from the first that is kept on, the feed is what it was");
    assert_chain(gap, &missed);
    let page = page(&conference, gap).await;
    assert_eq!(page["truncated"], false, "{page}");
    gateway.stop().await;
}

#[tokio::test]
async fn an_ended_conference_is_readable_for_its_app_then_closed_then_unknown() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    conference.delete().await.expect("deleted");
    let past = page(&conference, 0).await;
    let last = past["events"].as_array().and_then(|events| events.last()).expect("events");
    assert_eq!((&last["type"], &last["reason"]), (&json!("conferenceExit"), &json!(11)));
    let refused = anna.api.get(&anna.path("/events"), &anna.token).await.refused();
    refused.assert_is(410, "conference_closed", -302);

    // Its events go first.
    let setup = gateway.stop().await;
    let gateway = short_of(setup).env("TIDEGATE_EVENTS_KEPT_SECONDS", 1).start().await;
    let conference = conference.at(gateway.api.clone());
    let path = conference.path("/events");
    until(EVENT, "the events are gone", || async {
        let refusal = conference.app.api.get(&path, &conference.app.key).await.err()?;
        refusal.assert_is(410, "conference_closed", -302);
        Some(())
    })
    .await;
    conference.get().await.refused().assert_is(410, "conference_closed", -302);

    let setup = gateway.stop().await.env("TIDEGATE_CLOSED_TOLD_SECONDS", 1);
    let gateway = setup.start().await;
    let conference = conference.at(gateway.api.clone());
    until(EVENT, "the conference is unknown", || async {
        let refusal = conference.get().await.refused();
        (refusal.reason == "conference_not_found")
            .then(|| refusal.assert_is(404, "conference_not_found", -301))
    })
    .await;
    gateway.stop().await;
}
