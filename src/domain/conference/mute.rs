//! What an ADMIN or the app takes from a user: its sound, its pictures, or both.
//!
//! It outlives the stay, like a role that was granted: who leaves and joins again is as muted as before. The gateway
//! holds the media back; the publisher stays connected.

use serde::{Deserialize, Serialize};

use super::Conference;
use super::decide::{Decision, distinct};
use crate::domain::event::Event;
use crate::domain::id::UserName;

/// What is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Muted {
    /// Sound.
    pub audio: bool,
    /// Pictures.
    pub video: bool,
}

/// What is to be held back from now on; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MuteChange {
    /// Sound.
    pub audio: Option<bool>,
    /// Pictures.
    pub video: Option<bool>,
}

impl MuteChange {
    fn over(self, muted: Muted) -> Muted {
        Muted { audio: self.audio.unwrap_or(muted.audio), video: self.video.unwrap_or(muted.video) }
    }
}

impl Conference {
    /// One event per user that this changes something for, and one per stream of such a member.
    pub(super) fn decide_mute(&self, users: &[UserName], change: MuteChange) -> Decision {
        let mut events = Vec::new();
        for user in distinct(users)? {
            let member = self.member_of(user);
            let remembered = self.standings.muted(user);
            let was = member.map_or(remembered, |member| member.muted);
            let muted = change.over(was);
            if muted == was && muted == remembered {
                continue;
            }
            let guest_ticket = member.and_then(|member| member.guest_ticket.clone());
            events.push(Event::MemberMuted { user: user.clone(), guest_ticket, muted });
            let Some(member) = member else { continue };
            let owned = self.streams.values().filter(|stream| stream.owner == member.id);
            events.extend(owned.map(|stream| Event::StreamMuteChanged { stream: stream.id.clone() }));
        }
        Ok(events)
    }
}
