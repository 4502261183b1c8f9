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

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use tokio::sync::watch;

use crate::domain::{AppId, ConferenceId, Record, Seq, Timestamp};

use super::{
    AppendError, CLAIM_VALUE_BYTES_MAX, Claim, ClaimError, ClaimKey, ClaimRevision, Claims, EndedLog,
    EndedPart, Followed, Log, LogStatus, PageBudget, Position, Revision, Snapshot, SnapshotAt, StoreError,
    TooLarge, record_text,
};
pub use backup::{BackupError, BackupFacts, back_up, inspect, store_file};
use batch::{NewRecord, integer, number};
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
        Self::open_with(data_dir, schema::STEPS, None)
    }

    /// The same for a caller that has locked `tidegate.lock` in `data_dir` already. The store keeps `lock` until it is
    /// closed.
    pub fn open_locked(data_dir: &Path, lock: File) -> Result<Self, OpenError> {
        Self::open_with(data_dir, schema::STEPS, Some(lock))
    }

    fn open_with(data_dir: &Path, steps: &[Step], lock: Option<File>) -> Result<Self, OpenError> {
        let Opened { path, writer: connection, lock } = open::open(data_dir, steps, lock)?;
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
        StoreStats {
            file_bytes: self.faulty.file_bytes(),
            wal_bytes: self.faulty.wal_bytes(),
            ..self.counts.stats()
        }
    }

    /// Gives some of the space that was freed in the file back to the disk, where there is much of it. Tells whether there
    /// is more to give. Each call is one commit of some milliseconds.
    pub async fn give_back_space(&self) -> Result<bool, StoreError> {
        self.writer.submit(0, |batch| batch.give_back_pages().map(Ok)).await
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
        let record = NewRecord {
            text: record_text::encode(record)?,
            app: record.created_in().cloned(),
            ended_at: record.ended_at(),
        };
        let conference = conference.clone();
        self.writer.submit(record.text.len(), move |batch| batch.append(&conference, expected, &record)).await
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

    async fn snapshot(
        &self,
        conference: &ConferenceId,
        which: SnapshotAt,
    ) -> Result<Option<(Revision, Snapshot)>, StoreError> {
        let (sql, up_to) = match which {
            SnapshotAt::Newest => (LATER_SNAPSHOT, i64::MAX),
            SnapshotAt::UpTo(seq) => (LATER_SNAPSHOT, integer(seq.0)),
            SnapshotAt::Oldest => (EARLIER_SNAPSHOT, i64::MAX),
        };
        let conference = conference.clone();
        let faulty = self.faulty.clone();
        self.readers
            .submit(move |connection| {
                let find = || {
                    connection
                        .prepare_cached(sql)?
                        .query_row(params![conference.as_str(), up_to], |row| {
                            let bytes = Bytes::from(row.get::<_, Vec<u8>>(3)?);
                            Ok((
                                Revision(number(row.get(0)?)),
                                Snapshot::new(row.get(1)?, Seq(number(row.get(2)?)), bytes),
                            ))
                        })
                        .optional()
                };
                let Some((at, snapshot)) = find().map_err(|error| faulty.error(&error))? else {
                    return Ok(None);
                };
                let snapshot = snapshot
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

    async fn status(&self, conference: &ConferenceId) -> Result<Option<LogStatus>, StoreError> {
        const SQL: &str = "SELECT app, head, ended_at FROM logs WHERE conference = ?1";
        let conference = conference.clone();
        let faulty = self.faulty.clone();
        self.readers
            .submit(move |connection| {
                let find = || {
                    connection
                        .prepare_cached(SQL)?
                        .query_row([conference.as_str()], |row| {
                            let ended_at: Option<i64> = row.get(2)?;
                            Ok((row.get::<_, Option<String>>(0)?, row.get(1)?, ended_at))
                        })
                        .optional()
                };
                let Some((app, head, ended_at)) = find().map_err(|error| faulty.error(&error))? else {
                    return Ok(None);
                };
                let app = app.map(|app| AppId::parse(&app)).transpose();
                let app = app.map_err(|error| faulty.damaged(format!("the app of {conference}"), error))?;
                let ended_at = ended_at.map(|at| Timestamp(number(at)));
                Ok(Some(LogStatus { app, head: Revision(number(head)), ended_at }))
            })
            .await
    }

    async fn ended_conferences(
        &self,
        part: EndedPart,
        after: Option<&EndedLog>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<EndedLog>, StoreError> {
        let sql = match part {
            EndedPart::All => ENDED_LOGS,
            EndedPart::WithRecords => ENDED_LOGS_WITH_RECORDS,
        };
        // Before every time stands a negative one.
        let (at, id) =
            after.map_or((-1, String::new()), |ended| (integer(ended.at.0), ended.conference.to_string()));
        let faulty = self.faulty.clone();
        self.readers
            .submit(move |connection| {
                let parameters = params![at, id, integer(until.0), sql_limit(limit)];
                page(connection, &faulty, sql, parameters, limit, |row| {
                    let at = Timestamp(number(row.get(0)?));
                    let text = row.get_ref(1)?.as_str()?;
                    let ended = conference_id(text, &faulty).map(|conference| EndedLog { at, conference });
                    Ok((text.len(), ended))
                })
            })
            .await
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

const LATER_SNAPSHOT: &str = "SELECT revision, format, seq, bytes FROM snapshots
     WHERE conference = ?1 AND seq <= ?2 ORDER BY revision DESC LIMIT 1";
const EARLIER_SNAPSHOT: &str = "SELECT revision, format, seq, bytes FROM snapshots
     WHERE conference = ?1 AND seq <= ?2 ORDER BY revision LIMIT 1";
const ENDED_LOGS: &str = "SELECT ended_at, conference FROM logs
     WHERE ended = 1 AND (ended_at, conference) > (?1, ?2) AND ended_at <= ?3
     ORDER BY ended_at, conference LIMIT ?4";
const ENDED_LOGS_WITH_RECORDS: &str = "SELECT ended_at, conference FROM logs
     WHERE ended = 1 AND emptied = 0 AND (ended_at, conference) > (?1, ?2) AND ended_at <= ?3
     ORDER BY ended_at, conference LIMIT ?4";

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
