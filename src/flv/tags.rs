//! Packets as FLV tags.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::hub::{Image, Outgoing, WireFormat};
use crate::media::flv::{
    PREVIOUS_TAG_SIZE_BYTES, TAG_HEADER_BYTES, file_header, previous_tag_size, tag_header,
};
use crate::media::packet::{Packet, PacketKind};

/// Bodies up to this size are copied once, next to their tag header: three pieces on the wire cost more than so few
/// bytes. Sound fits, and no keyframe does.
const COPIED_BYTES_MAX: usize = 1024;

/// Writes one viewer's tags, after the file header.
#[derive(Debug, Default)]
pub(super) struct Tags {
    has_begun: bool,
}

impl Tags {
    /// The bytes of these packets in order, in pieces. Nothing makes nothing.
    ///
    /// The file header names what the first packets hold: a player that is told of sound or pictures waits for them,
    /// and takes those that come untold.
    pub(super) fn write(&mut self, packets: impl Iterator<Item = Outgoing>) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        let (mut audio, mut video) = (false, false);
        for outgoing in packets {
            let packet = outgoing.frame.packet();
            audio |= packet.kind == PacketKind::Audio;
            video |= packet.kind == PacketKind::Video;
            if outgoing.timestamp_ms == packet.timestamp_ms {
                pieces.extend_from_slice(outgoing.frame.image(WireFormat::Flv, image).slices());
            } else {
                pieces.extend_from_slice(image_at(packet, outgoing.timestamp_ms).slices());
            }
        }
        if !self.has_begun && !pieces.is_empty() {
            self.has_begun = true;
            pieces.insert(0, Bytes::copy_from_slice(&file_header(audio, video)));
        }
        pieces
    }
}

fn image(packet: &Packet) -> Image {
    image_at(packet, packet.timestamp_ms)
}

fn image_at(packet: &Packet, timestamp_ms: u64) -> Image {
    let payload = &packet.payload;
    let header = tag_header(packet.kind, payload.len(), timestamp_ms);
    let trailer = previous_tag_size(payload.len());
    if payload.len() > COPIED_BYTES_MAX {
        return Image::new(vec![
            Bytes::copy_from_slice(&header),
            payload.clone(),
            Bytes::copy_from_slice(&trailer),
        ]);
    }
    let mut tag = BytesMut::with_capacity(TAG_HEADER_BYTES + payload.len() + PREVIOUS_TAG_SIZE_BYTES);
    tag.put_slice(&header);
    tag.put_slice(payload);
    tag.put_slice(&trailer);
    Image::new(vec![tag.freeze()])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::hub::Frame;

    fn outgoing(kind: PacketKind, bytes: usize, at: u64, shown_at: u64) -> Outgoing {
        let frame = Arc::new(Frame::new(Packet::new(kind, at, vec![0xAF; bytes].into())));
        Outgoing { frame, timestamp_ms: shown_at }
    }

    #[test]
    fn the_file_header_names_what_comes_first_and_comes_once() {
        for (kinds, flags) in [
            (&[PacketKind::Data, PacketKind::Audio, PacketKind::Video][..], 5),
            (&[PacketKind::Audio], 4),
            (&[PacketKind::Video], 1),
        ] {
            let mut tags = Tags::default();
            assert!(tags.write(std::iter::empty()).is_empty());
            let first = tags.write(kinds.iter().map(|kind| outgoing(*kind, 5, 0, 0)));
            assert_eq!((&first[0][..4], first[0][4]), (&b"FLV\x01"[..], flags));
            let second = tags.write([outgoing(PacketKind::Audio, 5, 0, 0)].into_iter());
            assert_eq!(second[0][0], 8);
        }
    }

    #[test]
    fn a_tag_is_its_header_its_body_and_its_size_at_the_time_it_is_shown() {
        for bytes in [COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1] {
            for shown_at in [0x0100_0001, 7] {
                let mut tags = Tags { has_begun: true };
                let tag = tags.write([outgoing(PacketKind::Video, bytes, 7, shown_at)].into_iter()).concat();
                assert_eq!(tag.len(), 11 + bytes + 4);
                assert_eq!(tag[..11], tag_header(PacketKind::Video, bytes, shown_at));
                assert_eq!(tag[11 + bytes..], previous_tag_size(bytes));
            }
        }
    }
}
