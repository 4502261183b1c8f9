//! Listening sockets: which addresses are asked for, and how they are bound.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::environment::variable;

/// Connections that the kernel completes and holds until they are accepted. A storm of reconnecting phones arrives
/// within a second; the kernel lowers this to net.core.somaxconn.
const ACCEPT_BACKLOG: i32 = 4096;
/// Most addresses in one list: every host has a few, a long list is a mistake.
const ADDRESSES_MAX: usize = 16;

/// One place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

/// Why a text is no listen address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// No host stands before the port.
    #[error("{0:?} names no host; for all of them write 0.0.0.0 and [::]")]
    NoHost(String),
    /// No port, or none that can be.
    #[error("{0:?} has no port from 0 to 65535 after the last colon")]
    NoPort(String),
    /// Neither an address nor a host name.
    #[error("{0:?} names no address; an IPv6 address stands in brackets")]
    BadHost(String),
    /// More than a list may hold.
    #[error("more than 16 addresses")]
    TooMany,
}

impl FromStr for ListenAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| InvalidAddress::NoPort(text.to_owned()))?;
        let port = port.parse().map_err(|_| InvalidAddress::NoPort(text.to_owned()))?;
        if host.is_empty() {
            return Err(InvalidAddress::NoHost(text.to_owned()));
        }
        let bad_host = || InvalidAddress::BadHost(text.to_owned());
        let host = if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Host::Ip(IpAddr::V6(inner.parse().map_err(|_| bad_host())?))
        } else if let Ok(address) = host.parse::<Ipv4Addr>() {
            Host::Ip(address.into())
        } else if host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
            && host.bytes().any(|byte| byte.is_ascii_alphabetic())
        {
            Host::Name(host.to_owned())
        } else {
            return Err(bad_host());
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(address) => SocketAddr::new(*address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl ListenAddress {
    fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ip(address) => address.is_loopback(),
            Host::Name(name) => name == "localhost",
        }
    }

    /// Whether it stands for every address of the machine in IPv6, which a machine without IPv6 can do without.
    fn is_any_v6(&self) -> bool {
        self.host == Host::Ip(Ipv6Addr::UNSPECIFIED.into())
    }

    /// The address to bind. A name gives its first IPv4 address, else its first address.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        match &self.host {
            Host::Ip(address) => Ok(SocketAddr::new(*address, self.port)),
            Host::Name(name) => {
                let found: Vec<SocketAddr> = (name.as_str(), self.port).to_socket_addrs()?.collect();
                let first = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
                first
                    .copied()
                    .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
            }
        }
    }
}

/// One to sixteen places to listen at, written as a comma list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddresses {
    first: ListenAddress,
    others: Vec<ListenAddress>,
}

impl ListenAddresses {
    /// The place that is announced.
    pub fn first(&self) -> &ListenAddress {
        &self.first
    }

    /// The places in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = &ListenAddress> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Whether no other host can reach any of them.
    pub fn is_loopback(&self) -> bool {
        self.iter().all(ListenAddress::is_loopback)
    }
}

impl FromStr for ListenAddresses {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let mut parts = text.split(',').map(str::trim);
        let first = parts.next().unwrap_or_default().parse()?;
        let others: Vec<ListenAddress> = parts.map(str::parse).collect::<Result<_, _>>()?;
        if others.len() < ADDRESSES_MAX { Ok(Self { first, others }) } else { Err(InvalidAddress::TooMany) }
    }
}

impl fmt::Display for ListenAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.others.iter().try_for_each(|address| write!(f, ",{address}"))
    }
}

/// Why there is nothing to listen at.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has the port.
    #[error(
        "cannot listen on {address} for {setting}: the port is in use; stop the program that has it \
         (`ss -ltnp` shows it) or set {} to another address, port 0 for a free one",
        variable(setting)
    )]
    InUse {
        /// As configured.
        address: String,
        /// The setting that asked for it.
        setting: &'static str,
    },
    /// The system does not allow it.
    #[error(
        "cannot listen on {address} for {setting}: permission denied; set {} to a port above 1023 or \
         grant CAP_NET_BIND_SERVICE",
        variable(setting)
    )]
    Denied {
        /// As configured.
        address: String,
        /// The setting that asked for it.
        setting: &'static str,
    },
    /// Anything else.
    #[error(
        "cannot listen on {address} for {setting}: {error}; set {} to an address of this machine",
        variable(setting)
    )]
    Failed {
        /// As configured.
        address: String,
        /// The setting that asked for it.
        setting: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

/// The first address of each listener, as the server announces it on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "event", rename = "listening")]
pub struct Listening {
    /// Publish and play; none where only RTMPS listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtmp: Option<SocketAddr>,
    /// Publish and play over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtmps: Option<SocketAddr>,
    /// Control API, events, FLV.
    pub http: SocketAddr,
    /// The same over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<SocketAddr>,
    /// Health and metrics.
    pub ops: SocketAddr,
}

/// The address at which this host itself reaches a listener: loopback where it listens on all addresses.
pub fn reachable(mut listener: SocketAddr) -> SocketAddr {
    if listener.ip().is_unspecified() {
        let loopback: IpAddr =
            if listener.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        listener.set_ip(loopback);
    }
    listener
}

/// How long a peer may leave sent bytes unacknowledged, or a closed window closed, before its connection is given up. A phone that
/// changes networks comes back on a new connection long before.
const PEER_SILENCE: Duration = Duration::from_secs(30);
/// How long a connection may be without any traffic before the peer is probed for its existence.
const PROBE_AFTER: Duration = Duration::from_secs(30);
/// Pause between two probes.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// Probes without an answer that end a connection.
const PROBES: u32 = 3;

/// Readies an accepted socket. Small messages leave at once, because Nagle's algorithm against delayed acknowledgements costs a
/// joiner 40 ms; and a peer that vanished without a word is noticed even while there is nothing to say to it.
pub fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let options = SockRef::from(socket);
    let probes =
        TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    options.set_tcp_keepalive(&probes)?;
    options.set_tcp_user_timeout(Some(PEER_SILENCE))
}

/// Acknowledges at once what has been read. A peer whose own writes wait for that (Nagle's algorithm) loses 40 ms otherwise
/// where there is nothing to answer, as at the end of a TLS handshake.
pub fn acknowledge(socket: &TcpStream) {
    if let Err(error) = SockRef::from(socket).set_tcp_quickack(true) {
        tracing::debug!(%error, "the socket does not acknowledge at once");
    }
}

/// Bytes that the kernel takes for a peer beyond what is on the way to it: a moment's worth on any network. What waits here
/// can be told of, dropped or ended; what waits in the kernel cannot, and takes megabytes of a peer that does not read.
pub const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// Bounds what waits in the kernel for the other end to take it.
pub fn bound_unsent(socket: &TcpStream, bytes_max: u32) -> io::Result<()> {
    SockRef::from(socket).set_tcp_notsent_lowat(bytes_max)
}

/// Tells the other end that nothing more comes.
pub fn finish(socket: &TcpStream) -> io::Result<()> {
    SockRef::from(socket).shutdown(Shutdown::Write)
}

/// Sockets that listen.
#[derive(Debug)]
pub struct Bound {
    /// At least one, in the order of the list.
    pub listeners: Vec<TcpListener>,
    /// The address of the first, with the port that it really has.
    pub first: SocketAddr,
    /// What was skipped, one line each.
    pub warnings: Vec<String>,
}

/// Listens at every address of the list that `setting` (a key of the configuration) holds. Must run within a Tokio
/// runtime. `[::]` is skipped with a warning on a host without IPv6, unless nothing else is left; IPv6 sockets take
/// IPv6 only, so that `0.0.0.0` and `[::]` can share a port.
pub fn bind(setting: &'static str, list: &ListenAddresses) -> Result<Bound, ListenError> {
    bind_with(setting, list, open)
}

fn bind_with(
    setting: &'static str,
    list: &ListenAddresses,
    mut open: impl FnMut(SocketAddr) -> io::Result<TcpListener>,
) -> Result<Bound, ListenError> {
    let mut listeners = Vec::new();
    let mut warnings = Vec::new();
    for asked in list.iter() {
        match asked.resolve().and_then(&mut open) {
            Ok(listener) => listeners.push(listener),
            Err(error) if asked.is_any_v6() && tells_no_ipv6(&error) => {
                warnings.push(format!("{setting}: {asked} is skipped, this host has no IPv6 ({error})"));
            }
            Err(error) => return Err(failure(setting, asked, error)),
        }
    }
    let nothing_left = || io::Error::new(io::ErrorKind::AddrNotAvailable, "this host has no IPv6");
    let first = listeners.first().map_or_else(|| Err(nothing_left()), TcpListener::local_addr);
    let first = first.map_err(|error| failure(setting, list.first(), error))?;
    Ok(Bound { listeners, first, warnings })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the sockets of the last run that linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The kernel was built or started without IPv6 (the family is unsupported), or it is switched off (no address).
fn tells_no_ipv6(error: &io::Error) -> bool {
    /// EAFNOSUPPORT of Linux; `std` has no kind for it.
    const FAMILY_UNSUPPORTED: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(FAMILY_UNSUPPORTED)
}

fn failure(setting: &'static str, address: &ListenAddress, error: io::Error) -> ListenError {
    let address = address.to_string();
    match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address, setting },
        io::ErrorKind::PermissionDenied => ListenError::Denied { address, setting },
        _ => ListenError::Failed { address, setting, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> ListenAddresses {
        text.parse().unwrap()
    }

    fn without_ipv6(address: SocketAddr) -> io::Result<TcpListener> {
        if address.is_ipv6() { Err(io::Error::from_raw_os_error(97)) } else { open(address) }
    }

    #[test]
    fn lists_read_back_as_they_are_written() {
        for text in ["0.0.0.0:1935,[::]:1935", "localhost:0", "[2001:db8::1]:443", "live-1.example.com:80"] {
            assert_eq!(list(text).to_string(), text);
        }
        assert_eq!(list(" 127.0.0.1:1 , [::1]:2").to_string(), "127.0.0.1:1,[::1]:2");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "1935",
            ":1935",
            "0.0.0.0",
            "0.0.0.0:",
            "0.0.0.0:65536",
            "0.0.0.0:1,",
            "::1:80",
            "[::1:80",
            "[1.2.3.4]:80",
            "1.2.3:80",
            "a b:80",
            "rtmp://a:80",
            "256.1.1.1:80",
        ] {
            assert!(bad.parse::<ListenAddresses>().is_err(), "{bad:?}");
        }
        let long = vec!["127.0.0.1:0"; ADDRESSES_MAX + 1].join(",");
        assert_eq!(long.parse::<ListenAddresses>(), Err(InvalidAddress::TooMany));
    }

    #[test]
    fn loopback_is_known_as_such() {
        assert!(list("127.0.0.1:0,[::1]:0,localhost:0").is_loopback());
        assert!(!list("127.0.0.1:0,0.0.0.0:0").is_loopback());
        assert!(!list("[::]:0").is_loopback());
    }

    #[test]
    fn the_announcement_is_what_the_contract_says() {
        let address = |text: &str| text.parse().unwrap();
        let listening = Listening {
            rtmp: Some(address("127.0.0.1:40001")),
            rtmps: None,
            http: address("[::1]:2"),
            https: None,
            ops: address("0.0.0.0:3"),
        };
        assert_eq!(
            serde_json::to_string(&listening).unwrap(),
            r#"{"event":"listening","rtmp":"127.0.0.1:40001","http":"[::1]:2","ops":"0.0.0.0:3"}"#
        );
        let with_tls = Listening {
            rtmp: None,
            rtmps: Some(address("127.0.0.1:4")),
            https: Some(address("127.0.0.1:5")),
            ..listening
        };
        assert_eq!(
            serde_json::to_string(&with_tls).unwrap(),
            r#"{"event":"listening","rtmps":"127.0.0.1:4","http":"[::1]:2","https":"127.0.0.1:5","ops":"0.0.0.0:3"}"#
        );
        assert_eq!(reachable(listening.ops), address("127.0.0.1:3"));
        assert_eq!(reachable(address("[::]:3")), address("[::1]:3"));
        assert_eq!(reachable(address("10.0.0.1:3")), address("10.0.0.1:3"));
    }

    #[tokio::test]
    async fn each_port_0_of_a_list_takes_its_own_free_port() {
        let bound = bind("rtmp_listen", &list("127.0.0.1:0,127.0.0.1:0")).unwrap();
        let ports: Vec<u16> =
            bound.listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert!(ports.len() == 2 && ports[0] != 0 && ports[1] != 0 && ports[0] != ports[1], "{ports:?}");
        assert_eq!(bound.first.port(), ports[0]);
    }

    #[tokio::test]
    async fn both_families_share_a_port() {
        let v4 = bind("rtmp_listen", &list("0.0.0.0:0")).unwrap();
        let both = list(&format!("[::]:{},127.0.0.1:0", v4.first.port()));
        let bound = bind("rtmp_listen", &both).unwrap();
        assert_eq!(bound.listeners.len() + bound.warnings.len(), 2);
    }

    #[tokio::test]
    async fn a_port_in_use_names_the_address_and_the_setting() {
        let taken = bind("rtmp_listen", &list("127.0.0.1:0")).unwrap();
        let address = taken.first.to_string();
        let line = bind("http_listen", &list(&address)).unwrap_err().to_string();
        for part in [&address, "http_listen", "TIDEGATE_HTTP_LISTEN", "in use"] {
            assert!(line.contains(part), "{part} is not in: {line}");
        }
    }

    #[tokio::test]
    async fn without_ipv6_only_the_wildcard_is_skipped() {
        let bound = bind_with("http_listen", &list("127.0.0.1:0,[::]:0"), without_ipv6).unwrap();
        assert_eq!(bound.listeners.len(), 1);
        assert!(bound.warnings[0].contains("[::]:0"), "{:?}", bound.warnings);
        assert!(bind_with("http_listen", &list("[::]:0"), without_ipv6).is_err());
        assert!(bind_with("http_listen", &list("127.0.0.1:0,[::1]:0"), without_ipv6).is_err());
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_by_name() {
        let line = bind("ops_listen", &list("192.0.2.1:0")).unwrap_err().to_string();
        assert!(line.contains("192.0.2.1:0") && line.contains("TIDEGATE_OPS_LISTEN"), "{line}");
    }
}
