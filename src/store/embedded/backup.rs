//! A copy of the whole store in one file, and the look at such a file before it is trusted.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::open::{FILE_NAME, LOCK_WAIT};
use super::schema::{self, Found, STEPS};

/// Why a store could not be copied, or a copy not be taken.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is nothing to copy.
    #[error(
        "there is no store in {}; name the data directory of a gateway with --data-dir or TIDEGATE_DATA_DIR",
        data_dir.display()
    )]
    NoStore {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// A path that SQLite cannot be told.
    #[error("{} is not UTF-8; choose another name", path.display())]
    NotText {
        /// The path.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{} is not a Tidegate store; give the file that `tidegate backup` wrote", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later release has written it.
    #[error(
        "{} was written by a newer release (format version {found}, this one knows up to {known}); restore it with that \
         release", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        found: i64,
        /// The newest version that this release reads.
        known: i64,
    },
    /// Its content is broken.
    #[error("{} is damaged ({fault}); take another backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the engine found.
        fault: String,
    },
    /// The engine failed.
    #[error("{}: {source}; check the disk and its space", path.display())]
    Engine {
        /// The file.
        path: PathBuf,
        /// The engine's reason.
        source: rusqlite::Error,
    },
}

impl BackupError {
    fn engine(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign { path: path.clone() },
            Some(ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path: path.clone(), fault: source.to_string() }
            }
            _ => Self::Engine { path: path.clone(), source },
        }
    }
}

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupFacts {
    /// Conferences that have not ended.
    pub open_conferences: u64,
    /// Records of all conferences.
    pub records: u64,
}

/// The file of the store in `data_dir`.
pub fn store_file(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE_NAME)
}

/// Copies the store in `data_dir` into the file `to`, which must be empty or absent: everything that was acknowledged
/// before, as of one moment. Works beside a running gateway, which goes on writing meanwhile. Blocks.
pub fn back_up(data_dir: &Path, to: &Path) -> Result<(), BackupError> {
    let from = store_file(data_dir);
    if !from.is_file() {
        return Err(BackupError::NoStore { data_dir: data_dir.to_owned() });
    }
    let reader = open(&from)?;
    version(&reader, &from)?;
    let to = &without_links(to);
    let target = to.to_str().ok_or_else(|| BackupError::NotText { path: to.to_owned() })?;
    reader.execute("VACUUM INTO ?1", [target]).map_err(BackupError::engine(to))?;
    Ok(())
}

/// Checks that `file` is a whole store that this release reads. Blocks for as long as it takes to read all of it.
/// Errors call it `name`.
pub fn inspect(file: &Path, name: &Path) -> Result<BackupFacts, BackupError> {
    let reader = open(file).map_err(|error| named(error, name))?;
    version(&reader, name)?;
    let look = || {
        let fault: String = reader.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        let count = |sql: &str| reader.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
        let open_conferences = count("SELECT count(*) FROM logs WHERE ended = 0")?;
        Ok((fault, BackupFacts { open_conferences, records: count("SELECT count(*) FROM records")? }))
    };
    match look().map_err(BackupError::engine(name))? {
        (fault, facts) if fault == "ok" => Ok(facts),
        (fault, _) => Err(BackupError::Damaged { path: name.to_owned(), fault }),
    }
}

/// `file` with the folder that holds it spelled out. The engine can refuse links only on the whole way, and the folders
/// are those that the operator named.
fn without_links(file: &Path) -> PathBuf {
    let folder =
        file.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let folder = folder.and_then(|folder| folder.canonicalize().ok());
    folder.zip(file.file_name()).map_or_else(|| file.to_owned(), |(folder, name)| folder.join(name))
}

/// What this connection writes elsewhere is no link: an administrator works in a folder where the gateway's user may have
/// put one.
fn open(file: &Path) -> Result<Connection, BackupError> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        let reader = Connection::open_with_flags(file, flags)?;
        reader.busy_timeout(LOCK_WAIT)?;
        Ok(reader)
    };
    open().map_err(BackupError::engine(file))
}

/// Refuses what is not a store, and what is newer than this release.
fn version(reader: &Connection, name: &Path) -> Result<(), BackupError> {
    let known = STEPS.last().map_or(0, |step| step.to);
    match schema::find(reader).map_err(BackupError::engine(name))? {
        Found::Version(found) if found > known => {
            Err(BackupError::Newer { path: name.to_owned(), found, known })
        }
        Found::Version(_) => Ok(()),
        Found::Fresh | Found::Foreign => Err(BackupError::Foreign { path: name.to_owned() }),
    }
}

fn named(error: BackupError, name: &Path) -> BackupError {
    match error {
        BackupError::Engine { source, .. } => BackupError::engine(name)(source),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::{ClaimKey, Claims as _, EmbeddedStore};

    fn key(number: u32) -> ClaimKey {
        ClaimKey::from_parts(&["test", &number.to_string()]).unwrap()
    }

    #[tokio::test]
    async fn a_copy_of_an_open_store_can_be_opened_as_one() {
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = EmbeddedStore::open(data.path()).unwrap();
        store.put(&key(1), None, "one".into()).await.unwrap();
        let copy = store_file(elsewhere.path());
        back_up(data.path(), &copy).unwrap();
        store.put(&key(2), None, "two".into()).await.unwrap();
        assert_eq!(inspect(&copy, &copy).unwrap(), BackupFacts { open_conferences: 0, records: 0 });
        let copied = EmbeddedStore::open(elsewhere.path()).unwrap();
        assert_eq!(copied.get(&key(1)).await.unwrap().unwrap().value, "one");
        assert_eq!(copied.get(&key(2)).await.unwrap(), None);
        store.close().await;
        // A store that nobody has open can be copied too, and is as it was.
        let again = elsewhere.path().join("again.db");
        back_up(data.path(), &again).unwrap();
        inspect(&again, &again).unwrap();
        let store = EmbeddedStore::open(data.path()).unwrap();
        assert_eq!(store.get(&key(2)).await.unwrap().unwrap().value, "two");
    }

    #[test]
    fn what_is_no_backup_is_told_by_the_name_it_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let (file, name) = (folder.path().join("copy"), Path::new("monday.db"));
        let line = || inspect(&file, name).unwrap_err().to_string();
        for text in ["", "these are some words and not a database, however long they go on"] {
            fs::write(&file, text).unwrap();
            assert!(line().contains("monday.db is not a Tidegate store"), "{}", line());
        }
        let data = tempfile::tempdir().unwrap();
        drop(EmbeddedStore::open(data.path()).unwrap());
        let set = |sql: &str| {
            fs::remove_file(&file).unwrap();
            back_up(data.path(), &file).unwrap();
            Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        };
        set("PRAGMA user_version = 99");
        assert!(line().contains("monday.db was written by a newer release (format version 99"), "{}", line());
        set("PRAGMA application_id = 7");
        assert!(line().contains("is not a Tidegate store"), "{}", line());
        set("");
        let mut bytes = fs::read(&file).unwrap();
        let end = bytes.len() - 1;
        bytes[4096..end].fill(0xA5);
        fs::write(&file, bytes).unwrap();
        assert!(line().contains("monday.db is damaged"), "{}", line());
        assert!(matches!(back_up(folder.path(), &file), Err(BackupError::NoStore { .. })));
    }
}
