//! What the unfinished messages of all peers that do not publish may take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The setting.
pub(super) const LIMIT: &str = "unfinished_bytes_max";

/// What each peer may have without being counted: its longest honest command comes in several reads and fits. So a budget that
/// somebody has used up keeps nobody out who goes by the book.
const FREE_BYTES: usize = 4 * 1024;

/// The bytes that there are for all of them. Clones are the same budget.
#[derive(Debug, Clone)]
pub struct UnfinishedBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    max: usize,
    held: AtomicUsize,
}

/// One peer's share of it; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: UnfinishedBudget,
    held: usize,
}

/// The budget is used up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UsedUp;

impl UnfinishedBudget {
    /// `max` bytes in all.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Budget { max, held: AtomicUsize::new(0) }))
    }

    /// A share of nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { budget: self.clone(), held: 0 }
    }
}

impl Share {
    /// Makes this the share of a peer whose unfinished messages take `bytes`. It stays as it was where the budget does not
    /// hold them.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), UsedUp> {
        let counted = bytes.saturating_sub(FREE_BYTES);
        let Budget { max, held } = &*self.budget.0;
        if let Some(less) = self.held.checked_sub(counted) {
            held.fetch_sub(less, Relaxed);
        } else {
            let more = counted - self.held;
            let within = |now: usize| now.checked_add(more).filter(|all| all <= max);
            held.fetch_update(Relaxed, Relaxed, within).map_err(|_| UsedUp)?;
        }
        self.held = counted;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.held.fetch_sub(self.held, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted_beyond_what_is_free_and_given_back() {
        let budget = UnfinishedBudget::new(10_000);
        let (mut greedy, mut other, mut honest) = (budget.share(), budget.share(), budget.share());
        greedy.hold(FREE_BYTES + 9_000).unwrap();
        other.hold(FREE_BYTES + 1_000).unwrap();
        assert_eq!(other.hold(FREE_BYTES + 1_001), Err(UsedUp));
        honest.hold(FREE_BYTES).unwrap();
        greedy.hold(FREE_BYTES + 8_000).unwrap();
        other.hold(FREE_BYTES + 2_000).unwrap();
        drop(greedy);
        other.hold(FREE_BYTES + 10_000).unwrap();
        drop(other);
        assert_eq!(budget.0.held.load(Relaxed), 0);
    }
}
