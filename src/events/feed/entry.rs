//! What one event is to the members: pure, so that the live feed, a replay and a page tell the same.

use serde_json::{Map, Value, json};

use crate::domain::conference::{ConferenceKind, Member};
use crate::domain::event::{ExitReason, StreamEnd};
use crate::domain::{
    Conference, ConferenceId, Event, MemberId, Reason, Recorded, Role, Seq, StreamId, Timestamp,
};
use crate::events::views::{ConferenceView, MemberView, Reader, StreamView, rfc3339};

/// Who reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// The app's backend, which sees everything.
    App,
    /// One stay of a member.
    Member {
        /// Who.
        member: MemberId,
        /// The event that let it in.
        epoch: Seq,
    },
}

impl Who {
    /// With whose eyes views are made.
    pub fn reader(&self) -> Reader {
        match self {
            Self::App => Reader::App,
            Self::Member { .. } => Reader::Member,
        }
    }

    /// Whether a message between these is for its eyes. The app sees all.
    fn may_read(&self, from: Option<&MemberId>, to: Option<&[MemberId]>) -> bool {
        match (self, to) {
            (Self::App, _) | (_, None) => true,
            (Self::Member { member, .. }, Some(to)) => from == Some(member) || to.contains(member),
        }
    }

    fn is(&self, other: &MemberId) -> bool {
        matches!(self, Self::Member { member, .. } if member == other)
    }
}

/// An event with the views that its frames need, made while the objects stood as they were.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The number of the event.
    pub seq: Seq,
    at: Timestamp,
    kind: Kind,
    body: Map<String, Value>,
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Joined {
        hidden: bool,
    },
    Changed {
        hidden: bool,
    },
    Exited {
        member: MemberId,
        reason: ExitReason,
        hidden: bool,
    },
    Role {
        member: MemberId,
        hidden: bool,
    },
    Plain(&'static str),
    /// Pictures of this owner found no place.
    Refused {
        owner: MemberId,
    },
    /// Said by one, or by the app; to some, or to all.
    Message {
        from: Option<MemberId>,
        to: Option<Vec<MemberId>>,
    },
    Ended,
}

/// One message of the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The number of its event, which the next frame names as `prev`.
    pub seq: Seq,
    /// The message.
    pub value: Map<String, Value>,
    /// Nothing follows for this reader.
    pub is_last: bool,
    /// It tells the reader its own new role, so a fresh member token belongs into it.
    pub is_own_role: bool,
}

fn hidden(conference: &Conference, role: Role) -> bool {
    conference.settings.kind == ConferenceKind::Live && !role.may_publish()
}

fn view(value: impl serde::Serialize) -> Value {
    // Views are strings, numbers and maps with text keys: there is nothing that JSON could not hold.
    serde_json::to_value(value).unwrap_or_default()
}

fn member_view(conference: &Conference, member: &Member) -> Value {
    view(MemberView::new(&conference.settings.app, member))
}

fn stream_body(conference: &Conference, stream: &StreamId, reason: Option<StreamEnd>) -> Option<Value> {
    let stream = conference.streams.get(stream)?;
    let mut body = json!({ "stream": view(StreamView::new(conference, stream)) });
    if let Some(reason) = reason {
        body["reason"] = view(reason);
    }
    Some(body)
}

/// Folds `recorded` into `conference` and gives what it is to readers; `None` for what no reader is shown.
pub fn fold(conference: &mut Conference, recorded: &Recorded) -> Option<Entry> {
    let before = told_before(conference, &recorded.event);
    let former = match &recorded.event {
        Event::RoleChanged { user, .. } => conference.member_of(user).map(|member| member.role),
        _ => None,
    };
    let unchanged = match &recorded.event {
        Event::StreamChanged { stream, .. } => stream_body(conference, stream, None),
        _ => None,
    };
    conference.replay(recorded);
    let (kind, body) = before.or_else(|| told_after(conference, &recorded.event, former))?;
    // What an owner turns off that was off to the eye is no news.
    if unchanged.as_ref() == Some(&body) {
        return None;
    }
    let Value::Object(body) = body else { return None };
    let bytes = serde_json::to_vec(&body).map_or(0, |text| text.len());
    Some(Entry { seq: recorded.seq, at: recorded.at, kind, body, bytes })
}

/// What tells of objects that the event takes away.
fn told_before(conference: &Conference, event: &Event) -> Option<(Kind, Value)> {
    match event {
        Event::MemberExited { member, reason } => {
            let gone = conference.members.get(member)?;
            let hidden = hidden(conference, gone.role);
            let body = json!({ "member": member_view(conference, gone), "reason": u8::from(*reason) });
            Some((Kind::Exited { member: member.clone(), reason: *reason, hidden }, body))
        }
        Event::MediaStopped { stream, reason } => {
            Some((Kind::Plain("streamRemoved"), stream_body(conference, stream, Some(*reason))?))
        }
        Event::ConferenceEnded { .. } => {
            Some((Kind::Ended, json!({ "reason": u8::from(ExitReason::ConferenceClosed) })))
        }
        _ => None,
    }
}

fn told_after(conference: &Conference, event: &Event, former: Option<Role>) -> Option<(Kind, Value)> {
    match event {
        Event::MemberJoined { member, role, .. } => {
            let body = json!({ "member": member_view(conference, conference.members.get(member)?) });
            Some((Kind::Joined { hidden: hidden(conference, *role) }, body))
        }
        Event::RoleChanged { user, role, .. } => {
            let member = conference.member_of(user)?;
            let hidden = hidden(conference, *role) && hidden(conference, former?);
            let body = json!({ "member": member_view(conference, member) });
            Some((Kind::Role { member: member.id.clone(), hidden }, body))
        }
        Event::MemberChanged { member, .. } => changed(conference, conference.members.get(member)?),
        Event::MemberMuted { user, .. } => changed(conference, conference.member_of(user)?),
        Event::VideoRefused { stream } => {
            let mut body = stream_body(conference, stream, None)?;
            body["refused"] = Reason::VideosFull.word().into();
            let owner = conference.streams.get(stream)?.owner.clone();
            Some((Kind::Refused { owner }, body))
        }
        Event::MessageSent { from, to, body } => {
            let sender = from.as_ref().and_then(|from| conference.members.get(from));
            let sender = sender.map(|sender| member_view(conference, sender));
            let mut told = json!({ "from": sender, "body": body });
            if let Some(to) = to {
                told["to"] = view(to);
            }
            Some((Kind::Message { from: from.clone(), to: to.clone() }, told))
        }
        Event::ConferenceChanged { .. } => {
            // The members of a view for members are no secret to the app, which knows the rest by GET.
            let view = ConferenceView::new(conference, Reader::Member);
            Some((Kind::Plain("conferenceChanged"), json!({ "conference": view })))
        }
        Event::MediaStarted { stream, .. } => {
            Some((Kind::Plain("streamAdded"), stream_body(conference, stream, None)?))
        }
        Event::MediaChanged { stream, .. }
        | Event::StreamChanged { stream, .. }
        | Event::StreamMuteChanged { stream }
        | Event::VideoGranted { stream } => {
            Some((Kind::Plain("mediaChanged"), stream_body(conference, stream, None)?))
        }
        _ => None,
    }
}

fn changed(conference: &Conference, member: &Member) -> Option<(Kind, Value)> {
    let body = json!({ "member": member_view(conference, member) });
    Some((Kind::Changed { hidden: hidden(conference, member.role) }, body))
}

impl Entry {
    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The frame for `who`, whose last frame was `prev`; `None` where it may not see this.
    pub fn frame(&self, conference: &ConferenceId, who: &Who, prev: Seq) -> Option<Frame> {
        let (mut is_last, mut is_own_role) = (false, false);
        let mut body = None;
        let is_app = *who == Who::App;
        let word = match &self.kind {
            Kind::Exited { member, reason, .. } if who.is(member) => {
                is_last = true;
                body = Some(Map::from_iter([("reason".to_owned(), u8::from(*reason).into())]));
                "conferenceExit"
            }
            Kind::Role { member, .. } if who.is(member) => {
                is_own_role = true;
                "roleChanged"
            }
            Kind::Joined { hidden }
            | Kind::Changed { hidden }
            | Kind::Exited { hidden, .. }
            | Kind::Role { hidden, .. }
                if *hidden && !is_app =>
            {
                return None;
            }
            Kind::Refused { owner } if !is_app && !who.is(owner) => return None,
            Kind::Refused { .. } => "mediaChanged",
            Kind::Message { from, to } if !who.may_read(from.as_ref(), to.as_deref()) => return None,
            Kind::Message { .. } => "message",
            Kind::Joined { .. } => "memberJoined",
            Kind::Changed { .. } => "memberChanged",
            Kind::Exited { .. } => "memberExited",
            Kind::Role { .. } => "roleChanged",
            Kind::Plain(word) => word,
            Kind::Ended => {
                is_last = true;
                "conferenceExit"
            }
        };
        let mut value = head(conference, self.seq, prev, self.at, word);
        value.extend(body.unwrap_or_else(|| self.body.clone()));
        if let Kind::Message { from, .. } = &self.kind
            && !is_app
            && !from.as_ref().is_some_and(|from| who.is(from))
        {
            // Who else was told is for the one who said it.
            value.remove("to");
        }
        Some(Frame { seq: self.seq, value, is_last, is_own_role })
    }
}

/// What every frame begins with.
pub fn head(conference: &ConferenceId, seq: Seq, prev: Seq, at: Timestamp, word: &str) -> Map<String, Value> {
    let mut value = Map::new();
    value.insert("seq".to_owned(), seq.0.into());
    value.insert("prev".to_owned(), prev.0.into());
    value.insert("confrId".to_owned(), conference.as_str().into());
    value.insert("at".to_owned(), rfc3339(at).into());
    value.insert("type".to_owned(), word.into());
    value
}

/// The first frame of a reader that has nothing yet. Its `prev` is its own number: nothing of before is missing.
pub fn snapshot(conference: &Conference, who: &Who, at: Timestamp) -> Map<String, Value> {
    let mut value = head(conference.id(), conference.seq, conference.seq, at, "snapshot");
    let seen = view(ConferenceView::new(conference, who.reader()));
    for list in ["members", "streams"] {
        value.insert(list.to_owned(), seen[list].clone());
    }
    value.insert("conference".to_owned(), seen);
    if let Who::Member { member, .. } = who
        && let Some(own) = conference.members.get(member)
    {
        value.insert("member".to_owned(), member_view(conference, own));
    }
    value
}
