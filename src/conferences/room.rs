//! One conference: its head, its durable state, and the one append that may be under way.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::creation::InMaking;
use super::folding::{Loaded, snapshot_of};
use super::named::{self, Turns};
use super::once::MarkedCreations;
use super::quota::Quotas;
use super::rooms::Rooms;
use super::{Done, Watcher, refuse_append, store_unavailable};
use crate::domain::conference::decide;
use crate::domain::{Command, Conference, Event, Mark, Reason, Record, Recorded, Refusal, Seq, Timestamp};
use crate::store::{AppendError, PAGE_ITEMS_MAX, Revision, Store, StoreError};

/// Commands of one conference that may wait for the disk. A whole LIVE conference joining at once fits several
/// times; beyond it a caller is told to come again.
const WAITING_MAX: usize = 4096;
/// Commands in one record: shares one write among a storm, and keeps the record far below what a store accepts.
const COMMANDS_PER_RECORD_MAX: usize = 64;
/// Bytes of `ext` and the like that the commands of one record may carry together.
const RECORD_BYTES_SOFT_MAX: usize = 128 * 1024;
/// How often a command is decided anew after its append did not succeed, before the caller is told.
const APPEND_ATTEMPTS_MAX: u32 = 3;
/// How long a fault of the store is told after it was last seen. A balancer that turns away from an unready gateway
/// brings no command that could find the store mended, so the fault must not stand for ever.
const TROUBLE_SHOWN: Duration = Duration::from_secs(10);
/// Events between two snapshots: keeps a start, and a reader of past events, within milliseconds of folding.
const EVENTS_PER_SNAPSHOT: u64 = 1_000;

/// What all rooms need.
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) rooms: Rooms,
    pub(super) tasks: TaskTracker,
    pub(super) in_making: InMaking,
    /// One conference at a time is taken over from the log.
    pub(super) adopting: tokio::sync::Mutex<()>,
    pub(super) turns: Turns,
    pub(super) quotas: Quotas,
    pub(super) marked_creations: MarkedCreations,
    watchers: Vec<Arc<dyn Watcher>>,
    /// When and why an append did not succeed, until one does.
    trouble: Mutex<Option<(Instant, String)>>,
}

impl Shared {
    pub(super) fn new(store: Arc<dyn Store>, watchers: Vec<Arc<dyn Watcher>>) -> Self {
        Self {
            store,
            rooms: Rooms::default(),
            tasks: TaskTracker::new(),
            in_making: InMaking::default(),
            adopting: tokio::sync::Mutex::default(),
            turns: Turns::default(),
            quotas: Quotas::default(),
            marked_creations: MarkedCreations::default(),
            watchers,
            trouble: Mutex::default(),
        }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.as_ref().filter(|(at, _)| at.elapsed() < TROUBLE_SHOWN).map(|(_, why)| why.clone())
    }

    pub(super) fn note_append<T>(&self, appended: &Result<T, AppendError>) {
        match appended {
            Ok(_) => *self.trouble.lock() = None,
            // Too much at once is no fault of the store.
            Err(AppendError::Unavailable(StoreError::Busy)) => {}
            Err(AppendError::Unavailable(error)) => {
                *self.trouble.lock() = Some((Instant::now(), error.to_string()));
            }
            Err(_) => {}
        }
    }

    pub(super) fn tell_watchers(&self, conference: &Conference, events: &[Recorded]) {
        for watcher in &self.watchers {
            // The record is durable: the other watchers must hear of it whatever becomes of this one.
            if catch_unwind(AssertUnwindSafe(|| watcher.recorded(conference, events))).is_err() {
                tracing::error!(conference = %conference.id(), "a watcher panicked");
            }
        }
    }
}

/// What a command led to.
struct Decided {
    events: Vec<Recorded>,
    /// The newest event right after it.
    seq: Seq,
    /// The first event of the command that it repeats.
    repeats: Option<Seq>,
}

type Outcome = Result<Decided, Refusal>;

/// A command that was decided on the head and whose answer waits for the disk.
struct Waiting {
    command: Command,
    mark: Option<Mark>,
    now: Timestamp,
    outcome: Outcome,
    attempts: u32,
    answer: oneshot::Sender<Result<Done, Refusal>>,
}

impl Waiting {
    fn refuse(self, refusal: Refusal) {
        // A caller that went away needs no answer.
        let _ = self.answer.send(Err(refusal));
    }

    fn answer(self, conference: &Arc<Conference>) {
        let conference = Arc::clone(conference);
        let done =
            self.outcome.map(|Decided { events, seq, repeats }| Done { events, conference, seq, repeats });
        let _ = self.answer.send(done);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    Idle,
    Appending,
}

struct State {
    /// What the disk holds.
    durable: Arc<Conference>,
    revision: Revision,
    /// The durable state and everything decided since.
    head: Conference,
    waiting: VecDeque<Waiting>,
    writer: Writer,
    /// The last event that the newest snapshot holds.
    snapshot: Seq,
}

pub(super) struct Room {
    state: Mutex<State>,
}

fn decide_on(head: &mut Conference, command: &Command, mark: Option<Mark>, now: Timestamp) -> Outcome {
    if let Some(mark) = &mark
        && let Some(done) = head.repeated(command, mark, now)?
    {
        return Ok(Decided { events: Vec::new(), seq: done.last, repeats: Some(done.first) });
    }
    let decided = decide(head, command)?;
    let last = Seq(head.seq.0 + 1 + decided.len() as u64);
    let marked = mark.map(|mark| Event::Marked { mark, last });
    let events = marked.into_iter().chain(decided).map(|event| head.record(event, now)).collect();
    Ok(Decided { events, seq: head.seq, repeats: None })
}

impl Room {
    pub(super) fn new(loaded: Loaded) -> Arc<Self> {
        let Loaded { conference, revision, snapshot } = loaded;
        let durable = Arc::new(conference.clone());
        Arc::new(Self {
            state: Mutex::new(State {
                durable,
                revision,
                head: conference,
                waiting: VecDeque::new(),
                writer: Writer::Idle,
                snapshot,
            }),
        })
    }

    pub(super) fn durable(&self) -> Arc<Conference> {
        Arc::clone(&self.state.lock().durable)
    }

    #[cfg(test)]
    pub(super) fn waiting_count(&self) -> usize {
        self.state.lock().waiting.len()
    }

    pub(super) async fn execute(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        command: Command,
        mark: Option<Mark>,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        let receiver = {
            let mut state = self.state.lock();
            if state.waiting.len() >= WAITING_MAX {
                return Err(Reason::Overloaded
                    .because("too many commands wait for this conference; try again")
                    .at("commands_waiting_max"));
            }
            let outcome = decide_on(&mut state.head, &command, mark, now);
            let settled = state.writer == Writer::Idle;
            let (answer, receiver) = oneshot::channel();
            let waiting = Waiting { command, mark, now, outcome, attempts: 0, answer };
            if settled && !waiting.outcome.as_ref().is_ok_and(|decided| !decided.events.is_empty()) {
                waiting.answer(&state.durable);
            } else {
                state.waiting.push_back(waiting);
                if settled {
                    state.writer = Writer::Appending;
                    let (room, shared) = (Arc::clone(self), Arc::clone(shared));
                    shared.tasks.clone().spawn(async move { room.write(&shared).await });
                }
            }
            receiver
        };
        receiver.await.unwrap_or_else(|_| Err(Reason::StoreUnavailable.because("the command was given up")))
    }

    /// Appends until nothing waits. One such task runs per room at most.
    async fn write(self: Arc<Self>, shared: &Arc<Shared>) {
        let mut idle = IdleAgain { room: Some(&self) };
        loop {
            let (batch, record, expected) = {
                let mut state = self.state.lock();
                let (batch, record) = next_batch(&mut state.waiting);
                if batch.is_empty() {
                    // Under the lock: the next command may start the next writer as soon as it is released.
                    state.writer = Writer::Idle;
                    idle.room = None;
                    return;
                }
                (batch, record, state.revision)
            };
            if record.events.is_empty() {
                let durable = self.durable();
                batch.into_iter().for_each(|waiting| waiting.answer(&durable));
                continue;
            }
            let id = self.durable().id().clone();
            let appended = shared.store.append(&id, expected, &record).await;
            shared.note_append(&appended);
            match appended {
                Ok(revision) => self.applied(shared, revision, &record, batch),
                Err(error @ (AppendError::TooLarge(_) | AppendError::Empty)) => {
                    let refusal = refuse_append(&id, &error);
                    self.decide_anew(Vec::new());
                    batch.into_iter().for_each(|waiting| waiting.refuse(refusal.clone()));
                }
                Err(error) => self.reread(shared, &error, &record, batch).await,
            }
        }
    }

    /// The record is on disk: fold it into the durable state, tell the watchers, answer.
    fn applied(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        revision: Revision,
        record: &Record,
        batch: Vec<Waiting>,
    ) {
        let (durable, snapshot_due) = {
            let mut state = self.state.lock();
            let conference = Arc::make_mut(&mut state.durable);
            record.events.iter().for_each(|recorded| conference.replay(recorded));
            state.revision = revision;
            let durable = Arc::clone(&state.durable);
            // Nobody folds an ended conference.
            let due = !durable.is_ended() && durable.seq.0 - state.snapshot.0 >= EVENTS_PER_SNAPSHOT;
            if due {
                state.snapshot = durable.seq;
            }
            (durable, due)
        };
        if durable.is_ended() {
            shared.rooms.leave(&durable);
            if durable.settings.has_name() {
                let (store, durable) = (Arc::clone(&shared.store), Arc::clone(&durable));
                shared.tasks.spawn(async move { named::release(&*store, &durable.settings).await });
            }
        }
        shared.tell_watchers(&durable, &record.events);
        for waiting in batch {
            waiting.answer(&durable);
        }
        if snapshot_due {
            let store = Arc::clone(&shared.store);
            shared.tasks.spawn(async move {
                if let Err(error) = put_snapshot(&*store, &durable, revision).await {
                    tracing::warn!(conference = %durable.id(), %error, "a snapshot was not kept; the log is whole");
                }
            });
        }
    }

    /// Keeps a snapshot of the durable state; tells whether it could be made.
    pub(super) async fn keep_snapshot(&self, store: &dyn Store) -> Result<bool, StoreError> {
        let (durable, revision) = {
            let mut state = self.state.lock();
            state.snapshot = state.durable.seq;
            (Arc::clone(&state.durable), state.revision)
        };
        put_snapshot(store, &durable, revision).await
    }

    /// The append did not succeed, or nobody knows: see what the log holds, and decide anew on that.
    async fn reread(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        error: &AppendError,
        record: &Record,
        mut batch: Vec<Waiting>,
    ) {
        let (id, after) = {
            let state = self.state.lock();
            (state.durable.id().clone(), state.revision)
        };
        tracing::warn!(conference = %id, %error, "an append did not succeed; reading the log again");
        let news = match read_after(&*shared.store, &id, after).await {
            Ok(news) => news,
            Err(error) => {
                let refusal = store_unavailable(&id, &error);
                self.decide_anew(Vec::new());
                batch.into_iter().for_each(|waiting| waiting.refuse(refusal.clone()));
                return;
            }
        };
        for (revision, appended) in news {
            let own = if appended == *record { std::mem::take(&mut batch) } else { Vec::new() };
            self.applied(shared, revision, &appended, own);
        }
        let (again, given_up): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|waiting| Waiting { attempts: waiting.attempts + 1, ..waiting })
            .partition(|waiting| waiting.attempts < APPEND_ATTEMPTS_MAX);
        self.decide_anew(again);
        let refusal = refuse_append(&id, error);
        given_up.into_iter().for_each(|waiting| waiting.refuse(refusal.clone()));
    }

    /// Drops the head and decides `first`, then all that waits, on the durable state.
    fn decide_anew(&self, first: Vec<Waiting>) {
        let mut state = self.state.lock();
        state.head = Conference::clone(&state.durable);
        let waiting = std::mem::take(&mut state.waiting);
        for mut command in first.into_iter().chain(waiting) {
            command.outcome = decide_on(&mut state.head, &command.command, command.mark, command.now);
            state.waiting.push_back(command);
        }
    }
}

async fn put_snapshot(store: &dyn Store, conference: &Conference, at: Revision) -> Result<bool, StoreError> {
    let Some(snapshot) = snapshot_of(conference) else { return Ok(false) };
    store.put_snapshot(conference.id(), at, &snapshot).await?;
    Ok(true)
}

/// Takes from the front of the queue what fits into one record. Answers without events ride along in their order.
fn next_batch(waiting: &mut VecDeque<Waiting>) -> (Vec<Waiting>, Record) {
    let mut batch = Vec::new();
    let mut record = Record::default();
    let mut bytes = 0;
    while batch.len() < COMMANDS_PER_RECORD_MAX {
        let Some(next) = waiting.front() else { break };
        let events = next.outcome.as_ref().map(|decided| decided.events.as_slice()).unwrap_or_default();
        bytes += events.iter().map(event_bytes).sum::<usize>();
        if bytes > RECORD_BYTES_SOFT_MAX && !record.events.is_empty() {
            break;
        }
        record.events.extend(events.iter().cloned());
        batch.extend(waiting.pop_front());
    }
    (batch, record)
}

/// About how much of a record an event takes.
fn event_bytes(recorded: &Recorded) -> usize {
    match &recorded.event {
        Event::MemberJoined { ext, .. } if !ext.is_empty() => crate::domain::limits::EXT_BYTES_MAX,
        Event::MemberChanged { ext: Some(_), .. } | Event::ConferenceChanged { metadata: Some(_), .. } => {
            crate::domain::limits::EXT_BYTES_MAX
        }
        // A member id is 20 bytes of JSON.
        Event::MessageSent { to, .. } => {
            crate::domain::limits::MESSAGE_BYTES_MAX + to.as_ref().map_or(0, Vec::len) * 20
        }
        Event::ConferenceEnded { members } => 100 + members.len() * 32,
        _ => 200,
    }
}

pub(super) async fn read_after(
    store: &dyn Store,
    id: &crate::domain::ConferenceId,
    mut after: Revision,
) -> Result<Vec<(Revision, Record)>, StoreError> {
    let mut records = Vec::new();
    loop {
        let page = store.read(id, after, PAGE_ITEMS_MAX).await?;
        let Some((last, _)) = page.last() else { return Ok(records) };
        after = *last;
        records.extend(page);
    }
}

/// Lets a room write again should its writer be dropped in the middle: whoever waited is told by the closed channel.
struct IdleAgain<'a> {
    /// None once the writer has ended in order.
    room: Option<&'a Room>,
}

impl Drop for IdleAgain<'_> {
    fn drop(&mut self) {
        let Some(room) = self.room else { return };
        let mut state = room.state.lock();
        state.waiting.clear();
        state.head = Conference::clone(&state.durable);
        state.writer = Writer::Idle;
    }
}
