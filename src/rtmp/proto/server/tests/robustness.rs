use super::*;

/// What a peer hears and what is reported, all sends joined.
fn transcript(segments: &[Vec<u8>], cut: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> (Vec<u8>, Vec<SessionEvent>) {
    let mut peer = Peer::new();
    for segment in segments {
        for piece in cut(segment) {
            peer.input(&piece).unwrap();
        }
    }
    (peer.sends.concat(), peer.events)
}

#[test]
fn acknowledgements_carry_the_total_at_half_the_window() {
    let mut peer = Peer::publishing();
    let audio = vec![1; 60_000];
    let mut sent = 0;
    while peer.heard.is_empty() {
        peer.say(8, 1, &audio);
        sent += 1;
        assert!(sent < 40, "no acknowledgement");
    }
    let total = peer.session.reader.position();
    assert_eq!(peer.types_heard(), [3]);
    assert_eq!(peer.heard[0].payload, u32::try_from(total).unwrap().to_be_bytes().to_vec());
    assert!((1_250_000..1_250_000 + 70_000).contains(&(total - HANDSHAKE_BYTES)));

    peer.forget();
    peer.say(5, 0, &1000_u32.to_be_bytes());
    peer.say(8, 1, &[1; 600]);
    assert_eq!(peer.types_heard(), [3], "the peer's own window counts");
}

#[test]
fn windows_of_zero_one_and_all_ones_do_no_harm() {
    for (size, acknowledged) in [(0, 0), (1, 5), (u32::MAX, 0)] {
        let mut peer = Peer::publishing();
        peer.say(5, 0, &size.to_be_bytes());
        for _ in 0..4 {
            peer.say(8, 1, &[1]);
        }
        assert_eq!(peer.heard.len(), acknowledged, "window {size}");
    }
}

#[test]
fn the_total_received_wraps_at_32_bits() {
    let mut session = ServerSession::new();
    session.reader = ChunkReader::new(0xFFFF_FFFF, ChunkLimits::STRANGER);
    let mut input = Vec::new();
    message(&mut input, 128, 2, 3, 0, &[0; 4]);
    session.handle_input(&input).unwrap();
    let Some(Output::Send(bytes)) = session.poll_output() else { panic!("no acknowledgement") };
    assert_eq!(bytes[12..], (u32::try_from(input.len()).unwrap() - 1).to_be_bytes());
}

#[test]
fn pings_are_answered() {
    let mut peer = Peer::new();
    peer.say(4, 0, &[0, 6, 1, 2, 3, 4]);
    assert_eq!(peer.heard[0].payload, vec![0, 7, 1, 2, 3, 4]);
    for body in [&[][..], &[0], &[0, 6], &[0, 31], &[0, 99, 1, 2, 3, 4], &[0, 7, 0, 0, 0, 1]] {
        peer.forget();
        peer.say(4, 0, body);
        assert_eq!(peer.heard, []);
    }
}

#[test]
fn a_storm_of_commands_ends_the_session_before_admission_only() {
    for call in ["connect", "createStream", "releaseStream", "FCPublish", "nothing"] {
        let mut peer = Peer::new();
        let mut input = Vec::new();
        message(&mut input, 128, 3, 20, 0, &command(call, 1.0, &[connect_object()]));
        let accepted = (0..1000).take_while(|_| peer.input(&input).is_ok()).count();
        assert_eq!(accepted, COMMANDS_BEFORE_ADMISSION_MAX as usize, "{call}");
        assert_eq!(peer.input(&[]), Err(ProtocolError::Ended));
        assert!(peer.session.streams.len() <= STREAMS_MAX);
    }
    let mut peer = Peer::playing();
    for _ in 0..1000 {
        peer.call(0, "createStream", 1.0, &[Value::Null]);
        peer.call(0, "deleteStream", 1.0, &[Value::Null, Value::Number(2.0)]);
    }
    assert!(peer.session.streams.len() <= STREAMS_MAX);
}

#[test]
fn a_storm_of_other_messages_ends_the_session_before_admission() {
    let mut peer = Peer::connected();
    let mut input = Vec::new();
    message(&mut input, 128, 2, 4, 0, &[0, 6, 0, 0, 0, 0]);
    let error = (0..=MESSAGES_BEFORE_ADMISSION_MAX).find_map(|_| peer.input(&input).err());
    assert!(matches!(error, Some(ProtocolError::TooManyMessages { .. })), "{error:?}");
}

#[test]
fn bytes_without_end_end_the_session_before_admission_only() {
    let mut input = Vec::new();
    message(&mut input, 128, 4, 9, 1, &[0; 60_000]);
    let mut peer = Peer::connected();
    let taken = (0..100).take_while(|_| peer.input(&input).is_ok()).count() as u64;
    let bytes = taken * input.len() as u64;
    let least = BYTES_BEFORE_ADMISSION_MAX - 2 * input.len() as u64;
    assert!((least..=BYTES_BEFORE_ADMISSION_MAX).contains(&bytes), "{bytes}");
    let mut peer = Peer::publishing();
    assert!((0..100).all(|_| peer.input(&input).is_ok()), "a publisher sends as much as it likes");
    // What it sends after its stream has ended counts from then on.
    peer.call(0, "deleteStream", 5.0, &[Value::Null, Value::Number(1.0)]);
    let error = (0..100).find_map(|_| peer.input(&input).err());
    assert!(matches!(error, Some(ProtocolError::TooManyBytes { .. })), "{error:?}");
    assert_eq!(error.and_then(|error| error.limit()), Some("bytes_before_admission_max"));
}

#[test]
fn a_player_may_hold_no_more_unfinished_than_a_stranger() {
    let mut begun = Vec::new();
    Chunk { format: 0, csid: 6, time: 0, length: 8_000_000, type_id: 9, stream: 1, piece: &[] }
        .write(&mut begun);
    for (mut peer, may_hold) in [(Peer::playing(), false), (Peer::publishing(), true)] {
        peer.say(1, 0, &0x7FFF_FFFF_u32.to_be_bytes());
        peer.input(&begun).unwrap();
        let max = ChunkLimits::STRANGER.partial_bytes_max;
        let holds = (0..=max / 10_000).all(|_| peer.input(&[0; 10_000]).is_ok());
        assert_eq!(holds, may_hold);
    }
}

#[test]
fn what_waits_for_the_driver_is_bounded() {
    let mut peer = Peer::publishing();
    let mut input = Vec::new();
    message(&mut input, 128, 4, 8, 1, &[1]);
    for _ in 0..QUEUED_EVENTS_MAX + 10 {
        recording::type3(&mut input, 4, None, &[1]);
    }
    let overflow = peer.session.handle_input(&input);
    assert!(matches!(overflow, Err(ProtocolError::OutputOverflow { .. })));
    assert!(peer.session.events.len() <= QUEUED_EVENTS_MAX + 1);

    let mut peer = Peer::publishing();
    let mut input = Vec::new();
    message(&mut input, 128, 2, 4, 0, &[0, 6, 0, 0, 0, 0]);
    while input.len() < INPUT_BYTES_MAX {
        recording::type3(&mut input, 2, None, &[0, 6, 0, 0, 0, 0]);
    }
    peer.input(&input[..INPUT_BYTES_MAX]).unwrap();
    assert_eq!(peer.sends.len(), 1, "an input full of pings is answered at once");
    let flood = input.repeat(3);
    let overflow = peer.session.handle_input(&flood);
    assert!(overflow.is_err());
    let said = peer.session.speech.take().unwrap();
    assert!(said.len() <= QUEUED_BYTES_MAX + 100);
}

#[test]
fn a_broken_chunk_ends_the_session_and_names_the_byte() {
    let mut peer = Peer::connected();
    let position = peer.session.reader.position();
    assert!(position > HANDSHAKE_BYTES);
    let error = peer.input(&[0xC9]).unwrap_err();
    let ProtocolError::Chunk(chunk) = &error else { panic!("{error}") };
    assert_eq!((chunk.position, chunk.chunk_stream_id.get()), (position, 9));
    assert_eq!(chunk.kind, ChunkErrorKind::NoHistory { format: 3 });
    assert_eq!(peer.input(&[1, 2, 3]), Err(ProtocolError::Ended));
}

/// Every input that made rml_rtmp 0.8.0 panic, abort or grow.
#[test]
fn the_known_crash_inputs_are_harmless() {
    let name = |text: &str| values(&[text.into()]);
    let deep_strict = [0x0A, 0, 0, 0, 1].repeat(12_000);
    let deep_object = [0x03, 0, 1, b'k'].repeat(12_000);
    let bodies = [
        deep_strict.clone(),
        deep_object.clone(),
        [name("connect"), deep_strict].concat(),
        [name("connect"), values(&[Value::Number(1.0)]), deep_object].concat(),
        name("@setDataFrame"),
        values(&["@setDataFrame".into(), "onMetaData".into()]),
        Vec::new(),
        name("connect"),
        values(&["connect".into(), Value::Number(1.0)]),
        vec![2, 0, 7, 0xFF, 0xFE, 0xFD, 0, 0, 0, 0],
        vec![0x0B, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        vec![0x0C, 0xFF, 0xFF, 0xFF, 0xFF],
        vec![0x07, 0, 0],
        vec![0x11, 1],
        vec![0x0A, 0xFF, 0xFF, 0xFF, 0xFF],
    ];
    for body in &bodies {
        for type_id in [15, 17, 18, 20, 22] {
            for mut peer in [Peer::new(), Peer::connected(), Peer::publishing(), Peer::playing()] {
                for stream in [0, 1] {
                    let mut input = Vec::new();
                    message(&mut input, 128, 3, type_id, stream, body);
                    // Only an aggregate of too many messages ends the session; the rest is nothing at all.
                    assert!(peer.input(&input).is_ok() || type_id == 22);
                }
                assert!(peer.media().len() <= 2);
                assert_eq!(peer.session.partial_bytes(), 0);
            }
        }
    }
}

#[test]
fn a_large_message_dripped_under_a_huge_chunk_size_stays_within_the_limit() {
    let mut peer = Peer::connected();
    peer.say(1, 0, &0x7FFF_FFFF_u32.to_be_bytes());
    let mut input = Vec::new();
    Chunk { format: 0, csid: 6, time: 0, length: 8_000_000, type_id: 9, stream: 1, piece: &[] }
        .write(&mut input);
    peer.input(&input).unwrap();
    let max = ChunkLimits::STRANGER.partial_bytes_max;
    let mut taken = 0;
    while peer.input(&[0; 10_000]).is_ok() {
        taken += 10_000;
        assert!(peer.session.partial_bytes() <= max && taken <= max);
    }
    assert!(taken + 10_000 > max);
}

#[test]
fn recorded_sessions_go_alike_in_every_split() {
    let publisher = [recording::publish_commands(), recording::publish_media()];
    let player = [recording::play_commands(), recording::play_controls()];
    for segments in [publisher, player] {
        let whole = transcript(&segments, |segment| vec![segment.to_vec()]);
        let longest = segments.iter().map(Vec::len).max().unwrap();
        for at in 0..longest {
            let split = transcript(&segments, |segment| {
                let (left, right) = segment.split_at(at.min(segment.len()));
                vec![left.to_vec(), right.to_vec()]
            });
            assert!(split == whole, "split at {at}");
        }
        let bytewise = transcript(&segments, |segment| segment.iter().map(|byte| vec![*byte]).collect());
        assert!(bytewise == whole, "byte by byte");
    }
}

#[test]
fn a_recording_cut_at_every_byte_ends_quietly() {
    let input = [recording::publish_commands(), recording::publish_media()].concat();
    for length in 0..input.len() {
        let mut peer = Peer::new();
        for piece in input[..length].chunks(700) {
            peer.input(piece).unwrap();
        }
        assert!(peer.session.partial_bytes() <= length);
    }
}

#[test]
fn every_flipped_bit_is_survived() {
    let recordings = [
        [recording::publish_commands(), recording::publish_media()].concat(),
        [recording::play_commands(), recording::play_controls()].concat(),
    ];
    for recorded in recordings {
        for bit in 0..8 * recorded.len().min(4096) {
            let mut input = recorded.clone();
            input[bit / 8] ^= 1 << (bit % 8);
            let mut peer = Peer::new();
            for piece in input.chunks(700) {
                if peer.input(piece).is_err() {
                    break;
                }
                assert!(peer.session.partial_bytes() <= input.len());
            }
        }
    }
}
