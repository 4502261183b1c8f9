//! Checking passwords without letting a storm of joins become a storm of argon2.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use sha2::Sha256;
use tokio::sync::Semaphore;

use crate::domain::password::{PasswordHash, PasswordMemory, SALT_BYTES};
use crate::domain::{Reason, Refusal};

/// Argon2 computations at once: each takes a core for tens of milliseconds, and 19 MiB that stay for the next.
const COMPUTATIONS_MAX: usize = 2;
/// Callers that may wait for one of them; beyond it a caller is told to come again.
const WAITING_MAX: usize = 256;
/// Verified passwords remembered: one per conference that is being joined.
const REMEMBERED_MAX: usize = 10_000;

#[derive(Default)]
struct Remembered {
    known: BTreeSet<[u8; 32]>,
    oldest_first: VecDeque<[u8; 32]>,
}

/// Hashes and verifies. What was verified once is remembered for the life of the process as an HMAC under a key that
/// never leaves it.
pub struct Passwords {
    process_key: [u8; 32],
    computations: Arc<Semaphore>,
    places: Semaphore,
    /// What no computation has at the moment. They are kept for the life of the process.
    memories: Arc<Mutex<Vec<PasswordMemory>>>,
    remembered: Mutex<Remembered>,
}

impl Passwords {
    /// `process_key` is random and new at each start.
    pub fn new(process_key: [u8; 32]) -> Self {
        Self {
            process_key,
            computations: Arc::new(Semaphore::new(COMPUTATIONS_MAX)),
            places: Semaphore::new(WAITING_MAX),
            memories: Arc::default(),
            remembered: Mutex::default(),
        }
    }

    /// The hash to keep for `password`.
    pub async fn hash(&self, password: &str, salt: [u8; SALT_BYTES]) -> Result<PasswordHash, Refusal> {
        let text = password.to_owned();
        let hash = self
            .compute(move |memory| PasswordHash::of(&text, &salt, memory))
            .await?
            .ok_or_else(|| Reason::InvalidRequest.because("this password cannot be hashed"))?;
        self.remember(self.fingerprint(&hash, password));
        Ok(hash)
    }

    /// Whether `password` is the one behind `hash`.
    pub async fn matches(&self, hash: &PasswordHash, password: &str) -> Result<bool, Refusal> {
        let fingerprint = self.fingerprint(hash, password);
        if self.remembered.lock().known.contains(&fingerprint) {
            return Ok(true);
        }
        let (hash, password) = (hash.clone(), password.to_owned());
        let matches = self.compute(move |memory| hash.matches(&password, memory)).await?;
        if matches {
            self.remember(fingerprint);
        }
        Ok(matches)
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut PasswordMemory) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let overloaded = || {
            let full = Reason::Overloaded.because("too many passwords wait to be checked; try again");
            full.at("passwords_waiting_max")
        };
        let _place = self.places.try_acquire().map_err(|_| overloaded())?;
        let permit = Arc::clone(&self.computations).acquire_owned().await.map_err(|_| overloaded())?;
        let memories = Arc::clone(&self.memories);
        let computation = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let spare = memories.lock().pop();
            let mut memory = spare.unwrap_or_default();
            let done = work(&mut memory);
            memories.lock().push(memory);
            done
        });
        computation.await.map_err(|_| overloaded())
    }

    fn fingerprint(&self, hash: &PasswordHash, password: &str) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.process_key).expect("HMAC takes a key of any length");
        mac.update(hash.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(password.as_bytes());
        mac.finalize().into_bytes().into()
    }

    fn remember(&self, fingerprint: [u8; 32]) {
        let mut remembered = self.remembered.lock();
        if !remembered.known.insert(fingerprint) {
            return;
        }
        remembered.oldest_first.push_back(fingerprint);
        if remembered.oldest_first.len() > REMEMBERED_MAX
            && let Some(oldest) = remembered.oldest_first.pop_front()
        {
            remembered.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_verified_password_is_remembered_and_a_wrong_one_never() {
        let passwords = Passwords::new([7; 32]);
        let memory = &mut PasswordMemory::new();
        let hash = PasswordHash::of("open", &[1; SALT_BYTES], memory).unwrap();
        assert!(!passwords.matches(&hash, "shut").await.unwrap());
        assert!(passwords.remembered.lock().known.is_empty());
        assert!(passwords.matches(&hash, "open").await.unwrap());
        assert_eq!(passwords.remembered.lock().known.len(), 1);
        assert!(passwords.matches(&hash, "open").await.unwrap());
        assert!(!passwords.matches(&hash, "shut").await.unwrap());
        let other = PasswordHash::of("open", &[2; SALT_BYTES], memory).unwrap();
        assert_ne!(passwords.fingerprint(&hash, "open"), passwords.fingerprint(&other, "open"));
    }

    #[tokio::test]
    async fn callers_beyond_the_places_are_told_to_come_again() {
        let passwords = Passwords::new([7; 32]);
        let _all = passwords.places.acquire_many(u32::try_from(WAITING_MAX).unwrap()).await.unwrap();
        let refusal = passwords.hash("x", [0; SALT_BYTES]).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::Overloaded);
    }
}
