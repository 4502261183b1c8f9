//! The client's side of TLS: for connections to servers that others name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::HELD_BACK_BYTES_MAX;
use super::pair::{TlsError, one_line, read_whole};

/// A connection to a server with TLS around `IO`.
pub type ClientTlsStream<IO> = tokio_rustls::client::TlsStream<IO>;

/// Makes TLS connections to servers whose certificate leads to an authority of the system, or to one of a file.
#[derive(Clone)]
pub struct TlsClient {
    /// Authorities beside those of the system.
    own: Arc<Vec<CertificateDer<'static>>>,
    /// Made at the first connection: it reads the certificates of the system.
    connector: Arc<OnceLock<Result<TlsConnector, String>>>,
}

impl TlsClient {
    /// Trusts the system's authorities and those in `authorities`, which is read now.
    pub fn new(authorities: Option<&Path>) -> Result<Self, TlsError> {
        let own = authorities.map(read_authorities).transpose()?.unwrap_or_default();
        Ok(Self { own: Arc::new(own), connector: Arc::default() })
    }

    /// Shakes hands with the server called `host`, a name or an address, and verifies that it is that. How long it may
    /// take is the caller's business.
    pub async fn connect<IO>(&self, host: &str, io: IO) -> io::Result<ClientTlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = self.connector.get_or_init(|| connector(&self.own)).as_ref();
        let connector = connector.map_err(|error| io::Error::other(error.clone()))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::other("the host is no name that a certificate can be for"))?;
        let limited = |session: &mut rustls::ClientConnection| {
            session.set_buffer_limit(Some(HELD_BACK_BYTES_MAX));
        };
        connector.connect_with(name, io, limited).await
    }
}

fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const SETTING: &str = "relay_ca_file";
    let path = PathBuf::from(path);
    let bytes = read_whole(SETTING, &path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let damaged = |error: String| TlsError::DamagedPem { setting: SETTING, path: path.clone(), error };
    let read = read.map_err(|error| damaged(one_line(&error.to_string())))?;
    if read.is_empty() {
        return Err(damaged("it holds no certificate".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &read {
        roots.add(certificate.clone()).map_err(|error| damaged(one_line(&error.to_string())))?;
    }
    Ok(read)
}

fn connector(own: &[CertificateDer<'static>]) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate authority of the system cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    roots.add_parsable_certificates(own.iter().cloned());
    if roots.is_empty() {
        return Err(
            "the system has no certificate authorities; install ca-certificates or set relay_ca_file"
                .to_owned(),
        );
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
