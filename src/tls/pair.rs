//! Certificate and key from their files, checked as far as that goes without a client.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls;
use zeroize::Zeroizing;

use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::certificate::{Facts, facts};
use crate::domain::Timestamp;

/// A PEM file is not longer: a chain of ten certificates takes some twenty kilobytes.
const PEM_BYTES_MAX: u64 = 256 * 1024;
/// How long before its end a certificate is warned of, at the latest. Two weeks: whoever renews by hand needs a working day.
const WARN_SECS_MAX: i64 = 14 * 86_400;
/// The same as a part of its whole life, for those that live for days. A fifth: renewal begins when a third is left.
const WARN_PART_OF_LIFE: i64 = 5;
const DAY_SECS: i64 = 86_400;

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain in PEM form, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key in PEM form, not encrypted.
    pub key: PathBuf,
}

/// Why a certificate and its key cannot be used. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(
        "cannot read {setting} {}: {error}; correct the path, or let the user that runs the gateway read the file",
        path.display()
    )]
    Unreadable {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file is not what a PEM file can be.
    #[error("{setting} {} is longer than 256 KiB, which no PEM file is; correct the path", path.display())]
    TooLong {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// There is PEM, and it is broken.
    #[error("{setting} {} is damaged PEM ({error}); copy the file anew", path.display())]
    DamagedPem {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// No certificate.
    #[error(
        "tls_cert {} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----){}; with certbot it is fullchain.pem, \
         and `openssl x509 -inform der -in FILE` converts a binary one", path.display(), swapped(*.holds_key, "a private key")
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// Whether it holds a key instead.
        holds_key: bool,
    },
    /// No key.
    #[error(
        "tls_key {} holds no private key in PEM form (-----BEGIN PRIVATE KEY-----){}; with certbot it is privkey.pem",
        path.display(), swapped(*.holds_certificate, "a certificate")
    )]
    NoKey {
        /// The file.
        path: PathBuf,
        /// Whether it holds a certificate instead.
        holds_certificate: bool,
    },
    /// A key that needs a password.
    #[error(
        "tls_key {} is encrypted, and there is nobody to ask for its password; decrypt it with \
         `openssl pkey -in FILE -out NEW` and keep the new file to the gateway's user (mode 0600)", path.display()
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The first certificate cannot be read.
    #[error("the first certificate in tls_cert {} cannot be read ({error}); renew it", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// A kind of key that is not known.
    #[error("the key in tls_key {} cannot be used ({error}); use an ECDSA (P-256, P-384) or RSA key of 2048 bits or more", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// Certificate and key belong to different pairs.
    #[error(
        "tls_key {} does not fit the first certificate in tls_cert {}; take both from one renewal, with the server's own \
         certificate before the others", key.display(), certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// TLS itself cannot be set up.
    #[error("cannot set up TLS: {0}; report this")]
    Setup(String),
}

fn swapped(is: bool, what: &str) -> String {
    if is { format!(" but {what}: tls_cert and tls_key may be swapped") } else { String::new() }
}

/// What both files hold, to be compared with what they held before. It tells nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

/// What the files hold, unread.
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Contents {
    /// Reads both files. Links are followed anew each time.
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let certificate = read_whole("tls_cert", &files.certificate)?;
        let key = read_whole("tls_key", &files.key)?;
        Ok(Self { certificate: certificate.to_vec(), key })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        // The length between them, so that no byte can move from one to the other unnoticed.
        hash.update((self.certificate.len() as u64).to_be_bytes());
        hash.update(&self.certificate);
        hash.update(&self.key);
        Fingerprint(hash.finalize().into())
    }
}

pub(super) fn read_whole(setting: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let unreadable = |error| TlsError::Unreadable { setting, path: path.to_owned(), error };
    let file = File::open(path).map_err(unreadable)?;
    // Room from the beginning: a vector that grows leaves copies of a key behind.
    let room = usize::try_from(PEM_BYTES_MAX + 1).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        return Err(TlsError::TooLong { setting, path: path.to_owned() });
    }
    Ok(bytes)
}

/// A certificate with its key, ready to be shown.
#[derive(Debug, Clone)]
pub struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    facts: Facts,
    pub(super) fingerprint: Fingerprint,
}

impl Pair {
    /// Reads the pair. What is odd about it without making it useless is [`Self::warnings`]' business.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        Self::from_contents(files, &Contents::read(files)?)
    }

    pub(super) fn from_contents(files: &TlsFiles, contents: &Contents) -> Result<Self, TlsError> {
        let chain = chain(&files.certificate, &contents.certificate)?;
        let path = &files.certificate;
        let bad_certificate =
            |error: String| TlsError::BadCertificate { path: path.clone(), error: one_line(&error) };
        let facts = match chain.first() {
            Some(own) => facts(own).map_err(|error| bad_certificate(error.to_string()))?,
            None => return Err(TlsError::NoCertificate { path: path.clone(), holds_key: false }),
        };
        let key = key(&files.key, &contents.key)?;
        let provider = default_provider();
        let signing = provider.key_provider.load_private_key(key).map_err(|error| TlsError::BadKey {
            path: files.key.clone(),
            error: one_line(&error.to_string()),
        })?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            // Every key that is loaded here knows its public half.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(TlsError::Mismatch {
                    certificate: files.certificate.clone(),
                    key: files.key.clone(),
                });
            }
            Err(error) => return Err(bad_certificate(error.to_string())),
        }
        Ok(Self { certified: Arc::new(certified), facts, fingerprint: contents.fingerprint() })
    }

    /// The last second in which the certificate is good, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.facts.not_after
    }

    /// Whether it is a certificate of `host`, a name or an address.
    pub fn names(&self, host: &str) -> bool {
        let own = self.certified.cert.first().and_then(|own| ParsedCertificate::try_from(own).ok());
        let name = ServerName::try_from(host).ok();
        own.zip(name).is_some_and(|(own, name)| verify_server_name(&own, &name).is_ok())
    }

    /// What an operator should hear about it now, one line each: an end that is near or past, and a chain that is cut.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let mut warnings = Vec::from_iter(time_warning(self.facts, now));
        if self.certified.cert.len() == 1 && !self.facts.is_self_issued {
            warnings.push(
                "tls_cert holds the server's certificate alone: clients that do not know its issuer refuse it; with \
                 certbot use fullchain.pem instead of cert.pem"
                    .to_owned(),
            );
        }
        warnings
    }
}

/// What is to be said of the time for which the certificate is good.
pub(super) fn time_warning(facts: Facts, now: Timestamp) -> Option<String> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let life = facts.not_after.saturating_sub(facts.not_before);
    let left = facts.not_after.saturating_sub(now);
    let days = |seconds: i64| match seconds / DAY_SECS {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    if left < 0 {
        Some(format!("the certificate in tls_cert expired {} ago: clients refuse it; renew it", days(-left)))
    } else if now < facts.not_before {
        let until = days(facts.not_before.saturating_sub(now));
        Some(format!(
            "the certificate in tls_cert is not good yet for {until}: clients refuse it; look at this machine's clock"
        ))
    } else if left < WARN_SECS_MAX.min(life / WARN_PART_OF_LIFE) {
        Some(format!("the certificate in tls_cert ends in {}; renew it, no restart is needed", days(left)))
    } else {
        None
    }
}

impl Pair {
    /// What is to be said of its time alone.
    pub(super) fn time_warning(&self, now: Timestamp) -> Option<String> {
        time_warning(self.facts, now)
    }
}

fn chain(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| damaged("tls_cert", path, &error))?;
    if chain.is_empty() {
        let holds_key = PrivateKeyDer::from_pem_slice(text).is_ok() || says(text, "PRIVATE KEY-----");
        return Err(TlsError::NoCertificate { path: path.to_owned(), holds_key });
    }
    Ok(chain)
}

fn key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if says(text, "BEGIN ENCRYPTED PRIVATE KEY") => {
            Err(TlsError::EncryptedKey { path: path.to_owned() })
        }
        Err(pem::Error::NoItemsFound) => {
            let holds_certificate = says(text, "BEGIN CERTIFICATE");
            Err(TlsError::NoKey { path: path.to_owned(), holds_certificate })
        }
        Err(_) if says(text, "Proc-Type: 4,ENCRYPTED") => {
            Err(TlsError::EncryptedKey { path: path.to_owned() })
        }
        Err(error) => Err(damaged("tls_key", path, &error)),
    }
}

fn says(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|window| window == word.as_bytes())
}

/// Tells of the damage and nothing of the text, which may be a key.
fn damaged(setting: &'static str, path: &Path, error: &pem::Error) -> TlsError {
    let error = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "a section has no proper beginning",
        pem::Error::Base64Decode(_) => "a line is no base64",
        _ => "it cannot be read",
    };
    TlsError::DamagedPem { setting, path: path.to_owned(), error: error.to_owned() }
}

pub(super) fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn warned(life_days: i64, now_days: u64) -> Option<String> {
        let facts =
            Facts { not_before: DAY_SECS, not_after: DAY_SECS * (1 + life_days), is_self_issued: true };
        time_warning(facts, Timestamp(now_days * DAY_MS))
    }

    #[test]
    fn an_end_is_told_two_weeks_before_or_a_fifth_of_a_short_life() {
        assert_eq!(warned(90, 76), None, "15 days are left");
        assert!(warned(90, 77 + 1).unwrap().contains("ends in 13 days"));
        assert_eq!(warned(6, 5), None, "2 of 6 days are left");
        assert!(warned(6, 6).unwrap().contains("ends in 1 day;"));
        assert!(warned(6, 7).unwrap().contains("ends in less than a day"));
        assert!(warned(6, 10).unwrap().contains("expired 3 days ago"));
        assert!(warned(6, 0).unwrap().contains("not good yet for 1 day:"));
    }
}
