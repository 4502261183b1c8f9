//! The table of media sessions: who is publishing and playing, and the handle that closes each.
//!
//! Admission enters a session first and reads its right afterwards; the revoker scans the table after a right has
//! ended. So either admission sees that the right is gone, or the revoker sees the session.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::ops::Bound;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::domain::{ConferenceId, Direction, MediaRight, Reason, Refusal, Timestamp};

/// The number of a session, counted from 1 for as long as the gateway runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// RTMP.
    Rtmp,
    /// FLV over HTTP.
    Flv,
    /// FLV over WebSocket.
    WsFlv,
    /// A relay to or from a far server.
    Relay,
}

impl Protocol {
    /// The word in logs and lists.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Flv => "flv",
            Self::WsFlv => "wsFlv",
            Self::Relay => "relay",
        }
    }
}

/// Why a session must close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The right to it has ended.
    Revoked(Refusal),
    /// A newer session took its place.
    Replaced,
    /// The stream is over.
    StreamEnded,
    /// The gateway is shutting down.
    Draining,
    /// The peer took or sent nothing for too long.
    Stalled,
    /// The app closed it.
    ClosedByApi,
}

impl CloseReason {
    /// The stable word that an RTMP description begins with.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Revoked(refusal) => refusal.reason.word(),
            Self::Replaced => "replaced",
            Self::StreamEnded => "stream_ended",
            Self::Draining => "draining",
            Self::Stalled => "stalled",
            Self::ClosedByApi => "closed",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match self {
            Self::Revoked(refusal) => return refusal.fmt(f),
            Self::Replaced => "a newer session of the same URL or stream took over",
            Self::StreamEnded => "the stream is over",
            Self::Draining => "the gateway is shutting down; connect again",
            Self::Stalled => "nothing moved on this connection for too long",
            Self::ClosedByApi => "the app closed this session",
        };
        write!(f, "{}: {sentence}", self.word())
    }
}

/// What is known of a session when it begins.
#[derive(Debug, Clone)]
pub struct SessionStart {
    /// What it may do.
    pub right: MediaRight,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The nonce of its URL, which tells two URLs of one right apart.
    pub url_key: [u8; 4],
    /// When it began.
    pub at: Timestamp,
    /// Whether the app looks on by its member's right: a session that says nothing of the member.
    pub is_observer: bool,
}

/// What a session has moved: written by a publisher, handed out to a viewer.
#[derive(Debug, Default)]
pub struct SessionCounters {
    packets: AtomicU64,
    bytes: AtomicU64,
    skips: AtomicU64,
}

impl SessionCounters {
    /// Packets.
    pub fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }

    /// Bytes of payload.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// How often a viewer skipped because it was too far behind.
    pub fn skips(&self) -> u64 {
        self.skips.load(Relaxed)
    }

    pub(super) fn add(&self, packets: usize, bytes: usize) {
        self.packets.fetch_add(packets as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn add_skip(&self) {
        self.skips.fetch_add(1, Relaxed);
    }
}

/// One publisher's or viewer's connection.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    start: SessionStart,
    counters: SessionCounters,
    close_reason: OnceLock<CloseReason>,
    close_wake: Notify,
}

impl Session {
    /// Its number.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// What it may do.
    pub fn right(&self) -> &MediaRight {
        &self.start.right
    }

    /// Everything that was known when it began.
    pub fn start(&self) -> &SessionStart {
        &self.start
    }

    /// What it has moved.
    pub fn counters(&self) -> &SessionCounters {
        &self.counters
    }

    /// Tells the session's driver to close. The first reason stands; true if this was it.
    pub fn close(&self, reason: CloseReason) -> bool {
        let is_first = self.close_reason.set(reason).is_ok();
        if is_first {
            self.close_wake.notify_waiters();
        }
        is_first
    }

    /// Why the session must close, if it must.
    pub fn try_closed(&self) -> Option<CloseReason> {
        self.close_reason.get().cloned()
    }

    /// Whether the session must close.
    pub fn is_closed(&self) -> bool {
        self.close_reason.get().is_some()
    }

    async fn closed(&self) -> CloseReason {
        let mut wake = pin!(self.close_wake.notified());
        loop {
            // Listen first, look second: a close in between is not missed.
            wake.as_mut().enable();
            if let Some(reason) = self.close_reason.get() {
                return reason.clone();
            }
            wake.as_mut().await;
            wake.set(self.close_wake.notified());
        }
    }
}

/// A session's place in the table; dropping it leaves.
#[derive(Debug)]
pub struct SessionGuard {
    table: SessionTable,
    session: Arc<Session>,
}

impl SessionGuard {
    /// The session.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Resolves when the session must close. Cancel-safe; borrows nothing, so that a driver can keep one for its whole
    /// loop.
    pub fn closed(&self) -> impl Future<Output = CloseReason> + Send + use<> {
        let session = Arc::clone(&self.session);
        async move { session.closed().await }
    }

    /// Why the session must close, if it must.
    pub fn try_closed(&self) -> Option<CloseReason> {
        self.session.try_closed()
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.table.leave(&self.session);
    }
}

/// How many sessions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionCounts {
    /// Sessions that publish.
    pub publishers: usize,
    /// Sessions that play.
    pub viewers: usize,
}

/// All media sessions of this gateway. Cheap to clone; all clones are the same table.
#[derive(Debug, Clone)]
pub struct SessionTable {
    plays_per_url: usize,
    viewers_per_conference_max: usize,
    entries: Arc<Mutex<Entries>>,
}

type SessionsById = BTreeMap<SessionId, Arc<Session>>;

/// The sessions of one conference.
#[derive(Debug, Default)]
struct OfConference {
    by_id: SessionsById,
    viewers: usize,
}

/// A right and the nonce of a URL that carries it.
type UrlName = (MediaRight, [u8; 4]);

/// One lock for all: entering and leaving is rare beside media, and takes less than a microsecond.
#[derive(Debug, Default)]
struct Entries {
    newest: u64,
    counts: SessionCounts,
    by_id: SessionsById,
    by_conference: HashMap<ConferenceId, OfConference>,
    /// Open plays of each URL, the oldest first.
    plays_by_url: HashMap<UrlName, VecDeque<SessionId>>,
}

impl SessionTable {
    /// An empty table in which one play URL serves at most `plays_per_url` sessions, but always one.
    pub fn new(plays_per_url: usize) -> Self {
        let viewers_per_conference_max = usize::MAX;
        Self { plays_per_url: plays_per_url.max(1), viewers_per_conference_max, entries: Arc::default() }
    }

    /// The same, empty, with a limit on what [`Self::enter_if_room`] lets in.
    #[must_use]
    pub fn with_viewers_per_conference(self, max: usize) -> Self {
        Self { viewers_per_conference_max: max, ..self }
    }

    /// As [`Self::enter`], but refused as overloaded where the conference has as many viewers as it may.
    pub fn enter_if_room(&self, start: SessionStart) -> Result<SessionGuard, Refusal> {
        let (session, replaced) = {
            let mut entries = self.entries.lock();
            if start.right.direction == Direction::Play
                && entries.viewers_of(&start.right.conference) >= self.viewers_per_conference_max
            {
                return Err(Reason::Overloaded
                    .because("this conference has as many viewers as it may; try again later")
                    .at("viewers_per_conference_max"));
            }
            entries.enter(start, self.plays_per_url)
        };
        Ok(self.guard(session, replaced))
    }

    /// Enters a session. If its URL then serves too many plays, the oldest of them is closed as replaced.
    pub fn enter(&self, start: SessionStart) -> SessionGuard {
        let (session, replaced) = self.entries.lock().enter(start, self.plays_per_url);
        self.guard(session, replaced)
    }

    fn guard(&self, session: Arc<Session>, replaced: Vec<Arc<Session>>) -> SessionGuard {
        for old in replaced {
            old.close(CloseReason::Replaced);
        }
        SessionGuard { table: self.clone(), session }
    }

    /// The session with this number.
    pub fn find(&self, id: SessionId) -> Option<Arc<Session>> {
        self.entries.lock().by_id.get(&id).cloned()
    }

    /// All sessions of one conference, ordered by number.
    pub fn for_conference(&self, conference: &ConferenceId) -> Vec<Arc<Session>> {
        let entries = self.entries.lock();
        let of = entries.by_conference.get(conference);
        of.into_iter().flat_map(|of| of.by_id.values()).cloned().collect()
    }

    /// At most `limit` sessions after the one numbered `after`, ordered by number; of one conference, or of all.
    pub fn page(
        &self,
        conference: Option<&ConferenceId>,
        after: Option<SessionId>,
        limit: usize,
    ) -> Vec<Arc<Session>> {
        let entries = self.entries.lock();
        let sessions = match conference {
            Some(conference) => entries.by_conference.get(conference).map(|of| &of.by_id),
            None => Some(&entries.by_id),
        };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        sessions
            .into_iter()
            .flat_map(|sessions| sessions.range((start, Bound::Unbounded)))
            .map(|(_, session)| Arc::clone(session))
            .take(limit)
            .collect()
    }

    /// How many sessions there are.
    pub fn counts(&self) -> SessionCounts {
        self.entries.lock().counts
    }

    /// Closes every session that is in the table now.
    pub fn close_all(&self, reason: &CloseReason) {
        for session in self.page(None, None, usize::MAX) {
            session.close(reason.clone());
        }
    }

    fn leave(&self, session: &Session) {
        self.entries.lock().leave(session);
    }
}

impl Entries {
    fn viewers_of(&self, conference: &ConferenceId) -> usize {
        self.by_conference.get(conference).map_or(0, |of| of.viewers)
    }

    fn enter(&mut self, start: SessionStart, plays_per_url: usize) -> (Arc<Session>, Vec<Arc<Session>>) {
        self.newest += 1;
        let id = SessionId(self.newest);
        let session = Arc::new(Session {
            id,
            start,
            counters: SessionCounters::default(),
            close_reason: OnceLock::new(),
            close_wake: Notify::new(),
        });
        let right = session.right();
        self.by_id.insert(id, Arc::clone(&session));
        let of = self.by_conference.entry(right.conference.clone()).or_default();
        of.by_id.insert(id, Arc::clone(&session));
        of.viewers += usize::from(right.direction == Direction::Play);
        let mut replaced = Vec::new();
        match right.direction {
            Direction::Publish => self.counts.publishers += 1,
            Direction::Play => {
                self.counts.viewers += 1;
                let plays = self.plays_by_url.entry(url_name(&session)).or_default();
                plays.push_back(id);
                while plays.len() > plays_per_url {
                    let oldest = plays.pop_front();
                    replaced.extend(oldest.and_then(|id| self.by_id.get(&id)).cloned());
                }
            }
        }
        (session, replaced)
    }

    fn leave(&mut self, session: &Session) {
        if self.by_id.remove(&session.id).is_none() {
            return;
        }
        let conference = &session.right().conference;
        if let Some(of) = self.by_conference.get_mut(conference) {
            of.by_id.remove(&session.id);
            of.viewers -= usize::from(session.right().direction == Direction::Play);
            if of.by_id.is_empty() {
                self.by_conference.remove(conference);
            }
        }
        match session.right().direction {
            Direction::Publish => self.counts.publishers -= 1,
            Direction::Play => {
                self.counts.viewers -= 1;
                let name = url_name(session);
                if let Some(plays) = self.plays_by_url.get_mut(&name) {
                    plays.retain(|id| *id != session.id);
                    if plays.is_empty() {
                        self.plays_by_url.remove(&name);
                    }
                }
            }
        }
    }
}

fn url_name(session: &Session) -> UrlName {
    (session.right().clone(), session.start.url_key)
}

#[cfg(test)]
mod tests;
