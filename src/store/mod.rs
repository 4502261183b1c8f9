//! The event log and the claims: everything that outlives the process.
//!
//! Two doors in one store. [`Log`] keeps the ordered records of each conference, [`Claims`] keeps small keyed values
//! that span conferences. Both are changed by compare-and-set only, and both answer only when the change is durable.
//!
//! Homes: [`MemoryStore`] for tests, [`EmbeddedStore`] for one machine. Each passes the whole contract suite
//! (`contract.rs`); a new home calls `contract_suite!` with a function that opens it.
//!
//! What a home may rely on: numbers are opaque, so it hands out its engine's own; a revision is asked for only after
//! the append was acknowledged; no change touches two logs, two claims, or a log and a claim.

mod claim_key;
#[cfg(test)]
pub(crate) mod contract;
mod embedded;
mod error;
mod memory;
mod record_text;
mod status;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::domain::{ConferenceId, Record, Seq, Timestamp};

pub use claim_key::{CLAIM_KEY_BYTES_MAX, ClaimKey, InvalidClaimKey};
pub use embedded::{
    BackupError, BackupFacts, EmbeddedStore, OpenError, StoreStats, back_up, inspect, store_file,
};
pub use error::{AppendError, ClaimError, StoreError, TooLarge};
pub use memory::{AppendFault, Faults, HeldAppends, MemoryStore};
pub use status::{EndedLog, EndedPart, LogStatus, SnapshotAt};

/// Longest record, in bytes of its JSON: half of what a NATS server accepts in one message by default (1 MiB), so
/// that every home can keep every record. A full conference joining at once takes a third of it.
pub const RECORD_BYTES_MAX: usize = 512 * 1024;
/// Longest snapshot, in bytes: some 600 members, each with the largest `ext`, four times over.
pub const SNAPSHOT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest value of a claim, in bytes: claims are names, cursors and keys, not documents.
pub const CLAIM_VALUE_BYTES_MAX: usize = 64 * 1024;
/// Most items in one page of any listing, whatever the caller asks for: a page of ordinary records stays well
/// below [`PAGE_BYTES_MAX`].
pub const PAGE_ITEMS_MAX: usize = 1_000;
/// A page ends with the item that reaches this many bytes, so that one page of the largest records does not
/// exhaust the memory of a small machine.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most records that one [`Log::trim`] removes, so that it does not hold up the appends that wait behind it.
pub const TRIM_RECORDS_MAX: usize = 256;

/// Where a conference's log stands: the number of its newest record.
///
/// Later records have greater revisions, but not by one: two revisions of one log may be compared, never counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// Before the first record.
    pub const START: Self = Self(0);
    /// After every record.
    pub const END: Self = Self(u64::MAX);
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a record stands among the records of all logs. May be compared and stored, never counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(u64);

impl Position {
    /// Before the first record of any log.
    pub const START: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which of its values a claim holds. Never given twice to one key, not even after a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimRevision(u64);

impl fmt::Display for ClaimRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A folded conference, so that a start need not read its log from the beginning. The store does not look inside.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    format: u32,
    seq: Seq,
    bytes: Bytes,
}

impl Snapshot {
    /// Wraps the fold of everything up to the event `seq`. `format` tells a later version whether it can read the
    /// bytes; where it cannot, it reads the log instead.
    pub fn new(format: u32, seq: Seq, bytes: Bytes) -> Result<Self, TooLarge> {
        TooLarge::check("a snapshot", bytes.len(), SNAPSHOT_BYTES_MAX)?;
        Ok(Self { format, seq, bytes })
    }

    /// The last event that is folded in.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The number given at its making.
    pub fn format(&self) -> u32 {
        self.format
    }

    /// The bytes given at its making.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Without the bytes: they hold password hashes.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot {{ format: {}, seq: {}, {} bytes }}", self.format, self.seq, self.bytes.len())
    }
}

/// A record as [`Log::follow_all`] gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// Where to go on after it.
    pub position: Position,
    /// Whose log it stands in.
    pub conference: ConferenceId,
    /// Its revision in that log.
    pub revision: Revision,
    /// The record.
    pub record: Record,
}

/// What stands under a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// To be named by whoever replaces or deletes it.
    pub revision: ClaimRevision,
    /// The value, as it was put.
    pub value: Bytes,
}

/// Without the value: some claims are keys.
impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claim {{ revision: {}, {} bytes }}", self.revision, self.value.len())
    }
}

/// The records of all conferences.
///
/// Pages: `limit` is taken as at least 1 and at most [`PAGE_ITEMS_MAX`], and a page also ends at
/// [`PAGE_BYTES_MAX`]. A short page may have a successor; an empty page is the end.
#[async_trait]
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// Adds `record` if the log still stands at `expected`, and answers when it is durable.
    ///
    /// After [`AppendError::Unavailable`], or if the caller does not wait for the answer, the record may have been
    /// kept or not: reread before deciding anew.
    async fn append(
        &self,
        conference: &ConferenceId,
        expected: Revision,
        record: &Record,
    ) -> Result<Revision, AppendError>;

    /// The records after `after`, oldest first. Trimmed ones are missing, which shows in the numbers of the events.
    async fn read(
        &self,
        conference: &ConferenceId,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<(Revision, Record)>, StoreError>;

    /// One of the log's snapshots and the revision that it was folded up to. Every record after it is kept.
    async fn snapshot(
        &self,
        conference: &ConferenceId,
        which: SnapshotAt,
    ) -> Result<Option<(Revision, Snapshot)>, StoreError>;

    /// Keeps `snapshot` as the fold up to `at`, beside those of other revisions. One from before the oldest record
    /// that is kept, or of a log that is not there, is dropped without an error: the caller lost a race and nothing
    /// else.
    async fn put_snapshot(
        &self,
        conference: &ConferenceId,
        at: Revision,
        snapshot: &Snapshot,
    ) -> Result<(), StoreError>;

    /// Removes up to [`TRIM_RECORDS_MAX`] of the oldest records up to and with `through`, and tells how many: call it
    /// again until it answers 0. A follower that had not come so far misses them.
    ///
    /// Of an open log it never removes a record that the newest snapshot does not hold. Snapshots from before the last
    /// record that was removed go with it; so whoever wants to follow what is left puts one at `through` first. Of an
    /// ended log nobody needs the fold: it may be removed whole, with its snapshots, and its status stays.
    async fn trim(&self, conference: &ConferenceId, through: Revision) -> Result<usize, StoreError>;

    /// Removes an ended log with its snapshots and its status. A log that has not ended stays.
    async fn forget(&self, conference: &ConferenceId) -> Result<(), StoreError>;

    /// Where the log stands, without reading it; `None` where there is none, or none any more.
    async fn status(&self, conference: &ConferenceId) -> Result<Option<LogStatus>, StoreError>;

    /// The logs after `after` that ended up to and with `until`, those that ended first in front. Costs nothing for
    /// others.
    async fn ended_conferences(
        &self,
        part: EndedPart,
        after: Option<&EndedLog>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<EndedLog>, StoreError>;

    /// The conferences after `after` whose logs have not ended, in the order of their ids. Costs nothing for those
    /// that have.
    async fn open_conferences(
        &self,
        after: Option<&ConferenceId>,
        limit: usize,
    ) -> Result<Vec<ConferenceId>, StoreError>;

    /// The records of all logs after `after`: each exactly once, those of one log in their order.
    async fn follow_all(&self, after: Position, limit: usize) -> Result<Vec<Followed>, StoreError>;

    /// Changes when records have become durable; its value is the position of the newest.
    ///
    /// A follower takes it before it reads, reads until a page is empty, then awaits the change. An error from it
    /// means that the store is closed.
    fn changes(&self) -> watch::Receiver<Position>;

    /// The position of the newest record: a follower that starts here sees only what comes.
    async fn head(&self) -> Result<Position, StoreError>;
}

/// Small keyed values with compare-and-set.
#[async_trait]
pub trait Claims: fmt::Debug + Send + Sync + 'static {
    /// What stands under `key`.
    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>, StoreError>;

    /// Sets the value if the claim still has the revision `expected`; `None` demands that nothing stands there.
    ///
    /// After [`ClaimError::Unavailable`] the value may have been kept or not: get it before trying anew.
    async fn put(
        &self,
        key: &ClaimKey,
        expected: Option<ClaimRevision>,
        value: Bytes,
    ) -> Result<ClaimRevision, ClaimError>;

    /// Removes the claim if it still has the revision `expected`.
    async fn delete(&self, key: &ClaimKey, expected: ClaimRevision) -> Result<(), ClaimError>;

    /// The claims below `under` (`rooms` holds `rooms/a`, not `rooms` itself and not `roomsize`), after the key
    /// `after`, in the byte order of their keys. Pages as in [`Log`].
    async fn list(
        &self,
        under: &ClaimKey,
        after: Option<&ClaimKey>,
        limit: usize,
    ) -> Result<Vec<(ClaimKey, Claim)>, StoreError>;
}

/// Both doors.
pub trait Store: Log + Claims {}

impl<T: Log + Claims> Store for T {}

/// Takes items until the page is full, by number or by bytes.
struct PageBudget {
    items: usize,
    bytes: usize,
}

impl PageBudget {
    fn new(limit: usize) -> Self {
        Self { items: limit.clamp(1, PAGE_ITEMS_MAX), bytes: PAGE_BYTES_MAX }
    }

    /// Most items that the page can still hold.
    fn items(&self) -> usize {
        self.items
    }

    fn is_full(&self) -> bool {
        self.items == 0 || self.bytes == 0
    }

    fn take(&mut self, bytes: usize) {
        self.items = self.items.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
