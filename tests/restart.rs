//! What was acknowledged is there after kill -9: conferences, members, tickets, roles and URLs.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use support::api::{Refused as _, text};
use support::peer::PLAY_REFUSED;
use support::{App, EVENT, Gateway, Peer, Setup, flv, within};
use tokio::sync::Notify;

#[tokio::test]
async fn everything_held_is_good_after_a_kill() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let ticket = conference.ticket("anna", 3).await;
    let anna = app.api.join(&conference.id, &ticket).await.expect("joins");
    let boris = conference.member("boris", 3).await;
    let clara = conference.member("clara", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let play = boris.subscribe(&published.stream_id).await.expect("subStream").url;
    let clara_play = clara.subscribe(&published.stream_id).await.expect("subStream").url;
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let viewer = Peer::play(&play).await.expect("play").watch();
    viewer.more_pictures(3).await;
    conference.kick(&["clara"]).await.expect("kick");
    conference.set_role(&["boris"], 1).await.expect("roles");
    let before = conference.get().await.expect("the conference");

    let gateway = gateway.kill().await.start().await;
    feed.closed().await;
    viewer.closed().await;
    assert_eq!(gateway.app().await.key, app.key, "the key stays the same");
    let conference = conference.at(gateway.api.clone());
    let (anna, boris, clara) =
        (anna.at(gateway.api.clone()), boris.at(gateway.api.clone()), clara.at(gateway.api.clone()));
    let after = conference.get().await.expect("the conference is there");
    for field in ["confrId", "type", "members", "limits", "memDefaultRole", "createdAt", "metadata"] {
        assert_eq!(after[field], before[field], "{field} after the restart");
    }
    anna.heartbeat().await.expect("the member token holds");
    boris.publish("RTC1").await.refused().assert_is(403, "not_allowed", -101);
    clara.heartbeat().await.refused().assert_is(410, "member_gone", -504);

    // The URLs from before, on the listener of today.
    let feed = Peer::publish(&published.url.at(gateway.rtmp)).await.expect("the publish URL holds");
    let _feed = feed.feed(flv::clip());
    Peer::play(&play.at(gateway.rtmp)).await.expect("the play URL holds").watch().more_pictures(5).await;
    let refusal = Peer::play(&clara_play.at(gateway.rtmp)).await.err().expect("the kick holds");
    refusal.assert_refuses(PLAY_REFUSED, "member_gone");
    let again = gateway.api.join(&conference.id, &ticket).await.expect("the ticket holds");
    assert_ne!(again.id, anna.id);
    gateway.stop().await;
}

/// Every start has its stop, even where the process that saw the start is gone.
#[tokio::test]
async fn a_stream_that_was_live_before_a_kill_ends_unless_its_publisher_returns() {
    let gateway = Setup::new().env("TIDEGATE_PUBLISHER_GRACE_MS", 1500).start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let anna = conference.member("anna", 3).await;
    let gone = anna.publish("GONE").await.expect("pubStream");
    let back = anna.publish("BACK").await.expect("pubStream");
    let live = |conference: &support::Conference, wanted: [bool; 2]| {
        let (conference, gone, back) = (conference.clone(), gone.stream_id.clone(), back.stream_id.clone());
        support::wait::until(EVENT, "`live` follows the media", move || {
            let (conference, gone, back) = (conference.clone(), gone.clone(), back.clone());
            async move {
                let seen = conference.get().await.expect("the conference");
                let streams = seen["streams"].as_array().cloned().unwrap_or_default();
                let is_live =
                    |id: &str| streams.iter().any(|stream| stream["id"] == id && stream["live"] == true);
                ([is_live(&gone), is_live(&back)] == wanted).then_some(())
            }
        })
    };
    let _feeds = (
        Peer::publish(&gone.url).await.expect("publish").feed(flv::clip()),
        Peer::publish(&back.url).await.expect("publish").feed(flv::clip()),
    );
    live(&conference, [true, true]).await;

    let gateway = gateway.kill().await.start().await;
    let conference = conference.at(gateway.api.clone());
    let _returned = Peer::publish(&back.url.at(gateway.rtmp)).await.expect("the URL holds").feed(flv::clip());
    live(&conference, [false, true]).await;
    gateway.stop().await;
}

/// Enough commands that the kill falls among fsyncs of several conferences.
const COMMANDS_BEFORE_KILL: usize = 120;

/// What was answered: each of these must be there afterwards.
#[derive(Default)]
struct Acknowledged {
    conferences: Vec<Told>,
    commands: usize,
}

/// What all workers were told, and the call for the kill.
#[derive(Default)]
struct Notebook {
    told: Mutex<Acknowledged>,
    enough: Notify,
}

impl Notebook {
    fn note(&self, change: impl FnOnce(&mut Acknowledged)) {
        let mut told = self.told.lock();
        change(&mut told);
        told.commands += 1;
        if told.commands >= COMMANDS_BEFORE_KILL {
            self.enough.notify_one();
        }
    }
}

struct Told {
    id: String,
    members: Vec<String>,
    kicked: Vec<String>,
    ticket: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_the_middle_of_commands_loses_no_acknowledged_one() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let notebook = Arc::new(Notebook::default());
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let (app, notebook) = (app.clone(), Arc::clone(&notebook));
            // Ends with the gateway: then a call is an error instead of an answer.
            tokio::spawn(async move { while command_round(&app, worker, &notebook).await.is_some() {} })
        })
        .collect();
    within(EVENT * 3, "enough commands are acknowledged", notebook.enough.notified()).await;
    let setup = gateway.kill().await;
    for worker in workers {
        within(EVENT, "the workers notice the kill", worker).await.expect("a worker");
    }

    let gateway = setup.start().await;
    let app = app.at(gateway.api.clone());
    let told = std::mem::take(&mut *notebook.told.lock());
    assert!(told.commands >= COMMANDS_BEFORE_KILL);
    for conference in &told.conferences {
        let path = format!("/v1/conferences/{}", conference.id);
        let seen = app.api.get(&path, &app.key).await.unwrap_or_else(|lost| panic!("lost: {path}: {lost:?}"));
        let inside: Vec<String> =
            seen["members"].as_array().expect("members").iter().map(|member| text(member, "/name")).collect();
        for member in &conference.members {
            assert!(inside.contains(member), "{member} joined {path} and is lost: {inside:?}");
        }
        for member in &conference.kicked {
            assert!(!inside.contains(member), "{member} was kicked from {path} and is back");
        }
        app.api.join(&conference.id, &conference.ticket).await.expect("its ticket holds");
    }
    gateway.stop().await;
}

/// Creates a conference, lets three join, kicks one; notes each answer. `None` once the gateway is gone.
async fn command_round(app: &App, worker: usize, notebook: &Notebook) -> Option<()> {
    let answer = call(app, "/v1/conferences", json!({ "user": format!("creator-{worker}") })).await?;
    let (id, ticket) = (text(&answer, "/confrId"), text(&answer, "/ticket"));
    notebook.note(|told| {
        let (id, ticket) = (id.clone(), ticket.clone());
        told.conferences.push(Told { id, ticket, members: Vec::new(), kicked: Vec::new() });
    });
    let path = format!("/v1/conferences/{id}");
    for number in 0..3 {
        let name = format!("member-{worker}-{number}");
        let answer = call(app, &format!("{path}/tickets"), json!({ "user": name, "role": 1 })).await?;
        call(app, &format!("{path}/members"), json!({ "ticket": text(&answer, "/ticket") })).await?;
        notebook.note(|told| told_of(told, &id).members.push(name.clone()));
    }
    let victim = format!("member-{worker}-0");
    // From here on it may be in or out; only an answer makes it certain.
    notebook.note(|told| told_of(told, &id).members.retain(|name| *name != victim));
    call(app, &format!("{path}/kick"), json!({ "memberNames": [victim] })).await?;
    notebook.note(|told| told_of(told, &id).kicked.push(victim.clone()));
    Some(())
}

fn told_of<'told>(told: &'told mut Acknowledged, id: &str) -> &'told mut Told {
    told.conferences.iter_mut().find(|conference| conference.id == id).expect("it was noted")
}

async fn call(app: &App, path: &str, body: Value) -> Option<Value> {
    let answer = app.api.try_call(Method::POST, path, Some(&app.key), Some(body)).await.ok()?;
    Some(answer.unwrap_or_else(|refusal| panic!("{path}: {refusal:?}")))
}

#[tokio::test]
async fn the_same_ports_can_be_taken_again_at_once() {
    // An address of its own, so that no other test's ephemeral port is in the way.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let own = std::net::Ipv4Addr::new(127, 64 | (high & 0x3F), middle, low.max(1));
    let gateway = Setup::new().listen_on(own.into(), [0, 0, 0]).start().await;
    let ports = [gateway.rtmp.port(), gateway.http.port(), gateway.ops.port()];
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    assert_eq!(published.url.address, gateway.rtmp);
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let url = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    let viewer = Peer::play(&url).await.expect("play").watch();
    viewer.more_pictures(3).await;
    let setup = gateway.kill().await.listen_on(own.into(), ports);
    feed.closed().await;
    let gateway = setup.start().await;
    Peer::publish(&published.url).await.expect("the very same URL works");
    gateway.stop().await;
}
