//! The bound of the write-ahead log file.
//!
//! Every commit of enough pages copies the log into the database, and the file is used anew once no reader needs it.
//! Where readers overlap without a gap that moment never comes, and the file would grow until the disk is full.

use std::time::Duration;

use rusqlite::Connection;

use super::fault::Faulty;
use super::open::LOCK_WAIT;

/// Size of the file at which the writer waits for the readers and empties it.
pub(super) const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long it waits for them, with all appends behind it. Our own reads are over by then; a backup from outside is
/// not waited for.
const EMPTYING_WAIT: Duration = Duration::from_millis(100);

/// At which size the file is emptied next.
#[derive(Debug)]
pub(super) struct WalBound {
    bytes: u64,
}

impl Default for WalBound {
    fn default() -> Self {
        Self { bytes: WAL_BYTES_MAX }
    }
}

impl WalBound {
    /// Empties a file that has reached the bound. Where somebody keeps it in use, the bound becomes twice its size,
    /// so that appends do not wait for that reader again and again.
    pub(super) fn keep(&mut self, writer: &Connection, faulty: &Faulty) {
        let bytes = faulty.wal_bytes();
        if bytes < self.bytes {
            return;
        }
        self.bytes = match empty(writer) {
            Ok(true) => WAL_BYTES_MAX,
            Ok(false) => {
                tracing::warn!(
                    bytes,
                    "the write-ahead log of the store is large, and a reader keeps it in use"
                );
                bytes * 2
            }
            Err(error) => {
                tracing::error!(bytes, error = %faulty.error(&error), "the store could not checkpoint");
                bytes * 2
            }
        };
    }
}

/// Tells whether it could.
fn empty(writer: &Connection) -> rusqlite::Result<bool> {
    writer.busy_timeout(EMPTYING_WAIT)?;
    let in_use = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    writer.busy_timeout(LOCK_WAIT)?;
    Ok(!in_use?)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::embedded::open::{Opened, open};
    use crate::store::embedded::schema::STEPS;

    #[test]
    fn a_file_at_the_bound_is_emptied_unless_a_reader_needs_it() {
        let folder = TempDir::new().unwrap();
        let Opened { path, writer, lock: _lock } = open(folder.path(), STEPS, None).unwrap();
        let faulty = Faulty::new(&path);
        let change = || writer.execute_batch("INSERT INTO claims VALUES (random(), 1, x'00')").unwrap();
        change();
        let bytes = faulty.wal_bytes();
        assert!(bytes > 0);
        let mut wal = WalBound { bytes: bytes + 1 };
        wal.keep(&writer, &faulty);
        assert_eq!((faulty.wal_bytes(), wal.bytes), (bytes, bytes + 1), "below the bound nothing is done");

        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM claims").unwrap();
        wal.bytes = bytes;
        wal.keep(&writer, &faulty);
        assert_eq!((faulty.wal_bytes(), wal.bytes), (bytes, bytes * 2));
        change();

        reader.execute_batch("COMMIT").unwrap();
        wal.bytes = bytes;
        wal.keep(&writer, &faulty);
        assert_eq!((faulty.wal_bytes(), wal.bytes), (0, WAL_BYTES_MAX));
        change();
    }
}
