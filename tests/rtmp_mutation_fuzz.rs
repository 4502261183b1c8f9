//! Mutated recordings against chunk reader, AMF0 reader and session: no input may panic or make them hold more than
//! it brought.
//!
//! Every run is the same: `TIDEGATE_FUZZ_SEED` chooses another one, `TIDEGATE_FUZZ_ITERATIONS` a longer one. A
//! failure prints seed, iteration and input.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/mutation.rs"]
mod mutation;

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mutation::Random;
use tidegate::rtmp::proto::amf0::{DEPTH_MAX, Reader, VALUES_MAX, Value, string_prefix, within_depth};
use tidegate::rtmp::proto::chunk::{ChunkLimits, ChunkReader, PARTIAL_MESSAGES_MAX, message_bytes_max};
use tidegate::rtmp::proto::client::{self, ClientError, ClientOutput, ClientRequest, ClientSession, Purpose};
use tidegate::rtmp::proto::message::Message;
use tidegate::rtmp::proto::server::{
    INPUT_BYTES_MAX, Output, ProtocolError, QUEUED_BYTES_MAX, QUEUED_EVENTS_MAX, ServerSession, SessionEvent,
};

const SESSIONS: [&[u8]; 2] = [
    include_bytes!("../fuzz/corpus/server_session/publish"),
    include_bytes!("../fuzz/corpus/server_session/play"),
];
/// What a server says to a publisher and to a player.
const ANSWERS: [&[u8]; 2] = [
    include_bytes!("../fuzz/corpus/client_session/publish"),
    include_bytes!("../fuzz/corpus/client_session/play"),
];
const BODIES: [&[u8]; 2] =
    [include_bytes!("../fuzz/corpus/amf0/connect"), include_bytes!("../fuzz/corpus/amf0/every_kind")];

/// About three seconds for each target in a debug build.
const ITERATIONS: u64 = 6_000;
const SEED: u64 = 0x7D1E_6A7E;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs `target` on mutations of `recordings`; a panic is reported with what is needed to repeat it.
fn fuzz(recordings: &[&[u8]], target: impl Fn(&[u8], &mut Random)) {
    let seed = setting("TIDEGATE_FUZZ_SEED", SEED);
    for iteration in 0..setting("TIDEGATE_FUZZ_ITERATIONS", ITERATIONS) {
        let mut random = Random::new(seed, iteration);
        let recorded = recordings[random.below(recordings.len())];
        let input = random.mutate(recorded, recordings, INPUT_BYTES_MAX);
        if catch_unwind(AssertUnwindSafe(|| target(&input, &mut random))).is_err() {
            let hex = input.iter().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            });
            panic!("TIDEGATE_FUZZ_SEED={seed}, iteration {iteration}, input {hex}");
        }
    }
}

/// Cuts `input` at random, mostly into large pieces.
fn pieces<'a>(input: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let longest = [1, 16, 512, 4096, INPUT_BYTES_MAX][random.below(5)];
    let mut pieces = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + random.below(longest)).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[test]
fn chunk_reader_holds_no_more_than_it_was_given() {
    fuzz(&SESSIONS, |input, random| {
        let limits = [ChunkLimits::STRANGER, ChunkLimits::ADMITTED][random.below(2)];
        let mut reader = ChunkReader::new(0, limits);
        let mut given = 0;
        let mut handed_out = 0;
        'input: for mut piece in pieces(input, random) {
            given += piece.len();
            loop {
                match reader.next_message(&mut piece) {
                    Ok(Some(message)) => {
                        assert!(message.payload.len() <= message_bytes_max(message.type_id) as usize);
                        handed_out += message.payload.len();
                        let _ = Message::parse(message.type_id, message.payload);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        assert!(error.position <= given as u64);
                        break 'input;
                    }
                }
            }
            assert!(piece.is_empty());
            assert!(reader.position() <= given as u64);
            assert!(handed_out + reader.partial_bytes() <= given);
            assert!(reader.partial_bytes() <= limits.partial_bytes_max);
            let ahead = PARTIAL_MESSAGES_MAX * limits.reserve_ahead_bytes_max;
            assert!(reader.partial_capacity_bytes() <= 2 * reader.partial_bytes() + ahead);
        }
    });
}

/// Values in a value, and how deep they nest.
fn count(value: &Value) -> (usize, usize) {
    let inner: Vec<&Value> = match value {
        Value::StrictArray(values) => values.iter().collect(),
        other => other.properties().iter().map(|(_, value)| value).collect(),
    };
    let is_container = matches!(
        value,
        Value::StrictArray(_) | Value::Object(_) | Value::EcmaArray(_) | Value::TypedObject { .. }
    );
    let (values, depth) =
        inner.into_iter().map(count).fold((1, 0), |(v, d), (values, depth)| (v + values, d.max(depth)));
    (values, depth + usize::from(is_container))
}

#[test]
fn amf0_reader_stays_within_its_limits() {
    fuzz(&BODIES, |input, _| {
        let mut reader = Reader::new(input);
        let mut values = 0;
        loop {
            match reader.next_value() {
                Ok(Some(value)) => {
                    let (count, depth) = count(&value);
                    values += count;
                    assert!(depth <= DEPTH_MAX);
                }
                Ok(None) => {
                    assert!(within_depth(input), "what can be read is not too deep");
                    break;
                }
                Err(error) => {
                    assert!(error.position <= input.len());
                    break;
                }
            }
        }
        assert!(values <= VALUES_MAX);
        if let Some((text, rest)) = string_prefix(input) {
            assert!(text.len() + rest.len() < input.len());
        }
    });
}

#[test]
fn server_session_answers_well_and_ends_quietly() {
    fuzz(&SESSIONS, |input, random| {
        let mut session = ServerSession::new();
        let mut viewer = ChunkReader::new(0, ChunkLimits::ADMITTED);
        let admit = random.below(4) > 0;
        let mut given = 0;
        for piece in pieces(input, random) {
            given += piece.len();
            let handled = session.handle_input(piece);
            let (mut events, mut sent) = (0, 0);
            while let Some(output) = session.poll_output() {
                match output {
                    Output::Send(bytes) => {
                        sent += bytes.len();
                        let mut rest = &bytes[..];
                        while viewer.next_message(&mut rest).expect("an answer is well formed").is_some() {}
                        assert_eq!(viewer.partial_bytes(), 0, "an answer is whole");
                    }
                    Output::Event(event) => {
                        events += 1;
                        decide(&mut session, &event, admit);
                    }
                }
            }
            assert!(events <= QUEUED_EVENTS_MAX + 600 && sent <= QUEUED_BYTES_MAX + 4096);
            assert!(session.partial_bytes() <= given);
            if handled.is_err() {
                assert_eq!(session.handle_input(&[]), Err(ProtocolError::Ended));
                break;
            }
        }
    });
}

#[test]
fn client_session_asks_well_and_ends_quietly() {
    fuzz(&ANSWERS, |input, random| {
        let purpose = [Purpose::Publish, Purpose::Play][random.below(2)];
        let (app, tc_url, name) = ("live".into(), "rtmp://far/live".into(), "key".into());
        let mut session = ClientSession::new(ClientRequest { app, tc_url, name, purpose });
        let mut server = ChunkReader::new(0, ChunkLimits::ADMITTED);
        let mut given = 0;
        for piece in pieces(input, random) {
            given += piece.len();
            let handled = session.handle_input(piece);
            let (mut events, mut sent) = (0, 0);
            while let Some(output) = session.poll_output() {
                match output {
                    ClientOutput::Send(bytes) => {
                        sent += bytes.len();
                        let mut rest = &bytes[..];
                        while server.next_message(&mut rest).expect("a request is well formed").is_some() {}
                        assert_eq!(server.partial_bytes(), 0, "a request is whole");
                    }
                    ClientOutput::Event(_) => events += 1,
                }
            }
            assert!(events <= client::QUEUED_EVENTS_MAX + 600 && sent <= client::QUEUED_BYTES_MAX + 4096);
            assert!(session.partial_bytes() <= given);
            if handled.is_err() {
                assert_eq!(session.handle_input(&[]), Err(ClientError::Ended));
                break;
            }
        }
        session.finish();
    });
}

/// Answers like an application; a request that the peer has given up meanwhile is refused by the session.
fn decide(session: &mut ServerSession, event: &SessionEvent, admit: bool) {
    let _ = match event {
        SessionEvent::PublishRequested { stream, .. } if admit => session.accept_publish(*stream),
        SessionEvent::PublishRequested { stream, .. } => session.refuse_publish(*stream, "not_allowed"),
        SessionEvent::PlayRequested { stream, .. } if admit => session.accept_play(*stream),
        SessionEvent::PlayRequested { stream, .. } => session.refuse_play(*stream, "not_allowed"),
        SessionEvent::PlayPaused { stream, .. } => session.end_play(*stream),
        SessionEvent::ReceiveAudio { stream, .. } => session.revoke(*stream, "member_gone"),
        _ => Ok(()),
    };
}
