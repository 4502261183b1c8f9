//! The wall clock. Nothing else reads it: everywhere else the time is an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::Timestamp;

/// The wall-clock time now. A clock set before 1970 counts as 1970; it may jump in either direction, so intervals
/// are measured by the runtime's monotonic clock instead.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
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
}
