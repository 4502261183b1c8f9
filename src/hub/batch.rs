//! What came to a stream at one time, taken from the ring once for all viewers that stand where it begins.

use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;

use crate::domain::Timestamp;
use crate::media::PacketKind;

use super::frame::Frame;
use super::gate::passes;
use super::reading::HevcCarried;
use super::stream::Stream;
use super::viewer::Mark;

/// Packets between two places in a stream, none of which asks for a look at the viewer: no headers, nothing held back.
#[derive(Debug)]
pub struct Batch {
    pub(super) from: u64,
    pub(super) until: u64,
    frames: Vec<Arc<Frame>>,
    payload_bytes: usize,
    pub(super) has_video: bool,
    /// The earliest time at which one of them is to be shown.
    pub(super) earliest_ms: u64,
    /// What the stream has carried by then.
    pub(super) hevc: HevcCarried,
    /// When the first of the packets arrived.
    oldest_ms: u64,
    /// How much later the last one came.
    pub(super) span_ms: u64,
    /// Which of all positions the gate stood in.
    gate_version: u64,
}

impl Batch {
    /// The packets of `stream` from `since` to `until`. None where there are none, where they are more than
    /// `packets_max` or `bytes_max`, or where each viewer has to look for itself.
    pub(super) fn gather(
        stream: &Stream,
        since: Mark,
        until: Mark,
        packets_max: usize,
        bytes_max: usize,
    ) -> Option<Self> {
        let packets = until.next_number.checked_sub(since.next_number)?;
        let packets = usize::try_from(packets).ok().filter(|packets| (1..=packets_max).contains(packets))?;
        let state = stream.state.read();
        if since.next_number < state.ring.first_number() {
            return None;
        }
        let mut batch = Self {
            from: since.next_number,
            until: until.next_number,
            frames: Vec::with_capacity(packets),
            payload_bytes: 0,
            has_video: false,
            earliest_ms: u64::MAX,
            hevc: state.hevc,
            oldest_ms: u64::MAX,
            span_ms: 0,
            gate_version: stream.gate_version.load(Acquire),
        };
        let open = state.gate.open();
        for slot in state.ring.from(since.next_number).take(packets) {
            let packet = slot.frame.packet();
            if packet.class.is_header() || !passes(open, packet.kind) {
                return None;
            }
            batch.payload_bytes += packet.payload.len();
            batch.has_video |= packet.kind == PacketKind::Video;
            batch.earliest_ms = batch.earliest_ms.min(packet.timestamp_ms);
            batch.oldest_ms = batch.oldest_ms.min(slot.arrived_ms);
            batch.span_ms = slot.arrived_ms - batch.oldest_ms;
            batch.frames.push(Arc::clone(&slot.frame));
        }
        (batch.payload_bytes <= bytes_max && batch.frames.len() == packets).then_some(batch)
    }

    /// The packets, in order.
    pub fn frames(&self) -> &[Arc<Frame>] {
        &self.frames
    }

    /// Bytes of payload in all of them.
    pub(super) fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// How long the first of them has waited.
    pub(super) fn waited_ms(&self, now: Timestamp) -> u64 {
        now.0.saturating_sub(self.oldest_ms)
    }

    /// Whether what passed then passes still.
    pub(super) fn is_let_through(&self, stream: &Stream) -> bool {
        stream.gate_version.load(Acquire) == self.gate_version
    }
}
