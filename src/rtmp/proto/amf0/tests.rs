use bytes::BytesMut;

use super::*;

fn encoded(values: &[Value]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for value in values {
        encode(&mut out, value);
    }
    out.to_vec()
}

fn decode(body: &[u8]) -> Result<Vec<Value>, Amf0Error> {
    let mut reader = Reader::new(body);
    let mut values = Vec::new();
    while let Some(value) = reader.next_value()? {
        values.push(value);
    }
    Ok(values)
}

fn kinds() -> Vec<Value> {
    let properties = || vec![("b".to_owned(), Value::Number(1.5)), ("a".to_owned(), "x".into())];
    vec![
        Value::Number(-0.25),
        Value::Boolean(true),
        Value::Boolean(false),
        "text ü".into(),
        Value::String("l".repeat(65_536)),
        Value::Object(properties()),
        Value::Null,
        Value::Undefined,
        Value::EcmaArray(properties()),
        Value::StrictArray(vec![Value::Null, Value::Object(properties())]),
        Value::Date { unix_ms: 1.0e12, zone: -60 },
        Value::Xml("<a/>".to_owned()),
        Value::TypedObject { class: "C".to_owned(), properties: properties() },
        Value::Object(vec![(String::new(), Value::Null)]),
    ]
}

/// A body with every kind of value, small enough for a seed.
pub(in crate::rtmp::proto) fn every_kind_of_value() -> Vec<u8> {
    let mut values = kinds();
    values.retain(|value| value.as_str().is_none_or(|text| text.len() < 1000));
    encoded(&values)
}

/// `levels` objects (or arrays), one inside the other, without their ends.
fn nested(opening: &[u8], levels: usize) -> Vec<u8> {
    opening.repeat(levels)
}

const OBJECT_LEVEL: &[u8] = &[0x03, 0, 1, b'k'];
const ECMA_LEVEL: &[u8] = &[0x08, 0, 0, 0, 1, 0, 1, b'k'];
const STRICT_LEVEL: &[u8] = &[0x0A, 0, 0, 0, 1];
const TYPED_LEVEL: &[u8] = &[0x10, 0, 1, b'C', 0, 1, b'k'];

#[test]
fn every_kind_of_value_survives_the_way_out_and_back() {
    assert_eq!(decode(&encoded(&kinds())).unwrap(), kinds());
}

#[test]
fn cut_off_values_are_errors_that_name_the_byte() {
    let body = every_kind_of_value();
    let mut whole = 0;
    for length in 0..body.len() {
        match decode(&body[..length]) {
            Ok(_) => whole += 1,
            Err(error) => {
                assert_eq!(error.kind, Amf0ErrorKind::UnexpectedEnd);
                assert!(error.position <= length);
            }
        }
    }
    assert_eq!(whole, kinds().len() - 1, "only cuts between values read well");
}

#[test]
fn nesting_is_limited_and_never_recurses_deeper() {
    for level in [OBJECT_LEVEL, ECMA_LEVEL, STRICT_LEVEL, TYPED_LEVEL] {
        for (levels, kind) in [
            (DEPTH_MAX, Amf0ErrorKind::UnexpectedEnd),
            (DEPTH_MAX + 1, Amf0ErrorKind::TooDeep),
            (63, Amf0ErrorKind::TooDeep),
            (64, Amf0ErrorKind::TooDeep),
            (65, Amf0ErrorKind::TooDeep),
            (12_000, Amf0ErrorKind::TooDeep),
            (70_000, Amf0ErrorKind::TooDeep),
        ] {
            let body = nested(level, levels);
            assert_eq!(decode(&body).unwrap_err().kind, kind, "{levels} levels of {level:?}");
            assert_eq!(within_depth(&body), levels <= DEPTH_MAX, "{levels} levels of {level:?}");
        }
    }
}

#[test]
fn a_declared_count_reserves_nothing_and_is_not_believed() {
    for body in [&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF][..], &[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 5, 5]] {
        assert_eq!(decode(body).unwrap_err().kind, Amf0ErrorKind::UnexpectedEnd);
        assert!(within_depth(body));
    }
    // The count of an associative array is a hint: what counts is the end marker.
    for count in [0, 1, 2, 9, u32::MAX] {
        let mut body = vec![0x08];
        body.extend(count.to_be_bytes());
        body.extend([0, 1, b'k', 0x05, 0, 0, 9]);
        assert_eq!(decode(&body).unwrap(), [Value::EcmaArray(vec![("k".to_owned(), Value::Null)])]);
    }
    assert_eq!(decode(&[0x08, 0, 0, 0, 0, 0, 1, b'k', 5]).unwrap_err().kind, Amf0ErrorKind::UnexpectedEnd);
}

#[test]
fn the_number_of_values_is_limited() {
    assert_eq!(decode(&[5; VALUES_MAX]).unwrap().len(), VALUES_MAX);
    assert_eq!(decode(&[5; VALUES_MAX + 1]).unwrap_err().kind, Amf0ErrorKind::TooManyValues);
    let inside = encoded(&[Value::StrictArray(vec![Value::Null; VALUES_MAX])]);
    assert_eq!(decode(&inside).unwrap_err().kind, Amf0ErrorKind::TooManyValues);
    assert!(within_depth(&inside), "a long index is no danger to viewers");
}

#[test]
fn text_that_is_not_utf8_is_replaced() {
    let body = [0x03, 0, 2, 0xFF, b'k', 0x02, 0, 3, b'a', 0xC3, 0x28, 0, 0, 9];
    let expected = vec![("\u{FFFD}k".to_owned(), Value::from("a\u{FFFD}("))];
    assert_eq!(decode(&body).unwrap(), [Value::Object(expected)]);
}

#[test]
fn references_are_null_and_unknown_markers_are_errors() {
    assert_eq!(decode(&[0x07, 0, 1, 0x0D, 0x05]).unwrap(), [Value::Null, Value::Undefined, Value::Null]);
    for marker in [0x04, 0x0E, 0x09, 0x12, 0xFF] {
        let error = decode(&[5, marker]).unwrap_err();
        assert_eq!(error.kind, Amf0ErrorKind::Marker(marker));
    }
}

#[test]
fn an_amf3_value_is_null_and_ends_the_body() {
    assert_eq!(decode(&[0x11, 0x0A, 0x0B, 1]).unwrap(), [Value::Null]);
    let inside = [0x03, 0, 1, b'k', 0x0A, 0, 0, 0, 9, 0x11, 4, 1];
    let expected = vec![("k".to_owned(), Value::StrictArray(vec![Value::Null]))];
    assert_eq!(decode(&inside).unwrap(), [Value::Object(expected)]);
}

#[test]
fn the_depth_check_walks_over_whole_values() {
    let body = encoded(&kinds());
    assert!(within_depth(&body));
    let bomb = [body, nested(STRICT_LEVEL, DEPTH_MAX + 1)].concat();
    assert!(!within_depth(&bomb), "what stands before a bomb does not hide it");
    let wide = encoded(&[Value::StrictArray(vec![Value::Object(Vec::new()); 100])]);
    assert!(within_depth(&wide), "siblings do not add up");
}

#[test]
fn a_string_prefix_is_found_without_reading_on() {
    assert_eq!(string_prefix(b"\x02\x00\x02hirest"), Some((&b"hi"[..], &b"rest"[..])));
    assert_eq!(string_prefix(b"\x0C\x00\x00\x00\x02hirest"), Some((&b"hi"[..], &b"rest"[..])));
    for body in [&b""[..], b"\x02", b"\x02\x00", b"\x02\x00\x03hi", b"\x05", b"\x0C\xFF\xFF\xFF\xFFhi"] {
        assert_eq!(string_prefix(body), None);
    }
}
