//! What the server says, and the application's decisions that make it say so.

use bytes::BytesMut;

use super::event::ConnectRequest;
use super::{AnswerError, ServerSession, StreamState, WINDOW_ACKNOWLEDGEMENT_SIZE};
use crate::rtmp::proto::MessageStreamId;
use crate::rtmp::proto::amf0::{self, Value, object};
use crate::rtmp::proto::chunk::{ChunkLimits, ChunkStreamId, message_type};
use crate::rtmp::proto::message::{Command, user_control};

/// What Flash players and encoders have come to expect as the name of a server.
const SERVER_VERSION: &str = "FMS/3,0,1,123";

/// The abilities that go with [`SERVER_VERSION`].
const SERVER_CAPABILITIES: f64 = 31.0;

/// What we take by FourCC (Enhanced RTMP v2, "Enhancing NetConnection connect Command"): everything, and for peers that look
/// for their own codec the usual ones by name.
const FOUR_CCS: [&str; 10] = ["*", "avc1", "hvc1", "av01", "vp09", "vp08", "vvc1", "mp4a", ".mp3", "Opus"];

/// `CanForward` among the bits of a codec: we neither decode nor encode.
const CAN_FORWARD: f64 = 4.0;

/// `ModEx` and `TimestampNanoOffset` among the bits of `capsEx`: prefixes are stepped over and passed on. We ask nobody to
/// reconnect, and do not choose among several tracks.
const CAPS_EX: f64 = 12.0;

/// SetPeerBandwidth's limit type "dynamic" (section 5.4.5): the one that changes nothing for a peer that has no limit.
const BANDWIDTH_LIMIT_DYNAMIC: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Status,
    Warning,
    Error,
}

/// The information object of an `onStatus`.
pub(super) fn status(level: Level, code: &str, description: &str) -> Value {
    let level = match level {
        Level::Status => "status",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    object([("level", level.into()), ("code", code.into()), ("description", description.into())])
}

impl ServerSession {
    /// Lets a publisher in: its media is reported from here on.
    pub fn accept_publish(&mut self, stream: MessageStreamId) -> Result<(), AnswerError> {
        self.answer_request(stream, StreamState::Publishing, |state| state == StreamState::PublishRequested)?;
        self.speech.send_user_control(user_control::STREAM_BEGIN, stream.0);
        self.send_status(stream, status(Level::Status, "NetStream.Publish.Start", "publishing"));
        Ok(())
    }

    /// Turns a publisher away with `NetStream.Publish.BadName`. `description` begins with the refusal's reason word.
    pub fn refuse_publish(&mut self, stream: MessageStreamId, description: &str) -> Result<(), AnswerError> {
        self.answer_request(stream, StreamState::Idle, |state| state == StreamState::PublishRequested)?;
        self.send_refused_publish(stream, description);
        Ok(())
    }

    /// Tells a publisher that something of what it sends goes nowhere for now; it stays connected. `description` begins with the
    /// reason word. Publishers look for codes that they know and for the level `error`, so that this disturbs none.
    pub fn warn_publisher(&mut self, stream: MessageStreamId, description: &str) -> Result<(), AnswerError> {
        self.answer_request(stream, StreamState::Publishing, |state| state == StreamState::Publishing)?;
        self.send_status(stream, status(Level::Warning, "NetStream.Publish.Warning", description));
        Ok(())
    }

    /// Lets a player in. Media may follow the bytes of this answer at once.
    pub fn accept_play(&mut self, stream: MessageStreamId) -> Result<(), AnswerError> {
        let reset = self.streams.get(&stream) == Some(&StreamState::PlayRequested { reset: true });
        self.answer_request(stream, StreamState::Playing, |state| {
            matches!(state, StreamState::PlayRequested { .. })
        })?;
        self.speech.send_user_control(user_control::STREAM_BEGIN, stream.0);
        if reset {
            self.send_status(stream, status(Level::Status, "NetStream.Play.Reset", "resetting"));
        }
        self.send_status(stream, status(Level::Status, "NetStream.Play.Start", "playing"));
        let access = [Value::from("|RtmpSampleAccess"), Value::Boolean(true), Value::Boolean(true)];
        self.send_values(stream, &access);
        self.send_values(stream, &["onStatus".into(), object([("code", "NetStream.Data.Start".into())])]);
        Ok(())
    }

    /// Turns a player away with `NetStream.Play.Failed`. `description` begins with the refusal's reason word.
    pub fn refuse_play(&mut self, stream: MessageStreamId, description: &str) -> Result<(), AnswerError> {
        self.answer_request(stream, StreamState::Idle, |state| {
            matches!(state, StreamState::PlayRequested { .. })
        })?;
        self.send_refused_play(stream, description);
        Ok(())
    }

    /// Tells a player that its publisher is gone for good. The stream can be used for another request.
    pub fn end_play(&mut self, stream: MessageStreamId) -> Result<(), AnswerError> {
        self.answer_request(stream, StreamState::Idle, |state| state == StreamState::Playing)?;
        self.speech.send_user_control(user_control::STREAM_EOF, stream.0);
        let complete = status(Level::Status, "NetStream.Play.Complete", "stream ended");
        self.send_values(stream, &["onPlayStatus".into(), complete]);
        self.send_status(stream, status(Level::Status, "NetStream.Play.UnpublishNotify", "stream ended"));
        Ok(())
    }

    /// Tells a publisher or player that its right has ended: the status of a refusal, sent once before the
    /// connection is closed. `description` begins with the refusal's reason word.
    pub fn revoke(&mut self, stream: MessageStreamId, description: &str) -> Result<(), AnswerError> {
        let state = self.streams.get(&stream).copied().unwrap_or(StreamState::Idle);
        self.answer_request(stream, StreamState::Idle, |state| state != StreamState::Idle)?;
        match state {
            StreamState::PublishRequested | StreamState::Publishing => {
                self.send_refused_publish(stream, description);
            }
            _ => self.send_refused_play(stream, description),
        }
        Ok(())
    }

    /// Moves a stream on if it is in the state that the answer is for.
    fn answer_request(
        &mut self,
        stream: MessageStreamId,
        next: StreamState,
        fits: impl FnOnce(StreamState) -> bool,
    ) -> Result<(), AnswerError> {
        let state =
            self.streams.get_mut(&stream).filter(|state| fits(**state)).ok_or(AnswerError { stream })?;
        *state = next;
        if next.is_admitted() {
            self.commands_before_admission = 0;
            self.messages_before_admission = 0;
            self.bytes_before_admission = 0;
        }
        if next == StreamState::Publishing {
            self.reader.set_limits(ChunkLimits::ADMITTED);
        }
        Ok(())
    }

    /// Control messages first: the peer must know our chunk size before it reads an answer of more than 128 bytes.
    pub(super) fn accept_connect(&mut self, command: &Command, request: &ConnectRequest) {
        self.speech.announce_window();
        let [w0, w1, w2, w3] = WINDOW_ACKNOWLEDGEMENT_SIZE.to_be_bytes();
        self.speech
            .send_control(message_type::SET_PEER_BANDWIDTH, &[w0, w1, w2, w3, BANDWIDTH_LIMIT_DYNAMIC]);
        self.speech.announce_chunk_size();
        let (server, information) = connect_result(request);
        self.send_command("_result", command.transaction, server, information);
    }

    pub(super) fn reject_connect(&mut self, command: &Command, description: &str) {
        let information = status(Level::Error, "NetConnection.Connect.Rejected", description);
        self.send_command("_error", command.transaction, Value::Null, information);
    }

    /// Answers a call that waits for it.
    pub(super) fn answer(&mut self, command: &Command, value: Value) {
        if command.wants_answer() {
            self.send_command("_result", command.transaction, Value::Null, value);
        }
    }

    /// Tells a caller that waits for an answer that it will get none.
    pub(super) fn answer_error(&mut self, command: &Command, description: &str) {
        if command.wants_answer() {
            let information = status(Level::Error, "NetConnection.Call.Failed", description);
            self.send_command("_error", command.transaction, Value::Null, information);
        }
    }

    /// The `onFC…` calls of Flash Media Server: encoders of that family wait for them, by name or by transaction.
    pub(super) fn announce(&mut self, name: &str, command: &Command, code: &str) {
        let stream_name = command.arguments.first().and_then(Value::as_str).unwrap_or_default();
        let information = status(Level::Status, code, stream_name);
        self.send_command(name, command.transaction, Value::Null, information);
    }

    pub(super) fn send_refused_publish(&mut self, stream: MessageStreamId, description: &str) {
        self.send_status(stream, status(Level::Error, "NetStream.Publish.BadName", description));
    }

    pub(super) fn send_refused_play(&mut self, stream: MessageStreamId, description: &str) {
        self.send_status(stream, status(Level::Error, "NetStream.Play.Failed", description));
    }

    pub(super) fn send_status(&mut self, stream: MessageStreamId, information: Value) {
        self.send_call(stream, "onStatus", 0.0, Value::Null, information);
    }

    fn send_command(&mut self, name: &str, transaction: f64, object: Value, argument: Value) {
        self.send_call(MessageStreamId::CONNECTION, name, transaction, object, argument);
    }

    fn send_call(
        &mut self,
        stream: MessageStreamId,
        name: &str,
        transaction: f64,
        object: Value,
        argument: Value,
    ) {
        let command = Command { name: name.to_owned(), transaction, object, arguments: vec![argument] };
        self.speech.send(ChunkStreamId::COMMAND, stream, message_type::COMMAND_AMF0, &command.encode());
    }

    fn send_values(&mut self, stream: MessageStreamId, values: &[Value]) {
        let mut body = BytesMut::with_capacity(64);
        for value in values {
            amf0::encode(&mut body, value);
        }
        self.speech.send(ChunkStreamId::DATA, stream, message_type::DATA_AMF0, &body);
    }
}

/// The two objects of the answer to `connect`: what the server is, and how it went.
///
/// A peer that knows of Enhanced RTMP reads what we can do from the first one: whatever the codec, we pass it on.
fn connect_result(request: &ConnectRequest) -> (Value, Value) {
    let mut server = vec![
        ("fmsVer".to_owned(), SERVER_VERSION.into()),
        ("capabilities".to_owned(), SERVER_CAPABILITIES.into()),
        ("mode".to_owned(), Value::Number(1.0)),
    ];
    if request.is_enhanced() {
        let forwards = object([("*", CAN_FORWARD.into())]);
        let named = FOUR_CCS.iter().map(|four_cc| Value::from(*four_cc)).collect();
        server.push(("fourCcList".to_owned(), Value::StrictArray(named)));
        server.push(("videoFourCcInfoMap".to_owned(), forwards.clone()));
        server.push(("audioFourCcInfoMap".to_owned(), forwards));
        server.push(("capsEx".to_owned(), CAPS_EX.into()));
    }
    let information = object([
        ("level", "status".into()),
        ("code", "NetConnection.Connect.Success".into()),
        ("description", "connected".into()),
        ("objectEncoding", Value::Number(0.0)),
    ]);
    (Value::Object(server), information)
}
