//! What metrics are told apart by: the labels, and the words that their values are.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// The limits of the gateway's own, as refusals name them: settings, and behind them constants.
pub(super) const LIMITS: [&str; 35] = [
    "connections_max",
    "connections_per_address_max",
    "handshakes_max",
    "handshakes_per_address_max",
    "unfinished_bytes_max",
    "requests_in_flight_max",
    "requests_per_address",
    "requests_per_credential",
    "failed_authentications_per_address",
    "wrong_passwords_per_user",
    "event_sockets_max",
    "viewers_per_stream_max",
    "viewers_per_conference_max",
    "rooms_per_day_max",
    "conferences_per_app_max",
    "relays_max",
    "relays_per_conference_max",
    "overload_memory_bytes",
    "overload_lateness_ms",
    "messages_per_second",
    "passwords_waiting_max",
    "commands_waiting_max",
    "streams_per_member_max",
    "streams_per_conference_max",
    "request_head_bytes_max",
    "request_body_bytes_max",
    "bytes_before_admission_max",
    "commands_before_admission_max",
    "messages_before_admission_max",
    "message_bytes_max",
    "partial_bytes_max",
    "partial_messages_max",
    "known_chunk_streams_max",
    "aggregated_messages_max",
    "queued_output_max",
];

/// The kinds of credentials.
pub(super) const CREDENTIALS: [&str; 7] =
    ["app_key", "user_token", "ticket", "member_token", "media_token", "ops_token", "voip_signature"];

/// What a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RTMP, over TLS or not.
    Rtmp,
    /// HTTP: the control API.
    Http,
    /// FLV in an HTTP answer.
    HttpFlv,
    /// FLV in a WebSocket.
    WebSocketFlv,
    /// The event feed.
    Events,
}

impl Protocol {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Http => "http",
            Self::HttpFlv => "http_flv",
            Self::WebSocketFlv => "websocket_flv",
            Self::Events => "events",
        }
    }
}

/// The first digit of an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusClass(&'static str);

impl From<u16> for StatusClass {
    fn from(status: u16) -> Self {
        Self(match status {
            100..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        })
    }
}

impl StatusClass {
    pub(super) fn word(self) -> &'static str {
        self.0
    }
}

/// A word that stands in the code, as the value of a label. There is no way to make one from input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Word(pub(super) &'static str);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

macro_rules! labels {
    ($($name:ident { $($label:ident),+ })+) => { $(
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub(super) struct $name { $(pub(super) $label: Word),+ }
    )+ };
}

labels! {
    OfProtocol { protocol }
    OfCause { cause }
    OfDirection { direction }
    OfReason { reason }
    OfLimit { limit }
    OfCredential { credential }
    OfCommand { kind, outcome }
    OfRequest { route, status }
    OfOutcome { outcome }
    OfRelay { direction, state }
}
