//! VoIP rooms as WeChat's `joinVoIPChat` knows them: who may be in one, and the signature that opens it.
//!
//! The signature is HMAC-SHA256 over the app id, the group id, the nonce and the time, sorted and joined, under the
//! session key of the user (WeChat's documentation of `joinVoIPChat`). The key is the text that WeChat's login gave, not
//! what it decodes to.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::id::{RoomName, Timestamp};
use super::limits::Limits;
use super::refusal::{Reason, Refusal};

/// Members of one VoIP room (WeChat's documentation of `joinVoIPChat`).
pub const VOIP_MEMBERS_MAX: u32 = 10;
/// How far the time of a signature may be from now. A signature is made right before it is used.
pub const SIGNATURE_WINDOW_SECS: u64 = 300;
/// Longest nonce, in characters: WeChat takes less than 128.
pub const NONCE_CHARS_MAX: usize = 127;
/// Longest session key, in characters. WeChat's have 24.
pub const SESSION_KEY_CHARS_MAX: usize = 256;
/// Longest app id of a mini program, in characters. WeChat's have 18.
pub const MINI_APP_ID_CHARS_MAX: usize = 128;
/// The largest number that JSON readers keep exactly: 2^53 - 1.
const TIME_STAMP_MAX: u64 = 9_007_199_254_740_991;

/// What a VoIP room carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoomType {
    /// Sound.
    Voice,
    /// Sound and pictures.
    Video,
}

/// What makes a conference a VoIP room: it has a group's id for a name and so many places, and is gone when the last
/// member leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VoipRoom {
    /// The group that talks.
    pub group_id: RoomName,
    /// As its first member asked for.
    pub room_type: RoomType,
}

impl RoomType {
    /// The places of such a room, given those of an ordinary conference. All members talk; a voice room has no place for
    /// a video.
    pub fn limits(self, ordinary: Limits) -> Limits {
        let (videos, desktops) = match self {
            Self::Voice => (0, 0),
            Self::Video => (VOIP_MEMBERS_MAX, ordinary.max_pub_desktop_count),
        };
        Limits {
            max_talker_count: VOIP_MEMBERS_MAX,
            max_video_count: videos,
            max_audience_count: 0,
            max_pub_desktop_count: desktops,
        }
    }
}

/// The `timeStamp` of a signature: seconds since 1970, as they are written when they are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SignedAt(u64);

impl SignedAt {
    /// That moment.
    pub fn at(now: Timestamp) -> Self {
        Self(now.as_secs())
    }

    /// A number that JSON readers keep exactly.
    pub fn from_number(seconds: u64) -> Option<Self> {
        (seconds <= TIME_STAMP_MAX).then_some(Self(seconds))
    }

    /// Digits, written in the one way in which a number is.
    pub fn from_digits(digits: &str) -> Option<Self> {
        let number = digits.parse().ok().and_then(Self::from_number)?;
        (number.to_string() == digits).then_some(number)
    }

    /// Until when a signature of this time, used at `now`, could be shown again; or why it is none to be used now.
    pub fn valid_until(self, now: Timestamp) -> Result<Timestamp, Refusal> {
        if self.0.abs_diff(now.as_secs()) > SIGNATURE_WINDOW_SECS {
            return Err(Reason::Unauthenticated.because(format!(
                "timeStamp: the signature was made more than {SIGNATURE_WINDOW_SECS} seconds ago, or ahead of time; sign anew"
            )));
        }
        // To the end of the last second in which the difference is no more than the window.
        let latest = self.0.max(now.as_secs()).saturating_add(SIGNATURE_WINDOW_SECS + 1);
        Ok(Timestamp(latest.saturating_mul(1000)))
    }
}

impl fmt::Display for SignedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The mini program's id.
    pub app_id: &'a str,
    /// The room's.
    pub group_id: &'a str,
    /// A text for one use.
    pub nonce: &'a str,
    /// When.
    pub at: SignedAt,
}

impl Signed<'_> {
    /// The signature under `session_key`, in lower-case hexadecimal digits.
    pub fn signature(&self, session_key: &str) -> String {
        let bytes = self.mac(session_key).finalize().into_bytes();
        bytes.iter().flat_map(|byte| [hex_digit(byte >> 4), hex_digit(byte & 15)]).collect()
    }

    /// Whether `signature` is the one under `session_key`. Takes as long for a wrong one as for the right one.
    pub fn is_signed(&self, session_key: &str, signature: &str) -> bool {
        let Some(bytes) = from_hex(signature) else { return false };
        self.mac(session_key).verify_slice(&bytes).is_ok()
    }

    fn mac(&self, session_key: &str) -> Hmac<Sha256> {
        let time = self.at.to_string();
        let mut parts = [self.app_id, self.group_id, self.nonce, &time];
        // As JavaScript sorts: by UTF-16 code units.
        parts.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac =
            Hmac::<Sha256>::new_from_slice(session_key.as_bytes()).expect("HMAC takes a key of any length");
        for part in parts {
            mac.update(part.as_bytes());
        }
        mac
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let [high, low] = digits else { return None };
        let value = char::from(*high).to_digit(16)? * 16 + char::from(*low).to_digit(16)?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "gDyVgzwa0mFz9uUP7M6GQQ==";
    const SIGNATURE: &str = "b002b824688dd8593a6079e11d8c5e8734fbcb39a6d5906eb347bfbcad79c617";

    fn signed() -> Signed<'static> {
        Signed {
            app_id: "wx20afc706a711eefc",
            group_id: "1559129713_672975982",
            nonce: "8AP6DT9ybtniUJfb",
            at: SignedAt::from_digits("1559129714").unwrap(),
        }
    }

    #[test]
    fn the_vector_of_the_documentation_holds() {
        assert_eq!(signed().signature(KEY), SIGNATURE);
        assert!(signed().is_signed(KEY, SIGNATURE));
    }

    #[test]
    fn whatever_differs_is_not_signed() {
        let other = |signed: Signed<'_>| assert!(!signed.is_signed(KEY, SIGNATURE), "{signed:?}");
        other(Signed { app_id: "wx20afc706a711eefd", ..signed() });
        other(Signed { group_id: "1559129713_672975983", ..signed() });
        other(Signed { nonce: "8AP6DT9ybtniUJfc", ..signed() });
        other(Signed { at: SignedAt::from_number(1_559_129_715).unwrap(), ..signed() });
        assert!(!signed().is_signed("gDyVgzwa0mFz9uUP7M6GQR==", SIGNATURE));
        for bad in ["", "b0", &SIGNATURE[1..], &SIGNATURE.replace('b', "g"), &SIGNATURE.replace('b', "é")] {
            assert!(!signed().is_signed(KEY, bad), "{bad}");
        }
    }

    #[test]
    fn parts_are_sorted_as_javascript_sorts() {
        // By code points U+FF5E stands before U+1F600, by code units behind it.
        let one = Signed { app_id: "\u{1F600}", group_id: "\u{FF5E}", ..signed() };
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
        mac.update("15591297148AP6DT9ybtniUJfb\u{1F600}\u{FF5E}".as_bytes());
        let expected: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .flat_map(|byte| [hex_digit(byte >> 4), hex_digit(byte & 15)])
            .collect();
        assert_eq!(one.signature(KEY), expected);
    }

    #[test]
    fn a_signature_holds_for_five_minutes_around_its_time() {
        let at = SignedAt::from_number(10_000).unwrap();
        let until = |now_secs: u64| at.valid_until(Timestamp(now_secs * 1000)).map(Timestamp::as_secs);
        assert_eq!(until(9_700), Ok(10_301));
        assert_eq!(until(10_000), Ok(10_301));
        assert_eq!(until(10_300), Ok(10_601));
        // It is taken to the end of that second, and whoever used it up keeps it used as long.
        let last = Timestamp(10_300_999);
        assert!(at.valid_until(last).is_ok());
        assert!(at.valid_until(Timestamp(10_000_000)).unwrap() > last);
        for outside in [9_699, 10_301] {
            assert_eq!(until(outside).unwrap_err().reason, Reason::Unauthenticated);
        }
    }

    #[test]
    fn a_time_is_written_in_one_way() {
        assert_eq!(SignedAt::from_digits("0"), SignedAt::from_number(0));
        for bad in ["", "007", "+7", "-7", "7.0", "9007199254740992", "seven"] {
            assert_eq!(SignedAt::from_digits(bad), None, "{bad}");
        }
    }
}
