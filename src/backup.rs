//! A backup is one file: a copy of the store, which holds the conferences, the apps with their keys, and the master key
//! where that is not in a file of its own. To restore it is to put that copy into a data directory, and the key file
//! that follows from it.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use crate::conferences::apps::{self, AppsError};
use crate::data_dir::{self, APP_KEY_FILE, AppKey, DataDir, DataDirError};
use crate::domain::Timestamp;
use crate::secret::Secret;
use crate::store::{self, BackupError, BackupFacts, EmbeddedStore, OpenError};

/// What an unfinished backup is called: the name that it will have, and this.
const UNFINISHED: &str = ".part";
/// Where a backup for a pipe is written first, in the data directory.
const FOR_PIPE: &str = "backup-for-pipe";
/// Where a backup is unpacked and checked, in the data directory, before it takes its place.
const STAGING: &str = "restoring";
/// A backup holds every key.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Why there is no backup, or nothing was restored. Nothing that was there before has changed then.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The copy.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store in it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The apps in it.
    #[error(transparent)]
    Apps(#[from] AppsError),
    /// The file is there already.
    #[error("{} is there already; choose another name, or replace it with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else writes the same file.
    #[error("another backup is being written to {}; wait for its end, or choose another name", path.display())]
    Busy {
        /// The unfinished file.
        path: PathBuf,
    },
    /// The data directory is not empty.
    #[error(
        "there is data in {} already; name an empty folder with --data-dir, or move what is there aside with --force",
        path.display()
    )]
    NotEmpty {
        /// The data directory.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}: {error}; check its rights and the space on its disk", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

fn at(path: &Path) -> impl Fn(io::Error) -> Failure {
    let path = path.to_owned();
    move |error| Failure::File { path: path.clone(), error }
}

/// An unfinished file, gone with this value unless it was given its name before. Whoever made it holds its lock, and
/// only who holds its lock removes it.
struct Unfinished {
    path: PathBuf,
    file: File,
    /// Its name is another one now.
    is_renamed: bool,
}

impl Unfinished {
    fn create(name: &Path) -> Result<Self, Failure> {
        let mut path = OsString::from(name);
        path.push(UNFINISHED);
        let path = PathBuf::from(path);
        remove_stale(&path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(FILE_MODE);
        let file = match options.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(Failure::Busy { path }),
            Err(error) => return Err(at(&path)(error)),
        };
        lock(&path, &file)?;
        Ok(Self { path, file, is_renamed: false })
    }

    /// Refuses to go on where somebody has put another file in its place.
    fn check_place(&self) -> Result<(), Failure> {
        if is_at(&self.path, &self.file).map_err(at(&self.path))? {
            return Ok(());
        }
        let error = io::Error::other("somebody put another file in its place meanwhile");
        Err(at(&self.path)(error))
    }

    /// Makes it durable under `name`, which is replaced only if `force` says so.
    fn publish(mut self, name: &Path, force: bool) -> Result<(), Failure> {
        self.file.sync_all().map_err(at(&self.path))?;
        if force {
            self.rename(name)?;
        } else {
            // A link, unlike a new name, replaces nothing that came to be meanwhile.
            match fs::hard_link(&self.path, name) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(Failure::Exists { path: name.to_owned() });
                }
                // Not every file system has links.
                Err(_) => self.rename(name)?,
            }
        }
        let folder =
            name.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        sync(folder)
    }

    fn rename(&mut self, name: &Path) -> Result<(), Failure> {
        fs::rename(&self.path, name).map_err(at(name))?;
        self.is_renamed = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Under the name it had, somebody else's may stand by now.
        if !self.is_renamed && is_at(&self.path, &self.file).unwrap_or(false) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what a crash left at `path`: a file of this user's own that nobody writes any more.
fn remove_stale(path: &Path) -> Result<(), Failure> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(path)(error)),
    };
    if !found.is_file() || !data_dir::is_own(&found) {
        let error = io::Error::other("this is there already, and no backup that this user began; remove it");
        return Err(at(path)(error));
    }
    // One with two names was published by somebody who is about to take this one back, or broke off before.
    let file = match OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(path)(error)),
    };
    lock(path, &file)?;
    fs::remove_file(path).map_err(at(path))
}

/// Takes the lock of the unfinished `file`, as long as that is what stands at `path`.
fn lock(path: &Path, file: &File) -> Result<(), Failure> {
    match file.try_lock() {
        Ok(()) if is_at(path, file).map_err(at(path))? => Ok(()),
        Ok(()) | Err(TryLockError::WouldBlock) => Err(Failure::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(at(path)(error)),
    }
}

/// Whether `path` names `file` itself.
fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    let file = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (file.dev(), file.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a backup of `data_dir` to the new file `to`; one that is there is replaced only if `force` says so. It is
/// checked and durable when this returns. Blocks.
pub fn write_file(data_dir: &Path, to: &Path, force: bool) -> Result<BackupFacts, Failure> {
    if !force && fs::symlink_metadata(to).is_ok() {
        return Err(Failure::Exists { path: to.to_owned() });
    }
    let unfinished = Unfinished::create(to)?;
    let facts = copy_and_check(data_dir, &unfinished)?;
    unfinished.publish(to, force)?;
    Ok(facts)
}

/// Writes a backup of `data_dir` into a pipe. Nothing comes before it was checked. Blocks.
pub fn write_pipe(data_dir: &Path, pipe: &mut impl Write) -> Result<BackupFacts, Failure> {
    let mut unfinished = Unfinished::create(&data_dir.join(FOR_PIPE))?;
    let facts = copy_and_check(data_dir, &unfinished)?;
    let copied = io::copy(&mut unfinished.file, pipe).and_then(|_| pipe.flush());
    copied.map_err(at(Path::new("stdout")))?;
    Ok(facts)
}

fn copy_and_check(data_dir: &Path, to: &Unfinished) -> Result<BackupFacts, Failure> {
    store::back_up(data_dir, &to.path)?;
    let facts = store::inspect(&to.path, &to.path)?;
    to.check_place()?;
    Ok(facts)
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// What the backup holds.
    pub facts: BackupFacts,
    /// Whether the key file could be written. Otherwise the next start makes a first app.
    pub has_key: bool,
    /// Where what was there before is now.
    pub moved_aside: Option<PathBuf>,
}

/// Puts the backup that `from` reads, called `name`, into `data_dir`. Data that is there refuses it, or is moved aside if
/// `force` says so. `now` names the folder for that.
pub async fn restore(
    data_dir: &Path,
    from: &mut impl Read,
    name: &Path,
    force: bool,
    now: Timestamp,
) -> Result<Restored, Failure> {
    // Held to the end: no gateway starts meanwhile.
    let locked = DataDir::open(data_dir)?;
    let there = in_the_way(data_dir);
    if !there.is_empty() && !force {
        return Err(Failure::NotEmpty { path: data_dir.to_owned() });
    }
    let staging = data_dir.join(STAGING);
    discard(&staging)?;
    DirBuilder::new().mode(FOLDER_MODE).create(&staging).map_err(at(&staging))?;
    let staged = stage(&staging, from, name).await;
    let restored = staged.and_then(|(facts, has_key)| {
        give_to_owner(&locked, &staging)?;
        // From here until all is in its place a gateway that starts would find a part, or nothing and begin anew.
        locked.is_being_restored()?;
        let moved_aside = move_aside(data_dir, &there, now)?;
        take_place(data_dir, &staging, has_key)?;
        locked.is_restored()?;
        Ok(Restored { facts, has_key, moved_aside })
    });
    discard(&staging)?;
    restored
}

/// Unpacks the backup into a folder of its own, as a data directory that a gateway could start on.
async fn stage(staging: &Path, from: &mut impl Read, name: &Path) -> Result<(BackupFacts, bool), Failure> {
    let file = store::store_file(staging);
    let mut copy =
        OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&file).map_err(at(&file))?;
    io::copy(from, &mut copy).map_err(at(name))?;
    copy.sync_all().map_err(at(&file))?;
    let facts = store::inspect(&file, name)?;
    // Opened once, so that an older format is brought up to date now and not at a start that may be far away.
    let store = EmbeddedStore::open(staging)?;
    let key = apps::first_key(&store).await;
    store.close().await;
    let key = key?.map(|(app, secret)| AppKey { app, secret: Secret::new(secret) });
    if let Some(key) = &key {
        data_dir::write_app_key(staging, key).map_err(at(&staging.join(APP_KEY_FILE)))?;
    }
    Ok((facts, key.is_some()))
}

/// The files of a gateway that has run in `data_dir`.
fn in_the_way(data_dir: &Path) -> Vec<PathBuf> {
    let store = store::store_file(data_dir);
    let beside = |ending: &str| {
        let mut path = OsString::from(&store);
        path.push(ending);
        PathBuf::from(path)
    };
    // The store comes first: what a cut leaves of the others without it is nothing that a gateway would read.
    let files = [store.clone(), beside("-wal"), beside("-shm"), data_dir.join(APP_KEY_FILE)];
    files.into_iter().filter(|file| fs::symlink_metadata(file).is_ok()).collect()
}

fn move_aside(data_dir: &Path, files: &[PathBuf], now: Timestamp) -> Result<Option<PathBuf>, Failure> {
    if files.is_empty() {
        return Ok(None);
    }
    let aside = data_dir.join(format!("replaced-{}", now.0));
    DirBuilder::new().mode(FOLDER_MODE).create(&aside).map_err(at(&aside))?;
    for file in files {
        let Some(name) = file.file_name() else { continue };
        fs::rename(file, aside.join(name)).map_err(at(file))?;
    }
    sync(&aside)?;
    sync(data_dir)?;
    Ok(Some(aside))
}

fn take_place(data_dir: &Path, staging: &Path, has_key: bool) -> Result<(), Failure> {
    let mut moves = vec![(store::store_file(staging), store::store_file(data_dir))];
    if has_key {
        moves.push((staging.join(APP_KEY_FILE), data_dir.join(APP_KEY_FILE)));
    }
    for (from, to) in moves {
        fs::rename(&from, &to).map_err(at(&to))?;
    }
    sync(data_dir)
}

/// Gives what was made here to whom the data directory belongs: an administrator may restore for the gateway's user, which
/// could not open the files otherwise.
fn give_to_owner(data_dir: &DataDir, staging: &Path) -> Result<(), Failure> {
    let owner = fs::metadata(data_dir.path()).map_err(at(data_dir.path()))?;
    let give = |path: &Path, file: &File| {
        let made = file.metadata().map_err(at(path))?;
        if made.uid() == owner.uid() {
            return Ok(());
        }
        fchown(file, Some(owner.uid()), Some(owner.gid())).map_err(at(path))
    };
    for path in [store::store_file(staging), staging.join(APP_KEY_FILE)] {
        match data_dir::open_itself(&path, OpenOptions::new().read(true)) {
            Ok(file) => give(&path, &file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&path)(error)),
        }
    }
    give(&data_dir.path().join(data_dir::LOCK_FILE), &data_dir.lock()?)
}

fn discard(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(folder)(error)),
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> Result<(), Failure> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn nothing_is_written_through_a_link() {
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        drop(EmbeddedStore::open(data.path()).unwrap());
        let target = elsewhere.path().join("target");
        fs::write(&target, "precious").unwrap();
        symlink(&target, data.path().join("backup-for-pipe.part")).unwrap();
        let mut pipe = Vec::new();
        let line = write_pipe(data.path(), &mut pipe).unwrap_err().to_string();
        assert!(line.contains("remove it") && pipe.is_empty(), "{line}");
        let to = data.path().join("backup.db");
        symlink(&target, data.path().join("backup.db.part")).unwrap();
        write_file(data.path(), &to, false).unwrap_err();
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    }

    #[test]
    fn a_file_of_another_user_is_not_taken_for_ones_own() {
        let data = tempfile::tempdir().unwrap();
        drop(EmbeddedStore::open(data.path()).unwrap());
        let part = data.path().join("backup.db.part");
        fs::write(&part, "half").unwrap();
        if chown(&part, Some(12_345), None).is_ok() {
            write_file(data.path(), &data.path().join("backup.db"), false).unwrap_err();
            assert_eq!(fs::read_to_string(&part).unwrap(), "half");
        }
    }

    #[test]
    fn a_backup_that_is_published_meanwhile_stays_whole() {
        let data = tempfile::tempdir().unwrap();
        let name = data.path().join("backup.db");
        let first = Unfinished::create(&name).unwrap();
        fs::write(&first.path, "whole").unwrap();
        // Somebody has opened the unfinished file, and comes to its lock only when it has its name.
        let late = File::open(&first.path).unwrap();
        let path = first.path.clone();
        first.publish(&name, true).unwrap();
        assert!(matches!(lock(&path, &late), Err(Failure::Busy { .. })));
        let second = Unfinished::create(&name).unwrap();
        assert!(matches!(Unfinished::create(&name), Err(Failure::Busy { .. })));
        assert!(matches!(second.publish(&name, false), Err(Failure::Exists { .. })));
        assert_eq!(fs::read_to_string(&name).unwrap(), "whole");
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_restore_that_breaks_off_half_way_is_known_until_one_goes_through() {
        let data = tempfile::tempdir().unwrap();
        drop(EmbeddedStore::open(data.path()).unwrap());
        let (file, key) = (data.path().join("backup.db"), data.path().join(APP_KEY_FILE));
        write_file(data.path(), &file, false).unwrap();
        // What was there is moved aside, and a folder takes the place of the store meanwhile.
        let aside = data.path().join("replaced-1");
        fs::create_dir_all(aside.join("tidegate.db")).unwrap();
        let force = async |now| {
            let mut from = File::open(&file).unwrap();
            restore(data.path(), &mut from, &file, true, Timestamp(now)).await
        };
        force(1).await.unwrap_err();
        let check = || DataDir::open(data.path()).unwrap().check_whole();
        let line = check().unwrap_err().to_string();
        assert!(line.contains("restore --force") && line.contains("replaced-"), "{line}");
        force(2).await.unwrap();
        check().unwrap();
        assert!(!key.exists(), "the backup had none");
    }

    #[tokio::test]
    async fn an_administrator_restores_for_the_user_that_the_folder_belongs_to() {
        const SOMEBODY: u32 = 12_345;
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        if chown(elsewhere.path(), Some(SOMEBODY), Some(SOMEBODY)).is_err() {
            // Only root gives files away; nobody else can restore for another user.
            return;
        }
        drop(EmbeddedStore::open(data.path()).unwrap());
        let file = data.path().join("backup.db");
        write_file(data.path(), &file, false).unwrap();
        let mut from = File::open(&file).unwrap();
        restore(elsewhere.path(), &mut from, &file, false, Timestamp(1)).await.unwrap();
        for entry in fs::read_dir(elsewhere.path()).unwrap().flatten() {
            let made = entry.metadata().unwrap();
            assert_eq!((made.uid(), made.gid()), (SOMEBODY, SOMEBODY), "{:?}", entry.file_name());
        }
    }
}
