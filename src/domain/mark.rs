//! What tells a repeated request from a new one: fingerprints of the caller's idempotency key and of what was asked.
//!
//! Only fingerprints stand in the log. They are made with a key of the gateway's own, so that nobody who reads the log
//! can try out what was behind them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;

use super::id::{AppId, ConferenceId};
use super::password::{PasswordHash, SALT_BYTES};

/// Bytes of a fingerprint: two texts with the same 128 bits are not found.
const FINGERPRINT_BYTES: usize = 16;

/// Stands for a text, and does not tell it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; FINGERPRINT_BYTES]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        bytes.try_into().map(Self).map_err(|_| serde::de::Error::custom("a fingerprint has 16 bytes"))
    }
}

/// Marks a request, so that its repetition is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Of the idempotency key and of who used it for what.
    pub key: Fingerprint,
    /// Of what was asked.
    pub body: Fingerprint,
}

/// The mark of a conference's creation. Its key is behind the conference's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreationMark {
    /// Of what was asked, but the password.
    pub body: Fingerprint,
    /// The hash of the password that was asked for, which a later change of the password does not touch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordHash>,
}

/// What a creation with an idempotency key draws instead of random bits: the same again for the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// The id of the conference.
    pub conference: ConferenceId,
    /// The bits of its password, where one is generated.
    pub password: [u8; 5],
    /// The salt of its password's hash, so that the same password has the same hash.
    pub salt: [u8; SALT_BYTES],
}

/// Makes fingerprints.
#[derive(Clone)]
pub struct MarkKey([u8; 32]);

impl MarkKey {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The HMAC of `parts`, which no other list of parts has.
    fn mac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for part in [purpose.as_bytes()].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    fn fingerprint(&self, purpose: &str, parts: &[&[u8]]) -> Fingerprint {
        let mut bytes = [0; FINGERPRINT_BYTES];
        bytes.iter_mut().zip(self.mac(purpose, parts)).for_each(|(byte, of_mac)| *byte = of_mac);
        Fingerprint(bytes)
    }

    /// The fingerprint of a body.
    pub fn body(&self, body: &[u8]) -> Fingerprint {
        self.fingerprint("body", &[body])
    }

    /// The mark of what `caller` asks of `route` with `key`. The conference that it is asked of, which is of one app, keeps
    /// the mark: the same key in another conference is another.
    pub fn mark(&self, caller: &str, route: &str, key: &str, body: Fingerprint) -> Mark {
        let parts = [caller, route, key].map(str::as_bytes);
        Mark { key: self.fingerprint("key", &parts), body }
    }

    /// What the creation of a conference by `caller` with `key` draws.
    pub fn draw(&self, app: &AppId, caller: &str, key: &str) -> Drawn {
        let parts = [app.as_str(), caller, key].map(str::as_bytes);
        let id = first(&self.mac("conference id", &parts));
        let password = first(&self.mac("conference password", &parts));
        let salt = first(&self.mac("password salt", &parts));
        Drawn { conference: ConferenceId::from_random(id), password, salt }
    }
}

fn first<const COUNT: usize>(mac: &[u8; 32]) -> [u8; COUNT] {
    std::array::from_fn(|place| mac.get(place).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppId {
        AppId::parse(name).unwrap()
    }

    #[test]
    fn whatever_differs_has_another_mark() {
        let key = MarkKey::new([1; 32]);
        let body = key.body(b"{}");
        let mark = key.mark("user:u", "/members", "k", body);
        assert_eq!(mark, key.mark("user:u", "/members", "k", body));
        for other in [
            key.mark("user:v", "/members", "k", body),
            key.mark("user:u", "/streams", "k", body),
            key.mark("user:u", "/members", "l", body),
            key.mark("user:u/", "members", "k", body),
            MarkKey::new([2; 32]).mark("user:u", "/members", "k", body),
        ] {
            assert_ne!(mark.key, other.key);
        }
        assert_ne!(body, key.body(b"{ }"));
        assert_eq!(key.draw(&app("a"), "u", "k"), key.draw(&app("a"), "u", "k"));
        assert_ne!(key.draw(&app("a"), "u", "k").conference, key.draw(&app("a"), "u", "l").conference);
        assert_ne!(key.draw(&app("a"), "u", "k").conference, key.draw(&app("b"), "u", "k").conference);
    }

    #[test]
    fn a_fingerprint_is_read_as_it_was_written() {
        let key = MarkKey::new([1; 32]);
        let mark = key.mark("user:u", "/members", "k", key.body(b"x"));
        let text = serde_json::to_string(&mark).unwrap();
        assert_eq!(serde_json::from_str::<Mark>(&text).unwrap(), mark);
        assert!(serde_json::from_str::<Fingerprint>("\"AAAA\"").is_err());
    }
}
