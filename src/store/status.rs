//! What the store tells of a log without reading it.

use crate::domain::{AppId, ConferenceId, Seq, Timestamp};

use super::Revision;

/// Where a log stands. It outlives the log's records, until the log is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// The app that the first record names; `None` for a log that does not begin with a creation.
    pub app: Option<AppId>,
    /// The newest record, kept here though the record may be trimmed.
    pub head: Revision,
    /// When it ended; `None` while it is open.
    pub ended_at: Option<Timestamp>,
}

/// One line of [`super::Log::ended_conferences`], and the place to go on after it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndedLog {
    /// When it ended.
    pub at: Timestamp,
    /// Whose log it is.
    pub conference: ConferenceId,
}

/// Which of the ended logs are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedPart {
    /// All that were not forgotten.
    All,
    /// Those of which a record is left.
    WithRecords,
}

/// Which snapshot of a log is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotAt {
    /// The one from which the newest state is reached soonest.
    Newest,
    /// The newest that holds nothing after this event.
    UpTo(Seq),
    /// The one from which the most records can be followed: all that are kept, where trimming stopped at it.
    Oldest,
}
