//! What stands in the log, for readers that missed it.
//!
//! What an event is to its readers needs the conference as it stood then, so a reading folds. It begins at the newest
//! snapshot that is not after the place asked for: its work follows the distance of two snapshots and the events
//! asked for, not the length of the log.

use super::entry::{Entry, fold};
use crate::conferences::folding::conference_of;
use crate::domain::event::ExitReason;
use crate::domain::{Conference, ConferenceId, Event, MemberId, Record, Recorded, Seq};
use crate::store::{Revision, SnapshotAt, Store, StoreError};

/// Records read at once: with a snapshot every thousand events one or two pages are enough, and a page that turns out
/// to be too much is not much too much.
const PAGE_RECORDS: usize = 256;

/// Which events are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Those after this one.
    pub after: Seq,
    /// Up to and with this one.
    pub through: Seq,
    /// Most entries.
    pub entries_max: usize,
    /// Most events that are looked at; not every event becomes an entry.
    pub events_max: usize,
}

/// Entries of the log.
#[derive(Debug)]
pub struct Past {
    /// The event after which they begin: the one asked for, or a later one where the log was trimmed.
    pub from: Seq,
    /// What readers are shown of the events after `from`.
    pub entries: Vec<Entry>,
    /// Through which event they tell everything.
    pub told: Seq,
}

/// Reads past events. Where the log was trimmed after `wanted.after`, it begins at the oldest event that is kept; `None`
/// where none is.
pub(super) async fn past(
    store: &dyn Store,
    id: &ConferenceId,
    wanted: Wanted,
) -> Result<Option<Past>, StoreError> {
    for which in [SnapshotAt::UpTo(wanted.after), SnapshotAt::Oldest] {
        let past = Reading::begin(store, id, which).await?.run(store, id, wanted).await?;
        if past.is_some() {
            return Ok(past);
        }
    }
    Ok(None)
}

/// A fold on its way through the log.
struct Reading {
    /// `None` before the creation.
    conference: Option<Conference>,
    revision: Revision,
}

impl Reading {
    /// Begins at a snapshot, or at the beginning of the log where this release has none that it can read.
    async fn begin(store: &dyn Store, id: &ConferenceId, which: SnapshotAt) -> Result<Self, StoreError> {
        let found = store.snapshot(id, which).await?;
        let begun = found.and_then(|(revision, snapshot)| Some((conference_of(&snapshot)?, revision)));
        Ok(match begun {
            Some((conference, revision)) => Self { conference: Some(conference), revision },
            None => Self { conference: None, revision: Revision::START },
        })
    }

    /// `None` where an event is missing between the place where it began and the first that is wanted.
    async fn run(
        mut self,
        store: &dyn Store,
        id: &ConferenceId,
        wanted: Wanted,
    ) -> Result<Option<Past>, StoreError> {
        let from = self.conference.as_ref().map_or(Seq(0), |conference| conference.seq).max(wanted.after);
        let mut past = Past { from, entries: Vec::new(), told: from };
        let mut events = 0;
        loop {
            let page = store.read(id, self.revision, PAGE_RECORDS).await?;
            let Some((last, _)) = page.last() else { return Ok(self.conference.is_some().then_some(past)) };
            self.revision = *last;
            for recorded in page.iter().flat_map(|(_, record)| &record.events) {
                let is_full = past.entries.len() >= wanted.entries_max || events >= wanted.events_max;
                if recorded.seq > wanted.through || is_full {
                    return Ok(Some(past));
                }
                let is_wanted = recorded.seq > from;
                let Some(entry) = self.step(recorded, is_wanted) else { return Ok(None) };
                if is_wanted {
                    events += 1;
                    past.told = recorded.seq;
                    past.entries.extend(entry);
                }
            }
        }
    }

    /// Folds the next event; `None` if it is not the next one.
    fn step(&mut self, recorded: &Recorded, is_wanted: bool) -> Option<Option<Entry>> {
        match &mut self.conference {
            None => {
                self.conference = Some(Conference::found(recorded)?);
                Some(None)
            }
            Some(conference) if recorded.seq != conference.seq.next() => None,
            Some(conference) if is_wanted => Some(fold(conference, recorded)),
            Some(conference) => {
                conference.replay(recorded);
                Some(None)
            }
        }
    }
}

/// Why the stay of `gone` that began with `epoch` is over, where the log still tells.
pub(super) async fn exit_reason(
    store: &dyn Store,
    id: &ConferenceId,
    gone: &MemberId,
    epoch: Seq,
) -> Result<Option<ExitReason>, StoreError> {
    let begin = store.snapshot(id, SnapshotAt::UpTo(epoch)).await?;
    let mut revision = begin.map_or(Revision::START, |(revision, _)| revision);
    loop {
        let page = store.read(id, revision, PAGE_RECORDS).await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        revision = *last;
        if let Some(reason) = page.iter().find_map(|(_, record)| exit_in(record, gone)) {
            return Ok(Some(reason));
        }
    }
}

fn exit_in(record: &Record, gone: &MemberId) -> Option<ExitReason> {
    record.events.iter().find_map(|recorded| match &recorded.event {
        Event::MemberExited { member, reason } if member == gone => Some(*reason),
        Event::ConferenceEnded { members } if members.contains(gone) => Some(ExitReason::ConferenceClosed),
        _ => None,
    })
}
