//! What all streams of this gateway add up to, for as long as it runs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Sums over all streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HubTotals {
    /// Times that a viewer fell behind and passed something over.
    pub skips: u64,
    /// Pictures shown before one that was sent earlier.
    pub b_frames: u64,
    /// Times that another publisher went on with a stream.
    pub publisher_changes: u64,
    /// How long the streams stood still at these, added up.
    pub publisher_gap_ms: u64,
    /// Viewers that were handed a first picture, or sound where there are no pictures.
    pub first_frames: u64,
    /// How long they waited for it, added up.
    pub first_frame_ms: u64,
}

/// Counts them. Touched for what is rare, so that all streams may share it.
#[derive(Debug, Default)]
pub(super) struct Totals {
    skips: AtomicU64,
    b_frames: AtomicU64,
    publisher_changes: AtomicU64,
    publisher_gap_ms: AtomicU64,
    first_frames: AtomicU64,
    first_frame_ms: AtomicU64,
}

impl Totals {
    pub(super) fn add_skip(&self) {
        self.skips.fetch_add(1, Relaxed);
    }

    pub(super) fn add_b_frame(&self) {
        self.b_frames.fetch_add(1, Relaxed);
    }

    pub(super) fn add_publisher_change(&self, gap_ms: u64) {
        self.publisher_changes.fetch_add(1, Relaxed);
        self.publisher_gap_ms.fetch_add(gap_ms, Relaxed);
    }

    pub(super) fn add_first_frame(&self, waited_ms: u64) {
        self.first_frames.fetch_add(1, Relaxed);
        self.first_frame_ms.fetch_add(waited_ms, Relaxed);
    }

    pub(super) fn read(&self) -> HubTotals {
        HubTotals {
            skips: self.skips.load(Relaxed),
            b_frames: self.b_frames.load(Relaxed),
            publisher_changes: self.publisher_changes.load(Relaxed),
            publisher_gap_ms: self.publisher_gap_ms.load(Relaxed),
            first_frames: self.first_frames.load(Relaxed),
            first_frame_ms: self.first_frame_ms.load(Relaxed),
        }
    }
}

/// How long the viewers of one stream waited for their first picture.
#[derive(Debug, Default)]
pub(super) struct FirstFrameMeter {
    count: AtomicU64,
    sum_ms: AtomicU64,
    max_ms: AtomicU64,
}

impl FirstFrameMeter {
    pub(super) fn count(&self, waited_ms: u64) {
        self.count.fetch_add(1, Relaxed);
        self.sum_ms.fetch_add(waited_ms, Relaxed);
        self.max_ms.fetch_max(waited_ms, Relaxed);
    }

    /// The average and the longest; `None` before the first.
    pub(super) fn read(&self) -> Option<(u64, u64)> {
        let count = self.count.load(Relaxed);
        (count > 0).then(|| ((self.sum_ms.load(Relaxed) + count / 2) / count, self.max_ms.load(Relaxed)))
    }
}
