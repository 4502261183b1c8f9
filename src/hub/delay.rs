//! How long packets wait in a stream before a viewer takes them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One window: an answer covers the window under way and the one before it.
const WINDOW_MS: u64 = 5000;

/// How long packets waited, over the last five to ten seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamDelay {
    /// Milliseconds, on the average of all viewers' takes.
    pub mean_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

#[derive(Debug, Default)]
struct Window {
    /// Its time divided by its length, plus one; 0 is none.
    number: AtomicU64,
    count: AtomicU64,
    sum_ms: AtomicU64,
    max_ms: AtomicU64,
}

/// Counted by all viewers without a lock. Those who count while a window is begun anew may be lost: a few of thousands.
#[derive(Debug, Default)]
pub(super) struct DelayMeter {
    windows: [Window; 2],
}

impl DelayMeter {
    /// `viewers` of them took packets the oldest of which had waited so long.
    pub(super) fn count(&self, waited_ms: u64, viewers: u64, now_ms: u64) {
        let number = now_ms / WINDOW_MS + 1;
        let [even, odd] = &self.windows;
        let window = if number.is_multiple_of(2) { even } else { odd };
        let found = window.number.load(Relaxed);
        if found != number && window.number.compare_exchange(found, number, Relaxed, Relaxed).is_ok() {
            window.count.store(0, Relaxed);
            window.sum_ms.store(0, Relaxed);
            window.max_ms.store(0, Relaxed);
        }
        window.count.fetch_add(viewers, Relaxed);
        window.sum_ms.fetch_add(waited_ms * viewers, Relaxed);
        window.max_ms.fetch_max(waited_ms, Relaxed);
    }

    /// `None` where nobody took anything.
    pub(super) fn delay(&self, now_ms: u64) -> Option<StreamDelay> {
        let number = now_ms / WINDOW_MS + 1;
        let (mut count, mut sum_ms, mut max_ms) = (0, 0, 0);
        for window in &self.windows {
            if (number - 1..=number).contains(&window.number.load(Relaxed).max(1)) {
                count += window.count.load(Relaxed);
                sum_ms += window.sum_ms.load(Relaxed);
                max_ms = window.max_ms.load(Relaxed).max(max_ms);
            }
        }
        (count > 0).then(|| StreamDelay { mean_ms: (sum_ms + count / 2) / count, max_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_and_the_longest_of_the_last_windows() {
        let meter = DelayMeter::default();
        assert_eq!(meter.delay(3), None);
        for waited_ms in [0, 1, 8] {
            meter.count(waited_ms, 1, 3);
        }
        let both = Some(StreamDelay { mean_ms: 3, max_ms: 8 });
        assert_eq!((meter.delay(3), meter.delay(9_999)), (both, both));
        meter.count(40, 1, 5_000);
        assert_eq!(meter.delay(9_999), Some(StreamDelay { mean_ms: 12, max_ms: 40 }));
        assert_eq!(meter.delay(10_000), Some(StreamDelay { mean_ms: 40, max_ms: 40 }));
        meter.count(2, 1, 10_000);
        assert_eq!(meter.delay(14_000), Some(StreamDelay { mean_ms: 21, max_ms: 40 }));
        assert_eq!(meter.delay(15_000), Some(StreamDelay { mean_ms: 2, max_ms: 2 }));
        assert_eq!(meter.delay(20_000), None);
    }
}
