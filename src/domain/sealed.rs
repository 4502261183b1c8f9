//! Secrets that the store keeps for a while, sealed with AES-256-GCM under a key of the gateway.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Bytes of the random nonce in front of each sealed secret (NIST SP 800-38D).
pub const SEAL_NONCE_BYTES: usize = 12;

/// Seals and opens.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// Takes a secret key of its own for this purpose.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// `secret` for the store. It opens in the same `place` only; `nonce` is random and never used again.
    /// `None` never happens for what fits into a claim.
    pub fn seal(&self, place: &str, secret: &[u8], nonce: [u8; SEAL_NONCE_BYTES]) -> Option<Vec<u8>> {
        let mut sealed = secret.to_vec();
        let place = Aad::from(place.as_bytes());
        self.key()?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), place, &mut sealed).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// The secret, if it was sealed with this key for this `place` and not changed since.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<SEAL_NONCE_BYTES>()?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let place = Aad::from(place.as_bytes());
        let bytes =
            self.key()?.open_in_place(Nonce::assume_unique_for_key(*nonce), place, &mut opened).ok()?.len();
        opened.truncate(bytes);
        Some(opened)
    }

    fn key(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.0.as_slice()).ok().map(LessSafeKey::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_with_its_key_in_its_place_and_unchanged() {
        let key = SealingKey::new([1; 32]);
        let sealed = key.seal("here", b"the secret", [2; SEAL_NONCE_BYTES]).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(key.open("here", &sealed).unwrap().as_slice(), b"the secret");
        assert!(key.open("there", &sealed).is_none());
        assert!(SealingKey::new([3; 32]).open("here", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open("here", &changed).is_none(), "byte {at}");
            assert!(key.open("here", &sealed[..at]).is_none());
        }
    }
}
