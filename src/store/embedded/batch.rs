//! The operations of one transaction. Each compares before it changes, so that one which does not fit leaves no
//! trace and needs no savepoint.

use bytes::Bytes;
use rusqlite::{OptionalExtension, Transaction, params};

use crate::domain::{AppId, ConferenceId, Timestamp};
use crate::store::{
    AppendError, ClaimError, ClaimKey, ClaimRevision, Position, Revision, Snapshot, TRIM_RECORDS_MAX,
};

/// A record as it is written, with what the row of its log tells of it.
#[derive(Debug)]
pub(super) struct NewRecord {
    pub(super) text: String,
    /// The app of the conference that begins with it.
    pub(super) app: Option<AppId>,
    /// When the conference ended, if this ends it.
    pub(super) ended_at: Option<Timestamp>,
}

/// Free pages of 4 KiB that stay in the file for what comes next, at least: 16 MiB.
const FREE_PAGES_KEPT: i64 = 4_096;
/// And one of so many pages of the file, so that a day's logs find the place that those of the day before left.
const FREE_SHARE_KEPT: i64 = 4;
/// Pages given back in one transaction: each may have to be moved, and all are written twice. 1 MiB.
const PAGES_GIVEN_BACK: i64 = 256;

/// A transaction with what has been done in it.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    transaction: Transaction<'a>,
    before: Counters,
    counters: Counters,
    changes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counters {
    position: i64,
    claim_revision: i64,
}

/// What a batch has kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    /// Operations that changed something.
    pub(super) operations: u64,
    /// The newest record, if there is a new one.
    pub(super) newest: Option<Position>,
}

/// A revision as SQLite keeps it. Ours never leave the range, so that what does is nobody's.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The number of a column that we filled from a counter.
pub(super) fn number(integer: i64) -> u64 {
    integer.unsigned_abs()
}

impl<'a> Batch<'a> {
    pub(super) fn begin(transaction: Transaction<'a>) -> rusqlite::Result<Self> {
        let counters = transaction
            .prepare_cached("SELECT last_position, last_claim_revision FROM counters")?
            .query_row([], |row| Ok(Counters { position: row.get(0)?, claim_revision: row.get(1)? }))?;
        Ok(Self { transaction, before: counters, counters, changes: 0 })
    }

    /// Makes everything durable. A batch that changed nothing costs no commit.
    pub(super) fn commit(self) -> rusqlite::Result<Kept> {
        let newest = (self.counters.position > self.before.position)
            .then_some(Position(number(self.counters.position)));
        let kept = Kept { operations: self.changes, newest };
        if self.changes == 0 {
            self.transaction.rollback()?;
            return Ok(kept);
        }
        if self.counters != self.before {
            self.transaction
                .prepare_cached("UPDATE counters SET last_position = ?1, last_claim_revision = ?2")?
                .execute(params![self.counters.position, self.counters.claim_revision])?;
        }
        self.transaction.commit()?;
        Ok(kept)
    }

    pub(super) fn append(
        &mut self,
        conference: &ConferenceId,
        expected: Revision,
        record: &NewRecord,
    ) -> rusqlite::Result<Result<Revision, AppendError>> {
        let found: Option<(i64, bool)> = self
            .transaction
            .prepare_cached("SELECT head, ended FROM logs WHERE conference = ?1")?
            .query_row([conference.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (head, ended) = found.unwrap_or((0, false));
        if head != integer(expected.0) {
            return Ok(Err(AppendError::Conflict));
        }
        if ended {
            return Ok(Err(AppendError::Ended));
        }
        self.counters.position += 1;
        let position = self.counters.position;
        self.transaction
            .prepare_cached("INSERT INTO records (position, conference, body) VALUES (?1, ?2, ?3)")?
            .execute(params![position, conference.as_str(), record.text])?;
        self.transaction
            .prepare_cached(
                "INSERT INTO logs (conference, head, ended, ended_at, app) VALUES (?1, ?2, ?3 IS NOT NULL, ?3, ?4)
                 ON CONFLICT (conference) DO UPDATE
                 SET head = excluded.head, ended = excluded.ended, ended_at = excluded.ended_at",
            )?
            .execute(params![
                conference.as_str(),
                position,
                record.ended_at.map(|at| integer(at.0)),
                record.app.as_ref().map(AppId::as_str),
            ])?;
        self.changes += 1;
        Ok(Ok(Revision(number(position))))
    }

    pub(super) fn put_snapshot(
        &mut self,
        conference: &ConferenceId,
        at: Revision,
        snapshot: &Snapshot,
    ) -> rusqlite::Result<()> {
        // "WHERE" before "ON CONFLICT" also keeps SQLite from reading "ON" as part of a join.
        let changed = self
            .transaction
            .prepare_cached(
                "INSERT INTO snapshots (conference, revision, seq, format, bytes)
                 SELECT conference, ?2, ?3, ?4, ?5 FROM logs
                 WHERE conference = ?1 AND ?2 BETWEEN trimmed AND head AND emptied = 0
                 ON CONFLICT (conference, revision) DO UPDATE
                 SET seq = excluded.seq, format = excluded.format, bytes = excluded.bytes",
            )?
            .execute(params![
                conference.as_str(),
                integer(at.0),
                integer(snapshot.seq().0),
                snapshot.format(),
                &snapshot.bytes()[..]
            ])?;
        self.changes += changed as u64;
        Ok(())
    }

    pub(super) fn trim(&mut self, conference: &ConferenceId, through: Revision) -> rusqlite::Result<usize> {
        let found: Option<(i64, bool, i64)> = self
            .transaction
            .prepare_cached(
                "SELECT head, ended,
                        coalesce((SELECT max(revision) FROM snapshots WHERE conference = ?1), 0)
                 FROM logs WHERE conference = ?1",
            )?
            .query_row([conference.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((head, ended, folded)) = found else { return Ok(0) };
        let through = if ended { integer(through.0) } else { integer(through.0).min(folded) };
        let (removed, last) = self.remove_records(conference, through)?;
        let Some(last) = last else { return Ok(0) };
        let emptied = ended && last == head;
        self.transaction
            .prepare_cached("UPDATE logs SET trimmed = ?2, emptied = ?3 WHERE conference = ?1")?
            .execute(params![conference.as_str(), last, emptied])?;
        self.transaction
            .prepare_cached("DELETE FROM snapshots WHERE conference = ?1 AND (revision < ?2 OR ?3)")?
            .execute(params![conference.as_str(), last, emptied])?;
        Ok(removed)
    }

    /// Removes a part of an ended log; tells whether nothing of it is left to remove.
    pub(super) fn forget(&mut self, conference: &ConferenceId) -> rusqlite::Result<bool> {
        let ended: Option<bool> = self
            .transaction
            .prepare_cached("SELECT ended FROM logs WHERE conference = ?1")?
            .query_row([conference.as_str()], |row| row.get(0))
            .optional()?;
        if ended != Some(true) {
            return Ok(true);
        }
        if self.remove_records(conference, i64::MAX)?.0 == TRIM_RECORDS_MAX {
            return Ok(false);
        }
        for sql in ["DELETE FROM snapshots WHERE conference = ?1", "DELETE FROM logs WHERE conference = ?1"] {
            self.transaction.prepare_cached(sql)?.execute([conference.as_str()])?;
        }
        self.changes += 1;
        Ok(true)
    }

    /// How many of the oldest records are gone, and the position of the last of them.
    fn remove_records(
        &mut self,
        conference: &ConferenceId,
        through: i64,
    ) -> rusqlite::Result<(usize, Option<i64>)> {
        let last: Option<i64> = self
            .transaction
            .prepare_cached(
                "SELECT max(position) FROM (
                     SELECT position FROM records WHERE conference = ?1 AND position <= ?2
                     ORDER BY position LIMIT ?3)",
            )?
            .query_row(params![conference.as_str(), through, integer(TRIM_RECORDS_MAX as u64)], |row| {
                row.get(0)
            })?;
        let removed = self
            .transaction
            .prepare_cached("DELETE FROM records WHERE conference = ?1 AND position <= ?2")?
            .execute(params![conference.as_str(), last])?;
        self.changes += u64::from(removed > 0);
        Ok((removed, last))
    }

    pub(super) fn put_claim(
        &mut self,
        key: &ClaimKey,
        expected: Option<ClaimRevision>,
        value: &Bytes,
    ) -> rusqlite::Result<Result<ClaimRevision, ClaimError>> {
        if self.claim_revision(key)? != expected {
            return Ok(Err(ClaimError::Conflict));
        }
        self.counters.claim_revision += 1;
        let revision = self.counters.claim_revision;
        self.transaction
            .prepare_cached(
                "INSERT INTO claims (key, revision, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, value = excluded.value",
            )?
            .execute(params![key.as_str(), revision, &value[..]])?;
        self.changes += 1;
        Ok(Ok(ClaimRevision(number(revision))))
    }

    pub(super) fn delete_claim(
        &mut self,
        key: &ClaimKey,
        expected: ClaimRevision,
    ) -> rusqlite::Result<Result<(), ClaimError>> {
        if self.claim_revision(key)? != Some(expected) {
            return Ok(Err(ClaimError::Conflict));
        }
        self.transaction.prepare_cached("DELETE FROM claims WHERE key = ?1")?.execute([key.as_str()])?;
        self.changes += 1;
        Ok(Ok(()))
    }

    /// Gives some of the file's free pages back to the disk; tells whether there are more to give.
    pub(super) fn give_back_pages(&mut self) -> rusqlite::Result<bool> {
        let number = |sql: &str| self.transaction.query_row(sql, [], |row| row.get::<_, i64>(0));
        let free = number("PRAGMA freelist_count")?;
        let spare = free - FREE_PAGES_KEPT.max(number("PRAGMA page_count")? / FREE_SHARE_KEPT);
        if spare <= 0 || number("PRAGMA auto_vacuum")? == 0 {
            return Ok(false);
        }
        // Not a query of one row: it works while it is stepped through.
        self.transaction.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES_GIVEN_BACK})"))?;
        self.changes += 1;
        Ok(spare > PAGES_GIVEN_BACK)
    }

    fn claim_revision(&self, key: &ClaimKey) -> rusqlite::Result<Option<ClaimRevision>> {
        self.transaction
            .prepare_cached("SELECT revision FROM claims WHERE key = ?1")?
            .query_row([key.as_str()], |row| Ok(ClaimRevision(number(row.get(0)?))))
            .optional()
    }

    /// Runs SQL of a test inside the batch, as a change.
    #[cfg(test)]
    pub(super) fn run(&mut self, sql: &str) -> rusqlite::Result<()> {
        self.changes += 1;
        self.transaction.execute_batch(sql)
    }
    /// The text that a query of a test gives.
    #[cfg(test)]
    pub(super) fn query(&self, sql: &str) -> rusqlite::Result<String> {
        self.transaction.query_row(sql, [], |row| row.get(0))
    }
}
