//! The parts of a media URL, and the places where clients put the token.

use std::net::SocketAddr;

/// `rtmp://ADDRESS/APP/STREAM?t=TOKEN`, or the same with rtmps.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaUrl {
    pub scheme: String,
    pub address: SocketAddr,
    pub app: String,
    pub stream: String,
    pub token: String,
}

/// What a client says in `connect` and in `play` or `publish`.
#[derive(Debug, Clone)]
pub struct Placement {
    pub address: SocketAddr,
    pub app: String,
    pub tc_url: String,
    pub name: String,
}

impl MediaUrl {
    #[track_caller]
    pub fn parse(url: &str) -> Self {
        Self::try_parse(url).unwrap_or_else(|| panic!("not rtmp://HOST:PORT/APP/STREAM?t=TOKEN: {url}"))
    }

    fn try_parse(url: &str) -> Option<Self> {
        let (scheme, rest) =
            url.split_once("://").filter(|(scheme, _)| ["rtmp", "rtmps"].contains(scheme))?;
        let (address, path) = rest.split_once('/')?;
        let (path, token) = path.split_once("?t=")?;
        let (app, stream) = path.split_once('/')?;
        Some(Self {
            scheme: scheme.to_owned(),
            address: address.parse().ok()?,
            app: app.to_owned(),
            stream: stream.to_owned(),
            token: token.to_owned(),
        })
    }

    pub fn text(&self) -> String {
        format!("{}/{}?t={}", self.server(), self.stream, self.token)
    }

    /// The URL without stream and token.
    pub fn server(&self) -> String {
        format!("{}://{}/{}", self.scheme, self.address, self.app)
    }

    /// The same URL at another listener: for a gateway that came back on another port.
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// The same URL at the listener for TLS.
    pub fn over_tls(&self, address: SocketAddr) -> Self {
        Self { scheme: "rtmps".to_owned(), ..self.at(address) }
    }

    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: token.into(), ..self.clone() }
    }

    /// The token behind the stream's name, as the URL is given.
    pub fn in_name(&self) -> Placement {
        Placement {
            address: self.address,
            app: self.app.clone(),
            tc_url: self.server(),
            name: format!("{}?t={}", self.stream, self.token),
        }
    }

    /// The token behind the app.
    pub fn in_app(&self) -> Placement {
        Placement {
            address: self.address,
            app: format!("{}?t={}", self.app, self.token),
            tc_url: self.server(),
            name: self.stream.clone(),
        }
    }

    /// The token in `tcUrl` alone.
    pub fn in_tc_url(&self) -> Placement {
        Placement {
            address: self.address,
            app: self.app.clone(),
            tc_url: format!("{}?t={}", self.server(), self.token),
            name: self.stream.clone(),
        }
    }
}
