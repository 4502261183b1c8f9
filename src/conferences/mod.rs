//! The running conferences: the one place that takes a command, decides, appends, applies and answers.
//!
//! Every open conference is a [`room::Room`] in memory. A command is decided at once on the room's *head*, the state
//! ahead of the disk; commands that arrive while an append is under way leave together as the next record. Readers,
//! answers and new rights see the *durable* state only. Between a record becoming durable and its commands being
//! answered, every [`Watcher`] is told: whoever revokes rights has done so when the answer arrives.

pub mod apps;
mod creation;
pub mod keys;
pub mod named;
pub mod passwords;
mod room;
mod rooms;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::domain::{
    AppId, Command, Conference, ConferenceId, Created, Event, MediaRight, Reason, Record, Recorded, Refusal,
    Seq, Timestamp,
};
use crate::store::{AppendError, PAGE_ITEMS_MAX, Revision, Snapshot, Store, StoreError};
use room::{Room, Shared};

/// The layout of [`Conference`] in a snapshot. A snapshot of another layout is ignored and the log is read instead.
const SNAPSHOT_FORMAT: u32 = 1;

/// Hears of every durable record, in the order of its conference, before its commands are answered. Must be quick:
/// the conference's next append waits for it.
pub trait Watcher: Send + Sync + 'static {
    /// `conference` stands after `events`.
    fn recorded(&self, conference: &Conference, events: &[Recorded]);
}

/// The answer to a command, given when everything that it follows from is durable.
#[derive(Debug, Clone)]
pub struct Done {
    /// What the command led to; empty if it changed nothing.
    pub events: Vec<Recorded>,
    /// The durable conference, at or after this command.
    pub conference: Arc<Conference>,
    /// The number of the newest event right after this command. A ticket issued by it carries this.
    pub seq: Seq,
}

/// All open conferences.
pub struct Conferences {
    shared: Arc<Shared>,
}

impl Conferences {
    /// Reads every open conference from the store. Costs nothing for ended ones.
    pub async fn open(
        store: Arc<dyn Store>,
        watchers: Vec<Arc<dyn Watcher>>,
    ) -> Result<Arc<Self>, StoreError> {
        let shared = Arc::new(Shared::new(store, watchers));
        let mut after: Option<ConferenceId> = None;
        loop {
            let page = shared.store.open_conferences(after.as_ref(), PAGE_ITEMS_MAX).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            for id in page {
                if let Some((conference, revision)) = load(&*shared.store, &id).await? {
                    shared.rooms.enter(Room::new(conference, revision));
                }
            }
        }
        named::sweep(&shared).await?;
        Ok(Arc::new(Self { shared }))
    }

    /// Creates a conference; answered when durable. Goes on if the caller does not wait for it.
    pub async fn create(&self, created: Created, now: Timestamp) -> Result<Arc<Conference>, Refusal> {
        let shared = Arc::clone(&self.shared);
        let creation =
            self.shared.tasks.spawn(async move { creation::create(&shared, created, None, now).await });
        let made = creation.await;
        made.unwrap_or_else(|_| Err(Reason::StoreUnavailable.because("the creation was given up")))
            .map(|done| done.conference)
    }

    /// Decides `command` and answers when its events, and all that they follow from, are durable and the watchers
    /// have been told.
    pub async fn execute(
        &self,
        id: &ConferenceId,
        command: Command,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        let Some(room) = self.room(id) else { return Err(self.absent(None, id).await) };
        room.execute(&self.shared, command, now).await
    }

    /// The durable state of an open conference of `app`.
    pub async fn find(&self, app: &AppId, id: &ConferenceId) -> Result<Arc<Conference>, Refusal> {
        match self.room(id).map(|room| room.durable()) {
            Some(conference) if conference.settings.app != *app => Err(not_found(id)),
            Some(conference) if conference.is_ended() => Err(closed()),
            Some(conference) => Ok(conference),
            None => Err(self.absent(Some(app), id).await),
        }
    }

    /// The durable state of an open conference of any app. Asks memory only.
    pub fn open_now(&self, id: &ConferenceId) -> Option<Arc<Conference>> {
        self.room(id).map(|room| room.durable())
    }

    /// Open conferences of `app` after `after`, in the order of their ids.
    pub fn list(&self, app: &AppId, after: Option<&ConferenceId>, limit: usize) -> Vec<Arc<Conference>> {
        self.shared.rooms.list(app, after, limit)
    }

    /// Every open conference as it stands.
    pub fn all(&self) -> Vec<Arc<Conference>> {
        self.shared.rooms.all()
    }

    /// Whether a right from a genuine URL holds now. Asks memory only: the media path does not wait for a store.
    pub fn media_right(&self, right: &MediaRight) -> Result<(), Refusal> {
        let Some(room) = self.room(&right.conference) else { return Err(closed()) };
        room.durable().media_right(right)
    }

    /// Why the store did not take the last record; `None` while all is well.
    pub fn store_trouble(&self) -> Option<String> {
        self.shared.trouble()
    }

    /// How many conferences are open.
    pub fn count(&self) -> usize {
        self.shared.rooms.count()
    }

    /// Waits until nothing is under way. Commands that come later are answered as ever.
    pub async fn settle(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    fn room(&self, id: &ConferenceId) -> Option<Arc<Room>> {
        self.shared.rooms.find(id)
    }

    /// Why a conference that is not open is not: it has ended, or it never was (in `app`, where one asks).
    async fn absent(&self, app: Option<&AppId>, id: &ConferenceId) -> Refusal {
        let ended = match load(&*self.shared.store, id).await {
            Ok(loaded) => loaded.map(|(conference, _)| conference),
            Err(error) => return store_unavailable(id, &error),
        };
        match ended {
            Some(conference) if app.is_none_or(|app| *app == conference.settings.app) => closed(),
            _ => not_found(id),
        }
    }
}

fn not_found(id: &ConferenceId) -> Refusal {
    Reason::ConferenceNotFound.because(format!("there is no conference {id}"))
}

fn closed() -> Refusal {
    Reason::ConferenceClosed.because("the conference has ended")
}

fn store_unavailable(id: &ConferenceId, error: &StoreError) -> Refusal {
    tracing::error!(conference = %id, %error, "the store did not do what it was asked");
    match error {
        StoreError::Busy => {
            Reason::Overloaded.because("too many commands are waiting for the store; try again")
        }
        _ => {
            Reason::StoreUnavailable.because("the store does not answer or cannot write; nothing was changed")
        }
    }
}

fn refuse_append(id: &ConferenceId, error: &AppendError) -> Refusal {
    match error {
        AppendError::Unavailable(error) => store_unavailable(id, error),
        AppendError::Ended => closed(),
        AppendError::TooLarge(too_large) => Reason::PayloadTooLarge.because(too_large.to_string()),
        AppendError::Conflict | AppendError::Empty => {
            tracing::error!(conference = %id, %error, "an append was refused");
            Reason::StoreUnavailable.because("the store refused the record; nothing was changed")
        }
    }
}

/// The fold of a whole log: the newest snapshot that can be read, then every record after it.
async fn load(store: &dyn Store, id: &ConferenceId) -> Result<Option<(Conference, Revision)>, StoreError> {
    let snapshot = store.snapshot(id).await?;
    let mut loaded = snapshot.and_then(|(revision, snapshot)| {
        let readable = snapshot.format() == SNAPSHOT_FORMAT;
        let conference =
            readable.then(|| serde_json::from_slice::<Conference>(snapshot.bytes()).ok()).flatten()?;
        Some((conference, revision))
    });
    let mut after = loaded.as_ref().map_or(Revision::START, |(_, revision)| *revision);
    loop {
        let page = store.read(id, after, PAGE_ITEMS_MAX).await?;
        if page.is_empty() {
            return Ok(loaded);
        }
        for (revision, record) in page {
            after = revision;
            loaded = fold(loaded.map(|(conference, _)| conference), &record)
                .map(|conference| (conference, revision));
        }
    }
}

fn fold(mut conference: Option<Conference>, record: &Record) -> Option<Conference> {
    for recorded in &record.events {
        match (&mut conference, &recorded.event) {
            (None, Event::ConferenceCreated(_)) => conference = Conference::found(recorded),
            (Some(conference), _) => conference.replay(recorded),
            (None, _) => {}
        }
    }
    conference
}

fn snapshot_of(conference: &Conference) -> Option<Snapshot> {
    let bytes = serde_json::to_vec(conference).ok()?;
    Snapshot::new(SNAPSHOT_FORMAT, bytes.into()).ok()
}
