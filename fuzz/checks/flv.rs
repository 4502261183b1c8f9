//! The FLV file that a viewer gets of whatever a publisher sends: any messages, in any order, with any times, alone or in
//! aggregates. A reader of its own takes the file apart again. Nothing in the gateway reads FLV files.

use bytes::Bytes;
use tidegate::media::flv::{file_header, previous_tag_size, tag_header};
use tidegate::media::{Packet, PacketKind, Timeline};
use tidegate::rtmp::proto::message::unpack_aggregate;

/// One message: type, time of the sender, milliseconds since the last one, length of the body, body.
fn message(input: &mut &[u8]) -> Option<(u8, u32, u64, Bytes)> {
    let (head, rest) = input.split_first_chunk::<8>()?;
    let [type_id, s0, s1, s2, s3, pause, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
    let (body, rest) = rest.split_at(length);
    *input = rest;
    Some((type_id, u32::from_be_bytes([s0, s1, s2, s3]), u64::from(pause), Bytes::copy_from_slice(body)))
}

/// Fails where `input` breaks what holds for any input.
pub(crate) fn check(mut input: &[u8]) {
    let mut line = Timeline::default();
    let (mut now_ms, mut sent, mut file) = (0, Vec::new(), file_header(true, true).to_vec());
    while let Some((type_id, stamp, pause_ms, body)) = message(&mut input) {
        now_ms += pause_ms;
        let messages = if type_id == 22 {
            let parts = unpack_aggregate(stamp, &body).unwrap_or_default();
            parts.into_iter().map(|part| (part.type_id, part.timestamp, part.payload)).collect()
        } else {
            vec![(type_id, stamp, body)]
        };
        for (type_id, stamp, body) in messages {
            let Some(kind) = PacketKind::from_type_id(type_id) else { continue };
            let mut packet = Packet::new(kind, 0, body);
            packet.timestamp_ms = line.place(kind, packet.class.is_frame(), stamp, now_ms);
            file.extend(tag_header(kind, packet.payload.len(), packet.timestamp_ms));
            file.extend(&packet.payload);
            file.extend(previous_tag_size(packet.payload.len()));
            sent.push(packet);
        }
    }
    assert_reads_as(&file, &sent);
}

/// Adobe Flash Video File Format 10.1, annex E.
fn assert_reads_as(file: &[u8], sent: &[Packet]) {
    let mut rest = file.strip_prefix(b"FLV\x01\x05\0\0\0\x09\0\0\0\0").expect("the file header");
    let mut newest_ms = [0_u64; 3];
    for packet in sent {
        let (head, behind) = rest.split_first_chunk::<11>().expect("a tag header");
        let [kind, l0, l1, l2, t0, t1, t2, t3, _, _, _] = *head;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let (body, behind) = behind.split_at(length);
        let (size, behind) = behind.split_first_chunk::<4>().expect("the size behind the tag");
        assert_eq!((kind, body), (packet.kind.type_id(), &packet.payload[..]));
        assert_eq!(u32::from_be_bytes(*size) as usize, length + 11);
        let at_ms = u32::from_be_bytes([t3, t0, t1, t2]);
        assert_eq!(u64::from(at_ms), packet.timestamp_ms & 0xFFFF_FFFF);
        if packet.class.is_frame() {
            let newest_ms = &mut newest_ms[packet.kind as usize];
            assert!(packet.timestamp_ms >= *newest_ms, "the time of a track goes back");
            *newest_ms = packet.timestamp_ms;
        }
        rest = behind;
    }
    assert!(rest.is_empty());
}
