//! A connection that publishes.

use std::time::Duration;

use tokio::time::Instant;

use super::proto::server::MediaMessage;
use super::proto::{MediaKind, MessageStreamId};
use std::sync::Arc;

use crate::clock;
use crate::hub::{CloseReason, Hub, Publisher, Session};
use crate::media::packet::PacketKind;

/// Holds the claim on its stream; dropping it leaves the stream held for its publisher's return.
pub(super) struct Publishing {
    pub(super) stream: MessageStreamId,
    publisher: Publisher,
    last_input: Instant,
}

impl Publishing {
    /// Takes the stream over, unless the session was closed meanwhile: the error is why.
    pub(super) fn new(
        hub: &Hub,
        stream: MessageStreamId,
        session: &Arc<Session>,
        now: Instant,
    ) -> Result<Self, CloseReason> {
        let publisher = hub.publish(&session.right().stream, Arc::clone(session), clock::steady())?;
        Ok(Self { stream, publisher, last_input: now })
    }

    /// Hands a message to the viewers. A publisher that was replaced writes to nobody; it is told by its session.
    pub(super) fn write(&mut self, message: MediaMessage, now: Instant) {
        let kind = match message.kind {
            MediaKind::Audio => PacketKind::Audio,
            MediaKind::Video => PacketKind::Video,
            MediaKind::Data => PacketKind::Data,
        };
        self.last_input = now;
        if self.publisher.write(kind, message.timestamp, message.payload, clock::steady()).is_err() {
            tracing::trace!("a write of a replaced publisher was dropped");
        }
    }

    /// Resolves when its pictures begin to be held back because no place is free.
    pub(super) async fn has_no_place(&mut self) {
        self.publisher.has_no_place().await;
    }

    pub(super) fn idle_deadline(&self, idle: Duration) -> Instant {
        self.last_input + idle
    }
}
