//! What can be changed about a conference and about a member, once they are.

use serde_json::{Map, Value};

use super::{Conference, Created, Member};
use crate::domain::event::{Event, Recorded};
use crate::domain::limits::Limits;
use crate::domain::password::PasswordHash;
use crate::domain::role::Role;

/// What of `asked` differs from what stands.
fn news<T: Clone + PartialEq>(asked: Option<&T>, stands: &T) -> Option<T> {
    asked.filter(|asked| *asked != stands).cloned()
}

/// Puts what is new into its place.
fn put<T: Clone>(news: Option<&T>, place: &mut T) {
    if let Some(news) = news {
        place.clone_from(news);
    }
}

impl Created {
    /// The event that makes these settings what is asked for; none if they are that already.
    pub(super) fn change(
        &self,
        password: Option<&Option<PasswordHash>>,
        limits: Limits,
        mem_default_role: Option<Role>,
        metadata: Option<&Map<String, Value>>,
    ) -> Vec<Event> {
        let password = news(password, &self.password);
        let limits = news(Some(&limits), &self.limits);
        let mem_default_role = news(mem_default_role.as_ref(), &self.mem_default_role);
        let metadata = news(metadata, &self.metadata);
        if password.is_none() && limits.is_none() && mem_default_role.is_none() && metadata.is_none() {
            return Vec::new();
        }
        vec![Event::ConferenceChanged { password, limits, mem_default_role, metadata }]
    }
}

impl Member {
    /// The event that makes this member what is asked for; none if it is that already.
    pub(super) fn change(
        &self,
        nick_name: Option<&Option<String>>,
        ext: Option<&Map<String, Value>>,
    ) -> Vec<Event> {
        let nick_name = news(nick_name, &self.nick_name);
        let ext = news(ext, &self.ext);
        if nick_name.is_none() && ext.is_none() {
            return Vec::new();
        }
        vec![Event::MemberChanged { member: self.id.clone(), nick_name, ext }]
    }
}

impl Conference {
    pub(super) fn replay_change(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::ConferenceChanged { password, limits, mem_default_role, metadata } => {
                put(password.as_ref(), &mut self.settings.password);
                put(limits.as_ref(), &mut self.settings.limits);
                put(mem_default_role.as_ref(), &mut self.settings.mem_default_role);
                put(metadata.as_ref(), &mut self.settings.metadata);
            }
            Event::MemberChanged { member, nick_name, ext } => {
                if let Some(member) = self.members.get_mut(member) {
                    put(nick_name.as_ref(), &mut member.nick_name);
                    put(ext.as_ref(), &mut member.ext);
                }
            }
            _ => {}
        }
    }
}
