//! A store that forgets: for tests, with faults on demand.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::{ConferenceId, Record};

use super::{
    AppendError, CLAIM_VALUE_BYTES_MAX, Claim, ClaimError, ClaimKey, ClaimRevision, Claims, Followed, Log,
    PageBudget, Position, Revision, Snapshot, StoreError, TRIM_RECORDS_MAX, TooLarge, record_text,
};
use faults::AppendVerdict;
pub use faults::{AppendFault, Faults, HeldAppends};

/// What errors name as the place of the fault.
const HOME: &str = "the store in memory";

/// Keeps everything in memory. It behaves as the durable homes do, down to records being kept as their text.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    durable: watch::Sender<Position>,
    faults: Faults,
}

#[derive(Debug, Default)]
struct State {
    last_position: u64,
    last_claim_revision: u64,
    /// All records by position; a record's revision is its position.
    records: BTreeMap<u64, (ConferenceId, String)>,
    logs: BTreeMap<ConferenceId, ConferenceLog>,
    claims: BTreeMap<ClaimKey, Claim>,
}

#[derive(Debug, Default)]
struct ConferenceLog {
    head: u64,
    ended: bool,
    positions: BTreeSet<u64>,
    snapshot: Option<(Revision, Snapshot)>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
            durable: watch::channel(Position::START).0,
            faults: Faults::default(),
        }
    }

    /// The handle that makes the next operations fail or wait.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl State {
    fn append(
        &mut self,
        conference: &ConferenceId,
        expected: Revision,
        text: String,
        ends: bool,
    ) -> Result<Revision, AppendError> {
        let (head, ended) = self.logs.get(conference).map_or((0, false), |log| (log.head, log.ended));
        if head != expected.0 {
            return Err(AppendError::Conflict);
        }
        if ended {
            return Err(AppendError::Ended);
        }
        self.last_position += 1;
        let log = self.logs.entry(conference.clone()).or_default();
        log.head = self.last_position;
        log.ended = ends;
        log.positions.insert(self.last_position);
        self.records.insert(self.last_position, (conference.clone(), text));
        Ok(Revision(self.last_position))
    }

    fn trim(&mut self, conference: &ConferenceId, through: Revision) -> usize {
        let Some(log) = self.logs.get_mut(conference) else { return 0 };
        let Some((folded, _)) = &log.snapshot else { return 0 };
        let through = through.0.min(folded.0);
        let removed: Vec<u64> = log.positions.range(..=through).take(TRIM_RECORDS_MAX).copied().collect();
        for position in &removed {
            log.positions.remove(position);
            self.records.remove(position);
        }
        removed.len()
    }

    fn forget(&mut self, conference: &ConferenceId) {
        if self.logs.get(conference).is_some_and(|log| log.ended)
            && let Some(log) = self.logs.remove(conference)
        {
            for position in log.positions {
                self.records.remove(&position);
            }
        }
    }

    fn claim_is(&self, key: &ClaimKey, expected: Option<ClaimRevision>) -> Result<(), ClaimError> {
        let found = self.claims.get(key).map(|claim| claim.revision);
        if found == expected { Ok(()) } else { Err(ClaimError::Conflict) }
    }
}

#[async_trait]
impl Log for MemoryStore {
    async fn append(
        &self,
        conference: &ConferenceId,
        expected: Revision,
        record: &Record,
    ) -> Result<Revision, AppendError> {
        let text = record_text::encode(record)?;
        self.faults.wait_while_held().await;
        let verdict = self.faults.judge_append();
        if let AppendVerdict::Refuse(error) = verdict {
            return Err(error.into());
        }
        let kept = {
            let mut state = self.state.lock();
            let kept = state.append(conference, expected, text, record.ends_conference());
            if kept.is_ok() {
                self.durable.send_replace(Position(state.last_position));
            }
            kept
        };
        match verdict {
            AppendVerdict::KeepUnanswered(error) => Err(error.into()),
            AppendVerdict::Keep | AppendVerdict::Refuse(_) => kept,
        }
    }

    async fn read(
        &self,
        conference: &ConferenceId,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<(Revision, Record)>, StoreError> {
        self.faults.judge_read()?;
        let state = self.state.lock();
        let mut page = Vec::new();
        let mut budget = PageBudget::new(limit);
        let Some(log) = state.logs.get(conference) else { return Ok(page) };
        for position in log.positions.range((Bound::Excluded(after.0), Bound::Unbounded)) {
            if budget.is_full() {
                break;
            }
            let Some((_, text)) = state.records.get(position) else { continue };
            budget.take(text.len());
            let revision = Revision(*position);
            page.push((revision, record_text::decode(text, HOME, conference, revision)?));
        }
        Ok(page)
    }

    async fn snapshot(&self, conference: &ConferenceId) -> Result<Option<(Revision, Snapshot)>, StoreError> {
        self.faults.judge_read()?;
        Ok(self.state.lock().logs.get(conference).and_then(|log| log.snapshot.clone()))
    }

    async fn put_snapshot(
        &self,
        conference: &ConferenceId,
        at: Revision,
        snapshot: &Snapshot,
    ) -> Result<(), StoreError> {
        if let Some(log) = self.state.lock().logs.get_mut(conference)
            && at.0 <= log.head
            && log.snapshot.as_ref().is_none_or(|(kept, _)| *kept <= at)
        {
            log.snapshot = Some((at, snapshot.clone()));
        }
        Ok(())
    }

    async fn trim(&self, conference: &ConferenceId, through: Revision) -> Result<usize, StoreError> {
        Ok(self.state.lock().trim(conference, through))
    }

    async fn forget(&self, conference: &ConferenceId) -> Result<(), StoreError> {
        self.state.lock().forget(conference);
        Ok(())
    }

    async fn open_conferences(
        &self,
        after: Option<&ConferenceId>,
        limit: usize,
    ) -> Result<Vec<ConferenceId>, StoreError> {
        self.faults.judge_read()?;
        let state = self.state.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let open =
            state.logs.range::<ConferenceId, _>((from, Bound::Unbounded)).filter(|(_, log)| !log.ended);
        Ok(open.take(PageBudget::new(limit).items()).map(|(conference, _)| conference.clone()).collect())
    }

    async fn follow_all(&self, after: Position, limit: usize) -> Result<Vec<Followed>, StoreError> {
        self.faults.judge_read()?;
        let state = self.state.lock();
        let mut page = Vec::new();
        let mut budget = PageBudget::new(limit);
        for (position, (conference, text)) in
            state.records.range((Bound::Excluded(after.0), Bound::Unbounded))
        {
            if budget.is_full() {
                break;
            }
            budget.take(text.len());
            let revision = Revision(*position);
            page.push(Followed {
                position: Position(*position),
                conference: conference.clone(),
                revision,
                record: record_text::decode(text, HOME, conference, revision)?,
            });
        }
        Ok(page)
    }

    fn changes(&self) -> watch::Receiver<Position> {
        self.durable.subscribe()
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.faults.judge_read()?;
        Ok(Position(self.state.lock().last_position))
    }
}

#[async_trait]
impl Claims for MemoryStore {
    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>, StoreError> {
        self.faults.judge_claim()?;
        Ok(self.state.lock().claims.get(key).cloned())
    }

    async fn put(
        &self,
        key: &ClaimKey,
        expected: Option<ClaimRevision>,
        value: Bytes,
    ) -> Result<ClaimRevision, ClaimError> {
        TooLarge::check("the value of a claim", value.len(), CLAIM_VALUE_BYTES_MAX)
            .map_err(ClaimError::TooLarge)?;
        self.faults.judge_claim()?;
        let mut state = self.state.lock();
        state.claim_is(key, expected)?;
        state.last_claim_revision += 1;
        let revision = ClaimRevision(state.last_claim_revision);
        state.claims.insert(key.clone(), Claim { revision, value });
        Ok(revision)
    }

    async fn delete(&self, key: &ClaimKey, expected: ClaimRevision) -> Result<(), ClaimError> {
        self.faults.judge_claim()?;
        let mut state = self.state.lock();
        state.claim_is(key, Some(expected))?;
        state.claims.remove(key);
        Ok(())
    }

    async fn list(
        &self,
        under: &ClaimKey,
        after: Option<&ClaimKey>,
        limit: usize,
    ) -> Result<Vec<(ClaimKey, Claim)>, StoreError> {
        self.faults.judge_claim()?;
        let state = self.state.lock();
        let (from, to) = under.below();
        let mut page = Vec::new();
        let mut budget = PageBudget::new(limit);
        for (key, claim) in &state.claims {
            let below = from.as_str() < key.as_str() && key.as_str() < to.as_str();
            if !below || after.is_some_and(|after| key <= after) {
                continue;
            }
            if budget.is_full() {
                break;
            }
            budget.take(claim.value.len());
            page.push((key.clone(), claim.clone()));
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::contract::{self, Home, conference, record};

    async fn open() -> Home {
        Home::new(Arc::new(MemoryStore::new()), ())
    }

    contract::contract_suite!(open);

    #[tokio::test]
    async fn a_refused_append_is_not_kept_and_the_next_one_is() {
        let store = MemoryStore::new();
        store.faults().next_appends(1, AppendFault::NotKept);
        let first = store.append(&conference(1), Revision::START, &record(1)).await;
        assert!(matches!(first, Err(AppendError::Unavailable(StoreError::Failed { .. }))), "{first:?}");
        assert_eq!(store.read(&conference(1), Revision::START, 9).await.unwrap(), []);
        store.append(&conference(1), Revision::START, &record(1)).await.unwrap();
    }

    #[tokio::test]
    async fn an_unanswered_append_is_kept_though_it_fails() {
        let store = MemoryStore::new();
        store.faults().next_appends(1, AppendFault::KeptUnanswered);
        store.append(&conference(1), Revision::START, &record(1)).await.unwrap_err();
        let kept = store.read(&conference(1), Revision::START, 9).await.unwrap();
        assert_eq!(kept.iter().map(|(_, kept)| kept.clone()).collect::<Vec<_>>(), [record(1)]);
    }

    #[tokio::test]
    async fn an_overloaded_store_says_busy() {
        let store = MemoryStore::new();
        store.faults().next_appends(1, AppendFault::Busy);
        let refused = store.append(&conference(1), Revision::START, &record(1)).await;
        assert_eq!(refused, Err(AppendError::Unavailable(StoreError::Busy)));
    }

    #[tokio::test]
    async fn held_appends_wait_until_released_and_are_compared_then() {
        let store = Arc::new(MemoryStore::new());
        let held = store.faults().hold_appends();
        let tasks: Vec<_> = (1..=2)
            .map(|number| {
                let store = Arc::clone(&store);
                tokio::spawn(
                    async move { store.append(&conference(1), Revision::START, &record(number)).await },
                )
            })
            .collect();
        held.arrived(2).await;
        assert_eq!(store.head().await.unwrap(), Position::START);
        held.release();
        let mut won = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert_eq!(error, AppendError::Conflict),
            }
        }
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn reads_and_claims_fail_when_told_to() {
        let store = MemoryStore::new();
        let key = ClaimKey::parse("a").unwrap();
        store.faults().next_reads(1);
        store.faults().next_claims(1);
        store.read(&conference(1), Revision::START, 1).await.unwrap_err();
        store.read(&conference(1), Revision::START, 1).await.unwrap();
        store.put(&key, None, Bytes::new()).await.unwrap_err();
        store.put(&key, None, Bytes::new()).await.unwrap();
    }
}
