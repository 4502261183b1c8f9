//! What happened in a conference, as it stands in the log.
//!
//! An event is a fact for good: fields are added with a default, never renamed or removed, because old logs are
//! read for as long as they exist.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::coded::coded;
use super::conference::{Created, Muted};
use super::id::{AppId, MemberId, RtcId, Seq, StreamId, TicketId, Timestamp, UserName};
use super::limits::Limits;
use super::mark::Mark;
use super::password::PasswordHash;
use super::role::Role;

/// Why a member left, by the numbers that emedia clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum ExitReason {
    /// It left by itself.
    Normal,
    /// It gave no sign of life.
    NoAnswer,
    /// The same user joined again.
    OtherDevice,
    /// The conference ended.
    ConferenceClosed,
    /// An ADMIN or the app removed it.
    Kicked,
}

coded!(ExitReason { Normal = 0, NoAnswer = 1, OtherDevice = 10, ConferenceClosed = 11, Kicked = 12 }, "an exit reason is 0, 1, 10, 11 or 12");

/// What a stream shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum StreamKind {
    /// Camera and microphone.
    #[default]
    Camera,
    /// A shared desktop.
    Desktop,
}

coded!(StreamKind { Camera = 0, Desktop = 1 }, "a stream type is 0 (camera) or 1 (desktop)");

/// Why media stopped, or why a stream is no longer declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StreamEnd {
    /// The publisher ended it or stayed away longer than its grace period.
    PublisherGone,
    /// The stream was deleted.
    Deleted,
    /// Its owner is no longer in the conference.
    OwnerGone,
    /// Its owner may no longer publish.
    OwnerDemoted,
    /// The conference ended.
    ConferenceClosed,
    /// The gateway restarted; a publisher that returns starts it again.
    GatewayRestarted,
}

/// What is known of a stream's pictures.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VideoFormat {
    /// `h264`, `h265`, `av1`, `vp9`, or the number or FourCC of another.
    pub codec: String,
    /// Pixels, where the sequence header told them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels, where the sequence header told them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
}

/// What is known of a stream's sound.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AudioFormat {
    /// `aac`, `mp3`, `opus`, or the number or FourCC of another.
    pub codec: String,
    /// Samples per second, where the sequence header told them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    /// Channels, where the sequence header told them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
}

/// What flows in a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MediaFormat {
    /// Pictures, if any flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoFormat>,
    /// Sound, if any flows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioFormat>,
}

/// Tells a field that is null, which takes something away, from one that is absent, which changes nothing.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// The first event of every log.
    ConferenceCreated(Box<Created>),
    /// The first event of a command that came with an idempotency key; tells members nothing.
    Marked {
        /// How a repetition of the command is known.
        mark: Mark,
        /// The number of the command's last event, which may be this one.
        last: Seq,
    },
    /// A user became a member. The number of this event is the member's epoch.
    MemberJoined {
        /// Its new id.
        member: MemberId,
        /// Whose it is.
        user: UserName,
        /// Its role from now on.
        role: Role,
        /// What others see beside the user name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nick_name: Option<String>,
        /// The app's own data about the member.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        ext: Map<String, Value>,
        /// The ticket without a user that it came with: a decision about the member holds for whoever shows that ticket
        /// as a guest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guest_ticket: Option<TicketId>,
    },
    /// A member's description of itself changed. Holds what is new; what is absent stands as it was.
    MemberChanged {
        /// Who.
        member: MemberId,
        /// What others see beside the user name; null is nothing.
        #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
        nick_name: Option<Option<String>>,
        /// The app's own data about the member, whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ext: Option<Map<String, Value>>,
    },
    /// A member's epoch is over.
    MemberExited {
        /// Who.
        member: MemberId,
        /// Why.
        reason: ExitReason,
    },
    /// An ADMIN or the app removed a user: its older tickets are void, and its password opens nothing.
    UserKicked {
        /// Who, inside or not.
        user: UserName,
        /// The ticket that a guest came with, which is void too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guest_ticket: Option<TicketId>,
    },
    /// A user's role was set. Caps every later join of that user.
    RoleChanged {
        /// Whose, inside or not.
        user: UserName,
        /// The ticket that a guest came with, which gives no more from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guest_ticket: Option<TicketId>,
        /// From now on.
        role: Role,
    },
    /// What is held back of a user's media was set. Holds for every later stay of that user.
    MemberMuted {
        /// Whose, inside or not.
        user: UserName,
        /// The ticket that a guest came with: whoever comes with it again is muted alike.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guest_ticket: Option<TicketId>,
        /// From now on.
        muted: Muted,
    },
    /// The app or an ADMIN gave a kicked user a new ticket: it may join again.
    UserReadmitted {
        /// Who.
        user: UserName,
    },
    /// A member announced a stream and may publish it.
    StreamDeclared {
        /// The stream.
        stream: StreamId,
        /// Its owner.
        member: MemberId,
        /// The owner's name for it.
        rtc_id: RtcId,
        /// Camera or desktop.
        #[serde(default)]
        kind: StreamKind,
        /// Declared without pictures.
        #[serde(default)]
        video_off: bool,
        /// Declared without sound.
        #[serde(default)]
        audio_off: bool,
    },
    /// The owner turned pictures or sound on or off. Holds what is new; what is absent stands as it was.
    StreamChanged {
        /// The stream.
        stream: StreamId,
        /// Without pictures, and without a video place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        video_off: Option<bool>,
        /// Without sound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        audio_off: Option<bool>,
    },
    /// What is held back of the owner's media changed, and so what of this stream passes. Follows its [`Event::MemberMuted`].
    StreamMuteChanged {
        /// The stream.
        stream: StreamId,
    },
    /// Pictures that nobody had announced took a video place.
    VideoGranted {
        /// The stream.
        stream: StreamId,
    },
    /// Pictures came that nobody had announced, and no video place was free: they are held back.
    VideoRefused {
        /// The stream.
        stream: StreamId,
    },
    /// The stream is no longer declared: every URL of it is dead.
    StreamUndeclared {
        /// The stream.
        stream: StreamId,
        /// Why.
        reason: StreamEnd,
    },
    /// Media began to flow.
    MediaStarted {
        /// The stream.
        stream: StreamId,
        /// What was known at that moment.
        format: MediaFormat,
    },
    /// What flows is no longer what it was.
    MediaChanged {
        /// The stream.
        stream: StreamId,
        /// What flows now.
        format: MediaFormat,
    },
    /// Another socket of the same member took over; viewers noticed a gap at most.
    PublisherReplaced {
        /// The stream.
        stream: StreamId,
    },
    /// Media ended for good: the grace period is over, or the right is.
    MediaStopped {
        /// The stream.
        stream: StreamId,
        /// Why.
        reason: StreamEnd,
    },
    /// Somebody said something.
    MessageSent {
        /// Who; null is the app.
        from: Option<MemberId>,
        /// To whom alone; absent is everybody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Vec<MemberId>>,
        /// What.
        body: Value,
    },
    /// The conference's settings changed. Holds what is new; what is absent stands as it was.
    ConferenceChanged {
        /// What a password join must know from now on; null lets every user of the app in.
        #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
        password: Option<Option<PasswordHash>>,
        /// Places, all of them. Whoever is inside stays, however few they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limits: Option<Limits>,
        /// The highest role that a password, or a ticket without a user, admits to from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mem_default_role: Option<Role>,
        /// The app's own data, whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Map<String, Value>>,
    },
    /// The last event of every log. It ends every stay that was left.
    ConferenceEnded {
        /// Whose stay ended with it, with [`ExitReason::ConferenceClosed`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        members: Vec<MemberId>,
    },
}

/// An event with its number and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Counted by [`super::Conference::apply`].
    pub seq: Seq,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What the store keeps whole or not at all: all events of one or several commands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record {
    /// In the order of their numbers; never empty in the store.
    pub events: Vec<Recorded>,
}

impl Record {
    /// When the conference ended, if it did so here: nothing can follow this record.
    pub fn ended_at(&self) -> Option<Timestamp> {
        let ends = |recorded: &&Recorded| matches!(recorded.event, Event::ConferenceEnded { .. });
        self.events.iter().find(ends).map(|recorded| recorded.at)
    }

    /// The app of the conference that begins here, if one does.
    pub fn created_in(&self) -> Option<&AppId> {
        match &self.events.first()?.event {
            Event::ConferenceCreated(created) => Some(&created.app),
            _ => None,
        }
    }
}
