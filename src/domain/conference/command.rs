//! What can be asked of a conference.

use serde_json::{Map, Value};

use super::mute::MuteChange;
use crate::domain::event::{ExitReason, MediaFormat, StreamEnd, StreamKind};
use crate::domain::id::{MemberId, RtcId, Seq, StreamId, UserName};
use crate::domain::limits::LimitsChange;
use crate::domain::password::PasswordHash;
use crate::domain::role::Role;
use crate::domain::ticket::TicketClaims;

/// A member that speaks for itself, or a user that the app speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// By its own token: the very epoch it was given in.
    Member {
        /// Who.
        id: MemberId,
        /// Which of its stays.
        epoch: Seq,
    },
    /// Whoever that user is in the conference now.
    User(UserName),
}

/// On whose authority a conference is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The app's backend: every right.
    App,
    /// A member: the rights of its role as it is now.
    Member(Subject),
    /// The holder of an ADMIN ticket, who need not be inside.
    Ticket(TicketClaims),
}

/// What opens the door to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// A ticket, already found to be ours and in time.
    Ticket {
        /// What it says.
        ticket: TicketClaims,
        /// Who shows it, where a user token came along.
        shown_by: Option<UserName>,
    },
    /// A password that matched `verified`, the hash read from this conference; `None` where it has no password.
    Password {
        /// Who.
        user: UserName,
        /// The hash that matched.
        verified: Option<PasswordHash>,
    },
    /// A signature over this VoIP room, already verified and used up.
    Signature {
        /// Who.
        user: UserName,
    },
    /// The app lets that user in.
    App {
        /// Who.
        user: UserName,
    },
}

/// A join.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// The id that the member gets.
    pub member: MemberId,
    /// What lets it in.
    pub admission: Admission,
    /// What others see beside the user name.
    pub nick_name: Option<String>,
    /// The app's own data about it.
    pub ext: Map<String, Value>,
    /// The client is a WeChat mini program.
    pub mini_program: bool,
    /// The role that is asked for. Lowers what the admission gives, never raises it.
    pub role: Option<Role>,
}

/// A command. Its answer is the events that [`super::decide`] makes of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Let somebody in.
    Join(Box<Join>),
    /// Change what a member says of itself; what is `None` stays.
    ChangeMember {
        /// Whose.
        subject: Subject,
        /// What others see beside the user name, or nothing.
        nick_name: Option<Option<String>>,
        /// The app's own data about it, whole.
        ext: Option<Map<String, Value>>,
    },
    /// End a member's stay.
    Leave {
        /// Whose.
        subject: Subject,
        /// [`ExitReason::Normal`] or [`ExitReason::NoAnswer`].
        reason: ExitReason,
    },
    /// Remove users and refuse their older tickets. Users who are not inside are refused later all the same.
    Kick {
        /// On whose authority.
        by: Actor,
        /// Whom.
        users: Vec<UserName>,
    },
    /// Set the role of users. Caps what a later join can give them.
    SetRoles {
        /// On whose authority.
        by: Actor,
        /// Whose.
        users: Vec<UserName>,
        /// The role.
        role: Role,
    },
    /// Hold back the media of users, or let it pass again. Holds for their later stays too.
    SetMuted {
        /// On whose authority.
        by: Actor,
        /// Whose.
        users: Vec<UserName>,
        /// What.
        change: MuteChange,
    },
    /// Make ready for a new ticket: a kicked user named in it may join again.
    IssueTicket {
        /// On whose authority.
        by: Actor,
        /// For whom, if for somebody.
        user: Option<UserName>,
    },
    /// Make ready for a ticket that a user takes for itself, who knows the password.
    TakeTicket {
        /// Who.
        user: UserName,
    },
    /// Announce a stream; the same `rtc_id` again changes nothing.
    DeclareStream {
        /// Its owner.
        subject: Subject,
        /// The owner's name for it.
        rtc_id: RtcId,
        /// Camera or desktop.
        kind: StreamKind,
        /// Without pictures.
        video_off: bool,
        /// Without sound.
        audio_off: bool,
    },
    /// Turn a stream's pictures or sound on or off; what is `None` stays.
    ChangeStream {
        /// Its owner.
        subject: Subject,
        /// Which.
        stream: StreamId,
        /// Without pictures. Turning them on needs a video place, turning them off gives it back.
        video_off: Option<bool>,
        /// Without sound.
        audio_off: Option<bool>,
    },
    /// Take a stream back.
    UndeclareStream {
        /// Its owner, an ADMIN or the app.
        by: Actor,
        /// Which.
        stream: StreamId,
    },
    /// The media plane saw media flow, or saw its format change. Says nothing of a stream that is not declared.
    MediaFlows {
        /// Which.
        stream: StreamId,
        /// What flows.
        format: MediaFormat,
        /// Another socket took over since the last report.
        replaced: bool,
    },
    /// The media plane saw media end. Says nothing of a stream that is not live.
    MediaEnds {
        /// Which.
        stream: StreamId,
        /// Why.
        reason: StreamEnd,
    },
    /// Change the conference's settings; what is `None` stays. Nobody is removed, whatever the new limits.
    Configure {
        /// On whose authority.
        by: Actor,
        /// What a password join must know, or nothing.
        password: Option<Option<PasswordHash>>,
        /// Places.
        limits: LimitsChange,
        /// The highest role that a password, or a ticket without a user, admits to.
        mem_default_role: Option<Role>,
        /// The app's own data, whole.
        metadata: Option<Map<String, Value>>,
    },
    /// Say something to everybody, or to some.
    SendMessage {
        /// Who says it; `None` is the app.
        from: Option<Subject>,
        /// To whom alone; `None` is everybody.
        to: Option<Vec<MemberId>>,
        /// What.
        body: Value,
    },
    /// End the conference if nobody is in it.
    EndIfEmpty,
    /// End the conference for everyone.
    End {
        /// On whose authority.
        by: Actor,
    },
}
