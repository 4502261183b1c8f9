use proptest::prelude::*;

use super::*;
use PacketKind::{Audio, Data, Video};

/// Places frames that arrive in real time and gives their places.
fn place_all(
    timeline: &mut Timeline,
    frames: &[(PacketKind, u32)],
    arrivals: impl Fn(usize) -> u64,
) -> Vec<u64> {
    frames
        .iter()
        .enumerate()
        .map(|(n, &(kind, stamp))| timeline.place(kind, true, stamp, arrivals(n)))
        .collect()
}

#[test]
fn stamps_of_a_well_behaved_publisher_stay_as_they_are_across_both_overflows() {
    for start in [0_u32, 0x00FF_FF00, u32::MAX - 500] {
        let mut timeline = Timeline::default();
        for step in 0..100_u64 {
            let stamp = start.wrapping_add(u32::try_from(step * 20).unwrap());
            let kind = if step % 2 == 0 { Video } else { Audio };
            assert_eq!(timeline.place(kind, true, stamp, step * 20), u64::from(start) + step * 20);
        }
    }
}

#[test]
fn audio_that_lies_behind_video_is_kept_as_sent() {
    let mut timeline = Timeline::default();
    let frames = [(Video, 1000), (Audio, 900), (Video, 1033), (Audio, 923), (Audio, 946), (Video, 1066)];
    let places = place_all(&mut timeline, &frames, |n| 5_000 + n as u64);
    assert_eq!(places, [1000, 900, 1033, 923, 946, 1066]);
}

#[test]
fn a_small_step_back_is_lifted_and_a_large_one_starts_a_new_base() {
    let mut timeline = Timeline::default();
    let places = place_all(&mut timeline, &[(Video, 50_000), (Video, 49_900), (Video, 50_033)], |_| 0);
    assert_eq!(places, [50_000, 50_000, 50_033]);
    // The phone's clock is set back by 40 s while 33 ms go by; audio follows the same step.
    assert_eq!(timeline.place(Video, true, 10_000, 33), 50_066);
    assert_eq!(timeline.place(Audio, true, 10_010, 43), 50_076);
    assert_eq!(timeline.place(Video, true, 10_033, 66), 50_099);
}

#[test]
fn a_jump_forward_beyond_belief_starts_a_new_base_and_keeps_audio_beside_video() {
    let mut timeline = Timeline::default();
    place_all(&mut timeline, &[(Video, 0), (Audio, 5), (Video, 33)], |n| n as u64 * 20);
    assert_eq!(timeline.place(Video, true, 3_600_000, 66), 59);
    assert_eq!(timeline.place(Audio, true, 3_600_007, 70), 66);
}

#[test]
fn a_long_pause_with_a_running_clock_is_no_jump() {
    let mut timeline = Timeline::default();
    timeline.place(Video, true, 0, 0);
    assert_eq!(timeline.place(Video, true, 180_000, 180_000), 180_000);
    // Video returns after audio ran alone for an hour.
    for second in 181..3_781_u32 {
        timeline.place(Audio, true, second * 1000, u64::from(second) * 1000);
    }
    assert_eq!(timeline.place(Video, true, 3_781_000, 3_781_000), 3_781_000);
}

#[test]
fn tracks_on_unrelated_clocks_run_side_by_side() {
    let mut timeline = Timeline::default();
    let mut last = (0, 0);
    for step in 0..1000_u32 {
        let now_ms = u64::from(step) * 20;
        let video = timeline.place(Video, true, 2_000_000_000 + step * 20, now_ms);
        let audio = timeline.place(Audio, true, step * 20, now_ms);
        last = (video, audio);
    }
    assert_eq!(last.0, 2_000_000_000 + 999 * 20);
    assert_eq!(last.1, last.0 + 1, "audio took its own base once");
}

#[test]
fn a_new_publisher_goes_on_after_the_time_that_went_by() {
    let mut timeline = Timeline::default();
    place_all(&mut timeline, &[(Video, 7000), (Audio, 6990)], |_| 100);
    timeline.begin();
    assert_eq!(timeline.place(Data, false, 0, 2_000), 7000, "metadata does not move time");
    assert_eq!(timeline.place(Video, false, 0, 2_050), 7000, "nor does a sequence header");
    assert_eq!(timeline.place(Video, true, 0, 2_100), 9000);
    assert_eq!(timeline.place(Audio, true, 50_u32.wrapping_neg(), 2_100), 9000, "nothing before its session");
    assert_eq!(timeline.place(Audio, true, 10, 2_110), 9010);
    assert_eq!(timeline.place(Video, true, 33, 2_133), 9033);
    timeline.begin();
    assert_eq!(timeline.place(Video, true, 500, 2_133), 9034, "at least a millisecond");
}

#[test]
fn a_wall_clock_that_leaps_moves_the_line_by_a_bounded_gap() {
    let mut timeline = Timeline::default();
    timeline.place(Video, true, 0, 0);
    timeline.begin();
    assert_eq!(timeline.place(Video, true, 0, u64::MAX), GAP_MAX_MS);
    timeline.begin();
    assert_eq!(timeline.place(Video, true, 0, 0), GAP_MAX_MS + 1, "and one that is set back, by none");
}

#[test]
fn other_packets_keep_their_place_near_the_newest_frame_only() {
    let mut timeline = Timeline::default();
    assert_eq!(timeline.place(Data, false, 99, 0), 0, "before the first frame");
    timeline.place(Video, true, 16_772_000, 0);
    assert_eq!(timeline.place(Data, false, 16_772_010, 0), 16_772_010);
    assert_eq!(timeline.place(Video, false, 0, 0), 16_772_000);
}

proptest! {
    #[test]
    fn no_kind_goes_back_and_time_runs_no_faster_than_believed(
        packets in prop::collection::vec(
            (0..3_u8, prop::bool::weighted(0.8), any::<u32>(), 0..200_u32, 0..500_u64, prop::bool::weighted(0.05)),
            1..300,
        ),
    ) {
        let mut timeline = Timeline::default();
        let mut last = [0; 3];
        let (mut stamp, mut now_ms) = (0_u32, 0_u64);
        for (kind, is_frame, wild, step, wait_ms, begins) in packets {
            if begins {
                timeline.begin();
            }
            now_ms += wait_ms;
            stamp = if wild.is_multiple_of(7) { wild } else { stamp.wrapping_add(step).wrapping_sub(40) };
            let before = timeline.newest;
            let newest_ms = timeline.newest_ms();
            let kind = [Audio, Video, Data][usize::from(kind)];
            let is_frame = is_frame && kind != Data;
            let at_ms = timeline.place(kind, is_frame, stamp, now_ms);
            let last_of_kind = &mut last[kind as usize];
            if is_frame || kind == Data {
                prop_assert!(at_ms >= *last_of_kind);
                *last_of_kind = at_ms;
            }
            if !is_frame {
                prop_assert_eq!(timeline.newest_ms(), newest_ms);
            }
            if let Some(before) = before {
                let gap_ms = now_ms - before.arrived_ms;
                prop_assert!(timeline.newest_ms() <= newest_ms + gap_ms + JUMP_MAX_MS);
            }
        }
    }

    #[test]
    fn a_new_session_lies_wholly_behind_the_old_one(
        old in prop::collection::vec((any::<bool>(), 0..100_u32), 1..50),
        new in prop::collection::vec((any::<bool>(), 0..100_u32), 1..50),
        first in any::<u32>(),
    ) {
        let mut timeline = Timeline::default();
        let mut run = |steps: &[(bool, u32)], mut stamp: u32| {
            timeline.begin();
            let places = steps.iter().map(|&(is_video, step)| {
                stamp = stamp.wrapping_add(step);
                timeline.place(if is_video { Video } else { Audio }, true, stamp, 0)
            });
            let places: Vec<u64> = places.collect();
            (places.iter().min().copied().unwrap(), places.iter().max().copied().unwrap())
        };
        let (_, old_end) = run(&old, first);
        let (new_start, _) = run(&new, 0);
        prop_assert!(new_start > old_end);
    }
}
