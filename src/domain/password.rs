//! Conference passwords, kept as argon2id.

use std::fmt;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use serde::{Deserialize, Serialize};

/// Longest password, in characters (contract, section Who is calling).
pub const PASSWORD_CHARS_MAX: usize = 128;
/// Bytes of salt, as RFC 9106 section 3.1 recommends.
pub const SALT_BYTES: usize = 16;

/// A password's argon2id hash in PHC form, with the parameters that OWASP names as the floor (19 MiB, two passes).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Hashes `password`. Costs tens of milliseconds and 19 MiB on purpose: not for an async task.
    ///
    /// `None` only where argon2 itself fails, which it does for no input within [`PASSWORD_CHARS_MAX`].
    pub fn of(password: &str, salt: &[u8; SALT_BYTES]) -> Option<Self> {
        let phc: Phc = Argon2::default().hash_password_with_salt(password.as_bytes(), salt).ok()?;
        Some(Self(phc.to_string()))
    }

    /// Whether `password` is the one that was hashed. As dear as [`PasswordHash::of`].
    pub fn matches(&self, password: &str) -> bool {
        Phc::new(&self.0)
            .is_ok_and(|phc| Argon2::default().verify_password(password.as_bytes(), &phc).is_ok())
    }

    /// The PHC text, which names one hash among all.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_matches_its_password_only() {
        let hash = PasswordHash::of("开会 123", &[4; SALT_BYTES]).unwrap();
        assert!(hash.as_str().starts_with("$argon2id$"));
        assert!(hash.matches("开会 123"));
        assert!(!hash.matches("开会 124"));
        assert!(!hash.matches(""));
        assert_ne!(hash, PasswordHash::of("开会 123", &[5; SALT_BYTES]).unwrap());
        assert!(!format!("{hash:?}").contains(hash.as_str()));
    }
}
