//! What all streams of this gateway add up to, for as long as it runs. It outlives the streams.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds of the classes that times are counted in, in milliseconds. A packet waits for less than a merge window of a
/// tenth of a second unless a viewer is slow; a first picture comes at once where the stream has a keyframe.
pub const TIME_BOUNDS_MS: [u64; 13] = [1, 2, 5, 10, 20, 50, 100, 250, 500, 1000, 2500, 10_000, 30_000];
/// One class more than bounds, for what is longer than all of them.
const CLASSES: usize = TIME_BOUNDS_MS.len() + 1;

/// Times, counted in classes.
#[derive(Debug, Default)]
struct Times {
    classes: [AtomicU64; CLASSES],
    sum_ms: AtomicU64,
}

impl Times {
    /// Counts `many` of the same length.
    fn count(&self, ms: u64, many: u64) {
        let class = TIME_BOUNDS_MS.partition_point(|bound| *bound < ms);
        if let Some(class) = self.classes.get(class) {
            class.fetch_add(many, Relaxed);
        }
        self.sum_ms.fetch_add(ms.saturating_mul(many), Relaxed);
    }

    fn read(&self) -> TimesSoFar {
        TimesSoFar {
            classes: self.classes.iter().map(|class| class.load(Relaxed)).collect(),
            sum_ms: self.sum_ms.load(Relaxed),
        }
    }
}

/// Times so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimesSoFar {
    /// How many in each class of [`TIME_BOUNDS_MS`], and beyond the last bound.
    pub classes: Vec<u64>,
    /// All of them added up, in milliseconds.
    pub sum_ms: u64,
}

/// Sums over all streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HubTotals {
    /// Times that a viewer fell behind and passed something over.
    pub skips: u64,
    /// Packets that they passed over.
    pub dropped_packets: u64,
    /// Pictures shown before one that was sent earlier.
    pub b_frames: u64,
    /// Times that another publisher went on with a stream.
    pub publisher_changes: u64,
    /// How long the streams stood still at these, added up.
    pub publisher_gap_ms: u64,
    /// How long the oldest packet of each portion waited here for a viewer.
    pub added_delay: TimesSoFar,
    /// How long viewers of a stream that flows waited for their first picture, or for sound where there are no pictures.
    pub first_frame: TimesSoFar,
}

/// Counts them. All streams share it.
#[derive(Debug, Default)]
pub(super) struct Totals {
    skips: AtomicU64,
    dropped_packets: AtomicU64,
    b_frames: AtomicU64,
    publisher_changes: AtomicU64,
    publisher_gap_ms: AtomicU64,
    added_delay: Times,
    first_frame: Times,
}

impl Totals {
    pub(super) fn add_skip(&self, packets: u64) {
        self.skips.fetch_add(1, Relaxed);
        self.dropped_packets.fetch_add(packets, Relaxed);
    }

    pub(super) fn add_b_frame(&self) {
        self.b_frames.fetch_add(1, Relaxed);
    }

    pub(super) fn add_publisher_change(&self, gap_ms: u64) {
        self.publisher_changes.fetch_add(1, Relaxed);
        self.publisher_gap_ms.fetch_add(gap_ms, Relaxed);
    }

    /// A portion was handed to `viewers`, whose oldest packet had waited for `waited_ms`.
    pub(super) fn add_delay(&self, waited_ms: u64, viewers: u64) {
        self.added_delay.count(waited_ms, viewers);
    }

    pub(super) fn add_first_frame(&self, waited_ms: u64) {
        self.first_frame.count(waited_ms, 1);
    }

    pub(super) fn read(&self) -> HubTotals {
        HubTotals {
            skips: self.skips.load(Relaxed),
            dropped_packets: self.dropped_packets.load(Relaxed),
            b_frames: self.b_frames.load(Relaxed),
            publisher_changes: self.publisher_changes.load(Relaxed),
            publisher_gap_ms: self.publisher_gap_ms.load(Relaxed),
            added_delay: self.added_delay.read(),
            first_frame: self.first_frame.read(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_the_class_whose_bound_it_does_not_pass() {
        let times = Times::default();
        for ms in [0, 1, 2, 3, 30_000, 30_001] {
            times.count(ms, 1);
        }
        let TimesSoFar { classes, sum_ms } = times.read();
        assert_eq!((classes[0], classes[1], classes[2]), (2, 1, 1));
        assert_eq!((classes[12], classes[13], sum_ms), (1, 1, 60_007));
    }
}
