//! Faults on demand, so that others can be tested against a store that fails.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::store::StoreError;

/// How an append goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFault {
    /// Fails, and the record is not in the log.
    NotKept,
    /// Fails, yet the record is in the log (if the log stood at the expected revision): the answer was lost.
    KeptUnanswered,
    /// Refused because too much waits; the record is not in the log.
    Busy,
}

/// Makes the next operations of a [`super::MemoryStore`] fail or wait. Clones act on the same store.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Plan>);

#[derive(Debug)]
struct Plan {
    appends: Mutex<VecDeque<AppendFault>>,
    reads: Mutex<usize>,
    claims: Mutex<usize>,
    hold: watch::Sender<Hold>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Hold {
    guards: usize,
    waiting: usize,
}

pub(super) enum AppendVerdict {
    Keep,
    KeepUnanswered(StoreError),
    Refuse(StoreError),
}

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(Plan {
            appends: Mutex::default(),
            reads: Mutex::default(),
            claims: Mutex::default(),
            hold: watch::channel(Hold::default()).0,
        }))
    }
}

impl Faults {
    /// The next `count` appends go wrong as `fault` says, after those that were already told to.
    pub fn next_appends(&self, count: usize, fault: AppendFault) {
        self.0.appends.lock().extend(std::iter::repeat_n(fault, count));
    }

    /// The next `count` reads of the log fail: records, snapshots, listings, the head.
    pub fn next_reads(&self, count: usize) {
        *self.0.reads.lock() += count;
    }

    /// The next `count` operations on claims fail and change nothing.
    pub fn next_claims(&self, count: usize) {
        *self.0.claims.lock() += count;
    }

    /// Lets appends wait until the returned guard is released or dropped.
    pub fn hold_appends(&self) -> HeldAppends {
        self.0.hold.send_modify(|hold| hold.guards += 1);
        HeldAppends(self.clone())
    }

    pub(super) async fn wait_while_held(&self) {
        let mut hold = self.0.hold.subscribe();
        if hold.borrow().guards == 0 {
            return;
        }
        let _waiting = Waiting::enter(self);
        // The sender lives in `self`, so the wait cannot fail.
        let _ = hold.wait_for(|hold| hold.guards == 0).await;
    }

    pub(super) fn judge_append(&self) -> AppendVerdict {
        match self.0.appends.lock().pop_front() {
            None => AppendVerdict::Keep,
            Some(AppendFault::NotKept) => AppendVerdict::Refuse(ordered()),
            Some(AppendFault::KeptUnanswered) => AppendVerdict::KeepUnanswered(ordered()),
            Some(AppendFault::Busy) => AppendVerdict::Refuse(StoreError::Busy),
        }
    }

    pub(super) fn judge_read(&self) -> Result<(), StoreError> {
        judge(&self.0.reads)
    }

    pub(super) fn judge_claim(&self) -> Result<(), StoreError> {
        judge(&self.0.claims)
    }
}

fn judge(failures: &Mutex<usize>) -> Result<(), StoreError> {
    let mut left = failures.lock();
    if *left == 0 {
        return Ok(());
    }
    *left -= 1;
    Err(ordered())
}

fn ordered() -> StoreError {
    StoreError::Failed {
        home: super::HOME.to_owned(),
        fault: "it was told to fail".to_owned(),
        remedy: "nothing is to be done",
    }
}

/// Counts an append that waits, for as long as it does.
struct Waiting<'a>(&'a Faults);

impl<'a> Waiting<'a> {
    fn enter(faults: &'a Faults) -> Self {
        faults.0.hold.send_modify(|hold| hold.waiting += 1);
        Self(faults)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.hold.send_modify(|hold| hold.waiting -= 1);
    }
}

/// Appends wait while this lives.
#[derive(Debug)]
pub struct HeldAppends(Faults);

impl HeldAppends {
    /// Returns when at least `count` appends wait.
    pub async fn arrived(&self, count: usize) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.0.0.hold.subscribe().wait_for(|hold| hold.waiting >= count).await;
    }

    /// Lets them go on; the same as dropping it.
    pub fn release(self) {}
}

impl Drop for HeldAppends {
    fn drop(&mut self) {
        self.0.0.hold.send_modify(|hold| hold.guards -= 1);
    }
}
