//! What was read must survive the way out and back, and no body may nest deeper or hold more values than the limits say.

use tidegate::rtmp::proto::amf0::{DEPTH_MAX, Reader, VALUES_MAX, Value, string_prefix, within_depth};
use tidegate::rtmp::proto::message::Command;

/// The values in a value, itself among them, and how deep they nest.
fn measure(value: &Value) -> (usize, usize) {
    let (is_container, inner): (bool, Vec<&Value>) = match value {
        Value::StrictArray(values) => (true, values.iter().collect()),
        Value::Object(properties) | Value::EcmaArray(properties) | Value::TypedObject { properties, .. } => {
            (true, properties.iter().map(|(_, value)| value).collect())
        }
        _ => (false, Vec::new()),
    };
    let measured = inner.into_iter().map(measure);
    let (values, depth) =
        measured.fold((1, 0), |(values, depth), (more, deep)| (values + more, depth.max(deep)));
    (values, depth + usize::from(is_container))
}

/// Fails where `body` breaks what holds for any input.
pub(crate) fn check(body: &[u8]) {
    if let Some((text, rest)) = string_prefix(body) {
        assert!(text.len() + rest.len() < body.len());
    }
    let mut reader = Reader::new(body);
    let mut values = 0;
    loop {
        match reader.next_value() {
            Ok(Some(value)) => {
                let (more, depth) = measure(&value);
                values += more;
                assert!(depth <= DEPTH_MAX);
            }
            Ok(None) => {
                assert!(within_depth(body), "what can be read is not too deep");
                break;
            }
            Err(error) => {
                assert!(error.position <= body.len());
                break;
            }
        }
    }
    assert!(values <= VALUES_MAX);
    if let Some(command) = Command::parse(body) {
        let encoded = command.encode();
        let again = Command::parse(&encoded).expect("what we write can be read");
        // NaN differs from itself, so the encoded forms are compared.
        assert_eq!(again.encode(), encoded);
    }
}
