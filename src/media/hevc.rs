//! HEVC in the two forms that RTMP and FLV carry it in, and from one into the other.
//!
//! The older form is a convention of Chinese encoders and players: the layout of H.264 under codec id 12. The newer one
//! is that of Enhanced RTMP under the FourCC `hvc1`. Both hold the same decoder configuration record (ISO/IEC 14496-15
//! §8.3.3) and the same NAL units, so that no picture is touched.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::flv;

/// Codec id of the older form.
const CODEC_ID: u8 = 12;
/// FourCC of the newer form.
const FOUR_CC: &[u8; 4] = b"hvc1";
/// Bytes of a decoder configuration record up to its parameter sets.
const CONFIGURATION_BYTES_MIN: usize = 23;
/// `configurationVersion`.
const CONFIGURATION_VERSION: u8 = 1;
/// Highest `frame type` that fits the three bits of the newer form. The specification defines no higher one.
const FRAME_TYPE_MAX: u8 = 7;

/// One of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HevcForm {
    /// By codec id 12.
    Legacy,
    /// By FourCC.
    Enhanced,
}

impl HevcForm {
    /// The form for its word in a URL.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "legacy" => Some(Self::Legacy),
            "enhanced" => Some(Self::Enhanced),
            _ => None,
        }
    }

    /// The form of a video body; `None` for other codecs.
    pub fn of(payload: &[u8]) -> Option<Self> {
        parse(payload).map(|(form, _)| form)
    }
}

/// What a body says, whatever its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Body<'a> {
    frame_type: u8,
    content: Content<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content<'a> {
    /// The decoder configuration record.
    Header(&'a [u8]),
    /// NAL units with their lengths in front, and how much later than it is decoded the picture is shown.
    Pictures {
        composition_ms: i32,
        units: &'a [u8],
    },
    End,
    /// What only the newer form has: HDR metadata, further tracks.
    Extra,
}

/// What becomes of a body for somebody who reads one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewritten {
    /// It stands in that form, or is no HEVC, or makes no sense: it goes as it is.
    Same,
    /// The same in that form.
    Anew(Bytes),
    /// That form has no words for it: it is left out.
    Nothing,
}

/// Whether a body is a sequence header that can be written in the other form: its configuration record is one.
pub fn is_header(payload: &[u8]) -> bool {
    match parse(payload) {
        Some((_, Body { content: Content::Header(record), .. })) => {
            record.len() >= CONFIGURATION_BYTES_MIN && record.first() == Some(&CONFIGURATION_VERSION)
        }
        _ => false,
    }
}

/// A video body for somebody who reads HEVC in `form`. Copies the body once if it stands in the other form.
pub fn rewrite(payload: &[u8], form: HevcForm) -> Rewritten {
    match parse(payload) {
        Some((found, body)) if found != form => write(body, form).map_or(Rewritten::Nothing, Rewritten::Anew),
        _ => Rewritten::Same,
    }
}

fn parse(payload: &[u8]) -> Option<(HevcForm, Body<'_>)> {
    let (&first, rest) = payload.split_first()?;
    if let Some(body) = flv::enhanced_video_body(payload) {
        let content = match body.packet_type {
            _ if body.four_cc != Some(FOUR_CC) => {
                // A further track names its codec later; metadata may name none.
                if flv::packet_type::is_beside_pictures(body.packet_type) {
                    Content::Extra
                } else {
                    return None;
                }
            }
            flv::packet_type::SEQUENCE_START => Content::Header(body.rest),
            flv::packet_type::CODED_FRAMES => {
                let (composition, units) = body.rest.split_first_chunk::<3>()?;
                Content::Pictures { composition_ms: flv::signed_24(*composition), units }
            }
            flv::packet_type::CODED_FRAMES_X => Content::Pictures { composition_ms: 0, units: body.rest },
            flv::packet_type::SEQUENCE_END => Content::End,
            _ => Content::Extra,
        };
        return Some((HevcForm::Enhanced, Body { frame_type: body.frame_type, content }));
    }
    let frame_type = first >> 4;
    if first & 0x0F != CODEC_ID || frame_type > FRAME_TYPE_MAX {
        return None;
    }
    let (&packet_type, rest) = rest.split_first()?;
    let (composition, rest) = rest.split_first_chunk::<3>()?;
    let content = match packet_type {
        0 => Content::Header(rest),
        1 => Content::Pictures { composition_ms: flv::signed_24(*composition), units: rest },
        2 => Content::End,
        _ => return None,
    };
    Some((HevcForm::Legacy, Body { frame_type, content }))
}

fn write(body: Body<'_>, form: HevcForm) -> Option<Bytes> {
    let (kind, composition_ms, rest) = match body.content {
        Content::Header(record) => (0, 0, record),
        Content::Pictures { composition_ms, units } => (1, composition_ms, units),
        Content::End => (2, 0, &[][..]),
        Content::Extra => return None,
    };
    // The longest head is that of pictures in the newer form: one byte, FourCC, composition time.
    let mut payload = BytesMut::with_capacity(8 + rest.len());
    let [_, composition @ ..] = composition_ms.to_be_bytes();
    match form {
        HevcForm::Legacy => {
            payload.put_slice(&[body.frame_type << 4 | CODEC_ID, kind]);
            payload.put_slice(&composition);
        }
        // There a command to the player is a byte behind the head, and no codec's.
        HevcForm::Enhanced if body.frame_type == flv::FRAME_COMMAND => return None,
        HevcForm::Enhanced => {
            let packet_type = match (kind, composition_ms) {
                (1, 0) => flv::packet_type::CODED_FRAMES_X,
                (kind, _) => kind,
            };
            payload.put_u8(flv::enhanced_video_head(body.frame_type, packet_type));
            payload.put_slice(FOUR_CC);
            if packet_type == flv::packet_type::CODED_FRAMES {
                payload.put_slice(&composition);
            }
        }
    }
    payload.put_slice(rest);
    Some(payload.freeze())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use HevcForm::{Enhanced, Legacy};
    use Rewritten::{Anew, Nothing, Same};

    fn record() -> Vec<u8> {
        let mut record = vec![0; CONFIGURATION_BYTES_MIN];
        record[0] = CONFIGURATION_VERSION;
        record
    }

    #[test]
    fn a_sequence_header_keeps_its_record() {
        let legacy = [&[0x1C, 0, 0, 0, 0][..], &record()].concat();
        let enhanced = [&b"\x90hvc1"[..], &record()].concat();
        assert_eq!(rewrite(&legacy, Enhanced), Anew(enhanced.clone().into()));
        assert_eq!(rewrite(&enhanced, Legacy), Anew(legacy.clone().into()));
        assert_eq!((rewrite(&legacy, Legacy), rewrite(&enhanced, Enhanced)), (Same, Same));
        assert!(is_header(&legacy) && is_header(&enhanced));
    }

    #[test]
    fn pictures_keep_their_units_their_kind_and_when_they_are_shown() {
        for (legacy, enhanced) in [
            (&b"\x1C\x01\0\0\x42\0\0\0\x02ab"[..], &b"\x91hvc1\0\0\x42\0\0\0\x02ab"[..]),
            (b"\x2C\x01\xFF\xFF\xD8\0\0\0\x02ab", b"\xA1hvc1\xFF\xFF\xD8\0\0\0\x02ab"),
            (b"\x2C\x01\0\0\0\0\0\0\x02ab", b"\xA3hvc1\0\0\0\x02ab"),
            (b"\x3C\x01\0\0\0\0\0\0\x02ab", b"\xB3hvc1\0\0\0\x02ab"),
        ] {
            assert_eq!(rewrite(legacy, Enhanced), Anew(Bytes::from_static(enhanced)));
            assert_eq!(rewrite(enhanced, Legacy), Anew(Bytes::from_static(legacy)));
        }
        // The longer spelling of the same.
        assert_eq!(rewrite(b"\x91hvc1\0\0\0x", Legacy), Anew(Bytes::from_static(b"\x1C\x01\0\0\0x")));
        // A prefix that the older form has no place for.
        let prefixed = b"\x97\x02\0\0\x05\x03hvc1x";
        assert_eq!(rewrite(prefixed, Legacy), Anew(Bytes::from_static(b"\x1C\x01\0\0\0x")));
        assert_eq!(rewrite(prefixed, Enhanced), Same);
    }

    #[test]
    fn the_end_is_told_and_what_the_older_form_cannot_say_is_left_out() {
        assert_eq!(rewrite(b"\x92hvc1", Legacy), Anew(Bytes::from_static(b"\x1C\x02\0\0\0")));
        assert_eq!(rewrite(b"\x1C\x02\0\0\0", Enhanced), Anew(Bytes::from_static(b"\x92hvc1")));
        assert_eq!(rewrite(b"\x94hvc1colour", Legacy), Nothing);
        assert_eq!(rewrite(b"\x94av01colour", Legacy), Nothing);
        assert_eq!(rewrite(b"\x96\x01hvc1\x01x", Legacy), Nothing, "a further track");
        assert_eq!(rewrite(b"\x94hvc1colour", Enhanced), Same);
    }

    #[test]
    fn what_is_no_hevc_or_makes_no_sense_is_left_alone() {
        for payload in [
            &b""[..],
            b"\x1C",
            b"\x1C\x01\0\0",
            b"\x1C\x07\0\0\0x",
            b"\xFC\x01\0\0\0x",
            b"\x17\x01\0\0\0x",
            b"\x91hvc1\0\0",
            b"\x91hvc",
            b"\x90avc1x",
            b"\x93av01x",
            b"\xD0\x01",
        ] {
            assert_eq!((rewrite(payload, Legacy), rewrite(payload, Enhanced)), (Same, Same), "{payload:?}");
            assert!(!is_header(payload));
        }
        assert!(!is_header(b"\x90hvc1garbled") && !is_header(b"\x1C\0\0\0\0garbled"));
        let other_version = [&b"\x90hvc1"[..], &[0; CONFIGURATION_BYTES_MIN]].concat();
        assert!(!is_header(&other_version));
    }

    proptest! {
        #[test]
        fn there_and_back_says_the_same(
            frame_type in 1..=4_u8,
            kind in 0..=2_u8,
            composition_ms in -(1 << 23)..(1 << 23),
            rest: Vec<u8>,
            begins_enhanced: bool,
        ) {
            let content = match kind {
                0 => Content::Header(&rest),
                1 => Content::Pictures { composition_ms, units: &rest },
                _ => Content::End,
            };
            let body = Body { frame_type, content };
            let (form, other) = if begins_enhanced { (Enhanced, Legacy) } else { (Legacy, Enhanced) };
            let there = write(body, form).unwrap();
            prop_assert_eq!(parse(&there), Some((form, body)));
            let Anew(back) = rewrite(&there, other) else { panic!("{there:?}") };
            prop_assert_eq!(parse(&back), Some((other, body)));
            prop_assert_eq!(flv::classify(crate::media::PacketKind::Video, &back), flv::classify(crate::media::PacketKind::Video, &there));
            prop_assert_eq!(rewrite(&back, form), Anew(there));
        }

        #[test]
        fn no_body_panics(payload: Vec<u8>) {
            rewrite(&payload, Legacy);
            rewrite(&payload, Enhanced);
            is_header(&payload);
        }
    }
}
