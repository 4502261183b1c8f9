//! The store of one machine: a SQLite database in the data directory. The only place that names rusqlite.
//!
//! One thread writes ([`writer`]), a few read ([`readers`]), and neither waits for the other (write-ahead log). A
//! record is turned into its text by the caller, not by the writer.

mod backup;
mod batch;
mod fault;
mod open;
mod readers;
mod schema;
#[cfg(test)]
mod tests;
mod wal;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use tokio::sync::watch;

use crate::domain::{ConferenceId, Record};

use super::{
    AppendError, CLAIM_VALUE_BYTES_MAX, Claim, ClaimError, ClaimKey, ClaimRevision, Claims, Followed, Log,
    PageBudget, Position, Revision, Snapshot, StoreError, TooLarge, record_text,
};
pub use backup::{BackupError, BackupFacts, back_up, inspect, store_file};
use batch::{integer, number};
use fault::Faulty;
pub use open::OpenError;
use open::Opened;
use readers::Readers;
use schema::Step;
pub use writer::StoreStats;
use writer::{Counts, Workshop, Writer};

/// Logs and claims in `<data_dir>/tidegate.db`.
///
/// [`EmbeddedStore::close`] ends it in good order. Dropping it does too, but blocks until the last write is done.
#[derive(Debug)]
pub struct EmbeddedStore {
    writer: Writer,
    readers: Readers,
    counts: Arc<Counts>,
    faulty: Faulty,
    durable: watch::Receiver<Position>,
    /// Its sender lives as long as the threads.
    running: watch::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the store in `data_dir`, which is made where it is absent, and brings an older file up to date.
    /// Blocks; meant for the start of the process.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(data_dir, schema::STEPS)
    }

    fn open_with(data_dir: &Path, steps: &[Step]) -> Result<Self, OpenError> {
        let Opened { path, writer: connection, lock } = open::open(data_dir, steps)?;
        let head = head(&connection).map_err(OpenError::engine(&path))?;
        let counts = Arc::new(Counts::default());
        let (readers, threads) = Readers::start(&path, Arc::clone(&counts))?;
        let (durable_sender, durable) = watch::channel(head);
        let (running_sender, running) = watch::channel(());
        let faulty = Faulty::new(&path);
        let (writer, thread) = Writer::start(Workshop {
            connection,
            faulty: faulty.clone(),
            counts: Arc::clone(&counts),
            durable: durable_sender,
            readers: threads,
            lock,
            running: running_sender,
        })
        .map_err(|source| OpenError::File { path, source })?;
        Ok(Self { writer, readers, counts, faulty, durable, running, thread: Some(thread) })
    }

    /// Takes no more operations, carries out what waits, and returns when the file is closed and unlocked.
    pub async fn close(&self) {
        self.refuse_more();
        let mut running = self.running.clone();
        // Nothing is ever sent: the wait ends when the sender is dropped, which is the end of the writer thread.
        while running.changed().await.is_ok() {}
    }

    /// How the writer has fared, for metrics.
    pub fn stats(&self) -> StoreStats {
        self.counts.stats()
    }

    fn refuse_more(&self) {
        self.writer.close();
        self.readers.close();
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.refuse_more();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has unlocked the file already.
            let _ = thread.join();
        }
    }
}

fn head(connection: &Connection) -> rusqlite::Result<Position> {
    connection
        .prepare_cached("SELECT last_position FROM counters")?
        .query_row([], |row| Ok(Position(number(row.get(0)?))))
}

/// Collects rows until the page is full. `take` tells how many bytes its item has.
fn page<T>(
    connection: &Connection,
    faulty: &Faulty,
    sql: &str,
    parameters: impl Params,
    limit: usize,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<(usize, Result<T, StoreError>)>,
) -> Result<Vec<T>, StoreError> {
    let mut budget = PageBudget::new(limit);
    let mut items = Vec::new();
    let collect = || {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(parameters)?;
        while !budget.is_full()
            && let Some(row) = rows.next()?
        {
            let (bytes, item) = take(row)?;
            budget.take(bytes);
            match item {
                Ok(item) => items.push(item),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    };
    collect().map_err(|error| faulty.error(&error)).flatten()?;
    Ok(items)
}

fn sql_limit(limit: usize) -> i64 {
    integer(PageBudget::new(limit).items() as u64)
}

#[async_trait]
impl Log for EmbeddedStore {
    async fn append(
        &self,
        conference: &ConferenceId,
        expected: Revision,
        record: &Record,
    ) -> Result<Revision, AppendError> {
        let text = record_text::encode(record)?;
        let ends = record.ends_conference();
        let conference = conference.clone();
        self.writer.submit(text.len(), move |batch| batch.append(&conference, expected, &text, ends)).await
    }

    async fn read(
        &self,
        conference: &ConferenceId,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<(Revision, Record)>, StoreError> {
        const SQL: &str = "SELECT position, body FROM records
                           WHERE conference = ?1 AND position > ?2 ORDER BY position LIMIT ?3";
        let conference = conference.clone();
        let faulty = self.faulty.clone();
        self.readers
            .submit(move |connection| {
                let parameters = params![conference.as_str(), integer(after.0), sql_limit(limit)];
                page(connection, &faulty, SQL, parameters, limit, |row| {
                    let revision = Revision(number(row.get(0)?));
                    let text = row.get_ref(1)?.as_str()?;
                    let record = record_text::decode(text, faulty.file(), &conference, revision);
                    Ok((text.len(), record.map(|record| (revision, record))))
                })
            })
            .await
    }

    async fn snapshot(&self, conference: &ConferenceId) -> Result<Option<(Revision, Snapshot)>, StoreError> {
        const SQL: &str = "SELECT revision, format, bytes FROM snapshots WHERE conference = ?1";
        let conference = conference.clone();
        let faulty = self.faulty.clone();
        self.readers
            .submit(move |connection| {
                let find = || {
                    connection
                        .prepare_cached(SQL)?
                        .query_row([conference.as_str()], |row| {
                            Ok((
                                Revision(number(row.get(0)?)),
                                row.get(1)?,
                                Bytes::from(row.get::<_, Vec<u8>>(2)?),
                            ))
                        })
                        .optional()
                };
                let Some((at, format, bytes)) = find().map_err(|error| faulty.error(&error))? else {
                    return Ok(None);
                };
                let snapshot = Snapshot::new(format, bytes)
                    .map_err(|error| faulty.damaged(format!("the snapshot of {conference}"), error))?;
                Ok(Some((at, snapshot)))
            })
            .await
    }

    async fn put_snapshot(
        &self,
        conference: &ConferenceId,
        at: Revision,
        snapshot: &Snapshot,
    ) -> Result<(), StoreError> {
        let conference = conference.clone();
        let snapshot = snapshot.clone();
        self.writer
            .submit(snapshot.bytes().len(), move |batch| {
                batch.put_snapshot(&conference, at, &snapshot).map(Ok)
            })
            .await
    }

    async fn trim(&self, conference: &ConferenceId, through: Revision) -> Result<usize, StoreError> {
        let conference = conference.clone();
        self.writer.submit(0, move |batch| batch.trim(&conference, through).map(Ok)).await
    }

    async fn forget(&self, conference: &ConferenceId) -> Result<(), StoreError> {
        loop {
            let part_of = conference.clone();
            let done: Result<bool, StoreError> =
                self.writer.submit(0, move |batch| batch.forget(&part_of).map(Ok)).await;
            if done? {
                return Ok(());
            }
        }
    }

    async fn open_conferences(
        &self,
        after: Option<&ConferenceId>,
        limit: usize,
    ) -> Result<Vec<ConferenceId>, StoreError> {
        // Before every id stands the empty text.
        let after = after.map_or_else(String::new, ToString::to_string);
        let faulty = self.faulty.clone();
        self.readers
            .submit(move |connection| {
                page(connection, &faulty, OPEN_CONFERENCES, params![after, sql_limit(limit)], limit, |row| {
                    let text = row.get_ref(0)?.as_str()?;
                    Ok((text.len(), conference_id(text, &faulty)))
                })
            })
            .await
    }

    async fn follow_all(&self, after: Position, limit: usize) -> Result<Vec<Followed>, StoreError> {
        const SQL: &str =
            "SELECT position, conference, body FROM records WHERE position > ?1 ORDER BY position LIMIT ?2";
        let faulty = self.faulty.clone();
        self.readers
            .submit(move |connection| {
                page(connection, &faulty, SQL, params![integer(after.0), sql_limit(limit)], limit, |row| {
                    let position = number(row.get(0)?);
                    let text = row.get_ref(2)?.as_str()?;
                    let followed = conference_id(row.get_ref(1)?.as_str()?, &faulty).and_then(|conference| {
                        let revision = Revision(position);
                        let record = record_text::decode(text, faulty.file(), &conference, revision)?;
                        Ok(Followed { position: Position(position), conference, revision, record })
                    });
                    Ok((text.len(), followed))
                })
            })
            .await
    }

    fn changes(&self) -> watch::Receiver<Position> {
        let mut changes = self.durable.clone();
        changes.mark_unchanged();
        changes
    }

    async fn head(&self) -> Result<Position, StoreError> {
        let faulty = self.faulty.clone();
        self.readers.submit(move |connection| head(connection).map_err(|error| faulty.error(&error))).await
    }
}

/// Answered from the index of open logs alone.
const OPEN_CONFERENCES: &str =
    "SELECT conference FROM logs WHERE ended = 0 AND conference > ?1 ORDER BY conference LIMIT ?2";

fn conference_id(text: &str, faulty: &Faulty) -> Result<ConferenceId, StoreError> {
    ConferenceId::parse(text).map_err(|error| faulty.damaged(format!("the conference {text:?}"), error))
}

#[async_trait]
impl Claims for EmbeddedStore {
    async fn get(&self, key: &ClaimKey) -> Result<Option<Claim>, StoreError> {
        const SQL: &str = "SELECT revision, value FROM claims WHERE key = ?1";
        let key = key.clone();
        let faulty = self.faulty.clone();
        self.readers
            .submit(move |connection| {
                let find = || {
                    connection
                        .prepare_cached(SQL)?
                        .query_row([key.as_str()], |row| {
                            let value = Bytes::copy_from_slice(row.get_ref(1)?.as_blob()?);
                            Ok(Claim { revision: ClaimRevision(number(row.get(0)?)), value })
                        })
                        .optional()
                };
                find().map_err(|error| faulty.error(&error))
            })
            .await
    }

    async fn put(
        &self,
        key: &ClaimKey,
        expected: Option<ClaimRevision>,
        value: Bytes,
    ) -> Result<ClaimRevision, ClaimError> {
        TooLarge::check("the value of a claim", value.len(), CLAIM_VALUE_BYTES_MAX)
            .map_err(ClaimError::TooLarge)?;
        let key = key.clone();
        self.writer.submit(value.len(), move |batch| batch.put_claim(&key, expected, &value)).await
    }

    async fn delete(&self, key: &ClaimKey, expected: ClaimRevision) -> Result<(), ClaimError> {
        let key = key.clone();
        self.writer.submit(0, move |batch| batch.delete_claim(&key, expected)).await
    }

    async fn list(
        &self,
        under: &ClaimKey,
        after: Option<&ClaimKey>,
        limit: usize,
    ) -> Result<Vec<(ClaimKey, Claim)>, StoreError> {
        const SQL: &str =
            "SELECT key, revision, value FROM claims WHERE key > ?1 AND key < ?2 ORDER BY key LIMIT ?3";
        let (from, to) = under.below();
        let from = match after {
            Some(after) if after.as_str() > from.as_str() => after.to_string(),
            _ => from,
        };
        let faulty = self.faulty.clone();
        self.readers
            .submit(move |connection| {
                page(connection, &faulty, SQL, params![from, to, sql_limit(limit)], limit, |row| {
                    let text = row.get_ref(0)?.as_str()?;
                    let value = Bytes::copy_from_slice(row.get_ref(2)?.as_blob()?);
                    let claim = Claim { revision: ClaimRevision(number(row.get(1)?)), value };
                    let bytes = text.len() + claim.value.len();
                    let key = ClaimKey::parse(text)
                        .map_err(|error| faulty.damaged(format!("the claim {text:?}"), error));
                    Ok((bytes, key.map(|key| (key, claim))))
                })
            })
            .await
    }
}
