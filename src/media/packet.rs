//! One message of a stream.

use bytes::Bytes;

use super::flv;

/// Which of the three kinds of message a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// AMF0 data, such as `onMetaData`.
    Data,
}

impl PacketKind {
    /// The FLV tag type, which is also the RTMP message type.
    pub fn type_id(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Data => 18,
        }
    }

    /// The kind for an FLV tag type or RTMP message type, if it is one of the three.
    pub fn from_type_id(type_id: u8) -> Option<Self> {
        match type_id {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Data),
            _ => None,
        }
    }
}

/// What a packet means to a viewer that joins or skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketClass {
    /// A decoder configuration; every later picture needs it.
    VideoSequenceHeader,
    /// A picture that needs no other: a GOP begins here.
    Keyframe,
    /// A picture that needs the ones before it.
    Interframe,
    /// Video that is no picture: end of sequence, commands, HDR metadata, further tracks, or unreadable.
    VideoOther,
    /// A decoder configuration; every later sound needs it.
    AudioSequenceHeader,
    /// Sound.
    AudioFrame,
    /// Audio that is no sound: end of sequence, channel maps, further tracks, or empty.
    AudioOther,
    /// `onMetaData`.
    Metadata,
    /// Any other data message.
    OtherData,
}

impl PacketClass {
    /// Whether the packet is a picture or a sound, and so moves time on.
    pub fn is_frame(self) -> bool {
        matches!(self, Self::Keyframe | Self::Interframe | Self::AudioFrame)
    }

    /// Whether the packet must be repeated to a viewer that joins later.
    pub fn is_header(self) -> bool {
        matches!(self, Self::VideoSequenceHeader | Self::AudioSequenceHeader | Self::Metadata)
    }
}

/// One message of a stream, as every output sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Audio, video or data.
    pub kind: PacketKind,
    /// What it means to a viewer.
    pub class: PacketClass,
    /// Its place on the stream's time line, in milliseconds. Never wraps; outputs send the low 32 bits.
    pub timestamp_ms: u64,
    /// The RTMP message body, which is also the FLV tag body.
    pub payload: Bytes,
}

impl Packet {
    /// A packet whose class is read from the first bytes of `payload`.
    ///
    /// The name `@setDataFrame`, which only addresses a server, is cut off a data message without copying.
    pub fn new(kind: PacketKind, timestamp_ms: u64, payload: Bytes) -> Self {
        let payload = if kind == PacketKind::Data { flv::without_set_data_frame(payload) } else { payload };
        let class = flv::classify(kind, &payload);
        Self { kind, class, timestamp_ms, payload }
    }
}
