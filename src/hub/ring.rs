//! What a stream keeps: its newest packets, and what a viewer needs to begin among them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::conference::MediaGate;
use crate::media::PacketClass;

use super::frame::Frame;
use super::gate::passes;
use super::settings::HubSettings;

/// What a packet costs beside its payload: the frame, its place in the ring, and its images' headers. Counted so
/// that tiny packets cannot fill memory for free.
pub(super) const PACKET_OVERHEAD_BYTES: usize = 512;
/// Largest header packet that is remembered for joiners, as large as a data message may be. Real ones have a few
/// hundred bytes.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// The headers in force at some point of a stream, or those that a viewer was last sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Headers {
    metadata: Option<Arc<Frame>>,
    video: Option<Arc<Frame>>,
    audio: Option<Arc<Frame>>,
}

impl Headers {
    /// Takes note of `frame` if it is a header.
    pub(super) fn remember(&mut self, frame: &Arc<Frame>) {
        let slot = match frame.packet().class {
            PacketClass::Metadata => &mut self.metadata,
            PacketClass::VideoSequenceHeader => &mut self.video,
            PacketClass::AudioSequenceHeader => &mut self.audio,
            _ => return,
        };
        if frame.packet().payload.len() <= HEADER_BYTES_MAX {
            *slot = Some(Arc::clone(frame));
        }
    }

    /// Takes note of those of `headers` that `gate` lets pass.
    pub(super) fn remember_passing(&mut self, headers: &Self, gate: MediaGate) {
        let all = [&headers.metadata, &headers.video, &headers.audio].into_iter().flatten();
        for frame in all.filter(|frame| passes(gate, frame.packet().kind)) {
            self.remember(frame);
        }
    }

    /// The headers that differ from those in `sent`, in the order in which a viewer needs them.
    pub(super) fn changed_since(&self, sent: &Self) -> impl Iterator<Item = &Arc<Frame>> {
        [(&self.metadata, &sent.metadata), (&self.video, &sent.video), (&self.audio, &sent.audio)]
            .into_iter()
            .filter_map(|(here, there)| here.as_ref().map(|here| (here, there)))
            .filter(|(here, there)| !there.as_ref().is_some_and(|there| same(here, there)))
            .map(|(here, _)| here)
    }
}

fn same(one: &Arc<Frame>, other: &Arc<Frame>) -> bool {
    Arc::ptr_eq(one, other) || one.packet().payload == other.packet().payload
}

/// A packet in its place.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) frame: Arc<Frame>,
    /// The stream's time here: never less than in the slot before.
    pub(super) line_ms: u64,
    /// When the packet arrived: never less than in the slot before.
    pub(super) arrived_ms: u64,
}

/// Where a viewer can begin.
#[derive(Debug)]
pub(super) struct GopStart {
    /// The number of the keyframe.
    pub(super) number: u64,
    /// The headers in force at the keyframe.
    pub(super) headers: Headers,
}

/// What a ring holds at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingUsage {
    /// Payload and overhead.
    pub bytes: usize,
    /// Media time between the oldest and the newest packet.
    pub ms: u64,
    /// Packets.
    pub packets: usize,
}

/// The newest packets of a stream, numbered from 0 for as long as the stream lives.
#[derive(Debug)]
pub(super) struct Ring {
    slots: VecDeque<Slot>,
    first: u64,
    bytes: usize,
    headers: Headers,
    newest_gop: Option<GopStart>,
    bytes_max: usize,
    ms_max: u64,
    packets_max: usize,
}

impl Ring {
    pub(super) fn new(settings: &HubSettings) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            bytes: 0,
            headers: Headers::default(),
            newest_gop: None,
            bytes_max: settings.ring_bytes_max,
            ms_max: settings.ring_ms_max,
            packets_max: settings.ring_packets_max.max(1),
        }
    }

    /// Another publisher begins: the headers in force are those that it sends.
    pub(super) fn forget_headers(&mut self) {
        self.headers = Headers::default();
    }

    /// Pictures are held back from now on: nobody begins among those that are kept. Gives the header that was in force,
    /// which is so no longer.
    pub(super) fn withdraw_video(&mut self) -> Option<Arc<Frame>> {
        self.newest_gop = None;
        self.headers.video.take()
    }

    /// Sound is held back from now on. Gives the header that was in force, which is so no longer.
    pub(super) fn withdraw_audio(&mut self) -> Option<Arc<Frame>> {
        self.headers.audio.take()
    }

    /// Adds the newest packet and lets go of the oldest ones that the bounds no longer allow.
    pub(super) fn push(&mut self, frame: Arc<Frame>, arrived_ms: u64) {
        let packet = frame.packet();
        self.headers.remember(&frame);
        if packet.class == PacketClass::Keyframe {
            self.newest_gop = Some(GopStart { number: self.next_number(), headers: self.headers.clone() });
        }
        self.bytes += cost(&frame);
        let newest = self.slots.back();
        let line_ms = packet.timestamp_ms.max(newest.map_or(0, |slot| slot.line_ms));
        let arrived_ms = arrived_ms.max(newest.map_or(0, |slot| slot.arrived_ms));
        self.slots.push_back(Slot { frame, line_ms, arrived_ms });
        while self.slots.len() > 1 && self.is_over_bounds() {
            if let Some(oldest) = self.slots.pop_front() {
                self.bytes -= cost(&oldest.frame);
                self.first += 1;
            }
        }
        self.newest_gop.take_if(|gop| gop.number < self.first);
    }

    /// The number that the next packet will have.
    pub(super) fn next_number(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// The number of the oldest packet that is kept.
    pub(super) fn first_number(&self) -> u64 {
        self.first
    }

    /// The headers in force now.
    pub(super) fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The newest keyframe that is kept.
    pub(super) fn newest_gop(&self) -> Option<&GopStart> {
        self.newest_gop.as_ref()
    }

    /// The stream's time at the newest packet.
    pub(super) fn newest_line_ms(&self) -> u64 {
        self.slots.back().map_or(0, |slot| slot.line_ms)
    }

    /// How much earlier than the newest packet the packet `number` arrived.
    pub(super) fn lag_ms(&self, number: u64) -> u64 {
        match (self.slots.back(), self.from(number).next()) {
            (Some(newest), Some(slot)) => newest.arrived_ms - slot.arrived_ms,
            _ => 0,
        }
    }

    /// The packets from `number` on, or from the oldest one on if that is gone.
    pub(super) fn from(&self, number: u64) -> impl Iterator<Item = &Slot> {
        let skipped = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.slots.range(skipped.min(self.slots.len())..)
    }

    pub(super) fn usage(&self) -> RingUsage {
        RingUsage { bytes: self.bytes, ms: self.span_ms(), packets: self.slots.len() }
    }

    fn is_over_bounds(&self) -> bool {
        self.bytes > self.bytes_max || self.slots.len() > self.packets_max || self.span_ms() > self.ms_max
    }

    fn span_ms(&self) -> u64 {
        self.newest_line_ms() - self.slots.front().map_or(0, |slot| slot.line_ms)
    }
}

fn cost(frame: &Frame) -> usize {
    frame.packet().payload.len() + PACKET_OVERHEAD_BYTES
}
