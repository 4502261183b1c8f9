//! A record as the text that a home keeps.

use crate::domain::{ConferenceId, Record};

use super::{AppendError, Revision, StoreError};

/// The stored text of a record that may be stored.
pub(super) fn encode(record: &Record) -> Result<String, AppendError> {
    if record.events.is_empty() {
        return Err(AppendError::Empty);
    }
    let text = serde_json::to_string(record).map_err(|error| StoreError::Failed {
        home: "the store".to_owned(),
        fault: format!("a record cannot be written as JSON: {error}"),
        remedy: "this is a fault of the gateway: report it",
    })?;
    AppendError::check_len(text.len())?;
    Ok(text)
}

/// The record of a stored text. `home` and the place go into the error.
pub(super) fn decode(
    text: &str,
    home: &str,
    conference: &ConferenceId,
    revision: Revision,
) -> Result<Record, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Damaged {
        home: home.to_owned(),
        place: format!("record {revision} of {conference}"),
        fault: error.to_string(),
    })
}
