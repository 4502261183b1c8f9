//! RTMP without IO: bytes in, results out.
//!
//! The layers, lowest first: [`chunk`] cuts the byte stream into messages and back, [`amf0`] reads and writes the
//! values inside commands, [`message`] gives messages their types, [`server`] is the session that answers a peer, [`client`]
//! the one that asks. What either says leaves through `speech`.
//! Nothing here reads a clock, draws a random number or touches a socket, and nothing allocates by what a peer
//! declares: memory follows the bytes that arrived.

use std::fmt;

pub mod amf0;
pub mod chunk;
pub mod client;
pub mod message;
pub mod server;
mod speech;

#[cfg(test)]
mod recording;

/// Identifies one message stream (a "NetStream") inside a connection. Stream 0 is the connection itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageStreamId(pub u32);

impl MessageStreamId {
    /// The connection itself: commands such as `connect` and every protocol control message.
    pub const CONNECTION: Self = Self(0);
    /// The first stream that `createStream` hands out. Every ordinary player and publisher lives on it, which lets
    /// one wire image serve all viewers.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for MessageStreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a media message carries. The payload itself is opaque here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Message type 8: the body of an FLV audio tag.
    Audio,
    /// Message type 9: the body of an FLV video tag.
    Video,
    /// Message type 18: AMF0 values, a name first (`onMetaData`, `onTextData`, …).
    Data,
}

/// Text from a peer that may carry a token in its query (an app name, a URL, a stream name).
///
/// `Debug` shows nothing of it: people put tokens and keys in every part of a URL, and no log line is to hold one by accident.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct UrlText(pub String);

impl UrlText {
    /// The whole text, query included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text before the query.
    pub fn without_query(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }

    /// The stream that the text names: without the query, and without the slash that some encoders put in front.
    pub fn stream_name(&self) -> &str {
        self.without_query().trim_start_matches('/')
    }

    /// The value of a parameter of the query, as it stands there. A URL that was glued together by hand may hold a
    /// second '?', and OBS appends the key behind a '/'.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.0.split_once('?')?;
        query
            .split(['&', '?'])
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value.split('/').next().unwrap_or_default())
    }
}

impl From<&str> for UrlText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for UrlText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a text of the peer)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_without_query_and_slash() {
        assert_eq!(UrlText::from("s__Of_MS_a?x=1&t=AB-_9").stream_name(), "s__Of_MS_a");
        assert_eq!(UrlText::from("/s__Of_MS_a?t=1").stream_name(), "s__Of_MS_a");
    }
}
