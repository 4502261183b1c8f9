//! Decisions about users that outlive their membership: a ticket does not undo them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Conference, Muted};
use crate::domain::id::{Seq, TicketId, UserName};
use crate::domain::limits::STANDINGS_MAX;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::role::Role;
use crate::domain::ticket::TicketClaims;

/// What was decided about one user, or about one ticket that guests share.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Standing {
    /// The newest decision, which tells the oldest entry when places run out.
    decided: Seq,
    /// The last kick: tickets of before are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kicked: Option<Seq>,
    /// Nobody has issued a new ticket since that kick.
    #[serde(default)]
    barred: bool,
    /// The role last granted: a join gives no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    granted: Option<Role>,
    /// What is held back of its media, now and in every later stay.
    #[serde(default)]
    muted: Muted,
}

/// All that a conference remembers about users, inside or not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Standings {
    users: BTreeMap<UserName, Standing>,
    /// A guest has no name of its own to remember, so the ticket that it came with is remembered.
    guest_tickets: BTreeMap<TicketId, Standing>,
}

/// The entry of `key`, after the oldest entry made room where there is none left.
fn entry<'a, K: Ord + Clone>(
    standings: &'a mut BTreeMap<K, Standing>,
    key: &K,
    decided: Seq,
) -> &'a mut Standing {
    if standings.len() >= STANDINGS_MAX && !standings.contains_key(key) {
        let oldest =
            standings.iter().min_by_key(|(_, standing)| standing.decided).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            standings.remove(&oldest);
        }
    }
    let standing = standings.entry(key.clone()).or_default();
    standing.decided = decided;
    standing
}

impl Standings {
    pub(super) fn kick(&mut self, user: &UserName, guest_ticket: Option<&TicketId>, seq: Seq) {
        let kick = |standing: &mut Standing| {
            standing.kicked = Some(seq);
            standing.barred = true;
        };
        kick(entry(&mut self.users, user, seq));
        if let Some(ticket) = guest_ticket {
            kick(entry(&mut self.guest_tickets, ticket, seq));
        }
    }

    pub(super) fn readmit(&mut self, user: &UserName) {
        if let Some(standing) = self.users.get_mut(user) {
            standing.barred = false;
        }
    }

    /// `with_ticket` is the ticket that `user` came with as a guest, and what is held back of all who came with it.
    pub(super) fn mute(
        &mut self,
        user: &UserName,
        muted: Muted,
        with_ticket: Option<(&TicketId, Muted)>,
        seq: Seq,
    ) {
        entry(&mut self.users, user, seq).muted = muted;
        if let Some((ticket, muted)) = with_ticket {
            entry(&mut self.guest_tickets, ticket, seq).muted = muted;
        }
    }

    pub(super) fn muted(&self, user: &UserName) -> Muted {
        self.users.get(user).map_or_else(Muted::default, |standing| standing.muted)
    }

    /// What is held back of whoever joins as `user`. A guest's name is new each time, so its ticket tells.
    pub(super) fn muted_at_join(&self, user: &UserName, guest_ticket: Option<&TicketId>) -> Muted {
        match guest_ticket.filter(|_| user.is_guest()) {
            Some(ticket) => {
                self.guest_tickets.get(ticket).map_or_else(Muted::default, |standing| standing.muted)
            }
            None => self.muted(user),
        }
    }

    pub(super) fn grant(&mut self, user: &UserName, guest_ticket: Option<&TicketId>, role: Role, seq: Seq) {
        entry(&mut self.users, user, seq).granted = Some(role);
        if let Some(ticket) = guest_ticket {
            entry(&mut self.guest_tickets, ticket, seq).granted = Some(role);
        }
    }
}

/// Who a credential lets in, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Whose member it becomes; `None` is a guest.
    pub user: Option<UserName>,
    /// The highest role it gives.
    pub role: Role,
}

fn gone(user: &UserName) -> Refusal {
    Reason::MemberGone.because(format!(
        "{user} was removed from this conference; the app or an ADMIN can issue a new ticket"
    ))
}

impl Conference {
    /// What is held back of any guest inside who came with `ticket`: lifted for one, it still holds for another.
    pub(super) fn muted_with(&self, ticket: &TicketId) -> Muted {
        let guests = self.members.values().filter(|member| member.guest_ticket.as_ref() == Some(ticket));
        guests.fold(Muted::default(), |all, guest| Muted {
            audio: all.audio || guest.muted.audio,
            video: all.video || guest.muted.video,
        })
    }

    /// What a genuine ticket of this conference is still worth when `shown_by` shows it.
    pub fn admit_ticket(
        &self,
        ticket: &TicketClaims,
        shown_by: Option<&UserName>,
    ) -> Result<Admitted, Refusal> {
        let user = match (&ticket.user, shown_by) {
            (Some(holder), Some(other)) if holder != other => {
                return Err(Reason::TicketInvalid.because("this ticket is for another user"));
            }
            (Some(holder), _) => Some(holder),
            (None, shown_by) => shown_by,
        };
        let Some(user) = user else { return self.admit_guest(ticket) };
        let standing = self.standings.users.get(user);
        if standing
            .is_some_and(|standing| standing.barred || standing.kicked.is_some_and(|kick| ticket.seq < kick))
        {
            return Err(gone(user));
        }
        let ceiling = if ticket.user.is_some() { Role::Admin } else { self.settings.mem_default_role };
        let granted = standing.and_then(|standing| standing.granted).unwrap_or(Role::Admin);
        Ok(Admitted { user: Some(user.clone()), role: ticket.role.min(ceiling).min(granted) })
    }

    fn admit_guest(&self, ticket: &TicketClaims) -> Result<Admitted, Refusal> {
        let standing = self.standings.guest_tickets.get(&ticket.id);
        if standing.is_some_and(|standing| standing.barred) {
            return Err(
                Reason::MemberGone.because("a guest with this ticket was removed; ask for a new ticket")
            );
        }
        let granted = standing.and_then(|standing| standing.granted).unwrap_or(Role::Admin);
        Ok(Admitted { user: None, role: ticket.role.min(self.settings.mem_default_role).min(granted) })
    }

    /// What a user may join as who knows the password.
    pub fn admit_user(&self, user: &UserName) -> Result<Admitted, Refusal> {
        if self.is_barred(user) { Err(gone(user)) } else { Ok(self.admit_vouched(user)) }
    }

    /// What a user may join as for whom the app vouches, kicked before or not.
    pub(super) fn admit_vouched(&self, user: &UserName) -> Admitted {
        let standing = self.standings.users.get(user);
        let granted = standing.and_then(|standing| standing.granted).unwrap_or(Role::Admin);
        Admitted { user: Some(user.clone()), role: self.ceiling(user).min(granted) }
    }

    /// The highest role that `user` joins with by its name. A room has no ticket that would let its creator back in
    /// as ADMIN, so the name does.
    fn ceiling(&self, user: &UserName) -> Role {
        let made_the_room = self.settings.has_name() && self.settings.creator.as_ref() == Some(user);
        if made_the_room { Role::Admin } else { self.settings.mem_default_role }
    }

    /// Whether that user was kicked and nobody has issued a new ticket since.
    pub fn is_barred(&self, user: &UserName) -> bool {
        self.standings.users.get(user).is_some_and(|standing| standing.barred)
    }
}
