//! What is taken once for many viewers is what each of them would have taken.

use crate::domain::conference::MediaGate;

use super::*;

const NO_SOUND: MediaGate = MediaGate { audio: false, video: true };

/// A stream with a viewer that has all there is, and how far that is.
fn caught_up(stage: &Stage) -> (Source, Watcher, Tide, Mark) {
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.gop(0, 200);
    let mut viewer = stage.viewer(Rtc);
    viewer.drain();
    let mut tide = viewer.viewer.tide();
    let mark = tide.settle();
    (source, viewer, tide, mark)
}

/// What has come since `mark`, if it can be handed to many.
fn gathered(tide: &mut Tide, mark: Mark) -> Option<Batch> {
    let until = tide.settle();
    tide.gather(mark, until, 8, 1000)
}

#[test]
fn a_viewer_that_has_caught_up_is_served_what_it_would_have_taken() {
    let stage = Stage::new(small());
    let (mut source, mut served, mut tide, mark) = caught_up(&stage);
    let mut taking = stage.viewer(Rtc);
    taking.drain();
    source.video(interframe(50), 200);
    source.audio(sound(10), 210);
    let until = tide.settle();
    let batch = tide.gather(mark, until, 8, 1000).unwrap();
    assert!(served.viewer.is_served_by(&batch) && !served.viewer.has_reached(until));
    served.viewer.pass(&batch);
    assert!(served.viewer.has_reached(until) && served.drain().is_empty());
    let taken = taking.drain();
    assert_eq!(batch.frames().len(), taken.len());
    assert!(batch.frames().iter().zip(&taken).all(|(one, other)| Arc::ptr_eq(one, &other.frame)));
    let (one, other) = (served.guard.session().counters(), taking.guard.session().counters());
    assert!(one.packets() > 2 && (one.packets(), one.bytes()) == (other.packets(), other.bytes()));
    assert!(!served.viewer.is_served_by(&batch), "once");
}

#[test]
fn whoever_stands_elsewhere_or_lacks_something_looks_for_itself() {
    let stage = Stage::new(small());
    let (mut source, _, mut tide, mark) = caught_up(&stage);
    let behind = stage.viewer(Rtc);
    source.video(interframe(50), 200);
    let batch = gathered(&mut tide, mark).unwrap();
    assert!(!behind.viewer.is_served_by(&batch), "it has not begun");
    // Pictures were held back, so the next that it can show is a keyframe.
    let stage = Stage::new(small());
    let mut source_without_pictures = stage.publisher(0);
    let mut viewer = stage.viewer(Rtc);
    let mut tide = viewer.viewer.tide();
    source_without_pictures.audio(sound(10), 0);
    viewer.drain();
    let mark = tide.settle();
    source_without_pictures.audio(sound(10), 20);
    let sounds = tide.settle();
    assert!(viewer.viewer.is_served_by(&tide.gather(mark, sounds, 8, 1000).unwrap()));
    source_without_pictures.video(keyframe(10), 40);
    let batch = gathered(&mut tide, mark).unwrap();
    assert!(!viewer.viewer.is_served_by(&batch), "it waits for a keyframe, and takes note of it itself");
}

#[test]
fn a_joiner_goes_with_the_others_as_soon_as_nothing_is_pressed_into_its_burst() {
    let stage = Stage::new(HubSettings::default());
    let mut source = stage.publisher(0);
    source.headers(1, 0);
    source.gop(0, 8000);
    let mut viewer = stage.viewer(Rtc);
    viewer.drain();
    let mut tide = viewer.viewer.tide();
    let mark = tide.settle();
    source.audio(sound(10), 7950);
    let batch = gathered(&mut tide, mark).unwrap();
    assert!(!viewer.viewer.is_served_by(&batch), "it reaches back into the burst");
    viewer.drain();
    let mark = tide.settle();
    source.video(interframe(50), 8000);
    let batch = gathered(&mut tide, mark).unwrap();
    assert!(viewer.viewer.is_served_by(&batch));
}

#[test]
fn nothing_is_gathered_that_is_too_much_or_a_header_or_held_back() {
    let stage = Stage::new(small());
    let (mut source, _, mut tide, mark) = caught_up(&stage);
    assert!(gathered(&mut tide, mark).is_none(), "nothing came");
    source.video(interframe(50), 200);
    source.audio(sound(10), 200);
    let two = tide.settle();
    assert!(tide.gather(mark, two, 2, 60).is_some());
    assert!(tide.gather(mark, two, 1, 60).is_none() && tide.gather(mark, two, 2, 59).is_none());
    stage.hub.set_gate(&stage.id, NO_SOUND);
    assert!(tide.gather(mark, two, 2, 60).is_none(), "the sound is not for anybody now");
    stage.hub.set_gate(&stage.id, MediaGate::OPEN);
    source.video(video_header(2), 240);
    assert!(gathered(&mut tide, mark).is_none(), "each viewer remembers its header");
    assert!(tide.gather(Mark::default(), two, 100, 100_000).is_none());
}

#[test]
fn a_gate_that_moves_after_the_gathering_is_obeyed() {
    let stage = Stage::new(small());
    let (mut source, mut viewer, mut tide, mark) = caught_up(&stage);
    source.audio(sound(10), 200);
    let batch = gathered(&mut tide, mark).unwrap();
    assert!(viewer.viewer.is_served_by(&batch));
    stage.hub.set_gate(&stage.id, NO_SOUND);
    assert!(!viewer.viewer.is_served_by(&batch));
    assert!(viewer.drain().is_empty());
}

#[test]
fn the_delay_of_those_who_are_served_together_is_counted_for_each() {
    let stage = Stage::new(small());
    let (mut source, _, mut tide, mark) = caught_up(&stage);
    source.video(interframe(50), 1000);
    let batch = gathered(&mut tide, mark).unwrap();
    tide.count(&batch, 3, Timestamp(1008));
    let delay = stage.hub.delay(&stage.id, Timestamp(1008)).unwrap();
    assert_eq!(delay, StreamDelay { mean_ms: 8, max_ms: 8 });
}
