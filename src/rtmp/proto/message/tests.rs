use super::*;
use crate::rtmp::proto::recording;

fn parse(type_id: u8, body: &[u8]) -> Message {
    Message::parse(type_id, Bytes::copy_from_slice(body))
}

#[test]
fn control_messages_carry_their_number_and_short_ones_are_ignored() {
    assert_eq!(parse(1, &[0, 0, 1, 0]), Message::SetChunkSize(256));
    assert_eq!(parse(2, &[0, 0, 0, 6]), Message::Abort(6));
    assert_eq!(parse(3, &[0xFF; 4]), Message::Acknowledgement(u32::MAX));
    assert_eq!(parse(5, &[0, 0, 0, 0]), Message::WindowAcknowledgementSize(0));
    assert_eq!(parse(6, &[0, 0, 0, 9, 2]), Message::SetPeerBandwidth(9));
    for type_id in [1, 2, 3, 5, 6] {
        assert_eq!(parse(type_id, &[0, 0, 1]), Message::Ignored { type_id });
    }
    assert_eq!(parse(19, b"shared object"), Message::Ignored { type_id: 19 });
}

#[test]
fn user_control_events_are_read_and_unknown_or_short_ones_named() {
    let event = |body: &[u8]| parse(4, body);
    assert_eq!(event(&[0, 6, 0, 0, 0, 7]), Message::UserControl(UserControl::PingRequest(7)));
    assert_eq!(event(&[0, 7, 0, 0, 0, 7]), Message::UserControl(UserControl::PingResponse(7)));
    let buffer = UserControl::SetBufferLength { stream_id: 1, buffer_ms: 1000 };
    assert_eq!(event(&[0, 3, 0, 0, 0, 1, 0, 0, 3, 232]), Message::UserControl(buffer));
    for (body, number) in [(&[0, 6, 0][..], 6), (&[0, 3, 0, 0, 0, 1][..], 3), (&[0, 31][..], 31)] {
        assert_eq!(event(body), Message::UserControl(UserControl::Other(number)));
    }
    assert_eq!(event(&[0]), Message::Ignored { type_id: 4 });
}

#[test]
fn commands_keep_what_could_be_read() {
    let name = Value::from("play");
    let cases = [
        (recording::values(std::slice::from_ref(&name)), 0.0, Value::Null, 0),
        (recording::values(&[name.clone(), Value::Number(3.0)]), 3.0, Value::Null, 0),
        (
            recording::values(&[name.clone(), "wrong".into(), Value::Boolean(true)]),
            0.0,
            Value::Boolean(true),
            0,
        ),
        (
            recording::values(&[name.clone(), Value::Number(3.0), Value::Null, Value::Null]),
            3.0,
            Value::Null,
            1,
        ),
        // An argument that breaks off: what stands before it stays.
        (
            [recording::values(&[name, Value::Number(3.0), Value::Null]), vec![3, 0]].concat(),
            3.0,
            Value::Null,
            0,
        ),
    ];
    for (body, transaction, object, arguments) in cases {
        let Message::Command(command) = parse(20, &body) else { panic!("{body:?} has a name") };
        assert_eq!(command.name, "play");
        assert_eq!(command.transaction, transaction);
        assert_eq!(command.object, object);
        assert_eq!(command.arguments.len(), arguments);
    }
    for body in [&[][..], &[5], &[0, 0, 0], &[2, 0, 9, b'x']] {
        assert_eq!(parse(20, body), Message::Ignored { type_id: 20 });
    }
}

#[test]
fn the_amf3_forms_lose_their_leading_zero() {
    let body = recording::command("connect", 1.0, &[recording::connect_object()]);
    let wrapped = [&[0], &body[..]].concat();
    assert_eq!(parse(17, &wrapped), parse(20, &body));
    assert_eq!(parse(17, &body), parse(20, &body));
    let data = recording::values(&["onMetaData".into(), Value::Null]);
    assert_eq!(parse(15, &[&[0], &data[..]].concat()), Message::Data(data.clone().into()));
    assert_eq!(parse(18, &data), Message::Data(data.into()));
}

#[test]
fn an_encoded_command_reads_back() {
    let command = Command {
        name: "_result".to_owned(),
        transaction: 4.0,
        object: Value::Null,
        arguments: vec![Value::Number(1.0), recording::connect_object()],
    };
    assert_eq!(Command::parse(&command.encode()), Some(command));
}

#[test]
fn only_a_finite_transaction_wants_an_answer() {
    for (transaction, wants) in
        [(0.0, false), (f64::NAN, false), (f64::INFINITY, false), (-1.0, true), (2.0, true)]
    {
        let body = recording::command("x", transaction, &[]);
        assert_eq!(Command::parse(&body).unwrap().wants_answer(), wants, "{transaction}");
    }
}

#[test]
fn an_aggregate_is_moved_to_its_own_time() {
    let body = recording::aggregate(&[(8, 0xFFFF_FFF0, b"a"), (9, 0x10, b"bc"), (18, 0xFFFF_FFE0, b"")]);
    let parts = unpack_aggregate(1000, &body.into()).unwrap();
    let seen: Vec<_> = parts.iter().map(|p| (p.type_id, p.timestamp, &p.payload[..])).collect();
    assert_eq!(seen, [(8, 1000, &b"a"[..]), (9, 1032, b"bc"), (18, 984, b"")]);
}

#[test]
fn an_aggregate_cut_anywhere_yields_its_whole_messages() {
    let body = recording::aggregate(&[(8, 5, b"abc"), (9, 6, b"defg")]);
    let first_end = 11 + 3;
    let second_end = first_end + 4 + 11 + 4;
    for length in 0..=body.len() {
        let parts = unpack_aggregate(0, &Bytes::copy_from_slice(&body[..length])).unwrap();
        let whole = usize::from(length >= first_end) + usize::from(length >= second_end);
        assert_eq!(parts.len(), whole, "{length} bytes");
    }
}

#[test]
fn an_aggregate_of_too_many_messages_is_an_error() {
    let full = vec![(8, 0, &b"x"[..]); AGGREGATED_MESSAGES_MAX];
    assert_eq!(
        unpack_aggregate(0, &recording::aggregate(&full).into()).unwrap().len(),
        AGGREGATED_MESSAGES_MAX
    );
    let over = vec![(8, 0, &b"x"[..]); AGGREGATED_MESSAGES_MAX + 1];
    assert_eq!(unpack_aggregate(0, &recording::aggregate(&over).into()), Err(AggregateError));
}
