//! Commands into events, or into a refusal.

use super::command::{Actor, Admission, Command, Join, Subject};
use super::standing::Admitted;
use super::streams::end_stream;
use super::{Conference, Member};
use crate::domain::event::{Event, ExitReason, StreamEnd};
use crate::domain::id::{MemberId, UserName};
use crate::domain::limits::MEMBER_NAMES_MAX;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::role::Role;
use crate::domain::voip::VOIP_MEMBERS_MAX;

pub(super) type Decision = Result<Vec<Event>, Refusal>;

/// The events that `command` leads to, none if it changes nothing. The caller records all of them or none.
pub fn decide(conference: &Conference, command: &Command) -> Decision {
    if conference.is_ended() {
        return Err(Reason::ConferenceClosed.because("the conference has ended"));
    }
    let mut events = conference.decide_one(command)?;
    events.extend(conference.grant_free_places(&events));
    Ok(events)
}

impl Conference {
    fn decide_one(&self, command: &Command) -> Decision {
        match command {
            Command::Join(join) => self.decide_join(join),
            Command::Leave { subject, reason } => {
                let member = self.subject(subject)?;
                let mut events = self.exit(member, *reason, StreamEnd::OwnerGone);
                events.extend(self.follows_from_leaving(&[member]));
                Ok(events)
            }
            Command::ChangeMember { subject, nick_name, ext } => {
                let member = self.subject(subject)?;
                Ok(member.change(nick_name.as_ref(), ext.as_ref()))
            }
            Command::Kick { by, users } => {
                self.require_admin(by)?;
                self.decide_kick(users)
            }
            Command::SetRoles { by, users, role } => {
                self.require_admin(by)?;
                self.decide_roles(users, *role)
            }
            Command::IssueTicket { by, user } => {
                self.require_admin(by)?;
                let barred = user.iter().filter(|user| self.is_barred(user));
                Ok(barred.map(|user| Event::UserReadmitted { user: user.clone() }).collect())
            }
            Command::SetMuted { by, users, change } => {
                self.require_admin(by)?;
                self.decide_mute(users, *change)
            }
            Command::TakeTicket { user } => self.admit_user(user).map(|_| Vec::new()),
            Command::DeclareStream { subject, rtc_id, kind, video_off, audio_off } => {
                self.decide_declare(subject, rtc_id, *kind, *video_off, *audio_off)
            }
            Command::ChangeStream { subject, stream, video_off, audio_off } => {
                self.decide_change_stream(subject, stream, *video_off, *audio_off)
            }
            Command::UndeclareStream { by, stream } => self.decide_undeclare(by, stream),
            Command::MediaFlows { stream, format, replaced } => {
                Ok(self.decide_flows(stream, format, *replaced))
            }
            Command::MediaEnds { stream, reason } => {
                let live = self.streams.get(stream).is_some_and(|stream| stream.live.is_some());
                Ok(if live {
                    vec![Event::MediaStopped { stream: stream.clone(), reason: *reason }]
                } else {
                    Vec::new()
                })
            }
            Command::Configure { by, password, limits, mem_default_role, metadata } => {
                self.require_admin(by)?;
                let limits = limits.over(self.settings.limits);
                let opens_otherwise = password.is_some() || mem_default_role.is_some();
                if self.settings.voip.is_some() && (opens_otherwise || limits != self.settings.limits) {
                    return Err(Reason::NotAllowed.because(
                        "a VoIP room has fixed places and is joined by signature: password, memDefaultRole and limits stay",
                    ));
                }
                Ok(self.settings.change(password.as_ref(), limits, *mem_default_role, metadata.as_ref()))
            }
            Command::SendMessage { from, to, body } => {
                self.decide_message(from.as_ref(), to.as_deref(), body)
            }
            Command::EndIfEmpty if self.members.is_empty() => Ok(self.end()),
            Command::EndIfEmpty => Ok(Vec::new()),
            Command::End { by } => {
                self.require_admin(by)?;
                Ok(self.end())
            }
        }
    }

    /// The member that `subject` is now.
    pub fn subject(&self, subject: &Subject) -> Result<&Member, Refusal> {
        match subject {
            Subject::Member { id, epoch } => {
                self.members.get(id).filter(|member| member.epoch == *epoch).ok_or_else(|| {
                    Reason::MemberGone.because("this member is no longer in the conference; join again")
                })
            }
            Subject::User(user) => self.member_of(user).ok_or_else(|| {
                if self.is_barred(user) {
                    Reason::MemberGone.because(format!("{user} was removed from this conference"))
                } else {
                    Reason::NotFound
                        .because(format!("{user} is not a member of this conference; let it join first"))
                }
            }),
        }
    }

    /// Refuses whoever may not run this conference.
    pub fn require_admin(&self, actor: &Actor) -> Result<(), Refusal> {
        let role = match actor {
            Actor::App => return Ok(()),
            Actor::Member(subject) => self.subject(subject)?.role,
            Actor::Ticket(ticket) => self.ticket_authority(ticket)?,
        };
        if role == Role::Admin {
            Ok(())
        } else {
            Err(Reason::NotAllowed.because("only an ADMIN or the app may do this"))
        }
    }

    /// The role that a ticket speaks with outside of a join. One without a user was made for the backend that
    /// created the conference, and is no member's.
    fn ticket_authority(&self, ticket: &crate::domain::ticket::TicketClaims) -> Result<Role, Refusal> {
        let admitted = self.admit_ticket(ticket, None)?;
        Ok(if ticket.user.is_some() { admitted.role } else { ticket.role })
    }

    fn admit(&self, admission: &Admission) -> Result<Admitted, Refusal> {
        match admission {
            Admission::Ticket { ticket, shown_by } => self.admit_ticket(ticket, shown_by.as_ref()),
            Admission::Password { .. } if self.settings.voip.is_some() => {
                Err(Reason::NotAllowed.because("a VoIP room is joined by signature"))
            }
            Admission::Signature { user } => self.admit_user(user),
            Admission::Password { user, verified } => {
                if *verified != self.settings.password {
                    return Err(Reason::WrongPassword.because("the password does not match"));
                }
                self.admit_user(user)
            }
            Admission::App { user } => Ok(self.admit_vouched(user)),
        }
    }

    fn decide_join(&self, join: &Join) -> Decision {
        if join.mini_program && !self.settings.support_wechat_mini_program {
            return Err(Reason::ClientNotSupported
                .because("this conference was created with supportWechatMiniProgram false"));
        }
        let Admitted { user, role } = self.admit(&join.admission)?;
        let role = join.role.map_or(role, |asked| asked.min(role));
        let guest_ticket = match &join.admission {
            // Whoever came with it could come back as a guest.
            Admission::Ticket { ticket, .. } if ticket.user.is_none() => Some(ticket.id.clone()),
            _ => None,
        };
        let user = user.unwrap_or_else(|| self.next_guest());
        let former = self.member_of(&user);
        self.check_member_place(role, former)?;
        let mut events = Vec::new();
        if matches!(join.admission, Admission::App { .. }) && self.is_barred(&user) {
            events.push(Event::UserReadmitted { user: user.clone() });
        }
        if let Some(former) = former {
            events.extend(self.exit(former, ExitReason::OtherDevice, StreamEnd::OwnerGone));
        }
        events.push(Event::MemberJoined {
            member: join.member.clone(),
            user,
            role,
            nick_name: join.nick_name.clone(),
            ext: join.ext.clone(),
            guest_ticket,
        });
        Ok(events)
    }

    fn next_guest(&self) -> UserName {
        let mut number = self.guest_count + 1;
        while self.users.contains_key(&UserName::guest(number)) {
            number += 1;
        }
        UserName::guest(number)
    }

    /// Refuses a join where there is no place. Whoever returns into a place like its former one takes that, even
    /// where there are fewer places by now than members.
    fn check_member_place(&self, role: Role, former: Option<&Member>) -> Result<(), Refusal> {
        let limits = self.settings.limits;
        if former.is_some_and(|former| former.role.may_publish() == role.may_publish()) {
            return Ok(());
        }
        if self.settings.voip.is_some() && former.is_none() && self.members.len() >= VOIP_MEMBERS_MAX as usize
        {
            return Err(Reason::MembersFull
                .because(format!("all {VOIP_MEMBERS_MAX} places of this VoIP room are taken")));
        }
        if role.may_publish() {
            if self.talker_count() >= limits.max_talker_count {
                return Err(talkers_full(limits.max_talker_count));
            }
        } else if self.audience_count() >= limits.max_audience_count {
            return Err(Reason::MembersFull
                .because(format!("all {} places for AUDIENCE are taken", limits.max_audience_count)));
        }
        Ok(())
    }

    /// The stops of all streams of `member`, then its exit.
    fn exit(&self, member: &Member, reason: ExitReason, streams: StreamEnd) -> Vec<Event> {
        let mut events = self.end_streams(&member.id, streams);
        events.push(Event::MemberExited { member: member.id.clone(), reason });
        events
    }

    /// The stops of all streams, then the end of every stay and of the conference.
    fn end(&self) -> Vec<Event> {
        let stops = self.streams.values().flat_map(|stream| end_stream(stream, StreamEnd::ConferenceClosed));
        let members = self.members.keys().cloned().collect();
        stops.chain([Event::ConferenceEnded { members }]).collect()
    }

    /// The end of a conference that nobody is left in, where it ends with its last member; else the new ADMIN, where one is
    /// needed.
    fn follows_from_leaving(&self, gone: &[&Member]) -> Option<Event> {
        if self.settings.ends_when_empty() && !gone.is_empty() && gone.len() == self.members.len() {
            return Some(Event::ConferenceEnded { members: Vec::new() });
        }
        self.successor(gone)
    }

    /// The talker who has been in longest becomes ADMIN when the last ADMIN is among those who go.
    fn successor(&self, gone: &[&Member]) -> Option<Event> {
        if !gone.iter().any(|member| member.role == Role::Admin) {
            return None;
        }
        let stays = |member: &&Member| !gone.iter().any(|other| other.id == member.id);
        if self.members.values().filter(stays).any(|member| member.role == Role::Admin) {
            return None;
        }
        let talkers = self.members.values().filter(stays).filter(|member| member.role == Role::Talker);
        let eldest = talkers.min_by_key(|member| member.epoch)?;
        let (user, guest_ticket) = (eldest.user.clone(), eldest.guest_ticket.clone());
        Some(Event::RoleChanged { user, guest_ticket, role: Role::Admin })
    }

    fn end_streams(&self, owner: &MemberId, reason: StreamEnd) -> Vec<Event> {
        let owned = self.streams.values().filter(|stream| stream.owner == *owner);
        owned.flat_map(|stream| end_stream(stream, reason)).collect()
    }

    fn decide_kick(&self, users: &[UserName]) -> Decision {
        let users = distinct(users)?;
        let gone: Vec<_> = users.iter().filter_map(|user| self.member_of(user)).collect();
        let mut events = Vec::new();
        for user in users {
            let member = self.member_of(user);
            let guest_ticket = member.and_then(|member| member.guest_ticket.clone());
            events.push(Event::UserKicked { user: user.clone(), guest_ticket });
            if let Some(member) = member {
                events.extend(self.exit(member, ExitReason::Kicked, StreamEnd::OwnerGone));
            }
        }
        events.extend(self.follows_from_leaving(&gone));
        Ok(events)
    }

    fn decide_roles(&self, users: &[UserName], role: Role) -> Decision {
        let users = distinct(users)?;
        let promoted = users
            .iter()
            .filter_map(|user| self.member_of(user))
            .filter(|member| role.may_publish() && !member.role.may_publish())
            .count();
        let limit = self.settings.limits.max_talker_count;
        if promoted > 0 && self.talker_count() as usize + promoted > limit as usize {
            return Err(talkers_full(limit));
        }
        let mut events = Vec::new();
        for user in users {
            let member = self.member_of(user);
            if let Some(member) = member.filter(|_| !role.may_publish()) {
                events.extend(self.end_streams(&member.id, StreamEnd::OwnerDemoted));
            }
            let guest_ticket = member.and_then(|member| member.guest_ticket.clone());
            events.push(Event::RoleChanged { user: user.clone(), guest_ticket, role });
        }
        Ok(events)
    }
}

fn talkers_full(limit: u32) -> Refusal {
    Reason::TalkersFull.because(format!("all {limit} places for talkers are taken"))
}

/// The names without repeats, in a fixed order.
pub(super) fn distinct(users: &[UserName]) -> Result<std::collections::BTreeSet<&UserName>, Refusal> {
    if users.len() > MEMBER_NAMES_MAX {
        return Err(
            Reason::InvalidRequest.because(format!("memberNames holds at most {MEMBER_NAMES_MAX} names"))
        );
    }
    Ok(users.iter().collect())
}
