//! Random bytes from the operating system, for ids, nonces and secrets. Nothing else draws them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Bytes in a generated secret: 256 bits, what HS256 asks of its key (RFC 7518 section 3.2).
const SECRET_BYTES: usize = 32;

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "the operating system gives no random bytes ({0}); allow the getrandom system call or make /dev/urandom readable"
)]
pub struct EntropyError(getrandom::Error);

/// `COUNT` random bytes, fit for keys.
pub fn bytes<const COUNT: usize>() -> Result<[u8; COUNT], EntropyError> {
    let mut bytes = [0; COUNT];
    getrandom::fill(&mut bytes).map_err(EntropyError)?;
    Ok(bytes)
}

/// A new secret of 256 random bits, in letters, digits, `-` and `_`.
pub fn secret() -> Result<Secret, EntropyError> {
    let bytes = Zeroizing::new(bytes::<SECRET_BYTES>()?);
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_alike() {
        assert_ne!(bytes::<16>().unwrap(), bytes::<16>().unwrap());
        let secret = secret().unwrap();
        assert_eq!(secret.expose().len(), 43);
        assert_ne!(secret, super::secret().unwrap());
    }
}
