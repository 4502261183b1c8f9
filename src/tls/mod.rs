//! TLS for RTMPS and HTTPS: one certificate from two files, which is taken anew when they change; and the client's side
//! of TLS, for relays.
//!
//! This folder is the only place that names the TLS library. A connection keeps the certificate that it was greeted with; a
//! new one is for those who come later, so that nobody is dropped for it.

mod certificate;
mod client;
mod pair;
mod renewal;

use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

pub use client::{ClientTlsStream, TlsClient};
pub use pair::{Pair, TlsError, TlsFiles};
pub use renewal::{Outcome, Renewal};

/// A connection with TLS around `IO`.
pub type TlsStream<IO> = tokio_rustls::server::TlsStream<IO>;

/// What HTTPS clients may speak (RFC 7301): the server knows no HTTP/2.
const HTTP_1_1: &[u8] = b"http/1.1";
/// Encrypted bytes that one connection holds back for a peer that does not take them, beyond what the kernel holds. Four
/// full records: a keyframe leaves in a few writes, and a thousand stuck viewers hold no more than 64 MiB.
const HELD_BACK_BYTES_MAX: usize = 64 * 1024;

/// The pair that is shown to whoever comes now.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

/// TLS as the gateway speaks it. Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    shown: Arc<Shown>,
    rtmp: TlsDoor,
    http: TlsDoor,
}

/// Makes TLS connections for one protocol.
#[derive(Clone)]
pub struct TlsDoor(TlsAcceptor);

impl Tls {
    /// Shows `pair` from now on.
    pub fn new(pair: &Pair) -> Result<Self, TlsError> {
        let setup = |error: rustls::Error| TlsError::Setup(error.to_string());
        let shown = Arc::new(Shown(RwLock::new(Arc::clone(&pair.certified))));
        // A phone that comes back resumes without a signature. The ticket is all that is kept, and the phone keeps it.
        let tickets = Ticketer::new().map_err(setup)?;
        let door = |protocols: &[&[u8]], tickets_sent: usize| {
            let resolver = Arc::clone(&shown) as Arc<dyn ResolvesServerCert>;
            let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(setup)?
                .with_no_client_auth()
                .with_cert_resolver(resolver);
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.ticketer = Arc::clone(&tickets);
            config.send_tls13_tickets = tickets_sent;
            Ok::<_, TlsError>(TlsDoor(TlsAcceptor::from(Arc::new(config))))
        };
        // rtmpdump's library takes a ticket of TLS 1.3, which comes behind the handshake, for the end of the connection.
        Ok(Self { rtmp: door(&[], 0)?, http: door(&[HTTP_1_1], 1)?, shown })
    }

    /// For RTMPS, whose clients name no protocol.
    pub fn for_rtmp(&self) -> TlsDoor {
        self.rtmp.clone()
    }

    /// For HTTPS.
    pub fn for_http(&self) -> TlsDoor {
        self.http.clone()
    }

    fn show(&self, pair: &Pair) {
        *self.shown.0.write() = Arc::clone(&pair.certified);
    }
}

impl TlsDoor {
    /// Shakes hands. How long that may take is the caller's business.
    pub async fn accept<IO>(&self, io: IO) -> io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let limited = |session: &mut rustls::ServerConnection| {
            session.set_buffer_limit(Some(HELD_BACK_BYTES_MAX));
        };
        self.0.accept_with(io, limited).await
    }
}
