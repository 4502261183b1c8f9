use bytes::{Bytes, BytesMut};

use super::{ChunkStreamId, MESSAGE_LENGTH_MAX, OUTBOUND_CHUNK_SIZE, TIMESTAMP_EXTENDED, message_type};
use crate::rtmp::proto::{MediaKind, MessageStreamId};

/// Basic header (3) + message header (11) + extended timestamp (4).
const CHUNK_HEADER_BYTES_MAX: usize = 18;

/// A message that the 24-bit length field cannot declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message of {length} bytes; RTMP carries at most {MESSAGE_LENGTH_MAX}")]
pub struct MessageTooLong {
    /// Bytes of the payload.
    pub length: usize,
}

/// What stands in the header of a message besides its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHead {
    /// The chunk stream to send it on.
    pub chunk_stream_id: ChunkStreamId,
    /// The message stream that it belongs to.
    pub message_stream_id: MessageStreamId,
    /// One of [`message_type`].
    pub type_id: u8,
    /// Milliseconds, absolute, modulo 2^32.
    pub timestamp: u32,
}

impl MessageHead {
    /// Where and as what a media message travels to a viewer.
    fn media(kind: MediaKind, stream: MessageStreamId, timestamp: u32) -> Self {
        let (chunk_stream_id, type_id) = match kind {
            MediaKind::Audio => (ChunkStreamId::AUDIO, message_type::AUDIO),
            MediaKind::Video => (ChunkStreamId::VIDEO, message_type::VIDEO),
            MediaKind::Data => (ChunkStreamId::DATA, message_type::DATA_AMF0),
        };
        Self { chunk_stream_id, message_stream_id: stream, type_id, timestamp }
    }
}

/// The header of one chunk, at most 18 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHeader {
    bytes: [u8; CHUNK_HEADER_BYTES_MAX],
    len: u8,
}

impl ChunkHeader {
    /// A type 0 header: complete, so that it means the same whatever came before.
    fn full(head: &MessageHead, length: u32) -> Self {
        let mut header = Self::basic(0, head.chunk_stream_id);
        let [_, t0, t1, t2] = head.timestamp.min(TIMESTAMP_EXTENDED).to_be_bytes();
        let [_, l0, l1, l2] = length.to_be_bytes();
        header.push(&[t0, t1, t2, l0, l1, l2, head.type_id]);
        header.push(&head.message_stream_id.0.to_le_bytes());
        header.push_extended(head.timestamp);
        header
    }

    /// A type 3 header inside a message: it repeats the extended timestamp, which Flash and librtmp expect.
    fn continuation(head: &MessageHead) -> Self {
        let mut header = Self::basic(3, head.chunk_stream_id);
        header.push_extended(head.timestamp);
        header
    }

    fn basic(format: u8, id: ChunkStreamId) -> Self {
        let mut header = Self { bytes: [0; CHUNK_HEADER_BYTES_MAX], len: 0 };
        let format = format << 6;
        match u8::try_from(id.get()) {
            Ok(short @ 0..64) => header.push(&[format | short]),
            _ => {
                let [low, high, ..] = (id.get() - 64).to_le_bytes();
                if high == 0 {
                    header.push(&[format, low]);
                } else {
                    header.push(&[format | 1, low, high]);
                }
            }
        }
        header
    }

    fn push_extended(&mut self, timestamp: u32) {
        if timestamp >= TIMESTAMP_EXTENDED {
            self.push(&timestamp.to_be_bytes());
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        for (target, source) in self.bytes.iter_mut().skip(usize::from(self.len)).zip(bytes) {
            *target = *source;
            self.len += 1;
        }
    }

    /// The bytes for the wire.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

fn message_length(payload: &[u8]) -> Result<u32, MessageTooLong> {
    match u32::try_from(payload.len()) {
        Ok(length) if length <= MESSAGE_LENGTH_MAX => Ok(length),
        _ => Err(MessageTooLong { length: payload.len() }),
    }
}

/// Appends a message to `out` as one type 0 chunk and type 3 chunks after it, `chunk_size` bytes each.
pub fn write_message(
    out: &mut BytesMut,
    chunk_size: u32,
    head: &MessageHead,
    payload: &[u8],
) -> Result<(), MessageTooLong> {
    let length = message_length(payload)?;
    out.extend_from_slice(ChunkHeader::full(head, length).as_slice());
    let continuation = ChunkHeader::continuation(head);
    for (number, piece) in payload.chunks(chunk_size.max(1) as usize).enumerate() {
        if number > 0 {
            out.extend_from_slice(continuation.as_slice());
        }
        out.extend_from_slice(piece);
    }
    Ok(())
}

/// Appends the wire image of one media message to `out`: the same bytes as those of [`MediaChunks::new`], copied.
pub fn write_media(
    out: &mut BytesMut,
    kind: MediaKind,
    timestamp: u32,
    payload: &[u8],
) -> Result<(), MessageTooLong> {
    let head = MessageHead::media(kind, MessageStreamId::FIRST, timestamp);
    write_message(out, OUTBOUND_CHUNK_SIZE, &head, payload)
}

/// The wire image of one media message at [`OUTBOUND_CHUNK_SIZE`]: two small headers and the shared payload.
///
/// It depends on no earlier message, so one image serves every viewer, and a viewer that has skipped messages
/// still reads the next. A viewer with its own time line gets its own headers by [`Self::with_timestamp`]; the
/// payload stays shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaChunks {
    kind: MediaKind,
    stream: MessageStreamId,
    timestamp: u32,
    length: u32,
    head: ChunkHeader,
    continuation: ChunkHeader,
    payload: Bytes,
}

impl MediaChunks {
    /// The image for players on [`MessageStreamId::FIRST`].
    pub fn new(kind: MediaKind, timestamp: u32, payload: Bytes) -> Result<Self, MessageTooLong> {
        let length = message_length(&payload)?;
        Ok(Self::build(kind, MessageStreamId::FIRST, timestamp, length, payload))
    }

    /// The same message at another time.
    #[must_use]
    pub fn with_timestamp(&self, timestamp: u32) -> Self {
        Self::build(self.kind, self.stream, timestamp, self.length, self.payload.clone())
    }

    /// The same message for a player on another stream than the first.
    #[must_use]
    pub fn with_stream(&self, stream: MessageStreamId) -> Self {
        Self::build(self.kind, stream, self.timestamp, self.length, self.payload.clone())
    }

    fn build(kind: MediaKind, stream: MessageStreamId, timestamp: u32, length: u32, payload: Bytes) -> Self {
        let head = MessageHead::media(kind, stream, timestamp);
        Self {
            kind,
            stream,
            timestamp,
            length,
            head: ChunkHeader::full(&head, length),
            continuation: ChunkHeader::continuation(&head),
            payload,
        }
    }

    /// What the message carries.
    pub fn kind(&self) -> MediaKind {
        self.kind
    }

    /// Milliseconds, modulo 2^32.
    pub fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// The shared payload.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Bytes on the wire, headers included.
    pub fn wire_bytes(&self) -> usize {
        let continuations = self.payload.len().div_ceil(OUTBOUND_CHUNK_SIZE as usize).saturating_sub(1);
        self.head.as_slice().len() + continuations * self.continuation.as_slice().len() + self.payload.len()
    }

    /// The slices to write, in order, none of them empty: header, payload, continuation header, payload, …
    pub fn slices(&self) -> Slices<'_> {
        self.slices_from(0)
    }

    /// The slices that are left after `written` bytes of the image have gone out.
    pub fn slices_from(&self, written: usize) -> Slices<'_> {
        Slices { chunks: self, index: 0, skip: written }
    }

    /// Slice number `index`; `None` behind the last.
    fn slice(&self, index: usize) -> Option<&[u8]> {
        let size = OUTBOUND_CHUNK_SIZE as usize;
        let start = (index / 2) * size;
        if index == 0 {
            Some(self.head.as_slice())
        } else if start >= self.payload.len() {
            None
        } else if index.is_multiple_of(2) {
            Some(self.continuation.as_slice())
        } else {
            self.payload.get(start..self.payload.len().min(start + size))
        }
    }
}

/// Iterator over the slices of a [`MediaChunks`].
#[derive(Debug, Clone)]
pub struct Slices<'a> {
    chunks: &'a MediaChunks,
    index: usize,
    skip: usize,
}

impl<'a> Iterator for Slices<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let slice = self.chunks.slice(self.index)?;
            self.index += 1;
            let skipped = self.skip.min(slice.len());
            self.skip -= skipped;
            match slice.get(skipped..) {
                Some(rest) if !rest.is_empty() => return Some(rest),
                _ => {}
            }
        }
    }
}
