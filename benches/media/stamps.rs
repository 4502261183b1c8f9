//! The frames that publishers send: made once, sent again and again with a new time and number inside.
//!
//! A picture is a real AVC tag: an SEI with user data that holds the stamp, then a slice of filler. So any server passes
//! it on as it is. A sound carries the stamp at the start of its AAC frame.

use super::chunks::{AUDIO, VIDEO};
use super::wire::{CHUNK_BYTES, message};

/// In front of each frame there is room for its length, which the floor wants and RTMP does not.
pub const LENGTH_BYTES: usize = 4;
/// AAC frames a second: 1024 samples each, 44 100 a second.
pub const AUDIO_FRAME_NS: u64 = 1024 * 1_000_000_000 / 44_100;
/// A keyframe is as large as so many other pictures of its GOP.
const KEYFRAME_WEIGHT: usize = 6;

const MARK: &[u8; 4] = b"TGms";
const STAMP_BYTES: usize = 4 + 8 + 16;
/// Frame type and codec, packet type, composition time.
const VIDEO_TAG_BYTES: usize = 5;
/// NALU length, NALU type, SEI type and size, UUID.
const SEI_HEAD_BYTES: usize = 4 + 1 + 2 + 16;
const VIDEO_STAMP_AT: usize = VIDEO_TAG_BYTES + SEI_HEAD_BYTES;
const AUDIO_STAMP_AT: usize = 2;
/// Room for all of these, a NALU length and one byte of a slice.
const FRAME_BYTES_MIN: usize = VIDEO_STAMP_AT + STAMP_BYTES + 8;

/// H.264 Main 640x360, as an encoder writes it.
const AVC_HEADER: &[u8] = &[
    0x17, 0, 0, 0, 0, 1, 0x4D, 0x40, 0x1E, 0xFF, 0xE1, 0, 24, 0x67, 0x4D, 0x40, 0x1E, 0xEC, 0xA0, 0x50, 0x17,
    0xFC, 0xB8, 0x0B, 0x50, 0x10, 0x10, 0x14, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xF2, 1, 0, 4, 0x68, 0xEF, 0x3C,
    0x80,
];
/// AAC-LC, 44.1 kHz, stereo.
const AAC_HEADER: &[u8] = &[0xAF, 0, 0x12, 0x10];

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub number: u32,
    pub sent_ns: u64,
}

/// Hexadecimal digits above the control characters: never a start code, never an escape.
fn write_digits(place: &mut [u8], value: u64) {
    for (at, byte) in place.iter_mut().rev().enumerate() {
        *byte = 0x40 | (value >> (4 * at) & 15) as u8;
    }
}

fn read_digits(place: &[u8]) -> u64 {
    place.iter().fold(0, |value, byte| value << 4 | u64::from(byte & 15))
}

impl Stamp {
    fn write(self, place: &mut [u8]) {
        place[..4].copy_from_slice(MARK);
        write_digits(&mut place[4..12], u64::from(self.number));
        write_digits(&mut place[12..28], self.sent_ns);
    }

    fn read(place: &[u8]) -> Option<Self> {
        let digits = place.get(..STAMP_BYTES)?.strip_prefix(MARK)?;
        Some(Self { number: read_digits(&digits[..8]) as u32, sent_ns: read_digits(&digits[8..]) })
    }
}

/// A frame of ours, as a viewer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub stamp: Stamp,
    pub is_video: bool,
    pub is_keyframe: bool,
}

/// What the beginning of a media message says; nothing for headers and for frames that are not ours.
pub fn see(kind: u8, head: &[u8]) -> Option<Seen> {
    match (kind, head) {
        (VIDEO, [first, 1, ..]) => {
            let stamp = Stamp::read(head.get(VIDEO_STAMP_AT..)?)?;
            Some(Seen { stamp, is_video: true, is_keyframe: first >> 4 == 1 })
        }
        (AUDIO, [_, 1, ..]) => {
            let stamp = Stamp::read(head.get(AUDIO_STAMP_AT..)?)?;
            Some(Seen { stamp, is_video: false, is_keyframe: false })
        }
        _ => None,
    }
}

/// A message that is sent again and again.
#[derive(Debug)]
pub struct Frame {
    bytes: Vec<u8>,
    stamp_at: usize,
}

impl Frame {
    fn new(kind: u8, payload: &[u8], stamp_at: usize) -> Self {
        let message = message(kind, 0, payload);
        let bytes = [&(message.len() as u32).to_be_bytes()[..], &message].concat();
        // The stamp lies in the first chunk, behind a header of 12 bytes.
        assert!(stamp_at + STAMP_BYTES <= CHUNK_BYTES, "the stamp fits the first chunk");
        Self { bytes, stamp_at: LENGTH_BYTES + 12 + stamp_at }
    }

    fn video(first: u8, slice: u8, bytes: usize) -> Self {
        let mut payload = vec![first, 1, 0, 0, 0];
        let sei = 1 + 2 + 16 + STAMP_BYTES + 1;
        payload.extend((sei as u32).to_be_bytes());
        payload.extend([6, 5, (16 + STAMP_BYTES) as u8]);
        payload.extend(*b"tidegate media b");
        payload.resize(payload.len() + STAMP_BYTES, 0);
        payload.push(0x80);
        let rest = bytes.saturating_sub(payload.len() + 4).max(1);
        payload.extend((rest as u32).to_be_bytes());
        payload.push(slice);
        payload.resize(payload.len() + rest - 1, 0x9B);
        Self::new(VIDEO, &payload, VIDEO_STAMP_AT)
    }

    fn audio(bytes: usize) -> Self {
        let mut payload = vec![0xAF, 1];
        payload.resize(bytes.max(AUDIO_STAMP_AT + STAMP_BYTES), 0x9B);
        Self::new(AUDIO, &payload, AUDIO_STAMP_AT)
    }

    /// The frame with its length in front, at this time and with this stamp.
    pub fn stamped(&mut self, timestamp_ms: u32, stamp: Stamp) -> &[u8] {
        // Behind the basic header; runs are far shorter than the 4 hours that fit.
        self.bytes[LENGTH_BYTES + 1..LENGTH_BYTES + 4].copy_from_slice(&timestamp_ms.to_be_bytes()[1..]);
        stamp.write(&mut self.bytes[self.stamp_at..self.stamp_at + STAMP_BYTES]);
        &self.bytes
    }
}

/// What one stream is like.
#[derive(Debug, Clone, Copy)]
pub struct Encoding {
    /// Pictures and sound together.
    pub kilobits: usize,
    pub audio_kilobits: usize,
    pub pictures_per_second: usize,
    pub gop_seconds: usize,
}

impl Encoding {
    pub fn gop_pictures(&self) -> u32 {
        (self.pictures_per_second * self.gop_seconds) as u32
    }
}

/// All frames of one kind of stream.
#[derive(Debug)]
pub struct Frames {
    pub headers: Vec<u8>,
    pub keyframe: Frame,
    pub interframe: Frame,
    pub audio: Frame,
}

impl Frames {
    pub fn new(encoding: &Encoding) -> Self {
        let gop_bytes = (encoding.kilobits - encoding.audio_kilobits) * 125 * encoding.gop_seconds;
        let interframe = gop_bytes / (encoding.gop_pictures() as usize - 1 + KEYFRAME_WEIGHT);
        let audio = encoding.audio_kilobits * 125 * 1024 / 44_100;
        Self {
            headers: [message(VIDEO, 0, AVC_HEADER), message(AUDIO, 0, AAC_HEADER)].concat(),
            keyframe: Frame::video(0x17, 0x65, (interframe * KEYFRAME_WEIGHT).max(FRAME_BYTES_MIN)),
            interframe: Frame::video(0x27, 0x41, interframe.max(FRAME_BYTES_MIN)),
            audio: Frame::audio(audio),
        }
    }
}
