//! From snapshots and records to a conference.

use crate::domain::{Conference, ConferenceId, Event, Record, Seq};
use crate::store::{PAGE_ITEMS_MAX, Revision, Snapshot, SnapshotAt, Store, StoreError};

/// The layout of [`Conference`] in a snapshot. What a snapshot holds may be gone from its log, so a release that writes
/// another layout must go on reading this one.
const SNAPSHOT_FORMAT: u32 = 1;

/// The conference that `snapshot` holds; `None` if this release does not read its layout.
pub fn conference_of(snapshot: &Snapshot) -> Option<Conference> {
    (snapshot.format() == SNAPSHOT_FORMAT).then(|| serde_json::from_slice(snapshot.bytes()).ok()).flatten()
}

/// `conference` as a snapshot; `None` if it is larger than any store keeps.
pub fn snapshot_of(conference: &Conference) -> Option<Snapshot> {
    let bytes = serde_json::to_vec(conference).ok()?;
    Snapshot::new(SNAPSHOT_FORMAT, conference.seq, bytes.into()).ok()
}

/// `conference` after `record`. A log begins with a creation; of one whose beginning is missing nothing can be told.
pub fn fold(mut conference: Option<Conference>, record: &Record) -> Option<Conference> {
    for recorded in &record.events {
        match (&mut conference, &recorded.event) {
            (None, Event::ConferenceCreated(_)) => conference = Conference::found(recorded),
            (Some(conference), _) => conference.replay(recorded),
            (None, _) => {}
        }
    }
    conference
}

/// The newest state that a log gives.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) conference: Conference,
    pub(super) revision: Revision,
    /// The last event that the snapshot held from which it was read.
    pub(super) snapshot: Seq,
}

/// The fold of a whole log: the newest snapshot that can be read, then every record after it.
pub(super) async fn load(store: &dyn Store, id: &ConferenceId) -> Result<Option<Loaded>, StoreError> {
    let newest = store.snapshot(id, SnapshotAt::Newest).await?;
    let is_there = newest.is_some();
    let begun = newest.and_then(|(revision, snapshot)| Some((conference_of(&snapshot)?, revision)));
    let (mut conference, mut revision) =
        begun.map_or((None, Revision::START), |(conference, revision)| (Some(conference), revision));
    let snapshot = conference.as_ref().map_or(Seq(0), |conference| conference.seq);
    loop {
        let page = store.read(id, revision, PAGE_ITEMS_MAX).await?;
        if page.is_empty() {
            break;
        }
        for (at, record) in page {
            revision = at;
            conference = fold(conference, &record);
        }
    }
    match conference {
        Some(conference) => Ok(Some(Loaded { conference, revision, snapshot })),
        None if revision == Revision::START && !is_there => Ok(None),
        // To go on without it would be to lose it.
        None => Err(StoreError::Damaged {
            home: "the store".to_owned(),
            place: format!("the log of {id}"),
            fault: "its beginning is missing, and no snapshot that this release can read stands for it"
                .to_owned(),
        }),
    }
}
