//! Messages with their types (RTMP 1.0, sections 5.4, 6.2 and 7).

use bytes::{Buf, Bytes, BytesMut};

use super::amf0::{self, Reader, Value};
use super::chunk::message_type;

mod aggregate;

#[cfg(test)]
mod tests;

pub use aggregate::{AGGREGATED_MESSAGES_MAX, AggregateError, AggregatedMessage, unpack_aggregate};

/// A message by its type. Bodies of media stay opaque and shared.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The peer's chunks have this size from here on. [`ChunkReader`](super::chunk::ChunkReader) has obeyed already.
    SetChunkSize(u32),
    /// The peer gives up an unfinished message on this chunk stream. The reader has obeyed already.
    Abort(u32),
    /// The peer has received so many bytes, modulo 2^32.
    Acknowledgement(u32),
    /// An event about a stream or the link.
    UserControl(UserControl),
    /// The peer wants an acknowledgement at least every so many bytes.
    WindowAcknowledgementSize(u32),
    /// The peer limits our unacknowledged output to so many bytes.
    SetPeerBandwidth(u32),
    /// A call, an answer or a status.
    Command(Command),
    /// AMF0 values, the name first, as raw bytes. An AMF3 envelope is taken off.
    Data(Bytes),
    /// The body of an FLV audio tag.
    Audio(Bytes),
    /// The body of an FLV video tag.
    Video(Bytes),
    /// Several messages in one, for [`unpack_aggregate`].
    Aggregate(Bytes),
    /// A type that we do not read, or a body too short for its type.
    Ignored {
        /// The number of the type.
        type_id: u8,
    },
}

/// User control events (section 7.1.7) that matter to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserControl {
    /// Event 3: the player buffers so many milliseconds on a stream.
    SetBufferLength {
        /// The stream.
        stream_id: u32,
        /// Milliseconds.
        buffer_ms: u32,
    },
    /// Event 6: wants [`Self::PingResponse`] with the same timestamp.
    PingRequest(u32),
    /// Event 7: answers our ping.
    PingResponse(u32),
    /// Another event, or one that is too short.
    Other(u16),
}

/// A command message: name, transaction, command object, arguments.
///
/// Whatever cannot be read is left out: a body that breaks off keeps the values before the break, a missing
/// transaction is 0, a missing object is null.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// What is called.
    pub name: String,
    /// Ties an answer to its call; 0 wants no answer.
    pub transaction: f64,
    /// The command object; null for most commands.
    pub object: Value,
    /// What follows the object.
    pub arguments: Vec<Value>,
}

impl Message {
    /// Gives a message its type. Never fails: what makes no sense becomes [`Message::Ignored`].
    pub fn parse(type_id: u8, body: Bytes) -> Self {
        let parsed = match type_id {
            message_type::AUDIO => return Self::Audio(body),
            message_type::VIDEO => return Self::Video(body),
            message_type::DATA_AMF0 => return Self::Data(body),
            message_type::DATA_AMF3 => return Self::Data(without_amf3_envelope(body)),
            message_type::AGGREGATE => return Self::Aggregate(body),
            message_type::SET_CHUNK_SIZE => number(&body).map(Self::SetChunkSize),
            message_type::ABORT => number(&body).map(Self::Abort),
            message_type::ACKNOWLEDGEMENT => number(&body).map(Self::Acknowledgement),
            message_type::WINDOW_ACKNOWLEDGEMENT_SIZE => number(&body).map(Self::WindowAcknowledgementSize),
            message_type::SET_PEER_BANDWIDTH => number(&body).map(Self::SetPeerBandwidth),
            message_type::USER_CONTROL => UserControl::parse(&body).map(Self::UserControl),
            message_type::COMMAND_AMF0 => Command::parse(&body).map(Self::Command),
            message_type::COMMAND_AMF3 => Command::parse(&without_amf3_envelope(body)).map(Self::Command),
            _ => None,
        };
        parsed.unwrap_or(Self::Ignored { type_id })
    }
}

/// The AMF3 forms of command and data start with a byte 0 and then carry AMF0 values, as long as no value switches.
fn without_amf3_envelope(mut body: Bytes) -> Bytes {
    if body.first() == Some(&0) {
        body.advance(1);
    }
    body
}

fn number(body: &[u8]) -> Option<u32> {
    body.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

impl UserControl {
    fn parse(body: &[u8]) -> Option<Self> {
        let (event, rest) = body.split_first_chunk()?;
        let event = u16::from_be_bytes(*event);
        let parsed = match (event, number(rest)) {
            (3, Some(stream_id)) => {
                rest.get(4..).and_then(number).map(|buffer_ms| Self::SetBufferLength { stream_id, buffer_ms })
            }
            (6, Some(timestamp)) => Some(Self::PingRequest(timestamp)),
            (7, Some(timestamp)) => Some(Self::PingResponse(timestamp)),
            _ => None,
        };
        Some(parsed.unwrap_or(Self::Other(event)))
    }
}

/// Bodies of the user control events that we send.
pub(super) mod user_control {
    /// Event 0: from here on the stream can be used.
    pub(crate) const STREAM_BEGIN: u16 = 0;
    /// Event 1: nothing more will come on the stream.
    pub(crate) const STREAM_EOF: u16 = 1;
    /// Event 3: how much a player buffers.
    pub(crate) const SET_BUFFER_LENGTH: u16 = 3;
    /// Event 7: answers a ping.
    pub(crate) const PING_RESPONSE: u16 = 7;

    pub(crate) fn body(event: u16, value: u32) -> [u8; 6] {
        let [e0, e1] = event.to_be_bytes();
        let [v0, v1, v2, v3] = value.to_be_bytes();
        [e0, e1, v0, v1, v2, v3]
    }
}

impl Command {
    /// Reads a command body. `None` when it does not start with a name.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let mut next = || reader.next_value().ok().flatten();
        let Some(Value::String(name)) = next() else { return None };
        let transaction = next().and_then(|value| value.as_number()).unwrap_or(0.0);
        let object = next().unwrap_or(Value::Null);
        let arguments = std::iter::from_fn(next).collect();
        Some(Self { name, transaction, object, arguments })
    }

    /// The body of a command message.
    pub fn encode(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(256);
        amf0::encode(&mut body, &Value::from(self.name.as_str()));
        amf0::encode(&mut body, &Value::Number(self.transaction));
        amf0::encode(&mut body, &self.object);
        for argument in &self.arguments {
            amf0::encode(&mut body, argument);
        }
        body.freeze()
    }

    /// Whether the caller waits for an answer.
    pub fn wants_answer(&self) -> bool {
        self.transaction.is_finite() && self.transaction != 0.0
    }
}
