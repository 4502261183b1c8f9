use super::*;
use crate::rtmp::proto::MediaKind;
use crate::rtmp::proto::chunk::MediaChunks;
use crate::rtmp::proto::recording;
use crate::rtmp::proto::server::{ConnectRequest, Output, ServerSession, SessionEvent};

fn request(purpose: Purpose) -> ClientRequest {
    ClientRequest {
        app: "live/inner".into(),
        tc_url: "rtmp://far:1935/live/inner".into(),
        name: "key?sign=x".into(),
        purpose,
    }
}

/// Our client and our server with bytes in between, cut into pieces.
struct Pair {
    client: ClientSession,
    server: ServerSession,
    piece: usize,
    asked: Vec<SessionEvent>,
    seen: Vec<ClientEvent>,
}

impl Pair {
    fn new(purpose: Purpose, piece: usize) -> Self {
        let client = ClientSession::new(request(purpose));
        let mut pair =
            Self { client, server: ServerSession::new(), piece, asked: Vec::new(), seen: Vec::new() };
        pair.settle();
        pair
    }

    /// Carries bytes until both have said all.
    fn settle(&mut self) {
        loop {
            let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
            while let Some(output) = self.client.poll_output() {
                match output {
                    ClientOutput::Send(bytes) => to_server.extend(bytes),
                    ClientOutput::Event(event) => self.seen.push(event),
                }
            }
            to_server.chunks(self.piece).for_each(|piece| self.server.handle_input(piece).unwrap());
            while let Some(output) = self.server.poll_output() {
                match output {
                    Output::Send(bytes) => to_client.extend(bytes),
                    Output::Event(event) => self.asked.push(event),
                }
            }
            to_client.chunks(self.piece).for_each(|piece| self.client.handle_input(piece).unwrap());
            if to_server.is_empty() && to_client.is_empty() {
                return;
            }
        }
    }

    /// Media from the server's side to the client.
    fn media(&mut self, chunks: &MediaChunks) {
        let wire: Vec<u8> = chunks.slices().flatten().copied().collect();
        wire.chunks(self.piece).for_each(|piece| self.client.handle_input(piece).unwrap());
        self.settle();
    }

    fn connected(&self) -> &ConnectRequest {
        match self.asked.first() {
            Some(SessionEvent::Connected(request)) => request,
            other => panic!("no connect: {other:?}"),
        }
    }
}

/// What a server says by itself, as a client reads it.
fn message(type_id: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    recording::message(&mut out, 128, 3, type_id, stream, body);
    out
}

fn on_status(level: &str, code: &str, description: &str) -> Vec<u8> {
    let information =
        object([("level", level.into()), ("code", code.into()), ("description", description.into())]);
    message(20, 1, &recording::command("onStatus", 0.0, &[Value::Null, information]))
}

fn events(client: &mut ClientSession) -> Vec<ClientEvent> {
    std::iter::from_fn(|| client.poll_output())
        .filter_map(|output| match output {
            ClientOutput::Event(event) => Some(event),
            ClientOutput::Send(_) => None,
        })
        .collect()
}

/// A client that has asked and waits for its answer.
fn asking(purpose: Purpose) -> ClientSession {
    let mut client = ClientSession::new(request(purpose));
    let success = object([("code", "NetConnection.Connect.Success".into())]);
    let connected = recording::command("_result", 1.0, &[Value::Null, success]);
    client.handle_input(&message(20, 0, &connected)).unwrap();
    let created = recording::command("_result", 4.0, &[Value::Null, Value::Number(1.0)]);
    client.handle_input(&message(20, 0, &created)).unwrap();
    assert!(events(&mut client).is_empty());
    client
}

fn refused(code: &str, description: &str) -> ClientEvent {
    ClientEvent::Refused { code: code.to_owned(), description: description.to_owned() }
}

#[test]
fn it_publishes_and_says_goodbye() {
    for piece in [1, 7, 100_000] {
        let mut pair = Pair::new(Purpose::Publish, piece);
        let connect = pair.connected();
        assert_eq!(connect.app.as_str(), "live/inner");
        assert_eq!(connect.tc_url.as_str(), "rtmp://far:1935/live/inner");
        assert!(connect.four_cc_list.contains(&"hvc1".to_owned()));
        let Some(SessionEvent::PublishRequested { stream, name, .. }) = pair.asked.last().cloned() else {
            panic!("no publish: {:?}", pair.asked)
        };
        assert_eq!(name.as_str(), "key?sign=x");
        assert!(pair.seen.is_empty());
        pair.server.accept_publish(stream).unwrap();
        pair.settle();
        assert_eq!(pair.seen, [ClientEvent::Ready { stream: MessageStreamId::FIRST }]);
        let payload = Bytes::from(vec![0x17; 70_000]);
        let image = MediaChunks::new(MediaKind::Video, 40, payload.clone()).unwrap();
        image.slices().for_each(|slice| pair.server.handle_input(slice).unwrap());
        pair.settle();
        let Some(SessionEvent::Media(media)) = pair.asked.last() else { panic!("no media") };
        assert_eq!((media.timestamp, &media.payload), (40, &payload));
        pair.client.finish();
        pair.settle();
        assert!(matches!(pair.asked.last(), Some(SessionEvent::PublishEnded { .. })), "{:?}", pair.asked);
    }
}

#[test]
fn it_plays_what_publishers_send_and_not_what_servers_add() {
    for piece in [1, 7, 100_000] {
        let mut pair = Pair::new(Purpose::Play, piece);
        let Some(SessionEvent::PlayRequested { stream, name, .. }) = pair.asked.last().cloned() else {
            panic!("no play: {:?}", pair.asked)
        };
        assert_eq!(name.as_str(), "key?sign=x");
        pair.server.accept_play(stream).unwrap();
        pair.settle();
        assert_eq!(pair.seen, [ClientEvent::Ready { stream: MessageStreamId::FIRST }]);
        let metadata = Bytes::from(recording::values(&["onMetaData".into(), Value::Null]));
        for (kind, timestamp, payload) in [
            (MediaKind::Data, 0, metadata.clone()),
            (MediaKind::Audio, 10, Bytes::from_static(b"sound")),
            (MediaKind::Video, 0x0100_0000, Bytes::from(vec![7; 130_000])),
        ] {
            pair.media(&MediaChunks::new(kind, timestamp, payload.clone()).unwrap());
            let seen = MediaMessage { stream: MessageStreamId::FIRST, kind, timestamp, payload };
            assert_eq!(pair.seen.last(), Some(&ClientEvent::Media(seen)));
        }
        assert_eq!(pair.seen.len(), 4, "|RtmpSampleAccess and onStatus are no media");
        pair.server.end_play(stream).unwrap();
        pair.settle();
        assert!(matches!(pair.seen.last(), Some(ClientEvent::Ended { .. })));
    }
}

#[test]
fn a_refusal_is_told_wherever_it_comes() {
    let words = "url_expired: this URL has expired";
    let mut pair = Pair::new(Purpose::Publish, 100);
    pair.server.refuse_publish(MessageStreamId::FIRST, words).unwrap();
    pair.settle();
    assert_eq!(pair.seen, [refused("NetStream.Publish.BadName", words)]);

    let mut pair = Pair::new(Purpose::Play, 100);
    pair.server.accept_play(MessageStreamId::FIRST).unwrap();
    pair.settle();
    pair.server.revoke(MessageStreamId::FIRST, "member_gone").unwrap();
    pair.settle();
    assert_eq!(pair.seen.last(), Some(&refused("NetStream.Play.Failed", "member_gone")));

    let information =
        object([("code", "NetConnection.Connect.Rejected".into()), ("description", "no".into())]);
    let error = recording::command("_error", 1.0, &[Value::Null, information]);
    let mut client = ClientSession::new(request(Purpose::Play));
    client.handle_input(&message(20, 0, &error)).unwrap();
    assert_eq!(events(&mut client), [refused("NetConnection.Connect.Rejected", "no")]);

    let mut client = asking(Purpose::Play);
    client.handle_input(&on_status("status", "NetStream.Play.StreamNotFound", &"x".repeat(999))).unwrap();
    let short = "x".repeat(DESCRIPTION_CHARS_MAX);
    assert_eq!(events(&mut client), [refused("NetStream.Play.StreamNotFound", &short)]);
    client.handle_input(&on_status("status", "NetStream.Play.Start", "")).unwrap();
    assert!(events(&mut client).is_empty(), "nothing follows a refusal");
}

#[test]
fn errors_of_calls_that_nobody_waits_for_change_nothing() {
    let mut client = asking(Purpose::Publish);
    for transaction in [2.0, 3.0] {
        let error = recording::command("_error", transaction, &[Value::Null, Value::Null]);
        client.handle_input(&message(20, 0, &error)).unwrap();
    }
    assert!(events(&mut client).is_empty());
    client.handle_input(&on_status("status", "NetStream.Publish.Start", "")).unwrap();
    assert_eq!(events(&mut client), [ClientEvent::Ready { stream: MessageStreamId::FIRST }]);
}

#[test]
fn media_that_comes_without_an_answer_is_one() {
    let mut client = asking(Purpose::Play);
    client.handle_input(&message(9, 1, b"\x17\x01")).unwrap();
    let seen = events(&mut client);
    assert_eq!(seen[0], ClientEvent::Ready { stream: MessageStreamId::FIRST });
    assert!(matches!(seen[1], ClientEvent::Media(_)));
    let mut client = asking(Purpose::Publish);
    client.handle_input(&message(9, 1, b"\x17\x01")).unwrap();
    assert!(events(&mut client).is_empty(), "a publisher gets no media");
}

#[test]
fn what_is_received_is_acknowledged_and_pings_are_answered() {
    let mut client = asking(Purpose::Play);
    client.handle_input(&message(5, 0, &1000_u32.to_be_bytes())).unwrap();
    client.handle_input(&message(4, 0, &[0, 6, 0, 0, 0, 9])).unwrap();
    for _ in 0..5 {
        client.handle_input(&message(9, 1, &[0x27; 120])).unwrap();
    }
    let mut sent = Vec::new();
    while let Some(output) = client.poll_output() {
        if let ClientOutput::Send(bytes) = output {
            sent.extend(bytes);
        }
    }
    let mut reader = ChunkReader::new(0, ChunkLimits::ADMITTED);
    let mut rest = &sent[..];
    let mut types = Vec::new();
    while let Some(message) = reader.next_message(&mut rest).unwrap() {
        types.push((message.type_id, message.payload));
    }
    let pong = (4, Bytes::from_static(&[0, 7, 0, 0, 0, 9]));
    assert!(types.contains(&pong), "{types:?}");
    assert!(types.iter().any(|(type_id, _)| *type_id == message_type::ACKNOWLEDGEMENT), "{types:?}");
}

#[test]
fn a_server_that_never_comes_to_the_point_is_left() {
    let mut client = ClientSession::new(request(Purpose::Play));
    let idle = message(3, 0, &[0; 4]);
    let failed = (0..=MESSAGES_BEFORE_READY_MAX).find_map(|_| client.handle_input(&idle).err());
    assert!(matches!(failed, Some(ClientError::TooManyMessages { .. })), "{failed:?}");
    assert_eq!(client.handle_input(&[]), Err(ClientError::Ended));

    for id in
        [Value::Null, Value::Number(0.0), Value::Number(f64::NAN), Value::Number(1.5), Value::Number(-1.0)]
    {
        let created = recording::command("_result", 4.0, &[Value::Null, id]);
        let mut client = asking_for_a_stream();
        assert!(matches!(client.handle_input(&message(20, 0, &created)), Err(ClientError::NoStream { .. })));
    }
}

fn asking_for_a_stream() -> ClientSession {
    let mut client = ClientSession::new(request(Purpose::Play));
    let success = recording::command("_result", 1.0, &[Value::Null, Value::Null]);
    client.handle_input(&message(20, 0, &success)).unwrap();
    client
}

#[test]
fn a_stream_of_another_number_is_used_as_it_is() {
    let mut client = asking_for_a_stream();
    let created = recording::command("_result", 4.0, &[Value::Null, Value::Number(7.0)]);
    client.handle_input(&message(20, 0, &created)).unwrap();
    client.handle_input(&on_status("status", "NetStream.Play.Start", "")).unwrap();
    assert_eq!(events(&mut client), [ClientEvent::Ready { stream: MessageStreamId(7) }]);
}

#[test]
fn no_debug_text_shows_a_query() {
    let shown = format!("{:?}", request(Purpose::Publish));
    assert!(!shown.contains("sign=x"), "{shown}");
}

/// What a server says to a publisher and to a player: seeds of the fuzz target.
#[test]
fn fuzz_seeds_are_what_our_server_says() {
    for (name, purpose) in [("publish", Purpose::Publish), ("play", Purpose::Play)] {
        let mut client = ClientSession::new(request(purpose));
        let mut server = ServerSession::new();
        let mut said = Vec::new();
        loop {
            let mut is_over = true;
            while let Some(output) = client.poll_output() {
                if let ClientOutput::Send(bytes) = output {
                    server.handle_input(&bytes).unwrap();
                    is_over = false;
                }
            }
            let mut answers = Vec::new();
            while let Some(output) = server.poll_output() {
                match output {
                    Output::Send(bytes) => answers.extend(bytes),
                    Output::Event(SessionEvent::PublishRequested { stream, .. }) => {
                        server.accept_publish(stream).unwrap();
                    }
                    Output::Event(SessionEvent::PlayRequested { stream, .. }) => {
                        server.accept_play(stream).unwrap();
                    }
                    Output::Event(_) => {}
                }
            }
            said.extend_from_slice(&answers);
            client.handle_input(&answers).unwrap();
            if is_over {
                break;
            }
        }
        if purpose == Purpose::Play {
            for (kind, length) in [(MediaKind::Video, 300), (MediaKind::Audio, 9)] {
                let chunks = MediaChunks::new(kind, 5, recording::pattern(length).into()).unwrap();
                chunks.slices().for_each(|slice| said.extend_from_slice(slice));
            }
            said.extend(message(22, 1, &recording::aggregate(&[(8, 5, b"abc"), (9, 6, b"defg")])));
        }
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/client_session").join(name);
        if std::env::var_os("TIDEGATE_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &said).unwrap();
        }
        let seed = std::fs::read(&path).unwrap_or_default();
        assert!(seed == said, "{name} differs; run this test once with TIDEGATE_WRITE_SEEDS=1");
    }
}
