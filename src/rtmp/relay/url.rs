//! The URL of a stream on a far server. Whatever stands behind the first part of its path may be a key.

use std::fmt;

use crate::rtmp::proto::UrlText;
use crate::rtmp::proto::client::{ClientRequest, Purpose};

/// Longest URL that is taken, in bytes. Signed URLs have a few hundred.
pub const URL_BYTES_MAX: usize = 2048;
/// The port of RTMP where a URL names none.
const RTMP_PORT: u16 = 1935;
/// The port of RTMP over TLS where a URL names none: what encoders take.
const RTMPS_PORT: u16 = 443;
/// Parts of a URL that are shorter are found in any sentence by chance, and keep no secret.
const SECRET_BYTES_MIN: usize = 4;
/// Stands in for what is not shown.
const HIDDEN: &str = "…";

/// A text that is no URL of a stream. Says nothing of what stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFarUrl {
    /// Too long.
    #[error("a relay's URL has at most {URL_BYTES_MAX} bytes")]
    TooLong,
    /// Spaces, controls, letters outside of ASCII.
    #[error("a relay's URL has visible ASCII characters only; escape others with %")]
    Letter,
    /// Neither rtmp nor rtmps.
    #[error("a relay's URL begins with rtmp:// or rtmps://")]
    Scheme,
    /// A user name or password before the host.
    #[error("a relay's URL has no user name or password; a key belongs into its path or query")]
    UserInfo,
    /// No host, or no port.
    #[error("a relay's URL names a host, and a port from 1 to 65535 where it names one")]
    Host,
    /// Not both app and stream.
    #[error("a relay's URL is rtmp://host/app/stream: both parts of its path are needed")]
    Path,
}

/// `rtmp://host[:port]/app[/more]/stream[?query]`, or the same with rtmps. The last part of the path and the query are
/// the stream's name. Shown without them.
#[derive(Clone, PartialEq, Eq)]
pub struct FarUrl {
    text: String,
    is_tls: bool,
    host: String,
    port: u16,
    has_port: bool,
    app: String,
    name: String,
}

impl FarUrl {
    /// Takes a URL apart.
    pub fn parse(text: &str) -> Result<Self, InvalidFarUrl> {
        if text.len() > URL_BYTES_MAX {
            return Err(InvalidFarUrl::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidFarUrl::Letter);
        }
        let (scheme, rest) = text.split_once("://").ok_or(InvalidFarUrl::Scheme)?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "rtmp" => false,
            "rtmps" => true,
            _ => return Err(InvalidFarUrl::Scheme),
        };
        let (authority, path) = rest.split_once('/').ok_or(InvalidFarUrl::Path)?;
        if authority.contains('@') {
            return Err(InvalidFarUrl::UserInfo);
        }
        let (host, port) = host_and_port(authority).ok_or(InvalidFarUrl::Host)?;
        let (app, name) = app_and_name(path).ok_or(InvalidFarUrl::Path)?;
        Ok(Self {
            text: text.to_owned(),
            is_tls,
            host: host.to_ascii_lowercase(),
            port: port.unwrap_or(if is_tls { RTMPS_PORT } else { RTMP_PORT }),
            has_port: port.is_some(),
            app,
            name,
        })
    }

    /// The whole text, keys included.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The host, without the brackets of IPv6.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether TLS is to be spoken.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    fn origin(&self) -> String {
        let scheme = if self.is_tls { "rtmps" } else { "rtmp" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.has_port { format!("{scheme}://{host}:{}", self.port) } else { format!("{scheme}://{host}") }
    }

    /// What the far server is asked for.
    pub(super) fn request(&self, purpose: Purpose) -> ClientRequest {
        ClientRequest {
            app: UrlText(self.app.clone()),
            tc_url: UrlText(format!("{}/{}", self.origin(), self.app)),
            name: UrlText(self.name.clone()),
            purpose,
        }
    }

    /// `text`, which may come from the far server, without anything of the URL that may be a key, and without controls.
    pub fn scrub(&self, text: &str) -> String {
        let mut secrets = vec![self.text.as_str(), self.name.as_str()];
        for part in [&self.name, &self.app] {
            let (path, query) = part.split_once('?').unwrap_or((part, ""));
            let pairs = query
                .split(['&', '?', '/'])
                .map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
            secrets.extend(pairs);
            secrets.push(query);
            secrets.extend(path.split('/').skip(usize::from(part == &self.app)));
        }
        secrets.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let mut clean = text.to_owned();
        for secret in secrets {
            clean = clean.replace(secret, HIDDEN);
        }
        clean.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
    }
}

/// Host and the first part of the path.
impl fmt::Display for FarUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.app.split(['/', '?']).next().unwrap_or_default();
        write!(f, "{}/{first}/{HIDDEN}", self.origin())
    }
}

impl fmt::Debug for FarUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_host = host.contains(':') || (!host.is_empty() && host.bytes().all(is_name));
    if !is_host {
        return None;
    }
    let port = match port {
        // `parse` would take a sign.
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse().ok().filter(|port| *port != 0)?)
        }
        Some(_) => return None,
        None => None,
    };
    Some((host, port))
}

/// The app, and the name with the query. A query that stands behind the app, with the name behind it, stays there.
fn app_and_name(path: &str) -> Option<(String, String)> {
    let path = path.trim_start_matches('/');
    let (plain, query) = path.split_once('?').map_or((path, None), |(plain, query)| (plain, Some(query)));
    let (app, name) = match plain.rsplit_once('/') {
        Some((app, name)) if !name.is_empty() => {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            (app.to_owned(), format!("{name}{query}"))
        }
        _ => {
            let (query, name) = query?.rsplit_once('/')?;
            (format!("{}?{query}", plain.trim_end_matches('/')), name.to_owned())
        }
    };
    (!app.is_empty() && !app.starts_with('?') && !name.is_empty()).then_some((app, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, u16, String, String) {
        let url = FarUrl::parse(text).unwrap();
        (url.host, url.port, url.app, url.name)
    }

    fn owned(host: &str, port: u16, app: &str, name: &str) -> (String, u16, String, String) {
        (host.to_owned(), port, app.to_owned(), name.to_owned())
    }

    #[test]
    fn urls_of_common_services_are_taken_apart() {
        for (text, host, port, app, name) in [
            ("rtmp://a.rtmp.example.com/live2/abcd-efgh", "a.rtmp.example.com", 1935, "live2", "abcd-efgh"),
            (
                "rtmps://Live.Example.com:443/rtmp/FB-1?a=2&s_bl=1",
                "live.example.com",
                443,
                "rtmp",
                "FB-1?a=2&s_bl=1",
            ),
            ("rtmps://x.example.video/app/sk_us", "x.example.video", 443, "app", "sk_us"),
            (
                "rtmp://h:19350/live/inner/key?txSecret=ab/cd&t=1",
                "h",
                19350,
                "live/inner",
                "key?txSecret=ab/cd&t=1",
            ),
            ("rtmp://h/app?vhost=v/key", "h", 1935, "app?vhost=v", "key"),
            ("rtmp://[2001:DB8::1]:1936/live/key", "2001:db8::1", 1936, "live", "key"),
            ("RTMP://10.0.0.1//live/key", "10.0.0.1", 1935, "live", "key"),
        ] {
            assert_eq!(parts(text), owned(host, port, app, name), "{text}");
        }
        let url = FarUrl::parse("rtmps://[::1]:1936/live/in/key?a=b").unwrap();
        let request = url.request(Purpose::Play);
        assert_eq!(request.tc_url.as_str(), "rtmps://[::1]:1936/live/in");
    }

    #[test]
    fn what_is_no_stream_of_a_far_server_is_refused_by_name() {
        use InvalidFarUrl::{Host, Letter, Path, Scheme, TooLong, UserInfo};
        for (text, wrong) in [
            ("http://h/live/key", Scheme),
            ("h/live/key", Scheme),
            ("rtmpt://h/live/key", Scheme),
            ("rtmp://user:word@h/live/key", UserInfo),
            ("rtmp://user@h/live/key", UserInfo),
            ("rtmp:///live/key", Host),
            ("rtmp://h:0/live/key", Host),
            ("rtmp://h:+1/live/key", Host),
            ("rtmp://h:65536/live/key", Host),
            ("rtmp://h:x/live/key", Host),
            ("rtmp://[::1/live/key", Host),
            ("rtmp://[x]/live/key", Host),
            ("rtmp://h%00/live/key", Host),
            ("rtmp://h", Path),
            ("rtmp://h/live", Path),
            ("rtmp://h/live/", Path),
            ("rtmp://h/?a=b/key", Path),
            ("rtmp://h/live/a key", Letter),
            ("rtmp://h/live/k\n", Letter),
            ("rtmp://h/live/é", Letter),
            (&format!("rtmp://h/live/{}", "k".repeat(URL_BYTES_MAX)), TooLong),
        ] {
            assert_eq!(FarUrl::parse(text), Err(wrong), "{text}");
        }
    }

    #[test]
    fn nothing_that_may_be_a_key_is_shown() {
        let url = FarUrl::parse("rtmp://h:1/live/hidden1/hidden2?sign=hidden3&x=hidden4").unwrap();
        assert_eq!(url.to_string(), "rtmp://h:1/live/…");
        assert_eq!(format!("{url:?}"), "rtmp://h:1/live/…");
        let said =
            url.scrub("no hidden2 in\nlive/hidden1: hidden2?sign=hidden3&x=hidden4, hidden4 and hidden3");
        assert!(!said.contains("hidden") && !said.contains('\n'), "{said}");
        assert!(said.starts_with("no … in live/…: …"), "{said}");
    }
}
