//! From which address a request comes, proxies seen through.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use super::Control;
use super::problem::Problem;
use super::server::{HeldPlace, Peer};
use crate::domain::{Reason, Refusal};
use crate::places;

/// What a proxy adds the address of its own client to.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Hops that are walked: more proxies in a row than anybody has.
const HOPS_MAX: usize = 32;

/// The client's address, as an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientAddress(pub(super) IpAddr);

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Each request has it that came in by a listener.
        Ok(parts.extensions.get().copied().unwrap_or(Self(IpAddr::V4(Ipv4Addr::LOCALHOST))))
    }
}

/// The place of a socket that is to stay open when its request has been answered.
pub(super) struct SocketPlace {
    address: IpAddr,
    proxied: bool,
    held: Option<HeldPlace>,
}

/// Counts a socket while it is kept.
pub(super) struct KeptPlace {
    _connection: Option<HeldPlace>,
    _behind_proxy: Option<places::Place>,
}

impl FromRequestParts<Control> for SocketPlace {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Problem> {
        let Ok(ClientAddress(address)) = ClientAddress::from_request_parts(parts, control).await;
        let proxied = parts.extensions.get::<Peer>().is_some_and(|peer| control.endpoints.is_proxied(peer));
        Ok(Self { address, proxied, held: parts.extensions.get().cloned() })
    }
}

impl SocketPlace {
    /// Keeps the connection's place, and takes one for the address behind a proxy.
    pub(super) fn keep(self, control: &Control) -> Result<KeptPlace, Refusal> {
        let behind_proxy = if self.proxied {
            let place = control.places.take_behind_proxy(self.address);
            Some(place.map_err(|full| {
                Reason::RateLimited
                    .because("this address has all the connections open that it may have")
                    .at(full.setting())
            })?)
        } else {
            None
        };
        Ok(KeptPlace { _connection: self.held, _behind_proxy: behind_proxy })
    }

    /// Counts a credential that proves nothing, where that is told on the socket and not by a status.
    pub(super) fn proved_nothing(&self, control: &Control, why: &Refusal) -> Result<(), Refusal> {
        match why.reason {
            Reason::Unauthenticated => control.guard.failure(self.address),
            Reason::RateLimited => Err(why.clone()),
            _ => Ok(()),
        }
    }
}

/// Walks `X-Forwarded-For` from the right, each hop believed as long as the one that wrote it is trusted. What stands to
/// the left of the first stranger was written by that stranger, and is not read.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut address = peer.to_canonical();
    let values = headers.get_all(FORWARDED_FOR).iter().rev();
    let hops = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    for hop in hops.take(HOPS_MAX) {
        if !trusted(address) {
            break;
        }
        let Some(next) = parse(hop.trim()) else { break };
        address = next;
    }
    address
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn seen(peer: &str, values: &[&str]) -> IpAddr {
        let headers = values.iter().map(|value| (FORWARDED_FOR, value.parse().unwrap())).collect();
        address(ip(peer), &headers, |address| address.to_string().starts_with("10."))
    }

    #[test]
    fn the_header_is_walked_from_the_right_while_the_hop_is_trusted() {
        for (peer, values, expected) in [
            ("198.51.100.1", &["203.0.113.9"][..], "198.51.100.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9", "10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["1.1.1.1, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ] {
            assert_eq!(seen(peer, values), ip(expected), "{peer} {values:?}");
        }
    }
}
