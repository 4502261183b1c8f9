//! A stream of the hub, out to a far server.
//!
//! The far server is a viewer like any other: a cursor, which goes on at the newest keyframe where it fell behind. No
//! more is taken from the ring than one portion, and that only when the one before has left.

use std::pin::pin;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::link::{Link, ended};
use super::{FarError, LinkTimes};
use crate::clock;
use crate::hub::{CloseReason, Taken, Viewer};
use crate::telemetry::Counter;

/// Packets of one portion: what one vectored write can carry.
const PACKETS_PER_PORTION: usize = 32;
/// Bytes of one portion. What waits here can no longer be skipped.
const BYTES_PER_PORTION: usize = 256 * 1024;

/// How a push ended.
#[derive(Debug)]
pub enum PushEnd {
    /// It was asked to stop.
    Stopped,
    /// The stream is over.
    StreamEnded,
    /// Nothing came from the publisher for so long that the far server was let go. The viewer stands where it stood.
    Idle(Box<Viewer>),
    /// The session was closed.
    Closed(CloseReason),
    /// The far server is gone.
    Lost(FarError),
}

/// Pushes until one of the ends. `closed` resolves when the viewer's session is closed.
pub async fn push(
    mut link: Link,
    mut viewer: Viewer,
    closed: impl Future<Output = CloseReason> + Send,
    stop: &CancellationToken,
    times: LinkTimes,
    sent_bytes: &Counter,
) -> PushEnd {
    let mut closed = pin!(closed);
    let mut taken = Vec::new();
    let mut idle_until = Instant::now() + times.idle;
    loop {
        while link.has_sent_all() {
            match viewer.take(&mut taken, PACKETS_PER_PORTION, BYTES_PER_PORTION, clock::steady()) {
                Taken::Some => {}
                Taken::Idle => break,
                Taken::Ended(_) => {
                    link.finish().await;
                    return PushEnd::StreamEnded;
                }
            }
            idle_until = Instant::now() + times.idle;
            for outgoing in taken.drain(..) {
                sent_bytes.inc_by(outgoing.frame.packet().payload.len() as u64);
                link.push_media(outgoing.frame.packet(), outgoing.timestamp_ms);
            }
        }
        let stalled = link.stall_deadline(times.stall);
        let until = stalled.map_or(idle_until, |stalled| stalled.min(idle_until));
        let is_clear = link.has_sent_all();
        let turned = tokio::select! {
            biased;
            reason = closed.as_mut() => {
                link.cut_off();
                return PushEnd::Closed(reason);
            }
            () = stop.cancelled() => {
                link.finish().await;
                return PushEnd::Stopped;
            }
            turned = link.turn() => turned,
            () = viewer.ready(), if is_clear => Ok(()),
            () = sleep_until(until) => {
                if stalled.is_some_and(|at| at <= Instant::now()) {
                    link.cut_off();
                    return PushEnd::Lost(FarError::Stalled(times.stall));
                }
                link.finish().await;
                return PushEnd::Idle(Box::new(viewer));
            }
        };
        if let Err(error) = turned {
            return PushEnd::Lost(error);
        }
        if let Some(event) = link.next_event() {
            return PushEnd::Lost(ended(event));
        }
    }
}
