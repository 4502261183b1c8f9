//! What a connection plays.

use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use super::outbox::Outbox;
use crate::domain::media_url::Profile;
use crate::domain::{Refusal, Timestamp};
use crate::hub::{Batch, CloseReason, Hub, Mark, Outgoing, Session, Taken, Viewer};
use crate::media::HevcForm;
use crate::media::packet::PacketKind;

/// Messages taken from the ring at once: what one vectored write can carry.
pub(super) const PACKETS_PER_TURN: usize = 32;
/// Bytes taken from the ring at once. What the socket does not take waits in the outbox, where nothing can be skipped
/// any more, so it is kept below a tenth of a second of a fat stream.
pub(super) const BYTES_PER_TURN: usize = 256 * 1024;
/// Between two looks at a stream that is published and sends nothing to its viewers, however short the first wait was set.
const WAIT_AGAIN_MIN: Duration = Duration::from_secs(1);

/// What of the stream the player wants.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    audio: bool,
    video: bool,
}

/// Holds a cursor into the stream.
pub(super) struct Playing {
    session: Arc<Session>,
    hub: Hub,
    profile: Profile,
    /// The form in which the player reads HEVC; as published where nothing was said.
    hevc: Option<HevcForm>,
    /// None while the player has paused.
    viewer: Option<Viewer>,
    wanted: Wanted,
    /// Until when the first picture or sound has to come.
    first_media_until: Option<Instant>,
    /// How long that may take.
    wait: Duration,
}

/// What came of asking the hub.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refill {
    /// The outbox holds all there is for now.
    Current,
    /// The publisher does not come back.
    Ended,
}

impl Playing {
    pub(super) fn new(
        hub: &Hub,
        session: &Arc<Session>,
        profile: Profile,
        wait: Duration,
    ) -> Result<Self, Refusal> {
        let viewer = hub.subscribe(&session.right().stream, profile, Arc::clone(session))?;
        Ok(Self {
            session: Arc::clone(session),
            hub: hub.clone(),
            profile,
            hevc: None,
            viewer: Some(viewer),
            wanted: Wanted { audio: true, video: true },
            first_media_until: Some(Instant::now() + wait),
            wait,
        })
    }

    /// The same for a player that reads HEVC in `form`.
    pub(super) fn reading_hevc_as(mut self, form: HevcForm) -> Self {
        self.hevc = Some(form);
        if let Some(viewer) = &mut self.viewer {
            viewer.read_hevc_as(form);
        }
        self
    }

    /// The place in the stream, unless the player has paused.
    pub(super) fn viewer(&self) -> Option<&Viewer> {
        self.viewer.as_ref()
    }

    /// Whether the player was handed all that came until `mark`.
    pub(super) fn has_reached(&self, mark: Mark) -> bool {
        self.viewer.as_ref().is_none_or(|viewer| viewer.has_reached(mark))
    }

    /// How the viewer wants to be served.
    pub(super) fn profile(&self) -> Profile {
        self.profile
    }

    /// Whether the session must end, so that nothing more may leave.
    pub(super) fn is_closed(&self) -> bool {
        self.session.is_closed()
    }

    /// Moves what the player should see now into the outbox, if nothing waits there. `taken` is empty before and after.
    pub(super) fn refill(
        &mut self,
        outbox: &mut Outbox,
        taken: &mut Vec<Outgoing>,
        now: Timestamp,
    ) -> Refill {
        let Some(viewer) = &mut self.viewer else { return Refill::Current };
        while outbox.is_empty() {
            match viewer.take(taken, PACKETS_PER_TURN, BYTES_PER_TURN, now) {
                Taken::Some => {}
                Taken::Idle => return Refill::Current,
                Taken::Ended(_) => return Refill::Ended,
            }
            for outgoing in taken.drain(..) {
                let unwanted = match outgoing.frame.packet().kind {
                    PacketKind::Audio => !self.wanted.audio,
                    PacketKind::Video => !self.wanted.video,
                    PacketKind::Data => false,
                };
                if !unwanted {
                    self.first_media_until = None;
                    outbox.push_media(outgoing);
                }
            }
        }
        Refill::Current
    }

    /// Whether `batch` is what the player is to see next, as it is.
    pub(super) fn is_served_by(&self, batch: &Batch) -> bool {
        let wants_all = self.wanted.audio && self.wanted.video;
        wants_all
            && !self.is_closed()
            && self.viewer.as_ref().is_some_and(|viewer| viewer.is_served_by(batch))
    }

    /// Takes all of a batch that it is served by.
    pub(super) fn pass(&mut self, batch: &Batch) {
        self.first_media_until = None;
        if let Some(viewer) = &mut self.viewer {
            viewer.pass(batch);
        }
    }

    /// A paused player goes on at the newest keyframe, not where it stopped.
    pub(super) fn set_paused(&mut self, paused: bool) {
        if paused {
            self.viewer = None;
            self.first_media_until = None;
        } else if self.viewer.is_none() {
            self.start_anew();
        }
    }

    pub(super) fn set_audio(&mut self, wanted: bool) {
        self.wanted.audio = wanted;
    }

    /// Pictures that were left out cannot be decoded from the middle, so the player starts anew.
    pub(super) fn set_video(&mut self, wanted: bool) {
        let returns = wanted && !self.wanted.video;
        self.wanted.video = wanted;
        if returns && self.viewer.is_some() {
            self.start_anew();
        }
    }

    fn start_anew(&mut self) {
        let stream = &self.session.right().stream;
        match self.hub.subscribe(stream, self.profile, Arc::clone(&self.session)) {
            Ok(mut viewer) => {
                if let Some(form) = self.hevc {
                    viewer.read_hevc_as(form);
                }
                self.viewer = Some(viewer);
                self.first_media_until = Some(Instant::now() + self.wait);
            }
            Err(refusal) => {
                self.session.close(CloseReason::Revoked(refusal));
            }
        }
    }

    /// Whether the stream is published though nothing of it has come, and so the wait begins anew.
    pub(super) fn waits_on(&mut self) -> bool {
        let is_alive = self.viewer.as_ref().is_some_and(Viewer::is_alive);
        if is_alive {
            self.first_media_until = Some(Instant::now() + self.wait.max(WAIT_AGAIN_MIN));
        }
        is_alive
    }

    /// When the player has waited too long for its publisher.
    pub(super) fn first_media_deadline(&self) -> Option<Instant> {
        self.first_media_until
    }
}
