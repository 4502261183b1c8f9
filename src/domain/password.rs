//! Conference passwords, kept as argon2id.

use std::fmt;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash as Phc, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde::{Deserialize, Serialize};

/// Longest password, in characters (contract, section Who is calling).
pub const PASSWORD_CHARS_MAX: usize = 128;
/// Bytes of salt, as RFC 9106 section 3.1 recommends.
pub const SALT_BYTES: usize = 16;

/// A password's argon2id hash in PHC form, with the parameters that OWASP names as the floor (19 MiB, two passes).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

/// The 19 MiB in which a hash is computed. To be used again: allocators keep what was freed in such pieces, for each thread and
/// not always whole, so that memory made anew for every password adds up to hundreds of megabytes.
pub struct PasswordMemory(Vec<Block>);

impl PasswordMemory {
    /// Enough for the parameters that [`PasswordHash::of`] takes.
    pub fn new() -> Self {
        Self(vec![Block::new(); Params::default().block_count()])
    }

    /// As much as these parameters need.
    fn blocks(&mut self, params: &Params) -> &mut [Block] {
        if self.0.len() < params.block_count() {
            self.0.resize(params.block_count(), Block::new());
        }
        &mut self.0
    }
}

impl Default for PasswordMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PasswordMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordMemory(…)")
    }
}

impl PasswordHash {
    /// Hashes `password`. Costs tens of milliseconds on purpose: not for an async task.
    ///
    /// `None` only where argon2 itself fails, which it does for no input within [`PASSWORD_CHARS_MAX`].
    pub fn of(password: &str, salt: &[u8; SALT_BYTES], memory: &mut PasswordMemory) -> Option<Self> {
        let (algorithm, version, params) = (Algorithm::default(), Version::default(), Params::default());
        let phc = Phc {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: ParamsString::try_from(&params).ok()?,
            salt: Some(Salt::new(salt).ok()?),
            hash: Some(compute(&Argon2::new(algorithm, version, params), password, salt, memory)?),
        };
        Some(Self(phc.to_string()))
    }

    /// Whether `password` is the one that was hashed. As dear as [`PasswordHash::of`].
    pub fn matches(&self, password: &str, memory: &mut PasswordMemory) -> bool {
        let mut matches = || -> Option<bool> {
            let phc = Phc::new(&self.0).ok()?;
            let algorithm = Algorithm::try_from(phc.algorithm.as_str()).ok()?;
            let version = phc.version.map_or_else(|| Ok(Version::default()), Version::try_from).ok()?;
            let argon2 = Argon2::new(algorithm, version, Params::try_from(&phc).ok()?);
            // Outputs are compared in a time that does not depend on where they differ.
            Some(compute(&argon2, password, phc.salt.as_ref()?, memory)? == phc.hash?)
        };
        matches().unwrap_or(false)
    }

    /// The PHC text, which names one hash among all.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn compute(argon2: &Argon2<'_>, password: &str, salt: &[u8], memory: &mut PasswordMemory) -> Option<Output> {
    let mut bytes = [0; Output::MAX_LENGTH];
    let output = bytes.get_mut(..argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN))?;
    let blocks = memory.blocks(argon2.params());
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, blocks).ok()?;
    Output::new(output).ok()
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use argon2::PasswordHasher as _;

    use super::*;

    #[test]
    fn a_hash_matches_its_password_only() {
        let memory = &mut PasswordMemory::new();
        let hash = PasswordHash::of("开会 123", &[4; SALT_BYTES], memory).unwrap();
        assert!(hash.matches("开会 123", memory));
        assert!(!hash.matches("开会 124", memory));
        assert!(!hash.matches("", memory));
        assert_ne!(hash, PasswordHash::of("开会 123", &[5; SALT_BYTES], memory).unwrap());
        assert!(!format!("{hash:?}").contains(hash.as_str()));
    }

    #[test]
    fn a_hash_is_what_the_crate_itself_makes_and_what_was_in_the_memory_before_does_not_matter() {
        let mut memory = PasswordMemory::new();
        let first = PasswordHash::of("open", &[4; SALT_BYTES], &mut memory).unwrap();
        let again = PasswordHash::of("open", &[4; SALT_BYTES], &mut memory).unwrap();
        let made: Phc = Argon2::default().hash_password_with_salt(b"open", &[4; SALT_BYTES]).unwrap();
        assert_eq!((first.as_str(), again.as_str()), (made.to_string().as_str(), made.to_string().as_str()));
    }

    #[test]
    fn a_hash_with_other_parameters_is_understood() {
        let params = Params::new(20 * 1024, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let made: Phc = argon2.hash_password_with_salt(b"open", &[4; SALT_BYTES]).unwrap();
        let hash = PasswordHash(made.to_string());
        let memory = &mut PasswordMemory::new();
        assert!(hash.matches("open", memory) && !hash.matches("shut", memory));
        assert!(!PasswordHash("nonsense".to_owned()).matches("open", memory));
    }
}
