//! HEVC for viewers that read one form of it.

use crate::media::HevcForm::{self, Enhanced, Legacy};

use super::super::fixtures::*;
use super::*;

fn record() -> Vec<u8> {
    let mut record = vec![0; 23];
    record[0] = 1;
    record
}

fn reader(stage: &Stage, form: HevcForm) -> Watcher {
    let mut watcher = stage.viewer(Live);
    watcher.viewer.read_hevc_as(form);
    watcher
}

#[test]
fn each_viewer_gets_the_form_that_it_reads_and_those_of_one_form_share_it() {
    let stage = Stage::new(HubSettings::default());
    let mut viewers = [Legacy, Enhanced, Legacy].map(|form| reader(&stage, form));
    let mut source = stage.publisher(0);
    let header = [&b"\x90hvc1"[..], &record()].concat();
    source.video(header.clone().into(), 0);
    source.video(b"\x91hvc1\0\0\x42keyframe".as_slice().into(), 0);
    source.audio(sound(10), 10);
    source.video(b"\x94hvc1colour".as_slice().into(), 20);
    source.video(b"\xA3hvc1picture".as_slice().into(), 40);
    let [one, two, three] = viewers.each_mut().map(Watcher::drain);
    let legacy = [
        [&[0x1C, 0, 0, 0, 0][..], &record()].concat().into(),
        b"\x1C\x01\0\0\x42keyframe".as_slice().into(),
        sound(10),
        b"\x2C\x01\0\0\0picture".as_slice().into(),
    ];
    assert_eq!((payloads(&one), times(&one)), (legacy.to_vec(), vec![0, 0, 10, 40]));
    assert_eq!(payloads(&two)[0], header);
    assert_eq!(two.len(), 5, "as it was published");
    assert!(one.iter().zip(&three).all(|(one, three)| Arc::ptr_eq(&one.frame, &three.frame)));
    // A portion of nothing but what one form has no words for is no portion.
    source.video(b"\x94hvc1colour".as_slice().into(), 60);
    assert_eq!((viewers[0].take(9).0, viewers[1].take(9).1.len()), (Taken::Idle, 1));
    // A joiner's headers are read as well.
    let mut joiner = reader(&stage, Legacy);
    assert_eq!(payloads(&joiner.drain())[..2], legacy[..2]);
}

#[test]
fn nothing_is_rewritten_behind_a_header_that_is_none_or_of_another_codec() {
    let stage = Stage::new(HubSettings::default());
    let mut viewer = reader(&stage, Legacy);
    let mut source = stage.publisher(0);
    let sent: Vec<bytes::Bytes> = [
        &b"\x90hvc1garbled"[..],
        b"\x93hvc1keyframe",
        b"\x90av01configuration",
        b"\x93av01keyframe",
        b"\x94av01colour",
    ]
    .map(Into::into)
    .to_vec();
    for payload in &sent {
        source.video(payload.clone(), 0);
    }
    assert_eq!(payloads(&viewer.drain()), sent);
    // HEVC came and went: AV1 and its metadata pass again.
    source.video([&b"\x90hvc1"[..], &record()].concat().into(), 10);
    source.video(sent[1].clone(), 20);
    assert_eq!(payloads(&viewer.drain())[1], b"\x1C\x01\0\0\0keyframe".as_slice());
    for payload in &sent[2..] {
        source.video(payload.clone(), 30);
    }
    assert_eq!(payloads(&viewer.drain()), sent[2..]);
}

#[test]
fn a_batch_serves_those_who_read_what_is_published() {
    let stage = Stage::new(HubSettings::default());
    let mut viewers = [Legacy, Enhanced].map(|form| reader(&stage, form));
    let mut source = stage.publisher(0);
    source.video([&b"\x90hvc1"[..], &record()].concat().into(), 0);
    source.video(b"\x93hvc1keyframe".as_slice().into(), 0);
    viewers.iter_mut().for_each(|viewer| {
        viewer.drain();
    });
    let mut tide = viewers[0].viewer.tide();
    let mark = tide.settle();
    source.video(b"\xA3hvc1picture".as_slice().into(), 40);
    let until = tide.settle();
    let batch = tide.gather(mark, until, 8, 1000).unwrap();
    assert_eq!(viewers.map(|watcher| watcher.viewer.is_served_by(&batch)), [false, true]);
}
