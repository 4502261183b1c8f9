//! The server's side of one RTMP connection, after the handshake, without IO.
//!
//! Three kinds of method, and one order:
//!
//! - `handle_input` takes bytes from the peer;
//! - the answers (`accept_publish`, `refuse_publish`, `accept_play`, `refuse_play`) and the endings (`end_play`,
//!   `revoke`) say what the application has decided;
//! - `poll_output` gives back what came of it.
//!
//! **After every call of the first two kinds, call `poll_output` until it returns `None`,** and write what it sends
//! before the next input is taken: that keeps what waits here bounded by one input. All bytes that one call caused
//! come out as one [`Output::Send`], ahead of its events. `handle_input` wants pieces of at most
//! [`INPUT_BYTES_MAX`]; larger ones can hit the bound on queued events.
//!
//! A [`ProtocolError`] ends the connection: what is queued may still be sent, further input is refused. Events that
//! end something (`PublishEnded`, `PlayEnded`) tell what the peer did; when the connection itself ends, the driver
//! knows that before the session does.
//!
//! `PublishRequested` and `PlayRequested` each want one answer. If the peer gives up before (it deletes the stream, or
//! asks for something else on it), the matching ending is reported and the late answer is refused with
//! [`AnswerError`]. Media that an encoder sends without waiting for the answer is reported behind its request: it counts if
//! the request is accepted, and belongs to nobody if not. Any other media before a request is dropped.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::MessageStreamId;
use super::chunk::{ChunkError, ChunkLimits, ChunkMessage, ChunkReader};
use super::message::{AggregateError, Message, UserControl, unpack_aggregate, user_control};
use super::speech::{HANDSHAKE_BYTES, Speech};

mod answers;
mod commands;
mod event;

#[cfg(test)]
mod tests;

pub use super::speech::{INPUT_BYTES_MAX, QUEUED_BYTES_MAX, QUEUED_EVENTS_MAX, WINDOW_ACKNOWLEDGEMENT_SIZE};
pub use event::{ConnectRequest, MediaMessage, Output, PublishMode, SessionEvent};

/// The message streams that one connection may have at once. Publishers and players use one, a Flash page two.
pub const STREAMS_MAX: usize = 4;

/// The commands that a peer may send before a publish or play of its is accepted. Encoders send six.
pub const COMMANDS_BEFORE_ADMISSION_MAX: u32 = 64;

/// The messages of any type that a peer may send before a publish or play of its is accepted: commands, pings, and
/// the media of an encoder that does not wait for its answer.
pub const MESSAGES_BEFORE_ADMISSION_MAX: u32 = 1024;

/// The bytes that a peer may send before a publish or play of its is accepted: the commands of an encoder take some kilobytes, and
/// the media of one that does not wait for its answer, or goes on for a moment after it has ended a stream, a few hundred.
pub const BYTES_BEFORE_ADMISSION_MAX: u64 = 1024 * 1024;

/// The longest app, URL or stream name that is taken. Signed URLs have a few hundred bytes.
pub const URL_TEXT_BYTES_MAX: usize = 4096;

/// The connection has to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
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
    /// More than [`COMMANDS_BEFORE_ADMISSION_MAX`].
    #[error(
        "byte {position}: more than {COMMANDS_BEFORE_ADMISSION_MAX} commands and nothing published or played"
    )]
    TooManyCommands {
        /// Offset in the connection behind the command.
        position: u64,
    },
    /// More than [`MESSAGES_BEFORE_ADMISSION_MAX`].
    #[error(
        "byte {position}: more than {MESSAGES_BEFORE_ADMISSION_MAX} messages and nothing published or played"
    )]
    TooManyMessages {
        /// Offset in the connection behind the message.
        position: u64,
    },
    /// More than [`BYTES_BEFORE_ADMISSION_MAX`].
    #[error("byte {position}: more than {BYTES_BEFORE_ADMISSION_MAX} bytes and nothing published or played")]
    TooManyBytes {
        /// Offset in the connection behind what was read.
        position: u64,
    },
    /// More output than [`QUEUED_EVENTS_MAX`] or [`QUEUED_BYTES_MAX`].
    #[error("byte {position}: the input asks for more output than may wait; poll the output, hand in less")]
    OutputOverflow {
        /// Offset in the connection behind the last message.
        position: u64,
    },
    /// The session has failed before.
    #[error("the session has ended with an error; close the connection")]
    Ended,
}

impl ProtocolError {
    /// The limit that was reached, by the name of its constant in lower case; `None` where the format itself is broken.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Chunk(error) => error.kind.limit(),
            Self::Aggregate { .. } => Some("aggregated_messages_max"),
            Self::TooManyCommands { .. } => Some("commands_before_admission_max"),
            Self::TooManyMessages { .. } => Some("messages_before_admission_max"),
            Self::TooManyBytes { .. } => Some("bytes_before_admission_max"),
            Self::OutputOverflow { .. } => Some("queued_output_max"),
            Self::Ended => None,
        }
    }
}

/// An answer to a request that is not (or no longer) open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stream {stream} has no such request open; the peer has given it up, or it was answered before")]
pub struct AnswerError {
    /// The stream that was named.
    pub stream: MessageStreamId,
}

/// The server's side of one connection. The order of calls stands at the top of the module.
#[derive(Debug)]
pub struct ServerSession {
    reader: ChunkReader,
    phase: Phase,
    streams: BTreeMap<MessageStreamId, StreamState>,
    commands_before_admission: u32,
    messages_before_admission: u32,
    bytes_before_admission: u64,
    speech: Speech,
    events: VecDeque<SessionEvent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing but `connect` is answered.
    Fresh,
    Connected,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamState {
    Idle,
    PublishRequested,
    Publishing,
    PlayRequested { reset: bool },
    Playing,
}

impl StreamState {
    fn is_admitted(self) -> bool {
        matches!(self, Self::Publishing | Self::Playing)
    }
}

impl Default for ServerSession {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerSession {
    /// A session for a peer whose handshake is done.
    pub fn new() -> Self {
        Self {
            reader: ChunkReader::new(HANDSHAKE_BYTES, ChunkLimits::STRANGER),
            phase: Phase::Fresh,
            streams: BTreeMap::new(),
            commands_before_admission: 0,
            messages_before_admission: 0,
            bytes_before_admission: 0,
            speech: Speech::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes the next bytes of the connection, in any split.
    pub fn handle_input(&mut self, input: &[u8]) -> Result<(), ProtocolError> {
        if self.phase == Phase::Failed {
            return Err(ProtocolError::Ended);
        }
        let handled = self.handle_messages(input);
        if handled.is_err() {
            self.phase = Phase::Failed;
        }
        handled
    }

    /// What is to be done next; `None` when nothing is left.
    pub fn poll_output(&mut self) -> Option<Output> {
        match self.speech.take() {
            Some(bytes) => Some(Output::Send(bytes)),
            None => self.events.pop_front().map(Output::Event),
        }
    }

    /// Bytes received for messages that are still incomplete.
    pub fn partial_bytes(&self) -> usize {
        self.reader.partial_bytes()
    }

    /// Bytes reserved for messages that are still incomplete: never much more than twice those received.
    pub fn partial_capacity_bytes(&self) -> usize {
        self.reader.partial_capacity_bytes()
    }

    /// Whether a publish or play was accepted and has not ended.
    pub fn is_admitted(&self) -> bool {
        self.streams.values().any(|state| state.is_admitted())
    }

    fn handle_messages(&mut self, mut input: &[u8]) -> Result<(), ProtocolError> {
        if !self.is_admitted() {
            self.bytes_before_admission += input.len() as u64;
            if self.bytes_before_admission > BYTES_BEFORE_ADMISSION_MAX {
                return Err(ProtocolError::TooManyBytes { position: self.reader.position() });
            }
        }
        while let Some(message) = self.reader.next_message(&mut input)? {
            self.handle_message(message)?;
            if self.speech.has_overflowed() || self.events.len() > QUEUED_EVENTS_MAX {
                return Err(ProtocolError::OutputOverflow { position: self.reader.position() });
            }
        }
        self.speech.acknowledge(self.reader.position());
        Ok(())
    }

    fn handle_message(&mut self, message: ChunkMessage) -> Result<(), ProtocolError> {
        let position = self.reader.position();
        let admitted = self.is_admitted();
        if !admitted {
            self.messages_before_admission += 1;
            if self.messages_before_admission > MESSAGES_BEFORE_ADMISSION_MAX {
                return Err(ProtocolError::TooManyMessages { position });
            }
        }
        let stream = message.message_stream_id;
        match Message::parse(message.type_id, message.payload) {
            Message::Command(command) => {
                if !admitted {
                    self.commands_before_admission += 1;
                    if self.commands_before_admission > COMMANDS_BEFORE_ADMISSION_MAX {
                        return Err(ProtocolError::TooManyCommands { position });
                    }
                }
                self.handle_command(stream, &command);
            }
            Message::Aggregate(body) => {
                let parts = unpack_aggregate(message.timestamp, &body)
                    .map_err(|source| ProtocolError::Aggregate { position, source })?;
                for part in parts {
                    // A copy, so that a small part does not keep the whole aggregate alive in a ring.
                    let payload = Bytes::copy_from_slice(&part.payload);
                    self.handle_media(stream, part.timestamp, Message::parse(part.type_id, payload));
                }
            }
            Message::UserControl(UserControl::PingRequest(timestamp)) => {
                self.speech.send_user_control(user_control::PING_RESPONSE, timestamp);
            }
            Message::WindowAcknowledgementSize(size) => self.speech.set_peer_window(size),
            media => self.handle_media(stream, message.timestamp, media),
        }
        Ok(())
    }

    /// Reports media of an accepted publisher; everything else is dropped.
    fn handle_media(&mut self, stream: MessageStreamId, timestamp: u32, message: Message) {
        let state = self.streams.get(&stream);
        if !matches!(state, Some(StreamState::Publishing | StreamState::PublishRequested)) {
            return;
        }
        if let Some(media) = MediaMessage::from_message(stream, timestamp, message) {
            self.events.push_back(SessionEvent::Media(media));
        }
    }
}
