//! Webhooks: a reader of the log that tells the apps' servers, and that nobody waits for.
//!
//! One task ([`tail`]) follows the log of all conferences and notes in *lanes* ([`lane`]) which conference has something
//! to tell to which target: numbers, never events. Each target has a task of its own ([`run`]) that gives the lanes their
//! turns, a bounded number at once. A turn ([`delivery`]) reads the conference's log from where the target stands, folds
//! it so that objects are shown as they were ([`book`]), and posts event after event; the first that is not taken ends the
//! turn, and the lane waits. So a failing event holds back its own conference, a slow target itself, and what lags stays
//! in the log.
//!
//! Progress is kept among the claims ([`keeper`]): a position per target, and the lanes that lag behind it. It is written
//! behind what was told, never ahead of it, so that a crash repeats messages (under the same id) and loses none.

mod book;
mod calls;
mod delivery;
mod keeper;
mod lane;
mod letters;
mod message;
mod run;
mod signature;
mod tail;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::conferences::Conferences;
use crate::domain::{AppId, ConferenceId, Reason, Refusal, Seq, Timestamp};
use crate::outbound::{Outbound, Policy};
use crate::secret::Secret;
use crate::store::{ClaimError, Store, StoreError};
use crate::telemetry::Metrics;
use crate::{clock, entropy};
use calls::Calls;
use delivery::Courier;
use keeper::{KeepError, Keeper, StoredDeadLetter};
use lane::{Gap, LaneKey, Lanes, StoredLane};
use letters::Letters;
use run::Run;
use target::Fresh;
pub use target::{PutTarget, SECRET_OVERLAP_MS, TARGETS_PER_APP_MAX, TYPES, Target, TargetId, TargetRequest};

/// Turns under way for all apps together: each is a socket and a turn's memory.
const CALLS_MAX: usize = 512;
/// How often a PUT is decided anew because another process put a list at the same time.
const PUT_ATTEMPTS_MAX: u32 = 3;
/// How long a dead letter is kept: as long as an ended conference is known. Later its events are in no log.
const DEAD_LETTERS_KEPT_MS: u64 = 7 * 24 * 3_600_000;
/// How often those that are older are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Numbers that deliveries follow.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// The longest wait after the first failure.
    pub retry_min: Duration,
    /// The longest wait after many.
    pub retry_max: Duration,
    /// How long a conference fails until its events are dead letters.
    pub give_up_ms: u64,
    /// Conferences that one target is told of at once.
    pub conferences_at_once: usize,
}

/// What is not yet told, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WebhookStats {
    /// Conferences that some target still has to be told of, counted per target.
    pub lanes: usize,
    /// How long ago the oldest untold event happened, about; zero where all is told.
    pub lag_ms: u64,
}

/// What one target has still to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetQueue {
    /// Who.
    pub target: TargetId,
    /// Conferences with events that it was not told yet.
    pub conferences: usize,
    /// How long ago the oldest of these happened, about; zero where all is told.
    pub lag_ms: u64,
}

/// Events that a target was given up on.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Its name, under which it is replayed.
    pub id: String,
    /// Who was not told.
    pub target: TargetId,
    /// Of which conference.
    pub conference: ConferenceId,
    /// The first event.
    pub from: Seq,
    /// The last event.
    pub to: Seq,
    /// When it first failed.
    pub first_failure: Timestamp,
    /// When it last failed.
    pub last_failure: Timestamp,
    /// Why.
    pub last_error: String,
    /// How often the first of the events was tried.
    pub attempts: u32,
    /// Whether it is on its way again.
    pub replaying: bool,
}

impl DeadLetter {
    fn new(id: String, stored: StoredDeadLetter) -> Self {
        Self {
            id,
            target: stored.target,
            conference: stored.conference,
            from: stored.from,
            to: stored.to,
            first_failure: stored.first_failure,
            last_failure: stored.last_failure,
            last_error: stored.last_error,
            attempts: stored.attempts,
            replaying: stored.replaying,
        }
    }
}

type Runs = BTreeMap<AppId, BTreeMap<TargetId, Arc<Run>>>;

/// What all targets share.
struct Shared {
    store: Arc<dyn Store>,
    conferences: Arc<Conferences>,
    courier: Arc<dyn Courier>,
    policy: Policy,
    settings: WebhookSettings,
    metrics: Metrics,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// The targets that are told.
    runs: RwLock<Runs>,
    /// Wakes the reader of the log.
    tail: Notify,
    calls: Calls,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhooks")
    }
}

impl Shared {
    fn all_runs(&self) -> Vec<Arc<Run>> {
        self.runs.read().values().flat_map(BTreeMap::values).map(Arc::clone).collect()
    }

    /// Hands the targets of `app` that stay what is new about them; those that do not stay, and those to begin.
    fn retarget(&self, app: &AppId, list: Vec<Target>) -> (Vec<Arc<Run>>, Vec<Target>) {
        let mut new = Vec::new();
        let mut runs = self.runs.write();
        let mut gone = runs.remove(app).unwrap_or_default();
        for target in list.into_iter().filter(|target| target.enabled) {
            match gone.remove(&target.id) {
                Some(run) => {
                    run.retarget(target);
                    runs.entry(app.clone()).or_default().insert(run.keeper.target.clone(), run);
                }
                None => new.push(target),
            }
        }
        (gone.into_values().collect(), new)
    }

    fn run_of(&self, app: &AppId, target: &TargetId) -> Option<Arc<Run>> {
        self.runs.read().get(app)?.get(target).cloned()
    }
}

/// All targets of all apps.
#[derive(Debug)]
pub struct Webhooks {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Held while a list is changed.
    changing: tokio::sync::Mutex<()>,
}

impl Webhooks {
    /// Goes on where the last process was. Targets are told from here on; nothing waits for it.
    pub async fn open(
        store: Arc<dyn Store>,
        conferences: Arc<Conferences>,
        outbound: Outbound,
        settings: WebhookSettings,
        metrics: Metrics,
    ) -> Result<Arc<Self>, StoreError> {
        let policy = outbound.policy().clone();
        let shared = Shared {
            store,
            conferences,
            courier: Arc::new(outbound),
            policy,
            settings,
            metrics,
            now: Arc::new(clock::now),
            runs: RwLock::default(),
            tail: Notify::new(),
            calls: Calls::new(CALLS_MAX),
        };
        Self::open_with(shared).await
    }

    async fn open_with(shared: Shared) -> Result<Arc<Self>, StoreError> {
        let webhooks = Arc::new(Self {
            shared: Arc::new(shared),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            changing: tokio::sync::Mutex::new(()),
        });
        webhooks.restore().await.map_err(store_error)?;
        let stop = webhooks.stop.clone();
        webhooks.tasks.spawn(tail::follow(Arc::clone(&webhooks.shared), stop.clone()));
        webhooks.tasks.spawn(sweep(Arc::clone(&webhooks.shared), stop));
        Ok(webhooks)
    }

    async fn restore(&self) -> Result<(), KeepError> {
        let store = &*self.shared.store;
        for (app, targets) in keeper::all_targets(store).await? {
            for target in targets.into_iter().filter(|target| target.enabled) {
                self.begin(&app, target).await?;
            }
        }
        for keeper in keeper::keepers(store).await? {
            if self.shared.run_of(&keeper.app, &keeper.target).is_none() {
                keeper.forget(store).await?;
            }
        }
        for (app, id, letter) in keeper::replays(store).await? {
            if let Some(run) = self.shared.run_of(&app, &letter.target) {
                self.start_replay(&run, id, &letter);
            }
        }
        Ok(())
    }

    /// Begins to tell a target: where it was, or with what comes.
    async fn begin(&self, app: &AppId, target: Target) -> Result<(), KeepError> {
        let store = &*self.shared.store;
        let keeper = Keeper { app: app.clone(), target: target.id.clone() };
        let (position, claim) = match keeper.cursor(store).await? {
            Some(found) => found,
            None => {
                let head = store.head().await?;
                (head, keeper.put_cursor(store, None, head).await?)
            }
        };
        let mut lanes = Lanes::new(position, Some(claim), (self.shared.now)());
        for (conference, claim, lane) in keeper.lanes(store).await? {
            let key = LaneKey { conference, replay: None };
            lanes.restore(key, lane, None, Some(claim), (self.shared.now)());
        }
        let mut letters = Letters::default();
        for (id, letter) in keeper.dead_letters(store).await? {
            letters.note(&letter.conference, &id, letter.from, letter.first_failure);
        }
        let id = target.id.clone();
        let run = Run::new(keeper, target, lanes, letters);
        self.shared.runs.write().entry(app.clone()).or_default().insert(id, Arc::clone(&run));
        self.tasks.spawn(run::run(Arc::clone(&self.shared), run, self.stop.clone()));
        self.shared.tail.notify_one();
        Ok(())
    }

    /// The targets of `app`, in the order in which they were put.
    pub async fn targets(&self, app: &AppId) -> Result<Vec<Target>, Refusal> {
        let (_, targets) = keeper::targets(&*self.shared.store, app).await.map_err(|error| refuse(&error))?;
        Ok(targets)
    }

    /// Replaces the targets of `app`. One that stays goes on where it was; a new one, or one that is enabled again, begins
    /// with what happens from now on. Goes on if the caller does not wait for it.
    pub async fn put_targets(
        self: &Arc<Self>,
        app: &AppId,
        requests: Vec<TargetRequest>,
    ) -> Result<Vec<PutTarget>, Refusal> {
        let (webhooks, app) = (Arc::clone(self), app.clone());
        let put = self.tasks.spawn(async move { webhooks.replace(&app, requests).await });
        put.await.unwrap_or_else(|_| Err(Reason::StoreUnavailable.because("the change was given up")))
    }

    async fn replace(&self, app: &AppId, requests: Vec<TargetRequest>) -> Result<Vec<PutTarget>, Refusal> {
        let _turn = self.changing.lock().await;
        let store = &*self.shared.store;
        for _ in 0..PUT_ATTEMPTS_MAX {
            let (revision, present) = keeper::targets(store, app).await.map_err(|error| refuse(&error))?;
            let fresh = Fresh { id: &mut fresh_id, secret: &mut fresh_secret };
            let now = (self.shared.now)();
            let put = target::replace(&present, requests.clone(), &self.shared.policy, now, fresh)?;
            let list: Vec<Target> = put.iter().map(|put| put.target.clone()).collect();
            match keeper::put_targets(store, app, revision, &list).await {
                Ok(()) => {}
                Err(KeepError::Claim(ClaimError::Conflict)) => continue,
                Err(error) => return Err(refuse(&error)),
            }
            self.apply(app, list).await.map_err(|error| refuse(&error))?;
            return Ok(put);
        }
        Err(Reason::Overloaded.because("the list was changed by others at the same time; try again"))
    }

    /// Makes the running targets those of `list`.
    async fn apply(&self, app: &AppId, list: Vec<Target>) -> Result<(), KeepError> {
        let (gone, new) = self.shared.retarget(app, list);
        for run in gone {
            run.gone.cancel();
            run.ended.cancelled().await;
            run.keeper.forget(&*self.shared.store).await?;
        }
        for target in new {
            self.begin(app, target).await?;
        }
        Ok(())
    }

    /// A page of the dead letters of `app` after the one called `after`, the oldest first.
    pub async fn dead_letters(
        &self,
        app: &AppId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Refusal> {
        let letters = keeper::dead_letters(&*self.shared.store, app, after, limit).await;
        let letters = letters.map_err(|error| refuse(&error))?;
        Ok(letters.into_iter().map(|(id, letter)| DeadLetter::new(id, letter)).collect())
    }

    /// Tells the events of a dead letter again, beside what happens now. It is gone when all of them were taken.
    pub async fn replay(&self, app: &AppId, id: &str) -> Result<(), Refusal> {
        let _turn = self.changing.lock().await;
        let store = &*self.shared.store;
        let found = keeper::dead_letter(store, app, id).await.map_err(|error| refuse(&error))?;
        let Some((revision, mut letter)) = found else { return Err(no_such_letter()) };
        let Some(run) = self.shared.run_of(app, &letter.target) else {
            return Err(
                Reason::NotFound.because("the target of this dead letter is not on the list, or not enabled")
            );
        };
        let key = LaneKey { conference: letter.conference.clone(), replay: Some(id.to_owned()) };
        if run.lanes.lock().has(&key) {
            return if letter.replaying {
                Ok(())
            } else {
                Err(Reason::Overloaded
                    .because("the last replay of this dead letter is just ending; try again"))
            };
        }
        letter.replaying = true;
        match keeper::put_dead_letter_as_read(store, app, id, revision, &letter).await {
            Ok(()) => {}
            // A replay that ended meanwhile took it away.
            Err(KeepError::Claim(ClaimError::Conflict)) => return Err(no_such_letter()),
            Err(error) => return Err(refuse(&error)),
        }
        self.start_replay(&run, id.to_owned(), &letter);
        Ok(())
    }

    fn start_replay(&self, run: &Run, id: String, letter: &StoredDeadLetter) {
        let key = LaneKey { conference: letter.conference.clone(), replay: Some(id) };
        let mut lanes = run.lanes.lock();
        if !lanes.has(&key) {
            let after = Seq(letter.from.0.saturating_sub(1));
            let progress = StoredLane { after, gap: None, failing: None };
            lanes.restore(key, progress, Some(letter.to), None, (self.shared.now)());
        }
        drop(lanes);
        run.wake.notify_one();
    }

    /// The lowest event of `conference` that some target has still to be told, or that is in a dead letter; its log must
    /// be kept from there on.
    ///
    /// Where a target of the conference's `app` has not yet read what the log holds, that may be any event: then it is the
    /// first. Retention that asks again later finds a better answer, at the latest when the target would have been given
    /// up on. Without an `app` any target may be concerned.
    pub fn unread_from(&self, conference: &ConferenceId, app: Option<&AppId>) -> Option<Seq> {
        let head = *self.shared.store.changes().borrow();
        let is_ended = self.shared.conferences.open_now(conference).is_none();
        let (now, give_up_ms) = ((self.shared.now)(), self.shared.settings.give_up_ms);
        let runs = self.shared.all_runs();
        let concerned = runs.iter().filter(|run| app.is_none_or(|app| run.keeper.app == *app));
        let unread = |run: &Arc<Run>| {
            let lanes = run.lanes.lock();
            let is_stuck = lanes.is_stuck_since(now, give_up_ms);
            run.stuck(is_stuck);
            let is_behind = lanes.read < head && !is_stuck;
            let unread = if is_behind { Some(Seq(1)) } else { lanes.unread_from(conference) };
            drop(lanes);
            let letters = run.letters.lock().unread_from(conference, letters_kept_since(now));
            let unread = unread.into_iter().chain(letters).min();
            // An ended log is trimmed without a snapshot from which the rest could be told.
            unread.map(|unread| if is_ended { Seq(1) } else { unread })
        };
        concerned.filter_map(unread).min()
    }

    /// Whether a target of `app` is given no more of the log, so that events can go before it has read them.
    pub fn has_stopped_reading(&self, app: &AppId) -> bool {
        let runs = self.shared.runs.read();
        runs.get(app).is_some_and(|runs| runs.values().any(|run| run.lanes.lock().is_full()))
    }

    /// Notes that the events `from` to `to` go from the log, the last of which happened at `at`: a target of `app` that has
    /// not read them is told of a gap.
    pub fn removed(&self, app: &AppId, conference: &ConferenceId, (from, to): (Seq, Seq), at: Timestamp) {
        let runs: Vec<_> = {
            let runs = self.shared.runs.read();
            runs.get(app).map(|runs| runs.values().map(Arc::clone).collect()).unwrap_or_default()
        };
        let gap = Gap { from, to, at: (self.shared.now)() };
        for run in runs {
            run.lanes.lock().lose(conference, gap, at);
            run.wake.notify_one();
        }
    }

    /// What is not yet told.
    pub fn stats(&self) -> WebhookStats {
        let now = (self.shared.now)();
        let mut stats = WebhookStats::default();
        for run in self.shared.all_runs() {
            let lanes = run.lanes.lock();
            stats.lanes += lanes.len();
            let lag = lanes.oldest().map_or(0, |oldest| now.0.saturating_sub(oldest.0));
            stats.lag_ms = stats.lag_ms.max(lag);
        }
        stats
    }

    /// What each enabled target of `app` has still to be told.
    pub fn queues(&self, app: &AppId) -> Vec<TargetQueue> {
        let now = (self.shared.now)();
        let runs = self.shared.runs.read();
        let queues = runs.get(app).into_iter().flatten().map(|(target, run)| {
            let lanes = run.lanes.lock();
            let lag_ms = lanes.oldest().map_or(0, |oldest| now.0.saturating_sub(oldest.0));
            TargetQueue { target: target.clone(), conferences: lanes.len(), lag_ms }
        });
        queues.collect()
    }

    /// Ends in order: what is under way may end within a second, and how far each target is gets kept.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// When the oldest dead letters first failed that are kept at `now`.
fn letters_kept_since(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_sub(DEAD_LETTERS_KEPT_MS))
}

async fn sweep(shared: Arc<Shared>, stop: CancellationToken) {
    let mut every = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {
                let before = letters_kept_since((shared.now)());
                for run in shared.all_runs() {
                    run.letters.lock().sweep(before);
                }
                match keeper::sweep_dead_letters(&*shared.store, before).await {
                    Ok(0) => {}
                    Ok(count) => tracing::info!(count, "dead letters of webhooks were too old and are gone"),
                    Err(error) => tracing::error!(%error, "dead letters of webhooks could not be swept"),
                }
            }
        }
    }
}

fn fresh_id() -> Result<String, Refusal> {
    let bytes: [u8; 10] = entropy::bytes().map_err(|error| Reason::Overloaded.because(error.to_string()))?;
    // The letters of every id that the gateway makes.
    Ok(format!("wh_{}", AppId::from_random(bytes)))
}

fn fresh_secret() -> Result<Secret, Refusal> {
    let secret = entropy::secret().map_err(|error| Reason::Overloaded.because(error.to_string()))?;
    Ok(Secret::new(format!("{}{}", target::SECRET_PREFIX, secret.expose())))
}

fn no_such_letter() -> Refusal {
    Reason::NotFound.because("there is no such dead letter in this app")
}

fn store_error(error: KeepError) -> StoreError {
    match error {
        KeepError::Store(error) | KeepError::Claim(ClaimError::Unavailable(error)) => error,
        other => StoreError::Failed {
            home: "webhooks".to_owned(),
            fault: other.to_string(),
            remedy: "restore the store from a backup",
        },
    }
}

fn refuse(error: &KeepError) -> Refusal {
    tracing::error!(%error, "webhooks could not be read or changed");
    match error {
        KeepError::Store(error) | KeepError::Claim(ClaimError::Unavailable(error)) => error.refusal(),
        _ => Reason::StoreUnavailable.because("the store does not answer or cannot write; try again"),
    }
}
