//! The URLs in answers: where a client reaches the gateway, seen from where it reached it just now.
//!
//! What is set as public URL stands. Where nothing is set, the request's own Host does, since it is known to lead here.
//! It comes from the client, so it is taken only if it is a plain host with a port, and nothing else of it is used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::http::header::{HOST, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};

use super::problem::Problem;
use super::server::Peer;
use super::{Control, client};
use crate::domain::{ConferenceId, StreamId};

/// The application of every media URL (contract, section Media).
const MEDIA_APP: &str = "live";
/// Longest host name (RFC 1035 section 2.3.4).
const HOST_CHARS_MAX: usize = 253;
/// The port that an RTMP URL without one means.
const RTMP_PORT: u16 = 1935;
/// The port that an RTMPS URL without one means.
const RTMPS_PORT: u16 = 443;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whether an address is a proxy whose `X-Forwarded-…` headers are believed.
pub type Trust = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// RTMP with or without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RtmpScheme {
    /// What every phone takes.
    Rtmp,
    /// Inside TLS.
    Rtmps,
}

impl RtmpScheme {
    fn word(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Rtmps => "rtmps",
        }
    }
}

/// Where clients reach the gateway.
#[derive(Clone)]
pub struct Endpoints {
    /// `rtmp://host[:port]` or `rtmps://…`, where it is set.
    pub public_rtmp_url: Option<String>,
    /// `http://host[:port][/path]` or `https://…`, where it is set.
    pub public_http_url: Option<String>,
    /// What RTMP is reached by where no URL is set: its scheme and the port that it is bound to.
    pub rtmp: (RtmpScheme, u16),
    /// Whose forwarding headers are believed.
    pub trusted_proxy: Trust,
}

/// Where this client reaches the gateway. Each part has no slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    rtmp: String,
    http: String,
    ws: String,
}

/// The URLs for a publisher.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PublishUrls {
    /// All in one, for live-pusher and ffmpeg.
    pub(super) rtmp: String,
    /// The part that OBS calls server.
    pub(super) rtmp_server: String,
    /// The part that OBS calls stream key.
    pub(super) rtmp_key: String,
}

/// The URLs for a viewer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PlayUrls {
    pub(super) rtmp: String,
    pub(super) flv: String,
    pub(super) ws_flv: String,
}

impl Origin {
    /// Where calls and sockets go: the origins over HTTP and over WebSocket, without a path.
    pub(super) fn web(&self) -> (&str, &str) {
        let origin = |url: &'_ str| -> usize {
            let host = url.find("://").map_or(0, |at| at + 3);
            url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| host + at)
        };
        (
            self.http.get(..origin(&self.http)).unwrap_or_default(),
            self.ws.get(..origin(&self.ws)).unwrap_or_default(),
        )
    }

    /// The event feed of a conference.
    pub(super) fn events(&self, conference: &ConferenceId) -> String {
        format!("{}/v1/conferences/{conference}/events", self.ws)
    }

    pub(super) fn publish(&self, stream: &StreamId, token: &str) -> PublishUrls {
        let rtmp_server = format!("{}/{MEDIA_APP}", self.rtmp);
        let rtmp_key = format!("{stream}?t={token}");
        PublishUrls { rtmp: format!("{rtmp_server}/{rtmp_key}"), rtmp_server, rtmp_key }
    }

    pub(super) fn play(&self, stream: &StreamId, token: &str) -> PlayUrls {
        PlayUrls {
            rtmp: format!("{}/{MEDIA_APP}/{stream}?t={token}", self.rtmp),
            flv: format!("{}/{MEDIA_APP}/{stream}.flv?t={token}", self.http),
            ws_flv: format!("{}/{MEDIA_APP}/{stream}.flv?t={token}", self.ws),
        }
    }
}

impl FromRequestParts<Control> for Origin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Problem> {
        control.endpoints.origin(parts)
    }
}

impl Endpoints {
    /// The address that the request comes from. Without a socket, as in tests, it is this machine's own.
    pub(super) fn client(&self, request: &Request) -> IpAddr {
        let Some(peer) = request.extensions().get::<Peer>() else { return Ipv4Addr::LOCALHOST.into() };
        client::address(peer.remote.ip(), request.headers(), |address| (self.trusted_proxy)(address))
    }

    /// Whether the request came through a proxy of ours.
    pub(super) fn is_proxied(&self, peer: &Peer) -> bool {
        (self.trusted_proxy)(peer.remote.ip().to_canonical())
    }

    fn origin(&self, parts: &Parts) -> Result<Origin, Problem> {
        let rtmp = match &self.public_rtmp_url {
            Some(url) => with_port(url),
            None => {
                let (scheme, port) = self.rtmp;
                format!("{}://{}:{port}", scheme.word(), self.authority(parts)?.host)
            }
        };
        let http = match &self.public_http_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let scheme = if self.is_secure(parts) { "https" } else { "http" };
                format!("{scheme}://{}", self.authority(parts)?.text())
            }
        };
        // http becomes ws, https becomes wss.
        let ws = http.strip_prefix("http").map_or_else(|| http.clone(), |rest| format!("ws{rest}"));
        Ok(Origin { rtmp, http, ws })
    }

    /// Forwarding headers, where they are believed: those of a trusted proxy.
    fn forwarded<'a>(&self, parts: &'a Parts) -> Option<&'a HeaderMap> {
        let peer = parts.extensions.get::<Peer>()?;
        (self.trusted_proxy)(peer.remote.ip().to_canonical()).then_some(&parts.headers)
    }

    fn is_secure(&self, parts: &Parts) -> bool {
        let forwarded = self.forwarded(parts).and_then(|headers| last(headers, &FORWARDED_PROTO));
        match forwarded {
            // Some proxies name the scheme of the WebSocket that they pass on.
            Some(scheme) => scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss"),
            None => parts.extensions.get::<Peer>().is_some_and(|peer| peer.secure),
        }
    }

    fn authority(&self, parts: &Parts) -> Result<Authority, Problem> {
        let wrong = || Problem::malformed("the Host header is not one host with or without a port");
        if let Some(text) = self.forwarded(parts).and_then(|headers| last(headers, &FORWARDED_HOST)) {
            return Authority::parse(text).ok_or_else(|| {
                Problem::malformed("the X-Forwarded-Host header is not one host with or without a port")
            });
        }
        // A target in absolute form names the authority, whatever Host says (RFC 9112 section 3.2.2).
        if let Some(authority) = parts.uri.authority() {
            return Authority::parse(authority.as_str()).ok_or_else(wrong);
        }
        let mut hosts = parts.headers.get_all(HOST).iter();
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok().and_then(Authority::parse).ok_or_else(wrong),
            // HTTP/1.0 knows no Host: the address that was connected to leads here as well.
            (None, _) => {
                parts.extensions.get::<Peer>().map(|peer| Authority::of(peer.local)).ok_or_else(wrong)
            }
            (Some(_), Some(_)) => Err(wrong()),
        }
    }
}

/// The last element of a list header: the one that the nearest proxy wrote.
fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value: &HeaderValue = headers.get_all(name).iter().next_back()?;
    value.to_str().ok()?.rsplit(',').next().map(str::trim)
}

/// `url` with the port that its scheme means, where it names none.
fn with_port(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let Some((scheme, authority)) = url.split_once("://") else { return url.to_owned() };
    let after_brackets = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    if after_brackets.contains(':') {
        return url.to_owned();
    }
    format!("{url}:{}", if scheme == "rtmps" { RTMPS_PORT } else { RTMP_PORT })
}

/// A host as it stands in a URL, and the port, if one was named.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(inner) => {
                let (address, rest) = inner.split_once(']')?;
                let address: Ipv6Addr = address.parse().ok()?;
                (format!("[{address}]"), rest)
            }
            None => {
                let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
                let valid = !host.is_empty() && host.len() <= HOST_CHARS_MAX && host.bytes().all(plain);
                (valid.then(|| host.to_owned())?, rest)
            }
        };
        let port = match rest.strip_prefix(':') {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse().ok().filter(|port| *port != 0)?)
            }
            Some(_) => return None,
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }

    fn of(address: SocketAddr) -> Self {
        let host = match address.ip().to_canonical() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Self { host, port: Some(address.port()) }
    }

    fn text(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn endpoints() -> Endpoints {
        Endpoints {
            public_rtmp_url: None,
            public_http_url: None,
            rtmp: (RtmpScheme::Rtmp, 40001),
            trusted_proxy: Arc::new(|address| address == IpAddr::from([10, 0, 0, 1])),
        }
    }

    fn parts(remote: [u8; 4], headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/v1/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let (remote, local) = (SocketAddr::from((remote, 5)), SocketAddr::from(([192, 0, 2, 1], 8080)));
        parts.extensions.insert(Peer { remote, local, secure: false });
        parts
    }

    fn origin(endpoints: &Endpoints, remote: [u8; 4], headers: &[(&str, &str)]) -> (String, String, String) {
        let origin = endpoints.origin(&parts(remote, headers)).expect("an origin");
        (origin.rtmp, origin.http, origin.ws)
    }

    fn texts(rtmp: &str, http: &str, ws: &str) -> (String, String, String) {
        (rtmp.to_owned(), http.to_owned(), ws.to_owned())
    }

    #[test]
    fn the_host_of_the_request_stands_where_nothing_is_set() {
        let endpoints = endpoints();
        for (host, rtmp, http, ws) in [
            ("gw.example:8080", "rtmp://gw.example:40001", "http://gw.example:8080", "ws://gw.example:8080"),
            ("gw.example", "rtmp://gw.example:40001", "http://gw.example", "ws://gw.example"),
            ("127.0.0.1:81", "rtmp://127.0.0.1:40001", "http://127.0.0.1:81", "ws://127.0.0.1:81"),
            ("[::1]:8080", "rtmp://[::1]:40001", "http://[::1]:8080", "ws://[::1]:8080"),
        ] {
            assert_eq!(origin(&endpoints, [10, 0, 0, 9], &[("host", host)]), texts(rtmp, http, ws));
        }
        let without = origin(&endpoints, [10, 0, 0, 9], &[]);
        assert_eq!(without, texts("rtmp://192.0.2.1:40001", "http://192.0.2.1:8080", "ws://192.0.2.1:8080"));
    }

    #[test]
    fn public_urls_stand_before_the_host() {
        let endpoints = Endpoints {
            public_rtmp_url: Some("rtmp://live.example".to_owned()),
            public_http_url: Some("https://api.example/gw".to_owned()),
            ..endpoints()
        };
        let origin = origin(&endpoints, [10, 0, 0, 9], &[("host", "odd host")]);
        assert_eq!(
            origin,
            texts("rtmp://live.example:1935", "https://api.example/gw", "wss://api.example/gw")
        );
        assert_eq!(with_port("rtmps://[2001:db8::1]"), "rtmps://[2001:db8::1]:443");
        assert_eq!(with_port("rtmp://[2001:db8::1]:7"), "rtmp://[2001:db8::1]:7");
        assert_eq!(with_port("rtmp://a:7"), "rtmp://a:7");
    }

    #[test]
    fn forwarding_headers_are_believed_from_trusted_proxies_only() {
        let endpoints = endpoints();
        let headers = [
            ("host", "inner:8080"),
            ("x-forwarded-host", "said-by-client, outer.example"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(
            origin(&endpoints, [10, 0, 0, 1], &headers),
            texts("rtmp://outer.example:40001", "https://outer.example", "wss://outer.example")
        );
        assert_eq!(
            origin(&endpoints, [10, 0, 0, 2], &headers),
            texts("rtmp://inner:40001", "http://inner:8080", "ws://inner:8080")
        );
    }

    #[test]
    fn nothing_odd_gets_into_a_url() {
        for bad in [
            "", "a b", "a/b", "u@a", "a:0", "a:99999", "a:+80", "a:", "a?b", "a#b", "[::1", "[x]", "[::1]x",
            "::1", "é",
        ] {
            assert_eq!(Authority::parse(bad), None, "{bad}");
        }
        assert_eq!(Authority::parse(&"a".repeat(254)), None);
        let endpoints = endpoints();
        let refused =
            |headers: &[(&str, &str)]| endpoints.origin(&parts([10, 0, 0, 1], headers)).unwrap_err();
        assert_eq!(refused(&[("host", "a/b")]).status(), 400);
        assert_eq!(refused(&[("host", "a"), ("host", "b")]).status(), 400);
        assert_eq!(refused(&[("host", "a"), ("x-forwarded-host", "a/b")]).status(), 400);
    }

    #[test]
    fn urls_have_the_form_of_the_contract() {
        let origin =
            Origin { rtmp: "rtmp://h:1935".into(), http: "http://h:80".into(), ws: "ws://h:80".into() };
        let stream = StreamId::parse("RTC1__Of_MS_a").unwrap();
        let publish = origin.publish(&stream, "tok");
        assert_eq!(publish.rtmp, "rtmp://h:1935/live/RTC1__Of_MS_a?t=tok");
        assert_eq!(publish.rtmp_server, "rtmp://h:1935/live");
        assert_eq!(publish.rtmp_key, "RTC1__Of_MS_a?t=tok");
        let play = origin.play(&stream, "tok");
        assert_eq!(play.rtmp, publish.rtmp);
        assert_eq!(play.flv, "http://h:80/live/RTC1__Of_MS_a.flv?t=tok");
        assert_eq!(play.ws_flv, "ws://h:80/live/RTC1__Of_MS_a.flv?t=tok");
        let conference = ConferenceId::parse("TS_a").unwrap();
        assert_eq!(origin.events(&conference), "ws://h:80/v1/conferences/TS_a/events");
    }
}
