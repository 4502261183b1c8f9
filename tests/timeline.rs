//! The times that viewers see, over RTMP and FLV, whatever the clock of the publisher does.

#![allow(clippy::expect_used, reason = "test code")]

mod support;

use support::Scene;
use support::flv::{self, Kind, Tag};
use support::scene::{Time, assert_flows, chunks};

const STEP_MS: u32 = 20;

/// Larger than a chunk, so that every picture has chunks of type 3.
fn picture(number: u32) -> Vec<u8> {
    let first = if number == 0 { 0x17 } else { 0x27 };
    let mut payload = vec![first, 1, 0, 0, 0];
    payload.resize(9000, u8::try_from(number % 251).expect("a byte"));
    payload
}

fn sound(number: u32) -> Vec<u8> {
    vec![0xAF, 1, u8::try_from(number % 251).expect("a byte")]
}

/// The headers of the clip.
fn headers() -> Vec<Tag> {
    flv::clip().into_iter().filter(Tag::is_sequence_header).collect()
}

/// Only pictures and sounds.
fn frames(tags: &[Tag]) -> Vec<Tag> {
    tags.iter().filter(|tag| tag.is_picture() || tag.is_sound()).cloned().collect()
}

/// Sends frames with these stamps, pictures and sounds in turn, and gives what each of two viewers saw of them.
async fn shown(scene: &Scene, stamps: &[(Kind, u32)]) -> [Vec<Tag>; 2] {
    let (rtmp, http) = (scene.watch("live").await, scene.watch_flv("live").await);
    scene.attached(2).await;
    let mut publisher = scene.publisher().await;
    for header in headers() {
        publisher.send(&header, stamps[0].1).await.expect("sent");
    }
    for (number, (kind, stamp)) in (0..).zip(stamps) {
        let payload = if *kind == Kind::Video { picture(number) } else { sound(number) };
        let bytes = chunks(*kind, Time::Absolute(*stamp), true, &payload);
        publisher.send_raw(&bytes).await.expect("sent");
    }
    let all = |tags: &[Tag]| frames(tags).len() >= stamps.len();
    let seen = rtmp.until("all frames", |notes| all(&notes.tags)).await;
    [frames(&seen.tags), frames(&http.received("all frames", all).await)]
}

/// A picture, then a sound, in steps of 20 ms from `start`.
fn steady(start: u32, count: u32) -> Vec<(Kind, u32)> {
    let kind = |number: u32| if number.is_multiple_of(2) { Kind::Video } else { Kind::Audio };
    (0..count).map(|number| (kind(number), start.wrapping_add(number * STEP_MS))).collect()
}

#[tokio::test]
async fn stamps_pass_24_and_32_bits_on_full_and_on_delta_headers() {
    for start in [0x00FF_FF00_u32, u32::MAX - 500] {
        for (is_delta, repeats) in [(false, true), (false, false), (true, true)] {
            let scene = Scene::new().await;
            let (rtmp, http) = (scene.watch("live").await, scene.watch_flv("live").await);
            scene.attached(2).await;
            let mut publisher = scene.publisher().await;
            for header in headers() {
                publisher.send(&header, start).await.expect("sent");
            }
            let script = steady(start, 60);
            for (number, (kind, stamp)) in (0..).zip(&script) {
                let payload = if *kind == Kind::Video { picture(number) } else { sound(number) };
                // Both kinds begin with a full header, and each follows its own.
                let time =
                    if is_delta && number >= 2 { Time::Delta(2 * STEP_MS) } else { Time::Absolute(*stamp) };
                publisher.send_raw(&chunks(*kind, time, repeats, &payload)).await.expect("sent");
            }
            let all = |tags: &[Tag]| frames(tags).len() >= script.len();
            let seen = rtmp.until("all frames", |notes| all(&notes.tags)).await;
            for seen in [frames(&seen.tags), frames(&http.received("all frames", all).await)] {
                let times: Vec<_> = seen.iter().map(|tag| (tag.kind, tag.timestamp_ms)).collect();
                assert_eq!(times, script, "delta {is_delta}, repeated {repeats}");
                let whole = seen.iter().zip(0..).all(|(tag, number)| {
                    tag.payload == if tag.kind == Kind::Video { picture(number) } else { sound(number) }
                });
                assert!(whole, "what was sent arrived: delta {is_delta}, repeated {repeats}");
            }
            scene.gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn a_delta_that_needs_the_extended_field_is_one_step() {
    let scene = Scene::new().await;
    let watch = scene.watch("live").await;
    let mut publisher = scene.publisher().await;
    let mut stamp = 100_u32;
    // A publisher whose clock runs the wrong way writes each step back as a huge one forward.
    for number in 0..20 {
        let time = if number == 0 { Time::Absolute(stamp) } else { Time::Delta(5_u32.wrapping_neg()) };
        stamp = stamp.wrapping_sub(if number == 0 { 0 } else { 5 });
        publisher.send_raw(&chunks(Kind::Video, time, true, &picture(number))).await.expect("sent");
    }
    let seen = watch.until("all pictures", |notes| notes.pictures() == 20).await;
    let times: Vec<_> = frames(&seen.tags).iter().map(|tag| tag.timestamp_ms).collect();
    assert_eq!(times, [100; 20], "held where it was");
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_or_ahead_leaves_no_trace() {
    let scene = Scene::new().await;
    let mut script = steady(100_000, 40);
    for base in [20_000, 3_600_000, 3_599_000, u32::MAX - 3_000, 1_000_000] {
        script.extend(steady(base, 40));
    }
    for seen in shown(&scene, &script).await {
        // An hour ahead or a minute back: the next picture comes right behind the last, and sound beside it.
        assert_flows(&seen, 2 * STEP_MS + 10);
        for pair in seen.chunks(2) {
            let apart = pair[1].timestamp_ms.wrapping_sub(pair[0].timestamp_ms);
            assert_eq!(apart, STEP_MS, "sound stays beside its picture");
        }
    }
    scene.gateway.stop().await;
}

#[tokio::test]
async fn sound_behind_pictures_stays_there_and_disorder_within_a_kind_is_lifted() {
    let scene = Scene::new().await;
    let mut script = vec![(Kind::Video, 10_000)];
    for step in 1..30 {
        let at = 10_000 + step * 40;
        // Every fifth picture comes behind its successor; sound lies 400 ms behind all the time.
        let late = if step % 5 == 0 { 60 } else { 0 };
        script.push((Kind::Video, at - late));
        script.push((Kind::Audio, at - 400));
    }
    for seen in shown(&scene, &script).await {
        assert_flows(&seen, 100);
        let sounds: Vec<_> =
            seen.iter().filter(|tag| tag.kind == Kind::Audio).map(|tag| tag.timestamp_ms).collect();
        assert_eq!(sounds, (1..30).map(|step| 10_000 + step * 40 - 400).collect::<Vec<_>>());
    }
    scene.gateway.stop().await;
}
