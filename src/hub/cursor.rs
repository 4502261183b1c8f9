//! A viewer's place in a ring: what it is handed next, and what it leaves out.

use std::sync::Arc;

use crate::domain::conference::MediaGate;
use crate::domain::media_url::Profile;
use crate::media::timeline::TRACK_SKEW_MAX_MS;
use crate::media::{Packet, PacketClass, PacketKind};

use super::batch::Batch;
use super::frame::Frame;
use super::gate::passes;
use super::ring::{Headers, Ring};
use super::settings::HubSettings;

/// A frame for one viewer.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The frame, shared by all viewers.
    pub frame: Arc<Frame>,
    /// When this viewer is to show it. Where it equals the frame's own time, the frame's image fits; it differs for a
    /// squeezed burst and for headers that are repeated.
    pub timestamp_ms: u64,
}

/// What one take amounted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Portion {
    pub(super) packets: usize,
    pub(super) bytes: usize,
    /// Packets that were passed over to catch up, if the viewer had to.
    pub(super) skipped: Option<u64>,
    /// When the oldest of the packets arrived, without those that the viewer begins with.
    pub(super) oldest_ms: Option<u64>,
}

/// A place in a ring.
#[derive(Debug)]
pub(super) struct Cursor {
    next: u64,
    /// Pictures mean nothing to the viewer until a keyframe.
    awaits_keyframe: bool,
    /// The first packet that came after the viewer: those before it are what it begins with.
    live_from: u64,
    /// What the viewer was sent.
    sent: Headers,
    /// Headers to send before anything else, and their time.
    owed: Option<(Headers, u64)>,
    squeeze: Option<Squeeze>,
    /// Where the sound of the burst begins.
    sounds_from_ms: u64,
    /// How far behind the viewer was put by the burst that it began with, as long as it has not caught up.
    allowance_ms: u64,
    lag_max_ms: u64,
    squeeze_ms: Option<u64>,
}

impl Cursor {
    /// A viewer that joins now: at the newest keyframe, or at the end where none is kept.
    pub(super) fn join(ring: &Ring, settings: &HubSettings, profile: Profile) -> Self {
        let mut cursor = Self {
            next: 0,
            awaits_keyframe: true,
            live_from: 0,
            sent: Headers::default(),
            owed: None,
            squeeze: None,
            sounds_from_ms: 0,
            allowance_ms: 0,
            lag_max_ms: settings.lag_max_ms(profile),
            squeeze_ms: settings.squeeze_ms(profile),
        };
        cursor.enter(ring);
        cursor
    }

    /// Whether [`Cursor::take`] has something to look at in a ring whose next packet has this number.
    pub(super) fn is_behind(&self, next_number: u64) -> bool {
        self.owed.is_some() || self.next < next_number
    }

    /// Whether `batch` is all that the viewer lacks, at the time of its own: the viewer has caught up, needs nothing
    /// before, and what it began with is not pressed into this too.
    pub(super) fn is_current_at(&self, batch: &Batch) -> bool {
        self.next == batch.from
            && batch.from >= self.live_from
            && self.owed.is_none()
            && self.squeeze.as_ref().is_none_or(|squeeze| batch.earliest_ms >= squeeze.to_ms)
            && !(batch.has_video && self.awaits_keyframe)
    }

    /// Goes on to `until`, past packets that were handed over with the others', the last of them `span_ms` after the first.
    pub(super) fn pass(&mut self, until: u64, span_ms: u64) {
        self.next = until;
        self.allowance_ms = self.allowance_ms.min(span_ms);
    }

    /// Hands over what comes next: at most `packets_max` packets and `bytes_max` bytes of payload, but at least one
    /// packet if there is one. Up to three repeated headers come on top. Leaves out what `open` does not let pass.
    pub(super) fn take(
        &mut self,
        ring: &Ring,
        open: MediaGate,
        out: &mut Vec<Outgoing>,
        packets_max: usize,
        bytes_max: usize,
    ) -> Portion {
        let skipped = self.catch_up(ring);
        let mut portion = Portion { skipped, ..Portion::default() };
        if let Some((headers, timestamp_ms)) = self.owed.take() {
            let changed = headers.changed_since(&self.sent);
            for frame in changed.filter(|frame| passes(open, frame.packet().kind)) {
                portion.packets += 1;
                portion.bytes += frame.packet().payload.len();
                out.push(Outgoing { frame: Arc::clone(frame), timestamp_ms });
            }
            // What was held back here is still owed when it passes again.
            self.sent.remember_passing(&headers, open);
        }
        let (mut packets, mut bytes) = (0, 0);
        for slot in ring.from(self.next) {
            let packet = slot.frame.packet();
            if self.wants(packet, open) && !self.is_overtaken(packet) {
                if packets > 0 && (packets >= packets_max || bytes + packet.payload.len() > bytes_max) {
                    break;
                }
                packets += 1;
                bytes += packet.payload.len();
                if self.next >= self.live_from {
                    portion.oldest_ms.get_or_insert(slot.arrived_ms);
                }
                self.sent.remember(&slot.frame);
                let timestamp_ms = self.squeezed(packet, slot.line_ms);
                out.push(Outgoing { frame: Arc::clone(&slot.frame), timestamp_ms });
            }
            self.next += 1;
        }
        portion.packets += packets;
        portion.bytes += bytes;
        portion
    }

    /// Moves a viewer that is too far behind, or whose packets are gone, and gives the number of packets passed over.
    fn catch_up(&mut self, ring: &Ring) -> Option<u64> {
        let lag_ms = ring.lag_ms(self.next);
        let is_gone = self.next < ring.first_number();
        if !is_gone && lag_ms <= self.lag_max_ms.saturating_add(self.allowance_ms) {
            self.allowance_ms = self.allowance_ms.min(lag_ms);
            return None;
        }
        let before = self.next;
        self.enter(ring);
        (self.next > before).then(|| self.next - before)
    }

    /// Puts the viewer at the newest keyframe, if that is not behind it, else at the end of the ring.
    fn enter(&mut self, ring: &Ring) {
        self.awaits_keyframe = true;
        self.live_from = ring.next_number();
        let newest_ms = ring.newest_line_ms();
        match ring.newest_gop().filter(|gop| gop.number >= self.next) {
            Some(gop) => {
                self.next = gop.number;
                self.allowance_ms = ring.lag_ms(gop.number);
                let start_ms =
                    ring.from(gop.number).next().map_or(newest_ms, |slot| slot.frame.packet().timestamp_ms);
                let squeeze = self.squeeze_ms.and_then(|into| Squeeze::new(start_ms, newest_ms, into));
                self.sounds_from_ms = squeeze.as_ref().map_or(0, Squeeze::begin_ms);
                // An earlier squeeze still holds forward what comes late.
                self.squeeze = squeeze.or_else(|| self.squeeze.take());
                let start_ms = self.squeeze.as_ref().map_or(start_ms, |squeeze| squeeze.apply(start_ms));
                self.owe(&gop.headers, start_ms);
            }
            None => {
                self.next = ring.next_number();
                self.allowance_ms = 0;
                self.owe(ring.headers(), newest_ms);
            }
        }
    }

    fn owe(&mut self, headers: &Headers, timestamp_ms: u64) {
        let is_behind = headers.changed_since(&self.sent).next().is_some();
        self.owed = is_behind.then(|| (headers.clone(), timestamp_ms));
    }

    /// Whether the viewer gets `packet`. What stands in the ring from before a gate closed is not for it.
    fn wants(&mut self, packet: &Packet, open: MediaGate) -> bool {
        if !passes(open, packet.kind) {
            self.awaits_keyframe |= packet.kind == PacketKind::Video;
            return false;
        }
        match packet.class {
            PacketClass::Keyframe => {
                self.awaits_keyframe = false;
                true
            }
            PacketClass::Interframe | PacketClass::VideoOther => !self.awaits_keyframe,
            _ => true,
        }
    }

    /// Whether `packet` is a sound of a squeezed burst from before the time that the burst takes up. A player needs pictures
    /// to decode those that follow, and shows them as fast as it is told; a sound lasts as long as it lasts, and would put the
    /// player behind.
    fn is_overtaken(&self, packet: &Packet) -> bool {
        self.next < self.live_from
            && packet.class == PacketClass::AudioFrame
            && packet.timestamp_ms < self.sounds_from_ms
    }

    fn squeezed(&mut self, packet: &Packet, line_ms: u64) -> u64 {
        let Some(squeeze) = &self.squeeze else { return packet.timestamp_ms };
        let shown_ms = match packet.class {
            PacketClass::AudioFrame => packet.timestamp_ms,
            PacketClass::AudioSequenceHeader => packet.timestamp_ms.max(squeeze.begin_ms()),
            _ => squeeze.apply(packet.timestamp_ms),
        };
        if line_ms > squeeze.to_ms + TRACK_SKEW_MAX_MS {
            self.squeeze = None;
        }
        shown_ms
    }
}

/// Presses a burst into the end of the time that it covers. The order of times is kept, and the burst's end stays
/// where it is, so that what follows joins on.
#[derive(Debug)]
struct Squeeze {
    from_ms: u64,
    to_ms: u64,
    into_ms: u64,
}

impl Squeeze {
    fn new(from_ms: u64, to_ms: u64, into_ms: u64) -> Option<Self> {
        (to_ms.saturating_sub(from_ms) > into_ms).then_some(Self { from_ms, to_ms, into_ms })
    }

    /// When the burst begins that was pressed.
    fn begin_ms(&self) -> u64 {
        self.to_ms.saturating_sub(self.into_ms)
    }

    /// What lies behind the burst's end is still pressed after the burst, so that it does not go back.
    fn apply(&self, timestamp_ms: u64) -> u64 {
        let timestamp_ms = timestamp_ms.max(self.from_ms);
        if timestamp_ms >= self.to_ms {
            return timestamp_ms;
        }
        let before_end = u128::from(self.to_ms - timestamp_ms) * u128::from(self.into_ms);
        let pressed = before_end / u128::from(self.to_ms - self.from_ms);
        self.to_ms - u64::try_from(pressed).unwrap_or(self.into_ms)
    }
}
