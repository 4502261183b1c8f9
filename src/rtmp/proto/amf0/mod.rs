//! AMF0 (Action Message Format, 2007): the values inside commands and data messages.
//!
//! Reading is bounded in depth and in number of values and never reserves by a declared count. It is lenient where
//! encoders are sloppy: text that is not UTF-8 is replaced, references and AMF3 values become [`Value::Null`].

mod reader;
mod writer;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::every_kind_of_value;

pub use reader::{Amf0Error, Amf0ErrorKind, Reader, string_prefix, within_depth};
pub use writer::encode;

/// How deep objects and arrays may nest. `onMetaData` and `connect` need two; the reader recurses once per level.
pub const DEPTH_MAX: usize = 16;

/// How many values one message may hold, nested ones included. `connect` has about fifteen.
pub const VALUES_MAX: usize = 1024;

mod marker {
    pub(super) const NUMBER: u8 = 0x00;
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const OBJECT: u8 = 0x03;
    pub(super) const NULL: u8 = 0x05;
    pub(super) const UNDEFINED: u8 = 0x06;
    pub(super) const REFERENCE: u8 = 0x07;
    pub(super) const ECMA_ARRAY: u8 = 0x08;
    pub(super) const OBJECT_END: u8 = 0x09;
    pub(super) const STRICT_ARRAY: u8 = 0x0A;
    pub(super) const DATE: u8 = 0x0B;
    pub(super) const LONG_STRING: u8 = 0x0C;
    pub(super) const UNSUPPORTED: u8 = 0x0D;
    pub(super) const XML: u8 = 0x0F;
    pub(super) const TYPED_OBJECT: u8 = 0x10;
    pub(super) const AMF3: u8 = 0x11;
}

/// One value. Properties keep the order of the wire.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A double.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// A string, short or long.
    String(String),
    /// An anonymous object.
    Object(Vec<(String, Self)>),
    /// Null; also what stands for a reference or an AMF3 value.
    Null,
    /// Undefined; also what stands for the "unsupported" marker.
    Undefined,
    /// An associative array.
    EcmaArray(Vec<(String, Self)>),
    /// An array without names.
    StrictArray(Vec<Self>),
    /// Milliseconds since 1970 UTC, and a zone that the format reserves.
    Date {
        /// Milliseconds since 1970 UTC.
        unix_ms: f64,
        /// Reserved, 0.
        zone: i16,
    },
    /// An XML document as text.
    Xml(String),
    /// An object with a class name.
    TypedObject {
        /// The class.
        class: String,
        /// Its properties.
        properties: Vec<(String, Self)>,
    },
}

impl Value {
    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// A number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The properties of an object of any sort; none for other values.
    pub fn properties(&self) -> &[(String, Self)] {
        match self {
            Self::Object(properties) | Self::EcmaArray(properties) | Self::TypedObject { properties, .. } => {
                properties
            }
            _ => &[],
        }
    }

    /// The first property of that name.
    pub fn property(&self, name: &str) -> Option<&Self> {
        self.properties().iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// An object with these properties, in this order.
pub fn object<const N: usize>(properties: [(&str, Value); N]) -> Value {
    Value::Object(properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
