//! The gateway as a client of far RTMP servers: it dials one, then pushes a stream of the hub to it or pulls one of its
//! streams into the hub. Who may do that, when, and how often it is tried again is not decided here.
//!
//! | file | what it does |
//! | --- | --- |
//! | `url` | where a far server is and what it calls the stream; what of that may be shown |
//! | `link` | one connection: dialled, shaken hands, asked, until it is ready; bytes out and in |
//! | `push`, `pull` | media out, media in, until the end |

mod link;
mod pull;
mod push;
mod url;

use std::io;
use std::time::Duration;

pub use link::{Link, dial};
pub use pull::{Claimed, PullEnd, pull};
pub use push::{PushEnd, push};
pub use url::{FarUrl, InvalidFarUrl, URL_BYTES_MAX};

use super::proto::client::ClientError;

/// Times that a connection to a far server is held to.
#[derive(Debug, Clone, Copy)]
pub struct LinkTimes {
    /// From the first packet until the far server takes or gives the stream.
    pub connect: Duration,
    /// How long the far server may take nothing of what waits for it.
    pub stall: Duration,
    /// How long a connection may be without media.
    pub idle: Duration,
}

/// Why there is no connection to a far server, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FarError {
    /// None of its addresses answers.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// It did not get as far as to take or give the stream.
    #[error("the far server did not take or give the stream within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Its certificate proves nothing, or it speaks no TLS.
    #[error("TLS: {0}")]
    Tls(String),
    /// It said no.
    #[error("the far server refused: {code} {description}")]
    Refused {
        /// Such as `NetStream.Publish.BadName`.
        code: String,
        /// Its own sentence.
        description: String,
    },
    /// It closed the connection, or ended the stream with a word.
    #[error("the far server ended it: {0}")]
    Closed(String),
    /// It takes nothing.
    #[error("the far server took nothing for {} ms", .0.as_millis())]
    Stalled(Duration),
    /// It sends nothing.
    #[error("the far server sent no media for {} ms", .0.as_millis())]
    Silent(Duration),
    /// It speaks something else.
    #[error("the far server does not speak RTMP: {0}")]
    Protocol(String),
}

impl From<io::Error> for FarError {
    fn from(error: io::Error) -> Self {
        Self::Closed(error.to_string())
    }
}

impl From<ClientError> for FarError {
    fn from(error: ClientError) -> Self {
        Self::Protocol(error.to_string())
    }
}
