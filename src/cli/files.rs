//! `tidegate backup` and `tidegate restore`.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use super::CliError;
use super::gateway::data_dir;
use super::output::note;
use crate::backup;
use crate::clock;
use crate::command_line::{BackupArguments, DataDirArguments, RestoreArguments};
use crate::config::Config;

/// Stands for stdin or stdout.
const PIPE: &str = "-";

pub(super) fn backup(arguments: &BackupArguments) -> Result<(), CliError> {
    let data_dir = data_dir(&arguments.data_dir)?;
    let (facts, to) = if arguments.file == Path::new(PIPE) {
        let mut stdout = io::stdout();
        if stdout.is_terminal() {
            return Err(CliError::Told(
                "a backup is no text for a terminal; name a file, or a pipe".to_owned(),
            ));
        }
        (backup::write_pipe(&data_dir, &mut stdout)?, "stdout".to_owned())
    } else {
        let file = &arguments.file;
        (backup::write_file(&data_dir, file, arguments.force)?, file.display().to_string())
    };
    note(&format!(
        "{to} holds {} open conferences, {} records and the keys of the apps",
        facts.open_conferences, facts.records
    ));
    if let Some(file) = master_key_file(&arguments.data_dir) {
        note(&format!("the master key is not in it: keep {} beside it", file.display()));
    }
    Ok(())
}

pub(super) async fn restore(arguments: &RestoreArguments) -> Result<(), CliError> {
    let data_dir = data_dir(&arguments.data_dir)?;
    let (mut from, name): (Box<dyn Read>, PathBuf) = if arguments.file == Path::new(PIPE) {
        (Box::new(io::stdin()), PathBuf::from("stdin"))
    } else {
        let file = File::open(&arguments.file);
        let file = file.map_err(|error| backup::Failure::File { path: arguments.file.clone(), error })?;
        (Box::new(file), arguments.file.clone())
    };
    let restored = backup::restore(&data_dir, &mut from, &name, arguments.force, clock::now()).await?;
    if let Some(aside) = &restored.moved_aside {
        note(&format!("what was there before is in {}", aside.display()));
    }
    if !restored.has_key {
        note("the backup names no first app: the next start makes one");
    }
    if let Some(file) = master_key_file(&arguments.data_dir) {
        note(&format!("the master key is not in a backup: {} must be the one of before", file.display()));
    }
    note(&format!(
        "{} holds {} open conferences and {} records; start it with `tidegate serve`",
        data_dir.display(),
        restored.facts.open_conferences,
        restored.facts.records
    ));
    Ok(())
}

/// The file that holds the master key, where the settings name one.
fn master_key_file(arguments: &DataDirArguments) -> Option<PathBuf> {
    Config::load(arguments.config.as_deref(), env::vars_os()).ok()?.config.master_key_file
}
