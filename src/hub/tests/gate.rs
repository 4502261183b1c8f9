//! What is held back reaches nobody, and what comes after it can be decoded.

use crate::domain::conference::MediaGate;

use super::*;

const NO_SOUND: MediaGate = MediaGate { audio: false, video: true };
const NO_PICTURES: MediaGate = MediaGate { audio: true, video: false };
const NOTHING: MediaGate = MediaGate { audio: false, video: false };

impl Stage {
    fn gate(&self, gate: MediaGate) {
        self.hub.set_gate(&self.id, gate);
    }
}

fn shape(out: &[Outgoing]) -> Vec<(PacketKind, u64)> {
    out.iter().map(|outgoing| (outgoing.frame.packet().kind, outgoing.timestamp_ms)).collect()
}

#[test]
fn pictures_that_are_held_back_come_again_at_a_keyframe_with_their_header() {
    let stage = Stage::new(HubSettings::default());
    let mut viewer = stage.viewer(Live);
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.gop(0, 200);
    viewer.drain();
    stage.gate(NO_PICTURES);
    source.video(interframe(50), 200);
    source.video(video_header(2), 220);
    source.video(keyframe(100), 220);
    source.audio(sound(10), 230);
    assert_eq!(shape(&viewer.drain()), [(PacketKind::Audio, 230)]);
    stage.gate(MediaGate::OPEN);
    source.video(interframe(50), 240);
    source.audio(sound(10), 250);
    assert_eq!(shape(&viewer.drain()), [(PacketKind::Audio, 250)], "the middle of a GOP helps nobody");
    source.video(keyframe(100), 5000);
    source.video(interframe(50), 5040);
    let out = viewer.drain();
    assert_eq!(payloads(&out), [video_header(2), keyframe(100), interframe(50)]);
    assert_eq!(times(&out), [5000, 5000, 5040]);
}

#[test]
fn a_header_that_was_held_back_is_not_taken_for_sent() {
    let stage = Stage::new(small());
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.gop(0, 1000);
    let mut viewer = stage.viewer(Live);
    stage.gate(NO_PICTURES);
    assert!(viewer.drain().iter().all(|outgoing| outgoing.frame.packet().kind != PacketKind::Video));
    stage.gate(MediaGate::OPEN);
    source.video(keyframe(100), 1040);
    // It is so far behind that it goes on at a later keyframe, and the header lies before that.
    source.gop(4000, 4080);
    assert_eq!(payloads(&viewer.drain()), [video_header(1), keyframe(100), interframe(50)]);
}

#[test]
fn sound_that_is_held_back_comes_again_behind_its_header() {
    let stage = Stage::new(HubSettings::default());
    let mut viewer = stage.viewer(Live);
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.gop(0, 200);
    stage.gate(NO_SOUND);
    source.audio(sound(10), 200);
    source.video(interframe(50), 210);
    let out = viewer.drain();
    assert!(out.iter().all(|outgoing| outgoing.frame.packet().kind != PacketKind::Audio), "nor the header");
    let mut joiner = stage.viewer(Live);
    assert!(joiner.drain().iter().all(|outgoing| outgoing.frame.packet().kind != PacketKind::Audio));
    stage.gate(MediaGate::OPEN);
    source.audio(sound(20), 400);
    for viewer in [&mut viewer, &mut joiner] {
        let out = viewer.drain();
        assert_eq!(payloads(&out), [audio_header(1), sound(20)]);
        assert_eq!(times(&out), [400, 400]);
    }
}

#[test]
fn what_stands_in_the_ring_from_before_is_held_back_too() {
    let stage = Stage::new(HubSettings::default());
    let mut behind = stage.viewer(Live);
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.gop(0, 1000);
    source.audio(sound(10), 1000);
    assert_eq!(behind.take(5).1.len(), 5);
    stage.gate(NO_PICTURES);
    assert_eq!(payloads(&behind.drain()), [sound(10)]);
    let mut joiner = stage.viewer(Live);
    assert_eq!(payloads(&joiner.drain()), [metadata(1), audio_header(1)], "no burst of what is muted now");
    stage.gate(NOTHING);
    source.audio(sound(10), 1100);
    assert_eq!((behind.drain().len(), joiner.drain().len()), (0, 0));
}

#[test]
fn a_gate_is_there_before_its_stream_and_stays_over_publishers() {
    let stage = Stage::new(HubSettings::default());
    stage.gate(NO_PICTURES);
    let mut viewer = stage.viewer(Live);
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.gop(0, 200);
    source.audio(sound(10), 200);
    assert_eq!(payloads(&viewer.drain()), [metadata(1), audio_header(1), sound(10)]);
    let [(_, Phase::Live { format })] = &stage.phases()[..] else { panic!("not live") };
    assert!(format.video.is_some(), "what is held back is seen to flow");
    let mut next = stage.publisher(1000);
    next.headers(2, 1000);
    next.gop(1000, 1200);
    assert_eq!(payloads(&viewer.drain()), [metadata(2), audio_header(2)]);
    stage.gate(MediaGate::OPEN);
    next.gop(1200, 1240);
    assert_eq!(payloads(&viewer.drain()), [video_header(2), keyframe(100)]);
    assert!(stage.hub.end(&stage.id, CloseReason::StreamEnded));
}

#[test]
fn a_kind_that_falls_silent_no_longer_flows_and_may_come_again() {
    let stage = Stage::new(HubSettings::default());
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.gop(0, 200);
    let flows = |stage: &Stage| match &stage.phases()[..] {
        [(_, Phase::Live { format })] => Some((format.video.clone(), format.audio.is_some())),
        _ => None,
    };
    let (video, audio) = flows(&stage).expect("live");
    assert!(video.is_some() && audio);
    for now_ms in (200..5_000).step_by(100) {
        source.audio(sound(10), now_ms);
    }
    assert_eq!(flows(&stage), None);
    for now_ms in (5_000..6_000).step_by(100) {
        source.audio(sound(10), now_ms);
    }
    assert_eq!(flows(&stage), Some((None, true)));
    source.gop(6_000, 6_100);
    assert_eq!(flows(&stage), Some((video, true)), "with the size that its header told");
}

#[test]
fn a_session_that_was_closed_before_its_claim_takes_nothing_over() {
    let stage = Stage::new(HubSettings::default());
    let late = stage.table.enter(start(Direction::Publish, 1, [0; 4]));
    late.session().close(CloseReason::Revoked(Reason::UrlInvalid.into()));
    let mut source = stage.publisher(0);
    let claimed = stage.hub.publish(&stage.id, Arc::clone(late.session()), Timestamp(0));
    assert_eq!(claimed.err(), Some(CloseReason::Revoked(Reason::UrlInvalid.into())));
    assert_eq!(source.guard.try_closed(), None);
    source.gop(0, 100);
}

#[test]
fn figures_follow_the_packets() {
    let stage = Stage::new(small());
    let mut slow = stage.viewer(Live);
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    for second in 0..10 {
        source.gop(second * 1000, second * 1000 + 1000);
    }
    slow.drain();
    let stats = stage.stats();
    assert_eq!((stats.keyframe_gap_ms, stats.skips, stats.viewers), (Some(1000), 1, 1));
    assert_eq!(stats.dropped_packets, 3 + 9 * 25);
    let rates = stage.hub.rates(&stage.id, Timestamp(10_000)).unwrap();
    assert_eq!(rates.millipictures, 25_000);
    assert_eq!(rates.video_bits, (100 + 24 * 50) * 8);
}
