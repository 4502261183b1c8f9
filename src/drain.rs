//! Whether the gateway lets anybody new in. While it is drained those inside go on, and whoever comes is told to go elsewhere.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::{Reason, Refusal};

/// That the gateway lets nobody new in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draining {
    /// How long those inside were given when it began, in milliseconds.
    pub deadline_ms: u64,
    /// When it began.
    pub since: Instant,
    /// Whether the process ends after it; else an operator can take it back.
    pub ends: bool,
}

impl Draining {
    /// What is left of the time at `now`, in milliseconds.
    pub fn left_ms(&self, now: Instant) -> u64 {
        let end = self.since.checked_add(Duration::from_millis(self.deadline_ms));
        let left = end.map(|end| end.saturating_duration_since(now));
        left.map_or(self.deadline_ms, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The gateway's drain. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Drain(Arc<watch::Sender<Option<Draining>>>);

impl Default for Drain {
    /// Everybody is let in.
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Drain {
    /// Refuses whoever is new, while it stands.
    pub fn admit(&self) -> Result<(), Refusal> {
        match self.standing() {
            None => Ok(()),
            Some(_) => Err(Reason::Draining
                .because("this gateway is being drained and lets nobody new in; try again, or another one")),
        }
    }

    /// What stands now.
    pub fn standing(&self) -> Option<Draining> {
        *self.0.borrow()
    }

    /// Tells of each change.
    pub fn watch(&self) -> watch::Receiver<Option<Draining>> {
        self.0.subscribe()
    }

    /// From `now` on nobody new is let in, until [`Self::end`]; those inside are given `deadline_ms`, after which nothing
    /// happens by itself. False where the process is about to end, which stands.
    pub fn begin(&self, deadline_ms: u64, now: Instant) -> bool {
        self.0.send_if_modified(|standing| {
            let free = standing.is_none_or(|standing| !standing.ends);
            if free {
                *standing = Some(Draining { deadline_ms, since: now, ends: false });
            }
            free
        })
    }

    /// As [`Self::begin`], and for good: the process ends within `deadline_ms`.
    pub fn begin_end(&self, deadline_ms: u64, now: Instant) {
        self.0.send_replace(Some(Draining { deadline_ms, since: now, ends: true }));
    }

    /// Lets everybody in again. False where nothing was to be taken back.
    pub fn end(&self) -> bool {
        self.0.send_if_modified(|standing| {
            let ended = standing.is_some_and(|standing| !standing.ends);
            if ended {
                *standing = None;
            }
            ended
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_taken_back_and_an_end_is_not() {
        let (drain, now) = (Drain::default(), Instant::now());
        let other = drain.clone();
        drain.admit().unwrap();
        assert!(!drain.end());
        assert!(other.begin(5000, now));
        assert_eq!(drain.admit().unwrap_err().reason, Reason::Draining);
        assert!(drain.end() && other.admit().is_ok());
        drain.begin_end(10, now);
        assert!(!drain.begin(5000, now) && !drain.end());
        assert!(drain.standing().is_some_and(|standing| standing.ends && standing.deadline_ms == 10));
    }

    #[test]
    fn who_comes_later_is_told_what_is_left() {
        let since = Instant::now();
        let draining = Draining { deadline_ms: 5000, since, ends: false };
        assert_eq!(draining.left_ms(since + Duration::from_millis(1500)), 3500);
        assert_eq!(draining.left_ms(since + Duration::from_secs(60)), 0);
        assert_eq!(Draining { deadline_ms: u64::MAX, ..draining }.left_ms(since), u64::MAX);
    }
}
