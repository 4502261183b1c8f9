//! Calls from the gateway to the network outside, under one policy: no address of an inner network unless the operator
//! allows it, what a name resolves to is checked and pinned to the connection, no redirect, no proxy of the environment.
//!
//! Whoever may name a URL here (an app's backend) must not gain a way into the network that the gateway stands in: its
//! neighbours, its own ops listener, the metadata service of its cloud.

mod address;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
pub use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect;
use tokio::sync::Semaphore;

pub use address::refused_class;

/// Longest URL that is taken, in bytes: what servers and proxies commonly accept.
pub const URL_BYTES_MAX: usize = 2048;
/// How much of an answer is read. A receiver says yes with a status; whatever it adds fits here or is no such answer.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Idle connections kept per host: a receiver that is called often is not greeted anew each time.
const IDLE_PER_HOST_MAX: usize = 8;
/// How long an idle connection is kept: shorter than the minute after which most load balancers drop it.
const IDLE_KEPT: Duration = Duration::from_secs(30);
/// Addresses of one name that are tried: a name with more of them is not more reachable for it.
const ADDRESSES_MAX: usize = 8;

/// Names that are looked up at once. Each holds a thread until the system's resolver answers or gives up, which can take
/// it half a minute; the threads that are left serve files and passwords.
const LOOKUPS_MAX: usize = 32;

/// Asks the system for the addresses of a name. Blocks.
type Lookup = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Which addresses may be called. Clones share the places for lookups.
#[derive(Clone)]
pub struct Policy {
    allowed: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    lookup: Lookup,
    lookups: Arc<Semaphore>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Policy")
    }
}

/// Why nothing is sent to a URL or an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Neither http nor https.
    #[error("only http and https URLs are called")]
    Scheme,
    /// A user name or password before the host.
    #[error("a URL with a user name or password is not called")]
    UserInfo,
    /// No host, or the port 0.
    #[error("the URL names no host and port that could be called")]
    Host,
    /// Longer than [`URL_BYTES_MAX`].
    #[error("the URL is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    /// An address of a class that is refused, and not on the operator's list.
    #[error("the address is {class}; the operator allows such targets with the setting outbound_allow")]
    Address {
        /// What kind of address it is: `a loopback address`.
        class: &'static str,
    },
}

/// Why a name led to no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// All of its addresses are refused.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The resolver failed.
    #[error("the name cannot be resolved")]
    Failed(#[source] io::Error),
    /// It has no address.
    #[error("the name has no address")]
    Empty,
}

impl Policy {
    /// Refuses every address of an inner or special network, except where `allowed` says yes.
    pub fn new(allowed: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        let lookup = |host: &str, port| (host, port).to_socket_addrs().map(Iterator::collect);
        Self {
            allowed: Arc::new(allowed),
            lookup: Arc::new(lookup),
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }

    /// Whether `address` may be called. An IPv4 address in the clothes of IPv6 counts as IPv4.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Forbidden> {
        let address = address.to_canonical();
        match refused_class(address) {
            Some(class) if !(self.allowed)(address) => Err(Forbidden::Address { class }),
            _ => Ok(()),
        }
    }

    /// Whether `url` may be called as far as can be said without resolving its name.
    pub fn check_url(&self, url: &Url) -> Result<(), Forbidden> {
        if url.as_str().len() > URL_BYTES_MAX {
            return Err(Forbidden::TooLong);
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Forbidden::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Forbidden::UserInfo);
        }
        if url.port() == Some(0) {
            return Err(Forbidden::Host);
        }
        self.check_host(url.host_str().unwrap_or_default())
    }

    /// Whether `host`, with or without the brackets of IPv6, may be called as far as can be said without resolving it.
    pub fn check_host(&self, host: &str) -> Result<(), Forbidden> {
        if host.is_empty() {
            return Err(Forbidden::Host);
        }
        match literal(host) {
            Some(address) => self.check_address(address),
            // RFC 6761 section 6.3: these names are loopback whatever a resolver says.
            None if is_localhost(host) => self.check_address(IpAddr::from([127, 0, 0, 1])),
            None => Ok(()),
        }
    }

    /// Waits for a place first, and gives it back when the system has answered, however long nobody waits for that any
    /// more: what hangs holds no more threads than there are places.
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let place = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let (lookup, host) = (Arc::clone(&self.lookup), host.to_owned());
        let looked_up = tokio::task::spawn_blocking(move || {
            let _place = place;
            lookup(&host, port)
        });
        looked_up.await.map_err(io::Error::other)?
    }

    /// The addresses of `host` that may be called; connect to these and resolve no second time.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
        let found: Vec<SocketAddr> = match literal(host) {
            Some(address) => vec![SocketAddr::new(address, port)],
            None => self.look_up(host, port).await.map_err(ResolveError::Failed)?,
        };
        let mut refused = None;
        let mut permitted = Vec::new();
        for address in found {
            match self.check_address(address.ip()) {
                Ok(()) => permitted.push(address),
                Err(forbidden) => refused = Some(forbidden),
            }
        }
        permitted.truncate(ADDRESSES_MAX);
        match refused {
            Some(forbidden) if permitted.is_empty() => Err(forbidden.into()),
            None if permitted.is_empty() => Err(ResolveError::Empty),
            _ => Ok(permitted),
        }
    }
}

/// The address that a host of a URL spells, with or without the brackets of IPv6.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost")
}

/// Hands out only addresses that were checked, so that the address checked is the address called.
struct Pinned(Policy);

impl Resolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            // The client replaces port 0 by the URL's.
            let addresses = policy.resolve(name.as_str(), 0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Why a call brought no answer that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The policy forbids it.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// No address for the name.
    #[error("the name cannot be resolved")]
    Unresolved,
    /// No connection, or one that broke.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// No whole answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The answer is larger than [`ANSWER_BYTES_MAX`].
    #[error("the answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
}

/// The HTTP client for calls that others ask for. Clones share connections.
#[derive(Clone)]
pub struct Outbound {
    policy: Policy,
    timeout: Duration,
    /// Made at the first call: it reads the certificates of the system.
    client: Arc<Mutex<Option<reqwest::Client>>>,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbound")
    }
}

impl Outbound {
    /// Calls under `policy`, each of which may take `timeout` from the first packet to the end of the answer.
    pub fn new(policy: Policy, timeout: Duration) -> Self {
        Self { policy, timeout, client: Arc::default() }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    fn client(&self) -> reqwest::Result<reqwest::Client> {
        let mut kept = self.client.lock();
        if let Some(client) = &*kept {
            return Ok(client.clone());
        }
        let client = client(&self.policy)?;
        *kept = Some(client.clone());
        Ok(client)
    }

    /// Calls no one any more over a connection that stands: the policy has changed, and it is asked when a connection is
    /// made.
    pub fn forget_connections(&self) {
        *self.client.lock() = None;
    }

    /// Posts `body` as JSON with more headers, and gives the status of the answer, which may be any.
    pub async fn post_json(
        &self,
        url: &Url,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<u16, CallError> {
        // A literal address never passes the resolver.
        self.policy.check_url(url)?;
        let client = self.client().map_err(|error| CallError::Unreachable(chain(&error)))?;
        let mut request = client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let call = async {
            let mut answer = request.send().await.map_err(|error| call_error(&error))?;
            let status = answer.status().as_u16();
            let mut bytes = 0;
            while let Some(chunk) = answer.chunk().await.map_err(|error| call_error(&error))? {
                bytes += chunk.len();
                if bytes > ANSWER_BYTES_MAX {
                    return Err(CallError::TooLarge);
                }
            }
            Ok(status)
        };
        tokio::time::timeout(self.timeout, call).await.unwrap_or(Err(CallError::Timeout(self.timeout)))
    }
}

fn client(policy: &Policy) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("Tidegate/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Pinned(policy.clone()))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .http1_only()
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .pool_idle_timeout(IDLE_KEPT)
        .tcp_nodelay(true)
        .build()
}

/// Says why without the URL, whose query may hold a secret.
fn call_error(error: &reqwest::Error) -> CallError {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        match error.downcast_ref::<ResolveError>() {
            Some(ResolveError::Forbidden(forbidden)) => return forbidden.clone().into(),
            Some(ResolveError::Failed(_) | ResolveError::Empty) => return CallError::Unresolved,
            None => cause = error.source(),
        }
    }
    CallError::Unreachable(chain(error))
}

/// The innermost cause, which is the system's or the TLS library's own sentence and names no URL.
fn chain(error: &reqwest::Error) -> String {
    let mut innermost: Option<&(dyn Error + 'static)> = None;
    let mut cause = error.source();
    while let Some(error) = cause {
        innermost = Some(error);
        cause = error.source();
    }
    innermost.map_or_else(|| "the exchange broke off".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests;
