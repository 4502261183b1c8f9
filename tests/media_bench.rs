//! The parts of the media bench that could be wrong without anybody noticing: percentiles, the chunk reader, stamps.

#![allow(
    clippy::cast_possible_truncation,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    reason = "test code"
)]

#[path = "../benches/media/chunks.rs"]
mod chunks;
#[path = "../benches/media/figures.rs"]
mod figures;
#[path = "../benches/media/stamps.rs"]
mod stamps;
#[path = "../benches/media/wire.rs"]
mod wire;

use chunks::{AUDIO, COMMAND, ChunkReader, SET_CHUNK_SIZE, VIDEO};
use figures::{Durations, median};
use proptest::prelude::*;
use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::messages::MessagePayload;
use rml_rtmp::time::RtmpTimestamp;
use stamps::{Encoding, Frames, Seen, Stamp, see};

#[test]
fn percentiles_are_within_a_sixty_fourth_of_the_exact_ones() {
    let mut durations = Durations::default();
    assert_eq!(durations.percentile_ms(50.0), None);
    let mut exact: Vec<u64> =
        (0..10_000_u64).map(|number| (number * number * 7919) % 3_000_000 + 1).collect();
    for us in &exact {
        durations.add_ns(us * 1000);
    }
    exact.sort_unstable();
    for percent in [1.0, 50.0, 95.0, 99.0, 100.0] {
        let rank = (exact.len() as f64 * percent / 100.0).ceil() as usize;
        let wanted = exact[rank - 1] as f64 / 1000.0;
        let got = durations.percentile_ms(percent).unwrap();
        assert!((got - wanted).abs() <= wanted / 64.0, "{percent} %: {got} is not {wanted}");
    }
    assert_eq!(durations.max_ms(), Some(exact[exact.len() - 1] as f64 / 1000.0));
}

#[test]
fn a_median_is_the_middle_or_between_the_two_in_the_middle() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[3.0]), Some(3.0));
    assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
}

/// What the reader tells of these bytes, handed over in pieces of these sizes.
fn read(bytes: &[u8], pieces: &[usize]) -> Vec<(u8, usize, Vec<u8>)> {
    let mut reader = ChunkReader::new(128);
    let mut told = Vec::new();
    let (mut rest, mut pieces) = (bytes, pieces.iter().cycle());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
        reader
            .read(piece, |message| told.push((message.kind, message.length, message.head.to_vec())))
            .unwrap();
        rest = after;
    }
    told
}

proptest! {
    /// Against a writer that is not ours: any chunk size, shortened headers, any pieces.
    #[test]
    fn what_another_writer_writes_is_read_whole(
        chunk_size in 1_u32..70_000,
        lengths in prop::collection::vec((any::<bool>(), 2_usize..9000), 1..12),
        pieces in prop::collection::vec(1_usize..5000, 1..8),
    ) {
        let mut writer = ChunkSerializer::new();
        let size = writer.set_max_chunk_size(chunk_size, RtmpTimestamp::new(0)).unwrap();
        let mut bytes = size.bytes;
        let mut wanted = Vec::new();
        for (number, (is_video, length)) in lengths.iter().enumerate() {
            let kind = if *is_video { VIDEO } else { AUDIO };
            let payload: Vec<u8> = (0..*length).map(|at| (at * 7 + number) as u8).collect();
            wanted.push((kind, *length, payload[..payload.len().min(chunks::HEAD_BYTES)].to_vec()));
            let message = MessagePayload {
                timestamp: RtmpTimestamp::new(number as u32 * 40),
                type_id: kind,
                message_stream_id: 1,
                data: payload.into(),
            };
            bytes.extend(writer.serialize(&message, false, false).unwrap().bytes);
        }
        prop_assert_eq!(read(&bytes, &pieces), wanted);
    }
}

#[test]
fn commands_are_kept_whole_and_chunk_sizes_are_obeyed() {
    let command = vec![7; 300];
    let mut bytes = wire::message(SET_CHUNK_SIZE, 0, &(wire::CHUNK_BYTES as u32).to_be_bytes());
    bytes.extend(wire::message(COMMAND, 0, &command));
    assert_eq!(read(&bytes, &[1]), [(COMMAND, 300, command)]);
}

#[test]
fn a_frame_tells_its_number_and_time_at_the_other_end() {
    let encoding = Encoding { kilobits: 2000, audio_kilobits: 64, pictures_per_second: 30, gop_seconds: 2 };
    let mut frames = Frames::new(&encoding);
    let mut reader = ChunkReader::new(wire::CHUNK_BYTES);
    let (mut seen, mut pictures) = (Vec::new(), Vec::new());
    let stamp = Stamp { number: 0x89AB_CDEF, sent_ns: 0x0123_4567_89AB_CDEF };
    let Frames { headers, keyframe, interframe, audio } = &mut frames;
    let mut wire = headers.clone();
    for frame in [keyframe, interframe, audio] {
        wire.extend(&frame.stamped(1000, stamp)[stamps::LENGTH_BYTES..]);
    }
    reader
        .read(&wire, |message| {
            seen.extend(see(message.kind, message.head));
            if see(message.kind, message.head).is_some_and(|seen| seen.is_video) {
                pictures.push(message.length);
            }
        })
        .unwrap();
    let expect = |is_video, is_keyframe| Seen { stamp, is_video, is_keyframe };
    assert_eq!(seen, [expect(true, true), expect(true, false), expect(false, false)]);
    let [keyframe, interframe] = pictures[..] else { panic!("two pictures, not {pictures:?}") };
    let (gop, wanted) = (keyframe + 59 * interframe, (2000 - 64) * 125 * 2);
    assert!(
        gop.abs_diff(wanted) < wanted / 100,
        "a GOP of {gop} bytes is not the bit rate that was asked for"
    );
}

#[test]
fn a_refusal_and_a_result_are_understood() {
    let result =
        [&b"\x02\x00\x07_result\x00"[..], &2_f64.to_be_bytes(), b"\x05\x00", &5_f64.to_be_bytes()].concat();
    let wanted = wire::Answer::Result { transaction: wire::CREATE_STREAM, number: Some(5.0) };
    assert_eq!(wire::understand(&result), wanted);
    let refused = b"\x02\x00\x08onStatus\x03\x00\x05level\x02\x00\x05error\x00\x04code";
    assert!(matches!(wire::understand(refused), wire::Answer::Refused(words) if words.contains("onStatus")));
}
