//! How the gateway is reached, and whom it reaches: ports, certificate, public URLs, calls outside.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use super::running::Running;
use super::{Check, Verdict};
use crate::clock;
use crate::config::{Config, PublicHttpUrl, PublicRtmpUrl};
use crate::listen::{ListenAddress, ListenAddresses};
use crate::tls::{Pair, TlsFiles};

/// Where most clouds hand out the credentials of a machine.
const METADATA: &str = "169.254.169.254";
/// Addresses of a public network: whoever allows these has allowed everything.
const ANYWHERE: &str = "0.0.0.0";

/// Each address of each listener: free, or held by the gateway that runs.
pub(super) fn ports(config: &Config, running: Option<&Running>) -> Vec<Check> {
    let lists: [(&'static str, &str, Option<&ListenAddresses>); 5] = [
        ("rtmp_listen", "rtmp", config.rtmp_listen.as_ref()),
        ("rtmps_listen", "rtmps", config.rtmps_listen.as_ref()),
        ("http_listen", "http", Some(&config.http_listen)),
        ("https_listen", "https", config.https_listen.as_ref()),
        ("ops_listen", "ops", Some(&config.ops_listen)),
    ];
    let mut checks = Vec::new();
    for (setting, listener, list) in lists {
        for address in list.into_iter().flat_map(ListenAddresses::iter) {
            let holds = |port| running.is_some_and(|running| running.listens_on(listener, port));
            checks.push(port(setting, address, holds));
        }
    }
    checks
}

fn port(setting: &'static str, asked: &ListenAddress, holds: impl Fn(u16) -> bool) -> Check {
    let address: SocketAddr = match asked.resolve() {
        Ok(address) => address,
        Err(error) => {
            return Check::fail(setting, format!("{asked} cannot be found: {error}"), "correct the name");
        }
    };
    if address.port() == 0 {
        return Check::ok(setting, format!("{asked} takes any free port"));
    }
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(setting, format!("{asked} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && holds(address.port()) => {
            Check::ok(setting, format!("{asked} is held by the running gateway"))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Check::fail(
            setting,
            format!("{asked} is held by another program"),
            format!("find it with `ss -ltnp sport = :{}`, or choose another port", address.port()),
        ),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Check::fail(
            setting,
            format!("{asked}: this user may not listen below port 1024"),
            "give the unit AmbientCapabilities=CAP_NET_BIND_SERVICE, or choose another port",
        ),
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            Check::ok(setting, format!("{asked} is skipped: this host has no IPv6"))
        }
        Err(error) => Check::fail(setting, format!("{asked}: {error}"), "name an address of this machine"),
    }
}

/// The certificate: whether it can be shown, for how long, and for which host.
pub(super) fn certificate(config: &Config) -> Vec<Check> {
    const NAME: &str = "certificate";
    let Some((certificate, key)) = config.tls_files() else { return Vec::new() };
    let pair = match Pair::load(&TlsFiles { certificate, key }) {
        Ok(pair) => pair,
        Err(error) => return vec![Check::error(NAME, &error.to_string())],
    };
    let now = clock::now();
    let is_over = u64::try_from(pair.not_after()).unwrap_or_default() < now.as_secs();
    let mut checks: Vec<Check> = pair
        .warnings(now)
        .iter()
        .map(|line| Check::told(NAME, if is_over { Verdict::Fail } else { Verdict::Warn }, line))
        .collect();
    let urls = [
        (
            "public_http_url",
            config.https_listen.is_some(),
            config.public_http_url.as_ref().map(PublicHttpUrl::as_str),
        ),
        (
            "public_rtmp_url",
            config.rtmps_listen.is_some(),
            config.public_rtmp_url.as_ref().map(PublicRtmpUrl::as_str),
        ),
    ];
    for (setting, listens, url) in urls {
        let Some(host) = url.filter(|url| listens && is_secure(url)).map(host_of) else { continue };
        if !pair.names(host) {
            checks.push(Check::fail(
                NAME,
                format!("it does not name {host}, the host of {setting}"),
                "get one for that name, or correct the setting",
            ));
        }
    }
    if checks.is_empty() {
        checks.push(Check::ok(NAME, "it fits its key, is in its time and names the public host"));
    }
    checks
}

fn is_secure(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("rtmps://")
}

/// The host of a URL that the settings took: without port and brackets.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Whether phones can use the URLs that they are given.
pub(super) fn public_urls(config: &Config) -> Vec<Check> {
    let http = config.public_http_url.as_ref().map(PublicHttpUrl::as_str);
    let rtmp = config.public_rtmp_url.as_ref().map(PublicRtmpUrl::as_str);
    let mut checks = vec![public_url("public_http_url", http), public_url("public_rtmp_url", rtmp)];
    if let Some(url) = http.filter(|url| !is_secure(url)) {
        checks.push(Check::warn(
            "public_http_url",
            format!("{url} is not https: mini programs take https and wss only"),
            "end TLS here (https_listen) or in a proxy, and say https://",
        ));
    }
    let speaks_tls = config.https_listen.is_some();
    if http.is_some_and(is_secure) && !speaks_tls && !trusts_somebody(config) {
        checks.push(Check::warn(
            "trusted_proxies",
            "public_http_url is https, nothing here speaks TLS, and no proxy is trusted: all clients count as one address",
            "name the proxy in trusted_proxies (or http_proxy_protocol_from), or set https_listen",
        ));
    }
    checks
}

fn trusts_somebody(config: &Config) -> bool {
    !config.trusted_proxies.is_empty() || !config.http_proxy_protocol_from.is_empty()
}

fn public_url(setting: &'static str, url: Option<&str>) -> Check {
    let Some(url) = url else {
        return Check::ok(setting, "not set: URLs name the host that the request named");
    };
    let host = host_of(url);
    let address: Option<IpAddr> = host.parse().ok();
    let is_local = host == "localhost"
        || host.ends_with(".localhost")
        || address.is_some_and(|address| address.is_loopback() || address.is_unspecified());
    if is_local {
        Check::warn(
            setting,
            format!("{url} is this machine only: phones cannot reach it"),
            "name a host that they can",
        )
    } else {
        Check::ok(setting, url)
    }
}

/// Whom webhooks and relays may call inside.
pub(super) fn outbound(config: &Config) -> Check {
    const NAME: &str = "outbound_allow";
    let allows = |address: &str| address.parse().is_ok_and(|address| config.outbound_allow.contains(address));
    if allows(ANYWHERE) || allows("8.8.8.8") && allows("10.0.0.1") {
        Check::warn(
            NAME,
            "it allows every address",
            "name the inner networks that receivers stand in, and no more",
        )
    } else if allows(METADATA) {
        Check::warn(
            NAME,
            format!(
                "it allows {METADATA}, where clouds hand out this machine's credentials to whoever asks from it"
            ),
            "leave 169.254.0.0/16 out",
        )
    } else if config.outbound_allow.is_empty() {
        Check::ok(NAME, "webhooks and relays reach public addresses only")
    } else {
        Check::ok(NAME, "webhooks and relays reach public addresses and the networks named")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        Config::load(None, pairs.iter().map(|(name, value)| (name.into(), value.into()))).unwrap().config
    }

    fn worst(checks: &[Check]) -> Verdict {
        checks.iter().map(|check| check.verdict).max().unwrap()
    }

    #[test]
    fn hosts_are_found_in_urls() {
        for (url, host) in [
            ("https://live.example.com/gw", "live.example.com"),
            ("rtmp://live.example.com:1935", "live.example.com"),
            ("rtmp://[2001:db8::1]:1935", "2001:db8::1"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }

    #[test]
    fn urls_that_phones_cannot_use_are_told() {
        let http = "TIDEGATE_PUBLIC_HTTP_URL";
        let trusted = ("TIDEGATE_TRUSTED_PROXIES", "10.0.0.5");
        for (pairs, verdict) in [
            (&[][..], Verdict::Ok),
            (&[(http, "http://live.example.com")], Verdict::Warn),
            (&[(http, "https://127.0.0.1")], Verdict::Warn),
            (&[(http, "https://live.example.com")], Verdict::Warn),
            (&[(http, "https://live.example.com"), trusted], Verdict::Ok),
            (&[("TIDEGATE_PUBLIC_RTMP_URL", "rtmp://localhost:1935")], Verdict::Warn),
        ] {
            assert_eq!(worst(&public_urls(&config(pairs))), verdict, "{pairs:?}");
        }
    }

    #[test]
    fn wide_doors_to_the_inside_are_told() {
        for (allowed, verdict) in [
            ("", Verdict::Ok),
            ("10.0.0.0/8", Verdict::Ok),
            ("0.0.0.0/0", Verdict::Warn),
            ("169.254.0.0/16", Verdict::Warn),
        ] {
            assert_eq!(
                outbound(&config(&[("TIDEGATE_OUTBOUND_ALLOW", allowed)])).verdict,
                verdict,
                "{allowed}"
            );
        }
    }

    #[test]
    fn a_held_port_is_a_fault_unless_it_is_ours() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: ListenAddress = held.local_addr().unwrap().to_string().parse().unwrap();
        assert_eq!(port("http_listen", &address, |_| false).verdict, Verdict::Fail);
        assert_eq!(port("http_listen", &address, |_| true).verdict, Verdict::Ok);
        drop(held);
        assert_eq!(port("http_listen", &address, |_| false).verdict, Verdict::Ok);
    }
}
