//! A store that forgets: for tests, with faults on demand.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::{AppId, ConferenceId, Record, Timestamp};

use super::{
    AppendError, CLAIM_VALUE_BYTES_MAX, Claim, ClaimError, ClaimKey, ClaimRevision, Claims, EndedLog,
    EndedPart, Followed, Log, LogStatus, PageBudget, Position, Revision, Snapshot, SnapshotAt, StoreError,
    TRIM_RECORDS_MAX, TooLarge, record_text,
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
    ended: BTreeSet<EndedLog>,
    claims: BTreeMap<ClaimKey, Claim>,
}

#[derive(Debug, Default)]
struct ConferenceLog {
    app: Option<AppId>,
    head: u64,
    ended_at: Option<Timestamp>,
    /// The last record that was removed.
    trimmed: u64,
    positions: BTreeSet<u64>,
    snapshots: BTreeMap<u64, Snapshot>,
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

impl ConferenceLog {
    /// Whether it has ended and nothing but its status is left.
    fn is_empty(&self) -> bool {
        self.ended_at.is_some() && self.positions.is_empty()
    }
}

impl State {
    fn append(
        &mut self,
        conference: &ConferenceId,
        expected: Revision,
        text: String,
        record: &Record,
    ) -> Result<Revision, AppendError> {
        let known = self.logs.get(conference);
        if known.map_or(0, |log| log.head) != expected.0 {
            return Err(AppendError::Conflict);
        }
        if known.is_some_and(|log| log.ended_at.is_some()) {
            return Err(AppendError::Ended);
        }
        self.last_position += 1;
        let log = self.logs.entry(conference.clone()).or_insert_with(|| ConferenceLog {
            app: record.created_in().cloned(),
            ..ConferenceLog::default()
        });
        log.head = self.last_position;
        log.ended_at = record.ended_at();
        log.positions.insert(self.last_position);
        if let Some(at) = log.ended_at {
            self.ended.insert(EndedLog { at, conference: conference.clone() });
        }
        self.records.insert(self.last_position, (conference.clone(), text));
        Ok(Revision(self.last_position))
    }

    fn trim(&mut self, conference: &ConferenceId, through: Revision) -> usize {
        let Some(log) = self.logs.get_mut(conference) else { return 0 };
        let through = match log.ended_at {
            Some(_) => through.0,
            None => through.0.min(log.snapshots.last_key_value().map_or(0, |(folded, _)| *folded)),
        };
        let removed: Vec<u64> = log.positions.range(..=through).take(TRIM_RECORDS_MAX).copied().collect();
        for position in &removed {
            log.positions.remove(position);
            self.records.remove(position);
            log.trimmed = *position;
        }
        if log.is_empty() {
            log.snapshots.clear();
        }
        log.snapshots = log.snapshots.split_off(&log.trimmed);
        removed.len()
    }

    fn forget(&mut self, conference: &ConferenceId) {
        let Some(at) = self.logs.get(conference).and_then(|log| log.ended_at) else { return };
        self.ended.remove(&EndedLog { at, conference: conference.clone() });
        for position in self.logs.remove(conference).into_iter().flat_map(|log| log.positions) {
            self.records.remove(&position);
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
            let kept = state.append(conference, expected, text, record);
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

    async fn snapshot(
        &self,
        conference: &ConferenceId,
        which: SnapshotAt,
    ) -> Result<Option<(Revision, Snapshot)>, StoreError> {
        self.faults.judge_read()?;
        let state = self.state.lock();
        let Some(log) = state.logs.get(conference) else { return Ok(None) };
        let found = match which {
            SnapshotAt::Newest => log.snapshots.last_key_value(),
            SnapshotAt::UpTo(seq) => log.snapshots.iter().rfind(|(_, snapshot)| snapshot.seq() <= seq),
            SnapshotAt::Oldest => log.snapshots.first_key_value(),
        };
        Ok(found.map(|(at, snapshot)| (Revision(*at), snapshot.clone())))
    }

    async fn put_snapshot(
        &self,
        conference: &ConferenceId,
        at: Revision,
        snapshot: &Snapshot,
    ) -> Result<(), StoreError> {
        if let Some(log) = self.state.lock().logs.get_mut(conference)
            && (log.trimmed..=log.head).contains(&at.0)
            && !log.is_empty()
        {
            log.snapshots.insert(at.0, snapshot.clone());
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

    async fn status(&self, conference: &ConferenceId) -> Result<Option<LogStatus>, StoreError> {
        self.faults.judge_read()?;
        let state = self.state.lock();
        let log = state.logs.get(conference);
        Ok(log.map(|log| LogStatus {
            app: log.app.clone(),
            head: Revision(log.head),
            ended_at: log.ended_at,
        }))
    }

    async fn ended_conferences(
        &self,
        part: EndedPart,
        after: Option<&EndedLog>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<EndedLog>, StoreError> {
        self.faults.judge_read()?;
        let state = self.state.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let due = state.ended.range((from, Bound::Unbounded)).take_while(|ended| ended.at <= until);
        let is_meant = |ended: &&EndedLog| match part {
            EndedPart::All => true,
            EndedPart::WithRecords => {
                state.logs.get(&ended.conference).is_some_and(|log| !log.positions.is_empty())
            }
        };
        Ok(due.filter(is_meant).take(PageBudget::new(limit).items()).cloned().collect())
    }

    async fn open_conferences(
        &self,
        after: Option<&ConferenceId>,
        limit: usize,
    ) -> Result<Vec<ConferenceId>, StoreError> {
        self.faults.judge_read()?;
        let state = self.state.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let open = state
            .logs
            .range::<ConferenceId, _>((from, Bound::Unbounded))
            .filter(|(_, log)| log.ended_at.is_none());
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
