//! Streams that go on for hours, or hardly ever have a keyframe: memory stays flat, and whoever joins is served as well as can be.
//! Hours pass by their stamps: a publisher may run ahead of the time that really goes by, a bounded step at a time.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::time::Duration;

use support::flv::{self, Kind, Tag};
use support::peer::{Notes, Watch};
use support::scene::{Time, assert_flows, chunks};
use support::{Gateway, Peer, Scene};

/// What a stream keeps is all there by then; beyond that the allocator moves a little. Far less than what is sent meanwhile.
const GROWTH_MAX_KIB: u64 = 8 * 1024;

fn resident_kib(gateway: &Gateway) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", gateway.process.id())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn headers(kind: Kind) -> Vec<Tag> {
    flv::clip().into_iter().filter(|tag| tag.kind == kind && tag.is_sequence_header()).collect()
}

fn picture(is_key: bool, bytes: usize) -> Vec<u8> {
    let mut payload = vec![if is_key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
    payload.resize(bytes, 0x55);
    payload
}

fn sound(bytes: usize) -> Vec<u8> {
    let mut payload = vec![0xAF, 1];
    payload.resize(bytes, 0x55);
    payload
}

/// Sends these frames in large pieces.
async fn send(publisher: &mut Peer, frames: impl Iterator<Item = (Kind, u32, Vec<u8>)>) {
    let mut bytes = Vec::new();
    for (kind, at_ms, payload) in frames {
        bytes.extend(chunks(kind, Time::Absolute(at_ms), true, &payload));
        if bytes.len() > 1 << 20 {
            publisher.send_raw(&std::mem::take(&mut bytes)).await.expect("sent");
        }
    }
    publisher.send_raw(&bytes).await.expect("sent");
}

/// Sends a sound now and then until the viewer has come as far: one that was far behind may have been moved to the end.
/// Gives what it saw and the time of the last sound.
async fn settle(publisher: &mut Peer, viewer: &Watch, from_ms: u32) -> (Notes, u32) {
    let arrived = viewer.until("what is sent now", |notes| {
        notes.tags.last().is_some_and(|tag| tag.is_sound() && tag.timestamp_ms >= from_ms)
    });
    tokio::pin!(arrived);
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for at_ms in (from_ms..).step_by(20) {
        tokio::select! {
            notes = &mut arrived => return (notes, at_ms),
            _ = pace.tick() => {
                let bytes = chunks(Kind::Audio, Time::Absolute(at_ms), true, &sound(100));
                publisher.send_raw(&bytes).await.expect("sent");
            }
        }
    }
    unreachable!("the viewer sees it or the deadline passes")
}

#[tokio::test]
async fn a_day_of_sound_alone_costs_no_memory_and_a_joiner_hears_it() {
    const STEP_MS: u32 = 1000;
    const HOUR_MS: u32 = 3_600_000;
    const DAY_MS: u32 = 24 * HOUR_MS;
    let scene = Scene::new().await;
    let mut publisher = scene.publisher().await;
    publisher.send(&headers(Kind::Audio)[0], 0).await.expect("sent");
    let viewer = scene.watch("live").await;
    let span = |from_ms: u32, to_ms: u32| {
        (from_ms..to_ms).step_by(STEP_MS as usize).map(|at| (Kind::Audio, at, sound(200)))
    };
    send(&mut publisher, span(0, HOUR_MS)).await;
    let (_, now_ms) = settle(&mut publisher, &viewer, HOUR_MS).await;
    let before = resident_kib(&scene.gateway);
    send(&mut publisher, span(now_ms, DAY_MS)).await;
    let (seen, now_ms) = settle(&mut publisher, &viewer, DAY_MS).await;
    let times: Vec<_> = seen.tags.iter().filter(|tag| tag.is_sound()).map(|tag| tag.timestamp_ms).collect();
    assert!(times.is_sorted());
    let after = resident_kib(&scene.gateway);
    assert!(after < before + GROWTH_MAX_KIB, "{before} KiB, then {after} KiB");
    let joiner = scene.watch("rtc").await;
    let (heard, _) = settle(&mut publisher, &joiner, now_ms).await;
    let media: Vec<_> = heard.tags.iter().filter(|tag| tag.kind == Kind::Audio).collect();
    assert!(media[0].is_sequence_header() && media[1].is_sound(), "{:?}", media[0]);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn minutes_without_a_keyframe_cost_no_memory_and_a_joiner_waits_for_the_next() {
    const FRAME_MS: u32 = 33;
    /// One keyframe and 2500 pictures behind it: 83 s.
    const GOP: u32 = 2501;
    let scene = Scene::new().await;
    let mut publisher = scene.publisher().await;
    for header in headers(Kind::Video).iter().chain(&headers(Kind::Audio)) {
        publisher.send(header, 0).await.expect("sent");
    }
    let viewer = scene.watch("live").await;
    let gop = |number: u32| {
        (0..GOP).flat_map(move |place| {
            let at_ms = (number * GOP + place) * FRAME_MS;
            [(Kind::Video, at_ms, picture(place == 0, 2000)), (Kind::Audio, at_ms + 1, sound(100))]
        })
    };
    // Five of them, 25 MB: seven minutes with five keyframes.
    send(&mut publisher, gop(0)).await;
    let before = resident_kib(&scene.gateway);
    for number in 1..5 {
        send(&mut publisher, gop(number)).await;
    }
    let end_ms = 5 * GOP * FRAME_MS;
    let (seen, mut at_ms) = settle(&mut publisher, &viewer, end_ms + 1000).await;
    let after = resident_kib(&scene.gateway);
    assert!(after < before + GROWTH_MAX_KIB, "{before} KiB, then {after} KiB");
    // Sent many times faster than it plays, so the viewer may have skipped: to keyframes only, and time goes on.
    let pictures: Vec<_> = seen.tags.iter().filter(|tag| tag.is_picture()).collect();
    assert!(
        pictures.iter().map(|tag| tag.timestamp_ms).is_sorted()
            && pictures.first().is_none_or(|tag| tag.is_keyframe())
    );
    // The keyframe is gone: headers and sound at once, pictures with the next keyframe.
    let joiners = [scene.watch("rtc").await, scene.watch("live").await];
    for joiner in &joiners {
        let (seen, now_ms) = settle(&mut publisher, joiner, at_ms).await;
        assert_eq!(seen.pictures(), 0);
        at_ms = now_ms;
    }
    send(&mut publisher, [(Kind::Video, at_ms, picture(true, 2000))].into_iter()).await;
    let newest = |notes: &Notes| notes.tags.iter().any(|tag| tag.is_keyframe() && tag.timestamp_ms == at_ms);
    viewer.until("the next keyframe", newest).await;
    for joiner in joiners {
        let seen = joiner.until("a keyframe", |notes| notes.pictures() == 1).await;
        let media: Vec<_> = seen.tags.iter().filter(|tag| tag.kind != Kind::Script).collect();
        assert!(media[0].is_sequence_header() && media[1].is_sequence_header() && media[2].is_sound());
        assert!(media.iter().find(|tag| tag.is_picture()).expect("a picture").is_keyframe());
    }
    scene.gateway.stop().await;
}

#[tokio::test]
async fn pictures_without_sound_and_a_keyframe_every_ten_seconds_serve_a_joiner_at_once() {
    const FRAME_MS: u32 = 40;
    const JOINED_AT: u32 = 225;
    let scene = Scene::new().await;
    let mut publisher = scene.publisher().await;
    publisher.send(&headers(Kind::Video)[0], 0).await.expect("sent");
    let early = scene.watch("live").await;
    let frames = |places: std::ops::Range<u32>| {
        places.map(|place| (Kind::Video, place * FRAME_MS, picture(place % 250 == 0, 2000)))
    };
    // Nine seconds of the first ten.
    send(&mut publisher, frames(0..JOINED_AT)).await;
    early.until("nine seconds", |notes| notes.pictures() == JOINED_AT as usize).await;
    let late = [("live", scene.watch("live").await), ("rtc", scene.watch("rtc").await)];
    let burst = |notes: &Notes| notes.pictures() >= JOINED_AT as usize;
    for (profile, viewer) in &late {
        let seen = viewer.until("the burst", burst).await;
        let times: Vec<_> =
            seen.tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.timestamp_ms).collect();
        assert!(seen.tags.iter().find(|tag| tag.is_picture()).expect("a picture").is_keyframe());
        assert_eq!(
            (times.len(), times[224]),
            (225, 224 * FRAME_MS),
            "nothing is cut out, and its end is now"
        );
        let first = if *profile == "live" { 0 } else { 224 * FRAME_MS - 500 };
        assert_eq!(times[0], first, "{profile}");
    }
    send(&mut publisher, frames(JOINED_AT..500)).await;
    for (_, viewer) in &late {
        let seen = viewer.until("twenty seconds", |notes| notes.pictures() == 500).await;
        assert_flows(&seen.tags, FRAME_MS);
    }
    scene.gateway.stop().await;
}
