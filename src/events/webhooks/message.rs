//! One event as a target is told of it.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::lane::Gap;
use crate::domain::{AppId, Conference, ConferenceId, Seq};
use crate::events::feed::Frame;
use crate::events::views::rfc3339;

/// The body of a webhook.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    body: Map<String, Value>,
}

impl Message {
    /// What the app's own event socket is told, under the same name.
    pub(super) fn of_frame(app: &AppId, frame: Frame) -> Self {
        let mut body = frame.value;
        // Where messages can be left out by a filter, the number of the one before says nothing.
        body.remove("prev");
        let conference = body.get("confrId").and_then(Value::as_str).unwrap_or_default();
        let id = format!("{conference}-{}", frame.seq);
        Self::with(app, id, body)
    }

    /// A conference begins.
    pub(super) fn started(conference: &Conference, seq: Seq, at: String, view: Value) -> Self {
        let id = conference.id();
        let mut body = head(id, seq, at, "conferenceStarted");
        body.insert("conference".to_owned(), view);
        Self::with(&conference.settings.app, format!("{id}-{seq}"), body)
    }

    /// Events that are not told.
    pub(super) fn gap(app: &AppId, conference: &ConferenceId, gap: &Gap) -> Self {
        let mut body = head(conference, gap.to, rfc3339(gap.at), "webhookGap");
        body.insert("fromSeq".to_owned(), gap.from.0.into());
        body.insert("toSeq".to_owned(), gap.to.0.into());
        Self::with(app, format!("{conference}-gap-{}-{}", gap.from, gap.to), body)
    }

    fn with(app: &AppId, id: String, mut body: Map<String, Value>) -> Self {
        body.insert("id".to_owned(), id.into());
        body.insert("appId".to_owned(), app.as_str().into());
        Self { body }
    }

    /// Its type, by which targets choose.
    pub(super) fn kind(&self) -> &str {
        self.body.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// The bytes that are signed and sent: the same at every attempt.
    pub(super) fn bytes(&self) -> Bytes {
        // Maps with text keys: there is nothing that JSON could not hold.
        serde_json::to_vec(&self.body).unwrap_or_default().into()
    }
}

fn head(conference: &ConferenceId, seq: Seq, at: String, kind: &str) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("confrId".to_owned(), conference.as_str().into());
    body.insert("seq".to_owned(), seq.0.into());
    body.insert("at".to_owned(), at.into());
    body.insert("type".to_owned(), kind.into());
    body
}
