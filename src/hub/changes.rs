//! What a supervisor must tell the log about streams, as the latest state of each and not as a queue.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::domain::event::MediaFormat;
use crate::domain::{ConferenceId, StreamId, Timestamp};

/// Where a stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Media flows from the publisher of this claim.
    Live {
        /// What flows, as far as it is known.
        format: MediaFormat,
    },
    /// The publisher is gone; viewers stay and wait for another.
    Held {
        /// When it was last seen.
        since: Timestamp,
    },
    /// The stream does not come back.
    Ended,
}

/// The latest state of a stream that was live at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStatus {
    /// Which.
    pub stream: StreamId,
    /// Where.
    pub conference: ConferenceId,
    /// The publisher's claim. Claims only grow, also across streams of the same name: a status with a smaller claim
    /// than one already seen is old news.
    pub claim: u64,
    /// Where it stands.
    pub phase: Phase,
}

/// The streams whose state has changed since it was last taken.
#[derive(Debug, Default)]
pub(super) struct Changes {
    latest: Mutex<BTreeMap<StreamId, StreamStatus>>,
    wake: Notify,
}

impl Changes {
    pub(super) fn put(&self, status: StreamStatus) {
        self.latest.lock().insert(status.stream.clone(), status);
        self.wake.notify_one();
    }

    pub(super) async fn changed(&self) {
        while self.latest.lock().is_empty() {
            self.wake.notified().await;
        }
    }

    pub(super) fn take(&self) -> Vec<StreamStatus> {
        std::mem::take(&mut *self.latest.lock()).into_values().collect()
    }
}
