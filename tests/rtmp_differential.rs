//! Our chunk layer and server session against rml_rtmp's, which were written by other people.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rml_rtmp::chunk_io::{ChunkDeserializer, ChunkSerializer};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::messages::{MessagePayload, RtmpMessage};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
    ServerSession as RmlServer, ServerSessionConfig, ServerSessionEvent, ServerSessionResult, StreamMetadata,
};
use rml_rtmp::time::RtmpTimestamp;
use tidegate::rtmp::handshake::{HandshakeProgress, ServerHandshake};
use tidegate::rtmp::proto::chunk::{
    ChunkLimits, ChunkReader, ChunkStreamId, MediaChunks, MessageHead, OUTBOUND_CHUNK_SIZE, write_message,
};
use tidegate::rtmp::proto::client::{
    ClientEvent, ClientOutput, ClientRequest, ClientSession as OurClient, Purpose,
};
use tidegate::rtmp::proto::server::{MediaMessage, Output, ServerSession, SessionEvent};
use tidegate::rtmp::proto::{MediaKind, MessageStreamId};

/// A message that both sides can carry: rml's serializer drops empty ones.
#[derive(Debug, Clone)]
struct Plain {
    type_id: u8,
    stream: u32,
    timestamp: u32,
    payload: Vec<u8>,
}

fn timestamp() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..2000_u32,
        0xFF_FFF0..0x100_0010_u32,
        0xFFFF_FF00..=u32::MAX,
        any::<u32>(),
        Just(0xFF_FFFF_u32),
    ]
}

fn plain() -> impl Strategy<Value = Plain> {
    let type_id = prop_oneof![Just(8_u8), Just(9), Just(18), Just(20)];
    let length = prop_oneof![1..20_usize, 120..140_usize, 1..2000_usize];
    (type_id, 0..3_u32, timestamp(), length, any::<u8>()).prop_map(
        |(type_id, stream, timestamp, length, seed)| {
            let payload = (0..length).map(|n| seed.wrapping_add(u8::try_from(n % 251).unwrap())).collect();
            Plain { type_id, stream, timestamp, payload }
        },
    )
}

/// Cuts `bytes` into pieces of these lengths, over and over.
fn cut<'a>(mut bytes: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    lengths.iter().cycle().map_while(move |length| {
        let (piece, rest) = bytes.split_at((*length).min(bytes.len()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

fn rml_payload(message: &Plain) -> MessagePayload {
    MessagePayload {
        timestamp: RtmpTimestamp::new(message.timestamp),
        type_id: message.type_id,
        message_stream_id: message.stream,
        data: Bytes::copy_from_slice(&message.payload),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// rml's serializer compresses headers with types 1, 2 and 3 and repeats extended timestamps. Chunk sizes start
    /// at 4 because it cuts its own SetChunkSize message wrongly below.
    #[test]
    fn our_reader_reads_what_rml_writes(
        messages in prop::collection::vec((plain(), prop::option::weighted(0.1, 4..5000_u32)), 1..30),
        cuts in prop::collection::vec(1..600_usize, 1..5),
    ) {
        let mut serializer = ChunkSerializer::new();
        let mut wire = Vec::new();
        let mut expected = Vec::new();
        for (message, chunk_size) in &messages {
            if let Some(size) = chunk_size {
                wire.extend(serializer.set_max_chunk_size(*size, RtmpTimestamp::new(0)).unwrap().bytes);
                expected.push((1, 0, 0, size.to_be_bytes().to_vec()));
            }
            wire.extend(serializer.serialize(&rml_payload(message), false, false).unwrap().bytes);
            expected.push((message.type_id, message.stream, message.timestamp, message.payload.clone()));
        }
        let mut reader = ChunkReader::new(0, ChunkLimits::STRANGER);
        let mut read = Vec::new();
        for mut piece in cut(&wire, &cuts) {
            while let Some(message) = reader.next_message(&mut piece).unwrap() {
                let stream = message.message_stream_id.0;
                read.push((message.type_id, stream, message.timestamp, message.payload.to_vec()));
            }
        }
        prop_assert_eq!(read, expected);
        prop_assert_eq!(reader.partial_bytes(), 0);
    }

    #[test]
    fn rml_reads_what_our_ordinary_writer_writes(
        messages in prop::collection::vec(plain(), 1..30),
        chunk_size in 1..3000_u32,
        cuts in prop::collection::vec(1..600_usize, 1..5),
    ) {
        let mut wire = BytesMut::new();
        for message in &messages {
            let head = MessageHead {
                chunk_stream_id: ChunkStreamId::new(u32::from(message.type_id)).unwrap(),
                message_stream_id: MessageStreamId(message.stream),
                type_id: message.type_id,
                timestamp: message.timestamp,
            };
            write_message(&mut wire, chunk_size, &head, &message.payload).unwrap();
        }
        let read = read_by_rml(&wire, chunk_size as usize, &cuts);
        prop_assert_eq!(read, messages.iter().map(rml_payload).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rml_reads_the_shared_image(
        messages in prop::collection::vec((0..3_usize, timestamp(), timestamp(), 1..130_000_usize), 1..4),
        cuts in prop::collection::vec(1..70_000_usize, 1..5),
    ) {
        let mut wire = Vec::new();
        let mut expected = Vec::new();
        for (kind, timestamp, later, length) in messages {
            let (kind, type_id) = [(MediaKind::Audio, 8), (MediaKind::Video, 9), (MediaKind::Data, 18)][kind];
            let payload = vec![type_id; length];
            let image = MediaChunks::new(kind, timestamp, payload.clone().into()).unwrap();
            for (image, timestamp) in [(image.clone(), timestamp), (image.with_timestamp(later), later)] {
                image.slices().for_each(|slice| wire.extend_from_slice(slice));
                let plain = Plain { type_id, stream: 1, timestamp, payload: payload.clone() };
                expected.push(rml_payload(&plain));
            }
        }
        let read = read_by_rml(&wire, OUTBOUND_CHUNK_SIZE as usize, &cuts);
        prop_assert!(read == expected);
    }
}

fn read_by_rml(wire: &[u8], chunk_size: usize, cuts: &[usize]) -> Vec<MessagePayload> {
    let mut deserializer = ChunkDeserializer::new();
    deserializer.set_max_chunk_size(chunk_size).unwrap();
    let mut read = Vec::new();
    for mut piece in cut(wire, cuts) {
        while let Some(message) = deserializer.get_next_message(piece).unwrap() {
            read.push(message);
            piece = &[];
        }
    }
    read
}

/// rml's client and our server, joined in memory, in a given piece size.
struct Pair {
    client: ClientSession,
    server: ServerSession,
    piece: usize,
    client_events: Vec<ClientSessionEvent>,
    server_events: Vec<SessionEvent>,
    media: Vec<MediaMessage>,
}

impl Pair {
    /// Shakes hands and connects.
    fn connected(piece: usize) -> Self {
        let server = shake_hands(piece);
        let mut config = ClientSessionConfig::new();
        config.tc_url = Some("rtmp://host/live?t=token".to_owned());
        let (client, first) = ClientSession::new(config).unwrap();
        let (client_events, server_events, media) = Default::default();
        let mut pair = Self { client, server, piece, client_events, server_events, media };
        pair.run(first);
        let request = pair.client.request_connection("live".to_owned()).unwrap();
        pair.run(vec![request]);
        assert_eq!(pair.client_events, [ClientSessionEvent::ConnectionRequestAccepted]);
        let [SessionEvent::Connected(connect)] = &pair.server_events[..] else { panic!("not connected") };
        assert_eq!(connect.app.as_str(), "live");
        assert_eq!(connect.tc_url.as_str(), "rtmp://host/live?t=token");
        pair.client_events.clear();
        pair.server_events.clear();
        pair
    }

    /// Carries the client's output to the server and back until both are silent. Everybody is admitted.
    fn run(&mut self, mut results: Vec<ClientSessionResult>) {
        loop {
            let mut to_server = Vec::new();
            for result in results.drain(..) {
                match result {
                    ClientSessionResult::OutboundResponse(packet) => to_server.extend(packet.bytes),
                    ClientSessionResult::RaisedEvent(event) => self.client_events.push(event),
                    // SetPeerBandwidth, which rml's client leaves to its user.
                    ClientSessionResult::UnhandleableMessageReceived(message) => {
                        assert_eq!(message.type_id, 6);
                    }
                }
            }
            let mut to_client = Vec::new();
            for piece in to_server.chunks(self.piece) {
                self.server.handle_input(piece).unwrap();
                self.drain(&mut to_client);
            }
            self.drain(&mut to_client);
            if to_client.is_empty() {
                return;
            }
            for piece in to_client.chunks(self.piece) {
                results.extend(self.client.handle_input(piece).unwrap());
            }
        }
    }

    fn drain(&mut self, to_client: &mut Vec<u8>) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send(bytes) => to_client.extend(bytes),
                Output::Event(SessionEvent::Media(media)) => self.media.push(media),
                Output::Event(event) => {
                    match &event {
                        SessionEvent::PublishRequested { stream, .. } => {
                            self.server.accept_publish(*stream).unwrap();
                        }
                        SessionEvent::PlayRequested { stream, .. } => {
                            self.server.accept_play(*stream).unwrap();
                        }
                        _ => {}
                    }
                    self.server_events.push(event);
                }
            }
        }
    }
}

/// rml's digest handshake as a client against ours; returns the session that follows.
fn shake_hands(piece: usize) -> ServerSession {
    let mut client = Handshake::new(PeerType::Client);
    let mut server = ServerHandshake::new();
    let mut to_server = client.generate_outbound_p0_and_p1().unwrap();
    loop {
        let mut to_client = Vec::new();
        for piece in to_server.chunks(piece) {
            match server.handle_input(piece).unwrap() {
                HandshakeProgress::InProgress { output } => to_client.extend(output),
                HandshakeProgress::Done { output, remainder } => {
                    assert!(output.is_empty() && remainder.is_empty());
                    return ServerSession::new();
                }
            }
        }
        to_server = match client.process_bytes(&to_client).unwrap() {
            HandshakeProcessResult::InProgress { response_bytes } => response_bytes,
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                assert!(remaining_bytes.is_empty());
                response_bytes
            }
        };
    }
}

#[test]
fn rml_client_publishes() {
    for piece in [1, 7, 1460, 65_536] {
        let mut pair = Pair::connected(piece);
        let name = "RTC1__Of_MS_1?t=token";
        let publish = pair.client.request_publishing(name.to_owned(), PublishRequestType::Live).unwrap();
        pair.run(vec![publish]);
        assert_eq!(pair.client_events.last(), Some(&ClientSessionEvent::PublishRequestAccepted));
        let Some(SessionEvent::PublishRequested { name: asked, .. }) = pair.server_events.first() else {
            panic!("no request")
        };
        assert_eq!(asked.as_str(), name);

        let mut metadata = StreamMetadata::new();
        metadata.video_width = Some(360);
        let packet = pair.client.publish_metadata(&metadata).unwrap();
        pair.run(vec![packet]);
        let mut expected = Vec::new();
        for n in 0..50_u32 {
            let timestamp = 0xFF_FFF0 + n * 5;
            let data = Bytes::from(vec![u8::try_from(n).unwrap(); 1 + 331 * n as usize]);
            let at = RtmpTimestamp::new(timestamp);
            let (kind, packet) = if n % 2 == 0 {
                (MediaKind::Video, pair.client.publish_video_data(data.clone(), at, false).unwrap())
            } else {
                (MediaKind::Audio, pair.client.publish_audio_data(data.clone(), at, true).unwrap())
            };
            pair.run(vec![packet]);
            expected.push(MediaMessage { stream: MessageStreamId::FIRST, kind, timestamp, payload: data });
        }
        let metadata = pair.media.remove(0);
        assert_eq!(metadata.kind, MediaKind::Data);
        assert!(metadata.payload.starts_with(b"\x02\x00\x0AonMetaData\x03"));
        assert!(pair.media == expected, "piece {piece}");

        let stop = pair.client.stop_publishing().unwrap();
        pair.run(stop);
        let ended = SessionEvent::PublishEnded { stream: MessageStreamId::FIRST };
        assert_eq!(pair.server_events.last(), Some(&ended));
    }
}

#[test]
fn rml_client_plays() {
    for piece in [1, 7, 1460, 65_536] {
        let mut pair = Pair::connected(piece);
        let play = pair.client.request_playback("RTC1__Of_MS_1?t=token".to_owned()).unwrap();
        pair.run(vec![play]);
        assert_eq!(pair.client_events.last(), Some(&ClientSessionEvent::PlaybackRequestAccepted));
        pair.client_events.clear();

        let mut wire = Vec::new();
        let mut expected = Vec::new();
        for (kind, timestamp, length) in [
            (MediaKind::Video, 0, 5),
            (MediaKind::Audio, 10, 7),
            (MediaKind::Video, 0x0100_0000, 130_000),
            (MediaKind::Audio, 0x0100_0001, 300),
        ] {
            let data = Bytes::from(vec![9; length]);
            let image = MediaChunks::new(kind, timestamp, data.clone()).unwrap();
            image.slices().for_each(|slice| wire.extend_from_slice(slice));
            let timestamp = RtmpTimestamp::new(timestamp);
            expected.push(match kind {
                MediaKind::Audio => ClientSessionEvent::AudioDataReceived { timestamp, data },
                _ => ClientSessionEvent::VideoDataReceived { timestamp, data },
            });
        }
        for part in wire.chunks(piece) {
            let results = pair.client.handle_input(part).unwrap();
            pair.run(results);
        }
        assert!(pair.client_events == expected, "piece {piece}");

        pair.server.end_play(MessageStreamId::FIRST).unwrap();
        let mut to_client = Vec::new();
        pair.drain(&mut to_client);
        let results = pair.client.handle_input(&to_client).unwrap();
        pair.run(results);
        let code = "NetStream.Play.UnpublishNotify".to_owned();
        assert_eq!(pair.client_events.last(), Some(&ClientSessionEvent::UnhandleableOnStatusCode { code }));
    }
}

#[test]
fn rml_client_is_told_why_it_is_refused() {
    let mut pair = Pair::connected(1460);
    let play = pair.client.request_playback("s".to_owned()).unwrap();
    pair.run(vec![play]);
    pair.server.revoke(MessageStreamId::FIRST, "member_gone").unwrap();
    let mut to_client = Vec::new();
    pair.drain(&mut to_client);
    let mut deserializer = ChunkDeserializer::new();
    deserializer.set_max_chunk_size(OUTBOUND_CHUNK_SIZE as usize).unwrap();
    let payload = deserializer.get_next_message(&to_client).unwrap().unwrap();
    let RtmpMessage::Amf0Command { command_name, additional_arguments, .. } =
        payload.to_rtmp_message().unwrap()
    else {
        panic!("no command")
    };
    assert_eq!(command_name, "onStatus");
    let text = format!("{additional_arguments:?}");
    for part in ["NetStream.Play.Failed", "error", "member_gone"] {
        assert!(text.contains(part), "{text}");
    }
}

/// Our client against rml's server, which admits everybody.
struct Asking {
    client: OurClient,
    server: RmlServer,
    to_client: Vec<u8>,
    server_events: Vec<ServerSessionEvent>,
    client_events: Vec<ClientEvent>,
}

impl Asking {
    fn new(purpose: Purpose) -> Self {
        let client = OurClient::new(ClientRequest {
            app: "live".into(),
            tc_url: "rtmp://far/live".into(),
            name: "key?sign=x".into(),
            purpose,
        });
        let (server, results) = RmlServer::new(ServerSessionConfig::new()).unwrap();
        let (to_client, server_events, client_events) = Default::default();
        let mut asking = Self { client, server, to_client, server_events, client_events };
        asking.take(results);
        asking.settle();
        asking
    }

    fn take(&mut self, results: Vec<ServerSessionResult>) {
        for result in results {
            match result {
                ServerSessionResult::OutboundResponse(packet) => self.to_client.extend(packet.bytes),
                ServerSessionResult::RaisedEvent(event) => {
                    if let ServerSessionEvent::ConnectionRequested { request_id, .. }
                    | ServerSessionEvent::PublishStreamRequested { request_id, .. }
                    | ServerSessionEvent::PlayStreamRequested { request_id, .. } = &event
                    {
                        let accepted = self.server.accept_request(*request_id).unwrap();
                        self.take(accepted);
                    }
                    self.server_events.push(event);
                }
                ServerSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
    }

    fn settle(&mut self) {
        loop {
            let from_server = std::mem::take(&mut self.to_client);
            self.client.handle_input(&from_server).unwrap();
            let mut sent = Vec::new();
            while let Some(output) = self.client.poll_output() {
                match output {
                    ClientOutput::Send(bytes) => sent.extend(bytes),
                    ClientOutput::Event(event) => self.client_events.push(event),
                }
            }
            if sent.is_empty() && from_server.is_empty() {
                return;
            }
            let results = self.server.handle_input(&sent).unwrap();
            self.take(results);
        }
    }
}

#[test]
fn our_client_publishes_to_an_rml_server() {
    let mut asking = Asking::new(Purpose::Publish);
    assert_eq!(asking.client_events, [ClientEvent::Ready { stream: MessageStreamId::FIRST }]);
    let asked = asking.server_events.iter().find_map(|event| match event {
        ServerSessionEvent::PublishStreamRequested { app_name, stream_key, .. } => {
            Some((app_name.as_str(), stream_key.as_str()))
        }
        _ => None,
    });
    assert_eq!(asked, Some(("live", "key?sign=x")));
    let payload = Bytes::from(vec![0x17; 130_000]);
    let image = MediaChunks::new(MediaKind::Video, 0x0100_0000, payload.clone()).unwrap();
    for slice in image.slices() {
        let results = asking.server.handle_input(slice).unwrap();
        asking.take(results);
    }
    let Some(ServerSessionEvent::VideoDataReceived { data, timestamp, .. }) = asking.server_events.last()
    else {
        panic!("no video: {:?}", asking.server_events)
    };
    assert_eq!((data, timestamp.value), (&payload, 0x0100_0000));
    asking.client.finish();
    asking.settle();
    let ended = asking
        .server_events
        .iter()
        .any(|event| matches!(event, ServerSessionEvent::PublishStreamFinished { .. }));
    assert!(ended, "{:?}", asking.server_events);
}

#[test]
fn our_client_plays_from_an_rml_server() {
    let mut asking = Asking::new(Purpose::Play);
    assert_eq!(asking.client_events, [ClientEvent::Ready { stream: MessageStreamId::FIRST }]);
    for (timestamp, length) in [(0, 5), (40, 70_000), (0x0100_0000, 300)] {
        let payload = Bytes::from(vec![0x27; length]);
        let packet =
            asking.server.send_video_data(1, payload.clone(), RtmpTimestamp::new(timestamp), false).unwrap();
        asking.to_client.extend(packet.bytes);
        asking.settle();
        let (stream, kind) = (MessageStreamId::FIRST, MediaKind::Video);
        let seen = ClientEvent::Media(MediaMessage { stream, kind, timestamp, payload });
        assert!(asking.client_events.last() == Some(&seen), "{timestamp}");
    }
}
