//! The newest entries of one conference, for all of its sockets.

use std::collections::VecDeque;
use std::sync::Arc;

use super::entry::Entry;
use crate::domain::Seq;

/// Entries kept: a storm of joins into a full LIVE conference fits, so that its sockets need not resume.
pub(super) const ENTRIES_MAX: usize = 1024;
/// Bytes kept, counted as JSON: a thousand ordinary entries, or some hundred with the largest `ext`.
pub(super) const BYTES_MAX: usize = 512 * 1024;

/// What a cursor finds.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// The first entry after it.
    Entry(Arc<Entry>),
    /// Nothing has happened since.
    UpToDate,
    /// What comes next is no longer kept.
    Gone,
}

#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Everything after this number is kept.
    floor: Seq,
    bytes: usize,
    entries: VecDeque<Arc<Entry>>,
}

impl Ring {
    /// Keeps nothing of up to `seq`.
    pub(super) fn reset(&mut self, seq: Seq) {
        *self = Self { floor: seq, ..Self::default() };
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.entries.push_back(Arc::new(entry));
        while self.entries.len() > ENTRIES_MAX || (self.bytes > BYTES_MAX && self.entries.len() > 1) {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.floor = oldest.seq;
        }
    }

    pub(super) fn holds_after(&self, cursor: Seq) -> bool {
        cursor >= self.floor
    }

    pub(super) fn after(&self, cursor: Seq) -> Next {
        if !self.holds_after(cursor) {
            return Next::Gone;
        }
        let at = self.entries.partition_point(|entry| entry.seq <= cursor);
        self.entries.get(at).map_or(Next::UpToDate, |entry| Next::Entry(Arc::clone(entry)))
    }
}
