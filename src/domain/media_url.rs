//! The right to publish or play one stream, and the token that carries it in a URL.
//!
//! A token is HMAC-SHA256 over a short binary claim and the name of the stream. It is bound to the member, its
//! epoch, the direction, the stream and the number of the stream's declaration; the role is not in it, because the
//! role is read live.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::id::{ConferenceId, MemberId, Seq, StreamId, Timestamp};
use super::refusal::{Reason, Refusal};

/// First byte of every token of this layout.
const TOKEN_VERSION: u8 = 1;
/// Bytes of the HMAC that ride in the token: 128 bits cannot be guessed.
const TAG_BYTES: usize = 16;
/// Longest token text that is looked at; ours have about a hundred characters.
const TOKEN_CHARS_MAX: usize = 256;

/// Which way media flows, seen from the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The member sends.
    Publish,
    /// The member receives.
    Play,
}

impl Direction {
    /// The word in logs and lists.
    pub fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

/// How a viewer wants to be served.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// As close to now as can be.
    #[default]
    Rtc,
    /// Smooth, with the whole of the newest GOP at the start.
    Live,
}

/// The right to one direction of one stream, as [`super::Conference::media_right`] judges it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaRight {
    /// Where.
    pub conference: ConferenceId,
    /// Who asks.
    pub member: MemberId,
    /// The event that let that member in.
    pub epoch: Seq,
    /// Publish or play.
    pub direction: Direction,
    /// What.
    pub stream: StreamId,
    /// The event that declared that stream.
    pub declared: Seq,
}

/// What a media URL grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaGrant {
    /// The right.
    pub right: MediaRight,
    /// How to serve a viewer.
    pub profile: Profile,
    /// Last moment of admission; a session that is in stays in.
    pub expires_at: Timestamp,
    /// Tells two URLs of the same right apart.
    pub nonce: [u8; 4],
    /// Whether the app itself looks on with its key, by the right of the stream's owner. That is no sign of life of the owner.
    pub is_observer: bool,
}

/// Signs and verifies media tokens.
#[derive(Clone)]
pub struct MediaKey([u8; 32]);

impl MediaKey {
    /// Takes key material that serves no other purpose.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The token for `grant`. Its expiry is kept in whole seconds.
    pub fn mint(&self, grant: &MediaGrant) -> String {
        let right = &grant.right;
        let mut token = vec![TOKEN_VERSION, shape_byte(grant)];
        push_number(&mut token, grant.expires_at.as_secs());
        push_number(&mut token, right.epoch.0);
        push_number(&mut token, right.declared.0);
        token.extend_from_slice(&grant.nonce);
        push_text(&mut token, right.conference.as_str());
        push_text(&mut token, right.member.as_str());
        let tag = self.mac(&token, &right.stream).finalize().into_bytes();
        token.extend_from_slice(tag.get(..TAG_BYTES).unwrap_or_default());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// What `token` grants on the stream called `stream_name`, if it is ours, for `direction`, and still in time.
    pub fn verify(
        &self,
        stream_name: &str,
        token: &str,
        direction: Direction,
        now: Timestamp,
    ) -> Result<MediaGrant, Refusal> {
        let invalid = || {
            Reason::UrlInvalid
                .because("this URL was not made by this gateway, or was changed; ask for a new one")
        };
        let stream = StreamId::parse(stream_name).map_err(|_| invalid())?;
        if token.len() > TOKEN_CHARS_MAX {
            return Err(invalid());
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let (claim, tag) =
            bytes.len().checked_sub(TAG_BYTES).map(|at| bytes.split_at(at)).ok_or_else(invalid)?;
        self.mac(claim, &stream).verify_truncated_left(tag).map_err(|_| invalid())?;
        let grant = read_claim(claim, stream).ok_or_else(invalid)?;
        if grant.right.direction != direction {
            return Err(Reason::UrlInvalid.because(format!(
                "this URL is for {}, not for {}",
                grant.right.direction.word(),
                direction.word()
            )));
        }
        if now.as_secs() >= grant.expires_at.as_secs() {
            return Err(Reason::UrlExpired.because("this URL has expired; ask for a new one"));
        }
        Ok(grant)
    }

    fn mac(&self, claim: &[u8], stream: &StreamId) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(claim);
        mac.update(stream.as_str().as_bytes());
        mac
    }
}

fn shape_byte(grant: &MediaGrant) -> u8 {
    let direction = match grant.right.direction {
        Direction::Publish => 0,
        Direction::Play => 1,
    };
    let profile = match grant.profile {
        Profile::Rtc => 0,
        Profile::Live => 2,
    };
    let observer = if grant.is_observer { 4 } else { 0 };
    direction | profile | observer
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = (number & 0x7F) as u8;
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Ids are at most 64 bytes long, so one byte counts them.
fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}

struct Claim<'a>(&'a [u8]);

impl<'a> Claim<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let count = self.byte()?;
        std::str::from_utf8(self.take(usize::from(count))?).ok()
    }
}

fn read_claim(claim: &[u8], stream: StreamId) -> Option<MediaGrant> {
    let mut claim = Claim(claim);
    if claim.byte()? != TOKEN_VERSION {
        return None;
    }
    let shape = claim.byte()?;
    let expires_at = Timestamp(claim.number()?.checked_mul(1000)?);
    let epoch = Seq(claim.number()?);
    let declared = Seq(claim.number()?);
    let nonce = claim.take(4)?.try_into().ok()?;
    let conference = ConferenceId::parse(claim.text()?).ok()?;
    let member = MemberId::parse(claim.text()?).ok()?;
    let direction = if shape & 1 == 0 { Direction::Publish } else { Direction::Play };
    let profile = if shape & 2 == 0 { Profile::Rtc } else { Profile::Live };
    claim.0.is_empty().then_some(MediaGrant {
        right: MediaRight { conference, member, epoch, direction, stream, declared },
        profile,
        expires_at,
        nonce,
        is_observer: shape & 4 != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::RtcId;

    fn grant(direction: Direction) -> MediaGrant {
        let member = MemberId::from_random([7; 10]);
        MediaGrant {
            right: MediaRight {
                conference: ConferenceId::from_random([9; 10]),
                epoch: Seq(300),
                direction,
                stream: StreamId::new(&RtcId::parse("RTC1").unwrap(), &member),
                declared: Seq(301),
                member,
            },
            profile: Profile::Live,
            expires_at: Timestamp(2_000_000_000_000),
            nonce: [1, 2, 3, 4],
            is_observer: false,
        }
    }

    const NOW: Timestamp = Timestamp(1_900_000_000_000);

    fn reason(result: Result<MediaGrant, Refusal>) -> Reason {
        result.unwrap_err().reason
    }

    #[test]
    fn a_token_grants_what_was_minted_until_it_expires() {
        let key = MediaKey::new([5; 32]);
        let grant = grant(Direction::Play);
        let token = key.mint(&grant);
        assert!(token.len() < 110, "{} characters", token.len());
        let name = grant.right.stream.as_str();
        assert_eq!(key.verify(name, &token, Direction::Play, NOW), Ok(grant.clone()));
        let observer = MediaGrant { is_observer: true, ..grant.clone() };
        assert_eq!(key.verify(name, &key.mint(&observer), Direction::Play, NOW), Ok(observer));
        let late = key.verify(name, &token, Direction::Play, grant.expires_at);
        assert_eq!(reason(late), Reason::UrlExpired);
    }

    #[test]
    fn a_token_serves_one_direction_one_stream_and_one_key() {
        let key = MediaKey::new([5; 32]);
        let publish = grant(Direction::Publish);
        let token = key.mint(&publish);
        let name = publish.right.stream.as_str();
        assert_eq!(reason(key.verify(name, &token, Direction::Play, NOW)), Reason::UrlInvalid);
        let other = name.replace("RTC1", "RTC2");
        assert_eq!(reason(key.verify(&other, &token, Direction::Publish, NOW)), Reason::UrlInvalid);
        let stranger = MediaKey::new([6; 32]);
        assert_eq!(reason(stranger.verify(name, &token, Direction::Publish, NOW)), Reason::UrlInvalid);
    }

    #[test]
    fn every_changed_or_missing_character_is_refused() {
        let key = MediaKey::new([5; 32]);
        let grant = grant(Direction::Publish);
        let token = key.mint(&grant);
        let name = grant.right.stream.as_str();
        for at in 0..token.len() {
            assert_eq!(reason(key.verify(name, &token[..at], Direction::Publish, NOW)), Reason::UrlInvalid);
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(
                reason(key.verify(name, &forged, Direction::Publish, NOW)),
                Reason::UrlInvalid,
                "at {at}"
            );
        }
        assert_eq!(
            reason(key.verify(name, &"A".repeat(100_000), Direction::Publish, NOW)),
            Reason::UrlInvalid
        );
    }
}
