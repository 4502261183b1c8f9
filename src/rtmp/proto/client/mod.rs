//! The client's side of one RTMP connection, after the handshake, without IO: it publishes one stream or plays one.
//!
//! `handle_input` takes bytes from the far server, `poll_output` gives back what came of it, `finish` says goodbye.
//! **After a new session, and after every call of the others, call `poll_output` until it returns `None`,** and write
//! what it sends before the next input is taken. `handle_input` wants pieces of at most [`INPUT_BYTES_MAX`].
//!
//! The order on the wire is that of common encoders and players: `connect`; then our chunk size and, to publish,
//! `releaseStream`, `FCPublish` and `createStream`; then `publish` or `play`. [`ClientEvent::Ready`] comes once. Media
//! to publish is not the session's business: it goes behind everything that the session has said, as
//! [`MediaChunks`](super::chunk::MediaChunks) on the stream that `Ready` names.
//!
//! What the far server says no to is a value, [`ClientEvent::Refused`]; only bytes that make no sense are a
//! [`ClientError`]. Its words may repeat the stream key: see to that before they are shown.

use std::collections::VecDeque;

use bytes::Bytes;

use super::amf0::{Value, object, string_prefix};
use super::chunk::{ChunkError, ChunkLimits, ChunkMessage, ChunkReader, ChunkStreamId, message_type};
use super::message::{AggregateError, Command, Message, UserControl, unpack_aggregate, user_control};
use super::server::MediaMessage;
use super::speech::{HANDSHAKE_BYTES, Speech};
use super::{MessageStreamId, UrlText};

#[cfg(test)]
mod tests;

pub use super::speech::{INPUT_BYTES_MAX, QUEUED_BYTES_MAX, QUEUED_EVENTS_MAX};

/// The messages of any type that a far server may send before it lets us publish or play. Servers send about ten.
pub const MESSAGES_BEFORE_READY_MAX: u32 = 1024;

/// The longest text of a far server that is kept: a sentence for a person.
pub const DESCRIPTION_CHARS_MAX: usize = 256;

/// What encoders call themselves; servers look for the first word.
const PUBLISHER_VERSION: &str = concat!("FMLE/3.0 (compatible; Tidegate/", env!("CARGO_PKG_VERSION"), ")");
/// What players call themselves.
const PLAYER_VERSION: &str = concat!("LNX 9,0,124,2 (compatible; Tidegate/", env!("CARGO_PKG_VERSION"), ")");
/// The `start` argument of `play` that players send: live, or recorded where nothing is live, as milliseconds.
const PLAY_LIVE_OR_RECORDED: f64 = -2000.0;
/// What a player buffers, as servers are told. They begin sooner for less; this is what common players say.
const BUFFER_MS: u32 = 3000;
/// `audioCodecs` and `videoCodecs` of a player that takes all that there were, and `videoFunction` seek.
const AUDIO_CODECS: f64 = 4071.0;
const VIDEO_CODECS: f64 = 252.0;

/// The transaction of `connect` is 1 by convention, and servers rely on it.
const CONNECT: f64 = 1.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;
const REQUEST: f64 = 5.0;
const FC_UNPUBLISH: f64 = 6.0;
const DELETE_STREAM: f64 = 7.0;

/// What the session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Sends a stream.
    Publish,
    /// Receives one.
    Play,
}

/// Where on the far server, and what for.
#[derive(Debug, Clone)]
pub struct ClientRequest {
    /// The app, with a query where the URL has one there.
    pub app: UrlText,
    /// The URL up to the app.
    pub tc_url: UrlText,
    /// The stream name, which for many servers is the key, with its query.
    pub name: UrlText,
    /// Publish or play.
    pub purpose: Purpose,
}

/// What [`ClientSession::poll_output`] hands out.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientOutput {
    /// Write these bytes to the far server.
    Send(Bytes),
    /// The far server did something.
    Event(ClientEvent),
}

/// What a far server did.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientEvent {
    /// The far server takes our stream, or begins to send its own.
    Ready {
        /// The stream that media belongs on.
        stream: MessageStreamId,
    },
    /// It said no, before `Ready` or behind it. Nothing more is to be expected.
    Refused {
        /// Such as `NetStream.Publish.BadName`.
        code: String,
        /// Its own sentence, cut to [`DESCRIPTION_CHARS_MAX`] characters.
        description: String,
    },
    /// A message of the stream that is played.
    Media(MediaMessage),
    /// What was played is over, or the far server asks for another connection.
    Ended {
        /// Such as `NetStream.Play.UnpublishNotify`.
        code: String,
    },
}

/// The connection has to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The chunk format or one of its limits is broken.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// An aggregate message with too many parts.
    #[error("byte {position}: {source}")]
    Aggregate {
        /// Offset in the connection behind the message.
        position: u64,
        /// What is wrong.
        source: AggregateError,
    },
    /// More than [`MESSAGES_BEFORE_READY_MAX`].
    #[error(
        "byte {position}: more than {MESSAGES_BEFORE_READY_MAX} messages and nothing published or played"
    )]
    TooManyMessages {
        /// Offset in the connection behind the message.
        position: u64,
    },
    /// More output than [`QUEUED_EVENTS_MAX`] or [`QUEUED_BYTES_MAX`].
    #[error("byte {position}: the input asks for more output than may wait")]
    OutputOverflow {
        /// Offset in the connection behind the last message.
        position: u64,
    },
    /// A stream id that is no number of a stream.
    #[error("byte {position}: createStream was answered with no stream id")]
    NoStream {
        /// Offset in the connection behind the message.
        position: u64,
    },
    /// The session has failed before.
    #[error("the session has ended with an error; close the connection")]
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Creating,
    Requested {
        stream: MessageStreamId,
    },
    Ready {
        stream: MessageStreamId,
    },
    /// The far server said no, or what it played is over.
    Over,
    Failed,
}

/// The client's side of one connection. The order of calls stands at the top of the module.
#[derive(Debug)]
pub struct ClientSession {
    request: ClientRequest,
    reader: ChunkReader,
    state: State,
    messages_before_ready: u32,
    speech: Speech,
    events: VecDeque<ClientEvent>,
}

impl ClientSession {
    /// A session whose handshake is done; `connect` is its first output.
    pub fn new(request: ClientRequest) -> Self {
        let mut session = Self {
            request,
            reader: ChunkReader::new(HANDSHAKE_BYTES, ChunkLimits::STRANGER),
            state: State::Connecting,
            messages_before_ready: 0,
            speech: Speech::new(),
            events: VecDeque::new(),
        };
        let connect = session.connect_object();
        session.call(MessageStreamId::CONNECTION, "connect", CONNECT, connect, Vec::new());
        session
    }

    /// Takes the next bytes of the connection, in any split.
    pub fn handle_input(&mut self, input: &[u8]) -> Result<(), ClientError> {
        if self.state == State::Failed {
            return Err(ClientError::Ended);
        }
        let handled = self.handle_messages(input);
        if handled.is_err() {
            self.state = State::Failed;
        }
        handled
    }

    /// What is to be done next; `None` when nothing is left.
    pub fn poll_output(&mut self) -> Option<ClientOutput> {
        match self.speech.take() {
            Some(bytes) => Some(ClientOutput::Send(bytes)),
            None => self.events.pop_front().map(ClientOutput::Event),
        }
    }

    /// Says that nothing more comes, or that nothing more is wanted. What it says is polled.
    pub fn finish(&mut self) {
        let (State::Ready { stream } | State::Requested { stream }) = self.state else { return };
        if self.request.purpose == Purpose::Publish {
            let name = Value::from(self.request.name.as_str());
            self.call(MessageStreamId::CONNECTION, "FCUnpublish", FC_UNPUBLISH, Value::Null, vec![name]);
        }
        let stream = Value::Number(f64::from(stream.0));
        self.call(MessageStreamId::CONNECTION, "deleteStream", DELETE_STREAM, Value::Null, vec![stream]);
        self.state = State::Over;
    }

    /// Bytes received for messages that are still incomplete.
    pub fn partial_bytes(&self) -> usize {
        self.reader.partial_bytes()
    }

    fn handle_messages(&mut self, mut input: &[u8]) -> Result<(), ClientError> {
        while let Some(message) = self.reader.next_message(&mut input)? {
            self.handle_message(message)?;
            if self.speech.has_overflowed() || self.events.len() > QUEUED_EVENTS_MAX {
                return Err(ClientError::OutputOverflow { position: self.reader.position() });
            }
        }
        self.speech.acknowledge(self.reader.position());
        Ok(())
    }

    fn handle_message(&mut self, message: ChunkMessage) -> Result<(), ClientError> {
        let position = self.reader.position();
        if !matches!(self.state, State::Ready { .. }) {
            self.messages_before_ready += 1;
            if self.messages_before_ready > MESSAGES_BEFORE_READY_MAX {
                return Err(ClientError::TooManyMessages { position });
            }
        }
        let stream = message.message_stream_id;
        match Message::parse(message.type_id, message.payload) {
            Message::Command(command) => self.handle_command(&command, position)?,
            Message::Aggregate(body) => {
                let parts = unpack_aggregate(message.timestamp, &body)
                    .map_err(|source| ClientError::Aggregate { position, source })?;
                for part in parts {
                    // A copy, so that a small part does not keep the whole aggregate alive in a ring.
                    let payload = Bytes::copy_from_slice(&part.payload);
                    self.handle_media(stream, part.timestamp, Message::parse(part.type_id, payload));
                }
            }
            Message::UserControl(UserControl::PingRequest(timestamp)) => {
                self.speech.send_user_control(user_control::PING_RESPONSE, timestamp);
            }
            Message::UserControl(UserControl::Other(user_control::STREAM_EOF)) => {
                if matches!(self.state, State::Ready { .. }) && self.request.purpose == Purpose::Play {
                    self.end("StreamEOF");
                }
            }
            Message::WindowAcknowledgementSize(size) => self.speech.set_peer_window(size),
            Message::SetPeerBandwidth(_) => self.speech.announce_window(),
            media => self.handle_media(stream, message.timestamp, media),
        }
        Ok(())
    }

    fn handle_command(&mut self, command: &Command, position: u64) -> Result<(), ClientError> {
        let information = command.arguments.first().unwrap_or(&Value::Null);
        match (command.name.as_str(), self.state) {
            ("_result", State::Connecting) if command.transaction == CONNECT => self.connected(),
            ("_result", State::Creating) if command.transaction == CREATE_STREAM => {
                let id = information.as_number().and_then(stream_id);
                let stream = id.ok_or(ClientError::NoStream { position })?;
                self.ask(stream);
            }
            ("_error", State::Connecting) if command.transaction == CONNECT => self.refuse(information),
            ("_error", State::Creating) if command.transaction == CREATE_STREAM => self.refuse(information),
            ("_error", State::Requested { .. }) if command.transaction == REQUEST => self.refuse(information),
            // Some servers close so, before or instead of an answer.
            ("close", _) => self.end("close"),
            ("onStatus", _) => self.handle_status(information),
            // The answers to releaseStream, FCPublish and the like are not waited for: half of all servers give none.
            _ => {}
        }
        Ok(())
    }

    fn handle_status(&mut self, information: &Value) {
        let text = |name| information.property(name).and_then(Value::as_str).unwrap_or_default();
        let (level, code) = (text("level"), text("code"));
        let code_of_play = self.request.purpose == Purpose::Play;
        match (code, self.state) {
            (_, State::Over | State::Failed) => {}
            ("NetStream.Publish.Start", State::Requested { stream }) if !code_of_play => self.ready(stream),
            ("NetStream.Play.Start", State::Requested { stream }) if code_of_play => self.ready(stream),
            ("NetConnection.Connect.ReconnectRequest" | "NetConnection.Connect.Closed", _) => self.end(code),
            _ if level == "error" => self.refuse(information),
            // Not of the level error where some servers send them.
            ("NetStream.Play.StreamNotFound" | "NetStream.Play.Failed" | "NetStream.Publish.BadName", _) => {
                self.refuse(information);
            }
            (
                "NetStream.Play.UnpublishNotify" | "NetStream.Play.Stop" | "NetStream.Play.Complete",
                State::Ready { .. },
            ) if code_of_play => self.end(code),
            ("NetStream.Unpublish.Success", State::Ready { .. }) if !code_of_play => self.end(code),
            _ => {}
        }
    }

    fn connected(&mut self) {
        self.state = State::Creating;
        self.speech.announce_chunk_size();
        if self.request.purpose == Purpose::Publish {
            for (name, transaction) in [("releaseStream", RELEASE_STREAM), ("FCPublish", FC_PUBLISH)] {
                let key = Value::from(self.request.name.as_str());
                self.call(MessageStreamId::CONNECTION, name, transaction, Value::Null, vec![key]);
            }
        }
        self.call(MessageStreamId::CONNECTION, "createStream", CREATE_STREAM, Value::Null, Vec::new());
    }

    fn ask(&mut self, stream: MessageStreamId) {
        self.state = State::Requested { stream };
        let name = Value::from(self.request.name.as_str());
        match self.request.purpose {
            Purpose::Publish => {
                self.call(stream, "publish", REQUEST, Value::Null, vec![name, Value::from("live")]);
            }
            Purpose::Play => {
                let arguments = vec![name, Value::Number(PLAY_LIVE_OR_RECORDED)];
                self.call(stream, "play", REQUEST, Value::Null, arguments);
                let [e0, e1] = user_control::SET_BUFFER_LENGTH.to_be_bytes();
                let [s0, s1, s2, s3] = stream.0.to_be_bytes();
                let [b0, b1, b2, b3] = BUFFER_MS.to_be_bytes();
                let body = [e0, e1, s0, s1, s2, s3, b0, b1, b2, b3];
                self.speech.send_control(message_type::USER_CONTROL, &body);
            }
        }
    }

    fn ready(&mut self, stream: MessageStreamId) {
        self.state = State::Ready { stream };
        self.reader.set_limits(ChunkLimits::ADMITTED);
        self.events.push_back(ClientEvent::Ready { stream });
    }

    fn refuse(&mut self, information: &Value) {
        let text = |name| information.property(name).and_then(Value::as_str).unwrap_or_default();
        let short = |text: &str| text.chars().take(DESCRIPTION_CHARS_MAX).collect();
        let (code, description) = (short(text("code")), short(text("description")));
        self.state = State::Over;
        self.events.push_back(ClientEvent::Refused { code, description });
    }

    fn end(&mut self, code: &str) {
        self.state = State::Over;
        let code = code.chars().take(DESCRIPTION_CHARS_MAX).collect();
        self.events.push_back(ClientEvent::Ended { code });
    }

    /// Reports media of what is played. Media without an answer before it is an answer.
    fn handle_media(&mut self, stream: MessageStreamId, timestamp: u32, message: Message) {
        if self.request.purpose != Purpose::Play {
            return;
        }
        if let State::Requested { stream: asked } = self.state
            && asked == stream
            && matches!(message, Message::Audio(_) | Message::Video(_))
        {
            self.ready(stream);
        }
        if self.state != (State::Ready { stream }) || is_for_players_alone(&message) {
            return;
        }
        if let Some(media) = MediaMessage::from_message(stream, timestamp, message) {
            self.events.push_back(ClientEvent::Media(media));
        }
    }

    fn connect_object(&self) -> Value {
        let (app, tc_url) = (self.request.app.as_str(), self.request.tc_url.as_str());
        let codecs = ["av01", "hvc1", "avc1", "vp09", "Opus", "ac-3", "ec-3", "fLaC", "mp4a", ".mp3"];
        let four_cc_list = Value::StrictArray(codecs.into_iter().map(Value::from).collect());
        match self.request.purpose {
            Purpose::Publish => object([
                ("app", app.into()),
                ("type", "nonprivate".into()),
                ("flashVer", PUBLISHER_VERSION.into()),
                ("tcUrl", tc_url.into()),
                ("fourCcList", four_cc_list),
            ]),
            Purpose::Play => object([
                ("app", app.into()),
                ("flashVer", PLAYER_VERSION.into()),
                ("tcUrl", tc_url.into()),
                ("fpad", Value::Boolean(false)),
                ("capabilities", Value::Number(15.0)),
                ("audioCodecs", Value::Number(AUDIO_CODECS)),
                ("videoCodecs", Value::Number(VIDEO_CODECS)),
                ("videoFunction", Value::Number(1.0)),
                ("fourCcList", four_cc_list),
            ]),
        }
    }

    fn call(
        &mut self,
        stream: MessageStreamId,
        name: &str,
        transaction: f64,
        object: Value,
        arguments: Vec<Value>,
    ) {
        let command = Command { name: name.to_owned(), transaction, object, arguments };
        self.speech.send(ChunkStreamId::COMMAND, stream, message_type::COMMAND_AMF0, &command.encode());
    }
}

/// A stream that can carry media: a whole number above that of the connection itself.
fn stream_id(number: f64) -> Option<MessageStreamId> {
    let fits = (1.0..=f64::from(u32::MAX)).contains(&number) && number.fract() == 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "looked at above")]
    fits.then_some(MessageStreamId(number as u32))
}

/// Data that a server makes for its player, and no publisher sends.
fn is_for_players_alone(message: &Message) -> bool {
    let Message::Data(body) = message else { return false };
    matches!(string_prefix(body), Some((b"|RtmpSampleAccess" | b"onStatus" | b"onPlayStatus", _)))
}
