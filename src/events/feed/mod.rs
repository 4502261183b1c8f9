//! The member event feed: a reader of the log with many sockets.
//!
//! Per conference with at least one socket there is one bounded ring of entries; a socket is a cursor into it. So a
//! slow socket costs nobody anything: it finds its place gone, is closed, and resumes from the log.

mod entry;
mod history;
mod ring;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::conferences::{Conferences, Watcher};
use crate::domain::conference::Subject;
use crate::domain::event::ExitReason;
use crate::domain::{AppId, Conference, ConferenceId, MemberId, Reason, Recorded, Refusal, Seq};
use crate::store::{Store, StoreError};
pub use entry::{Entry, Frame, Who, fold, head, snapshot};
pub use history::{Past, Wanted};
use ring::{Next, Ring};

/// Missed entries that a resume replays. Beyond them a snapshot is shorter.
const REPLAYED_MAX: usize = 2_000;
/// Events that one replay or page looks at: twice the entries that a replay may have, because not every event becomes one.
pub const EVENTS_READ_MAX: usize = 2 * REPLAYED_MAX;
/// Logs read at once for those who missed something, so that a storm of reconnects leaves the store to commands.
const READS_MAX: usize = 4;

/// The watcher that feeds the members.
pub struct Feed {
    store: Arc<dyn Store>,
    hubs: Mutex<BTreeMap<ConferenceId, Arc<Hub>>>,
    places: Arc<Semaphore>,
    sockets_max: u32,
    reads: Semaphore,
    sockets: TaskTracker,
    draining: CancellationToken,
}

/// One conference's ring and sockets.
struct Hub {
    state: Mutex<State>,
    news: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// The fold of all that was told; `None` until the first socket knows where it starts.
    conference: Option<Arc<Conference>>,
    ring: Ring,
    sockets: usize,
    /// Each member's newest socket.
    newest: BTreeMap<MemberId, Newest>,
}

struct Newest {
    epoch: Seq,
    replaced: CancellationToken,
}

impl Hub {
    fn recorded(&self, after: &Conference, events: &[Recorded]) {
        let mut state = self.state.lock();
        let State { conference, ring, .. } = &mut *state;
        let Some(known) = conference else {
            ring.reset(after.seq);
            *conference = Some(Arc::new(after.clone()));
            return;
        };
        // Events that the first state already held are not told again.
        let told = known.seq;
        for recorded in events.iter().filter(|recorded| recorded.seq > told) {
            if let Some(entry) = fold(Arc::make_mut(known), recorded) {
                ring.push(entry);
            }
        }
        drop(state);
        self.news.send_replace(());
    }

    /// The state that a new socket starts at, at or after `found`.
    fn begin(&self, found: Arc<Conference>) -> Arc<Conference> {
        let mut state = self.state.lock();
        if let Some(known) = &state.conference {
            return Arc::clone(known);
        }
        state.ring.reset(found.seq);
        state.conference = Some(Arc::clone(&found));
        found
    }
}

/// Why a socket gets no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It was too slow: what comes next is in the log only.
    Behind,
}

impl Feed {
    /// A feed whose replays read from `store`, and whose sockets end when `draining` is cancelled.
    /// There are at most `sockets_max` of them.
    pub fn new(store: Arc<dyn Store>, sockets_max: u32, draining: CancellationToken) -> Self {
        Self {
            store,
            hubs: Mutex::default(),
            places: Arc::new(Semaphore::new(sockets_max as usize)),
            sockets_max,
            reads: Semaphore::new(READS_MAX),
            sockets: TaskTracker::new(),
            draining,
        }
    }

    /// Cancelled when sockets are to end.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Waits until every socket has ended. No new one may come.
    pub async fn ended(&self) {
        self.sockets.close();
        self.sockets.wait().await;
    }

    /// A place for one more socket, held as long as it is open.
    pub fn place(&self) -> Result<Place, Refusal> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let sockets_max = self.sockets_max;
            Reason::Overloaded
                .because(format!("all {sockets_max} places for event sockets are taken"))
                .at("event_sockets_max")
        })?;
        Ok(Place { _permit: permit, _task: self.sockets.token() })
    }

    /// Sockets that are open.
    pub fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    /// Names each member with an open socket, with its stay.
    pub fn each_socket(&self, mut tell: impl FnMut(&ConferenceId, &MemberId, Seq)) {
        let hubs: Vec<_> = self.hubs.lock().iter().map(|(id, hub)| (id.clone(), Arc::clone(hub))).collect();
        for (id, hub) in hubs {
            for (member, newest) in &hub.state.lock().newest {
                tell(&id, member, newest.epoch);
            }
        }
    }

    /// Begins to follow the conference at its newest state. A member's earlier socket is told that it was replaced.
    pub async fn follow(
        self: &Arc<Self>,
        conferences: &Conferences,
        app: &AppId,
        id: &ConferenceId,
        who: Who,
    ) -> Result<Follower, Refusal> {
        // Entered before the state is read: whatever becomes durable after that reading reaches the ring.
        let mut follower = self.enter(id, who);
        let found = conferences.find(app, id).await?;
        let conference = follower.hub.begin(found);
        if conference.is_ended() {
            return Err(Reason::ConferenceClosed.because("the conference has ended"));
        }
        if let Who::Member { member, epoch } = &follower.who {
            conference.subject(&Subject::Member { id: member.clone(), epoch: *epoch })?;
            let newest = Newest { epoch: *epoch, replaced: follower.replaced.clone() };
            if let Some(older) = follower.hub.state.lock().newest.insert(member.clone(), newest) {
                older.replaced.cancel();
            }
        }
        follower.cursor = conference.seq;
        follower.prev = conference.seq;
        follower.start = Some(conference);
        Ok(follower)
    }

    fn enter(self: &Arc<Self>, id: &ConferenceId, who: Who) -> Follower {
        let mut hubs = self.hubs.lock();
        let hub = hubs
            .entry(id.clone())
            .or_insert_with(|| Arc::new(Hub { state: Mutex::default(), news: watch::Sender::new(()) }));
        hub.state.lock().sockets += 1;
        Follower {
            feed: Arc::clone(self),
            conference: id.clone(),
            news: hub.news.subscribe(),
            hub: Arc::clone(hub),
            who,
            replaced: CancellationToken::new(),
            cursor: Seq(0),
            prev: Seq(0),
            start: None,
        }
    }

    fn leave(&self, follower: &Follower) {
        let mut hubs = self.hubs.lock();
        let mut state = follower.hub.state.lock();
        state.sockets -= 1;
        if let Who::Member { member, .. } = &follower.who
            && !follower.replaced.is_cancelled()
            && follower.start.is_some()
        {
            state.newest.remove(member);
        }
        if state.sockets == 0 {
            hubs.remove(&follower.conference);
        }
    }

    /// Past events from the log. Where it was trimmed, they begin later than wanted; `None` where nothing is kept.
    pub async fn past(&self, id: &ConferenceId, wanted: Wanted) -> Result<Option<Past>, Refusal> {
        let _turn = self.reads.acquire().await;
        history::past(&*self.store, id, wanted).await.map_err(|error| unreadable(id, &error))
    }

    /// Why the stay of `member` that began with `epoch` is over, where the log tells.
    pub async fn exit_reason(&self, id: &ConferenceId, member: &MemberId, epoch: Seq) -> Option<ExitReason> {
        let _turn = self.reads.acquire().await;
        let reason = history::exit_reason(&*self.store, id, member, epoch).await;
        reason.inspect_err(|error| drop(unreadable(id, error))).ok().flatten()
    }
}

fn unreadable(id: &ConferenceId, error: &StoreError) -> Refusal {
    tracing::error!(conference = %id, %error, "past events could not be read");
    Reason::StoreUnavailable.because("the store does not answer; try again")
}

impl Watcher for Feed {
    fn recorded(&self, conference: &Conference, events: &[Recorded]) {
        let hub = self.hubs.lock().get(conference.id()).cloned();
        if let Some(hub) = hub {
            hub.recorded(conference, events);
        }
    }
}

/// Counts a socket while it is open.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    _task: TaskTrackerToken,
}

/// One reader's place in the feed.
pub struct Follower {
    feed: Arc<Feed>,
    conference: ConferenceId,
    hub: Arc<Hub>,
    news: watch::Receiver<()>,
    who: Who,
    replaced: CancellationToken,
    cursor: Seq,
    prev: Seq,
    start: Option<Arc<Conference>>,
}

impl Follower {
    /// Who reads.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// The number of the last frame given.
    pub fn prev(&self) -> Seq {
        self.prev
    }

    /// The state at which it began.
    pub fn start(&self) -> Option<&Arc<Conference>> {
        self.start.as_ref()
    }

    /// Cancelled when a newer socket of the same member took over.
    pub fn replaced(&self) -> CancellationToken {
        self.replaced.clone()
    }

    /// Goes back to `after`; the frames missed that are not in the ring. `None` where only a snapshot helps: the
    /// number is not one of this conference, is from before the reader's stay, or is too old.
    pub async fn resume(&mut self, after: Seq) -> Result<Option<Vec<Frame>>, Refusal> {
        let Some(start) = &self.start else { return Ok(None) };
        let entitled = match &self.who {
            Who::App => Seq(0),
            Who::Member { epoch, .. } => Seq(epoch.0.saturating_sub(1)),
        };
        if after > start.seq || after < entitled {
            return Ok(None);
        }
        if self.hub.state.lock().ring.holds_after(after) {
            (self.cursor, self.prev) = (after, after);
            return Ok(Some(Vec::new()));
        }
        let wanted =
            Wanted { after, through: start.seq, entries_max: REPLAYED_MAX, events_max: EVENTS_READ_MAX };
        let past = self.feed.past(&self.conference, wanted).await?;
        let is_whole = |past: &Past| past.from == after && past.told == start.seq;
        let Some(past) = past.filter(is_whole) else { return Ok(None) };
        self.prev = after;
        let mut frames = Vec::new();
        for entry in past.entries {
            if let Some(frame) = entry.frame(&self.conference, &self.who, self.prev) {
                self.prev = frame.seq;
                frames.push(frame);
            }
        }
        Ok(Some(frames))
    }

    /// The next frame, if there is one now.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Lost> {
        loop {
            let next = self.hub.state.lock().ring.after(self.cursor);
            match next {
                Next::Entry(entry) => {
                    self.cursor = entry.seq;
                    if let Some(frame) = entry.frame(&self.conference, &self.who, self.prev) {
                        self.prev = frame.seq;
                        return Ok(Some(frame));
                    }
                }
                Next::UpToDate => return Ok(None),
                Next::Gone => return Err(Lost::Behind),
            }
        }
    }

    /// Waits until something happened since the last wait.
    pub async fn news(&mut self) {
        // The sender lives in the hub that this holds.
        let _ = self.news.changed().await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.feed.leave(self);
    }
}
