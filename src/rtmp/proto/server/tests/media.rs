use super::*;

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
fn an_encoder_that_does_not_wait_for_its_answer_loses_nothing() {
    let mut input = Vec::new();
    let publish = command("publish", 3.0, &[Value::Null, "s".into()]);
    message(&mut input, 128, 3, 20, 1, &publish);
    Chunk { format: 0, csid: 6, time: 0, length: 2, type_id: 9, stream: 1, piece: &[0x17, 0] }
        .write(&mut input);
    let mut peer = Peer::connected();
    peer.input(&input).unwrap();
    assert!(matches!(peer.events[0], SessionEvent::PublishRequested { .. }));
    assert_eq!(peer.media().len(), 1);
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
