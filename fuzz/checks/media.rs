//! Bodies of sound, pictures and data, legacy and Enhanced RTMP, and the two forms of HEVC: reading any bytes is harmless, and
//! what is written in another form means the same there.

use bytes::Bytes;
use tidegate::media::flv::{audio_info, composition_ms, video_codec, video_info};
use tidegate::media::hevc::{Rewritten, is_header, rewrite};
use tidegate::media::{HevcForm, Packet, PacketClass, PacketKind, VideoCodec};

const FORMS: [HevcForm; 2] = [HevcForm::Legacy, HevcForm::Enhanced];

/// Fails where `body` breaks what holds for any input.
pub(crate) fn check(body: &[u8]) {
    for kind in [PacketKind::Audio, PacketKind::Video, PacketKind::Data] {
        let packet = Packet::new(kind, 1, Bytes::copy_from_slice(body));
        assert!(packet.payload.len() <= body.len());
        let fits = match packet.class {
            PacketClass::Keyframe | PacketClass::Interframe | PacketClass::VideoSequenceHeader => kind == PacketKind::Video,
            PacketClass::AudioFrame | PacketClass::AudioSequenceHeader => kind == PacketKind::Audio,
            PacketClass::Metadata => kind == PacketKind::Data,
            _ => true,
        };
        assert!(fits, "{kind:?} is taken for {:?}", packet.class);
    }
    let _ = audio_info(body);
    assert_eq!(video_info(body).map(|info| info.codec), video_codec(body));
    assert!(composition_ms(body).unsigned_abs() <= 1 << 23);
    check_forms(body);
}

fn check_forms(body: &[u8]) {
    let class = |body: &[u8]| Packet::new(PacketKind::Video, 1, Bytes::copy_from_slice(body)).class;
    let found = HevcForm::of(body);
    assert!(!is_header(body) || found.is_some());
    for form in FORMS {
        let Rewritten::Anew(anew) = rewrite(body, form) else { continue };
        assert!(found.is_some_and(|found| found != form), "nothing is written anew in the form that it has");
        assert_eq!(HevcForm::of(&anew), Some(form));
        assert_eq!(rewrite(&anew, form), Rewritten::Same);
        // The end of a sequence names no codec in the newer form.
        assert!(video_codec(&anew).is_none_or(|codec| codec == VideoCodec::H265));
        assert_eq!(class(&anew), class(body), "it means something else in the other form");
        assert_eq!(composition_ms(&anew), composition_ms(body));
        assert_eq!(is_header(&anew), is_header(body));
        // Back and forth again changes nothing more.
        let other = if form == HevcForm::Legacy { HevcForm::Enhanced } else { HevcForm::Legacy };
        let Rewritten::Anew(back) = rewrite(&anew, other) else { panic!("no way back from {form:?}") };
        assert_eq!(rewrite(&back, form), Rewritten::Anew(anew));
    }
}
