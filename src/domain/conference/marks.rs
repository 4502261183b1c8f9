//! Requests that came with an idempotency key, remembered so that their repetition does nothing twice.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Command, Conference};
use crate::domain::id::{Seq, Timestamp};
use crate::domain::limits::{MARK_LIFE_MS, MARKS_MAX};
use crate::domain::mark::Mark;
use crate::domain::refusal::{Reason, Refusal};

/// A command that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    /// How its repetition is known.
    #[serde(flatten)]
    mark: Mark,
    at: Timestamp,
    /// The number of its first event.
    pub first: Seq,
    /// The number of its last event.
    pub last: Seq,
}

/// The newest marked commands, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Marks(VecDeque<Marked>);

impl Marks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn keep(&mut self, marked: Marked) {
        let outlived = |oldest: &Marked| oldest.at.plus_ms(MARK_LIFE_MS) <= marked.at;
        while self.0.len() >= MARKS_MAX || self.0.front().is_some_and(outlived) {
            self.0.pop_front();
        }
        self.0.push_back(marked);
    }

    fn find(&self, mark: &Mark, now: Timestamp) -> Option<&Marked> {
        let known = self.0.iter().rev().find(|marked| marked.mark.key == mark.key);
        known.filter(|marked| now < marked.at.plus_ms(MARK_LIFE_MS))
    }
}

pub(crate) fn another_body() -> Refusal {
    Reason::InvalidRequest
        .because("Idempotency-Key: this key came before with another body; a new request takes a new key")
}

impl Conference {
    /// The command of before that `command` repeats, if one has the same mark. What its caller may no longer do is
    /// refused as if it were asked anew.
    pub fn repeated(
        &self,
        command: &Command,
        mark: &Mark,
        now: Timestamp,
    ) -> Result<Option<Marked>, Refusal> {
        let Some(marked) = self.marks.find(mark, now) else { return Ok(None) };
        if marked.mark.body != mark.body {
            return Err(another_body());
        }
        if self.is_ended() {
            return Err(Reason::ConferenceClosed.because("the conference has ended"));
        }
        match command {
            Command::IssueTicket { by, .. } => self.require_admin(by)?,
            Command::TakeTicket { user } => drop(self.admit_user(user)?),
            Command::DeclareStream { subject, .. } => drop(self.subject(subject)?),
            _ => {}
        }
        Ok(Some(*marked))
    }

    pub(super) fn replay_mark(&mut self, mark: Mark, first: Seq, last: Seq, at: Timestamp) {
        self.marks.keep(Marked { mark, at, first, last });
    }
}
