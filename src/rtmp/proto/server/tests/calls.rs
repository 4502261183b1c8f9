use super::*;

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
fn a_peer_that_knows_enhanced_rtmp_is_told_what_we_pass_on_and_says_what_it_reads() {
    let ask = |properties: Value| {
        let mut peer = Peer::new();
        peer.call(0, "connect", 1.0, &[properties]);
        let (_, answer) = peer.commands().remove(0);
        let [SessionEvent::Connected(request)] = &peer.events[..] else { panic!("{:?}", peer.events) };
        (answer.object, request.reads_enhanced("hvc1"))
    };
    let list =
        |four_ccs: &[&str]| Value::StrictArray(four_ccs.iter().map(|four_cc| (*four_cc).into()).collect());
    let decodes = |four_cc, mask: f64| object([("videoFourCcInfoMap", object([(four_cc, mask.into())]))]);
    for (properties, reads) in [
        (object([("fourCcList", list(&["av01", "hvc1"]))]), true),
        (object([("fourCcList", list(&["*"]))]), true),
        (object([("fourCcList", list(&["av01", "vp09"]))]), false),
        (decodes("hvc1", 1.0), true),
        (decodes("*", 5.0), true),
        (decodes("hvc1", 4.0), false),
        (object([("capsEx", Value::Number(3.0))]), false),
    ] {
        let (server, said) = ask(properties.clone());
        assert_eq!(said, reads, "{properties:?}");
        let Some(Value::StrictArray(named)) = server.property("fourCcList") else {
            // A peer that only forwards hvc1 has said nothing that we read.
            assert_eq!(properties, decodes("hvc1", 4.0));
            continue;
        };
        assert!(named.contains(&"hvc1".into()) && named.contains(&"*".into()));
        assert_eq!(server.property("videoFourCcInfoMap").unwrap().property("*"), Some(&Value::Number(4.0)));
        assert_eq!(server.property("audioFourCcInfoMap").unwrap().property("*"), Some(&Value::Number(4.0)));
        assert_eq!(server.property("capsEx"), Some(&Value::Number(12.0)));
    }
    let (server, said) = ask(object([("app", "live".into()), ("videoFourCcInfoMap", "*".into())]));
    assert!(!said && server.properties().len() == 3, "others are told what they always were: {server:?}");
}

#[test]
fn no_text_of_the_peer_reaches_a_debug_text() {
    let mut peer = Peer::new();
    peer.input(&recording::publish_commands()).unwrap();
    let text = format!("{:?}", peer.events);
    assert!(text.contains("(a text of the peer)"), "{text}");
    for shown in ["RTC1__Of_MS_1", "rtmp://host", "secret-token"] {
        assert!(!text.contains(shown), "{text}");
    }
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
