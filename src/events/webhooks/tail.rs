//! Reads the log of all conferences and notes in the lanes what is to be told.
//!
//! Targets that stand at the same place share one reading. One that was full, or that comes back from a restart with an
//! older position, reads by itself, page by page in turn with the others, until it stands where they stand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use super::run::Run;
use crate::domain::{AppId, ConferenceId, Timestamp};
use crate::store::{Followed, Position, StoreError};

/// Records that are read at once.
const RECORDS_AT_ONCE: usize = 256;
/// How long it waits after the store failed.
const STORE_WAIT: Duration = Duration::from_secs(1);
/// Conferences whose app is remembered: those that the log tells of now, not all that ever were.
const APPS_KNOWN_MAX: usize = 4096;

/// Whose conference it is, as far as was asked lately.
#[derive(Default)]
struct Apps(BTreeMap<ConferenceId, AppId>);

/// Follows the log until `stop` is cancelled. Without targets it reads nothing.
pub(super) async fn follow(shared: Arc<Shared>, stop: CancellationToken) {
    let mut changes = shared.store.changes();
    let mut apps = Apps::default();
    while !stop.is_cancelled() {
        changes.mark_unchanged();
        let more = match read_once(&shared, &mut apps).await {
            Ok(more) => more,
            Err(error) => {
                tracing::error!(%error, "webhooks cannot read the log");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(STORE_WAIT) => true,
                }
            }
        };
        if more {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.tail.notified() => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Gives each group of targets its next page. False where nobody found anything.
async fn read_once(shared: &Shared, apps: &mut Apps) -> Result<bool, StoreError> {
    let mut groups: BTreeMap<Position, Vec<Arc<Run>>> = BTreeMap::new();
    for run in shared.all_runs() {
        let mut lanes = run.lanes.lock();
        if !lanes.is_full() {
            let read = lanes.read;
            drop(lanes);
            groups.entry(read).or_default().push(run);
        }
    }
    let mut more = false;
    for (from, mut group) in groups {
        let page = shared.store.follow_all(from, RECORDS_AT_ONCE).await?;
        more |= !page.is_empty();
        let mut before = (from, None);
        for followed in page {
            let app = apps.of(shared, &followed).await?;
            group.retain(|run| hand_over(run, app.as_ref(), &followed, before));
            before = (followed.position, followed.record.events.last().map(|last| last.at));
        }
        for run in group {
            run.lanes.lock().read_to(before);
        }
    }
    Ok(more)
}

/// Notes a record for a target; false where it has no place for it and stays behind.
fn hand_over(
    run: &Run,
    app: Option<&AppId>,
    followed: &Followed,
    before: (Position, Option<Timestamp>),
) -> bool {
    if app != Some(&run.keeper.app) {
        return true;
    }
    let events = &followed.record.events;
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return true };
    let mut lanes = run.lanes.lock();
    // A turn that begins now is sure of everything up to here.
    lanes.read_to(before);
    let taken = lanes.observe(&followed.conference, (first.seq, last.seq), first.at, before.0);
    drop(lanes);
    if taken {
        run.wake.notify_one();
    }
    taken
}

impl Apps {
    /// The app of the conference; `None` where its log is gone.
    async fn of(&mut self, shared: &Shared, followed: &Followed) -> Result<Option<AppId>, StoreError> {
        let id = &followed.conference;
        if let Some(app) = followed.record.created_in() {
            return Ok(Some(self.learn(id, app.clone())));
        }
        if let Some(app) = self.0.get(id) {
            return Ok(Some(app.clone()));
        }
        if let Some(open) = shared.conferences.open_now(id) {
            return Ok(Some(self.learn(id, open.settings.app.clone())));
        }
        let status = shared.store.status(id).await?;
        Ok(status.and_then(|status| status.app).map(|app| self.learn(id, app)))
    }

    fn learn(&mut self, id: &ConferenceId, app: AppId) -> AppId {
        if self.0.len() >= APPS_KNOWN_MAX {
            self.0.clear();
        }
        self.0.insert(id.clone(), app.clone());
        app
    }
}
