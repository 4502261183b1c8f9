//! The layout of audio, video and data bodies, which RTMP and FLV share, and the FLV file around them.
//!
//! Sources: Adobe Flash Video File Format 10.1, annex E; Enhanced RTMP v2 (Veovera). HEVC under codec id 12 is the
//! older convention of Chinese encoders and players.

use bytes::Bytes;

use super::codec::{self, AudioCodec, AudioInfo, VideoCodec, VideoInfo};
use super::packet::{PacketClass, PacketKind};

/// Bytes of an FLV tag header.
pub const TAG_HEADER_BYTES: usize = 11;
/// Bytes of the size that follows each tag.
pub const PREVIOUS_TAG_SIZE_BYTES: usize = 4;
/// Bytes of the FLV file header with the size field that follows it.
pub const FILE_HEADER_BYTES: usize = 13;

/// Prefixes of an Enhanced RTMP body (`ModEx`) that are stepped over before it counts as unreadable. The
/// specification defines one kind of prefix; more than a few are a trick.
const MOD_EX_MAX: usize = 4;
/// `frame type` of a picture that needs no other.
const FRAME_KEY: u8 = 1;
/// `frame type` of a command to the player.
pub(super) const FRAME_COMMAND: u8 = 5;
/// Set in the first video byte when an Enhanced RTMP header follows.
const VIDEO_EX_HEADER: u8 = 0x80;
/// `sound format` that announces an Enhanced RTMP header.
const AUDIO_EX_HEADER: u8 = 9;
/// Bytes between the first byte of a legacy AVC or HEVC body and its data: packet type and composition time.
const AVC_PREFIX_BYTES: usize = 4;
/// Enhanced RTMP packet types that we read.
pub(super) mod packet_type {
    pub(in super::super) const SEQUENCE_START: u8 = 0;
    pub(in super::super) const CODED_FRAMES: u8 = 1;
    pub(in super::super) const SEQUENCE_END: u8 = 2;
    pub(in super::super) const CODED_FRAMES_X: u8 = 3;
    const METADATA: u8 = 4;
    const MULTITRACK: u8 = 6;
    pub(super) const MOD_EX: u8 = 7;

    /// Whether a body of this type describes or accompanies the pictures and is none of them.
    pub(in super::super) fn is_beside_pictures(packet_type: u8) -> bool {
        matches!(packet_type, METADATA | MULTITRACK)
    }
}
/// The AMF0 string `@setDataFrame`.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";
/// The AMF0 string `onMetaData`.
const ON_META_DATA: &[u8] = b"\x02\x00\x0aonMetaData";

/// Reads what a body of `kind` means to a viewer. Empty and garbled bodies are one of the `Other` classes.
pub fn classify(kind: PacketKind, payload: &[u8]) -> PacketClass {
    match kind {
        PacketKind::Video => video_head(payload).map_or(PacketClass::VideoOther, |head| head.class),
        PacketKind::Audio => audio_head(payload).map_or(PacketClass::AudioOther, |head| head.class),
        PacketKind::Data => {
            let body = payload.strip_prefix(SET_DATA_FRAME).unwrap_or(payload);
            if body.starts_with(ON_META_DATA) { PacketClass::Metadata } else { PacketClass::OtherData }
        }
    }
}

/// The codec of a video body, if the body names one.
pub fn video_codec(payload: &[u8]) -> Option<VideoCodec> {
    video_head(payload).map(|head| head.codec)
}

/// The codec of an audio body, if the body names one.
pub fn audio_codec(payload: &[u8]) -> Option<AudioCodec> {
    audio_head(payload).map(|head| head.codec)
}

/// What a video body tells about the pictures: the codec, and their size if the body is a sequence header that we
/// can read.
pub fn video_info(payload: &[u8]) -> Option<VideoInfo> {
    let head = video_head(payload)?;
    let size = match head.codec {
        _ if head.class != PacketClass::VideoSequenceHeader => None,
        VideoCodec::H264 => codec::avc_size(head.body),
        VideoCodec::H265 => codec::hevc_size(head.body),
        _ => None,
    };
    Some(VideoInfo { codec: head.codec, width: size.map(|s| s.width), height: size.map(|s| s.height) })
}

/// What an audio body tells about the sound: the codec, and rate and channels where it names them.
pub fn audio_info(payload: &[u8]) -> Option<AudioInfo> {
    let head = audio_head(payload)?;
    let is_header = head.class == PacketClass::AudioSequenceHeader;
    let shape = match head.codec {
        AudioCodec::Aac if is_header => codec::aac_shape(head.body),
        AudioCodec::Opus if is_header => codec::opus_shape(head.body),
        AudioCodec::Mp3 => payload.first().map(|&first| legacy_sound_shape(first)),
        _ => None,
    };
    Some(AudioInfo {
        codec: head.codec,
        sample_rate: shape.map(|s| s.sample_rate),
        channels: shape.and_then(|s| s.channels),
    })
}

/// How much later than it is decoded a picture is shown, in milliseconds. 0 for what tells nothing.
pub fn composition_ms(payload: &[u8]) -> i32 {
    let field = match enhanced_video_body(payload) {
        Some(EnhancedVideoBody { packet_type: packet_type::CODED_FRAMES, four_cc, rest, .. }) => {
            rest.first_chunk().filter(|_| matches!(four_cc, Some(b"avc1" | b"hvc1" | b"vvc1")))
        }
        Some(_) => None,
        None => match payload {
            [first, 1, field @ ..] if first & VIDEO_EX_HEADER == 0 && matches!(first & 0x0F, 7 | 12) => {
                field.first_chunk()
            }
            _ => None,
        },
    };
    field.map_or(0, |field| signed_24(*field))
}

/// A composition time: 24 bits with a sign.
pub(super) fn signed_24([high, mid, low]: [u8; 3]) -> i32 {
    i32::from_be_bytes([high, mid, low, 0]) >> 8
}

/// `payload` without a leading `@setDataFrame`; shares the memory of the original.
pub fn without_set_data_frame(payload: Bytes) -> Bytes {
    if payload.starts_with(SET_DATA_FRAME) { payload.slice(SET_DATA_FRAME.len()..) } else { payload }
}

/// The header of the tag that carries a body of `payload_bytes` bytes. Only the low 24 bits of the length and the
/// low 32 bits of the time fit.
pub fn tag_header(kind: PacketKind, payload_bytes: usize, timestamp_ms: u64) -> [u8; TAG_HEADER_BYTES] {
    let [.., size_high, size_mid, size_low] = payload_bytes.to_be_bytes();
    let [.., extended, high, mid, low] = timestamp_ms.to_be_bytes();
    [kind.type_id(), size_high, size_mid, size_low, high, mid, low, extended, 0, 0, 0]
}

/// What follows the body of a tag: the size of the tag, its header included.
pub fn previous_tag_size(payload_bytes: usize) -> [u8; PREVIOUS_TAG_SIZE_BYTES] {
    let [.., a, b, c, d] = (payload_bytes + TAG_HEADER_BYTES).to_be_bytes();
    [a, b, c, d]
}

/// The start of an FLV file or response, up to the first tag. The flags tell which kinds to expect; a player that
/// is told of a kind may wait for it.
pub fn file_header(audio: bool, video: bool) -> [u8; FILE_HEADER_BYTES] {
    let flags = (u8::from(audio) << 2) | u8::from(video);
    [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
}

struct Head<'a, C> {
    class: PacketClass,
    codec: C,
    /// What follows the header of the body: for a sequence header, the decoder configuration.
    body: &'a [u8],
}

fn video_head(payload: &[u8]) -> Option<Head<'_, VideoCodec>> {
    let (&first, rest) = payload.split_first()?;
    if first & VIDEO_EX_HEADER != 0 {
        return video_ex_head(payload);
    }
    let frame_type = first >> 4;
    let codec = VideoCodec::from_number(first & 0x0F);
    let picture = picture_class(frame_type);
    if !matches!(codec, VideoCodec::H264 | VideoCodec::H265) {
        return Some(Head { class: picture, codec, body: rest });
    }
    let (&avc_packet_type, _) = rest.split_first()?;
    let class = match avc_packet_type {
        0 => PacketClass::VideoSequenceHeader,
        1 => picture,
        _ => PacketClass::VideoOther,
    };
    Some(Head { class, codec, body: rest.get(AVC_PREFIX_BYTES..).unwrap_or_default() })
}

/// A video body of Enhanced RTMP, without the prefixes that it may have.
pub(super) struct EnhancedVideoBody<'a> {
    pub(super) frame_type: u8,
    pub(super) packet_type: u8,
    pub(super) four_cc: Option<&'a [u8; 4]>,
    /// What follows the FourCC.
    pub(super) rest: &'a [u8],
}

/// Reads a video body of Enhanced RTMP; `None` for any other, and for a command to the player.
pub(super) fn enhanced_video_body(payload: &[u8]) -> Option<EnhancedVideoBody<'_>> {
    let (&first, rest) = payload.split_first()?;
    if first & VIDEO_EX_HEADER == 0 {
        return None;
    }
    let frame_type = (first >> 4) & 0x07;
    let (packet_type, rest) = step_over_mod_ex(first & 0x0F, rest)?;
    if frame_type == FRAME_COMMAND && !packet_type::is_beside_pictures(packet_type) {
        return None;
    }
    let (four_cc, rest) =
        rest.split_first_chunk::<4>().map_or((None, rest), |(code, rest)| (Some(code), rest));
    Some(EnhancedVideoBody { frame_type, packet_type, four_cc, rest })
}

/// The first byte of a video body of Enhanced RTMP.
pub(super) fn enhanced_video_head(frame_type: u8, packet_type: u8) -> u8 {
    VIDEO_EX_HEADER | (frame_type & 0x07) << 4 | packet_type & 0x0F
}

fn video_ex_head(payload: &[u8]) -> Option<Head<'_, VideoCodec>> {
    let EnhancedVideoBody { frame_type, packet_type, four_cc, rest } = enhanced_video_body(payload)?;
    let class = match packet_type {
        packet_type::SEQUENCE_START => PacketClass::VideoSequenceHeader,
        packet_type::CODED_FRAMES | packet_type::CODED_FRAMES_X => picture_class(frame_type),
        // A further track must not pass for the main one; end and metadata are no pictures.
        _ => return None,
    };
    Some(Head { class, codec: VideoCodec::from_four_cc(*four_cc?), body: rest })
}

fn picture_class(frame_type: u8) -> PacketClass {
    match frame_type {
        // 4 is a keyframe that a server made.
        FRAME_KEY | 4 => PacketClass::Keyframe,
        2 | 3 => PacketClass::Interframe,
        FRAME_COMMAND.. | 0 => PacketClass::VideoOther,
    }
}

fn audio_head(payload: &[u8]) -> Option<Head<'_, AudioCodec>> {
    let (&first, rest) = payload.split_first()?;
    let sound_format = first >> 4;
    if sound_format == AUDIO_EX_HEADER {
        let (kind, rest) = step_over_mod_ex(first & 0x0F, rest)?;
        let (four_cc, body) = rest.split_first_chunk::<4>()?;
        let class = match kind {
            packet_type::SEQUENCE_START => PacketClass::AudioSequenceHeader,
            packet_type::CODED_FRAMES => PacketClass::AudioFrame,
            _ => return None,
        };
        return Some(Head { class, codec: AudioCodec::from_four_cc(*four_cc), body });
    }
    let codec = AudioCodec::from_number(sound_format);
    if codec != AudioCodec::Aac {
        let class = if rest.is_empty() { PacketClass::AudioOther } else { PacketClass::AudioFrame };
        return Some(Head { class, codec, body: rest });
    }
    let (&aac_packet_type, body) = rest.split_first()?;
    let class = if aac_packet_type == 0 { PacketClass::AudioSequenceHeader } else { PacketClass::AudioFrame };
    Some(Head { class, codec, body })
}

/// Steps over the prefixes of an Enhanced RTMP body and gives the packet type behind them with what follows.
fn step_over_mod_ex(mut kind: u8, mut rest: &[u8]) -> Option<(u8, &[u8])> {
    for _ in 0..MOD_EX_MAX {
        if kind != packet_type::MOD_EX {
            return Some((kind, rest));
        }
        let (&size, after) = rest.split_first()?;
        let (size, after) = if size == u8::MAX {
            let (wide, after) = after.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*wide)) + 1, after)
        } else {
            (usize::from(size) + 1, after)
        };
        let (&kinds, after) = after.get(size..)?.split_first()?;
        kind = kinds & 0x0F;
        rest = after;
    }
    None
}

/// Rate and channels as the first byte of a legacy audio body tells them.
fn legacy_sound_shape(first: u8) -> codec::SoundShape {
    let sample_rate = match (first >> 2) & 3 {
        0 => 5_512,
        1 => 11_025,
        2 => 22_050,
        _ => 44_100,
    };
    codec::SoundShape { sample_rate, channels: Some(1 + (first & 1)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use PacketClass::{
        AudioFrame, AudioOther, AudioSequenceHeader, Interframe, Keyframe, Metadata, OtherData, VideoOther,
        VideoSequenceHeader,
    };

    fn video(payload: &[u8]) -> PacketClass {
        classify(PacketKind::Video, payload)
    }

    fn audio(payload: &[u8]) -> PacketClass {
        classify(PacketKind::Audio, payload)
    }

    #[test]
    fn legacy_video_is_told_apart() {
        assert_eq!(video(&[0x17, 0, 0, 0, 0, 1]), VideoSequenceHeader);
        assert_eq!(video(&[0x17, 1, 0, 0, 0, 1]), Keyframe);
        assert_eq!(video(&[0x27, 1, 0, 0, 0, 1]), Interframe);
        assert_eq!(video(&[0x37, 1, 0, 0, 0, 1]), Interframe, "a disposable picture still needs others");
        assert_eq!(video(&[0x17, 2, 0, 0, 0]), VideoOther, "end of sequence");
        assert_eq!(video(&[0x57, 0]), VideoSequenceHeader, "the packet type decides, not the frame type");
        assert_eq!(video(&[0x1C, 0, 0, 0, 0, 1]), VideoSequenceHeader, "HEVC by codec id 12");
        assert_eq!(video(&[0x2C, 1, 0, 0, 0, 1]), Interframe);
        assert_eq!(video(&[0x12, 9]), Keyframe, "a codec without sequence headers");
        assert_eq!(video(&[0x52, 0]), VideoOther, "a command");
        for short in [&[][..], &[0x17], &[0x1C]] {
            assert_eq!(video(short), VideoOther);
        }
    }

    #[test]
    fn enhanced_video_is_told_apart() {
        assert_eq!(video(b"\x90hvc1cfg"), VideoSequenceHeader);
        assert_eq!(video(b"\x91hvc1\0\0\0x"), Keyframe);
        assert_eq!(video(b"\xA3hvc1x"), Interframe);
        assert_eq!(video(b"\x93av01x"), Keyframe);
        assert_eq!(video(b"\x92hvc1"), VideoOther, "end of sequence");
        assert_eq!(video(b"\x94av01x"), VideoOther, "metadata");
        assert_eq!(video(b"\x96\x00hvc1\x01x"), VideoOther, "a further track");
        assert_eq!(video(b"\x97\x02\0\0\x05\x01avc1x"), Keyframe, "behind a nanosecond prefix");
        assert_eq!(video(b"\x97\x02\0\0\x05\x07\x00\0\x07\x00\0\x07\x00\0\x07\x00\0\x01avc1x"), VideoOther);
        assert_eq!(video(b"\x91hvc"), VideoOther, "cut short");
        assert_eq!(video_codec(b"\x91vp09"), Some(VideoCodec::Vp9));
    }

    #[test]
    fn the_time_between_decoding_and_showing_is_read_in_every_form_that_has_it() {
        for (payload, composition) in [
            (&b"\x27\x01\0\0\x42x"[..], 66),
            (b"\x2C\x01\xFF\xFF\xD8x", -40),
            (b"\xA1hvc1\0\0\x42x", 66),
            (b"\xA1avc1\x80\0\0x", -(1 << 23)),
            (b"\xA3hvc1\0\0\x42x", 0),
            (b"\xA1av01\0\0\x42x", 0),
            (b"\x17\0\0\0\x42x", 0),
            (b"\x22\x01\0\0\x42x", 0),
            (b"\x27\x01\0\0", 0),
            (b"", 0),
        ] {
            assert_eq!(composition_ms(payload), composition, "{payload:?}");
        }
    }

    #[test]
    fn audio_is_told_apart() {
        assert_eq!(audio(&[0xAF, 0, 0x11, 0x88]), AudioSequenceHeader);
        assert_eq!(audio(&[0xAF, 1, 0xFF]), AudioFrame);
        assert_eq!(audio(&[0x2F, 0xFF]), AudioFrame);
        assert_eq!(audio(b"\x90Opuscfg"), AudioSequenceHeader);
        assert_eq!(audio(b"\x91Opusx"), AudioFrame);
        assert_eq!(audio(b"\x92Opus"), AudioOther, "end of sequence");
        assert_eq!(audio(b"\x95\x01Opus\x01"), AudioOther, "a further track");
        for short in [&[][..], &[0xAF], &[0x2F], b"\x91Opu"] {
            assert_eq!(audio(short), AudioOther);
        }
    }

    #[test]
    fn metadata_is_found_with_and_without_its_address() {
        let plain = b"\x02\x00\x0aonMetaData\x08\0\0\0\0";
        let addressed = [SET_DATA_FRAME, plain].concat();
        assert_eq!(classify(PacketKind::Data, plain), Metadata);
        assert_eq!(classify(PacketKind::Data, &addressed), Metadata);
        assert_eq!(classify(PacketKind::Data, b"\x02\x00\x06onText"), OtherData);
        assert_eq!(classify(PacketKind::Data, b""), OtherData);
        assert_eq!(without_set_data_frame(addressed.into()), &plain[..]);
    }

    #[test]
    fn mp3_tells_its_shape_in_every_frame() {
        let info = audio_info(&[0x2F, 0xFF]).unwrap();
        assert_eq!(info, AudioInfo { codec: AudioCodec::Mp3, sample_rate: Some(44_100), channels: Some(2) });
    }

    #[test]
    fn a_tag_spells_its_size_and_time() {
        let header = tag_header(PacketKind::Video, 0x01_02_03, 0xAA_BB_CC_DD);
        assert_eq!(header, [9, 1, 2, 3, 0xBB, 0xCC, 0xDD, 0xAA, 0, 0, 0]);
        assert_eq!(tag_header(PacketKind::Audio, 0, 0x1_0000_0005)[4..8], [0, 0, 5, 0], "time wraps at 2^32");
        assert_eq!(previous_tag_size(0x01_02_03), [0, 1, 2, 0x0E]);
        assert_eq!(&file_header(true, true)[..5], b"FLV\x01\x05");
        assert_eq!(file_header(true, false)[4], 4);
        assert_eq!(file_header(false, true)[4], 1);
    }

    proptest! {
        #[test]
        fn no_body_panics(payload: Vec<u8>) {
            for kind in [PacketKind::Audio, PacketKind::Video, PacketKind::Data] {
                classify(kind, &payload);
            }
            video_info(&payload);
            audio_info(&payload);
        }

        #[test]
        fn no_sequence_header_panics(first in prop::sample::select(vec![0x17_u8, 0x1C, 0xAF]), config: Vec<u8>) {
            let mut payload = vec![first, 0];
            payload.extend_from_slice(&config);
            video_info(&payload);
            audio_info(&payload);
        }
    }
}
