//! Errors of the engine, with the file and the way out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// The file, for those who must report what went wrong with it.
#[derive(Debug, Clone)]
pub(super) struct Faulty {
    file: String,
    wal: PathBuf,
}

impl Faulty {
    pub(super) fn new(path: &Path) -> Self {
        let mut wal = OsString::from(path);
        wal.push("-wal");
        Self { file: path.display().to_string(), wal: wal.into() }
    }

    /// The file's name.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Size of the database file.
    pub(super) fn file_bytes(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |metadata| metadata.len())
    }

    /// Size of the write-ahead log file.
    pub(super) fn wal_bytes(&self) -> u64 {
        std::fs::metadata(&self.wal).map_or(0, |metadata| metadata.len())
    }

    pub(super) fn error(&self, error: &rusqlite::Error) -> StoreError {
        let remedy = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                return StoreError::Damaged {
                    home: self.file.clone(),
                    place: "the database".to_owned(),
                    fault: error.to_string(),
                };
            }
            Some(ErrorCode::DiskFull) => "make room on this disk: the store goes on by itself",
            Some(ErrorCode::SystemIoFailure) => {
                "check this disk and the system's log: the store goes on by itself"
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                "let the gateway's user write the data directory"
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "another process holds a lock on it: end that process"
            }
            _ => "restart the gateway; if it comes back, report it",
        };
        StoreError::Failed { home: self.file.clone(), fault: error.to_string(), remedy }
    }

    pub(super) fn damaged(&self, place: String, fault: impl ToString) -> StoreError {
        StoreError::Damaged { home: self.file.clone(), place, fault: fault.to_string() }
    }
}
