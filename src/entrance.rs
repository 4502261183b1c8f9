//! What stands between an accepted socket and the first byte of its protocol: a place, and where it is asked for the PROXY
//! header and TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::proxy_header::{Progress, ProxyHeader, ProxyHeaderError};
use crate::tls::TlsDoor;

/// Who asks for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newcomer {
    /// Whoever is at the other end of the socket.
    Peer(IpAddr),
    /// A proxy that will tell whom it brings: only all connections together limit those.
    Proxy,
    /// Whom a proxy brought, on a connection that has a place already.
    Behind(IpAddr),
}

/// Held as long as something counts, so that limits and gauges count it.
pub type Place = Arc<dyn Send + Sync>;

/// What a connection holds that got in.
#[derive(Clone)]
pub struct Entered {
    /// Held while it is open.
    pub place: Place,
    /// Held until it has shown what it is here for: a request, an admitted publish or play.
    pub handshake: Place,
}

impl Entered {
    /// What nobody counts.
    pub fn uncounted() -> Self {
        Self { place: Arc::new(()), handshake: Arc::new(()) }
    }

    /// Both of this and of another one.
    fn and(self, other: Self) -> Self {
        Self {
            place: Arc::new((self.place, other.place)),
            handshake: Arc::new((self.handshake, other.handshake)),
        }
    }
}

/// Gives a newcomer its places, or `None` where a limit says no.
pub type Admit = Arc<dyn Fn(Newcomer) -> Option<Entered> + Send + Sync>;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Whoever connected.
    pub remote: SocketAddr,
    /// What it connected to.
    pub local: SocketAddr,
}

/// The way in at one listener.
#[derive(Clone)]
pub struct Entrance {
    /// Decides about each connection before anything is read from it.
    pub admit: Admit,
    /// Whether connections from an address begin with a PROXY header. From others nothing is ever read as one.
    pub sends_proxy_header: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Where TLS is spoken.
    pub tls: Option<TlsDoor>,
}

/// Why a connection does not get in.
#[derive(Debug, thiserror::Error)]
pub enum NoEntry {
    /// It said nothing and went away, as some health checks do.
    #[error("it was closed before it said anything")]
    Silent,
    /// It broke off.
    #[error("it broke off in its PROXY header: {0}")]
    Broken(#[from] io::Error),
    /// A proxy that is to send the header sends something else.
    #[error(transparent)]
    Header(#[from] ProxyHeaderError),
    /// The header does not come.
    #[error("its PROXY header did not come in time")]
    Late,
    /// Its client has all the connections that it may have.
    #[error("no place is left for its client")]
    NoPlace,
}

impl NoEntry {
    /// The word that counts it.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Silent => "closed",
            Self::Broken(_) | Self::Header(_) => "proxy_header",
            Self::Late => "timeout",
            Self::NoPlace => "no_place",
        }
    }
}

impl Entrance {
    /// A place for everybody and nothing in between, for listeners whose connections are not counted.
    pub fn open() -> Self {
        let admit: Admit = Arc::new(|_| Some(Entered::uncounted()));
        Self { admit, sends_proxy_header: Arc::new(|_| false), tls: None }
    }

    /// Places for a connection from `peer`, before anything is read from it.
    pub fn enter(&self, peer: SocketAddr) -> Option<Entered> {
        (self.admit)(if self.is_proxy(peer) { Newcomer::Proxy } else { Newcomer::Peer(peer.ip()) })
    }

    /// Whether a connection from `peer` begins with a PROXY header.
    pub fn is_proxy(&self, peer: SocketAddr) -> bool {
        (self.sends_proxy_header)(peer.ip().to_canonical())
    }

    /// Reads the PROXY header of a connection that has one, and not a byte more: who its client is, who thereby has places
    /// beside the proxy's. `ends` are those of the socket.
    pub async fn see_through(
        &self,
        socket: &mut TcpStream,
        ends: Ends,
        entered: Entered,
        until: Instant,
    ) -> Result<(Ends, Entered), NoEntry> {
        let seen = match timeout_at(until, read_header(socket)).await {
            Ok(Ok(ProxyHeader::Client { source, destination })) => {
                let behind = (self.admit)(Newcomer::Behind(source.ip())).ok_or(NoEntry::NoPlace)?;
                Ok((Ends { remote: source, local: destination }, entered.and(behind)))
            }
            Ok(Ok(ProxyHeader::Unknown)) => Ok((ends, entered)),
            Ok(Err(no_entry)) => Err(no_entry),
            Err(_) => Err(NoEntry::Late),
        };
        match &seen {
            Ok((seen, _)) => {
                tracing::debug!(peer = %seen.remote, proxy = %ends.remote, "a proxy told of its client");
            }
            // A health check, and a client that wants too much: no trouble of the proxy's.
            Err(no_entry @ (NoEntry::Silent | NoEntry::NoPlace)) => {
                tracing::debug!(proxy = %ends.remote, why = %no_entry, "turned away");
            }
            Err(no_entry) => {
                tracing::warn!(proxy = %ends.remote, error = %no_entry, "a connection of a proxy was closed");
            }
        }
        seen
    }
}

async fn read_header(socket: &mut TcpStream) -> Result<ProxyHeader, NoEntry> {
    let mut bytes = Vec::new();
    loop {
        let missing = match ProxyHeader::parse(&bytes)? {
            Progress::Complete(header) => return Ok(header),
            Progress::Incomplete { missing } => missing,
        };
        let read = (&mut *socket).take(missing as u64).read_buf(&mut bytes).await?;
        match (read, bytes.is_empty()) {
            (0, true) => return Err(NoEntry::Silent),
            (0, false) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => {}
        }
    }
}
