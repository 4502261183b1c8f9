//! The conference: its state, and how an event changes it.
//!
//! Three kinds of method. *Readers* (`member`, `media_right`, `admit_ticket` …) ask the state. [`decide`] turns a command
//! into events without changing anything. [`Conference::record`] and [`Conference::replay`] fold events in; they are the
//! only ones that change the state, and they never refuse: what was decided once holds.

mod change;
mod command;
mod decide;
mod marks;
mod media;
mod message;
mod mute;
mod standing;
mod streams;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

pub use command::{Actor, Admission, Command, Join, Subject};
pub use decide::decide;
pub use marks::Marked;
use marks::Marks;
pub(crate) use marks::another_body;
pub use media::MediaGate;
use media::fold_stream;
pub use mute::{MuteChange, Muted};
pub use standing::Admitted;
use standing::Standings;

use super::coded::coded;
use super::event::{Event, MediaFormat, Recorded, StreamKind};
use super::id::{
    AppId, ConferenceId, MemberId, RoomName, RtcId, Seq, StreamId, TicketId, Timestamp, UserName,
};
use super::limits::Limits;
use super::mark::CreationMark;
use super::password::PasswordHash;
use super::role::Role;
use super::voip::VoipRoom;

/// Presets of limits and of the highest role that a password admits to, by the numbers that emedia clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum ConferenceKind {
    /// An ordinary call.
    #[default]
    Communication,
    /// A large call.
    CommunicationMix,
    /// A few speakers and a large audience.
    Live,
}

impl ConferenceKind {
    /// The highest role a password admits to, where the creator names none.
    pub fn mem_default_role(self) -> Role {
        match self {
            Self::Communication | Self::CommunicationMix => Role::Talker,
            Self::Live => Role::Audience,
        }
    }

    /// This kind's limits, given those of an ordinary call: a large call has thirty talkers in the product that
    /// clients know.
    #[must_use]
    pub fn limits(self, ordinary: Limits) -> Limits {
        match self {
            Self::Communication | Self::Live => ordinary,
            Self::CommunicationMix => {
                Limits { max_talker_count: ordinary.max_talker_count.max(30), ..ordinary }
            }
        }
    }
}

coded!(ConferenceKind { Communication = 10, CommunicationMix = 11, Live = 12 }, "a conference type is 10 (COMMUNICATION), 11 (COMMUNICATION_MIX) or 12 (LIVE)");

/// What a conference is created with: the content of its first event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// Its id.
    pub id: ConferenceId,
    /// The app that it belongs to.
    pub app: AppId,
    /// Which preset it was made from.
    pub kind: ConferenceKind,
    /// What a password join must know; `None` lets every user of the app in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordHash>,
    /// Recording was asked for.
    #[serde(default)]
    pub rec: bool,
    /// One merged recording was asked for.
    #[serde(default)]
    pub rec_merge: bool,
    /// Places.
    pub limits: Limits,
    /// The highest role that a password, or a ticket without a user, admits to.
    pub mem_default_role: Role,
    /// Whether mini programs may join.
    pub support_wechat_mini_program: bool,
    /// The app's own data.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Who asked for it, if a user did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<UserName>,
    /// The name of the room that it is, where it was made by joining a name. Its creator is ADMIN at every join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_name: Option<RoomName>,
    /// What makes a VoIP room of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voip: Option<VoipRoom>,
    /// What was asked, where it came with an idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<CreationMark>,
}

impl Created {
    /// An ordinary conference of `kind`, which anybody with a user token may join.
    pub fn new(id: ConferenceId, app: AppId, kind: ConferenceKind) -> Self {
        Self {
            id,
            app,
            kind,
            password: None,
            rec: false,
            rec_merge: false,
            limits: kind.limits(Limits::default()),
            mem_default_role: kind.mem_default_role(),
            support_wechat_mini_program: true,
            metadata: Map::new(),
            creator: None,
            room_name: None,
            voip: None,
            mark: None,
        }
    }

    /// Whether it ends the moment that its last member leaves.
    pub fn ends_when_empty(&self) -> bool {
        self.voip.is_some()
    }

    /// Whether it was made under a name, which is free again when it ends.
    pub fn has_name(&self) -> bool {
        self.room_name.is_some() || self.voip.is_some()
    }
}

/// Whether a conference goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Phase {
    /// It takes commands.
    Open,
    /// It takes none, for good.
    Ended {
        /// Since when.
        at: Timestamp,
    },
}

/// A user inside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its id, new at each join.
    pub id: MemberId,
    /// Whose it is.
    pub user: UserName,
    /// What it may do now.
    pub role: Role,
    /// What is held back of its media.
    #[serde(default)]
    pub muted: Muted,
    /// The event that let it in.
    pub epoch: Seq,
    /// What others see beside the user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nick_name: Option<String>,
    /// The app's own data about it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub ext: Map<String, Value>,
    /// When it joined.
    pub joined_at: Timestamp,
    /// The ticket a guest came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_ticket: Option<TicketId>,
}

/// What becomes of a stream's pictures. Those that are on have a video place, the others have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pictures {
    /// They pass.
    #[default]
    On,
    /// The stream was declared without. Should they come all the same, they take a place if there is one.
    Unannounced,
    /// They came where no place was free: they are held back until one is.
    Refused,
    /// The owner turned them off: they are held back until it turns them on.
    Off,
}

/// What becomes of the pictures of a stream in a snapshot of any release.
fn pictures<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pictures, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Kept {
        Pictures(Pictures),
        VideoOff(bool),
    }
    Ok(match Kept::deserialize(deserializer)? {
        Kept::Pictures(pictures) => pictures,
        Kept::VideoOff(true) => Pictures::Unannounced,
        Kept::VideoOff(false) => Pictures::On,
    })
}

/// A declared stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// Its id.
    pub id: StreamId,
    /// The owner's name for it.
    pub rtc_id: RtcId,
    /// Who may publish it.
    pub owner: MemberId,
    /// Camera or desktop.
    pub kind: StreamKind,
    /// What becomes of its pictures. Earlier snapshots tell only whether it was declared without.
    #[serde(default, alias = "videoOff", deserialize_with = "pictures")]
    pub pictures: Pictures,
    /// Declared without sound, or its owner turned it off: sound is held back.
    pub audio_off: bool,
    /// The event that declared it.
    pub declared: Seq,
    /// What flows, while media flows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<MediaFormat>,
}

/// A conference as it stands after the event numbered `seq`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conference {
    /// What it was created with, as changed since.
    pub settings: Created,
    /// When.
    pub created_at: Timestamp,
    /// The number of the last event folded in.
    pub seq: Seq,
    /// Whether it goes on.
    pub phase: Phase,
    /// Everyone inside.
    pub members: BTreeMap<MemberId, Member>,
    /// Every declared stream.
    pub streams: BTreeMap<StreamId, Stream>,
    /// Members by user; a user is inside at most once.
    users: BTreeMap<UserName, MemberId>,
    /// How many of those inside may publish.
    talker_count: u32,
    /// Decisions about users that outlive their membership.
    standings: Standings,
    /// Guests so far: the next one gets a number that none had.
    guest_count: u64,
    /// The newest commands that came with an idempotency key.
    #[serde(default, skip_serializing_if = "Marks::is_empty")]
    marks: Marks,
}

impl Conference {
    /// The conference that begins with `created`, before its first event is folded in.
    fn blank(created: Created, at: Timestamp) -> Self {
        Self {
            settings: created,
            created_at: at,
            seq: Seq(0),
            phase: Phase::Open,
            members: BTreeMap::new(),
            streams: BTreeMap::new(),
            users: BTreeMap::new(),
            talker_count: 0,
            standings: Standings::default(),
            guest_count: 0,
            marks: Marks::default(),
        }
    }

    /// Begins a log: the conference and its first event.
    pub fn create(created: Created, at: Timestamp) -> (Self, Recorded) {
        let mut conference = Self::blank(created.clone(), at);
        let first = conference.record(Event::ConferenceCreated(Box::new(created)), at);
        (conference, first)
    }

    /// The conference after the first event of a log; `None` if that is not a creation.
    pub fn found(first: &Recorded) -> Option<Self> {
        let Event::ConferenceCreated(created) = &first.event else { return None };
        let mut conference = Self::blank((**created).clone(), first.at);
        conference.replay(first);
        Some(conference)
    }

    /// Numbers a decided event and folds it in.
    pub fn record(&mut self, event: Event, at: Timestamp) -> Recorded {
        let recorded = Recorded { seq: self.seq.next(), at, event };
        self.replay(&recorded);
        recorded
    }

    /// Folds in the next event of the log.
    pub fn replay(&mut self, recorded: &Recorded) {
        self.seq = recorded.seq;
        match &recorded.event {
            Event::ConferenceCreated(_) => {}
            Event::Marked { mark, last } => self.replay_mark(*mark, recorded.seq, *last, recorded.at),
            Event::MemberJoined { member, user, role, nick_name, ext, guest_ticket } => {
                self.guest_count += u64::from(guest_ticket.is_some() && user.is_guest());
                self.talker_count += u32::from(role.may_publish());
                self.users.insert(user.clone(), member.clone());
                self.members.insert(
                    member.clone(),
                    Member {
                        id: member.clone(),
                        user: user.clone(),
                        role: *role,
                        muted: self.standings.muted_at_join(user, guest_ticket.as_ref()),
                        epoch: recorded.seq,
                        nick_name: nick_name.clone(),
                        ext: ext.clone(),
                        joined_at: recorded.at,
                        guest_ticket: guest_ticket.clone(),
                    },
                );
            }
            Event::MemberExited { member, .. } => {
                if let Some(gone) = self.members.remove(member) {
                    self.talker_count -= u32::from(gone.role.may_publish());
                    self.users.remove(&gone.user);
                }
            }
            Event::UserKicked { user, guest_ticket } => {
                self.standings.kick(user, guest_ticket.as_ref(), recorded.seq);
            }
            Event::UserReadmitted { user } => self.standings.readmit(user),
            Event::RoleChanged { user, guest_ticket, role } => {
                self.standings.grant(user, guest_ticket.as_ref(), *role, recorded.seq);
                if let Some(member) = self.users.get(user).and_then(|id| self.members.get_mut(id)) {
                    self.talker_count -= u32::from(member.role.may_publish());
                    self.talker_count += u32::from(role.may_publish());
                    member.role = *role;
                }
            }
            Event::MemberMuted { user, guest_ticket, muted } => {
                if let Some(member) = self.users.get(user).and_then(|id| self.members.get_mut(id)) {
                    member.muted = *muted;
                }
                let with_ticket = guest_ticket.as_ref().map(|ticket| (ticket, self.muted_with(ticket)));
                self.standings.mute(user, *muted, with_ticket, recorded.seq);
            }
            Event::MessageSent { .. } => {}
            Event::MemberChanged { .. } | Event::ConferenceChanged { .. } => self.replay_change(recorded),
            Event::ConferenceEnded { .. } => {
                self.phase = Phase::Ended { at: recorded.at };
                self.members.clear();
                self.users.clear();
                self.talker_count = 0;
            }
            Event::StreamDeclared { .. }
            | Event::StreamChanged { .. }
            | Event::StreamMuteChanged { .. }
            | Event::StreamUndeclared { .. }
            | Event::MediaStarted { .. }
            | Event::MediaChanged { .. }
            | Event::VideoGranted { .. }
            | Event::VideoRefused { .. }
            | Event::PublisherReplaced { .. }
            | Event::MediaStopped { .. } => fold_stream(&mut self.streams, recorded.seq, &recorded.event),
        }
    }

    /// Its id.
    pub fn id(&self) -> &ConferenceId {
        &self.settings.id
    }

    /// The member that `user` is, if inside.
    pub fn member_of(&self, user: &UserName) -> Option<&Member> {
        self.members.get(self.users.get(user)?)
    }

    /// Members who may publish, ADMINs included.
    pub fn talker_count(&self) -> u32 {
        self.talker_count
    }

    /// Members who only watch.
    pub fn audience_count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX) - self.talker_count
    }

    /// Whether nothing can happen any more.
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }
}
