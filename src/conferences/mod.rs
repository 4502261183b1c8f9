//! The running conferences: the one place that takes a command, decides, appends, applies and answers.
//!
//! Every open conference is a [`room::Room`] in memory. A command is decided at once on the room's *head*, the state
//! ahead of the disk; commands that arrive while an append is under way leave together as the next record. Readers,
//! answers and new rights see the *durable* state only. Between a record becoming durable and its commands being
//! answered, every [`Watcher`] is told: whoever revokes rights has done so when the answer arrives.

pub mod apps;
mod creation;
pub mod folding;
pub mod keys;
pub mod named;
mod once;
pub mod passwords;
pub mod quota;
mod room;
mod rooms;
#[cfg(test)]
mod tests;
pub mod voip_sessions;

use std::sync::Arc;

use crate::domain::conference::Member;
use crate::domain::{
    AppId, Command, Conference, ConferenceId, Created, Mark, MediaRight, Reason, Recorded, Refusal, Seq,
    Timestamp,
};
use crate::store::{AppendError, PAGE_ITEMS_MAX, Store, StoreError};
use folding::load;
use quota::LimitLookup;
use room::{Room, Shared};

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
    /// The number of the first event, where the command repeats one of before and did nothing itself.
    pub repeats: Option<Seq>,
}

impl Done {
    /// The member that the command let in, if it is inside.
    pub fn joined(&self) -> Option<&Member> {
        let first = self.repeats.or_else(|| self.events.first().map(|first| first.seq))?;
        self.conference.members.values().find(|member| (first..=self.seq).contains(&member.epoch))
    }
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
                if let Some(loaded) = load(&*shared.store, &id).await? {
                    shared.rooms.enter(Room::new(loaded));
                }
            }
        }
        named::sweep(&shared).await?;
        Ok(Arc::new(Self { shared }))
    }

    /// Holds every app to its limits from now on. The first call holds; without one there are none.
    pub fn limit_apps(&self, lookup: LimitLookup) {
        self.shared.quotas.set(lookup);
    }

    /// Creates a conference; answered when durable. Goes on if the caller does not wait for it. With a mark, a conference
    /// that was created with the same mark is the answer.
    pub async fn create(&self, created: Created, now: Timestamp) -> Result<Arc<Conference>, Refusal> {
        let shared = Arc::clone(&self.shared);
        let creation = self.shared.tasks.spawn(async move {
            if created.mark.is_some() {
                return once::repeated(&shared, created, now).await;
            }
            let mut permit = quota::permit(&shared, &created.app, now).await?;
            creation::create(&mut permit, created, None, now).await.map(|done| done.conference)
        });
        creation.await.unwrap_or_else(|_| Err(Reason::StoreUnavailable.because("the creation was given up")))
    }

    /// Decides `command` and answers when its events, and all that they follow from, are durable and the watchers
    /// have been told.
    pub async fn execute(
        &self,
        id: &ConferenceId,
        command: Command,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        self.execute_once(id, command, None, now).await
    }

    /// As [`Self::execute`], but a command with the mark of one that was done decides nothing: its answer tells which
    /// events it repeats. A refused command leaves no mark.
    pub async fn execute_once(
        &self,
        id: &ConferenceId,
        command: Command,
        mark: Option<Mark>,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        let Some(room) = self.room(id) else { return Err(self.absent(None, id).await) };
        room.execute(&self.shared, command, mark, now).await
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

    /// Waits until no conference of `app` is being made.
    pub async fn creations_settled(&self, app: &AppId) {
        self.shared.quotas.settle(app).await;
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

    /// Keeps a snapshot of how the conference stands, as far as it is open. Tells whether there is one now.
    pub async fn keep_snapshot(&self, id: &ConferenceId) -> Result<bool, StoreError> {
        match self.room(id) {
            Some(room) => room.keep_snapshot(&*self.shared.store).await,
            None => Ok(false),
        }
    }

    /// Why a conference that is not open is not: it has ended, or it never was (in `app`, where one asks). What has ended is
    /// told as long as the store has its status, without reading its log.
    async fn absent(&self, app: Option<&AppId>, id: &ConferenceId) -> Refusal {
        match self.shared.store.status(id).await {
            Err(error) => store_unavailable(id, &error),
            Ok(Some(log)) if app.is_none_or(|app| log.app.as_ref() == Some(app)) => closed(),
            Ok(_) => not_found(id),
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
