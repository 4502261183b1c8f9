//! Certificates as openssl makes them, and TLS connections of a client that believes in them.

use super::wait::{EVENT, within};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// The bytes that a client's kernel takes for it at most, where the client is to be one that hardly reads.
const NARROW_BYTES: u32 = 4096;

/// A certificate authority of the test's own.
pub struct Authority {
    home: TempDir,
}

/// A certificate and its key, as files.
#[derive(Clone)]
pub struct Issued {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

fn openssl(arguments: &[&str]) {
    let ran = Command::new("openssl").args(arguments).output();
    let ran = ran
        .unwrap_or_else(|error| panic!("cannot run openssl ({error}); `make test` installs what tests need"));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "openssl {}: {said}", arguments.join(" "));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    pub fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let authority = Self { home };
        let (certificate, key) = (authority.certificate(), authority.path("authority.key"));
        let request =
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=authority";
        let mut arguments: Vec<&str> = request.split(' ').collect();
        arguments.extend(["-keyout", text(&key), "-out", text(&certificate)]);
        openssl(&arguments);
        authority
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Its own certificate, for clients.
    pub fn certificate(&self) -> PathBuf {
        self.path("authority.pem")
    }

    pub fn pem(&self) -> Vec<u8> {
        std::fs::read(self.certificate()).expect("the authority's certificate")
    }

    /// A certificate for this machine, good for a month, with the chain behind it.
    pub fn issue(&self, name: &str) -> Issued {
        let issued = self.issue_for(name, "30");
        let mut chain = std::fs::read(&issued.certificate).expect("the certificate");
        chain.extend(self.pem());
        std::fs::write(&issued.certificate, chain).expect("the chain");
        issued
    }

    /// A certificate alone, for so many days.
    pub fn issue_for(&self, name: &str, days: &str) -> Issued {
        let (key, request) = (self.path(&format!("{name}.key")), self.path(&format!("{name}.csr")));
        let (certificate, extensions) = (self.path(&format!("{name}.pem")), self.path("extensions"));
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nbasicConstraints=critical,CA:FALSE\n";
        std::fs::write(&extensions, names).expect("extensions");
        let ask = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost";
        let mut arguments: Vec<&str> = ask.split(' ').collect();
        arguments.extend(["-keyout", text(&key), "-out", text(&request)]);
        openssl(&arguments);
        let (authority, authority_key) = (self.certificate(), self.path("authority.key"));
        openssl(&[
            "x509",
            "-req",
            "-in",
            text(&request),
            "-CA",
            text(&authority),
            "-CAkey",
            text(&authority_key),
            "-CAcreateserial",
            "-days",
            days,
            "-extfile",
            text(&extensions),
            "-out",
            text(&certificate),
        ]);
        Issued { certificate, key }
    }

    fn connector(&self, protocols: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&self.pem()).expect("PEM")).expect("a root");
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    /// A TLS connection to a server that this authority vouches for.
    pub async fn connect(&self, address: SocketAddr) -> TlsStream {
        self.try_connect(address, &[]).await.expect("a TLS connection")
    }

    /// The same, offering these protocols (ALPN).
    pub async fn try_connect(&self, address: SocketAddr, protocols: &[&str]) -> std::io::Result<TlsStream> {
        let stream = TcpStream::connect(address).await?;
        self.handshake(stream, address, protocols).await
    }

    /// The same by a client whose kernel takes next to nothing for it.
    pub async fn connect_narrow(&self, address: SocketAddr) -> TlsStream {
        let socket =
            if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.expect("a socket");
        socket.set_recv_buffer_size(NARROW_BYTES).expect("a small buffer");
        let stream = socket.connect(address).await.expect("connects");
        self.handshake(stream, address, &[]).await.expect("a TLS connection")
    }

    /// TLS over a stream that is there already.
    pub async fn handshake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream> {
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(address.ip().into());
        within(EVENT, "a TLS handshake", self.connector(protocols).connect(name, stream)).await
    }

    /// The certificate that a server shows now.
    pub async fn shown_at(&self, address: SocketAddr) -> Vec<u8> {
        certificate_of(&self.connect(address).await)
    }
}

/// The server's certificate in DER form.
pub fn certificate_of(stream: &TlsStream) -> Vec<u8> {
    let certificates = stream.get_ref().1.peer_certificates().expect("certificates");
    certificates.first().expect("a certificate").to_vec()
}

impl Issued {
    /// The certificate in DER form.
    pub fn der(&self) -> Vec<u8> {
        CertificateDer::from_pem_file(&self.certificate).expect("PEM").to_vec()
    }
}
