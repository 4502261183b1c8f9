//! The clocks. Nothing else reads the wall clock: everywhere else the time is an argument.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::Timestamp;

/// The wall-clock time now. A clock set before 1970 counts as 1970; it may jump in either direction, so intervals
/// are measured by the runtime's monotonic clock instead.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

/// Milliseconds that only ever go forward, for intervals: counted from the first call, as a timestamp of no calendar.
pub fn steady() -> Timestamp {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let origin = ORIGIN.get_or_init(Instant::now);
    Timestamp(u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// A timer that goes off so much later than it was set for tells that this process itself did not run: it was stopped, its machine
/// was suspended, or the processors belonged to others. A second is far above what a busy scheduler costs.
const OWN_ABSENCE: Duration = Duration::from_secs(1);
/// How long peers whose time ran out meanwhile get to be heard, once the process runs again. What they sent is in the kernel by then.
pub const HEARING: Duration = Duration::from_secs(1);

/// Whether this process itself was away when a timer that was set for `due` goes off at `now`. Then nobody's silence up to
/// now tells anything: timers of the runtime go off before the sockets have been looked at.
pub fn was_away(due: tokio::time::Instant, now: tokio::time::Instant) -> bool {
    now.saturating_duration_since(due) > OWN_ABSENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_milliseconds() {
        let year_2020 = Timestamp(1_577_836_800_000);
        let year_3000 = Timestamp(32_503_680_000_000);
        let now = now();
        assert!(year_2020 < now && now < year_3000, "{now:?}");
    }

    #[test]
    fn a_timer_that_is_a_little_late_tells_nothing() {
        let due = tokio::time::Instant::now();
        assert!(!was_away(due, due) && !was_away(due, due + Duration::from_millis(900)));
        assert!(was_away(due, due + Duration::from_millis(1100)));
    }
}
