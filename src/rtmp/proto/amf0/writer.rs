use bytes::{BufMut, BytesMut};

use super::{Value, marker};

/// Appends a value. Meant for values that we made ourselves: it recurses as deep as they nest.
///
/// A property name beyond 65 535 bytes, which the format cannot carry, is cut.
pub fn encode(out: &mut BytesMut, value: &Value) {
    match value {
        Value::Number(number) => {
            out.put_u8(marker::NUMBER);
            out.put_f64(*number);
        }
        Value::Boolean(value) => {
            out.put_u8(marker::BOOLEAN);
            out.put_u8(u8::from(*value));
        }
        Value::String(text) => match u16::try_from(text.len()) {
            Ok(length) => {
                out.put_u8(marker::STRING);
                out.put_u16(length);
                out.put_slice(text.as_bytes());
            }
            Err(_) => {
                out.put_u8(marker::LONG_STRING);
                put_long_text(out, text);
            }
        },
        Value::Xml(text) => {
            out.put_u8(marker::XML);
            put_long_text(out, text);
        }
        Value::Object(properties) => {
            out.put_u8(marker::OBJECT);
            put_properties(out, properties);
        }
        Value::EcmaArray(properties) => {
            out.put_u8(marker::ECMA_ARRAY);
            out.put_u32(u32::try_from(properties.len()).unwrap_or(u32::MAX));
            put_properties(out, properties);
        }
        Value::TypedObject { class, properties } => {
            out.put_u8(marker::TYPED_OBJECT);
            put_name(out, class);
            put_properties(out, properties);
        }
        Value::StrictArray(values) => {
            out.put_u8(marker::STRICT_ARRAY);
            out.put_u32(u32::try_from(values.len()).unwrap_or(u32::MAX));
            for value in values {
                encode(out, value);
            }
        }
        Value::Date { unix_ms, zone } => {
            out.put_u8(marker::DATE);
            out.put_f64(*unix_ms);
            out.put_i16(*zone);
        }
        Value::Null => out.put_u8(marker::NULL),
        Value::Undefined => out.put_u8(marker::UNDEFINED),
    }
}

fn put_properties(out: &mut BytesMut, properties: &[(String, Value)]) {
    for (name, value) in properties {
        put_name(out, name);
        encode(out, value);
    }
    out.put_slice(&[0, 0, marker::OBJECT_END]);
}

fn put_name(out: &mut BytesMut, name: &str) {
    let bytes = name.as_bytes().get(..usize::from(u16::MAX)).unwrap_or(name.as_bytes());
    out.put_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    out.put_slice(bytes);
}

fn put_long_text(out: &mut BytesMut, text: &str) {
    out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.put_slice(text.as_bytes());
}
