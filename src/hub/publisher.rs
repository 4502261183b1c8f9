//! The right to write to a stream, as a guard.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::domain::{StreamId, Timestamp};
use crate::media::{Packet, PacketKind};

use super::session::Session;
use super::stream::Stream;
use super::streams::Shared;

/// A write that came too late: a newer publisher has the stream, or the stream has ended. The session's close
/// reason tells which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another publisher has taken this stream over, or it has ended; close this session")]
pub struct Fenced;

/// The publisher of a stream until a newer one comes. When it is dropped the stream is held: viewers stay.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    stream: Arc<Stream>,
    session: Arc<Session>,
    claim: u64,
    last_seen: Timestamp,
    placeless: watch::Receiver<bool>,
}

impl Publisher {
    pub(super) fn new(
        shared: Arc<Shared>,
        stream: Arc<Stream>,
        session: Arc<Session>,
        claim: u64,
        now: Timestamp,
    ) -> Self {
        let mut placeless = stream.placeless.subscribe();
        // What stood before this publisher came is news to it.
        placeless.mark_changed();
        Self { shared, stream, session, claim, last_seen: now, placeless }
    }

    /// The stream.
    pub fn stream(&self) -> &StreamId {
        &self.stream.id
    }

    /// The number of this claim; a later claim of any stream has a larger one.
    pub fn claim(&self) -> u64 {
        self.claim
    }

    /// Resolves when its pictures begin to wait for a place, and once where they did before it came. Cancel-safe.
    pub async fn has_no_place(&mut self) {
        loop {
            // The sender lives in the stream, which this publisher keeps.
            if self.placeless.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if *self.placeless.borrow_and_update() {
                return;
            }
        }
    }

    /// Hands a message to all viewers. `timestamp` is the publisher's own, `payload` the message body, whose memory
    /// should hold nothing else: it is kept as long as the ring keeps the packet. Never waits for a viewer.
    ///
    /// Pictures before the publisher's first keyframe are accepted and left out: nobody could show them. So is what
    /// [`Hub::set_gate`](super::Hub::set_gate) does not let pass.
    pub fn write(
        &mut self,
        kind: PacketKind,
        timestamp: u32,
        payload: Bytes,
        now: Timestamp,
    ) -> Result<(), Fenced> {
        self.last_seen = now;
        let bytes = payload.len();
        let packet = Packet::new(kind, 0, payload);
        self.stream.write(self.claim, packet, timestamp, now, &self.shared.changes)?;
        self.session.counters().add(1, bytes);
        Ok(())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.release(&self.stream, self.claim, self.last_seen);
    }
}
