//! What a stream tells of itself.

use bytes::Bytes;

use super::super::fixtures::*;
use super::*;

/// A picture that is shown so much later than it is decoded.
fn picture(first: u8, composition_ms: u8) -> Bytes {
    vec![first, 1, 0, 0, composition_ms, 0].into()
}

#[test]
fn pictures_that_are_shown_out_of_order_are_counted_for_each_publisher() {
    let stage = Stage::new(HubSettings::default());
    let mut source = stage.publisher(0);
    // I P B B P B, as an encoder sends them: the B-frames are shown between the two that came before.
    let gop = [(0x17, 80), (0x27, 160), (0x27, 40), (0x27, 40), (0x27, 120), (0x27, 40)];
    for (first, composition_ms, now_ms) in
        gop.into_iter().zip([0, 40, 80, 120, 160, 200]).map(|((a, b), c)| (a, b, c))
    {
        source.video(picture(first, composition_ms), now_ms);
    }
    assert_eq!((stage.stats().b_frames, stage.hub.totals().b_frames), (3, 3));
    // A delay that is the same for all is no order; and what came before is not this publisher's.
    let mut other = stage.publisher(1000);
    for now_ms in [1000, 1040, 1080] {
        other.video(picture(if now_ms == 1000 { 0x17 } else { 0x27 }, 66), now_ms);
    }
    assert_eq!((stage.stats().b_frames, stage.hub.totals().b_frames), (0, 3));
}

#[test]
fn the_gap_between_two_publishers_lasts_from_frame_to_frame() {
    let stage = Stage::new(HubSettings::default());
    let mut one = stage.publisher(0);
    one.headers(1, 0);
    one.gop(0, 400);
    assert_eq!(stage.stats().publisher_gap_ms, None);
    let mut two = stage.publisher(1000);
    two.headers(2, 1000);
    two.video(interframe(50), 1100);
    assert_eq!(stage.stats().publisher_gap_ms, None, "neither headers nor what nobody could show");
    two.video(keyframe(50), 1500);
    two.video(interframe(50), 1540);
    let stats = stage.stats();
    assert_eq!((stats.publisher_changes, stats.publisher_gap_ms), (1, Some(1500 - 360)));
    let silent = stage.publisher(2000);
    let mut three = stage.publisher(3000);
    drop(silent);
    three.audio(sound(10), 3540);
    let (stats, totals) = (stage.stats(), stage.hub.totals());
    assert_eq!((stats.publisher_changes, stats.publisher_gap_ms), (2, Some(2000)));
    assert_eq!((totals.publisher_changes, totals.publisher_gap_ms), (2, 1140 + 2000));
}

#[test]
fn the_wait_for_a_first_picture_begins_when_there_is_something_to_wait_for() {
    let stage = Stage::new(HubSettings::default());
    let take = |watcher: &mut Watcher, now_ms| {
        let mut out = Vec::new();
        watcher.viewer.take(&mut out, 64, usize::MAX, Timestamp(now_ms));
        out.len()
    };
    let mut early = stage.viewer(Live);
    assert_eq!(take(&mut early, 0), 0);
    let mut source = stage.publisher(5000);
    source.headers(1, 5000);
    source.gop(5000, 5080);
    assert!(take(&mut early, 5010) > 0);
    assert_eq!(stage.stats().first_frame_ms, Some(0), "what it waited for its publisher does not count");
    // This one comes where no keyframe is kept any more: sound alone is no picture.
    let mut late_source = stage.publisher(60_000);
    late_source.video(video_header(1), 60_000);
    late_source.audio(sound(10), 60_000);
    let mut late = stage.viewer(Live);
    late_source.audio(sound(10), 60_100);
    assert_eq!(take(&mut late, 60_100), 2);
    late_source.video(keyframe(10), 60_400);
    assert_eq!(take(&mut late, 60_410), 1);
    late_source.video(keyframe(10), 61_000);
    assert_eq!(take(&mut late, 61_000), 1);
    let (stats, totals) = (stage.stats(), stage.hub.totals());
    assert_eq!((stats.first_frame_ms, stats.first_frame_max_ms), (Some(155), Some(310)));
    assert_eq!((totals.first_frame.classes.iter().sum::<u64>(), totals.first_frame.sum_ms), (2, 310));
    // Without pictures it is sound.
    let mut voice = stage.publisher(100_000);
    voice.audio(sound(10), 100_000);
    let mut listener = stage.viewer(Live);
    assert_eq!(take(&mut listener, 100_050), 0);
    voice.audio(sound(10), 100_100);
    assert_eq!(take(&mut listener, 100_120), 1);
    assert_eq!(stage.hub.totals().first_frame.classes.iter().sum::<u64>(), 3);
}
