//! The names of things. Each is a newtype, so that no id can stand where another is meant, and each can be built
//! only from a text that obeys its rules.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest user name, in characters (contract, section Objects).
pub const NAME_CHARS_MAX: usize = 128;
/// Longest `rtcId`, in bytes (contract, section Objects).
pub const RTC_ID_BYTES_MAX: usize = 32;
/// Longest id that the gateway makes itself; anything longer in a request is not one of ours.
const OWN_ID_BYTES_MAX: usize = 64;
/// What the names of guests begin with.
const GUEST_PREFIX: &str = "guest-";
/// What stands between the publisher's `rtcId` and its member id in a stream id.
const STREAM_ID_SEPARATOR: &str = "__Of_";
/// The letters of a generated id: lower case base 32 without padding, safe in a path, a query and a file name.
const ID_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A text that does not obey the rules of the id it should become.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {rule}")]
pub struct InvalidId {
    what: &'static str,
    rule: &'static str,
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Whether people may call something so: any script, nothing that breaks a line or a path.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().count() <= NAME_CHARS_MAX
        && !text.chars().any(|c| c.is_control() || c == '/')
}

fn prefixed(text: &str, prefix: &str) -> bool {
    text.len() <= OWN_ID_BYTES_MAX && text.strip_prefix(prefix).is_some_and(is_token)
}

/// Spells 80 random bits in sixteen letters.
fn spell(bits: [u8; 10]) -> String {
    let mut wide = [0_u8; 16];
    wide[6..].copy_from_slice(&bits);
    let number = u128::from_be_bytes(wide);
    (0..16).rev().map(|place| char::from(ID_ALPHABET[(number >> (place * 5)) as usize & 31])).collect()
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes `text` if it obeys the rules of this id.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(InvalidId { what: $what, rule: $rule }) }
            }

            /// The id as it stands in JSON and URLs.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// The app that a conference belongs to: the part of an app key before the dot.
    AppId, "an app id", "is 1 to 64 letters, digits, '-' or '_'", |text| text.len() <= OWN_ID_BYTES_MAX && is_token(text)
);
text_id!(
    /// `confrId` of the API.
    ConferenceId, "a conference id", "begins with TS_", |text| prefixed(text, "TS_")
);
text_id!(
    /// A member's id. A user that joins again gets a new one.
    MemberId, "a member id", "begins with MS_", |text| prefixed(text, "MS_")
);
text_id!(
    /// Names one ticket, so that a guest's kick can end the very ticket it came with.
    TicketId, "a ticket id", "begins with TK_", |text| prefixed(text, "TK_")
);
text_id!(
    /// The publisher's own name for one of its streams.
    RtcId, "rtcId", "is 1 to 32 letters, digits, '-' or '_'", |text| text.len() <= RTC_ID_BYTES_MAX && is_token(text)
);
text_id!(
    /// A user of an app, as its backend names them.
    UserName, "a user name", "is 1 to 128 characters without control characters or '/'", is_name
);
text_id!(
    /// The name of a room in its app: whoever joins that name meets in one conference.
    RoomName, "a room name", "is 1 to 128 characters without control characters or '/'", is_name
);
text_id!(
    /// A relay of a stream to or from a far server.
    RelayId, "a relay id", "begins with RL_", |text| prefixed(text, "RL_")
);
text_id!(
    /// `<rtcId>__Of_<memberId>`: the name of a stream in the API and in media URLs.
    StreamId, "a stream id", "is <rtcId>__Of_<member id>", |text| StreamId::split(text).is_some()
);

impl AppId {
    /// Makes an id from random bits.
    pub fn from_random(bits: [u8; 10]) -> Self {
        Self(spell(bits).into())
    }
}

impl ConferenceId {
    /// Makes an id from random bits.
    pub fn from_random(bits: [u8; 10]) -> Self {
        Self(format!("TS_{}", spell(bits)).into())
    }
}

impl MemberId {
    /// Makes an id from random bits.
    pub fn from_random(bits: [u8; 10]) -> Self {
        Self(format!("MS_{}", spell(bits)).into())
    }
}

impl TicketId {
    /// Makes an id from random bits.
    pub fn from_random(bits: [u8; 10]) -> Self {
        Self(format!("TK_{}", spell(bits)).into())
    }
}

impl RelayId {
    /// Makes an id from random bits.
    pub fn from_random(bits: [u8; 10]) -> Self {
        Self(format!("RL_{}", spell(bits)).into())
    }
}

impl UserName {
    /// The name of the `number`th guest of a conference.
    pub fn guest(number: u64) -> Self {
        Self(format!("{GUEST_PREFIX}{number}").into())
    }

    /// Whether this is what a guest is called. A user of an app may be called so too.
    pub fn is_guest(&self) -> bool {
        self.0.starts_with(GUEST_PREFIX)
    }
}

impl StreamId {
    /// The stream that `member` calls `rtc_id`.
    pub fn new(rtc_id: &RtcId, member: &MemberId) -> Self {
        Self(format!("{rtc_id}{STREAM_ID_SEPARATOR}{member}").into())
    }

    /// Whether `member` declared it.
    pub fn is_of(&self, member: &MemberId) -> bool {
        Self::split(&self.0).is_some_and(|(_, owner)| owner == member.as_str())
    }

    fn split(text: &str) -> Option<(&str, &str)> {
        let (rtc_id, member) = text.rsplit_once(STREAM_ID_SEPARATOR)?;
        (RtcId::parse(rtc_id).is_ok() && MemberId::parse(member).is_ok()).then_some((rtc_id, member))
    }
}

/// The number of an event in its conference, counted from 1 by `apply`. Zero stands before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The number of the event after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Wall-clock time in milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Whole seconds, as JWTs and media tokens carry them.
    pub fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The moment `ms` milliseconds later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_ids_parse_back() {
        let confr = ConferenceId::from_random([0xFF; 10]);
        assert_eq!(confr.as_str(), "TS_7777777777777777");
        assert_eq!(ConferenceId::parse(confr.as_str()), Ok(confr));
        assert_ne!(MemberId::from_random([1; 10]), MemberId::from_random([2; 10]));
    }

    #[test]
    fn a_stream_id_names_its_publisher_even_when_the_rtc_id_holds_the_separator() {
        let member = MemberId::from_random([3; 10]);
        let rtc_id = RtcId::parse("a__Of_b").unwrap();
        let stream = StreamId::new(&rtc_id, &member);
        assert_eq!(StreamId::split(stream.as_str()), Some(("a__Of_b", member.as_str())));
        assert!(StreamId::parse("no-separator").is_err());
        assert!(StreamId::parse("../x__Of_MS_a").is_err());
    }

    #[test]
    fn user_names_keep_to_their_rules() {
        for good in ["yss000", "张三", "a b", &"x".repeat(128)] {
            assert!(UserName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a\nb", "a\u{0}", &"x".repeat(129)] {
            assert!(UserName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
