//! Log lines: who writes them, where to, and in which form.

use std::io::{self, IsTerminal as _};
use std::panic;

use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, reload};

/// The words for a level, as they stand in a filter.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for collectors.
    Json,
}

/// Why a log filter is none.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A word that is no level. The library would take it for the name of a module and log nothing else.
    #[error("{0:?} is none of off, error, warn, info, debug, trace")]
    NoLevel(String),
    /// The library does not understand it.
    #[error("{0}")]
    Malformed(String),
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// A filter that [`check_filter`] refuses.
    #[error("the log filter is wrong: {0}; correct TIDEGATE_LOG")]
    Filter(#[from] FilterError),
    /// Logging was started before in this process.
    #[error("the log was started twice in one process: {0}; start it once")]
    Twice(#[from] TryInitError),
}

/// Whether `filter` is one: a level, or a comma list of `module=level` and at most one level for the rest.
pub fn check_filter(filter: &str) -> Result<(), FilterError> {
    parse_filter(filter).map(drop)
}

fn parse_filter(filter: &str) -> Result<EnvFilter, FilterError> {
    let level_of = |directive: &str| directive.rsplit('=').next().unwrap_or_default().to_lowercase();
    for directive in filter.split(',').filter(|directive| !directive.contains('[')) {
        let level = level_of(directive);
        if !LEVELS.contains(&level.as_str()) {
            return Err(FilterError::NoLevel(level));
        }
    }
    EnvFilter::try_new(filter).map_err(|error| FilterError::Malformed(error.to_string().replace('\n', " ")))
}

/// Changes the filter of the log that runs.
pub struct LogControl(Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>);

impl LogControl {
    /// From now on `filter` says what is logged.
    pub fn set(&self, filter: &str) -> Result<(), FilterError> {
        (self.0)(parse_filter(filter)?).map_err(FilterError::Malformed)
    }
}

/// Sends the log of this process to stderr, in colour if that is a terminal, and panics of tasks into the log.
pub fn start_logging(filter: &str, format: LogFormat) -> Result<LogControl, LoggingError> {
    // A log line that cannot be written must not become a panic: stderr may be a pipe whose reader is gone.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(parse_filter(filter)?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .log_internal_errors(false);
    let told = |error: reload::Error| error.to_string();
    let control: Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync> = match format {
        LogFormat::Text => {
            let lines = lines.with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init()?;
            Box::new(move |filter| handle.reload(filter).map_err(told))
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init()?;
            Box::new(move |filter| handle.reload(filter).map_err(told))
        }
    };
    panic::set_hook(Box::new(log_panic));
    Ok(LogControl(control))
}

/// The message of a panic can quote what a peer sent, so it is cut to one bounded line.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    /// Enough for any message that a program words itself.
    const MESSAGE_CHARS_MAX: usize = 200;
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(%location, message = ?message, "a task panicked; this is a defect, please report it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_levels_and_lists() {
        for good in
            ["info", "WARN", "off", "info,tidegate::rtmp=debug", "error,tidegate=trace", "[session]=debug"]
        {
            check_filter(good).unwrap();
        }
    }

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_module() {
        for bad in ["", "inof", "chatty", "tidegate=loud", "info,", "info;debug", "[x"] {
            assert!(check_filter(bad).is_err(), "{bad:?}");
        }
    }
}
