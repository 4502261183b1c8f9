//! Why a command did not do what it was asked.

use std::path::PathBuf;

use crate::backup;
use crate::config::ConfigError;
use crate::data_dir::DataDirError;

/// One line that says what happened and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory or its key.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A backup or a restore.
    #[error(transparent)]
    Backup(#[from] backup::Failure),
    /// Nobody listens at the control socket.
    #[error(
        "no gateway is running on the data directory {}; start it with `tidegate serve`, or name the folder that it uses \
         with --data-dir or TIDEGATE_DATA_DIR", data_dir.display()
    )]
    NoGateway {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The HTTP listener does not answer.
    #[error("no answer from {url}: {why}; is the gateway running, and is this its address?")]
    NoAnswer {
        /// Where it was asked.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// The gateway refused.
    #[error("{detail} ({reason}, HTTP {status})")]
    Refused {
        /// The sentence.
        detail: String,
        /// The stable word.
        reason: String,
        /// The status.
        status: u16,
    },
    /// Whoever read the output has seen enough. Nothing is to be said, to nobody.
    #[error("the reader is gone")]
    ReaderGone,
    /// Anything else, in its own words.
    #[error("{0}")]
    Told(String),
}
