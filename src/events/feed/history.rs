//! What stands in the log, for readers that missed it.

use super::entry::{Entry, fold};
use crate::domain::event::ExitReason;
use crate::domain::{Conference, ConferenceId, Event, MemberId, Seq};
use crate::store::{PAGE_ITEMS_MAX, Revision, Store, StoreError};

/// Entries after `after` and up to `through`.
pub(super) struct Missed {
    pub(super) entries: Vec<Entry>,
    /// Through which event they tell everything.
    pub(super) told: Seq,
}

/// Reads at most `limit` entries; `None` where the log no longer tells them.
pub(super) async fn missed(
    store: &dyn Store,
    id: &ConferenceId,
    (after, through): (Seq, Seq),
    limit: usize,
) -> Result<Option<Missed>, StoreError> {
    let mut conference: Option<Conference> = None;
    let mut missed = Missed { entries: Vec::new(), told: after };
    let mut revision = Revision::START;
    loop {
        let page = store.read(id, revision, PAGE_ITEMS_MAX).await?;
        let Some((last, _)) = page.last() else { break };
        revision = *last;
        for recorded in page.into_iter().flat_map(|(_, record)| record.events) {
            let entry = match &mut conference {
                None => {
                    conference = Conference::found(&recorded);
                    if conference.is_none() {
                        return Ok(None);
                    }
                    None
                }
                Some(conference) => fold(conference, &recorded),
            };
            if recorded.seq > through || missed.entries.len() >= limit {
                return Ok(Some(missed));
            }
            if recorded.seq > after {
                missed.told = recorded.seq;
                missed.entries.extend(entry);
            }
        }
    }
    Ok(Some(missed))
}

/// Why `member` is no longer in the conference.
pub(super) async fn exit_reason(
    store: &dyn Store,
    id: &ConferenceId,
    gone: &MemberId,
) -> Result<Option<ExitReason>, StoreError> {
    let mut revision = Revision::START;
    loop {
        let page = store.read(id, revision, PAGE_ITEMS_MAX).await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        revision = *last;
        for recorded in page.into_iter().flat_map(|(_, record)| record.events) {
            match recorded.event {
                Event::MemberExited { member, reason } if member == *gone => return Ok(Some(reason)),
                Event::ConferenceEnded { members } if members.contains(gone) => {
                    return Ok(Some(ExitReason::ConferenceClosed));
                }
                _ => {}
            }
        }
    }
}
