//! Which version of the schema a file has, and the steps that bring an older one up to date.

use rusqlite::{Connection, TransactionBehavior};

/// Stands in the header of every file of ours.
pub(super) const APPLICATION_ID: i64 = 0x5469_6465;

/// What turns a file of the version before into one of version `to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) to: i64,
    pub(super) sql: &'static str,
}

/// All steps, oldest first, numbered from 1 without a gap. The first makes a new file.
pub(super) const STEPS: &[Step] = &[
    Step { to: 1, sql: include_str!("schema/0001_logs_and_claims.sql") },
    Step { to: 2, sql: include_str!("schema/0002_ended_logs.sql") },
];

/// What an opened file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing was ever written to it.
    Fresh,
    /// Ours, of this version.
    Version(i64),
    /// A database of somebody else.
    Foreign,
}

pub(super) fn find(connection: &Connection) -> rusqlite::Result<Found> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    Ok(match (application, version, tables) {
        (0, 0, 0) => Found::Fresh,
        (APPLICATION_ID, version, _) if version > 0 => Found::Version(version),
        _ => Found::Foreign,
    })
}

/// Carries out the steps after version `from`, each in its own transaction. On an error the file has the version of
/// the last step that went through, which the error names.
pub(super) fn upgrade(
    connection: &mut Connection,
    from: i64,
    steps: &[Step],
) -> Result<(), (i64, rusqlite::Error)> {
    let mut reached = from;
    for step in steps.iter().filter(|step| step.to > from) {
        carry_out(connection, step).map_err(|error| (reached, error))?;
        reached = step.to;
    }
    Ok(())
}

fn carry_out(connection: &mut Connection, step: &Step) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(step.sql)?;
    transaction.pragma_update(None, "user_version", step.to)?;
    transaction.commit()
}
