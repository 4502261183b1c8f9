//! How a conference gets into memory: made by this process, or found in the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::folding::{Loaded, load};
use super::quota::Permit;
use super::room::{Room, Shared, read_after};
use super::{Done, refuse_append};
use crate::domain::conference::{Join, decide};
use crate::domain::{
    Command, Conference, ConferenceId, Created, Event, Mark, Record, Refusal, Seq, Timestamp,
};
use crate::store::{AppendError, Revision, StoreError};

/// Conferences whose first record this process is writing: in the log already, perhaps, and not yet in memory.
#[derive(Default)]
pub(super) struct InMaking(Mutex<BTreeSet<ConferenceId>>);

/// Takes the id off the list when its conference is in memory, or did not come to be.
struct Making<'a>(&'a InMaking, ConferenceId);

impl InMaking {
    fn enter(&self, id: &ConferenceId) -> Making<'_> {
        self.0.lock().insert(id.clone());
        Making(self, id.clone())
    }

    fn contains(&self, id: &ConferenceId) -> bool {
        self.0.lock().contains(id)
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}

/// Creates a conference and lets `first` in, where given, in one record: nobody finds it without its creator.
pub(super) async fn create(
    permit: &mut Permit,
    created: Created,
    first: Option<(Join, Option<Mark>)>,
    now: Timestamp,
) -> Result<Done, Refusal> {
    let shared = Arc::clone(permit.shared());
    let (mut conference, creation) = Conference::create(created, now);
    let mut record = Record { events: vec![creation] };
    if let Some((join, mark)) = first {
        let mut joined = decide(&conference, &Command::Join(Box::new(join)))?;
        if let Some(mark) = mark {
            let last = Seq(conference.seq.0 + 1 + joined.len() as u64);
            joined.insert(0, Event::Marked { mark, last });
        }
        record.events.extend(joined.into_iter().map(|event| conference.record(event, now)));
    }
    let _making = shared.in_making.enter(conference.id());
    // From here on the store may keep it, whatever it answers.
    permit.used(true);
    let appended = shared.store.append(conference.id(), Revision::START, &record).await;
    shared.note_append(&appended);
    if let Err(AppendError::Unavailable(StoreError::Busy)) = &appended {
        permit.used(false);
    }
    let revision = appended.map_err(|error| refuse_append(conference.id(), &error))?;
    let room = Room::new(Loaded { conference, revision, snapshot: Seq(0) });
    let durable = room.durable();
    shared.tell_watchers(&durable, &record.events);
    permit.enter(room);
    Ok(Done { events: record.events, seq: durable.seq, conference: durable, repeats: None })
}

/// What is known of a conference that somebody names.
pub(super) enum Whereabouts {
    /// It goes on, and is in memory.
    Open(Arc<Conference>),
    /// It has ended.
    Ended,
    /// The log does not have it, or does not yet.
    Absent,
}

/// Looks for a conference in memory and in the log. One that is in the log alone is taken into memory: another process
/// made it, or the store had kept its first record without an answer.
pub(super) async fn find_or_adopt(
    shared: &Arc<Shared>,
    id: &ConferenceId,
) -> Result<Whereabouts, StoreError> {
    if let Some(found) = in_memory(shared, id) {
        return Ok(found);
    }
    match shared.store.status(id).await? {
        None => return Ok(Whereabouts::Absent),
        Some(log) if log.ended_at.is_some() => return Ok(Whereabouts::Ended),
        Some(_) => {}
    }
    let _turn = shared.adopting.lock().await;
    let Some(loaded) = load(&*shared.store, id).await? else {
        return Ok(Whereabouts::Absent);
    };
    if loaded.conference.is_ended() {
        return Ok(Whereabouts::Ended);
    }
    let records = read_after(&*shared.store, id, Revision::START).await?;
    // Whoever made it here may have finished meanwhile.
    if let Some(found) = in_memory(shared, id) {
        return Ok(found);
    }
    let events: Vec<_> = records
        .into_iter()
        .filter(|(at, _)| *at <= loaded.revision)
        .flat_map(|(_, record)| record.events)
        .collect();
    tracing::info!(conference = %id, "taken over from the log");
    let room = Room::new(loaded);
    let durable = room.durable();
    shared.tell_watchers(&durable, &events);
    shared.rooms.enter(room);
    Ok(Whereabouts::Open(durable))
}

fn in_memory(shared: &Shared, id: &ConferenceId) -> Option<Whereabouts> {
    // In this order: what is being made enters memory before it leaves the list.
    let in_making = shared.in_making.contains(id);
    match shared.rooms.find(id).map(|room| room.durable()) {
        Some(conference) if conference.is_ended() => Some(Whereabouts::Ended),
        Some(conference) => Some(Whereabouts::Open(conference)),
        None => in_making.then_some(Whereabouts::Absent),
    }
}
