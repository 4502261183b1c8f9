use bytes::BytesMut;

use super::*;
use crate::rtmp::proto::MediaKind;
use crate::rtmp::proto::recording::{self, Chunk, message, pattern, type3};

fn reader() -> ChunkReader {
    ChunkReader::new(0, ChunkLimits::ADMITTED)
}

fn read_all(reader: &mut ChunkReader, mut input: &[u8]) -> Result<Vec<ChunkMessage>, ChunkError> {
    let mut messages = Vec::new();
    while let Some(message) = reader.next_message(&mut input)? {
        messages.push(message);
    }
    assert!(input.is_empty());
    Ok(messages)
}

/// Reads `input` whole, in two pieces split at every byte, and byte by byte; all must agree.
fn read_in_every_split(input: &[u8]) -> Result<Vec<ChunkMessage>, ChunkError> {
    let whole = read_all(&mut reader(), input);
    for at in 0..=input.len() {
        let (left, right) = input.split_at(at);
        let mut reader = reader();
        let split = read_all(&mut reader, left).and_then(|mut messages| {
            messages.extend(read_all(&mut reader, right)?);
            Ok(messages)
        });
        assert_eq!(split, whole, "split at {at}");
    }
    let mut bytewise = reader();
    let mut messages = Ok(Vec::new());
    for byte in input {
        match (&mut messages, read_all(&mut bytewise, &[*byte])) {
            (Ok(messages), Ok(more)) => messages.extend(more),
            (Ok(_), Err(error)) => messages = Err(error),
            (Err(_), _) => {}
        }
        if messages.is_err() {
            break;
        }
    }
    assert_eq!(messages, whole, "byte by byte");
    if whole.is_ok() {
        assert_eq!(bytewise.position(), input.len() as u64);
    }
    whole
}

fn video(format: u8, time: u32, length: usize, piece: &[u8]) -> Chunk<'_> {
    Chunk { format, csid: 6, time, length, type_id: 9, stream: 1, piece }
}

fn timestamps(messages: &[ChunkMessage]) -> Vec<u32> {
    messages.iter().map(|message| message.timestamp).collect()
}

fn kind_of(result: Result<Vec<ChunkMessage>, ChunkError>) -> ChunkErrorKind {
    result.unwrap_err().kind
}

#[test]
fn every_form_of_chunk_stream_id_is_read() {
    for csid in [2, 3, 4, 63, 64, 65, 319, 320, 321, 65_598, 65_599] {
        let mut input = Vec::new();
        message(&mut input, 128, csid, 8, 1, &pattern(300));
        let messages = read_in_every_split(&input).unwrap();
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].chunk_stream_id.get(), csid);
        assert_eq!(messages[0].message_stream_id, MessageStreamId(1));
        assert_eq!(messages[0].payload, pattern(300));
    }
}

#[test]
fn interleaved_messages_keep_their_own_bytes() {
    let (a, b) = (pattern(300), pattern(200));
    let mut input = Vec::new();
    video(0, 10, 300, &a[..128]).write(&mut input);
    Chunk { csid: 4, type_id: 8, ..video(0, 11, 200, &b[..128]) }.write(&mut input);
    type3(&mut input, 6, None, &a[128..256]);
    type3(&mut input, 4, None, &b[128..]);
    type3(&mut input, 6, None, &a[256..]);
    let messages = read_in_every_split(&input).unwrap();
    let seen: Vec<_> = messages.iter().map(|m| (m.type_id, m.timestamp, m.payload.to_vec())).collect();
    assert_eq!(seen, [(8, 11, b), (9, 10, a)]);
}

#[test]
fn a_new_header_in_the_middle_of_a_message_discards_it() {
    for format in [0, 1, 2] {
        let mut input = Vec::new();
        video(0, 100, 300, &[1; 128]).write(&mut input);
        video(format, 50, 300, &[2; 128]).write(&mut input);
        type3(&mut input, 6, None, &[3; 128]);
        type3(&mut input, 6, None, &[4; 44]);
        let messages = read_in_every_split(&input).unwrap();
        assert_eq!(messages.len(), 1, "type {format}");
        assert_eq!(messages[0].payload, [vec![2; 128], vec![3; 128], vec![4; 44]].concat());
        assert_eq!(messages[0].timestamp, if format == 0 { 50 } else { 150 });
    }
}

#[test]
fn a_type_1_header_that_resizes_a_message_starts_another() {
    for length in [1, 60, 128] {
        let mut input = Vec::new();
        video(0, 0, 300, &[1; 128]).write(&mut input);
        video(1, 5, length, &vec![2; length]).write(&mut input);
        let messages = read_in_every_split(&input).unwrap();
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].payload, vec![2; length]);
    }
    let mut input = Vec::new();
    video(0, 0, 200, &[1; 128]).write(&mut input);
    video(1, 5, 8_000_000, &[2; 128]).write(&mut input);
    type3(&mut input, 6, None, &[3; 128]);
    let mut reader = reader();
    assert_eq!(read_all(&mut reader, &input).unwrap(), []);
    assert_eq!(reader.partial_bytes(), 256);
}

#[test]
fn abort_discards_the_partial_message_and_keeps_the_header() {
    let mut input = Vec::new();
    video(0, 100, 130, &[1; 128]).write(&mut input);
    message(&mut input, 128, 2, 2, 0, &6_u32.to_be_bytes());
    message(&mut input, 128, 2, 2, 0, &4711_u32.to_be_bytes());
    type3(&mut input, 6, None, &[2; 128]);
    type3(&mut input, 6, None, &[3; 2]);
    let messages = read_in_every_split(&input).unwrap();
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[2].payload, [vec![2; 128], vec![3; 2]].concat());
}

#[test]
fn extended_timestamps_are_read_on_every_header_repeated_or_not() {
    let payload = pattern(300);
    for format in [0, 1, 2] {
        for time in [0xFF_FFFF, 0x0100_0000, 0x7FFF_FFFF, 0xFFFF_FFF0] {
            for repeated in [Some(time), None] {
                let mut input = Vec::new();
                video(0, 7, 300, &payload[..128]).write(&mut input);
                type3(&mut input, 6, None, &payload[128..256]);
                type3(&mut input, 6, None, &payload[256..]);
                video(format, time, 300, &payload[..128]).write(&mut input);
                type3(&mut input, 6, repeated, &payload[128..256]);
                type3(&mut input, 6, repeated, &payload[256..]);
                let messages = read_in_every_split(&input).unwrap();
                assert_eq!(messages.len(), 2);
                assert_eq!(messages[1].payload, payload);
                let expected = if format == 0 { time } else { time.wrapping_add(7) };
                assert_eq!(messages[1].timestamp, expected, "type {format} time {time:#x} {repeated:?}");
            }
        }
    }
}

#[test]
fn payload_that_looks_like_the_start_of_the_extended_timestamp_is_payload() {
    let time = 0x0102_0304_u32;
    for tail in [&[1][..], &[1, 2], &[1, 2, 3], &[1, 2, 3, 5], &[1, 9]] {
        let mut input = Vec::new();
        let length = 128 + tail.len();
        video(0, time, length, &[7; 128]).write(&mut input);
        type3(&mut input, 6, None, tail);
        // The bytes of the next header must not be swallowed either, nor those of one that also has to be peeked.
        message(&mut input, 128, 5, 8, 1, &[1, 2, 3, 4]);
        video(0, time, 128 + tail.len(), &[7; 128]).write(&mut input);
        type3(&mut input, 6, None, tail);
        message(&mut input, 128, 5, 8, 1, &[1]);
        let messages = read_in_every_split(&input).unwrap();
        assert_eq!(messages.len(), 4, "tail {tail:?}");
        assert_eq!(messages[0].payload, [&[7; 128], tail].concat());
        assert_eq!(messages[1].payload, vec![1, 2, 3, 4]);
        assert_eq!(messages[2].payload, messages[0].payload);
    }
}

#[test]
fn peeked_bytes_may_belong_to_following_chunks() {
    // Chunks of one byte, so that the bytes held back are a payload byte, a header and a payload byte.
    let time = 0x01C6_01C5_u32;
    let mut input = Vec::new();
    message(&mut input, 128, 2, 1, 0, &1_u32.to_be_bytes());
    video(0, time, 4, &[9]).write(&mut input);
    for byte in [0x01, 0x01, 0x05] {
        type3(&mut input, 6, None, &[byte]);
    }
    let messages = read_in_every_split(&input).unwrap();
    assert_eq!(messages[1].payload, vec![9, 1, 1, 5]);
    assert_eq!(messages[1].timestamp, time);
}

#[test]
fn deltas_wrap_past_24_and_32_bits_and_may_be_negative() {
    let mut input = Vec::new();
    video(0, 0xFF_FFFE, 1, &[0]).write(&mut input);
    video(1, 1, 1, &[0]).write(&mut input);
    video(2, 1, 1, &[0]).write(&mut input);
    video(0, 0xFFFF_FFFE, 1, &[0]).write(&mut input);
    video(2, 5, 1, &[0]).write(&mut input);
    video(2, 5_u32.wrapping_neg(), 1, &[0]).write(&mut input);
    let messages = read_in_every_split(&input).unwrap();
    assert_eq!(timestamps(&messages), [0xFF_FFFE, 0xFF_FFFF, 0x100_0000, 0xFFFF_FFFE, 3, 0xFFFF_FFFE]);
}

#[test]
fn a_type_3_chunk_that_starts_a_message_adds_the_last_delta_again() {
    let mut input = Vec::new();
    video(0, 1000, 1, &[0]).write(&mut input);
    type3(&mut input, 6, None, &[0]);
    video(1, 20, 1, &[0]).write(&mut input);
    type3(&mut input, 6, None, &[0]);
    type3(&mut input, 6, None, &[0]);
    video(2, 0x0100_0000, 1, &[0]).write(&mut input);
    type3(&mut input, 6, Some(0x0100_0000), &[0]);
    let messages = read_in_every_split(&input).unwrap();
    let long = [0x0100_0000 + 2060, 0x0200_0000 + 2060];
    assert_eq!(timestamps(&messages), [1000, 2000, 2020, 2040, 2060, long[0], long[1]]);
}

#[test]
fn the_delta_is_not_added_by_continuations() {
    let mut input = Vec::new();
    video(0, 0, 1, &[0]).write(&mut input);
    video(1, 40, 384, &[1; 128]).write(&mut input);
    type3(&mut input, 6, None, &[1; 128]);
    type3(&mut input, 6, None, &[1; 128]);
    assert_eq!(timestamps(&read_in_every_split(&input).unwrap()), [0, 40]);
}

#[test]
fn empty_messages_are_messages() {
    let mut input = Vec::new();
    video(0, 1, 0, &[]).write(&mut input);
    video(2, 1, 0, &[]).write(&mut input);
    type3(&mut input, 6, None, &[]);
    let messages = read_in_every_split(&input).unwrap();
    assert_eq!(timestamps(&messages), [1, 2, 3]);
    assert!(messages.iter().all(|message| message.payload.is_empty()));
}

#[test]
fn chunk_sizes_0_and_above_31_bits_are_errors() {
    for value in [0, 0x8000_0000, 0xFFFF_FFFF_u32] {
        let mut input = Vec::new();
        message(&mut input, 128, 2, 1, 0, &value.to_be_bytes());
        assert_eq!(kind_of(read_in_every_split(&input)), ChunkErrorKind::ChunkSize { value });
    }
    let mut input = Vec::new();
    message(&mut input, 128, 2, 1, 0, &[0, 0, 1]);
    let too_short = ChunkErrorKind::ControlTooShort { type_id: 1, length: 3 };
    assert_eq!(kind_of(read_in_every_split(&input)), too_short);
}

#[test]
fn every_other_chunk_size_is_obeyed_and_reserves_nothing() {
    for value in [1, 2, 127, 128, 129, 65_536, 65_537, 0x00FF_FFFF, 0x7FFF_FFFF_u32] {
        let mut input = Vec::new();
        message(&mut input, 128, 2, 1, 0, &value.to_be_bytes());
        message(&mut input, value as usize, 6, 9, 1, &pattern(300));
        assert_eq!(read_in_every_split(&input).unwrap()[1].payload, pattern(300));
        let mut reader = reader();
        video(0, 0, 8_000_000, &[]).write(&mut input);
        read_all(&mut reader, &input).unwrap();
        assert_eq!(reader.chunk_size(), value);
        assert_eq!(reader.partial_capacity_bytes(), 0);
    }
}

#[test]
fn memory_follows_the_bytes_received() {
    let mut head = Vec::new();
    video(0, 0, VIDEO_MESSAGE_BYTES_MAX as usize, &[]).write(&mut head);
    let mut input = Vec::new();
    message(&mut input, 128, 2, 1, 0, &0x7FFF_FFFF_u32.to_be_bytes());
    for limits in [ChunkLimits::STRANGER, ChunkLimits::ADMITTED] {
        let mut reader = ChunkReader::new(0, limits);
        read_all(&mut reader, &input).unwrap();
        read_all(&mut reader, &head).unwrap();
        for piece in [1, 1, 100, 4096, 1, 65_536, 60_000] {
            read_all(&mut reader, &vec![0; piece]).unwrap();
            let bound = 2 * reader.partial_bytes() + limits.reserve_ahead_bytes_max;
            assert!(reader.partial_capacity_bytes() <= bound);
        }
        assert_eq!(reader.partial_bytes(), 1 + 1 + 100 + 4096 + 1 + 65_536 + 60_000);
    }
}

#[test]
fn a_message_in_one_input_is_reserved_once_and_exactly() {
    let mut input = Vec::new();
    message(&mut input, 128, 6, 9, 1, &pattern(10_000));
    let mut reader = reader();
    let almost = input.len() - 1;
    read_all(&mut reader, &input[..almost]).unwrap();
    assert_eq!(reader.partial_capacity_bytes(), 10_000);
}

#[test]
fn messages_over_the_cap_of_their_type_are_refused_by_their_header() {
    for (type_id, max) in [
        (1, CONTROL_MESSAGE_BYTES_MAX),
        (4, CONTROL_MESSAGE_BYTES_MAX),
        (8, AUDIO_MESSAGE_BYTES_MAX),
        (9, VIDEO_MESSAGE_BYTES_MAX),
        (15, COMMAND_MESSAGE_BYTES_MAX),
        (17, COMMAND_MESSAGE_BYTES_MAX),
        (18, COMMAND_MESSAGE_BYTES_MAX),
        (20, COMMAND_MESSAGE_BYTES_MAX),
        (22, VIDEO_MESSAGE_BYTES_MAX),
        (99, COMMAND_MESSAGE_BYTES_MAX),
    ] {
        let mut input = Vec::new();
        Chunk { type_id, ..video(0, 0, max as usize, &[]) }.write(&mut input);
        assert_eq!(read_in_every_split(&input).unwrap(), []);
        let mut input = Vec::new();
        Chunk { type_id, ..video(0, 0, max as usize + 1, &[]) }.write(&mut input);
        let kind = ChunkErrorKind::MessageTooLong { type_id, declared: max + 1, max };
        assert_eq!(kind_of(read_in_every_split(&input)), kind);
    }
}

#[test]
fn one_chunk_stream_too_many_is_an_error() {
    let mut input = Vec::new();
    for csid in (2..).take(KNOWN_CHUNK_STREAMS_MAX) {
        message(&mut input, 128, csid, 8, 1, &[1]);
    }
    let mut reader = reader();
    assert_eq!(read_all(&mut reader, &input).unwrap().len(), KNOWN_CHUNK_STREAMS_MAX);
    message(&mut input, 128, 300, 8, 1, &[1]);
    assert_eq!(kind_of(read_in_every_split(&input)), ChunkErrorKind::TooManyChunkStreams);
}

#[test]
fn one_partial_message_too_many_is_an_error() {
    let mut input = Vec::new();
    for csid in (10..).take(PARTIAL_MESSAGES_MAX) {
        Chunk { csid, ..video(0, 0, 129, &[1; 128]) }.write(&mut input);
    }
    let mut reader = reader();
    read_all(&mut reader, &input).unwrap();
    assert_eq!(reader.partial_bytes(), 128 * PARTIAL_MESSAGES_MAX);
    Chunk { csid: 300, ..video(0, 0, 129, &[]) }.write(&mut input);
    assert_eq!(kind_of(read_in_every_split(&input)), ChunkErrorKind::TooManyPartialMessages);
    // Finishing one makes room for another.
    let mut more = Vec::new();
    type3(&mut more, 10, None, &[1]);
    Chunk { csid: 300, ..video(0, 0, 129, &[]) }.write(&mut more);
    assert_eq!(read_all(&mut reader, &more).unwrap().len(), 1);
}

#[test]
fn partial_messages_together_stay_under_the_limit() {
    let mut reader = ChunkReader::new(0, ChunkLimits { partial_bytes_max: 1000, reserve_ahead_bytes_max: 0 });
    let mut input = Vec::new();
    message(&mut input, 128, 2, 1, 0, &10_000_u32.to_be_bytes());
    video(0, 0, 5000, &[]).write(&mut input);
    read_all(&mut reader, &input).unwrap();
    read_all(&mut reader, &[0; 1000]).unwrap();
    assert_eq!(kind_of(read_all(&mut reader, &[0])), ChunkErrorKind::TooManyPartialBytes { max: 1000 });
}

#[test]
fn a_header_without_history_names_chunk_stream_and_byte() {
    for format in [1, 2, 3_u8] {
        let mut input = Vec::new();
        message(&mut input, 128, 6, 9, 1, &[1, 2, 3]);
        let position = 3073 + input.len() as u64;
        input.push(format << 6 | 5);
        let mut reader = ChunkReader::new(3073, ChunkLimits::STRANGER);
        let error = read_all(&mut reader, &input).unwrap_err();
        let kind = ChunkErrorKind::NoHistory { format };
        assert_eq!(error, ChunkError { position, chunk_stream_id: ChunkStreamId(5), kind });
        assert!(error.to_string().starts_with(&format!("chunk stream 5, chunk at byte {position}: ")));
    }
}

#[test]
fn a_recorded_session_reads_alike_in_every_split() {
    let input = [recording::publish_commands(), recording::publish_media()].concat();
    let messages = read_in_every_split(&input).unwrap();
    assert_eq!(messages.len(), 22);
}

fn image(kind: MediaKind, timestamp: u32, payload: &[u8]) -> (MediaChunks, Vec<u8>) {
    let chunks = MediaChunks::new(kind, timestamp, Bytes::copy_from_slice(payload)).unwrap();
    let bytes = chunks.slices().collect::<Vec<_>>().concat();
    (chunks, bytes)
}

#[test]
fn the_writers_agree_and_the_reader_reads_them() {
    let size = OUTBOUND_CHUNK_SIZE as usize;
    for length in [0, 1, size - 1, size, size + 1, 2 * size, 2 * size + 1, 3 * size + 7] {
        for timestamp in [0, 0xFF_FFFE, 0xFF_FFFF, 0x0100_0000, u32::MAX] {
            let payload = pattern(length);
            let (chunks, bytes) = image(MediaKind::Video, timestamp, &payload);
            let head = MessageHead {
                chunk_stream_id: ChunkStreamId::VIDEO,
                message_stream_id: MessageStreamId::FIRST,
                type_id: 9,
                timestamp,
            };
            let mut ordinary = BytesMut::new();
            write_message(&mut ordinary, OUTBOUND_CHUNK_SIZE, &head, &payload).unwrap();
            assert!(bytes == ordinary, "length {length} timestamp {timestamp:#x}");
            ordinary.clear();
            write_media(&mut ordinary, MediaKind::Video, timestamp, &payload).unwrap();
            assert!(bytes == ordinary, "length {length} timestamp {timestamp:#x}, copied");
            assert_eq!(chunks.wire_bytes(), bytes.len());
            assert!(chunks.slices().all(|slice| !slice.is_empty()));

            let mut reader = reader();
            let mut input = Vec::new();
            message(&mut input, 128, 2, 1, 0, &OUTBOUND_CHUNK_SIZE.to_be_bytes());
            read_all(&mut reader, &input).unwrap();
            let messages = read_all(&mut reader, &bytes).unwrap();
            assert_eq!(messages.len(), 1);
            assert_eq!(messages[0].timestamp, timestamp);
            assert!(messages[0].payload == payload);
        }
    }
}

#[test]
fn a_partial_write_goes_on_at_any_byte() {
    let (chunks, bytes) = image(MediaKind::Audio, 0x0100_0000, &pattern(125_000));
    for written in [0, 1, 15, 16, 17, 60_015, 60_016, 60_017, 60_021, 60_022, 125_000, bytes.len()] {
        let rest = chunks.slices_from(written).collect::<Vec<_>>().concat();
        assert!(rest == bytes[written..], "after {written}");
    }
    assert_eq!(chunks.slices_from(bytes.len() + 1).count(), 0);
}

#[test]
fn another_time_or_stream_rebuilds_headers_and_shares_the_payload() {
    let (chunks, _) = image(MediaKind::Data, 5, b"\x02\x00\x01x");
    let later = chunks.with_timestamp(0x0100_0005);
    assert_eq!(later, image(MediaKind::Data, 0x0100_0005, b"\x02\x00\x01x").0);
    assert_eq!(later.payload().as_ptr(), chunks.payload().as_ptr());
    let bytes = chunks.with_stream(MessageStreamId(3)).slices().collect::<Vec<_>>().concat();
    let messages = read_all(&mut reader(), &bytes).unwrap();
    assert_eq!(messages[0].message_stream_id, MessageStreamId(3));
    assert_eq!((chunks.kind(), chunks.timestamp()), (MediaKind::Data, 5));
}

#[test]
fn the_writer_knows_every_form_of_chunk_stream_id() {
    for csid in [2, 63, 64, 319, 320, 65_599] {
        let head = MessageHead {
            chunk_stream_id: ChunkStreamId::new(csid).unwrap(),
            message_stream_id: MessageStreamId(7),
            type_id: 8,
            timestamp: 0x0100_0000,
        };
        let mut out = BytesMut::new();
        write_message(&mut out, 128, &head, &pattern(300)).unwrap();
        let messages = read_in_every_split(&out).unwrap();
        assert_eq!(messages[0].chunk_stream_id.get(), csid);
        assert_eq!(messages[0].payload, pattern(300));
    }
    assert_eq!(ChunkStreamId::new(1), None);
    assert_eq!(ChunkStreamId::new(65_600), None);
}

#[test]
fn a_payload_that_the_length_field_cannot_declare_is_refused() {
    let length = MESSAGE_LENGTH_MAX as usize + 1;
    let too_long = MediaChunks::new(MediaKind::Video, 0, Bytes::from(vec![0; length]));
    assert_eq!(too_long.unwrap_err(), MessageTooLong { length });
}
