//! Just enough of FLV to count what a client received, and to read the clip that publishers send.

use std::path::PathBuf;

const FILE_HEADER_BYTES: usize = 9;
const TAG_HEADER_BYTES: usize = 11;
const PREVIOUS_TAG_SIZE_BYTES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Audio,
    Video,
    Script,
}

#[derive(Debug, Clone)]
pub struct Tag {
    pub kind: Kind,
    pub timestamp_ms: u32,
    pub payload: Vec<u8>,
}

impl Tag {
    /// A sequence header of H.264 or AAC, or HEVC in either form.
    pub fn is_sequence_header(&self) -> bool {
        match (self.kind, self.payload.as_slice()) {
            (Kind::Video, [head, 0, ..]) if head & 0x80 == 0 => matches!(head & 0x0F, 7 | 12),
            (Kind::Video, [head, ..]) => head & 0x8F == 0x80,
            (Kind::Audio, [head, 0, ..]) => head >> 4 == 10,
            _ => false,
        }
    }

    pub fn is_keyframe(&self) -> bool {
        self.kind == Kind::Video
            && !self.is_sequence_header()
            && self.payload.first().is_some_and(|head| head >> 4 & 7 == 1)
    }

    /// A picture: video that is no sequence header.
    pub fn is_picture(&self) -> bool {
        self.kind == Kind::Video && !self.is_sequence_header()
    }

    /// Sound: audio that is no sequence header.
    pub fn is_sound(&self) -> bool {
        self.kind == Kind::Audio && !self.is_sequence_header()
    }
}

/// The whole tags at the beginning of `bytes`, and how many bytes they take.
pub fn tags(bytes: &[u8]) -> (Vec<Tag>, usize) {
    let mut found = Vec::new();
    let mut position = FILE_HEADER_BYTES + PREVIOUS_TAG_SIZE_BYTES;
    if bytes.len() < position {
        return (found, 0);
    }
    assert_eq!(&bytes[..3], b"FLV", "not an FLV body");
    while let Some(header) = bytes.get(position..position + TAG_HEADER_BYTES) {
        let size = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
        let end = position + TAG_HEADER_BYTES + size + PREVIOUS_TAG_SIZE_BYTES;
        let Some(body) = bytes.get(position + TAG_HEADER_BYTES..end) else { break };
        let kind = match header[0] & 0x1F {
            8 => Kind::Audio,
            9 => Kind::Video,
            18 => Kind::Script,
            other => panic!("FLV tag type {other} at byte {position}"),
        };
        let timestamp_ms = u32::from_be_bytes([header[7], header[4], header[5], header[6]]);
        found.push(Tag { kind, timestamp_ms, payload: body[..size].to_vec() });
        position = end;
    }
    (found, position)
}

/// Tags as an FLV file.
pub fn file(tags: &[Tag]) -> Vec<u8> {
    let mut bytes = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
    for tag in tags {
        let size = u32::try_from(tag.payload.len()).expect("a size");
        let kind = match tag.kind {
            Kind::Audio => 8,
            Kind::Video => 9,
            Kind::Script => 18,
        };
        let time = tag.timestamp_ms.to_be_bytes();
        bytes.push(kind);
        bytes.extend(&size.to_be_bytes()[1..]);
        bytes.extend([time[1], time[2], time[3], time[0], 0, 0, 0]);
        bytes.extend(&tag.payload);
        bytes.extend((size + 11).to_be_bytes());
    }
    bytes
}

/// HEVC with B-frames under codec id 12: 2 s, 192x336, 15 pictures a second, a keyframe each second, no sound.
pub fn hevc_clip() -> Vec<Tag> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/hevc-192x336.flv");
    tags(&std::fs::read(path).expect("the clip of fixtures/")).0
}

/// The clip that synthetic publishers send: 6 s, 360x640, 15 pictures a second, a keyframe each second, AAC mono.
pub fn clip_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/phone-360x640.flv")
}

pub fn clip() -> Vec<Tag> {
    let bytes = std::fs::read(clip_path()).expect("the clip of fixtures/");
    tags(&bytes).0
}
