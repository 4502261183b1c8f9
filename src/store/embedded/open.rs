//! Opening the file: the folder, the lock, the checks, the settings of a connection.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::schema::{self, Found, Step};

/// The database, in the data directory.
pub(super) const FILE_NAME: &str = "tidegate.db";
/// Locked for as long as the store is open. A server locks it before it opens the store.
const LOCK_NAME: &str = "tidegate.lock";
/// Only the gateway's user reads the database: it holds the master key and the apps' secrets.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// The first bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// How long a statement waits for a lock of another connection. Within the process nobody holds one for long; a
/// backup tool from outside may.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Pages of 4 KiB in the write-ahead log after which a commit copies it into the database: 4 MiB, SQLite's default.
const CHECKPOINT_PAGES: i64 = 1_000;
/// What is left of the write-ahead log file after a checkpoint that emptied it, so that one large burst does not
/// occupy the disk for good.
const WAL_BYTES_KEPT: i64 = 16 * 1024 * 1024;

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder, the lock or the database file cannot be made or read.
    #[error(
        "{}: {source}; the data directory must be on a local disk and writable by the gateway's user",
        path.display()
    )]
    File {
        /// What could not be made or read.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{} is in use by another server: stop it, or give this one a data directory of its own", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// There is a file of this name, but it is something else.
    #[error("{} is not a Tidegate store: move it away, or choose another data directory", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later release has written it.
    #[error(
        "{} was written by a newer release (format version {found}, this one knows up to {known}): run that release, \
         or restore a backup from before the upgrade", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        found: i64,
        /// The newest version that this release reads.
        known: i64,
    },
    /// It cannot be brought to the version of this release.
    #[error(
        "{}: the upgrade from format version {from} failed ({source}); the file is as it was at that version, \
         and the release that wrote it can go on with it", path.display()
    )]
    Upgrade {
        /// The file.
        path: PathBuf,
        /// The version it still has.
        from: i64,
        /// The engine's reason.
        source: rusqlite::Error,
    },
    /// It is ours, but its content is broken.
    #[error("{} is damaged ({source}); keep a copy of it and restore a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The engine's reason.
        source: rusqlite::Error,
    },
    /// The engine cannot work with it.
    #[error("{}: {source}; the data directory must be on a local disk, not full, and writable", path.display())]
    Engine {
        /// The file.
        path: PathBuf,
        /// The engine's reason.
        source: rusqlite::Error,
    },
}

impl OpenError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    pub(super) fn engine(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { path, source },
            _ => Self::Engine { path, source },
        }
    }
}

/// An opened and upgraded file.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) path: PathBuf,
    pub(super) writer: Connection,
    /// Unlocks when it is dropped, also by the end of the process.
    pub(super) lock: File,
}

/// Opens the file under `lock`, or under a lock taken now.
pub(super) fn open(data_dir: &Path, steps: &[Step], lock: Option<File>) -> Result<Opened, OpenError> {
    make_directory(data_dir)?;
    let lock = match lock {
        Some(lock) => lock,
        None => take_lock(data_dir)?,
    };
    let path = data_dir.join(FILE_NAME);
    make_file(&path, data_dir)?;
    let mut writer = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .map_err(OpenError::engine(&path))?;
    writer.busy_timeout(LOCK_WAIT).map_err(OpenError::engine(&path))?;
    // A file that is not for us is not written to, not even its settings.
    let from = match schema::find(&writer).map_err(OpenError::engine(&path))? {
        Found::Fresh => 0,
        Found::Version(version) => version,
        Found::Foreign => return Err(OpenError::Foreign { path }),
    };
    let known = steps.last().map_or(0, |step| step.to);
    if from > known {
        return Err(OpenError::Newer { path, found: from, known });
    }
    set_up_writer(&writer).map_err(OpenError::engine(&path))?;
    schema::upgrade(&mut writer, from, steps).map_err(|(from, source)| OpenError::Upgrade {
        path: path.clone(),
        from,
        source,
    })?;
    Ok(Opened { path, writer, lock })
}

/// One more connection to the file, for reading only.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let open = || {
        let reader = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        reader.busy_timeout(LOCK_WAIT)?;
        Ok(reader)
    };
    open().map_err(OpenError::engine(path))
}

fn make_directory(data_dir: &Path) -> Result<(), OpenError> {
    if data_dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(data_dir)
        .map_err(OpenError::file(data_dir))?;
    // A new name is durable when the folder that holds it is.
    match data_dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> Result<(), OpenError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(OpenError::file(path))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
    options
}

fn take_lock(data_dir: &Path) -> Result<File, OpenError> {
    let path = data_dir.join(LOCK_NAME);
    let file = private().open(&path).map_err(OpenError::file(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: data_dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::File { path, source }),
    }
}

/// Makes the file before SQLite does, because of its mode: the files beside it (`-wal`, `-shm`) take theirs from it.
fn make_file(path: &Path, data_dir: &Path) -> Result<(), OpenError> {
    let mut file = private().open(path).map_err(OpenError::file(path))?;
    let metadata = file.metadata().map_err(OpenError::file(path))?;
    if metadata.permissions().mode() & 0o777 != FILE_MODE {
        file.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(OpenError::file(path))?;
    }
    if metadata.len() == 0 {
        return sync_directory(data_dir);
    }
    let mut begin = [0; MAGIC.len()];
    match file.read_exact(&mut begin) {
        Ok(()) if begin == *MAGIC => Ok(()),
        Ok(()) => Err(OpenError::Foreign { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(OpenError::Foreign { path: path.to_owned() })
        }
        Err(source) => Err(OpenError::File { path: path.to_owned(), source }),
    }
}

fn set_up_writer(writer: &Connection) -> rusqlite::Result<()> {
    // Of a new file only, and before anything is written to it. A file made without it uses its freed pages again, but does
    // not shrink.
    writer.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    writer.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
        let mode: String = row.get(0)?;
        if mode == "wal" {
            Ok(())
        } else {
            Err(rusqlite::Error::InvalidParameterName(format!("journal mode {mode}")))
        }
    })?;
    // Every commit reaches the disk before it is acknowledged; group commit pays for it.
    writer.pragma_update(None, "synchronous", "FULL")?;
    writer.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    writer.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))?;
    writer.pragma_update(None, "trusted_schema", false)?;
    Ok(())
}
