//! Closes the media sessions whose right has ended.
//!
//! It runs between an event becoming durable and its command being answered, so that no session of a kicked member
//! outlives the answer to the kick. A session that is being admitted meanwhile stands in the table before it reads its
//! right, so that one of the two sees the other.

use std::time::Instant;

use crate::conferences::Watcher;
use crate::domain::{Conference, Event, Recorded};
use crate::hub::{CloseReason, Hub, SessionTable};
use crate::telemetry::Metrics;

/// The watcher that revokes.
pub struct Revoker {
    hub: Hub,
    sessions: SessionTable,
    metrics: Metrics,
}

impl Revoker {
    /// Closes sessions of `sessions`, and ends streams of `hub` that are no longer declared.
    pub fn new(hub: Hub, sessions: SessionTable, metrics: Metrics) -> Self {
        Self { hub, sessions, metrics }
    }

    fn revoke(&self, conference: &Conference) {
        for session in self.sessions.for_conference(conference.id()) {
            let Err(refusal) = conference.media_right(session.right()) else { continue };
            if session.close(CloseReason::Revoked(refusal)) {
                self.metrics.sessions_revoked(session.right().direction).inc();
            }
        }
    }
}

impl Watcher for Revoker {
    fn recorded(&self, conference: &Conference, events: &[Recorded]) {
        if events.iter().any(|recorded| takes_rights_away(&recorded.event)) {
            let began = Instant::now();
            self.revoke(conference);
            self.metrics.revocation_finished(began.elapsed());
        }
        for recorded in events {
            if let Event::StreamUndeclared { stream, .. } = &recorded.event {
                self.hub.end(stream, CloseReason::StreamEnded);
            }
        }
    }
}

/// Whether a media right that held before this event may not hold after it.
fn takes_rights_away(event: &Event) -> bool {
    match event {
        Event::MemberExited { .. }
        | Event::RoleChanged { .. }
        | Event::StreamUndeclared { .. }
        | Event::ConferenceEnded { .. } => true,
        Event::ConferenceCreated(_)
        | Event::Marked { .. }
        | Event::ConferenceChanged { .. }
        | Event::MemberJoined { .. }
        | Event::MemberChanged { .. }
        | Event::UserKicked { .. }
        | Event::UserReadmitted { .. }
        | Event::MemberMuted { .. }
        | Event::MessageSent { .. }
        | Event::StreamDeclared { .. }
        | Event::StreamChanged { .. }
        | Event::StreamMuteChanged { .. }
        | Event::VideoGranted { .. }
        | Event::VideoRefused { .. }
        | Event::MediaStarted { .. }
        | Event::MediaChanged { .. }
        | Event::PublisherReplaced { .. }
        | Event::MediaStopped { .. } => false,
    }
}
