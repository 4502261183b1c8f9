//! How a receiver knows that a message is ours.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::secret::Secret;

/// The header that carries the time and the signatures.
pub(super) const SIGNATURE_HEADER: &str = "tidegate-signature";

/// `t=<seconds>,v1=<hex>`, with one `v1` for each secret that is valid now: HMAC-SHA256 of `<seconds>.<body>`, keyed with
/// the text of the secret.
pub(super) fn sign<'a>(secrets: impl Iterator<Item = &'a Secret>, at_secs: u64, body: &[u8]) -> String {
    let mut header = format!("t={at_secs}");
    for secret in secrets {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { continue };
        mac.update(format!("{at_secs}.").as_bytes());
        mac.update(body);
        header.push_str(",v1=");
        for byte in mac.finalize().into_bytes() {
            // Writing to a String does not fail.
            let _ = write!(header, "{byte:02x}");
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_hmac_of_time_and_body() {
        let secrets = [Secret::new("whsec_one".to_owned()), Secret::new("whsec_two".to_owned())];
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac whsec_one
        let one = "3c2a43f6f69d57ddfe8e506b006b338393c7a8c400e77c5f191ba17e15763c74";
        let two = "a80e630a9bbb756763ae24b15708f6ef71b45a4c060b6ec64409d78544ed0f70";
        assert_eq!(
            sign(secrets.iter(), 1_700_000_000, br#"{"a":1}"#),
            format!("t=1700000000,v1={one},v1={two}")
        );
        assert_eq!(
            sign(secrets.iter().take(1), 1_700_000_000, br#"{"a":1}"#),
            format!("t=1700000000,v1={one}")
        );
    }
}
