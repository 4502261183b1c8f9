//! Which dead letters of one target may still be replayed, so that the log keeps their events.

use std::collections::BTreeMap;

use crate::domain::{ConferenceId, Seq, Timestamp};

/// The dead letters of one target: per conference their names, first events and first failures.
#[derive(Debug, Default)]
pub(super) struct Letters(BTreeMap<ConferenceId, BTreeMap<String, (Seq, Timestamp)>>);

impl Letters {
    /// Notes that the events from `from` on are in the letter `id`, which first failed at `since`.
    pub(super) fn note(&mut self, conference: &ConferenceId, id: &str, from: Seq, since: Timestamp) {
        self.0.entry(conference.clone()).or_default().insert(id.to_owned(), (from, since));
    }

    /// The letter is gone.
    pub(super) fn remove(&mut self, conference: &ConferenceId, id: &str) {
        if let Some(letters) = self.0.get_mut(conference) {
            letters.remove(id);
            if letters.is_empty() {
                self.0.remove(conference);
            }
        }
    }

    /// Those that first failed before `before` are gone.
    pub(super) fn sweep(&mut self, before: Timestamp) {
        self.0.retain(|_, letters| {
            letters.retain(|_, (_, since)| *since >= before);
            !letters.is_empty()
        });
    }

    /// The lowest event of a conference in letters that did not first fail before `before`.
    pub(super) fn unread_from(&self, conference: &ConferenceId, before: Timestamp) -> Option<Seq> {
        let kept = self.0.get(conference)?.values().filter(|(_, since)| *since >= before);
        kept.map(|(from, _)| *from).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_event_counts_until_its_letter_is_old_or_gone() {
        let conference = ConferenceId::parse("TS_a").unwrap();
        let mut letters = Letters::default();
        letters.note(&conference, "low", Seq(3), Timestamp(10));
        letters.note(&conference, "high", Seq(8), Timestamp(20));
        assert_eq!(letters.unread_from(&conference, Timestamp(10)), Some(Seq(3)));
        assert_eq!(letters.unread_from(&conference, Timestamp(11)), Some(Seq(8)));
        letters.sweep(Timestamp(11));
        assert_eq!(letters.unread_from(&conference, Timestamp(0)), Some(Seq(8)));
        letters.remove(&conference, "high");
        assert_eq!(letters.unread_from(&conference, Timestamp(0)), None);
        assert!(letters.0.is_empty());
    }
}
