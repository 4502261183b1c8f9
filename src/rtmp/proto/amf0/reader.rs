use super::{DEPTH_MAX, VALUES_MAX, Value, marker};

/// A value that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("AMF0 value at byte {position} of the message: {kind}")]
pub struct Amf0Error {
    /// Offset of the value at fault in the message body.
    pub position: usize,
    /// What is wrong.
    pub kind: Amf0ErrorKind,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Amf0ErrorKind {
    /// The message ends inside the value.
    #[error("the message ends inside it")]
    UnexpectedEnd,
    /// A marker that AMF0 reserves or does not know.
    #[error("marker {0:#04x} is not an AMF0 value")]
    Marker(u8),
    /// Deeper than [`DEPTH_MAX`].
    #[error("objects and arrays nest deeper than {DEPTH_MAX}")]
    TooDeep,
    /// More than [`VALUES_MAX`] values.
    #[error("more than {VALUES_MAX} values")]
    TooManyValues,
}

/// Reads values one after another from a message body.
///
/// After an AMF3 marker the rest of the body has a length that only an AMF3 reader could tell: the value becomes
/// null, the objects around it end, and the body counts as read.
#[derive(Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    total: usize,
    values: usize,
    amf3: bool,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `body`.
    pub fn new(body: &'a [u8]) -> Self {
        Self { input: body, total: body.len(), values: 0, amf3: false }
    }

    /// The bytes that were not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.input
    }

    /// The next value; `None` at the end of the body. After an error there is no way to go on.
    pub fn next_value(&mut self) -> Result<Option<Value>, Amf0Error> {
        if self.input.is_empty() { Ok(None) } else { self.value(0).map(Some) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Amf0Error> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(self.fault(Amf0ErrorKind::TooManyValues));
        }
        let [marker] = self.take()?;
        match marker {
            marker::NUMBER => Ok(Value::Number(f64::from_be_bytes(self.take()?))),
            marker::BOOLEAN => self.take().map(|[byte]| Value::Boolean(byte != 0)),
            marker::STRING => self.short_text().map(Value::String),
            marker::LONG_STRING => self.long_text().map(Value::String),
            marker::XML => self.long_text().map(Value::Xml),
            marker::NULL => Ok(Value::Null),
            marker::UNDEFINED | marker::UNSUPPORTED => Ok(Value::Undefined),
            marker::REFERENCE => self.take::<2>().map(|_| Value::Null),
            marker::DATE => {
                let unix_ms = f64::from_be_bytes(self.take()?);
                Ok(Value::Date { unix_ms, zone: i16::from_be_bytes(self.take()?) })
            }
            marker::AMF3 => {
                self.input = &[];
                self.amf3 = true;
                Ok(Value::Null)
            }
            marker::OBJECT => self.properties(depth).map(Value::Object),
            marker::ECMA_ARRAY => {
                self.take::<4>()?;
                self.properties(depth).map(Value::EcmaArray)
            }
            marker::TYPED_OBJECT => {
                let class = self.short_text()?;
                Ok(Value::TypedObject { class, properties: self.properties(depth)? })
            }
            marker::STRICT_ARRAY => self.strict_array(depth),
            other => Err(self.fault(Amf0ErrorKind::Marker(other))),
        }
    }

    fn properties(&mut self, depth: usize) -> Result<Vec<(String, Value)>, Amf0Error> {
        let depth = self.deeper(depth)?;
        let mut properties = Vec::new();
        loop {
            if self.amf3 {
                return Ok(properties);
            }
            if let [0, 0, marker::OBJECT_END, rest @ ..] = self.input {
                self.input = rest;
                return Ok(properties);
            }
            let name = self.short_text()?;
            properties.push((name, self.value(depth)?));
        }
    }

    fn strict_array(&mut self, depth: usize) -> Result<Value, Amf0Error> {
        let depth = self.deeper(depth)?;
        let declared = u32::from_be_bytes(self.take()?);
        let mut values = Vec::new();
        for _ in 0..declared {
            if self.amf3 {
                break;
            }
            values.push(self.value(depth)?);
        }
        Ok(Value::StrictArray(values))
    }

    fn deeper(&self, depth: usize) -> Result<usize, Amf0Error> {
        if depth >= DEPTH_MAX { Err(self.fault(Amf0ErrorKind::TooDeep)) } else { Ok(depth + 1) }
    }

    fn short_text(&mut self) -> Result<String, Amf0Error> {
        let length = u16::from_be_bytes(self.take()?);
        self.text(usize::from(length))
    }

    fn long_text(&mut self) -> Result<String, Amf0Error> {
        let length = u32::from_be_bytes(self.take()?);
        self.text(length as usize)
    }

    fn text(&mut self, length: usize) -> Result<String, Amf0Error> {
        let (text, rest) =
            self.input.split_at_checked(length).ok_or_else(|| self.fault(Amf0ErrorKind::UnexpectedEnd))?;
        self.input = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Amf0Error> {
        let (bytes, rest) =
            self.input.split_first_chunk().ok_or_else(|| self.fault(Amf0ErrorKind::UnexpectedEnd))?;
        self.input = rest;
        Ok(*bytes)
    }

    fn fault(&self, kind: Amf0ErrorKind) -> Amf0Error {
        Amf0Error { position: self.total - self.input.len(), kind }
    }
}

/// The bytes of a string at the start of `body`, and what follows it. `None` if there is no string.
pub fn string_prefix(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&marker, rest) = body.split_first()?;
    let (length, rest) = match marker {
        marker::STRING => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        marker::LONG_STRING => {
            let (length, rest) = rest.split_first_chunk()?;
            (u32::from_be_bytes(*length) as usize, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Whether the values in `body` nest no deeper than [`DEPTH_MAX`], as far as they can be read.
///
/// It builds nothing and counts nothing, so that a long keyframe index passes; it keeps bodies from viewers whose
/// own readers recurse without a limit.
pub fn within_depth(body: &[u8]) -> bool {
    /// What is open around the next value: named properties, or that many array elements.
    enum Open {
        Properties,
        Elements(u32),
    }
    let mut open: Vec<Open> = Vec::new();
    let mut rest = body;
    let skip = |rest: &mut &[u8], count: usize| match rest.get(count..) {
        Some(after) => {
            *rest = after;
            true
        }
        None => false,
    };
    loop {
        match open.last_mut() {
            Some(Open::Elements(0)) => {
                open.pop();
                continue;
            }
            Some(Open::Elements(left)) => *left -= 1,
            Some(Open::Properties) => {
                if let [0, 0, marker::OBJECT_END, after @ ..] = rest {
                    rest = after;
                    open.pop();
                    continue;
                }
                let Some((length, after)) = rest.split_first_chunk() else { return true };
                rest = after;
                if !skip(&mut rest, usize::from(u16::from_be_bytes(*length))) {
                    return true;
                }
            }
            None => {}
        }
        let Some((&marker, after)) = rest.split_first() else { return true };
        let (fixed, opened) = match marker {
            marker::NUMBER => (8, None),
            marker::BOOLEAN => (1, None),
            marker::NULL | marker::UNDEFINED | marker::UNSUPPORTED => (0, None),
            marker::REFERENCE => (2, None),
            marker::DATE => (10, None),
            marker::STRING | marker::LONG_STRING => {
                let Some((_, after)) = string_prefix(rest) else { return true };
                rest = after;
                continue;
            }
            marker::XML => match after.first_chunk() {
                Some(length) => (4 + u32::from_be_bytes(*length) as usize, None),
                None => return true,
            },
            marker::OBJECT => (0, Some(Open::Properties)),
            marker::ECMA_ARRAY => (4, Some(Open::Properties)),
            marker::TYPED_OBJECT => match after.first_chunk() {
                Some(length) => (2 + usize::from(u16::from_be_bytes(*length)), Some(Open::Properties)),
                None => return true,
            },
            marker::STRICT_ARRAY => match after.first_chunk() {
                Some(count) => (4, Some(Open::Elements(u32::from_be_bytes(*count)))),
                None => return true,
            },
            _ => return true,
        };
        rest = after;
        if !skip(&mut rest, fixed) {
            return true;
        }
        if let Some(opened) = opened {
            if open.len() >= DEPTH_MAX {
                return false;
            }
            open.push(opened);
        }
    }
}
