use std::sync::Arc;

use crate::domain::media_url::Profile::{Live, Rtc};
use crate::domain::{Direction, Reason, Timestamp};
use crate::media::{Packet, PacketClass, PacketKind};

use super::fixtures::*;
use super::*;

mod batch;
mod decodable;
mod figures;
mod gate;
mod reading;

fn small() -> HubSettings {
    HubSettings { rtc_lag_max_ms: 1_000, live_lag_max_ms: 1_000, ..HubSettings::default() }
}

#[test]
fn all_viewers_get_the_same_frames_in_order_without_a_copy() {
    let stage = Stage::new(small());
    let mut viewers = [stage.viewer(Rtc), stage.viewer(Live), stage.viewer(Rtc)];
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    let payload = keyframe(1000);
    source.video(payload.clone(), 0);
    source.audio(sound(10), 5);
    let outs = viewers.each_mut().map(Watcher::drain);
    for out in &outs {
        assert_eq!(
            payloads(out),
            [metadata(1), video_header(1), audio_header(1), payload.clone(), sound(10)]
        );
        assert_eq!(times(out), [0, 0, 0, 0, 5]);
        assert!(Arc::ptr_eq(&out[3].frame, &outs[0][3].frame));
        assert_eq!(out[3].frame.packet().payload.as_ptr(), payload.as_ptr());
    }
}

#[test]
fn an_image_is_made_once_per_format() {
    let frame = Frame::new(Packet::new(PacketKind::Audio, 7, sound(10)));
    let mut made = 0;
    for _ in 0..3 {
        for format in [WireFormat::Rtmp, WireFormat::Flv] {
            let image = frame.image(format, |packet| {
                made += 1;
                Image::new(vec![b"head".as_slice().into(), packet.payload.clone()])
            });
            assert_eq!(image.byte_count(), 14);
            assert_eq!(image.slices()[1].as_ptr(), frame.packet().payload.as_ptr());
        }
    }
    assert_eq!(made, 2);
}

#[test]
fn a_slow_viewer_skips_to_the_newest_keyframe_and_nobody_else_notices() {
    let stage = Stage::new(small());
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    let mut good = stage.viewer(Live);
    let mut slow = stage.viewer(Live);
    let mut seen_by_good = good.drain().len();
    assert_eq!(slow.drain().len(), seen_by_good);
    for second in 0..60 {
        source.gop(second * 1000, second * 1000 + 1000);
        seen_by_good += good.drain().len();
        let ring = stage.stats().ring;
        assert!(ring.ms <= HubSettings::default().ring_ms_max && ring.packets < 400, "{ring:?}");
    }
    assert_eq!(seen_by_good, 3 + 60 * 25);
    assert_eq!(good.skips(), 0);
    let out = slow.drain();
    assert_eq!((out.len(), out[0].timestamp_ms), (25, 59_000), "the newest GOP, without headers it has");
    assert_eq!(slow.skips(), 1);
    assert_eq!((stage.stats().skips, stage.hub.totals().skips), (1, 1));
}

#[test]
fn a_viewer_that_is_behind_with_no_newer_keyframe_gets_sound_until_the_next() {
    let stage = Stage::new(small());
    let mut viewer = stage.viewer(Rtc);
    let mut source = stage.publisher(0);
    source.gop(0, 400);
    assert_eq!(viewer.take(3).1.len(), 3);
    for now_ms in (400..3000).step_by(40) {
        source.video(interframe(50), now_ms);
    }
    assert_eq!(viewer.drain().len(), 0);
    assert_eq!(viewer.skips(), 1);
    source.audio(sound(10), 3000);
    source.video(interframe(50), 3010);
    assert_eq!(payloads(&viewer.drain()), [sound(10)]);
    source.video(video_header(9), 3020);
    source.video(keyframe(70), 3020);
    source.video(interframe(50), 3060);
    assert_eq!(payloads(&viewer.drain()), [video_header(9), keyframe(70), interframe(50)]);
}

#[test]
fn a_skip_brings_only_the_headers_that_changed() {
    let stage = Stage::new(small());
    let mut viewer = stage.viewer(Live);
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.gop(0, 1000);
    viewer.drain();
    source.video(interframe(50), 1000);
    source.audio(audio_header(1), 1500);
    source.video(video_header(2), 4000);
    source.gop(4000, 4080);
    let out = viewer.drain();
    assert_eq!(payloads(&out), [video_header(2), keyframe(100), interframe(50)]);
    assert_eq!(times(&out), [4000, 4000, 4040]);
}

#[test]
fn a_joiner_in_the_middle_of_a_gop_gets_headers_and_the_keyframe_first() {
    let stage = Stage::new(small());
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.gop(0, 2000);
    source.video(video_header(2), 2000);
    source.gop(2000, 4000);
    let mut viewer = stage.viewer(Live);
    assert!(viewer.is_ready());
    let out = viewer.drain();
    assert_eq!(payloads(&out)[..4], [metadata(1), video_header(2), audio_header(1), keyframe(100)]);
    assert_eq!(times(&out)[..5], [2000, 2000, 2000, 2000, 2040], "live: as it was");
    assert_eq!(out.len(), 3 + 50);
    assert_eq!(viewer.skips(), 0, "a burst longer than the lag limit is no lag");
}

#[test]
fn a_burst_longer_than_the_lag_limit_is_taken_in_small_portions_without_a_skip() {
    let stage = Stage::new(small());
    let mut source = stage.publisher(0);
    source.gop(0, 5000);
    let mut viewer = stage.viewer(Live);
    let mut count = 0;
    for step in 0..40 {
        count += viewer.take(3).1.len();
        source.video(interframe(50), 5000 + step * 20);
    }
    count += viewer.drain().len();
    assert_eq!((viewer.skips(), count as u64), (0, stage.stats().packets));
}

#[test]
fn an_rtc_joiner_gets_its_burst_squeezed_and_time_stays_in_order() {
    let stage = Stage::new(HubSettings::default());
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.gop(0, 8000);
    let mut viewer = stage.viewer(Rtc);
    let burst = viewer.drain();
    assert_eq!(burst.len(), 3 + 200, "nothing is cut out");
    let burst_times = times(&burst);
    assert_eq!((burst_times[0], *burst_times.last().unwrap()), (7960 - 500, 7960));
    assert!(burst_times.is_sorted());
    // What follows keeps its own time.
    source.send(PacketKind::Audio, sound(10), 7950).unwrap();
    source.video(interframe(50), 8000);
    let after = times(&viewer.drain());
    assert_eq!(after, [7950, 8000]);
}

/// A sound lasts as long as it lasts, whatever its stamp says: eight seconds of them would put a player behind by eight seconds.
#[test]
fn the_sound_of_a_squeezed_burst_is_that_of_the_time_that_it_covers() {
    let stage = Stage::new(HubSettings::default());
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.video(keyframe(100), 0);
    for now_ms in (40..8000).step_by(40) {
        source.audio(sound(10), now_ms);
        source.video(interframe(50), now_ms);
    }
    let of = |out: &[Outgoing], class| {
        let some = out.iter().filter(|outgoing| outgoing.frame.packet().class == class);
        some.map(|outgoing| outgoing.timestamp_ms).collect::<Vec<_>>()
    };
    let out = stage.viewer(Rtc).drain();
    assert_eq!(of(&out, PacketClass::Interframe).len(), 199, "pictures need each other");
    let expected: Vec<u64> = (7480..=7960).step_by(40).collect();
    assert_eq!(of(&out, PacketClass::AudioFrame), expected, "at their own times");
    assert_eq!(of(&out, PacketClass::AudioSequenceHeader).len(), 1);
    assert_eq!(of(&stage.viewer(Live).drain(), PacketClass::AudioFrame).len(), 199, "live: as it was");
}

#[test]
fn an_rtc_joiner_that_is_little_behind_is_not_squeezed() {
    let stage = Stage::new(HubSettings::default());
    let mut source = stage.publisher(0);
    source.gop(0, 400);
    let out = stage.viewer(Rtc).drain();
    assert!(out.iter().all(|outgoing| outgoing.timestamp_ms == outgoing.frame.packet().timestamp_ms));
}

#[test]
fn a_squeeze_outlasts_a_skip_for_sound_that_lies_far_behind() {
    let stage = Stage::new(small());
    let mut source = stage.publisher(0);
    source.video(keyframe(100), 0);
    source.send(PacketKind::Audio, sound(10), 0).unwrap();
    for now_ms in (40..8000).step_by(40) {
        source.video(interframe(50), now_ms);
        if now_ms > 1000 {
            source.send(PacketKind::Audio, sound(10), now_ms - 1000).unwrap();
        }
    }
    let mut viewer = stage.viewer(Rtc);
    let sounds = |out: Vec<Outgoing>| {
        let sounds = out.into_iter().filter(|outgoing| outgoing.frame.packet().kind == PacketKind::Audio);
        sounds.map(|outgoing| outgoing.timestamp_ms).collect::<Vec<_>>()
    };
    let before = sounds(viewer.drain());
    source.video(interframe(50), 8000);
    source.gop(9040, 9080);
    for now_ms in [7_100, 8_100, 9_100] {
        let stamp = u32::try_from(now_ms).unwrap();
        source.publisher.write(PacketKind::Audio, stamp, sound(10), Timestamp(9080)).unwrap();
    }
    let after = sounds(viewer.drain());
    assert_eq!((viewer.skips(), after.len()), (1, 3));
    let all = [before, after].concat();
    assert!(all.is_sorted(), "{all:?}");
}

#[test]
fn a_joiner_gets_no_headers_of_a_publisher_before() {
    let stage = Stage::new(small());
    let mut old = stage.publisher(0);
    old.headers(1, 0);
    old.gop(0, 100);
    let mut new = stage.publisher(20_000);
    new.audio(audio_header(2), 20_000);
    new.audio(sound(10), 20_000);
    assert_eq!(payloads(&stage.viewer(Live).drain()), [audio_header(2)]);
}

#[test]
fn a_newer_publisher_takes_over_at_once_and_keeps_the_viewers() {
    let stage = Stage::new(HubSettings::default());
    let mut viewer = stage.viewer(Rtc);
    let mut old = stage.publisher(0);
    old.headers(1, 0);
    old.gop(0, 1000);
    let before = times(&viewer.drain());
    let mut new = stage.publisher(1500);
    assert!(new.publisher.claim() > old.publisher.claim());
    assert_eq!(old.guard.try_closed(), Some(CloseReason::Replaced));
    assert_eq!(old.send(PacketKind::Video, keyframe(9), 1510), Err(Fenced));
    assert_eq!(new.guard.try_closed(), None);
    new.headers(2, 1600);
    new.video(interframe(50), 1600);
    new.gop(1600, 1700);
    // The late drop of the old one must not hold the stream.
    drop(old);
    new.video(interframe(60), 1720);
    let out = viewer.drain();
    assert_eq!(
        payloads(&out)[..4],
        [metadata(2), video_header(2), audio_header(2), keyframe(100)],
        "no picture before the new keyframe"
    );
    assert_eq!(payloads(&out).last(), Some(&interframe(60)));
    let all = [before, times(&out)].concat();
    assert!(all.is_sorted(), "{all:?}");
    assert_eq!(all[all.len() - 4..], [1600, 1640, 1680, 1720]);
    assert_eq!(viewer.skips(), 0);
}

#[test]
fn a_stream_is_held_between_publishers_and_ends_for_the_claim_that_left() {
    let stage = Stage::new(HubSettings::default());
    let mut viewer = stage.viewer(Live);
    let mut first = stage.publisher(0);
    first.gop(0, 100);
    drop(first);
    assert_eq!(stage.phases(), [(1, Phase::Held { since: Timestamp(80) })]);
    assert_eq!(viewer.drain().len(), 3);
    assert!(!viewer.is_ready());
    let mut second = stage.publisher(5000);
    assert!(!stage.hub.end_if_held(&stage.id, 1), "somebody came back");
    second.gop(5000, 5100);
    assert_eq!(times(&viewer.drain()), [5000, 5040, 5080], "a gap as long as the absence");
    drop(second);
    assert!(!stage.hub.end_if_held(&stage.id, 1), "another claim's hold");
    assert!(stage.hub.end_if_held(&stage.id, 2));
    assert!(viewer.is_ready());
    assert_eq!(viewer.take(9).0, Taken::Ended(CloseReason::StreamEnded));
    assert_eq!(stage.phases(), [(2, Phase::Ended)]);
}

#[test]
fn an_end_closes_the_publisher_lets_viewers_finish_and_frees_the_name() {
    let stage = Stage::new(HubSettings::default());
    let mut viewer = stage.viewer(Live);
    let mut source = stage.publisher(0);
    source.gop(0, 100);
    let reason = CloseReason::Revoked(Reason::NotAllowed.into());
    assert!(stage.hub.end(&stage.id, reason.clone()));
    assert!(!stage.hub.end(&stage.id, reason.clone()));
    assert_eq!(source.guard.try_closed(), Some(reason.clone()));
    assert_eq!(source.send(PacketKind::Video, keyframe(9), 200), Err(Fenced));
    assert_eq!(viewer.drain().len(), 3);
    assert_eq!(viewer.take(9).0, Taken::Ended(reason));
    let mut fresh_viewer = stage.viewer(Live);
    let mut fresh = stage.publisher(300);
    fresh.video(keyframe(9), 300);
    assert_eq!(times(&fresh_viewer.drain()), [0], "a fresh time line");
    drop((source, viewer));
    assert_eq!(stage.hub.stream_count(), 1, "late drops of the old stream leave the fresh one alone");
}

#[test]
fn changes_are_the_latest_state_of_each_stream() {
    let stage = Stage::new(HubSettings::default());
    assert!(!is_ready(stage.hub.changed()));
    let mut source = stage.publisher(0);
    source.headers(2, 0);
    assert!(!is_ready(stage.hub.changed()), "headers alone are not media");
    source.audio(sound(10), 0);
    assert!(is_ready(stage.hub.changed()));
    let statuses = stage.hub.take_changes();
    assert_eq!(statuses.len(), 1);
    assert_eq!((&statuses[0].stream, &statuses[0].conference), (&stage.id, &conference_id(1)));
    let Phase::Live { format } = &statuses[0].phase else { panic!("{statuses:?}") };
    let audio = format.audio.as_ref().unwrap();
    assert_eq!((audio.codec.as_str(), audio.sample_rate, audio.channels), ("aac", Some(48_000), Some(2)));
    assert_eq!(format.video.as_ref().unwrap().codec, "h264");
    assert!(!is_ready(stage.hub.changed()));
    source.headers(2, 20);
    source.gop(20, 1000);
    assert!(stage.phases().is_empty(), "nothing new was learnt");
    source.audio(audio_header(1), 1000);
    assert_eq!(stage.phases().len(), 1, "the format changed");
    let mut next = stage.publisher(2000);
    assert!(stage.phases().is_empty(), "a claim alone is not media");
    next.audio(sound(10), 2000);
    let phases = stage.phases();
    assert!(
        matches!(&phases[..], [(2, Phase::Live { format })] if format.video.is_none()),
        "the new publisher's claim and format: {phases:?}"
    );
    drop(next);
    drop(stage.publisher(3000));
    assert_eq!(stage.phases(), [(3, Phase::Held { since: Timestamp(3000) })], "a silent claim is held anew");
}

#[test]
fn names_do_not_accumulate() {
    let stage = Stage::new(HubSettings::default());
    for round in 0..1000 {
        let id = stream_id(&format!("R{round}"));
        let play = stage.table.enter(start(Direction::Play, 1, [0; 4]));
        let publish = stage.table.enter(start(Direction::Publish, 1, [0; 4]));
        let viewer = stage.hub.subscribe(&id, Rtc, Arc::clone(play.session())).unwrap();
        drop(stage.hub.publish(&id, Arc::clone(publish.session()), Timestamp(0)).unwrap());
        assert_eq!(stage.hub.stream_count(), 1, "a viewer waits");
        drop(viewer);
        assert_eq!(stage.hub.stream_count(), 0, "never live, and nobody there");
        let mut publisher = stage.hub.publish(&id, Arc::clone(publish.session()), Timestamp(0)).unwrap();
        publisher.write(PacketKind::Audio, 0, sound(10), Timestamp(0)).unwrap();
        let claim = publisher.claim();
        drop(publisher);
        assert_eq!(stage.hub.stream_count(), 1, "held");
        assert!(stage.hub.end_if_held(&id, claim));
        assert_eq!(stage.hub.stream_count(), 0);
        assert_eq!(stage.hub.take_changes().len(), 1);
    }
}

#[test]
fn a_full_stream_refuses_a_viewer() {
    let stage = Stage::new(HubSettings { viewers_per_stream_max: 1, ..HubSettings::default() });
    let first = stage.viewer(Rtc);
    let guard = stage.table.enter(start(Direction::Play, 1, [0; 4]));
    let refusal = stage.hub.subscribe(&stage.id, Rtc, Arc::clone(guard.session())).unwrap_err();
    assert_eq!(refusal.reason, Reason::Overloaded);
    drop(first);
    assert!(stage.hub.subscribe(&stage.id, Rtc, Arc::clone(guard.session())).is_ok());
}

#[tokio::test]
async fn a_waiting_viewer_is_woken_by_the_first_packet_and_by_the_end() {
    let stage = Stage::new(HubSettings::default());
    let mut watcher = stage.viewer(Rtc);
    assert!(!watcher.is_ready());
    let hub = stage.hub.clone();
    let waiting = tokio::spawn(async move {
        watcher.viewer.ready().await;
        let first = watcher.take(9).1.len();
        watcher.viewer.ready().await;
        (first, watcher.take(9).0)
    });
    tokio::task::yield_now().await;
    let mut source = stage.publisher(0);
    source.audio(sound(10), 0);
    tokio::task::yield_now().await;
    hub.end(&stage.id, CloseReason::Draining);
    assert_eq!(waiting.await.unwrap(), (1, Taken::Ended(CloseReason::Draining)));
}

#[test]
fn memory_is_flat_for_a_gop_without_end() {
    let settings = HubSettings::default();
    let stage = Stage::new(settings.clone());
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.video(keyframe(30_000), 0);
    for picture in 1..2501 {
        source.video(interframe(8_000), picture * 33);
        let ring = stage.stats().ring;
        assert!(ring.bytes <= settings.ring_bytes_max && ring.ms <= settings.ring_ms_max);
    }
    // Its keyframe is gone: a joiner gets headers and sound, and pictures from the next keyframe on.
    let mut joiner = stage.viewer(Live);
    source.audio(sound(10), 82_510);
    source.video(interframe(8_000), 82_530);
    assert_eq!(payloads(&joiner.drain()), [metadata(1), video_header(1), audio_header(1), sound(10)]);
    source.video(keyframe(30_000), 82_560);
    assert_eq!(payloads(&joiner.drain()), [keyframe(30_000)]);
}

#[test]
fn memory_is_flat_for_a_day_of_sound_and_a_viewer_that_never_reads() {
    let settings = HubSettings::default();
    let stage = Stage::new(settings.clone());
    let mut stuck = stage.viewer(Live);
    let mut source = stage.publisher(0);
    source.audio(audio_header(1), 0);
    let day_ms = 24 * 3_600_000;
    for now_ms in (0..day_ms).step_by(200) {
        source.audio(sound(100), now_ms);
    }
    let ring = stage.stats().ring;
    assert!(ring.packets <= 76 && ring.ms <= settings.ring_ms_max, "{ring:?}");
    let out = stuck.drain();
    assert_eq!(payloads(&out), [audio_header(1)], "it goes on at the end, with the header it missed");
    assert_eq!(stuck.skips(), 1);
    source.audio(sound(100), day_ms);
    assert_eq!(times(&stuck.drain()), [day_ms]);
}

#[test]
fn the_delay_is_how_long_packets_wait_for_viewers_beside_what_they_begin_with() {
    let stage = Stage::new(small());
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.gop(0, 1000);
    let delay = |now_ms| stage.hub.delay(&stage.id, Timestamp(now_ms));
    assert_eq!(delay(1000), None, "nobody watches");
    let mut viewer = stage.viewer(Live);
    let mut take = |now_ms| {
        let mut out = Vec::new();
        viewer.viewer.take(&mut out, 64, usize::MAX, Timestamp(now_ms));
        out.len()
    };
    assert!(take(1000) > 0);
    assert_eq!(delay(1000), None, "what it begins with does not count");
    source.gop(1000, 1080);
    assert_eq!(take(1050), 2);
    assert_eq!(delay(1050), Some(StreamDelay { mean_ms: 50, max_ms: 50 }), "the older of the two");
    source.gop(1080, 1120);
    assert_eq!(take(1080), 1);
    assert_eq!(delay(1080), Some(StreamDelay { mean_ms: 25, max_ms: 50 }));
}
