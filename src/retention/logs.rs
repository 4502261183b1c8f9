//! One step on one log.

use super::{Removed, Retention};
use crate::conferences::folding::{conference_of, fold, snapshot_of};
use crate::domain::{Conference, ConferenceId, Record, Seq, Timestamp};
use crate::store::{Revision, SnapshotAt, StoreError, TRIM_RECORDS_MAX};

/// Which records of an open log may go.
#[derive(Debug, Clone, Copy)]
struct Expired {
    /// Those from before this moment,
    before: Timestamp,
    /// and those up to this event, because there are too many,
    through: Seq,
    /// but none that holds this event or a later one, because somebody needs it.
    unread: Seq,
}

impl Expired {
    fn holds(&self, record: &Record) -> bool {
        record
            .events
            .last()
            .is_some_and(|last| (last.at < self.before || last.seq <= self.through) && last.seq < self.unread)
    }
}

impl Retention {
    /// Removes some of the oldest records of an open log, behind a snapshot from which the rest can be followed. Tells
    /// whether more is due.
    pub(super) async fn trim_open_log(&self, id: &ConferenceId, now: Timestamp) -> Result<bool, StoreError> {
        let Some(conference) = self.conferences.open_now(id) else { return Ok(false) };
        let expired = Expired {
            before: Timestamp(now.0.saturating_sub(self.keep.events_ms)),
            through: Seq(conference.seq.0.saturating_sub(self.keep.events_max)),
            unread: self.unread_from(id, Some(&conference.settings.app)).unwrap_or(Seq(u64::MAX)),
        };
        let first = self.store.read(id, Revision::START, 1).await?;
        if !first.iter().any(|(_, record)| expired.holds(record)) {
            return Ok(false);
        }
        let page = self.store.read(id, Revision::START, TRIM_RECORDS_MAX).await?;
        let due: Vec<_> = page.into_iter().take_while(|(_, record)| expired.holds(record)).collect();
        let Some(through) = due.last().map(|(revision, _)| *revision) else { return Ok(false) };
        match self.state_after(id, &due).await?.as_ref().and_then(snapshot_of) {
            Some(snapshot) => self.store.put_snapshot(id, through, &snapshot).await?,
            // A release before this one wrote what stands there, and this one cannot read it. The newest state is known all
            // the same; between the two, past events cannot be told.
            None => drop(self.conferences.keep_snapshot(id).await?),
        }
        let app = &conference.settings.app;
        if let Some(removed) = Removed::of(due.iter().map(|(_, record)| record))
            && self.wants_removed(app)
        {
            self.tell_removed(app, id, removed);
        }
        let removed = self.trim(id, through).await?;
        Ok(removed > 0 && due.len() == TRIM_RECORDS_MAX)
    }

    /// The conference after the oldest records of its log.
    async fn state_after(
        &self,
        id: &ConferenceId,
        oldest: &[(Revision, Record)],
    ) -> Result<Option<Conference>, StoreError> {
        let first = oldest.first().and_then(|(_, record)| record.events.first());
        let before = Seq(first.map_or(0, |recorded| recorded.seq.0.saturating_sub(1)));
        let begin = self.store.snapshot(id, SnapshotAt::UpTo(before)).await?;
        let begin = begin.and_then(|(_, snapshot)| conference_of(&snapshot));
        Ok(oldest.iter().fold(begin, |conference, (_, record)| fold(conference, record)))
    }

    /// Removes some records of an ended log. Tells whether more is due.
    pub(super) async fn trim_ended_log(&self, id: &ConferenceId) -> Result<bool, StoreError> {
        let app = self.app_of_ended(id).await?;
        let unread = self.unread_from(id, app.as_ref());
        let teller = app.as_ref().filter(|app| self.wants_removed(app));
        let through = if unread.is_none() && teller.is_none() {
            Revision::END
        } else {
            let page = self.store.read(id, Revision::START, TRIM_RECORDS_MAX).await?;
            let unread = unread.unwrap_or(Seq(u64::MAX));
            let is_read = |record: &Record| record.events.last().is_some_and(|last| last.seq < unread);
            let due: Vec<_> = page.iter().take_while(|(_, record)| is_read(record)).collect();
            let Some((through, _)) = due.last() else { return Ok(false) };
            if let Some((app, removed)) = teller.zip(Removed::of(due.iter().map(|(_, record)| record))) {
                self.tell_removed(app, id, removed);
            }
            *through
        };
        Ok(self.trim(id, through).await? == TRIM_RECORDS_MAX)
    }

    async fn trim(&self, id: &ConferenceId, through: Revision) -> Result<usize, StoreError> {
        let removed = self.store.trim(id, through).await?;
        self.metrics.records_trimmed.inc_by(removed as u64);
        Ok(removed)
    }

    /// Forgets an ended log that nobody needs any more.
    pub(super) async fn forget_log(&self, id: &ConferenceId) -> Result<(), StoreError> {
        let app = self.app_of_ended(id).await?;
        if self.unread_from(id, app.as_ref()).is_none() {
            self.store.forget(id).await?;
            self.metrics.logs_forgotten.inc();
        }
        Ok(())
    }
}
