//! The data directory: made with narrow rights, used by one server at a time, home of the app key.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use crate::domain::AppId;
use crate::entropy::{self, EntropyError};
use crate::secret::Secret;

/// The file whose lock says that a server is running; the store takes the same. It stays when the server ends; only the
/// lock counts.
pub const LOCK_FILE: &str = "tidegate.lock";
/// The file with the first app's key.
pub const APP_KEY_FILE: &str = "app.key";
/// Where the key is written before it gets its name, so that no half of it is ever read.
const APP_KEY_DRAFT: &str = "app.key.new";
/// Says that a restore is putting what it unpacked into the place of what was there: neither is whole.
const HALF_RESTORED_FILE: &str = "restore-unfinished";
/// Only the server's own user may enter.
const DIRECTORY_MODE: u32 = 0o700;
/// Only the server's own user may read.
const SECRET_FILE_MODE: u32 = 0o600;
/// The right to write, of the group and of everybody else.
const OTHERS_MAY_WRITE: u32 = 0o022;
/// Key files are short; a longer one is not a key file.
const KEY_FILE_BYTES_MAX: u64 = 4096;
/// Shortest master key: 256 bits when the bytes are random.
const MASTER_KEY_BYTES_MIN: usize = 32;
/// Shortest secret of an app key, in characters: 128 bits in base64.
const APP_SECRET_CHARS_MIN: usize = 22;

/// Why the data directory, or a key file, cannot be used. Each message is one line that says how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made, or nothing can be written there.
    #[error(
        "cannot write to the data directory {}: {error}; give this user the right to write there or set \
         TIDEGATE_DATA_DIR to another folder", path.display()
    )]
    Unwritable {
        /// The folder or file that failed.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Something else stands in its place.
    #[error(
        "the data directory {} cannot be used: {} is a file and no folder; move it away, or set TIDEGATE_DATA_DIR to a \
         folder", data_dir.display(), file.display()
    )]
    NotAFolder {
        /// The data directory.
        data_dir: PathBuf,
        /// What is in its place, or in that of a folder above it.
        file: PathBuf,
    },
    /// A restore broke off.
    #[error(
        "a restore into the data directory {} broke off half way, so that what is there is not whole; run `tidegate restore \
         --force` with the same backup again. What was there before is in the folders replaced-* beside it", path.display()
    )]
    HalfRestored {
        /// The data directory.
        path: PathBuf,
    },
    /// Somebody holds the lock.
    #[error(
        "another tidegate is running on the data directory {}; stop it or set TIDEGATE_DATA_DIR to another folder",
        path.display()
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// No server has made a key here yet.
    #[error(
        "there is no app key in {}; start the gateway once (`tidegate serve`) to make one, or set TIDEGATE_DATA_DIR \
         to the folder that it uses", path.display()
    )]
    NoAppKey {
        /// The data directory.
        path: PathBuf,
    },
    /// The file that `master_key_file` names cannot be read.
    #[error(
        "cannot read master_key_file {}: {error}; run as the user that owns it, or correct the setting",
        path.display()
    )]
    MasterKeyUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A key file that cannot be read.
    #[error("cannot read the key file {}: {error}; run as the user that owns it", path.display())]
    KeyUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The key file of the data directory holds something else.
    #[error(
        "the key file {} does not hold <appId>.<secret>; remove it and start the gateway, which writes the key of its \
         store anew", path.display()
    )]
    KeyMalformed {
        /// The file.
        path: PathBuf,
    },
    /// A key file of the operator's own holds something else.
    #[error("{} does not hold <appId>.<secret>; `tidegate key show` and `tidegate app add` print one", path.display())]
    NoKeyInFile {
        /// The file.
        path: PathBuf,
    },
    /// A master key that protects nothing.
    #[error(
        "the master key file {} must hold 32 to 4096 bytes; make one with `openssl rand -base64 32`", path.display()
    )]
    MasterKeyLength {
        /// The file.
        path: PathBuf,
    },
    /// No random bytes for a new key.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// The key of an app: all rights in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppKey {
    /// The app.
    pub app: AppId,
    /// What proves it.
    pub secret: Secret,
}

impl AppKey {
    /// `<appId>.<secret>`, as it stands in the file and in an `Authorization` header.
    pub fn bearer(&self) -> Secret {
        Secret::new(format!("{}.{}", self.app, self.secret.expose()))
    }

    /// Takes `<appId>.<secret>`; white space at its end is no part.
    pub fn parse(text: &str) -> Option<Self> {
        let (app, secret) = text.trim_end().split_once('.')?;
        let is_secret = secret.len() >= APP_SECRET_CHARS_MIN
            && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let secret = is_secret.then(|| Secret::new(secret.to_owned()))?;
        Some(Self { app: AppId::parse(app).ok()?, secret })
    }

    fn generate() -> Result<Self, EntropyError> {
        Ok(Self { app: AppId::from_random(entropy::bytes()?), secret: entropy::secret()? })
    }
}

/// A data directory that this process alone uses, for as long as this value lives. The kernel takes the lock back
/// when the process ends, however it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: File,
}

impl DataDir {
    /// Makes the folder where it is absent, and claims it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let unwritable = |path: &Path, error| DataDirError::Unwritable { path: path.to_owned(), error };
        if let Some(file) = file_in_the_way(path) {
            return Err(DataDirError::NotAFolder { data_dir: path.to_owned(), file });
        }
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)
            .map_err(|error| unwritable(path, error))?;
        let lock_path = path.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(SECRET_FILE_MODE);
        let lock = open_itself(&lock_path, &mut options).map_err(|error| unwritable(&lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(unwritable(&lock_path, error)),
        }
    }

    /// Refuses to serve what a restore has left half done.
    pub fn check_whole(&self) -> Result<(), DataDirError> {
        check_whole(&self.path)
    }

    /// Marks it as half restored. The mark is on disk when this returns, and stays until [`Self::is_restored`].
    pub fn is_being_restored(&self) -> Result<(), DataDirError> {
        let path = self.path.join(HALF_RESTORED_FILE);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(SECRET_FILE_MODE);
        let marked = open_itself(&path, &mut options).and_then(|file| file.sync_all());
        marked.and_then(|()| self.sync()).map_err(|error| DataDirError::Unwritable { path, error })
    }

    /// Takes the mark of a restore away, after everything is in its place and on disk.
    pub fn is_restored(&self) -> Result<(), DataDirError> {
        let path = self.path.join(HALF_RESTORED_FILE);
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.sync(),
        };
        removed.map_err(|error| DataDirError::Unwritable { path, error })
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path).and_then(|folder| folder.sync_all())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lock, for whoever must hold it longer than this value lives.
    pub fn lock(&self) -> Result<File, DataDirError> {
        let path = self.path.join(LOCK_FILE);
        self.lock.try_clone().map_err(|error| DataDirError::Unwritable { path, error })
    }

    /// The key of the first app. Where the file is absent it is written now: with the key that the store `kept`, so that
    /// a lost file costs nothing, or with a new one. It is on disk when this returns.
    pub fn app_key(&self, kept: Option<AppKey>) -> Result<AppKey, DataDirError> {
        match read_app_key(&self.path) {
            Err(DataDirError::NoAppKey { .. }) => {
                let key = kept.map_or_else(AppKey::generate, Ok)?;
                write_app_key(&self.path, &key).map_err(|error| DataDirError::Unwritable {
                    path: self.path.join(APP_KEY_FILE),
                    error,
                })?;
                Ok(key)
            }
            other => other,
        }
    }
}

/// Opens the file `path` itself: refuses a symbolic link, a pipe, a device, and a file that has other names. An
/// administrator works in a folder where the gateway's user may have put any of these.
pub fn open_itself(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // Without NONBLOCK, a pipe would hold up the open itself.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = options.custom_flags(flags).open(path).map_err(|error| {
        if Errno::from_io_error(&error) == Some(Errno::LOOP) { foreign("a symbolic link") } else { error }
    })?;
    let found = file.metadata()?;
    match found.is_file() {
        false => Err(foreign("no regular file")),
        true if found.nlink() > 1 => Err(foreign("a file that has another name elsewhere")),
        true => Ok(file),
    }
}

fn foreign(what: &str) -> io::Error {
    io::Error::other(format!("there is {what}, which tidegate did not make; remove it"))
}

/// Whether a file belongs to the user of this process.
pub fn is_own(file: &Metadata) -> bool {
    file.uid() == geteuid().as_raw()
}

/// Replaces the app key in the data directory `path`, whole or not at all. It is on disk when this returns.
pub fn write_app_key(path: &Path, key: &AppKey) -> io::Result<()> {
    let draft = path.join(APP_KEY_DRAFT);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(SECRET_FILE_MODE).open(&draft)?;
    file.write_all(key.bearer().expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&draft, path.join(APP_KEY_FILE))?;
    // The new name is durable only once the folder is.
    File::open(path)?.sync_all()
}

/// The app key in the data directory `path`. Takes no lock, so that it works beside a running server.
pub fn read_app_key(path: &Path) -> Result<AppKey, DataDirError> {
    let file = path.join(APP_KEY_FILE);
    let bytes = match read_key_file(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(DataDirError::NoAppKey { path: path.to_owned() });
        }
        read => read.map_err(|error| DataDirError::KeyUnreadable { path: file.clone(), error })?,
    };
    parse_key(&bytes).ok_or(DataDirError::KeyMalformed { path: file })
}

/// An app key in a file of the operator's own.
pub fn read_key(file: &Path) -> Result<AppKey, DataDirError> {
    let bytes =
        read_key_file(file).map_err(|error| DataDirError::KeyUnreadable { path: file.to_owned(), error })?;
    parse_key(&bytes).ok_or_else(|| DataDirError::NoKeyInFile { path: file.to_owned() })
}

fn parse_key(bytes: &[u8]) -> Option<AppKey> {
    std::str::from_utf8(bytes).ok().and_then(AppKey::parse)
}

/// The master key in the file at `path`: 32 to 4096 bytes of any kind. Of a text, white space at its end is no part.
pub fn read_master_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, DataDirError> {
    let mut key = read_key_file(path)
        .map_err(|error| DataDirError::MasterKeyUnreadable { path: path.to_owned(), error })?;
    if key.is_ascii() {
        let length = key.trim_ascii_end().len();
        key.truncate(length);
    }
    if key.len() < MASTER_KEY_BYTES_MIN || key.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(DataDirError::MasterKeyLength { path: path.to_owned() });
    }
    Ok(key)
}

/// Whether [`DataDir::open`] can be expected to work, found out without making anything: the nearest thing on the way
/// to `path` that exists is a folder, and not write-protected for everybody.
pub fn check(path: &Path) -> Result<(), DataDirError> {
    let unwritable = |path: &Path, error| DataDirError::Unwritable { path: path.to_owned(), error };
    let absolute = std::path::absolute(path).map_err(|error| unwritable(path, error))?;
    for folder in absolute.ancestors() {
        match fs::metadata(folder) {
            Ok(found) if !found.is_dir() => {
                return Err(DataDirError::NotAFolder { data_dir: path.to_owned(), file: folder.to_owned() });
            }
            Ok(found) if found.permissions().readonly() => {
                return Err(unwritable(folder, io::ErrorKind::PermissionDenied.into()));
            }
            Ok(_) => return Ok(()),
            // Below a file everything is "not a directory"; the next round finds the file.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(unwritable(folder, error)),
        }
    }
    Ok(())
}

/// Bytes that this user may still write to the disk that holds `folder`.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether no restore into the data directory `path` broke off half way.
pub fn check_whole(path: &Path) -> Result<(), DataDirError> {
    match fs::symlink_metadata(path.join(HALF_RESTORED_FILE)) {
        Ok(_) => Err(DataDirError::HalfRestored { path: path.to_owned() }),
        Err(_) => Ok(()),
    }
}

/// The nearest thing on the way to `path` that exists, where that is no folder.
fn file_in_the_way(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    let found =
        absolute.ancestors().find_map(|on_the_way| Some((on_the_way, fs::metadata(on_the_way).ok()?)));
    found.filter(|(_, found)| !found.is_dir()).map(|(file, _)| file.to_owned())
}

/// A sentence about rights that are wider than they should be; `None` where all is well, or nothing is there yet.
pub fn wide_rights(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok().filter(Metadata::is_dir)?.permissions().mode() & 0o777;
    (mode & OTHERS_MAY_WRITE != 0).then(|| {
        format!(
            "others may write to the data directory {} (mode {mode:03o}), and could replace the store and the keys; \
             take that right away with `chmod 700`",
            path.display()
        )
    })
}

fn read_key_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?.take(KEY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_first_start_makes_a_key_that_stays() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("some/data");
        let key = DataDir::open(&path).unwrap().app_key(None).unwrap();
        assert_eq!(DataDir::open(&path).unwrap().app_key(None).unwrap(), key);
        assert_eq!(read_app_key(&path).unwrap(), key);
        assert_eq!(key.bearer().expose(), fs::read_to_string(path.join("app.key")).unwrap().trim_end());
        assert_eq!((mode(&path), mode(&path.join("app.key"))), (0o700, 0o600));
        assert!(!path.join(APP_KEY_DRAFT).exists());
    }

    #[test]
    fn a_draft_left_by_a_crash_is_no_key() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(APP_KEY_DRAFT), "half").unwrap();
        fs::set_permissions(data.path().join(APP_KEY_DRAFT), fs::Permissions::from_mode(0o644)).unwrap();
        DataDir::open(data.path()).unwrap().app_key(None).unwrap();
        assert_eq!(mode(&data.path().join(APP_KEY_FILE)), 0o600);
    }

    #[test]
    fn a_lost_key_file_is_written_anew_from_the_store() {
        let data = tempfile::tempdir().unwrap();
        let folder = DataDir::open(data.path()).unwrap();
        let kept = AppKey::generate().unwrap();
        assert_eq!(folder.app_key(Some(kept.clone())).unwrap(), kept);
        assert_eq!(read_app_key(data.path()).unwrap(), kept);
        let other = AppKey::generate().unwrap();
        assert_eq!(folder.app_key(Some(other.clone())).unwrap(), kept, "the file decides where there is one");
        write_app_key(data.path(), &other).unwrap();
        assert_eq!(read_app_key(data.path()).unwrap(), other);
        assert_eq!(mode(&data.path().join(APP_KEY_FILE)), 0o600);
    }

    #[test]
    fn only_rights_to_write_are_too_wide() {
        let data = tempfile::tempdir().unwrap();
        for (rights, warned) in [(0o700, false), (0o755, false), (0o777, true), (0o770, true), (0o1777, true)]
        {
            fs::set_permissions(data.path(), fs::Permissions::from_mode(rights)).unwrap();
            assert_eq!(wide_rights(data.path()).is_some(), warned, "{rights:o}");
        }
        assert_eq!(wide_rights(&data.path().join("absent")), None);
    }

    #[test]
    fn two_directories_get_two_keys() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = |path| DataDir::open(path).unwrap().app_key(None).unwrap();
        let (one, other) = (key(one.path()), key(other.path()));
        assert!(one.app != other.app && one.secret != other.secret);
    }

    #[test]
    fn a_directory_serves_one_at_a_time() {
        let data = tempfile::tempdir().unwrap();
        let first = DataDir::open(data.path()).unwrap();
        let line = DataDir::open(data.path()).unwrap_err().to_string();
        assert!(line.contains("another tidegate is running on"), "{line}");
        first.app_key(None).unwrap();
        read_app_key(data.path()).unwrap();
        drop(first);
        DataDir::open(data.path()).unwrap();
    }

    #[test]
    fn a_lock_is_not_taken_through_a_link() {
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (target, lock) = (elsewhere.path().join("target"), data.path().join(LOCK_FILE));
        std::os::unix::fs::symlink(&target, &lock).unwrap();
        let line = DataDir::open(data.path()).unwrap_err().to_string();
        assert!(line.contains("a symbolic link") && line.contains("remove it"), "{line}");
        assert!(!target.exists());
        fs::remove_file(&lock).unwrap();
        fs::write(&target, "").unwrap();
        fs::hard_link(&target, &lock).unwrap();
        DataDir::open(data.path()).unwrap_err();
        fs::remove_file(&target).unwrap();
        DataDir::open(data.path()).unwrap();
    }

    #[test]
    fn what_is_no_folder_is_refused_by_open_and_check_alike() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("data")] {
            for refused in [DataDir::open(&path).map(drop), check(&path)] {
                let line = refused.unwrap_err().to_string();
                assert!(line.contains("is a file and no folder; move it away"), "{path:?}: {line}");
                assert!(line.contains(file.to_str().unwrap()), "{path:?}: {line}");
            }
        }
        check(parent.path()).unwrap();
        let absent = parent.path().join("not/yet/there");
        check(&absent).unwrap();
        assert!(!absent.exists());
    }

    #[test]
    fn a_missing_key_says_how_to_get_one() {
        let data = tempfile::tempdir().unwrap();
        let line = read_app_key(data.path()).unwrap_err().to_string();
        assert!(line.contains("start the gateway once"), "{line}");
    }

    #[test]
    fn a_spoilt_key_is_neither_used_nor_replaced_nor_shown() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join(APP_KEY_FILE);
        let long = "x".repeat(5000);
        for text in
            ["", "no-dot-in-this-text-xxxxxxxxxxxxx", "app.short", "a/b.0123456789012345678901", &long]
        {
            fs::write(&file, text).unwrap();
            let error = DataDir::open(data.path()).unwrap().app_key(None).unwrap_err();
            assert!(matches!(error, DataDirError::KeyMalformed { .. }), "{text}: {error}");
            assert!(text.is_empty() || !error.to_string().contains(text));
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }

    #[test]
    fn a_master_key_has_at_least_256_bits() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master");
        assert!(matches!(read_master_key(&file), Err(DataDirError::MasterKeyUnreadable { .. })));
        for (bytes, good) in [(31, false), (32, true), (4096, true), (4097, false)] {
            let key = vec![b'k'; bytes];
            fs::write(&file, [key.as_slice(), b"\n"].concat()).unwrap();
            assert_eq!(read_master_key(&file).ok().map(|read| read.to_vec()), good.then_some(key), "{bytes}");
        }
        let binary = [&[0xFF; 31][..], b"\n"].concat();
        fs::write(&file, &binary).unwrap();
        assert_eq!(read_master_key(&file).unwrap().to_vec(), binary);
    }
}
