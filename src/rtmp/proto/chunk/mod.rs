//! The chunk layer (RTMP 1.0, section 5.3): messages cut into interleaved chunks.
//!
//! [`ChunkReader`] puts a peer's chunks together again. [`write_message`] encodes what a session says itself, and
//! [`MediaChunks`] is the wire image of one media message, made once and shared by every viewer.

use std::fmt;

use bytes::Bytes;

use super::MessageStreamId;

mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::{ChunkError, ChunkErrorKind, ChunkLimits, ChunkReader};
pub use writer::{ChunkHeader, MediaChunks, MessageHead, MessageTooLong, Slices, write_media, write_message};

/// The chunk size of either direction until a SetChunkSize message changes it (section 5.4.1).
pub const CHUNK_SIZE_INITIAL: u32 = 128;

/// The chunk size that we announce to every peer, once. Nearly every audio and video message fits into one chunk
/// of this size, so a frame costs one header and one slice; it stays below 65 536, which old players refuse.
pub const OUTBOUND_CHUNK_SIZE: u32 = 60_000;

/// The chunk streams that one peer may use. Encoders use four to eight; the state of one takes about 64 bytes.
pub const KNOWN_CHUNK_STREAMS_MAX: usize = 64;

/// The messages of one peer that may be incomplete at the same time. Encoders interleave two or three.
pub const PARTIAL_MESSAGES_MAX: usize = 16;

/// Protocol control messages (types 1 to 6) carry 4 to 10 bytes; the rest is room for extensions.
pub const CONTROL_MESSAGE_BYTES_MAX: u32 = 64;

/// Commands and data: the largest real ones are `onMetaData` with a keyframe index and `connect` with long URLs.
pub const COMMAND_MESSAGE_BYTES_MAX: u32 = 64 * 1024;

/// Audio: an AAC frame is at most 6 144 bits a channel; uncompressed audio of 100 ms still fits.
pub const AUDIO_MESSAGE_BYTES_MAX: u32 = 64 * 1024;

/// Video and aggregates: a keyframe at 8 Mbit/s takes under 2 MiB.
pub const VIDEO_MESSAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// The longest message that the 24-bit length field can declare.
pub const MESSAGE_LENGTH_MAX: u32 = 0x00FF_FFFF;

/// In a 24-bit timestamp field: the value stands in the extended timestamp of 32 bits instead (section 5.3.1.3).
const TIMESTAMP_EXTENDED: u32 = 0x00FF_FFFF;

/// The numbers of the message types (sections 5.4 and 7.1).
pub mod message_type {
    #![allow(missing_docs)]
    pub const SET_CHUNK_SIZE: u8 = 1;
    pub const ABORT: u8 = 2;
    pub const ACKNOWLEDGEMENT: u8 = 3;
    pub const USER_CONTROL: u8 = 4;
    pub const WINDOW_ACKNOWLEDGEMENT_SIZE: u8 = 5;
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    pub const AUDIO: u8 = 8;
    pub const VIDEO: u8 = 9;
    pub const DATA_AMF3: u8 = 15;
    pub const COMMAND_AMF3: u8 = 17;
    pub const DATA_AMF0: u8 = 18;
    pub const COMMAND_AMF0: u8 = 20;
    pub const AGGREGATE: u8 = 22;
}

/// The most bytes that a message of this type may declare.
pub fn message_bytes_max(type_id: u8) -> u32 {
    match type_id {
        1..=6 => CONTROL_MESSAGE_BYTES_MAX,
        message_type::AUDIO => AUDIO_MESSAGE_BYTES_MAX,
        message_type::VIDEO | message_type::AGGREGATE => VIDEO_MESSAGE_BYTES_MAX,
        _ => COMMAND_MESSAGE_BYTES_MAX,
    }
}

/// Identifies one chunk stream of a connection: 2 to 65 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkStreamId(u32);

impl ChunkStreamId {
    /// The smallest id that the wire can carry.
    pub const MIN: u32 = 2;
    /// The largest id that the wire can carry (the three-byte basic header).
    pub const MAX: u32 = 65_599;
    /// Protocol control messages (section 5.4).
    pub const CONTROL: Self = Self(2);
    /// Our commands and their answers.
    pub const COMMAND: Self = Self(3);
    /// Audio to viewers.
    pub const AUDIO: Self = Self(4);
    /// Data to viewers.
    pub const DATA: Self = Self(5);
    /// Video to viewers.
    pub const VIDEO: Self = Self(6);

    /// `None` outside 2 to 65 599.
    pub fn new(id: u32) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&id).then_some(Self(id))
    }

    /// The number on the wire.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ChunkStreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One complete message as it came off the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkMessage {
    /// The chunk stream that carried it.
    pub chunk_stream_id: ChunkStreamId,
    /// The message stream that it belongs to.
    pub message_stream_id: MessageStreamId,
    /// One of [`message_type`], or a number that we do not know.
    pub type_id: u8,
    /// Milliseconds, absolute, modulo 2^32.
    pub timestamp: u32,
    /// The body, exactly as long as declared.
    pub payload: Bytes,
}

impl fmt::Debug for ChunkMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkMessage")
            .field("chunk_stream_id", &self.chunk_stream_id)
            .field("message_stream_id", &self.message_stream_id)
            .field("type_id", &self.type_id)
            .field("timestamp", &self.timestamp)
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}
