//! How long a relay waits before it tries again, and when it gives up. Chance comes as an argument.

use std::time::Duration;

/// Refusals in a row after which a relay gives up. With the default waits that is two minutes: a far server that still
/// holds the connection before this one has let go of it by then, and a wrong key is not tried for ever.
pub(super) const REFUSALS_MAX: u32 = 8;
/// A connection that was live for so long was a good one: the next wait begins anew at the shortest.
pub(super) const STEADY: Duration = Duration::from_secs(10);

/// Waits between connections.
#[derive(Debug, Clone, Copy)]
pub struct RetryTimes {
    /// The longest wait after the first failure; it doubles with each further one.
    pub min: Duration,
    /// The longest wait of all.
    pub max: Duration,
}

/// What a failure says of the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    /// It may well succeed.
    Passing,
    /// It will be refused again, most likely.
    Refused,
    /// It cannot succeed.
    Final,
}

/// Failures so far.
#[derive(Debug, Default)]
pub(super) struct Patience {
    failures: u32,
    refusals: u32,
}

impl Patience {
    /// The far server took or gave the stream, and it stayed so for `lived`.
    pub(super) fn note_live(&mut self, lived: Duration) {
        self.refusals = 0;
        if lived >= STEADY {
            self.failures = 0;
        }
    }

    /// How long to wait after one more failure; `None` gives up. `chance` spreads those that failed together: half of
    /// the wait is fixed, half is drawn.
    pub(super) fn after(&mut self, outlook: Outlook, times: RetryTimes, chance: u8) -> Option<Duration> {
        match outlook {
            Outlook::Final => return None,
            Outlook::Refused => self.refusals += 1,
            Outlook::Passing => self.refusals = 0,
        }
        if self.refusals >= REFUSALS_MAX {
            return None;
        }
        let doubled = times.min.saturating_mul(1 << self.failures.min(20)).min(times.max);
        self.failures = self.failures.saturating_add(1);
        let half = doubled / 2;
        Some(half + half * u32::from(chance) / u32::from(u8::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: RetryTimes = RetryTimes { min: Duration::from_secs(1), max: Duration::from_secs(60) };

    fn waits(patience: &mut Patience, outlook: Outlook, count: usize, chance: u8) -> Vec<Option<u64>> {
        (0..count)
            .map(|_| patience.after(outlook, TIMES, chance).map(|wait| wait.as_millis().try_into().unwrap()))
            .collect()
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread() {
        let longest = [1, 2, 4, 8, 16, 32, 60, 60].map(|seconds| Some(seconds * 1000));
        assert_eq!(waits(&mut Patience::default(), Outlook::Passing, 8, 255), longest);
        let shortest = longest.map(|wait| wait.map(|wait| wait / 2));
        assert_eq!(waits(&mut Patience::default(), Outlook::Passing, 8, 0), shortest);
        let mut patience = Patience::default();
        assert!(
            waits(&mut patience, Outlook::Passing, 1000, 7).iter().all(Option::is_some),
            "no end of tries"
        );
    }

    #[test]
    fn a_far_server_that_says_no_is_asked_eight_times_and_what_cannot_succeed_once() {
        let mut patience = Patience::default();
        assert!(waits(&mut patience, Outlook::Refused, 7, 0).iter().all(Option::is_some));
        assert_eq!(waits(&mut patience, Outlook::Refused, 1, 0), [None]);
        let mut patience = Patience::default();
        waits(&mut patience, Outlook::Refused, 7, 0);
        patience.note_live(Duration::ZERO);
        assert!(waits(&mut patience, Outlook::Refused, 7, 0).iter().all(Option::is_some), "it had said yes");
        assert_eq!(waits(&mut Patience::default(), Outlook::Final, 1, 0), [None]);
    }

    #[test]
    fn a_connection_that_held_begins_the_waits_anew_and_one_that_broke_at_once_does_not() {
        let mut patience = Patience::default();
        waits(&mut patience, Outlook::Passing, 5, 255);
        patience.note_live(Duration::from_secs(1));
        assert_eq!(waits(&mut patience, Outlook::Passing, 1, 255), [Some(32_000)]);
        patience.note_live(STEADY);
        assert_eq!(waits(&mut patience, Outlook::Passing, 1, 255), [Some(1000)]);
    }
}
