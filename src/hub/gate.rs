//! What of a stream may pass, and what is kept of what may not.
//!
//! A closed gate lets no packet of its kind into the ring, sequence headers included, and no viewer takes one that is
//! in the ring already. The newest header is kept: when the gate opens again it goes ahead of the first packet, and
//! pictures begin at a keyframe.

use crate::domain::conference::MediaGate;
use crate::media::{Packet, PacketClass, PacketKind};

/// Whether packets of `kind` pass. Data always does.
pub(super) fn passes(gate: MediaGate, kind: PacketKind) -> bool {
    match kind {
        PacketKind::Audio => gate.audio,
        PacketKind::Video => gate.video,
        PacketKind::Data => true,
    }
}

/// The gate of one stream and the headers behind it.
#[derive(Debug)]
pub(super) struct Gate {
    open: MediaGate,
    video_header: Option<Packet>,
    audio_header: Option<Packet>,
    /// Pictures after a closed gate wait for the one that needs no other.
    awaits_keyframe: bool,
}

/// What becomes of a packet.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It goes to the viewers, behind the header that was kept, where there is one.
    Passes(Option<Packet>),
    /// It goes to nobody.
    Held,
}

impl Gate {
    pub(super) fn new(open: MediaGate) -> Self {
        Self { open, video_header: None, audio_header: None, awaits_keyframe: !open.video }
    }

    pub(super) fn open(&self) -> MediaGate {
        self.open
    }

    /// Moves the gate. `video_header` and `audio_header` were in force until now for what closes.
    pub(super) fn set(
        &mut self,
        open: MediaGate,
        video_header: Option<Packet>,
        audio_header: Option<Packet>,
    ) {
        if video_header.is_some() {
            self.video_header = video_header;
        }
        if audio_header.is_some() {
            self.audio_header = audio_header;
        }
        self.awaits_keyframe |= !open.video;
        self.open = open;
    }

    /// Another publisher begins: the headers kept are not its own.
    pub(super) fn begin(&mut self) {
        self.video_header = None;
        self.audio_header = None;
    }

    /// What becomes of `packet`, whose time is final.
    pub(super) fn judge(&mut self, packet: &Packet) -> Verdict {
        if !passes(self.open, packet.kind) {
            match packet.class {
                PacketClass::VideoSequenceHeader => self.video_header = Some(packet.clone()),
                PacketClass::AudioSequenceHeader => self.audio_header = Some(packet.clone()),
                _ => {}
            }
            return Verdict::Held;
        }
        let kept = match packet.class {
            PacketClass::Keyframe => {
                self.awaits_keyframe = false;
                self.video_header.take()
            }
            PacketClass::Interframe | PacketClass::VideoOther if self.awaits_keyframe => {
                return Verdict::Held;
            }
            PacketClass::VideoSequenceHeader => {
                self.video_header = None;
                None
            }
            PacketClass::AudioSequenceHeader => {
                self.audio_header = None;
                None
            }
            PacketClass::AudioFrame => self.audio_header.take(),
            _ => None,
        };
        Verdict::Passes(kept.map(|header| Packet { timestamp_ms: packet.timestamp_ms, ..header }))
    }
}
