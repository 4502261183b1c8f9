use bytes::Bytes;

use super::*;
use crate::rtmp::proto::amf0::{Value, object};
use crate::rtmp::proto::chunk::ChunkErrorKind;
use crate::rtmp::proto::message::Command;
use crate::rtmp::proto::recording::{self, Chunk, command, connect_object, message, pattern, values};
use crate::rtmp::proto::{MediaKind, UrlText};

/// A peer that speaks to a session, reads what it answers, and decides like an application that admits everybody.
struct Peer {
    session: ServerSession,
    reader: ChunkReader,
    admit: bool,
    heard: Vec<ChunkMessage>,
    events: Vec<SessionEvent>,
    sends: Vec<Bytes>,
}

impl Peer {
    fn new() -> Self {
        Self {
            session: ServerSession::new(),
            reader: ChunkReader::new(0, ChunkLimits::ADMITTED),
            admit: true,
            heard: Vec::new(),
            events: Vec::new(),
            sends: Vec::new(),
        }
    }

    fn connected() -> Self {
        let mut peer = Self::new();
        peer.call(0, "connect", 1.0, &[connect_object()]);
        peer.call(0, "createStream", 2.0, &[Value::Null]);
        peer.forget();
        peer
    }

    fn publishing() -> Self {
        let mut peer = Self::connected();
        peer.call(1, "publish", 3.0, &[Value::Null, "s".into(), "live".into()]);
        peer.forget();
        peer
    }

    fn playing() -> Self {
        let mut peer = Self::connected();
        peer.call(1, "play", 3.0, &[Value::Null, "s".into()]);
        peer.forget();
        peer
    }

    fn forget(&mut self) {
        self.heard.clear();
        self.events.clear();
        self.sends.clear();
    }

    fn input(&mut self, input: &[u8]) -> Result<(), ProtocolError> {
        let handled = self.session.handle_input(input);
        self.drain();
        handled
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(bytes) => {
                    let mut rest = &bytes[..];
                    while let Some(message) = self.reader.next_message(&mut rest).unwrap() {
                        self.heard.push(message);
                    }
                    assert_eq!(self.reader.partial_bytes(), 0, "an answer is whole");
                    self.sends.push(bytes);
                }
                Output::Event(event) => {
                    match &event {
                        SessionEvent::PublishRequested { stream, .. } if self.admit => {
                            self.session.accept_publish(*stream).unwrap();
                        }
                        SessionEvent::PlayRequested { stream, .. } if self.admit => {
                            self.session.accept_play(*stream).unwrap();
                        }
                        _ => {}
                    }
                    self.events.push(event);
                }
            }
        }
    }

    fn say(&mut self, type_id: u8, stream: u32, body: &[u8]) {
        let mut input = Vec::new();
        message(&mut input, 128, 3, type_id, stream, body);
        self.input(&input).unwrap();
    }

    fn call(&mut self, stream: u32, name: &str, transaction: f64, arguments: &[Value]) {
        self.say(20, stream, &command(name, transaction, arguments));
    }

    /// Says something and returns the commands that came back, with their message streams.
    fn ask(&mut self, stream: u32, name: &str, transaction: f64, arguments: &[Value]) -> Vec<(u32, Command)> {
        self.forget();
        self.call(stream, name, transaction, arguments);
        self.commands()
    }

    fn commands(&self) -> Vec<(u32, Command)> {
        let commands = self.heard.iter().filter(|message| message.type_id == 20);
        commands.map(|m| (m.message_stream_id.0, Command::parse(&m.payload).unwrap())).collect()
    }

    fn statuses(&self) -> Vec<(u32, String, String, String)> {
        let text = |command: &Command, name| {
            command.arguments[0].property(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let all = self.commands();
        let statuses = all.iter().filter(|(_, command)| command.name == "onStatus");
        statuses.map(|(id, c)| (*id, text(c, "level"), text(c, "code"), text(c, "description"))).collect()
    }

    fn media(&self) -> Vec<MediaMessage> {
        let media = |event: &SessionEvent| match event {
            SessionEvent::Media(media) => Some(media.clone()),
            _ => None,
        };
        self.events.iter().filter_map(media).collect()
    }

    fn types_heard(&self) -> Vec<u8> {
        self.heard.iter().map(|message| message.type_id).collect()
    }
}

fn result(transaction: f64, value: Value) -> (u32, Command) {
    (0, Command { name: "_result".to_owned(), transaction, object: Value::Null, arguments: vec![value] })
}

const STREAM: MessageStreamId = MessageStreamId::FIRST;

#[test]
fn connect_is_answered_in_one_write_and_reported_whole() {
    let mut peer = Peer::new();
    peer.call(0, "connect", 1.0, &[connect_object()]);
    assert_eq!(peer.sends.len(), 1);
    assert_eq!(peer.types_heard(), [5, 6, 1, 20]);
    assert_eq!(peer.heard[0].payload, 2_500_000_u32.to_be_bytes().to_vec());
    assert_eq!(peer.heard[1].payload, [&2_500_000_u32.to_be_bytes()[..], &[2]].concat());
    assert_eq!(peer.heard[2].payload, 60_000_u32.to_be_bytes().to_vec());
    let (_, answer) = peer.commands().remove(0);
    assert_eq!((answer.name.as_str(), answer.transaction), ("_result", 1.0));
    assert_eq!(answer.object.property("fmsVer"), Some(&"FMS/3,0,1,123".into()));
    let information = &answer.arguments[0];
    assert_eq!(information.property("code"), Some(&"NetConnection.Connect.Success".into()));
    assert_eq!(information.property("objectEncoding"), Some(&Value::Number(0.0)));

    let [SessionEvent::Connected(request)] = &peer.events[..] else { panic!("{:?}", peer.events) };
    let expected = ConnectRequest {
        app: UrlText::from("live?vhost=a"),
        tc_url: UrlText::from("rtmp://host:1935/live?t=secret-token"),
        flash_ver: "FMLE/3.0 (compatible; test)".to_owned(),
        four_cc_list: vec!["hvc1".to_owned(), "av01".to_owned()],
        caps_ex: 3.0,
        ..ConnectRequest::default()
    };
    assert_eq!(**request, expected);
}

#[test]
fn no_query_reaches_a_debug_text() {
    let mut peer = Peer::new();
    peer.input(&recording::publish_commands()).unwrap();
    let text = format!("{:?}", peer.events);
    assert!(text.contains("RTC1__Of_MS_1") && text.contains("rtmp://host:1935/live"));
    assert!(!text.contains("secret-token"), "{text}");
}

#[test]
fn a_connect_over_amf3_or_without_an_object_is_answered_too() {
    let body = command("connect", 1.0, &[connect_object()]);
    let mut peer = Peer::new();
    peer.say(17, 0, &[&[0], &body[..]].concat());
    assert_eq!(peer.types_heard(), [5, 6, 1, 20]);
    let mut peer = Peer::new();
    peer.call(0, "connect", 1.0, &[]);
    assert_eq!(peer.types_heard(), [5, 6, 1, 20]);
}

#[test]
fn a_second_connect_and_an_endless_app_are_rejected() {
    let mut peer = Peer::connected();
    let (_, answer) = peer.ask(0, "connect", 5.0, &[connect_object()]).remove(0);
    assert_eq!((answer.name.as_str(), answer.transaction), ("_error", 5.0));
    assert!(peer.events.is_empty());

    let mut peer = Peer::new();
    let app = "a".repeat(URL_TEXT_BYTES_MAX + 1);
    let (_, answer) = peer.ask(0, "connect", 1.0, &[object([("app", app.as_str().into())])]).remove(0);
    assert_eq!(answer.name, "_error");
    let code = answer.arguments[0].property("code");
    assert_eq!(code, Some(&"NetConnection.Connect.Rejected".into()));
    assert!(peer.events.is_empty());
}

#[test]
fn the_calls_around_publishing_are_answered() {
    let mut peer = Peer::connected();
    let name = [Value::Null, "s".into()];
    assert_eq!(peer.ask(0, "releaseStream", 2.0, &name), [result(2.0, Value::Undefined)]);
    assert_eq!(peer.ask(0, "_checkbw", 9.0, &[Value::Null]), [result(9.0, Value::Undefined)]);
    assert_eq!(peer.ask(0, "getStreamLength", 4.0, &name), [result(4.0, Value::Number(0.0))]);
    for (call, answered, announced, code) in [
        ("FCPublish", true, "onFCPublish", "NetStream.Publish.Start"),
        ("FCUnpublish", true, "onFCUnpublish", "NetStream.Unpublish.Success"),
        ("FCSubscribe", false, "onFCSubscribe", "NetStream.Play.Start"),
    ] {
        let mut answers = peer.ask(0, call, 3.0, &name);
        if answered {
            assert_eq!(answers.remove(0), result(3.0, Value::Undefined));
        }
        assert_eq!(answers.len(), 1, "{call}");
        let (_, announcement) = &answers[0];
        assert_eq!((announcement.name.as_str(), announcement.transaction), (announced, 3.0));
        assert_eq!(announcement.arguments[0].property("code"), Some(&code.into()));
        assert_eq!(peer.sends.len(), 1, "all answers to one input leave together");
    }
}

#[test]
fn unknown_calls_get_an_error_if_they_wait_and_silence_if_not() {
    let mut peer = Peer::connected();
    let (_, answer) = peer.ask(0, "launchRocket", 7.0, &[Value::Null]).remove(0);
    assert_eq!((answer.name.as_str(), answer.transaction), ("_error", 7.0));
    for (name, transaction) in
        [("launchRocket", 0.0), ("_result", 7.0), ("_error", 7.0), ("onStatus", 7.0), ("seek", 0.0)]
    {
        assert_eq!(peer.ask(0, name, transaction, &[Value::Null]), [], "{name}");
    }
}

#[test]
fn streams_are_numbered_from_one_limited_and_used_again() {
    let mut peer = Peer::new();
    peer.call(0, "connect", 1.0, &[connect_object()]);
    for id in 1..=STREAMS_MAX {
        let id = f64::from(u32::try_from(id).unwrap());
        assert_eq!(peer.ask(0, "createStream", 2.0, &[Value::Null]), [result(2.0, Value::Number(id))]);
    }
    let (_, answer) = peer.ask(0, "createStream", 3.0, &[Value::Null]).remove(0);
    assert_eq!(answer.name, "_error");
    for wrong in [Value::Number(99.0), Value::Number(f64::NAN), Value::Number(-1.0), Value::Null, "1".into()]
    {
        peer.call(0, "deleteStream", 0.0, &[Value::Null, wrong]);
    }
    peer.call(0, "deleteStream", 0.0, &[Value::Null]);
    assert_eq!(peer.session.streams.len(), STREAMS_MAX);
    peer.call(0, "deleteStream", 0.0, &[Value::Null, Value::Number(1.0)]);
    assert_eq!(peer.ask(0, "createStream", 4.0, &[Value::Null]), [result(4.0, Value::Number(1.0))]);
}

#[test]
fn publish_is_reported_with_its_raw_name_and_mode() {
    for (mode, expected) in [
        (Some("live"), PublishMode::Live),
        (Some("LIVE"), PublishMode::Live),
        (Some("Record"), PublishMode::Record),
        (Some("APPEND"), PublishMode::Append),
        (Some("?"), PublishMode::Live),
        (None, PublishMode::Live),
    ] {
        let mut peer = Peer::connected();
        let arguments = [Some(Value::Null), Some("a/b?t=1&x=2".into()), mode.map(Value::from)];
        peer.call(1, "publish", 3.0, &arguments.into_iter().flatten().collect::<Vec<_>>());
        let name = UrlText::from("a/b?t=1&x=2");
        assert_eq!(peer.events, [SessionEvent::PublishRequested { stream: STREAM, name, mode: expected }]);
        let start = (1, "status".to_owned(), "NetStream.Publish.Start".to_owned(), "publishing".to_owned());
        assert_eq!(peer.statuses(), [start]);
        assert_eq!(peer.types_heard(), [4, 20]);
        assert_eq!(peer.heard[0].payload, vec![0, 0, 0, 0, 0, 1], "StreamBegin");
        assert!(peer.session.is_admitted());
    }
}

#[test]
fn play_is_answered_in_one_write_with_all_that_players_wait_for() {
    for reset in [None, Some(Value::Boolean(false)), Some(Value::Boolean(true)), Some(Value::Number(1.0))] {
        let wanted = matches!(reset, Some(Value::Boolean(true) | Value::Number(_)));
        let mut peer = Peer::connected();
        let mut arguments = vec![Value::Null, "s?t=1".into(), Value::Number(-1.0), Value::Number(-1.0)];
        arguments.extend(reset);
        peer.call(1, "play", 0.0, &arguments);
        let name = UrlText::from("s?t=1");
        assert_eq!(peer.events, [SessionEvent::PlayRequested { stream: STREAM, name, start: -1.0 }]);
        assert_eq!(peer.sends.len(), 1);
        let codes: Vec<_> = peer.statuses().into_iter().map(|(_, _, code, _)| code).collect();
        if wanted {
            assert_eq!(codes, ["NetStream.Play.Reset", "NetStream.Play.Start"]);
        } else {
            assert_eq!(codes, ["NetStream.Play.Start"]);
        }
        let data: Vec<_> =
            peer.heard.iter().filter(|m| m.type_id == 18).map(|m| m.payload.to_vec()).collect();
        let access = values(&["|RtmpSampleAccess".into(), Value::Boolean(true), Value::Boolean(true)]);
        let start = values(&["onStatus".into(), object([("code", "NetStream.Data.Start".into())])]);
        assert_eq!(data, [access, start]);
        let streams: Vec<_> = peer.heard.iter().map(|m| m.message_stream_id.0).collect();
        assert_eq!(streams[0], 0, "StreamBegin is about the connection");
        assert!(streams[1..].iter().all(|id| *id == 1));
    }
}

#[test]
fn refusals_are_error_statuses_with_the_given_description() {
    let mut peer = Peer::connected();
    peer.admit = false;
    peer.call(1, "publish", 3.0, &[Value::Null, "s".into()]);
    peer.session.refuse_publish(STREAM, "url_expired: get a fresh one").unwrap();
    peer.drain();
    peer.call(1, "play", 4.0, &[Value::Null, "s".into()]);
    peer.session.refuse_play(STREAM, "stream_not_found").unwrap();
    peer.drain();
    let status = |code: &str, text: &str| (1, "error".to_owned(), code.to_owned(), text.to_owned());
    let expected = [
        status("NetStream.Publish.BadName", "url_expired: get a fresh one"),
        status("NetStream.Play.Failed", "stream_not_found"),
    ];
    assert_eq!(peer.statuses(), expected);
    assert!(!peer.session.is_admitted());
}

#[test]
fn requests_out_of_order_are_refused_without_an_event() {
    let long = "n".repeat(URL_TEXT_BYTES_MAX + 1);
    let cases: [(Peer, u32, Vec<Value>); 6] = [
        (Peer::new(), 1, vec![Value::Null, "s".into()]),
        (Peer::new(), 0, vec![Value::Null, "s".into()]),
        (Peer::connected(), 0, vec![Value::Null, "s".into()]),
        (Peer::connected(), 2, vec![Value::Null, "s".into()]),
        (Peer::connected(), 1, vec![Value::Null, long.as_str().into()]),
        (Peer::connected(), 1, vec![Value::Null]),
    ];
    for (mut peer, stream, arguments) in cases {
        for (call, code) in [("publish", "NetStream.Publish.BadName"), ("play", "NetStream.Play.Failed")] {
            peer.forget();
            peer.call(stream, call, 3.0, &arguments);
            assert_eq!(peer.events, []);
            let refused = (stream, "error".to_owned(), code.to_owned(), "invalid_request".to_owned());
            assert_eq!(peer.statuses(), [refused]);
        }
    }
}

#[test]
fn odd_names_are_passed_on_as_they_are() {
    for name in ["", "\0", "..", "a/../b", "%2e%2e", "?t=1", "a?b?c"] {
        let mut peer = Peer::connected();
        peer.call(1, "play", 3.0, &[Value::Null, name.into()]);
        let requested = SessionEvent::PlayRequested { stream: STREAM, name: name.into(), start: -2.0 };
        assert_eq!(peer.events, [requested]);
    }
}

#[test]
fn calls_before_connect_are_errors() {
    let mut peer = Peer::new();
    for call in ["createStream", "releaseStream", "FCPublish", "deleteStream", "pause", "whatever"] {
        let (_, answer) = peer.ask(0, call, 2.0, &[Value::Null]).remove(0);
        assert_eq!(answer.name, "_error", "{call}");
        assert_eq!(peer.events, []);
    }
}

#[test]
fn an_answer_without_its_request_is_refused() {
    let mut session = ServerSession::new();
    let refused = Err(AnswerError { stream: STREAM });
    assert_eq!(session.accept_publish(STREAM), refused);
    assert_eq!(session.refuse_publish(STREAM, "x"), refused);
    assert_eq!(session.accept_play(STREAM), refused);
    assert_eq!(session.refuse_play(STREAM, "x"), refused);
    assert_eq!(session.end_play(STREAM), refused);
    assert_eq!(session.revoke(STREAM, "x"), refused);
    assert_eq!(session.poll_output(), None);
    let mut peer = Peer::playing();
    assert_eq!(peer.session.accept_play(STREAM), refused, "it was answered before");
    assert_eq!(peer.session.accept_publish(STREAM), refused);
}

#[test]
fn a_request_given_up_before_its_answer_ends_and_cannot_be_answered() {
    for (call, ended) in [
        ("publish", SessionEvent::PublishEnded { stream: STREAM }),
        ("play", SessionEvent::PlayEnded { stream: STREAM }),
    ] {
        let mut peer = Peer::connected();
        peer.admit = false;
        peer.call(1, call, 3.0, &[Value::Null, "s".into()]);
        peer.call(0, "deleteStream", 0.0, &[Value::Null, Value::Number(1.0)]);
        assert_eq!(peer.events[1..], [ended]);
        assert!(peer.session.accept_publish(STREAM).is_err());
        assert!(peer.session.accept_play(STREAM).is_err());
    }
}

#[test]
fn media_of_an_accepted_publisher_is_reported_unchanged() {
    let mut peer = Peer::publishing();
    let mut input = Vec::new();
    let video = pattern(1000);
    Chunk { format: 0, csid: 6, time: 77, length: 1000, type_id: 9, stream: 1, piece: &video[..128] }
        .write(&mut input);
    for piece in video[128..].chunks(128) {
        recording::type3(&mut input, 6, None, piece);
    }
    peer.input(&input).unwrap();
    peer.say(8, 1, &[0xAF, 1, 2]);
    let expected = [
        MediaMessage { stream: STREAM, kind: MediaKind::Video, timestamp: 77, payload: video.into() },
        MediaMessage {
            stream: STREAM,
            kind: MediaKind::Audio,
            timestamp: 0,
            payload: vec![0xAF, 1, 2].into(),
        },
    ];
    assert_eq!(peer.media(), expected);
}

#[test]
fn media_without_an_accepted_publisher_is_dropped() {
    let data = values(&["onMetaData".into(), Value::Null]);
    let say_all = |peer: &mut Peer, stream| {
        peer.say(8, stream, &[0xAF, 1]);
        peer.say(9, stream, &[0x17, 1]);
        peer.say(18, stream, &data);
        peer.say(22, stream, &recording::aggregate(&[(8, 0, &[0xAF, 1])]));
        assert_eq!(peer.media(), []);
    };
    say_all(&mut Peer::new(), 1);
    say_all(&mut Peer::connected(), 1);
    say_all(&mut Peer::playing(), 1);
    say_all(&mut Peer::publishing(), 0);
    say_all(&mut Peer::publishing(), 2);
    let mut waiting = Peer::connected();
    waiting.admit = false;
    waiting.call(1, "publish", 3.0, &[Value::Null, "s".into()]);
    say_all(&mut waiting, 1);
    let mut closed = Peer::publishing();
    closed.call(1, "closeStream", 0.0, &[Value::Null]);
    say_all(&mut closed, 1);
    let mut revoked = Peer::publishing();
    revoked.session.revoke(STREAM, "member_gone").unwrap();
    say_all(&mut revoked, 1);
    let mut empty = Peer::publishing();
    empty.say(8, 1, &[]);
    empty.say(9, 1, &[]);
    assert_eq!(empty.media(), []);
}

#[test]
fn data_reaches_viewers_byte_for_byte_without_its_set_data_frame() {
    let object = object([("width", Value::Number(360.0)), ("unknownKey", "x".into())]);
    let metadata = values(&["onMetaData".into(), Value::EcmaArray(object.properties().to_vec())]);
    let set = values(&["@setDataFrame".into()]);
    let date =
        values(&["onCuePoint".into(), Value::Date { unix_ms: 1.0, zone: 0 }, Value::Xml("<a/>".to_owned())]);
    // A wrong count, a missing end marker, text that is not UTF-8: not ours to mend.
    let sloppy = [&metadata[..], &[8, 0, 0, 9, 9, 0, 1, 0xFF, 2, 0, 1, 0xFE]].concat();
    for (type_id, body, expected) in [
        (18, metadata.clone(), metadata.clone()),
        (18, [&set[..], &metadata[..]].concat(), metadata.clone()),
        (15, [&[0], &set[..], &metadata[..]].concat(), metadata.clone()),
        (15, [&[0], &metadata[..]].concat(), metadata.clone()),
        (18, [&set[..], &sloppy[..]].concat(), sloppy.clone()),
        (18, date.clone(), date.clone()),
        (18, values(&["onTextData".into()]), values(&["onTextData".into()])),
    ] {
        let mut peer = Peer::publishing();
        peer.say(type_id, 1, &body);
        let media = peer.media();
        assert_eq!(media.len(), 1, "{body:?}");
        assert_eq!((media[0].kind, &media[0].payload[..]), (MediaKind::Data, &expected[..]));
    }
}

#[test]
fn data_that_is_no_data_is_dropped_and_the_session_goes_on() {
    let set = values(&["@setDataFrame".into()]);
    let bomb = [values(&["onMetaData".into()]), [0x0A, 0, 0, 0, 1].repeat(12_000)].concat();
    for body in [
        Vec::new(),
        vec![0],
        vec![2, 0, 9, b'x'],
        values(&[Value::Number(1.0)]),
        set.clone(),
        values(&["@clearDataFrame".into(), "onMetaData".into()]),
        [&set[..], &[5]].concat(),
        [&set[..], &bomb[..]].concat(),
        bomb,
    ] {
        for type_id in [15, 18] {
            let mut peer = Peer::publishing();
            peer.say(type_id, 1, &body);
            assert_eq!(peer.media(), []);
            peer.say(8, 1, &[0xAF, 1]);
            assert_eq!(peer.media().len(), 1);
        }
    }
}

#[test]
fn set_data_frame_with_a_name_only_passes_the_name() {
    let mut peer = Peer::publishing();
    peer.say(18, 1, &values(&["@setDataFrame".into(), "onMetaData".into()]));
    assert_eq!(peer.media()[0].payload, values(&["onMetaData".into()]));
}

#[test]
fn the_end_of_publishing_is_reported_once() {
    let ended = [SessionEvent::PublishEnded { stream: STREAM }];
    for (stream, call, arguments) in
        [(1, "closeStream", vec![Value::Null]), (0, "deleteStream", vec![Value::Null, Value::Number(1.0)])]
    {
        let mut peer = Peer::publishing();
        peer.call(stream, call, 0.0, &arguments);
        peer.call(stream, call, 0.0, &arguments);
        assert_eq!(peer.events, ended);
        assert_eq!(peer.statuses()[0].2, "NetStream.Unpublish.Success");
    }
    let mut again = Peer::publishing();
    again.call(1, "publish", 4.0, &[Value::Null, "other".into()]);
    assert_eq!(again.events[0], ended[0], "a new publish ends the old");
    assert!(matches!(again.events[1], SessionEvent::PublishRequested { .. }));
}

#[test]
fn a_player_pauses_chooses_and_leaves() {
    let mut peer = Peer::new();
    peer.input(&recording::play_commands()).unwrap();
    peer.forget();
    peer.input(&recording::play_controls()).unwrap();
    let expected = [
        SessionEvent::PlayPaused { stream: STREAM, paused: true },
        SessionEvent::PlayPaused { stream: STREAM, paused: false },
        SessionEvent::ReceiveAudio { stream: STREAM, enabled: false },
        SessionEvent::ReceiveVideo { stream: STREAM, enabled: false },
        SessionEvent::PlayEnded { stream: STREAM },
    ];
    assert_eq!(peer.events, expected);
    let codes: Vec<_> = peer.statuses().into_iter().map(|(_, _, code, _)| code).collect();
    assert_eq!(codes, ["NetStream.Pause.Notify", "NetStream.Unpause.Notify"]);

    let mut peer = Peer::playing();
    peer.call(1, "play", 0.0, &[Value::Null, Value::Boolean(false)]);
    assert_eq!(peer.events, [SessionEvent::PlayEnded { stream: STREAM }]);
    for call in ["pause", "receiveAudio", "receiveVideo"] {
        peer.forget();
        peer.call(1, call, 0.0, &[Value::Null, Value::Boolean(true)]);
        assert_eq!((peer.events.len(), peer.heard.len()), (0, 0), "{call} without a play");
    }
}

#[test]
fn a_player_is_told_that_its_publisher_is_gone() {
    let mut peer = Peer::playing();
    peer.session.end_play(STREAM).unwrap();
    peer.drain();
    assert_eq!(peer.sends.len(), 1);
    assert_eq!(peer.types_heard(), [4, 18, 20]);
    assert_eq!(peer.heard[0].payload, vec![0, 1, 0, 0, 0, 1], "StreamEOF");
    assert_eq!(peer.statuses()[0].2, "NetStream.Play.UnpublishNotify");
    assert!(!peer.session.is_admitted());
    peer.call(1, "play", 0.0, &[Value::Null, "s".into()]);
    assert!(peer.session.is_admitted(), "the stream can be used again");
}

#[test]
fn revocation_says_why_once() {
    for (mut peer, code) in
        [(Peer::publishing(), "NetStream.Publish.BadName"), (Peer::playing(), "NetStream.Play.Failed")]
    {
        peer.session.revoke(STREAM, "member_gone: kicked").unwrap();
        assert!(peer.session.revoke(STREAM, "member_gone: kicked").is_err());
        peer.drain();
        let status = (1, "error".to_owned(), code.to_owned(), "member_gone: kicked".to_owned());
        assert_eq!(peer.statuses(), [status]);
    }
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
    session.acknowledged = 0;
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
    assert!(peer.session.pending.len() <= QUEUED_BYTES_MAX + 100);
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

#[test]
fn aggregates_are_taken_apart_and_bounded() {
    let mut peer = Peer::publishing();
    let metadata = values(&["onMetaData".into()]);
    let nested = recording::aggregate(&[(8, 0, b"x")]);
    let call = command("deleteStream", 0.0, &[Value::Null, Value::Number(1.0)]);
    let parts = [(8, 100, &b"a"[..]), (9, 120, b"b"), (18, 120, &metadata), (22, 0, &nested), (20, 0, &call)];
    peer.say(22, 1, &recording::aggregate(&parts));
    let seen: Vec<_> = peer.media().into_iter().map(|m| (m.kind, m.timestamp)).collect();
    assert_eq!(seen, [(MediaKind::Audio, 0), (MediaKind::Video, 20), (MediaKind::Data, 20)]);
    assert!(peer.session.is_admitted(), "commands inside an aggregate are not obeyed");

    let mut input = Vec::new();
    message(&mut input, 128, 7, 22, 1, &recording::aggregate(&vec![(8, 0, &b"x"[..]); 5000]));
    let error = peer.input(&input).unwrap_err();
    assert!(matches!(error, ProtocolError::Aggregate { .. }));
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
fn the_recorded_publisher_is_heard_as_recorded() {
    let mut peer = Peer::new();
    peer.input(&recording::publish_commands()).unwrap();
    peer.forget();
    peer.input(&recording::publish_media()).unwrap();
    let media = peer.media();
    assert_eq!(media.len(), recording::PUBLISHED.len());
    for (message, (type_id, timestamp, length)) in media.iter().zip(recording::PUBLISHED) {
        let kind = match type_id {
            8 => MediaKind::Audio,
            9 => MediaKind::Video,
            _ => MediaKind::Data,
        };
        assert_eq!((message.kind, message.timestamp), (kind, *timestamp));
        if kind != MediaKind::Data {
            assert!(message.payload == pattern(*length));
        }
    }
    assert_eq!(peer.events.last(), Some(&SessionEvent::PublishEnded { stream: STREAM }));
    assert!(peer.heard.iter().any(|m| m.type_id == 4 && m.payload == vec![0, 7, 0, 0, 1, 2]));
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
