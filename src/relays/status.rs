//! What a relay does now, and what became of it so far.

use std::sync::Arc;

use super::Way;
use crate::domain::Timestamp;
use crate::hub::Session;
use crate::telemetry::{Metrics, OpenGuard};

/// What a relay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It dials, or waits for the far server to take or give the stream.
    Connecting,
    /// Media may flow.
    Live,
    /// A push has nothing to send: nobody publishes the stream, or nothing comes of it.
    Waiting,
    /// The last connection failed; the next comes when this is over.
    Backoff {
        /// When.
        until: Timestamp,
    },
    /// It has given up. Only a new relay tries again.
    Failed,
}

impl State {
    /// The word in the API and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Waiting => "waiting",
            Self::Backoff { .. } => "backoff",
            Self::Failed => "failed",
        }
    }
}

/// Why the last connection failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// A stable word.
    pub reason: &'static str,
    /// A sentence for a person. Holds no key.
    pub detail: String,
    /// When.
    pub at: Timestamp,
}

/// See the module.
#[derive(Debug)]
pub struct Status {
    state: State,
    since: Timestamp,
    /// Connections that were tried.
    attempts: u64,
    lost: Option<Lost>,
    /// The media session of this connection.
    session: Option<Arc<Session>>,
    bytes_before: u64,
    skips_before: u64,
    metrics: Metrics,
    way: Way,
    _counted: OpenGuard,
}

impl Status {
    pub(super) fn new(now: Timestamp, metrics: &Metrics, way: Way) -> Self {
        let state = State::Waiting;
        Self {
            state,
            since: now,
            attempts: 0,
            lost: None,
            session: None,
            bytes_before: 0,
            skips_before: 0,
            metrics: metrics.clone(),
            way,
            _counted: metrics.relay_is(way.word(), state.word()),
        }
    }

    pub(super) fn enter(&mut self, state: State, now: Timestamp) {
        if self.state.word() != state.word() {
            self._counted = self.metrics.relay_is(self.way.word(), state.word());
            self.since = now;
        }
        self.state = state;
    }

    pub(super) fn begin_attempt(&mut self, now: Timestamp) {
        self.attempts += 1;
        self.enter(State::Connecting, now);
    }

    pub(super) fn begin_session(&mut self, session: &Arc<Session>) {
        self.session = Some(Arc::clone(session));
    }

    /// Adds what the session of this connection moved, and tells how often it skipped.
    pub(super) fn end_session(&mut self) -> u64 {
        let Some(session) = self.session.take() else { return 0 };
        let skips = session.counters().skips();
        self.bytes_before += session.counters().bytes();
        self.skips_before += skips;
        skips
    }

    pub(super) fn note_lost(&mut self, lost: Lost) {
        self.lost = Some(lost);
    }

    /// What it does.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Connections that were tried since the relay was made or the gateway was started.
    pub fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Why the last connection failed, if one did.
    pub fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    /// Bytes of media that it moved since the relay was made or the gateway was started.
    pub fn bytes(&self) -> u64 {
        self.bytes_before + self.session.as_ref().map_or(0, |session| session.counters().bytes())
    }

    /// How often it went on at a newer keyframe because the far server took too little.
    pub fn skips(&self) -> u64 {
        self.skips_before + self.session.as_ref().map_or(0, |session| session.counters().skips())
    }

    /// Whether only a new relay would try again.
    pub fn has_given_up(&self) -> bool {
        self.state == State::Failed
    }
}
