use std::mem;

use bytes::Bytes;

use super::{
    CHUNK_SIZE_INITIAL, ChunkMessage, ChunkStreamId, KNOWN_CHUNK_STREAMS_MAX, PARTIAL_MESSAGES_MAX,
    TIMESTAMP_EXTENDED, message_bytes_max, message_type,
};
use crate::rtmp::proto::MessageStreamId;

/// Basic header (3) + message header (11) + extended timestamp (4).
const HEADER_BYTES_MAX: usize = 18;

/// What a reader may hold for one peer, and how far it may reserve ahead of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLimits {
    /// The bytes of all incomplete messages together.
    pub partial_bytes_max: usize,
    /// How much room a message's first bytes may reserve beyond themselves.
    pub reserve_ahead_bytes_max: usize,
}

impl ChunkLimits {
    /// For a peer that does not publish: two of the longest commands interleaved. What a publisher sends without waiting for its
    /// answer is less than the piece of input that the answer is given after.
    pub const STRANGER: Self = Self { partial_bytes_max: 128 * 1024, reserve_ahead_bytes_max: 4 * 1024 };
    /// For an admitted publisher: two of the largest video messages interleaved.
    pub const ADMITTED: Self =
        Self { partial_bytes_max: 16 * 1024 * 1024, reserve_ahead_bytes_max: 64 * 1024 };
}

/// A peer broke the chunk format or a limit. The connection cannot go on: what follows cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chunk stream {chunk_stream_id}, chunk at byte {position}: {kind}")]
pub struct ChunkError {
    /// Where the chunk at fault begins, counted from the first byte of the connection.
    pub position: u64,
    /// The chunk stream at fault.
    pub chunk_stream_id: ChunkStreamId,
    /// What is wrong.
    pub kind: ChunkErrorKind,
}

/// What is wrong with a chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkErrorKind {
    /// A compressed header refers to a header that never came.
    #[error("header type {format} without an earlier header on this chunk stream; the first must be type 0")]
    NoHistory {
        /// 1, 2 or 3.
        format: u8,
    },
    /// One chunk stream more than [`KNOWN_CHUNK_STREAMS_MAX`].
    #[error("more than {KNOWN_CHUNK_STREAMS_MAX} chunk streams in use; reuse one per kind of message")]
    TooManyChunkStreams,
    /// One incomplete message more than [`PARTIAL_MESSAGES_MAX`].
    #[error("more than {PARTIAL_MESSAGES_MAX} messages incomplete at once; finish or abort one first")]
    TooManyPartialMessages,
    /// The incomplete messages together outgrew [`ChunkLimits::partial_bytes_max`].
    #[error("incomplete messages hold more than {max} bytes; finish or abort one first")]
    TooManyPartialBytes {
        /// The limit in force.
        max: usize,
    },
    /// The header declares more than [`message_bytes_max`].
    #[error("message of type {type_id} declares {declared} bytes; at most {max} are accepted")]
    MessageTooLong {
        /// Message type.
        type_id: u8,
        /// Bytes declared by the header.
        declared: u32,
        /// Bytes accepted for this type.
        max: u32,
    },
    /// SetChunkSize with 0 or with the top bit set (section 5.4.1).
    #[error("chunk size {value:#x} is not allowed; 1 to 0x7fffffff is")]
    ChunkSize {
        /// The value received.
        value: u32,
    },
    /// A SetChunkSize or Abort message without its four bytes.
    #[error("control message of type {type_id} has {length} bytes; it needs 4")]
    ControlTooShort {
        /// Message type.
        type_id: u8,
        /// Bytes received.
        length: usize,
    },
}

impl ChunkErrorKind {
    /// The limit that was reached, by the name of its constant in lower case; `None` where the format itself is broken.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::TooManyChunkStreams => Some("known_chunk_streams_max"),
            Self::TooManyPartialMessages => Some("partial_messages_max"),
            Self::TooManyPartialBytes { .. } => Some("partial_bytes_max"),
            Self::MessageTooLong { .. } => Some("message_bytes_max"),
            Self::NoHistory { .. } | Self::ChunkSize { .. } | Self::ControlTooShort { .. } => None,
        }
    }
}

/// Puts chunks together to messages.
///
/// Bytes may arrive in any split. SetChunkSize and Abort take effect here, since the meaning of the next byte
/// depends on them; they are handed out like every other message.
///
/// Where senders differ:
/// - A type 3 chunk that starts a message adds the delta of the last header again. After a type 0 header that
///   delta is the timestamp itself (section 5.3.1.2.4): ffmpeg, librtmp and SRS read it so, and ffmpeg's sender
///   relies on it.
/// - An extended timestamp is repeated on type 3 chunks by most senders and left out by librtmp. Here the four
///   bytes are compared with the field of the last full header: equal means repeated, else they are payload.
/// - A header of type 0, 1 or 2 in the middle of a message ends that message unfinished; it is discarded.
#[derive(Debug)]
pub struct ChunkReader {
    limits: ChunkLimits,
    chunk_size: u32,
    /// Offset in the connection of the next byte to be read.
    position: u64,
    /// Offset in the connection at which the current chunk begins.
    chunk_start: u64,
    stage: Stage,
    header: HeaderBytes,
    streams: Vec<ChunkStream>,
    partial_messages: usize,
    partial_bytes: usize,
    /// Bytes taken for a repeated extended timestamp that turned out to be payload.
    held: Held,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Header,
    /// A type 3 header is complete except for an extended timestamp that may follow.
    Peek {
        index: usize,
        expected: [u8; 4],
        matched: usize,
    },
    Payload {
        index: usize,
        remaining: usize,
    },
}

enum Step {
    Message(ChunkMessage),
    NeedMore,
    Held,
}

#[derive(Debug, Clone, Copy, Default)]
struct HeaderBytes {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    bytes: [u8; 4],
    len: usize,
}

/// What one chunk stream remembers between chunks.
#[derive(Debug)]
struct ChunkStream {
    id: ChunkStreamId,
    timestamp: u32,
    /// What a type 3 chunk adds when it starts a message.
    delta: u32,
    /// The extended timestamp of the last header of type 0, 1 or 2, if it had one.
    extended: Option<u32>,
    length: u32,
    type_id: u8,
    message_stream_id: MessageStreamId,
    partial: Option<Vec<u8>>,
}

/// The fields of a header of type 0, 1 or 2.
struct Fields {
    timestamp: u32,
    extended: bool,
    length_and_type: Option<(u32, u8)>,
    message_stream_id: Option<MessageStreamId>,
}

impl ChunkReader {
    /// A reader for a peer that starts with chunks of 128 bytes. `position` is the number of bytes that the
    /// connection carried before, so that errors name offsets in the connection.
    pub fn new(position: u64, limits: ChunkLimits) -> Self {
        Self {
            limits,
            chunk_size: CHUNK_SIZE_INITIAL,
            position,
            chunk_start: position,
            stage: Stage::Header,
            header: HeaderBytes::default(),
            streams: Vec::new(),
            partial_messages: 0,
            partial_bytes: 0,
            held: Held::default(),
        }
    }

    /// Changes the limits; messages that are under way are measured by the new ones.
    pub fn set_limits(&mut self, limits: ChunkLimits) {
        self.limits = limits;
    }

    /// The chunk size that the peer announced last.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Bytes of the connection that were read so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes received for messages that are still incomplete.
    pub fn partial_bytes(&self) -> usize {
        self.partial_bytes
    }

    /// Bytes reserved for messages that are still incomplete. Never more than twice the bytes received plus
    /// [`ChunkLimits::reserve_ahead_bytes_max`] for each message.
    pub fn partial_capacity_bytes(&self) -> usize {
        self.streams.iter().filter_map(|stream| stream.partial.as_ref()).map(Vec::capacity).sum()
    }

    /// Reads until a message is complete or `input` is used up; takes from `input` what it has read. Call it until
    /// it returns `None`. After an error the reader must not be used any more.
    pub fn next_message(&mut self, input: &mut &[u8]) -> Result<Option<ChunkMessage>, ChunkError> {
        loop {
            if self.held.len == 0 {
                match self.advance(input)? {
                    Step::Message(message) => return Ok(Some(message)),
                    Step::NeedMore => return Ok(None),
                    Step::Held => {}
                }
                continue;
            }
            let held = mem::take(&mut self.held);
            let mut rest = held.as_slice();
            let step = self.advance(&mut rest)?;
            self.held = Held::new(rest);
            if let Step::Message(message) = step {
                return Ok(Some(message));
            }
        }
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Step, ChunkError> {
        loop {
            match self.stage {
                Stage::Header => {
                    if !self.read_header(input)? {
                        return Ok(Step::NeedMore);
                    }
                }
                Stage::Peek { index, expected, matched } => {
                    let pending = expected.get(matched..).unwrap_or_default();
                    let equal = pending.iter().zip(input.iter()).take_while(|(a, b)| a == b).count();
                    if equal == pending.len() {
                        self.consume(input, equal);
                        self.start_payload(index)?;
                    } else if equal == input.len() {
                        self.consume(input, equal);
                        self.stage = Stage::Peek { index, expected, matched: matched + equal };
                        return Ok(Step::NeedMore);
                    } else {
                        self.start_payload(index)?;
                        if matched > 0 {
                            self.held = Held::new(expected.get(..matched).unwrap_or_default());
                            self.position -= matched as u64;
                            return Ok(Step::Held);
                        }
                    }
                }
                Stage::Payload { index, remaining } => {
                    let taken = remaining.min(input.len());
                    self.append(index, input, taken)?;
                    if taken < remaining {
                        self.stage = Stage::Payload { index, remaining: remaining - taken };
                        return Ok(Step::NeedMore);
                    }
                    self.stage = Stage::Header;
                    if let Some(message) = self.finish(index)? {
                        return Ok(Step::Message(message));
                    }
                }
            }
        }
    }

    fn consume(&mut self, input: &mut &[u8], count: usize) {
        *input = input.get(count..).unwrap_or_default();
        self.position += count as u64;
    }

    /// Fills the header buffer up to `needed` bytes; false when the input ended first.
    fn gather(&mut self, input: &mut &[u8], needed: usize) -> bool {
        let missing = needed.saturating_sub(self.header.len);
        let taken = missing.min(input.len());
        if let (Some(target), Some(source)) =
            (self.header.bytes.get_mut(self.header.len..self.header.len + taken), input.get(..taken))
        {
            target.copy_from_slice(source);
        }
        self.header.len += taken;
        self.consume(input, taken);
        taken == missing
    }

    /// Reads one chunk header. True when it is complete and the stage has moved on.
    fn read_header(&mut self, input: &mut &[u8]) -> Result<bool, ChunkError> {
        if self.header.len == 0 {
            self.chunk_start = self.position;
        }
        if !self.gather(input, 1) {
            return Ok(false);
        }
        let [first, ..] = self.header.bytes;
        let format = first >> 6;
        let basic_bytes = match first & 0x3F {
            0 => 2,
            1 => 3,
            _ => 1,
        };
        if !self.gather(input, basic_bytes) {
            return Ok(false);
        }
        let [_, second, third, ..] = self.header.bytes;
        let id = ChunkStreamId(match first & 0x3F {
            0 => 64 + u32::from(second),
            1 => 64 + u32::from(second) + 256 * u32::from(third),
            id => u32::from(id),
        });
        let known = self.streams.iter().position(|stream| stream.id == id);
        if format != 0 && known.is_none() {
            return Err(self.fault(id, ChunkErrorKind::NoHistory { format }));
        }
        let message_header_bytes = match format {
            0 => 11,
            1 => 7,
            2 => 3,
            _ => 0,
        };
        if !self.gather(input, basic_bytes + message_header_bytes) {
            return Ok(false);
        }
        match known {
            Some(index) if format == 3 => self.continue_stream(index)?,
            _ => {
                let Some(fields) = self.read_fields(input, basic_bytes, message_header_bytes) else {
                    return Ok(false);
                };
                let index = match known {
                    Some(index) => index,
                    None => self.add_stream(id)?,
                };
                self.apply_fields(index, &fields)?;
                self.start_payload(index)?;
            }
        }
        self.header.len = 0;
        Ok(true)
    }

    /// Reads the fields of a header of type 0, 1 or 2. `None` when the input ended first.
    fn read_fields(&mut self, input: &mut &[u8], basic: usize, message_header: usize) -> Option<Fields> {
        let mut field = [0; 11];
        field
            .get_mut(..message_header)?
            .copy_from_slice(self.header.bytes.get(basic..basic + message_header)?);
        let [t0, t1, t2, l0, l1, l2, type_id, s0, s1, s2, s3] = field;
        let short = u32::from_be_bytes([0, t0, t1, t2]);
        let extended = short == TIMESTAMP_EXTENDED;
        let mut timestamp = short;
        if extended {
            let end = basic + message_header + 4;
            if !self.gather(input, end) {
                return None;
            }
            timestamp = u32::from_be_bytes(*self.header.bytes.get(..end)?.last_chunk::<4>()?);
        }
        Some(Fields {
            timestamp,
            extended,
            length_and_type: (message_header >= 7).then(|| (u32::from_be_bytes([0, l0, l1, l2]), type_id)),
            message_stream_id: (message_header == 11)
                .then(|| MessageStreamId(u32::from_le_bytes([s0, s1, s2, s3]))),
        })
    }

    fn add_stream(&mut self, id: ChunkStreamId) -> Result<usize, ChunkError> {
        if self.streams.len() >= KNOWN_CHUNK_STREAMS_MAX {
            return Err(self.fault(id, ChunkErrorKind::TooManyChunkStreams));
        }
        self.streams.push(ChunkStream {
            id,
            timestamp: 0,
            delta: 0,
            extended: None,
            length: 0,
            type_id: 0,
            message_stream_id: MessageStreamId::CONNECTION,
            partial: None,
        });
        Ok(self.streams.len() - 1)
    }

    /// Takes over a header of type 0, 1 or 2: it always starts a message.
    fn apply_fields(&mut self, index: usize, fields: &Fields) -> Result<(), ChunkError> {
        self.discard(index);
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        stream.delta = fields.timestamp;
        stream.extended = fields.extended.then_some(fields.timestamp);
        if let Some((length, type_id)) = fields.length_and_type {
            stream.length = length;
            stream.type_id = type_id;
        }
        if let Some(message_stream_id) = fields.message_stream_id {
            stream.message_stream_id = message_stream_id;
            stream.timestamp = fields.timestamp;
        } else {
            stream.timestamp = stream.timestamp.wrapping_add(fields.timestamp);
        }
        self.start_message(index)
    }

    /// Takes over a type 3 header: it continues the message under way or starts one like the last.
    fn continue_stream(&mut self, index: usize) -> Result<(), ChunkError> {
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        let extended = stream.extended;
        if stream.partial.is_none() {
            stream.timestamp = stream.timestamp.wrapping_add(stream.delta);
            self.start_message(index)?;
        }
        match extended {
            Some(value) => {
                self.stage = Stage::Peek { index, expected: value.to_be_bytes(), matched: 0 };
                Ok(())
            }
            None => self.start_payload(index),
        }
    }

    fn start_message(&mut self, index: usize) -> Result<(), ChunkError> {
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        let (id, type_id, declared) = (stream.id, stream.type_id, stream.length);
        let max = message_bytes_max(type_id);
        if declared > max {
            return Err(self.fault(id, ChunkErrorKind::MessageTooLong { type_id, declared, max }));
        }
        if self.partial_messages >= PARTIAL_MESSAGES_MAX {
            return Err(self.fault(id, ChunkErrorKind::TooManyPartialMessages));
        }
        stream.partial = Some(Vec::new());
        self.partial_messages += 1;
        Ok(())
    }

    fn start_payload(&mut self, index: usize) -> Result<(), ChunkError> {
        let Some(stream) = self.streams.get(index) else { return Ok(()) };
        let received = stream.partial.as_ref().map_or(0, Vec::len);
        let left = (stream.length as usize).saturating_sub(received);
        self.stage = Stage::Payload { index, remaining: left.min(self.chunk_size as usize) };
        Ok(())
    }

    fn append(&mut self, index: usize, input: &mut &[u8], count: usize) -> Result<(), ChunkError> {
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        let (Some(partial), Some(bytes)) = (stream.partial.as_mut(), input.get(..count)) else {
            return Ok(());
        };
        if self.partial_bytes + count > self.limits.partial_bytes_max {
            let (id, max) = (stream.id, self.limits.partial_bytes_max);
            return Err(self.fault(id, ChunkErrorKind::TooManyPartialBytes { max }));
        }
        let required = partial.len() + count;
        if required > partial.capacity() {
            // What is in hand already will mostly belong to this message, so one reservation serves its chunks.
            let ahead = (input.len() - count).min(self.limits.reserve_ahead_bytes_max);
            let capacity = (required + ahead).max(2 * partial.len()).min(stream.length as usize);
            partial.reserve_exact(capacity.max(required) - partial.len());
        }
        partial.extend_from_slice(bytes);
        self.partial_bytes += count;
        self.consume(input, count);
        Ok(())
    }

    /// Hands out the message of a chunk stream if its last byte is there.
    fn finish(&mut self, index: usize) -> Result<Option<ChunkMessage>, ChunkError> {
        let Some(stream) = self.streams.get_mut(index) else { return Ok(None) };
        let Some(partial) = stream.partial.take_if(|partial| partial.len() >= stream.length as usize) else {
            return Ok(None);
        };
        self.partial_messages -= 1;
        self.partial_bytes -= partial.len();
        let message = ChunkMessage {
            chunk_stream_id: stream.id,
            message_stream_id: stream.message_stream_id,
            type_id: stream.type_id,
            timestamp: stream.timestamp,
            payload: Bytes::from(partial),
        };
        match message.type_id {
            message_type::SET_CHUNK_SIZE => {
                let value = self.control_value(&message)?;
                if value == 0 || value > 0x7FFF_FFFF {
                    return Err(self.fault(message.chunk_stream_id, ChunkErrorKind::ChunkSize { value }));
                }
                self.chunk_size = value;
            }
            message_type::ABORT => {
                let aborted = self.control_value(&message)?;
                if let Some(index) = self.streams.iter().position(|stream| stream.id.get() == aborted) {
                    self.discard(index);
                }
            }
            _ => {}
        }
        Ok(Some(message))
    }

    fn control_value(&self, message: &ChunkMessage) -> Result<u32, ChunkError> {
        message.payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).ok_or_else(|| {
            let kind =
                ChunkErrorKind::ControlTooShort { type_id: message.type_id, length: message.payload.len() };
            self.fault(message.chunk_stream_id, kind)
        })
    }

    fn discard(&mut self, index: usize) {
        if let Some(partial) = self.streams.get_mut(index).and_then(|stream| stream.partial.take()) {
            self.partial_messages -= 1;
            self.partial_bytes -= partial.len();
        }
    }

    fn fault(&self, chunk_stream_id: ChunkStreamId, kind: ChunkErrorKind) -> ChunkError {
        ChunkError { position: self.chunk_start, chunk_stream_id, kind }
    }
}

impl Held {
    fn new(bytes: &[u8]) -> Self {
        let mut held = Self::default();
        for (target, source) in held.bytes.iter_mut().zip(bytes) {
            *target = *source;
            held.len += 1;
        }
        held
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
