//! What can go wrong in a store.

use super::RECORD_BYTES_MAX;
use crate::domain::{Reason, Refusal};

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// As much waits for the store as it lets wait. Nothing was done.
    #[error("the store is overloaded: try again in a moment")]
    Busy,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The engine failed. Whether a change was kept is not known.
    #[error("{home}: {fault}; {remedy}")]
    Failed {
        /// The file or server that failed.
        home: String,
        /// What the engine said.
        fault: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Something stands in the store that cannot be read.
    #[error(
        "{home}: {place} is damaged ({fault}); restore the store from a backup, and keep the damaged one"
    )]
    Damaged {
        /// The file or server that holds it.
        home: String,
        /// Which item.
        place: String,
        /// What is wrong with it.
        fault: String,
    },
}

impl StoreError {
    /// What is said to whoever wanted something that needs the store, and may want it again. What the store says is for the log.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Busy => Reason::Overloaded.because("too much waits for the store; try again"),
            _ => Reason::StoreUnavailable.because("the store does not answer or cannot write; try again"),
        }
    }
}

/// Why a record was not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Somebody appended in between.
    #[error("the log has moved on: reread it and decide anew")]
    Conflict,
    /// The record at `expected` ended the conference: nothing can follow it.
    #[error("the log has ended")]
    Ended,
    /// A record without events.
    #[error("a record holds at least one event")]
    Empty,
    /// A record that no home could keep.
    #[error(transparent)]
    TooLarge(TooLarge),
    /// The store failed; the record may have been kept or not.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
}

impl AppendError {
    pub(super) fn check_len(bytes: usize) -> Result<(), Self> {
        TooLarge::check("a record", bytes, RECORD_BYTES_MAX).map_err(Self::TooLarge)
    }
}

/// Why a claim was not put or deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The claim does not have the expected revision.
    #[error("the claim has changed: get it and decide anew")]
    Conflict,
    /// A value that no home could keep.
    #[error(transparent)]
    TooLarge(TooLarge),
    /// The store failed; the change may have been kept or not.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
}

/// More bytes than fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {bytes} bytes: at most {bytes_max} fit")]
pub struct TooLarge {
    what: &'static str,
    bytes: usize,
    bytes_max: usize,
}

impl TooLarge {
    pub(super) fn check(what: &'static str, bytes: usize, bytes_max: usize) -> Result<(), Self> {
        if bytes <= bytes_max { Ok(()) } else { Err(Self { what, bytes, bytes_max }) }
    }
}
