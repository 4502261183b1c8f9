//! The keys of claims, in an alphabet that every home accepts.

use std::fmt;
use std::sync::Arc;

/// Longest key, in bytes: a NATS server reads at most 4096 bytes of subject line by default, and the home's own
/// prefix stands in front of the key.
pub const CLAIM_KEY_BYTES_MAX: usize = 2_048;
/// Stands between the parts of a key.
const SEPARATOR: char = '/';
/// Introduces a byte that is written as two hexadecimal digits.
const ESCAPE: char = '=';

/// The name of a claim: parts of `A–Z a–z 0–9 - _ =`, separated by `/`, none of them empty.
///
/// ```
/// use tidegate::store::ClaimKey;
/// let key = ClaimKey::from_parts(&["rooms", "app-1", "早会/1"]).unwrap();
/// assert_eq!(key.as_str(), "rooms/app-1/=e6=97=a9=e4=bc=9a=2f1");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey(Arc<str>);

/// A text that cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaimKey {
    /// No part, or a part without a letter.
    #[error("a claim key has one or more parts, none of them empty")]
    EmptyPart,
    /// Too long after escaping.
    #[error(
        "a claim key of {bytes} bytes: at most {CLAIM_KEY_BYTES_MAX} fit, and what is not a letter, a digit, '-' or '_' takes three"
    )]
    TooLong {
        /// What it would have taken.
        bytes: usize,
    },
    /// Outside the alphabet.
    #[error("byte {at} of a claim key is not a letter, digit, '-', '_', '=' or '/'")]
    Letter {
        /// Offset in bytes.
        at: usize,
    },
}

impl ClaimKey {
    /// Joins `parts`, which may hold any text: bytes outside the alphabet are escaped as `=` and two hexadecimal
    /// digits, `=` and `/` too, so that different parts never make the same key.
    pub fn from_parts(parts: &[&str]) -> Result<Self, InvalidClaimKey> {
        let mut text = String::new();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                text.push(SEPARATOR);
            }
            for byte in part.bytes() {
                if is_plain(byte) {
                    text.push(char::from(byte));
                } else {
                    text.push(ESCAPE);
                    text.push(hex_digit(byte >> 4));
                    text.push(hex_digit(byte & 15));
                }
            }
        }
        Self::parse(&text)
    }

    /// Takes a key that was made before, by its text.
    pub fn parse(text: &str) -> Result<Self, InvalidClaimKey> {
        if text.len() > CLAIM_KEY_BYTES_MAX {
            return Err(InvalidClaimKey::TooLong { bytes: text.len() });
        }
        if let Some(at) = text.bytes().position(|b| !is_plain(b) && b != b'=' && b != b'/') {
            return Err(InvalidClaimKey::Letter { at });
        }
        if text.split(SEPARATOR).any(str::is_empty) {
            return Err(InvalidClaimKey::EmptyPart);
        }
        Ok(Self(text.into()))
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text of a part before it was escaped; `None` where there is no such part, or where it was not made by
    /// [`ClaimKey::from_parts`].
    pub fn part(&self, index: usize) -> Option<String> {
        let mut bytes = Vec::new();
        let mut rest = self.0.split(SEPARATOR).nth(index)?.bytes();
        while let Some(byte) = rest.next() {
            if byte == b'=' {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            } else {
                bytes.push(byte);
            }
        }
        String::from_utf8(bytes).ok()
    }

    /// The texts between which exactly the keys below this one stand, both exclusive.
    pub(super) fn below(&self) -> (String, String) {
        // '0' is the byte after '/'.
        (format!("{self}/"), format!("{self}0"))
    }
}

impl fmt::Display for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_keeps_to_its_alphabet_and_length() {
        for good in ["rooms", "rooms/a", "A-b_c/=2f/9"] {
            assert!(ClaimKey::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b"] {
            assert_eq!(ClaimKey::parse(bad), Err(InvalidClaimKey::EmptyPart), "{bad}");
        }
        for bad in ["abc.", "abc ", "abc*", "abc>", "abc\u{e9}", "abc\0"] {
            assert_eq!(ClaimKey::parse(bad), Err(InvalidClaimKey::Letter { at: 3 }), "{bad:?}");
        }
        assert!(ClaimKey::parse(&"x".repeat(CLAIM_KEY_BYTES_MAX)).is_ok());
        assert_eq!(
            ClaimKey::from_parts(&[&"张".repeat(228)]),
            Err(InvalidClaimKey::TooLong { bytes: 228 * 9 })
        );
        assert_eq!(ClaimKey::from_parts(&["a", ""]), Err(InvalidClaimKey::EmptyPart));
        assert_eq!(ClaimKey::from_parts(&[]), Err(InvalidClaimKey::EmptyPart));
    }

    #[test]
    fn below_a_key_stand_its_children_only() {
        let (from, to) = ClaimKey::parse("rooms").unwrap().below();
        for child in ["rooms/-", "rooms/zz", "rooms/a/b"] {
            assert!(from.as_str() < child && child < to.as_str(), "{child}");
        }
        for other in ["rooms", "rooms-2", "rooms0", "roomsize", "room", "s"] {
            assert!(!(from.as_str() < other && other < to.as_str()), "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_text_can_be_a_part_and_comes_back(parts in prop::collection::vec("\\PC{1,40}|[=/.%a0]{1,9}", 1..4)) {
            let texts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let key = ClaimKey::from_parts(&texts).unwrap();
            prop_assert_eq!(ClaimKey::parse(key.as_str()), Ok(key.clone()));
            for (index, part) in parts.iter().enumerate() {
                prop_assert_eq!(key.part(index), Some(part.clone()));
            }
            prop_assert_eq!(key.part(parts.len()), None);
        }
    }
}
