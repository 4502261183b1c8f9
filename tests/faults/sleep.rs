//! A gateway that is stopped for a while and goes on: a suspended machine, a debugger, a hypervisor that moves it.

use std::time::Duration;

use crate::support::events::Socket;
use crate::support::flv::Tag;
use crate::support::{EVENT, Member, Peer, Scene, Setup, flv};

/// All times of members are shorter than the sleep, by as much as thirty seconds are longer than the usual ones.
fn impatient() -> Setup {
    Setup::new()
        .env("TIDEGATE_MEMBER_TIMEOUT_MS", 3000)
        .env("TIDEGATE_FIRST_CONTACT_MS", 3000)
        .env("TIDEGATE_EVENT_PING_MS", 800)
        .env("TIDEGATE_VIEWER_STALL_MS", 3000)
        .env("TIDEGATE_PUBLISHER_IDLE_MS", 3000)
        .env("TIDEGATE_PUBLISHER_GRACE_MS", 2000)
        .env("TIDEGATE_EMPTY_CONFERENCE_MS", 1000)
}

/// Says every second that it is there, and asks again where the gateway does not answer.
async fn heartbeats(member: Member) {
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    let path = member.path("/heartbeat");
    loop {
        pace.tick().await;
        let sent = member.api.try_call(reqwest::Method::POST, &path, Some(&member.token), None);
        if let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(1), sent).await {
            answer.expect("it is inside");
        }
    }
}

/// The longest way that a picture's time is ahead of the one before it.
fn longest_leap_ms(tags: &[Tag]) -> u32 {
    let times: Vec<u32> = tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.timestamp_ms).collect();
    times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(0)
}

async fn everybody_is_there_after(setup: Setup, stopped: Duration) {
    let scene = Scene::with(setup).await;
    let feed = scene.publisher().await.feed(flv::clip());
    let viewer = scene.watch("rtc").await;
    viewer.more_pictures(20).await;
    // There by an event socket alone, and by heartbeats alone.
    let clara = scene.conference.member("clara", 1).await;
    let mut socket = Socket::open(&clara, None).await;
    socket.expect("snapshot").await;
    let dora = scene.conference.member("dora", 1).await;
    dora.heartbeat().await.expect("heard");
    let beating = tokio::spawn(heartbeats(dora));
    let everybody = scene.conference.member_names().await;
    // Whoever has an event socket answers its pings.
    let listening = tokio::spawn(async move {
        loop {
            match socket.next_within(EVENT + stopped).await {
                Ok(frame) if frame["body"] == "still there?" => break,
                Ok(frame) => assert_ne!(frame["type"], "memberExited", "somebody was thrown out: {frame}"),
                Err(code) => panic!("the event socket was closed with {code}"),
            }
        }
    });

    let before = viewer.notes();
    scene.gateway.process.signal("STOP").await;
    tokio::time::sleep(stopped).await;
    scene.gateway.process.signal("CONT").await;
    // Longer than every time that it might have run out of.
    let after = viewer.more_pictures(90).await;

    assert_eq!(scene.conference.member_names().await, everybody);
    assert!(feed.is_open() && viewer.is_open());
    let app = &scene.conference.app;
    let said = serde_json::json!({ "body": "still there?" });
    app.api.post(&scene.conference.path("/messages"), &app.key, said).await.expect("said");
    listening.await.expect("the event socket stayed");
    beating.abort();
    let stats = scene.stats().await;
    let news = &after.tags[before.tags.len()..];
    println!(
        "stopped for {stopped:?}: {} pictures and {} bytes since, longest leap {} ms, {}",
        news.iter().filter(|tag| tag.is_picture()).count(),
        news.iter().map(|tag| tag.payload.len()).sum::<usize>(),
        longest_leap_ms(news),
        stats
    );
    // A newcomer sees what is sent now.
    Peer::play(&scene.urls("rtc").await.url).await.expect("play").watch().more_pictures(5).await;
    scene.gateway.stop().await;
}

#[tokio::test]
async fn nobody_is_thrown_out_because_the_gateway_itself_was_stopped() {
    everybody_is_there_after(impatient(), Duration::from_secs(6)).await;
}

#[tokio::test]
#[ignore = "takes a minute: `make chaos`"]
async fn nobody_is_thrown_out_after_thirty_seconds_with_the_default_times() {
    everybody_is_there_after(Setup::new(), Duration::from_secs(30)).await;
}
