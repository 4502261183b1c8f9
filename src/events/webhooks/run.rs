//! One target at work: whose turn it is, how many at once, and what is kept of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::delivery::Delivery;
use super::keeper::{KeepError, Keeper};
use super::lane::{End, Lanes, Turn, wait};
use super::letters::Letters;
use super::target::Target;
use crate::entropy;

/// How often progress is kept: what a crash makes a target hear twice is what it was told in this time.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Of so many times, one keeps the position though the target was told nothing: others' events moved it.
const IDLE_KEEPS: u32 = 60;
/// Claims written side by side: they share a transaction of the store.
const CLAIMS_AT_ONCE: usize = 64;
/// How long a stop waits for answers that are under way. Whoever takes longer is told again after the start.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a lane waits for a store that does not answer.
const STORE_WAIT: Duration = Duration::from_secs(1);

/// A target that is told.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) keeper: Keeper,
    target: RwLock<Arc<Target>>,
    pub(super) lanes: Mutex<Lanes>,
    /// What it was given up on and may be told again.
    pub(super) letters: Mutex<Letters>,
    /// Something is ready.
    pub(super) wake: Notify,
    /// The target was taken off the list.
    pub(super) gone: CancellationToken,
    /// Its task has ended.
    pub(super) ended: CancellationToken,
    in_trouble: AtomicBool,
    /// It is so far behind that it no longer holds back what it has not read.
    is_stuck: AtomicBool,
    /// Whether it was told something since its position was kept.
    told: AtomicBool,
}

impl Run {
    pub(super) fn new(keeper: Keeper, target: Target, lanes: Lanes, letters: Letters) -> Arc<Self> {
        Arc::new(Self {
            keeper,
            target: RwLock::new(Arc::new(target)),
            lanes: Mutex::new(lanes),
            letters: Mutex::new(letters),
            wake: Notify::new(),
            gone: CancellationToken::new(),
            ended: CancellationToken::new(),
            in_trouble: AtomicBool::new(false),
            is_stuck: AtomicBool::new(false),
            told: AtomicBool::new(false),
        })
    }

    pub(super) fn target(&self) -> Arc<Target> {
        Arc::clone(&self.target.read())
    }

    /// Goes on with another URL, filter or secret.
    pub(super) fn retarget(&self, target: Target) {
        *self.target.write() = Arc::new(target);
    }

    /// Logs the first failure after a success: a target that is down for a day is one line.
    pub(super) fn troubled(&self, error: &str) {
        if !self.in_trouble.swap(true, Ordering::Relaxed) {
            let (app, target, host) = (&self.keeper.app, &self.keeper.target, self.target().host());
            tracing::warn!(%app, %target, host, error, "a webhook target does not take its messages");
        }
    }

    /// Logs when the log is no longer kept for what the target has not read.
    pub(super) fn stuck(&self, is_stuck: bool) {
        let was_stuck = self.is_stuck.swap(is_stuck, Ordering::Relaxed);
        if is_stuck && !was_stuck {
            let (app, target, host) = (&self.keeper.app, &self.keeper.target, self.target().host());
            tracing::warn!(
                %app, %target, host,
                "a webhook target is so far behind that events may go before it is told; free it or take it off the list"
            );
        }
    }

    pub(super) fn worked(&self) {
        self.told.store(true, Ordering::Relaxed);
        if self.in_trouble.swap(false, Ordering::Relaxed) {
            let (app, target, host) = (&self.keeper.app, &self.keeper.target, self.target().host());
            tracing::info!(%app, %target, host, "a webhook target takes messages again");
        }
    }
}

type Turned = (Turn, bool, End);

/// Tells `run` what it is to be told until it is gone or `stop` is cancelled.
pub(super) async fn run(shared: Arc<Shared>, run: Arc<Run>, stop: CancellationToken) {
    let _ended = run.ended.clone().drop_guard();
    let cut = CancellationToken::new();
    let mut turns: JoinSet<Turned> = JoinSet::new();
    let mut keep = tokio::time::interval_at(Instant::now() + KEEP_EVERY, KEEP_EVERY);
    keep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut idle_keeps = 0;
    while !stop.is_cancelled() {
        start_turns(&shared, &run, &cut, &mut turns);
        // Where every place is taken, what is due waits for the end of a turn.
        let has_place = turns.len() < shared.settings.conferences_at_once;
        let due = if has_place { run.lanes.lock().next_due() } else { None };
        tokio::select! {
            () = run.gone.cancelled() => {
                turns.shutdown().await;
                return;
            }
            () = stop.cancelled() => break,
            Some(turned) = turns.join_next() => end_turn(&shared, &run, turned),
            () = run.wake.notified() => {}
            () = sleep_until(due) => {}
            _ = keep.tick() => {
                idle_keeps += 1;
                let told = run.told.swap(false, Ordering::Relaxed);
                if told || idle_keeps >= IDLE_KEEPS {
                    idle_keeps = 0;
                    keep_progress(&shared, &run, false, true).await;
                } else {
                    keep_progress(&shared, &run, false, false).await;
                }
            }
        }
    }
    let farewell = tokio::time::sleep(FAREWELL);
    tokio::pin!(farewell);
    while !turns.is_empty() {
        tokio::select! {
            Some(turned) = turns.join_next() => end_turn(&shared, &run, turned),
            () = &mut farewell, if !cut.is_cancelled() => cut.cancel(),
        }
    }
    keep_progress(&shared, &run, true, true).await;
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn start_turns(shared: &Arc<Shared>, run: &Arc<Run>, cut: &CancellationToken, turns: &mut JoinSet<Turned>) {
    let at_once = shared.settings.conferences_at_once;
    // A quarter of the places, and at least one where there are two, is for what did not fail.
    let retries_max = (at_once - at_once.div_ceil(4)).max(1);
    while turns.len() < at_once {
        let Some(turn) = run.lanes.lock().take(Instant::now(), retries_max) else { break };
        let delivery = Delivery { shared: Arc::clone(shared), run: Arc::clone(run), cut: cut.clone() };
        let was_retry = turn.progress.failing.is_some();
        let fallback = turn.without_book();
        turns.spawn(async move {
            match AssertUnwindSafe(delivery.take(turn)).catch_unwind().await {
                Ok((turn, end)) => (turn, was_retry, end),
                Err(_) => {
                    tracing::error!(conference = %fallback.key.conference, "a webhook's turn panicked");
                    (fallback, was_retry, End::StoreFailed)
                }
            }
        });
    }
}

fn end_turn(shared: &Shared, run: &Run, turned: Result<Turned, tokio::task::JoinError>) {
    // A turn catches its own panics and is never aborted while its target is there.
    let Ok((turn, was_retry, end)) = turned else { return };
    let settings = &shared.settings;
    let pause = match (&end, &turn.progress.failing) {
        (End::Failed, Some(failing)) => {
            let chance = entropy::bytes().map_or(u64::MAX, u64::from_be_bytes);
            wait(failing.attempts, settings.retry_min, settings.retry_max, chance)
        }
        _ => STORE_WAIT,
    };
    let mut lanes = run.lanes.lock();
    let was_full = lanes.is_full();
    let newest = *shared.store.changes().borrow();
    lanes.end(turn, was_retry, &end, Instant::now() + pause, ((shared.now)(), newest));
    let is_full = lanes.is_full();
    drop(lanes);
    if was_full && !is_full {
        shared.tail.notify_one();
    }
}

/// Writes what changed. `all` keeps every lane, so that a process that comes back repeats nothing.
async fn keep_progress(shared: &Shared, run: &Run, all: bool, position: bool) {
    if let Err(error) = try_keep(shared, run, all, position).await {
        let (app, target) = (&run.keeper.app, &run.keeper.target);
        tracing::error!(%app, %target, %error, "a webhook's progress was not kept; after a crash it repeats more");
    }
}

pub(super) async fn try_keep(shared: &Shared, run: &Run, all: bool, position: bool) -> Result<(), KeepError> {
    let (store, keeper) = (&*shared.store, &run.keeper);
    // The lanes first: the position may go past those that are kept, and past no other.
    let lanes = run.lanes.lock().to_keep(all);
    for chunk in lanes.chunks(CLAIMS_AT_ONCE) {
        let puts =
            chunk.iter().map(|(key, lane, claim)| keeper.put_lane(store, &key.conference, *claim, lane));
        for ((key, lane, _), put) in chunk.iter().zip(join_all(puts).await) {
            let claim = put?;
            run.lanes.lock().kept(key, lane.clone(), claim);
        }
    }
    if position {
        let (safe, saved, claim) = {
            let lanes = run.lanes.lock();
            (lanes.safe(), lanes.saved, lanes.saved_claim)
        };
        if safe != saved {
            let claim = keeper.put_cursor(store, claim, safe).await?;
            let mut lanes = run.lanes.lock();
            (lanes.saved, lanes.saved_claim) = (safe, Some(claim));
        }
    }
    let caught_up: Vec<_> = run.lanes.lock().caught_up.clone().into_iter().collect();
    for chunk in caught_up.chunks(CLAIMS_AT_ONCE) {
        let deletions = chunk.iter().map(|(conference, claim)| keeper.delete_lane(store, conference, *claim));
        for ((conference, claim), deleted) in chunk.iter().zip(join_all(deletions).await) {
            deleted?;
            run.lanes.lock().forgotten(conference, *claim);
        }
    }
    Ok(())
}
