//! A refusal is a value: a stable word, the number that emedia clients know, and a sentence for people.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Why something was refused. The word and the number are part of the public contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The ticket is forged, garbled, or for something else.
    TicketInvalid,
    /// The ticket's time is over.
    TicketExpired,
    /// The member was kicked, left, or was replaced; or a decision stands against letting it in again.
    MemberGone,
    /// No such conference in this app.
    ConferenceNotFound,
    /// The conference has ended.
    ConferenceClosed,
    /// The password does not match.
    WrongPassword,
    /// The conference does not take this kind of client.
    ClientNotSupported,
    /// The role does not allow it.
    NotAllowed,
    /// No credential, or one that proves nothing.
    Unauthenticated,
    /// The request itself is wrong.
    InvalidRequest,
    /// The body is over the limit.
    PayloadTooLarge,
    /// No such stream.
    StreamNotFound,
    /// No such thing.
    NotFound,
    /// A media URL that is forged, of the wrong direction, or of a stream that was deleted.
    UrlInvalid,
    /// A media URL whose time is over.
    UrlExpired,
    /// No place left for another AUDIENCE member.
    MembersFull,
    /// No place left for another talker.
    TalkersFull,
    /// No place left for another video.
    VideosFull,
    /// No place left for another shared desktop.
    DesktopsFull,
    /// Too many requests.
    RateLimited,
    /// The gateway is at a limit of its own.
    Overloaded,
    /// The store does not answer or cannot write.
    StoreUnavailable,
    /// The gateway is shutting down.
    Draining,
}

impl Reason {
    /// Every reason, in the order in which they are told above.
    pub const ALL: [Self; 23] = [
        Self::TicketInvalid,
        Self::TicketExpired,
        Self::MemberGone,
        Self::ConferenceNotFound,
        Self::ConferenceClosed,
        Self::WrongPassword,
        Self::ClientNotSupported,
        Self::NotAllowed,
        Self::Unauthenticated,
        Self::InvalidRequest,
        Self::PayloadTooLarge,
        Self::StreamNotFound,
        Self::NotFound,
        Self::UrlInvalid,
        Self::UrlExpired,
        Self::MembersFull,
        Self::TalkersFull,
        Self::VideosFull,
        Self::DesktopsFull,
        Self::RateLimited,
        Self::Overloaded,
        Self::StoreUnavailable,
        Self::Draining,
    ];

    /// The stable word, as it stands in `reason` and at the start of an RTMP description.
    pub fn word(self) -> &'static str {
        self.row().0
    }

    /// The number that emedia clients know.
    pub fn code(self) -> i32 {
        self.row().1
    }

    fn row(self) -> (&'static str, i32) {
        match self {
            Self::TicketInvalid => ("ticket_invalid", -500),
            Self::TicketExpired => ("ticket_expired", -502),
            Self::MemberGone => ("member_gone", -504),
            Self::ConferenceNotFound => ("conference_not_found", -301),
            Self::ConferenceClosed => ("conference_closed", -302),
            Self::WrongPassword => ("wrong_password", -508),
            Self::ClientNotSupported => ("client_not_supported", -510),
            Self::NotAllowed => ("not_allowed", -101),
            Self::Unauthenticated => ("unauthenticated", -100),
            Self::InvalidRequest => ("invalid_request", -200),
            Self::PayloadTooLarge => ("payload_too_large", -200),
            Self::StreamNotFound => ("stream_not_found", -301),
            Self::NotFound => ("not_found", -301),
            Self::UrlInvalid => ("url_invalid", -500),
            Self::UrlExpired => ("url_expired", -502),
            Self::MembersFull => ("members_full", -522),
            Self::TalkersFull => ("talkers_full", -523),
            Self::VideosFull => ("videos_full", -524),
            Self::DesktopsFull => ("desktops_full", -525),
            Self::RateLimited => ("rate_limited", -429),
            Self::Overloaded => ("overloaded", -503),
            Self::StoreUnavailable => ("store_unavailable", -503),
            Self::Draining => ("draining", -503),
        }
    }

    /// A refusal for this reason, with a sentence that tells what was wrong and what to do.
    pub fn because(self, detail: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { reason: self, detail: detail.into(), wait: None, limit: None }
    }
}

/// A refusal: the reason and a sentence. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable reason.
    pub reason: Reason,
    /// What happened and what to do, for a person.
    pub detail: Cow<'static, str>,
    /// After how long to try again, where that is known.
    pub wait: Option<Duration>,
    /// The limit that was reached, where it is one of the gateway's own, by the name of its setting if it has one.
    pub limit: Option<&'static str>,
}

impl Refusal {
    /// The same, which does not hold any more after `wait`.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self { wait: Some(wait), ..self }
    }

    /// The same, because this limit was reached.
    #[must_use]
    pub fn at(self, limit: &'static str) -> Self {
        Self { limit: Some(limit), ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.word(), self.detail)
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        reason.because("")
    }
}
