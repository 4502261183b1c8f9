//! How long what is kept: past events behind a snapshot, ended conferences as closed, then nothing.
//!
//! One task looks through the logs now and then. It takes small steps at a set pace, a few of them together in one
//! commit, so that a command never waits for more than one such commit; where the store has too much to do, it leaves
//! the rest for the next round. Nothing is remembered between two rounds but what stands in the store. A round looks at the
//! oldest record of each open log; ended logs that are not due cost nothing.

mod logs;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::conferences::Conferences;
use crate::domain::{AppId, ConferenceId, Record, Seq, Timestamp};
use crate::store::{EndedPart, PAGE_ITEMS_MAX, Store, StoreError};
use crate::telemetry::Metrics;

/// Times a second that steps are taken: those of one time share a commit.
const TIMES_PER_SECOND: u32 = 20;

/// What is kept, and how fast the rest is removed.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Age, in milliseconds, up to which past events are kept.
    pub events_ms: u64,
    /// Past events of one conference that are kept at most.
    pub events_max: u64,
    /// Milliseconds for which an ended conference is told as closed.
    pub closed_ms: u64,
    /// Between two rounds.
    pub pause: Duration,
    /// Logs looked at, trimmed or forgotten in one second.
    pub steps_per_second: u32,
}

/// Somebody who reads the logs at its own speed, such as a webhook outbox. What it has not read is not removed.
pub trait LogReader: Send + Sync {
    /// The first event of the conference that it still needs; `None` if it needs none. `app` is whose conference it is,
    /// `None` where its log does not tell. Asked for every log that is due: must be quick.
    fn unread_from(&self, conference: &ConferenceId, app: Option<&AppId>) -> Option<Seq>;

    /// Whether it wants to be told by [`Self::removed`] what goes from the logs of `app`, because it has not read what it
    /// no longer holds back.
    fn wants_removed(&self, _app: &AppId) -> bool {
        false
    }

    /// These events of a conference of `app` go now.
    fn removed(&self, _app: &AppId, _conference: &ConferenceId, _removed: Removed) {}
}

/// The oldest events of a log, which go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// The first of them.
    pub from: Seq,
    /// The last of them.
    pub to: Seq,
    /// When the last of them happened.
    pub at: Timestamp,
}

impl Removed {
    fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Option<Self> {
        let mut events = records.into_iter().flat_map(|record| &record.events);
        let first = events.next()?;
        let last = events.last().unwrap_or(first);
        Some(Self { from: first.seq, to: last.seq, at: last.at })
    }
}

/// Something else that expires: claims of past days, used nonces, free pages of a file.
#[async_trait]
pub trait Sweep: Send + Sync {
    /// What it sweeps, for the log.
    fn name(&self) -> &'static str;

    /// Removes a little of what has expired by `now`, as much as may stand in one commit, and tells whether more is due.
    /// It is called again at the pace of all steps until it answers `false`, then in the next round.
    async fn sweep(&self, now: Timestamp) -> Result<bool, StoreError>;
}

/// All that retention works with.
pub struct Retention {
    /// Where the logs are.
    pub store: Arc<dyn Store>,
    /// The open conferences.
    pub conferences: Arc<Conferences>,
    /// Who must have read an event before it goes.
    pub readers: Vec<Arc<dyn LogReader>>,
    /// What else expires.
    pub sweeps: Vec<Arc<dyn Sweep>>,
    /// What is kept.
    pub keep: Keep,
    /// Where removals are counted.
    pub metrics: Metrics,
    /// The wall clock.
    pub clock: fn() -> Timestamp,
}

/// Paces the steps of one round.
struct Pace {
    ticks: Interval,
    /// Steps taken together.
    together: usize,
}

impl Pace {
    fn new(steps_per_second: u32) -> Self {
        let together = steps_per_second.div_ceil(TIMES_PER_SECOND).max(1);
        // Few steps a second are taken one by one, further apart.
        let mut ticks = interval(Duration::from_secs(1) * together / steps_per_second.max(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, together: together as usize }
    }

    async fn wait(&mut self) {
        self.ticks.tick().await;
    }
}

impl Retention {
    /// Looks through the logs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.keep.pause) => {}
            }
            if stop.run_until_cancelled(self.round((self.clock)())).await.is_none() {
                return;
            }
        }
    }

    /// One look through everything that is due.
    async fn round(&self, now: Timestamp) {
        let mut pace = Pace::new(self.keep.steps_per_second);
        let logs = async {
            self.trim_open(now, &mut pace).await?;
            self.trim_ended(now, &mut pace).await?;
            self.forget_ended(now, &mut pace).await
        };
        if let Err(error) = logs.await {
            tracing::warn!(%error, "old events wait for the next round");
        }
        for sweep in &self.sweeps {
            if let Err(error) = self.sweep(&**sweep, now, &mut pace).await {
                tracing::warn!(what = sweep.name(), %error, "the rest waits for the next round");
            }
        }
    }

    async fn sweep(&self, sweep: &dyn Sweep, now: Timestamp, pace: &mut Pace) -> Result<(), StoreError> {
        loop {
            pace.wait().await;
            if !sweep.sweep(now).await? {
                return Ok(());
            }
        }
    }

    async fn trim_open(&self, now: Timestamp, pace: &mut Pace) -> Result<(), StoreError> {
        let mut after: Option<ConferenceId> = None;
        loop {
            let page = self.store.open_conferences(after.as_ref(), PAGE_ITEMS_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for some in page.chunks(pace.together) {
                let mut due = some.to_vec();
                while !due.is_empty() {
                    pace.wait().await;
                    due = more(&due, join_all(due.iter().map(|id| self.trim_open_log(id, now))).await)?;
                }
            }
        }
    }

    async fn trim_ended(&self, now: Timestamp, pace: &mut Pace) -> Result<(), StoreError> {
        let until = Timestamp(now.0.saturating_sub(self.keep.events_ms));
        let mut after = None;
        loop {
            let page =
                self.store.ended_conferences(EndedPart::WithRecords, after.as_ref(), until, PAGE_ITEMS_MAX);
            let page = page.await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for some in page.chunks(pace.together) {
                let mut due: Vec<_> = some.iter().map(|ended| ended.conference.clone()).collect();
                while !due.is_empty() {
                    pace.wait().await;
                    due = more(&due, join_all(due.iter().map(|id| self.trim_ended_log(id))).await)?;
                }
            }
        }
    }

    async fn forget_ended(&self, now: Timestamp, pace: &mut Pace) -> Result<(), StoreError> {
        let until = Timestamp(now.0.saturating_sub(self.keep.closed_ms.max(self.keep.events_ms)));
        let mut after = None;
        loop {
            let page = self.store.ended_conferences(EndedPart::All, after.as_ref(), until, PAGE_ITEMS_MAX);
            let page = page.await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for some in page.chunks(pace.together) {
                pace.wait().await;
                let forgotten = some.iter().map(|ended| self.forget_log(&ended.conference));
                join_all(forgotten).await.into_iter().collect::<Result<(), _>>()?;
            }
        }
    }

    /// The first event of the conference that somebody still needs.
    fn unread_from(&self, conference: &ConferenceId, app: Option<&AppId>) -> Option<Seq> {
        self.readers.iter().filter_map(|reader| reader.unread_from(conference, app)).min()
    }

    async fn app_of_ended(&self, id: &ConferenceId) -> Result<Option<AppId>, StoreError> {
        Ok(self.store.status(id).await?.and_then(|status| status.app))
    }

    fn wants_removed(&self, app: &AppId) -> bool {
        self.readers.iter().any(|reader| reader.wants_removed(app))
    }

    fn tell_removed(&self, app: &AppId, conference: &ConferenceId, removed: Removed) {
        self.readers.iter().for_each(|reader| reader.removed(app, conference, removed));
    }
}

/// Which of `due` have more to remove.
fn more(due: &[ConferenceId], steps: Vec<Result<bool, StoreError>>) -> Result<Vec<ConferenceId>, StoreError> {
    let steps = steps.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(due.iter().zip(steps).filter(|(_, more)| *more).map(|(id, _)| id.clone()).collect())
}
