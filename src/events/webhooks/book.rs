//! A conference as it stood before the next event to tell, so that messages show objects as they were.

use crate::conferences::folding::conference_of;
use crate::domain::{Conference, ConferenceId, Event, Recorded, Seq};
use crate::events::feed::{Who, fold};
use crate::events::views::{ConferenceView, Reader, rfc3339};
use crate::store::{PAGE_ITEMS_MAX, Revision, SnapshotAt, Store, StoreError};

use super::message::Message;

/// What a book weighs that has nobody in it.
const BLANK_WEIGHT: usize = 4;

/// The fold of a log up to a record.
#[derive(Debug)]
pub(super) struct Book {
    /// `None` before the first event.
    conference: Option<Conference>,
    /// The last record that was folded in whole.
    pub(super) revision: Revision,
}

/// What was found when a book was looked for.
#[derive(Debug)]
pub(super) enum Opened {
    /// It stands at or before the place that was asked for.
    Book(Box<Book>),
    /// The log before this event is gone: nothing earlier can be told.
    Trimmed(Seq),
    /// There is no such log any more.
    Forgotten,
}

/// The newest event of a log; `None` where it tells nothing any more.
pub(super) async fn newest_event(store: &dyn Store, id: &ConferenceId) -> Result<Option<Seq>, StoreError> {
    let snapshot = store.snapshot(id, SnapshotAt::Newest).await?;
    let (mut seq, mut revision) =
        snapshot.map_or((None, Revision::START), |(revision, snapshot)| (Some(snapshot.seq()), revision));
    loop {
        let page = store.read(id, revision, PAGE_ITEMS_MAX).await?;
        let Some((last, record)) = page.last() else { return Ok(seq) };
        revision = *last;
        seq = record.events.last().map(|recorded| recorded.seq).or(seq);
    }
}

impl Book {
    /// The fold from which every event after `after` can be told.
    pub(super) async fn open(store: &dyn Store, id: &ConferenceId, after: Seq) -> Result<Opened, StoreError> {
        if let Some((revision, snapshot)) = store.snapshot(id, SnapshotAt::UpTo(after)).await?
            && let Some(conference) = conference_of(&snapshot)
        {
            return Ok(Opened::Book(Box::new(Self { conference: Some(conference), revision })));
        }
        let first = store.read(id, Revision::START, 1).await?;
        let begins = first.first().and_then(|(_, record)| record.events.first());
        if begins.is_some_and(|recorded| matches!(recorded.event, Event::ConferenceCreated(_))) {
            return Ok(Opened::Book(Box::new(Self { conference: None, revision: Revision::START })));
        }
        let oldest = store.snapshot(id, SnapshotAt::Oldest).await?;
        Ok(match oldest.and_then(|(_, snapshot)| conference_of(&snapshot)) {
            Some(conference) if conference.seq > after => Opened::Trimmed(conference.seq),
            _ => Opened::Forgotten,
        })
    }

    /// Folds in the next event; the message that it is to an app, if it is one.
    pub(super) fn turn_page(&mut self, recorded: &Recorded) -> Option<Message> {
        let Some(conference) = &mut self.conference else {
            let conference = Conference::found(recorded)?;
            let view =
                serde_json::to_value(ConferenceView::new(&conference, Reader::App)).unwrap_or_default();
            let message = Message::started(&conference, recorded.seq, rfc3339(recorded.at), view);
            self.conference = Some(conference);
            return Some(message);
        };
        if recorded.seq <= conference.seq {
            return None;
        }
        let entry = fold(conference, recorded)?;
        let frame = entry.frame(conference.id(), &Who::App, Seq(0))?;
        Some(Message::of_frame(&conference.settings.app, frame))
    }

    /// Whether events between the last that was folded in and this one are missing from the log.
    pub(super) fn misses_before(&self, recorded: &Recorded) -> bool {
        self.conference.as_ref().is_some_and(|conference| recorded.seq > conference.seq.next())
    }

    /// The last event that was folded in.
    pub(super) fn seq(&self) -> Seq {
        self.conference.as_ref().map_or(Seq(0), |conference| conference.seq)
    }

    /// Whether nothing can follow.
    pub(super) fn is_over(&self) -> bool {
        self.conference.as_ref().is_some_and(Conference::is_ended)
    }

    /// About how much memory it takes, in members and streams.
    pub(super) fn weight(&self) -> usize {
        let inside = |conference: &Conference| conference.members.len() + conference.streams.len();
        BLANK_WEIGHT + self.conference.as_ref().map_or(0, inside)
    }
}
