//! Packets, sessions and a publisher's clock for tests.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::domain::media_url::Profile;
use crate::domain::{ConferenceId, Direction, MediaRight, MemberId, RtcId, Seq, StreamId, Timestamp};
use crate::media::PacketKind;

use super::*;

pub(crate) fn stream_id(name: &str) -> StreamId {
    StreamId::new(&RtcId::parse(name).unwrap(), &MemberId::from_random([7; 10]))
}

pub(crate) fn conference_id(number: u8) -> ConferenceId {
    ConferenceId::from_random([number; 10])
}

pub(crate) fn start(direction: Direction, conference: u8, url_key: [u8; 4]) -> SessionStart {
    SessionStart {
        right: MediaRight {
            conference: conference_id(conference),
            member: MemberId::from_random([7; 10]),
            epoch: Seq(1),
            direction,
            stream: stream_id("RTC1"),
            declared: Seq(2),
        },
        protocol: Protocol::Rtmp,
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        url_key,
        at: Timestamp(0),
        is_observer: false,
    }
}

pub(super) fn metadata(variant: u8) -> Bytes {
    [&b"\x02\x00\x0aonMetaData"[..], &[variant]].concat().into()
}

pub(super) fn video_header(variant: u8) -> Bytes {
    vec![0x17, 0, 0, 0, 0, variant].into()
}

pub(super) fn audio_header(variant: u8) -> Bytes {
    // AAC-LC, 48 kHz, as many channels as the variant says.
    vec![0xAF, 0, 0x11, 0x80 | (variant << 3)].into()
}

pub(crate) fn keyframe(bytes: usize) -> Bytes {
    padded(&[0x17, 1, 0, 0, 0], bytes)
}

pub(super) fn interframe(bytes: usize) -> Bytes {
    padded(&[0x27, 1, 0, 0, 0], bytes)
}

pub(super) fn sound(bytes: usize) -> Bytes {
    padded(&[0xAF, 1], bytes)
}

fn padded(head: &[u8], bytes: usize) -> Bytes {
    let mut payload = head.to_vec();
    payload.resize(bytes.max(head.len() + 1), 0);
    payload.into()
}

/// One stream with a hub and a session table around it.
pub(crate) struct Stage {
    pub(crate) hub: Hub,
    pub(crate) table: SessionTable,
    pub(super) id: StreamId,
}

impl Stage {
    pub(crate) fn new(settings: HubSettings) -> Self {
        Self { hub: Hub::new(settings), table: SessionTable::new(usize::MAX), id: stream_id("RTC1") }
    }

    pub(crate) fn publisher(&self, now_ms: u64) -> Source {
        let guard = self.table.enter(start(Direction::Publish, 1, [0; 4]));
        let publisher = self.hub.publish(&self.id, Arc::clone(guard.session()), Timestamp(now_ms)).unwrap();
        Source { publisher, guard, started_ms: now_ms }
    }

    pub(super) fn viewer(&self, profile: Profile) -> Watcher {
        let guard = self.table.enter(start(Direction::Play, 1, [0; 4]));
        let viewer = self.hub.subscribe(&self.id, profile, Arc::clone(guard.session())).unwrap();
        Watcher { viewer, guard }
    }

    pub(super) fn stats(&self) -> StreamStats {
        self.hub.stats(&self.id).unwrap()
    }

    pub(super) fn phases(&self) -> Vec<(u64, Phase)> {
        self.hub.take_changes().into_iter().map(|status| (status.claim, status.phase)).collect()
    }
}

/// A publisher whose stamps begin at 0 and follow the time of the test.
pub(crate) struct Source {
    pub(crate) publisher: Publisher,
    pub(super) guard: SessionGuard,
    started_ms: u64,
}

impl Source {
    pub(super) fn send(&mut self, kind: PacketKind, payload: Bytes, now_ms: u64) -> Result<(), Fenced> {
        let stamp = u32::try_from(now_ms - self.started_ms).unwrap();
        self.publisher.write(kind, stamp, payload, Timestamp(now_ms))
    }

    pub(super) fn data(&mut self, payload: Bytes, now_ms: u64) {
        self.send(PacketKind::Data, payload, now_ms).unwrap();
    }

    pub(super) fn video(&mut self, payload: Bytes, now_ms: u64) {
        self.send(PacketKind::Video, payload, now_ms).unwrap();
    }

    pub(super) fn audio(&mut self, payload: Bytes, now_ms: u64) {
        self.send(PacketKind::Audio, payload, now_ms).unwrap();
    }

    /// Metadata and both sequence headers.
    pub(super) fn headers(&mut self, variant: u8, now_ms: u64) {
        self.data(metadata(variant), now_ms);
        self.video(video_header(variant), now_ms);
        self.audio(audio_header(variant), now_ms);
    }

    /// Pictures every 40 ms from `from_ms` to before `to_ms`, the first of them a keyframe.
    pub(super) fn gop(&mut self, from_ms: u64, to_ms: u64) {
        self.video(keyframe(100), from_ms);
        for now_ms in (from_ms + 40..to_ms).step_by(40) {
            self.video(interframe(50), now_ms);
        }
    }
}

/// A viewer with its session.
pub(super) struct Watcher {
    pub(super) viewer: Viewer,
    pub(super) guard: SessionGuard,
}

impl Watcher {
    pub(super) fn take(&mut self, packets_max: usize) -> (Taken, Vec<Outgoing>) {
        let mut out = Vec::new();
        let taken = self.viewer.take(&mut out, packets_max, usize::MAX, Timestamp(0));
        (taken, out)
    }

    /// Everything there is; the stream must not have ended.
    pub(super) fn drain(&mut self) -> Vec<Outgoing> {
        let mut out = Vec::new();
        while self.viewer.take(&mut out, 64, usize::MAX, Timestamp(0)) == Taken::Some {}
        out
    }

    pub(super) fn is_ready(&mut self) -> bool {
        is_ready(self.viewer.ready())
    }

    pub(super) fn skips(&self) -> u64 {
        self.guard.session().counters().skips()
    }
}

/// Polls once and lets go, as a select that another arm wins does.
pub(super) fn is_ready<T>(future: impl Future<Output = T>) -> bool {
    matches!(pin!(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
}

/// The first bytes that tell packets apart, in order.
pub(super) fn payloads(out: &[Outgoing]) -> Vec<Bytes> {
    out.iter().map(|outgoing| outgoing.frame.packet().payload.clone()).collect()
}

pub(super) fn times(out: &[Outgoing]) -> Vec<u64> {
    out.iter().map(|outgoing| outgoing.timestamp_ms).collect()
}
