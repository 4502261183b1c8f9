//! FLV bodies over the hub, for HTTP and for WebSocket. Knows neither: what carries the bytes is `control`'s.
//!
//! A viewer is asked for its next portion when the last one has left, so what waits outside of the ring is bounded by
//! one portion and by what the carrier holds.

mod tags;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::admission::{Admission, Admitted, Asked};
use crate::clock;
use crate::domain::{Direction, Reason, Refusal};
use crate::hub::{CloseReason, Hub, Outgoing, Protocol, SessionGuard, Taken, Viewer};
use crate::telemetry::{self, Counter, Metrics, OpenGuard};
use tags::Tags;

pub use crate::media::HevcForm;

/// Packets of one portion: about half a second of a stream, so that a joiner's burst is few portions.
const PACKETS_PER_PORTION: usize = 32;
/// Bytes of one portion. What a carrier has taken can no longer be skipped, so it is below a tenth of a second of a
/// fat stream.
const BYTES_PER_PORTION: usize = 256 * 1024;

/// Lets viewers in.
pub struct FlvDoor {
    hub: Hub,
    admission: Arc<Admission>,
    metrics: Metrics,
    /// Cancelled when the gateway stops: viewers end.
    draining: CancellationToken,
    /// How long a viewer waits for its publisher.
    play_wait: Duration,
    viewers: TaskTracker,
    sent_bytes: Counter,
    sent_packets: Counter,
}

/// How a viewer ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlvEnd {
    /// The stream is over, or its publisher did not come: all that there was has been given.
    Over(Refusal),
    /// Its right ended or its place was taken: nothing more may reach it.
    Cut(CloseReason),
    /// The gateway stops.
    Draining,
}

impl FlvDoor {
    /// A door to the streams of `hub` for whom `admission` lets in.
    pub fn new(
        hub: Hub,
        admission: Arc<Admission>,
        metrics: Metrics,
        draining: CancellationToken,
        play_wait: Duration,
    ) -> Self {
        let sent_bytes = metrics.media_sent_bytes(telemetry::Protocol::Http);
        let sent_packets = metrics.media_sent_packets(telemetry::Protocol::Http);
        Self {
            hub,
            admission,
            metrics,
            draining,
            play_wait,
            viewers: TaskTracker::new(),
            sent_bytes,
            sent_packets,
        }
    }

    /// Waits until every viewer's task has ended. No new one may come.
    pub async fn ended(&self) {
        self.viewers.close();
        self.viewers.wait().await;
    }

    /// Lets a viewer of `stream` in that reads HEVC in the form `hevc`, or says why not.
    pub fn view(
        self: &Arc<Self>,
        stream: &str,
        token: Option<&str>,
        protocol: Protocol,
        peer: SocketAddr,
        hevc: HevcForm,
    ) -> Result<FlvViewer, Refusal> {
        let asked = Asked { stream, token, direction: Direction::Play, protocol, peer, now: clock::now() };
        let viewer = self.admission.admit(asked).and_then(|Admitted { grant, session }| {
            let mut viewer =
                self.hub.subscribe(&grant.right.stream, grant.profile, Arc::clone(session.session()))?;
            viewer.read_hevc_as(hevc);
            Ok(FlvViewer {
                door: Arc::clone(self),
                viewer,
                session,
                _open: self.metrics.session_opened(Direction::Play),
                begin_until: Some(Instant::now() + self.play_wait),
                taken: Vec::new(),
                tags: Tags::default(),
            })
        });
        match &viewer {
            Ok(viewer) => {
                tracing::info!(protocol = protocol.word(), stream = %viewer.viewer.stream(), "a viewer was let in");
            }
            // Whoever answers the request counts it.
            Err(refusal) => tracing::debug!(protocol = protocol.word(), %refusal, "refused"),
        }
        viewer
    }
}

/// One viewer: from its first tag to its end.
pub struct FlvViewer {
    door: Arc<FlvDoor>,
    viewer: Viewer,
    session: SessionGuard,
    _open: OpenGuard,
    /// Until when the first picture or sound has to come; `None` once it has.
    begin_until: Option<Instant>,
    taken: Vec<Outgoing>,
    tags: Tags,
}

impl FlvViewer {
    /// Resolves when nothing more may reach this viewer. Borrows nothing, so that whoever owns the socket can wait
    /// for it while a write is stuck.
    pub fn cut(&self) -> impl Future<Output = CloseReason> + Send + use<> {
        self.session.closed()
    }

    /// Counts the task that serves this viewer as long as it is held, so that a stop waits for it.
    pub fn task(&self) -> TaskTrackerToken {
        self.door.viewers.token()
    }

    /// Cancelled when the gateway stops.
    pub fn draining(&self) -> CancellationToken {
        self.door.draining.clone()
    }

    /// The next bytes, in pieces that share the memory of the stream. The first portion begins with the FLV file
    /// header. Waits for the publisher at first, and for media after that. Cancel-safe.
    pub async fn next_portion(&mut self) -> Result<Vec<Bytes>, FlvEnd> {
        loop {
            if let Some(reason) = self.session.try_closed() {
                return Err(FlvEnd::Cut(reason));
            }
            if self.door.draining.is_cancelled() {
                return Err(FlvEnd::Draining);
            }
            match self.viewer.take(&mut self.taken, PACKETS_PER_PORTION, BYTES_PER_PORTION, clock::steady()) {
                Taken::Some => {
                    self.begin_until = None;
                    let pieces = self.tags.write(self.taken.drain(..));
                    let bytes: usize = pieces.iter().map(Bytes::len).sum();
                    self.door.sent_bytes.inc_by(bytes as u64);
                    return Ok(pieces);
                }
                Taken::Ended(reason) => {
                    return Err(FlvEnd::Over(Reason::StreamNotFound.because(reason.to_string())));
                }
                Taken::Idle => self.wait().await?,
            }
        }
    }

    /// Waits for something to take.
    async fn wait(&mut self) -> Result<(), FlvEnd> {
        tokio::select! {
            biased;
            reason = self.session.closed() => Err(FlvEnd::Cut(reason)),
            () = self.door.draining.cancelled() => Err(FlvEnd::Draining),
            () = self.viewer.ready() => Ok(()),
            () = passed(self.begin_until) => {
                self.begin_until = None;
                // It may be there with all of its media held back.
                if self.viewer.is_alive() {
                    return Ok(());
                }
                Err(FlvEnd::Over(Reason::StreamNotFound.because("nobody publishes this stream")))
            }
        }
    }
}

/// Resolves at `until`; never without one.
async fn passed(until: Option<Instant>) {
    match until {
        Some(until) => {
            let _ = timeout_at(until, std::future::pending::<()>()).await;
        }
        None => std::future::pending().await,
    }
}

impl Drop for FlvViewer {
    fn drop(&mut self) {
        let session = self.session.session();
        self.door.sent_packets.inc_by(session.counters().packets());
        tracing::info!(stream = %session.right().stream, "a viewer left");
    }
}
