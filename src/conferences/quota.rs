//! How many conferences an app may make in a day, and how many it may have open at once.
//!
//! The day's number stands in a claim per app and day (UTC). It is raised by a block of conferences before the first of
//! them is made, so that a creation rarely costs a write of its own. What is left of a block when the process ends counts
//! as used: a restart can lose one block, and never makes one conference too many possible.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::room::{Room, Shared};
use crate::domain::{AppId, Reason, Refusal, Timestamp};
use crate::store::{ClaimError, ClaimKey, PAGE_ITEMS_MAX, StoreError};

/// Below this name the days' numbers stand among the claims.
const DAYS_CLAIM: &str = "conferences-per-day";
const DAY_MS: u64 = 24 * 3600 * 1000;
/// A block is this part of the day's number: a restart loses one per cent at most.
const BLOCKS_PER_DAY: u32 = 100;
/// Largest block. A thousand creations for one write are as good as none.
const BLOCK_MAX: u32 = 1000;
/// How often a block is tried where other processes reserve theirs at the same time.
const RESERVE_ATTEMPTS_MAX: u32 = 16;

/// What one app may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppLimits {
    /// Conferences made in one day (UTC), rooms and VoIP rooms included. [`u32::MAX`] is not counted.
    pub rooms_per_day_max: u32,
    /// Conferences open at once.
    pub conferences_max: u32,
}

impl AppLimits {
    /// As many as there is room for.
    pub const NONE: Self = Self { rooms_per_day_max: u32::MAX, conferences_max: u32::MAX };
}

/// Tells what an app may have; `None` for one that is gone, or is about to go. Asked at each creation, so that a change
/// counts at once.
pub type LimitLookup = Arc<dyn Fn(&AppId) -> Option<AppLimits> + Send + Sync>;

#[derive(Default)]
struct Count {
    day: u64,
    /// The day's number in the store, as this process raised it last.
    reserved: u32,
    /// Reserved in the store for that day, and not used.
    left: u32,
    /// Being made: neither in memory nor given up.
    in_flight: u32,
}

/// Counts what every app makes and has.
#[derive(Default)]
pub(super) struct Quotas {
    lookup: OnceLock<LimitLookup>,
    counts: Mutex<BTreeMap<AppId, Count>>,
    /// One block at a time is reserved.
    reserving: tokio::sync::Mutex<()>,
    /// A conference is made, or is given up.
    settled: Notify,
}

impl Quotas {
    /// The first call holds.
    pub(super) fn set(&self, lookup: LimitLookup) {
        let _ = self.lookup.set(lookup);
    }

    fn limits(&self, app: &AppId) -> Result<AppLimits, Refusal> {
        self.lookup.get().map_or(Some(AppLimits::NONE), |lookup| lookup(app)).ok_or_else(|| {
            Reason::Unauthenticated.because(format!("the app {app} was removed from this gateway"))
        })
    }

    /// Waits until no conference of `app` is being made. Once the lookup knows the app no more, none will be.
    pub(super) async fn settle(&self, app: &AppId) {
        let mut settled = pin!(self.settled.notified());
        loop {
            // Listen first, look second: what settles in between is not missed.
            settled.as_mut().enable();
            if self.counts.lock().get(app).is_none_or(|count| count.in_flight == 0) {
                return;
            }
            settled.as_mut().await;
            settled.set(self.settled.notified());
        }
    }
}

/// The right to make one conference. Dropped before a record could have been kept, it counts for nothing.
pub(super) struct Permit {
    shared: Arc<Shared>,
    app: AppId,
    /// `None` where days are not counted.
    day: Option<u64>,
    in_flight: bool,
    used: bool,
}

impl Permit {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The conference counts from here on, whatever becomes of it.
    pub(super) fn used(&mut self, used: bool) {
        self.used = used;
    }

    /// Enters the conference into memory, and counts it there instead.
    pub(super) fn enter(&mut self, room: Arc<Room>) {
        let mut counts = self.shared.quotas.counts.lock();
        self.shared.rooms.enter(room);
        if std::mem::take(&mut self.in_flight)
            && let Some(count) = counts.get_mut(&self.app)
        {
            count.in_flight -= 1;
        }
        self.shared.quotas.settled.notify_waiters();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.shared.quotas.counts.lock();
        let Some(count) = counts.get_mut(&self.app) else { return };
        count.in_flight -= u32::from(self.in_flight);
        if !self.used && self.day == Some(count.day) {
            count.left += 1;
        }
        self.shared.quotas.settled.notify_waiters();
    }
}

/// Asks for one more conference of `app`.
pub(super) async fn permit(shared: &Arc<Shared>, app: &AppId, now: Timestamp) -> Result<Permit, Refusal> {
    let today = now.0 / DAY_MS;
    loop {
        if let Some(permit) = take(shared, app, now)? {
            return Ok(permit);
        }
        let _turn = shared.quotas.reserving.lock().await;
        let has_left = |count: &Count| count.day == today && count.left > 0;
        if shared.quotas.counts.lock().get(app).is_some_and(has_left) {
            continue;
        }
        let max = shared.quotas.limits(app)?.rooms_per_day_max;
        let (block, reserved) = reserve(shared, app, max, now).await?;
        let mut counts = shared.quotas.counts.lock();
        let count = counts.entry(app.clone()).or_default();
        if count.day != today {
            (count.day, count.left) = (today, 0);
        }
        count.left += block;
        count.reserved = reserved;
    }
}

/// `None` where nothing is left of the day's block.
fn take(shared: &Arc<Shared>, app: &AppId, now: Timestamp) -> Result<Option<Permit>, Refusal> {
    let today = now.0 / DAY_MS;
    let mut counts = shared.quotas.counts.lock();
    // Under the lock: who sees nothing in flight for an app that is gone can be sure that nothing will be.
    let limits = shared.quotas.limits(app)?;
    let count = counts.entry(app.clone()).or_default();
    let open = shared.rooms.count_of(app) + count.in_flight as usize;
    if open >= limits.conferences_max as usize {
        let max = limits.conferences_max;
        return Err(Reason::Overloaded
            .because(format!("this app has {max} conferences open, as many as it may; end some first"))
            .at("conferences_per_app_max"));
    }
    let is_counted = limits.rooms_per_day_max < u32::MAX;
    if is_counted {
        if count.day != today || count.left == 0 {
            return Ok(None);
        }
        // A limit that was lowered counts at once, whatever was reserved before.
        if count.reserved.saturating_sub(count.left) >= limits.rooms_per_day_max {
            return Err(day_is_full(limits.rooms_per_day_max, now));
        }
        count.left -= 1;
    }
    count.in_flight += 1;
    let (shared, app) = (Arc::clone(shared), app.clone());
    Ok(Some(Permit { shared, app, day: is_counted.then_some(today), in_flight: true, used: false }))
}

/// Raises the day's number in the store by a block, and tells how many it holds and what the number is then.
async fn reserve(shared: &Arc<Shared>, app: &AppId, max: u32, now: Timestamp) -> Result<(u32, u32), Refusal> {
    let today = now.0 / DAY_MS;
    let key = ClaimKey::from_parts(&[DAYS_CLAIM, app.as_str(), &today.to_string()])
        .map_err(|_| Reason::StoreUnavailable.because("the day's number of this app cannot be kept"))?;
    for _ in 0..RESERVE_ATTEMPTS_MAX {
        let claim = shared.store.get(&key).await.map_err(|error| unavailable(&key, &error))?;
        let reserved = claim.as_ref().map_or(Ok(0), |claim| number(&claim.value));
        let reserved = reserved.map_err(|()| {
            tracing::error!(claim = %key, "the day's number of an app cannot be read");
            Reason::StoreUnavailable.because("the day's number of this app cannot be read")
        })?;
        let block = (max / BLOCKS_PER_DAY).clamp(1, BLOCK_MAX).min(max.saturating_sub(reserved));
        if block == 0 {
            return Err(day_is_full(max, now));
        }
        let value = Bytes::from((reserved + block).to_string());
        match shared.store.put(&key, claim.as_ref().map(|claim| claim.revision), value).await {
            Ok(_) => {
                if claim.is_none() {
                    let (shared, app) = (Arc::clone(shared), app.clone());
                    shared.tasks.clone().spawn(async move { forget_old_days(&shared, &app, today).await });
                }
                return Ok((block, reserved + block));
            }
            Err(ClaimError::Conflict) => {}
            Err(ClaimError::Unavailable(error)) => return Err(unavailable(&key, &error)),
            Err(ClaimError::TooLarge(_)) => break,
        }
    }
    Err(Reason::Overloaded.because("too many conferences are made at once; try again"))
}

fn day_is_full(max: u32, now: Timestamp) -> Refusal {
    let detail = format!("this app has made {max} conferences today (UTC), as many as it may in a day");
    let full = Reason::RateLimited.because(detail).at("rooms_per_day_max");
    full.after(Duration::from_millis(DAY_MS - now.0 % DAY_MS))
}

fn number(value: &[u8]) -> Result<u32, ()> {
    std::str::from_utf8(value).map_err(|_| ())?.parse().map_err(|_| ())
}

fn unavailable(key: &ClaimKey, error: &StoreError) -> Refusal {
    tracing::error!(claim = %key, %error, "the store did not do what it was asked");
    error.refusal()
}

/// Yesterday's number stays: a clock that is set back a little must find it.
async fn forget_old_days(shared: &Shared, app: &AppId, today: u64) {
    let Ok(under) = ClaimKey::from_parts(&[DAYS_CLAIM, app.as_str()]) else { return };
    // More days than a page holds are left for the next day.
    let Ok(page) = shared.store.list(&under, None, PAGE_ITEMS_MAX).await else { return };
    for (key, claim) in page {
        let day = key.part(2).and_then(|day| day.parse::<u64>().ok());
        if day.is_some_and(|day| day + 1 < today)
            && let Err(error) = shared.store.delete(&key, claim.revision).await
        {
            tracing::warn!(claim = %key, %error, "the number of an old day stays for now");
        }
    }
}

#[cfg(test)]
mod tests;
