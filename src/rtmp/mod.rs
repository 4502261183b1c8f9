//! The RTMP door: publish and play over RTMP.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`listener`] | accepts connections, within their limits |
//! | `connection` | serves one peer from its first byte to its last |
//! | `admission` | from the URL of a request to an entered session, or a refusal |
//! | `publish`, `play` | what a connection does once it was let in |
//! | [`crowd`], `port` | the viewers of one stream, served together; what leaves one of them |
//! | `outbox`, `transport`, `secure`, `wire` | bytes out, the socket, the socket inside TLS, bytes in |
//! | `unfinished` | what unfinished messages may take in all |
//! | [`relay`] | the gateway as a client of far servers |
//! | [`handshake`] | the handshake, which draws random bytes |
//! | [`proto`] | RTMP itself, pure |

mod admission;
mod connection;
pub mod crowd;
pub mod handshake;
pub mod listener;
mod outbox;
mod play;
mod port;
pub mod proto;
mod publish;
pub mod relay;
mod secure;
mod transport;
mod unfinished;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::crowd::Crowds;
pub use self::unfinished::UnfinishedBudget;
use crate::admission::Admission;
use crate::domain::Direction;
use crate::hub::{Hub, SessionGuard};
use crate::telemetry::{Counter, Metrics, Protocol};

/// Times that a connection is held to.
#[derive(Debug, Clone, Copy)]
pub struct RtmpSettings {
    /// From accept to an admitted publish or play.
    pub handshake_timeout: Duration,
    /// How long a play waits for its publisher.
    pub play_wait: Duration,
    /// How long a viewer's socket may take nothing.
    pub viewer_stall: Duration,
    /// How long a connection that is over may take to read its last answer.
    pub goodbye: Duration,
    /// How long a publisher may send nothing.
    pub publisher_idle: Duration,
}

/// What every connection works with.
pub struct Gateway {
    /// Times.
    pub settings: RtmpSettings,
    /// The fan-out.
    pub hub: Hub,
    /// Lets in who may publish or play.
    pub admission: Arc<Admission>,
    /// Counters.
    pub metrics: Metrics,
    /// Cancelled when the gateway stops: connections end.
    pub draining: CancellationToken,
    /// Counters that every message touches.
    pub meters: Meters,
    /// Serves the viewers of each stream together.
    pub crowds: Arc<Crowds>,
    /// What unfinished messages of those who do not publish may take.
    pub unfinished: UnfinishedBudget,
    /// Connections so far, for the log.
    pub connections: AtomicU64,
}

impl Gateway {
    fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Counters that are touched often, found by their labels once.
pub struct Meters {
    received_bytes: Counter,
    sent_bytes: Counter,
    received_packets: Counter,
    sent_packets: Counter,
}

impl Meters {
    /// The RTMP series of `metrics`.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            received_bytes: metrics.media_received_bytes(Protocol::Rtmp),
            sent_bytes: metrics.media_sent_bytes(Protocol::Rtmp),
            received_packets: metrics.media_received_packets(Protocol::Rtmp),
            sent_packets: metrics.media_sent_packets(Protocol::Rtmp),
        }
    }

    /// Bytes that viewers were sent.
    pub fn sent_bytes(&self) -> Counter {
        self.sent_bytes.clone()
    }

    /// Adds what a session has moved, at its end.
    fn count_packets(&self, session: &SessionGuard) {
        let session = session.session();
        let counter = match session.right().direction {
            Direction::Publish => &self.received_packets,
            Direction::Play => &self.sent_packets,
        };
        counter.inc_by(session.counters().packets());
    }
}
