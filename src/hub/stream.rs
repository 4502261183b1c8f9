//! One stream: its ring, its time line, and who may write.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, Release},
};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::domain::conference::MediaGate;
use crate::domain::event::{AudioFormat, MediaFormat, VideoFormat};
use crate::domain::{ConferenceId, StreamId, Timestamp};
use crate::media::{AudioInfo, HevcForm, Packet, PacketClass, PacketKind, Timeline, VideoInfo, flv, hevc};

use super::changes::{Changes, Phase, StreamStatus};
use super::delay::DelayMeter;
use super::frame::Frame;
use super::gate::{Gate, Verdict};
use super::meter::{Meter, StreamRates};
use super::publisher::Fenced;
use super::reading::HevcCarried;
use super::ring::{Ring, RingUsage};
use super::session::{CloseReason, Session};
use super::settings::HubSettings;
use super::totals::{FirstFrameMeter, Totals};
use super::track::Track;

/// What a stream has done since it began, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamStats {
    /// The claim of the newest publisher; 0 before the first.
    pub claim: u64,
    /// Whether a publisher is attached.
    pub has_publisher: bool,
    /// Viewers attached.
    pub viewers: usize,
    /// Packets written.
    pub packets: u64,
    /// Bytes of payload written.
    pub bytes: u64,
    /// Pictures written.
    pub video_frames: u64,
    /// Pictures among them that need no other.
    pub keyframes: u64,
    /// The stream's time at the newest keyframe.
    pub newest_keyframe_ms: Option<u64>,
    /// The stream's time now.
    pub newest_ms: u64,
    /// How often viewers had to skip.
    pub skips: u64,
    /// Packets that viewers passed over when they skipped, added up over all of them.
    pub dropped_packets: u64,
    /// Between the two newest keyframes of the publisher, once it has sent two.
    pub keyframe_gap_ms: Option<u64>,
    /// Pictures of the newest publisher that are shown before one that it sent earlier.
    pub b_frames: u64,
    /// How often another publisher went on with the stream.
    pub publisher_changes: u64,
    /// How long the stream stood still the last time: from the last picture or sound of the one before to the first of the next.
    pub publisher_gap_ms: Option<u64>,
    /// How long viewers waited for their first picture, or for sound where there are no pictures: the average.
    pub first_frame_ms: Option<u64>,
    /// The longest that one waited.
    pub first_frame_max_ms: Option<u64>,
    /// What is kept.
    pub ring: RingUsage,
}

/// How far a stream has come, for viewers that wait.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tail {
    pub(super) next_number: u64,
    pub(super) has_ended: bool,
}

/// Tells a stream from all that had its name before. Counted from 1 for as long as the gateway runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamSerial(pub u64);

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) serial: StreamSerial,
    pub(super) state: RwLock<State>,
    pub(super) tail: watch::Sender<Tail>,
    /// Whether its pictures wait for a place.
    pub(super) placeless: watch::Sender<bool>,
    /// Changed under the lock of the map of streams only.
    pub(super) viewers: AtomicUsize,
    /// Counts the gate's moves. Changed with the state locked.
    pub(super) gate_version: AtomicU64,
    pub(super) skips: AtomicU64,
    pub(super) dropped_packets: AtomicU64,
    /// How long packets waited for their viewers.
    pub(super) delay: DelayMeter,
    /// How long viewers waited for their first picture.
    pub(super) first_frames: FirstFrameMeter,
    /// The sums that this stream counts into as well.
    pub(super) sums: Arc<Totals>,
}

/// Whether media has flowed yet, flows, or is over.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Life {
    Fresh,
    Live { claim: u64 },
    Held { since: Timestamp },
    Ended(CloseReason),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) ring: Ring,
    timeline: Timeline,
    life: Life,
    claim: u64,
    publisher: Option<Arc<Session>>,
    conference: Option<ConferenceId>,
    /// This publisher has sent a keyframe: pictures before it belong to no GOP and are not kept.
    has_keyframe: bool,
    pub(super) gate: Gate,
    /// The forms of HEVC that were published here and can be written in the other.
    pub(super) hevc: HevcCarried,
    video: Track<VideoInfo>,
    audio: Track<AudioInfo>,
    totals: StreamStats,
    meter: Meter,
    /// When the newest frame arrived, of whichever publisher.
    newest_frame_ms: Option<u64>,
    /// Another publisher has taken over and has sent no frame yet.
    awaits_return: bool,
    /// The latest time at which a picture of this publisher is shown.
    newest_shown_ms: i64,
}

impl Stream {
    pub(super) fn new(
        id: StreamId,
        serial: StreamSerial,
        settings: &HubSettings,
        gate: MediaGate,
        placeless: bool,
        sums: Arc<Totals>,
    ) -> Self {
        let state = State {
            ring: Ring::new(settings),
            timeline: Timeline::default(),
            life: Life::Fresh,
            claim: 0,
            publisher: None,
            conference: None,
            has_keyframe: false,
            gate: Gate::new(gate),
            hevc: HevcCarried::default(),
            video: Track::default(),
            audio: Track::default(),
            totals: StreamStats::default(),
            meter: Meter::default(),
            newest_frame_ms: None,
            awaits_return: false,
            newest_shown_ms: i64::MIN,
        };
        Self {
            id,
            serial,
            state: RwLock::new(state),
            tail: watch::Sender::new(Tail::default()),
            placeless: watch::Sender::new(placeless),
            viewers: AtomicUsize::new(0),
            gate_version: AtomicU64::new(0),
            skips: AtomicU64::new(0),
            dropped_packets: AtomicU64::new(0),
            delay: DelayMeter::default(),
            first_frames: FirstFrameMeter::default(),
            sums,
        }
    }

    /// Makes `session` the publisher and gives the one before it, if there was one.
    pub(super) fn claim(&self, claim: u64, session: Arc<Session>) -> Option<Arc<Session>> {
        let mut state = self.state.write();
        state.claim = claim;
        state.conference = Some(session.right().conference.clone());
        state.has_keyframe = false;
        state.video = Track::default();
        state.audio = Track::default();
        state.gate.begin();
        state.meter.begin();
        state.totals.newest_keyframe_ms = None;
        state.totals.keyframe_gap_ms = None;
        state.totals.b_frames = 0;
        state.newest_shown_ms = i64::MIN;
        state.awaits_return = state.newest_frame_ms.is_some();
        state.timeline.begin();
        state.ring.forget_headers();
        state.publisher.replace(session)
    }

    /// Lets only that pass which `gate` says.
    pub(super) fn set_gate(&self, gate: MediaGate) {
        let mut state = self.state.write();
        let State { gate: own, ring, .. } = &mut *state;
        let packet = |frame: Arc<Frame>| frame.packet().clone();
        let (mut video, mut audio) = (None, None);
        if own.open().video && !gate.video {
            video = ring.withdraw_video().map(packet);
        }
        if own.open().audio && !gate.audio {
            audio = ring.withdraw_audio().map(packet);
        }
        own.set(gate, video, audio);
        self.gate_version.fetch_add(1, Release);
    }

    /// Adds a packet of the publisher with this claim. What its gate does not let pass is looked at and goes no farther,
    /// but it moves the time line on, so that what passes later stands where it belongs.
    pub(super) fn write(
        &self,
        claim: u64,
        mut packet: Packet,
        stamp: u32,
        now: Timestamp,
        changes: &Changes,
    ) -> Result<(), Fenced> {
        let next_number = {
            let mut state = self.state.write();
            if !state.may_write(claim) {
                return Err(Fenced);
            }
            if !state.belongs_to_a_gop(packet.class) {
                return Ok(());
            }
            packet.timestamp_ms = state.timeline.place(packet.kind, packet.class.is_frame(), stamp, now.0);
            if packet.class == PacketClass::VideoSequenceHeader && hevc::is_header(&packet.payload) {
                state.hevc.note(HevcForm::of(&packet.payload));
            }
            let is_news = state.learn(&packet, now.0);
            state.count(&packet, now.0, &self.sums);
            let is_frame = packet.class.is_frame();
            if let Verdict::Passes(header) = state.gate.judge(&packet) {
                for packet in header.into_iter().chain([packet]) {
                    state.ring.push(Arc::new(Frame::new(packet)), now.0);
                }
            }
            let was_live = state.life == Life::Live { claim };
            if is_frame {
                state.life = Life::Live { claim };
            }
            if (is_frame && !was_live) || (is_news && was_live) {
                self.tell(&state, changes);
            }
            state.ring.next_number()
        };
        self.advance(next_number);
        Ok(())
    }

    /// The publisher with this claim is gone.
    pub(super) fn release(&self, claim: u64, since: Timestamp, changes: &Changes) {
        let mut state = self.state.write();
        if !state.may_write(claim) {
            return;
        }
        state.publisher = None;
        if state.life != Life::Fresh {
            state.life = Life::Held { since };
            self.tell(&state, changes);
        }
    }

    /// Ends the stream for good and gives the publisher that must be told.
    pub(super) fn end(&self, reason: CloseReason, changes: &Changes) -> Option<Arc<Session>> {
        let mut state = self.state.write();
        let was_seen = state.life != Life::Fresh;
        state.life = Life::Ended(reason);
        if was_seen {
            self.tell(&state, changes);
        }
        let publisher = state.publisher.take();
        drop(state);
        self.tail.send_modify(|tail| tail.has_ended = true);
        publisher
    }

    /// Whether nothing would be lost if the map forgot the stream.
    pub(super) fn is_abandoned(&self) -> bool {
        let state = self.state.read();
        let is_over = matches!(state.life, Life::Fresh | Life::Ended(_));
        is_over && state.publisher.is_none() && self.viewers.load(Relaxed) == 0
    }

    pub(super) fn is_held_since(&self, claim: u64) -> bool {
        let state = self.state.read();
        state.claim == claim && state.publisher.is_none() && matches!(state.life, Life::Held { .. })
    }

    pub(super) fn stats(&self) -> StreamStats {
        let first_frames = self.first_frames.read();
        let state = self.state.read();
        StreamStats {
            claim: state.claim,
            has_publisher: state.publisher.is_some(),
            viewers: self.viewers.load(Relaxed),
            newest_ms: state.timeline.newest_ms(),
            skips: self.skips.load(Relaxed),
            dropped_packets: self.dropped_packets.load(Relaxed),
            first_frame_ms: first_frames.map(|(mean_ms, _)| mean_ms),
            first_frame_max_ms: first_frames.map(|(_, max_ms)| max_ms),
            ring: state.ring.usage(),
            ..state.totals
        }
    }

    pub(super) fn rates(&self, now: Timestamp) -> StreamRates {
        self.state.read().meter.rates(now.0)
    }

    /// Wakes the viewers. A writer that was overtaken here by its successor must not turn the tail back.
    fn advance(&self, next_number: u64) {
        self.tail.send_if_modified(|tail| {
            let is_news = next_number > tail.next_number;
            tail.next_number = tail.next_number.max(next_number);
            is_news
        });
    }

    /// Called with the state locked, so that changes keep the order in which they happened.
    fn tell(&self, state: &State, changes: &Changes) {
        let Some(conference) = state.conference.clone() else { return };
        let phase = match &state.life {
            Life::Fresh => return,
            Life::Live { .. } => Phase::Live { format: state.format() },
            Life::Held { since } => Phase::Held { since: *since },
            Life::Ended(_) => Phase::Ended,
        };
        changes.put(StreamStatus { stream: self.id.clone(), conference, claim: state.claim, phase });
    }
}

impl State {
    pub(super) fn end_reason(&self) -> Option<CloseReason> {
        match &self.life {
            Life::Ended(reason) => Some(reason.clone()),
            _ => None,
        }
    }

    fn may_write(&self, claim: u64) -> bool {
        self.claim == claim && !matches!(self.life, Life::Ended(_))
    }

    fn belongs_to_a_gop(&mut self, class: PacketClass) -> bool {
        self.has_keyframe |= class == PacketClass::Keyframe;
        self.has_keyframe || !matches!(class, PacketClass::Interframe | PacketClass::VideoOther)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.publisher.is_some() || matches!(self.life, Life::Held { .. })
    }

    /// Takes note of what flows, and of what no longer does; true if that is news. A frame tells the codec only, so it
    /// does not override what a header told.
    fn learn(&mut self, packet: &Packet, now_ms: u64) -> bool {
        let payload: &Bytes = &packet.payload;
        let (video, audio) = (&mut self.video, &mut self.audio);
        let is_news = match packet.class {
            PacketClass::VideoSequenceHeader => video.learn(flv::video_info(payload)) | video.see(now_ms),
            PacketClass::AudioSequenceHeader => audio.learn(flv::audio_info(payload)) | audio.see(now_ms),
            PacketClass::Keyframe if video.known().map(|video| video.codec) != flv::video_codec(payload) => {
                video.learn(flv::video_info(payload)) | video.see(now_ms)
            }
            PacketClass::AudioFrame
                if audio.known().map(|audio| audio.codec) != flv::audio_codec(payload) =>
            {
                audio.learn(flv::audio_info(payload)) | audio.see(now_ms)
            }
            PacketClass::Keyframe | PacketClass::Interframe => video.see(now_ms),
            PacketClass::AudioFrame => audio.see(now_ms),
            _ => false,
        };
        is_news | video.fall_silent(now_ms) | audio.fall_silent(now_ms)
    }

    fn count(&mut self, packet: &Packet, now_ms: u64, sums: &Totals) {
        self.meter.count(packet.kind, packet.class.is_frame(), packet.payload.len(), now_ms);
        self.totals.packets += 1;
        self.totals.bytes += packet.payload.len() as u64;
        if packet.class.is_frame() {
            self.count_gap(now_ms, sums);
        }
        if packet.kind == PacketKind::Video && packet.class.is_frame() {
            self.totals.video_frames += 1;
            self.count_order(packet, sums);
        }
        if packet.class == PacketClass::Keyframe {
            self.totals.keyframes += 1;
            let before = self.totals.newest_keyframe_ms.replace(packet.timestamp_ms);
            self.totals.keyframe_gap_ms = before.map(|before| packet.timestamp_ms.saturating_sub(before));
        }
    }

    fn count_gap(&mut self, now_ms: u64, sums: &Totals) {
        let before_ms = self.newest_frame_ms.replace(now_ms);
        if let Some(before_ms) = before_ms.filter(|_| std::mem::take(&mut self.awaits_return)) {
            let gap_ms = now_ms.saturating_sub(before_ms);
            self.totals.publisher_changes += 1;
            self.totals.publisher_gap_ms = Some(gap_ms);
            sums.add_publisher_change(gap_ms);
        }
    }

    /// A picture that is shown before one that was sent earlier is a B-frame, whatever the codec calls it.
    fn count_order(&mut self, packet: &Packet, sums: &Totals) {
        let sent_ms = i64::try_from(packet.timestamp_ms).unwrap_or(i64::MAX);
        let shown_ms = sent_ms.saturating_add(flv::composition_ms(&packet.payload).into());
        if shown_ms < self.newest_shown_ms {
            self.totals.b_frames += 1;
            sums.add_b_frame();
        } else {
            self.newest_shown_ms = shown_ms;
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.life, Life::Live { .. })
    }

    pub(super) fn has_pictures(&self) -> bool {
        self.video.known().is_some()
    }

    fn format(&self) -> MediaFormat {
        MediaFormat {
            video: self.video.flowing().map(|video| VideoFormat {
                codec: video.codec.to_string(),
                width: video.width,
                height: video.height,
            }),
            audio: self.audio.flowing().map(|audio| AudioFormat {
                codec: audio.codec.to_string(),
                sample_rate: audio.sample_rate,
                channels: audio.channels,
            }),
        }
    }
}
