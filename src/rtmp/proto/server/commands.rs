//! What a peer may call. Unknown calls get an `_error` if they wait for an answer, never a disconnect.

use super::answers::{Level, status};
use super::event::{ConnectRequest, PublishMode, SessionEvent};
use super::{Phase, STREAMS_MAX, ServerSession, StreamState, URL_TEXT_BYTES_MAX};
use crate::rtmp::proto::amf0::Value;
use crate::rtmp::proto::message::Command;
use crate::rtmp::proto::{MessageStreamId, UrlText};

/// What a peer is told when it asks for something out of order or unreadable: the reason word of the refusal table.
const INVALID_REQUEST: &str = "invalid_request";

impl ServerSession {
    pub(super) fn handle_command(&mut self, stream: MessageStreamId, command: &Command) {
        match command.name.as_str() {
            "connect" => self.connect(command),
            "publish" => self.publish(stream, command),
            "play" => self.play(stream, command),
            // Answers to what we never asked; answering them would never end.
            "_result" | "_error" | "onStatus" => {}
            _ if self.phase == Phase::Fresh => self.answer_error(command, "connect first"),
            "createStream" => self.create_stream(command),
            "deleteStream" => self.delete_stream(command),
            "closeStream" => self.close_stream(stream),
            "releaseStream" | "_checkbw" => self.answer(command, Value::Undefined),
            "getStreamLength" => self.answer(command, Value::Number(0.0)),
            "FCPublish" => {
                self.answer(command, Value::Undefined);
                self.announce("onFCPublish", command, "NetStream.Publish.Start");
            }
            "FCUnpublish" => {
                self.answer(command, Value::Undefined);
                self.announce("onFCUnpublish", command, "NetStream.Unpublish.Success");
            }
            "FCSubscribe" => self.announce("onFCSubscribe", command, "NetStream.Play.Start"),
            "FCUnsubscribe" => self.announce("onFCUnsubscribe", command, "NetStream.Play.Stop"),
            "pause" => self.pause(stream, command),
            "receiveAudio" => {
                let enabled = switch(command);
                self.tell_player(stream, SessionEvent::ReceiveAudio { stream, enabled });
            }
            "receiveVideo" => {
                let enabled = switch(command);
                self.tell_player(stream, SessionEvent::ReceiveVideo { stream, enabled });
            }
            _ => self.answer_error(command, "no such method"),
        }
    }

    fn connect(&mut self, command: &Command) {
        let request = ConnectRequest::parse(command);
        if self.phase != Phase::Fresh {
            self.reject_connect(command, "invalid_request: connected already");
        } else if request.longest_text_bytes() > URL_TEXT_BYTES_MAX {
            self.reject_connect(command, "invalid_request: app or URL too long");
        } else {
            self.accept_connect(command, &request);
            self.phase = Phase::Connected;
            self.events.push_back(SessionEvent::Connected(Box::new(request)));
        }
    }

    /// Hands out the lowest free id, so that the first stream of every connection is the one that images are made for.
    fn create_stream(&mut self, command: &Command) {
        let ids = (MessageStreamId::FIRST.0..).map(MessageStreamId).take(STREAMS_MAX);
        match ids.into_iter().find(|id| !self.streams.contains_key(id)) {
            Some(id) => {
                self.streams.insert(id, StreamState::Idle);
                self.answer(command, Value::Number(f64::from(id.0)));
            }
            None => self.answer_error(command, "too many streams; delete one first"),
        }
    }

    fn delete_stream(&mut self, command: &Command) {
        let number = command.arguments.first().and_then(Value::as_number);
        let id = self.streams.keys().copied().find(|id| Some(f64::from(id.0)) == number);
        if let Some(id) = id {
            self.close_stream(id);
            self.streams.remove(&id);
        }
        self.answer(command, Value::Undefined);
    }

    /// Ends what the peer does on a stream; the stream itself stays.
    fn close_stream(&mut self, stream: MessageStreamId) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        match std::mem::replace(state, StreamState::Idle) {
            StreamState::Idle => {}
            StreamState::PublishRequested => self.events.push_back(SessionEvent::PublishEnded { stream }),
            StreamState::Publishing => {
                self.send_status(stream, status(Level::Status, "NetStream.Unpublish.Success", "unpublished"));
                self.events.push_back(SessionEvent::PublishEnded { stream });
            }
            StreamState::PlayRequested { .. } | StreamState::Playing => {
                self.events.push_back(SessionEvent::PlayEnded { stream });
            }
        }
    }

    fn publish(&mut self, stream: MessageStreamId, command: &Command) {
        let Some(name) = self.request_name(stream, command) else {
            return self.send_refused_publish(stream, INVALID_REQUEST);
        };
        let mode = PublishMode::parse(command.arguments.get(1).and_then(Value::as_str));
        self.close_stream(stream);
        self.streams.insert(stream, StreamState::PublishRequested);
        self.events.push_back(SessionEvent::PublishRequested { stream, name, mode });
    }

    fn play(&mut self, stream: MessageStreamId, command: &Command) {
        if let Some(Value::Boolean(false)) = command.arguments.first() {
            return self.close_stream(stream);
        }
        let Some(name) = self.request_name(stream, command) else {
            return self.send_refused_play(stream, INVALID_REQUEST);
        };
        let start = command.arguments.get(1).and_then(Value::as_number).unwrap_or(-2.0);
        let reset = match command.arguments.get(3) {
            Some(Value::Boolean(reset)) => *reset,
            Some(Value::Number(number)) => *number != 0.0,
            _ => false,
        };
        self.close_stream(stream);
        self.streams.insert(stream, StreamState::PlayRequested { reset });
        self.events.push_back(SessionEvent::PlayRequested { stream, name, start });
    }

    /// The stream name of a publish or play; `None` if the stream does not exist or the name is no usable text.
    fn request_name(&self, stream: MessageStreamId, command: &Command) -> Option<UrlText> {
        let name = command.arguments.first().and_then(Value::as_str)?;
        (self.streams.contains_key(&stream) && name.len() <= URL_TEXT_BYTES_MAX).then(|| UrlText::from(name))
    }

    fn pause(&mut self, stream: MessageStreamId, command: &Command) {
        if self.streams.get(&stream) == Some(&StreamState::Playing) {
            let paused = switch(command);
            let (code, text) = if paused {
                ("NetStream.Pause.Notify", "paused")
            } else {
                ("NetStream.Unpause.Notify", "playing")
            };
            self.send_status(stream, status(Level::Status, code, text));
            self.events.push_back(SessionEvent::PlayPaused { stream, paused });
        }
    }

    fn tell_player(&mut self, stream: MessageStreamId, event: SessionEvent) {
        if self.streams.get(&stream) == Some(&StreamState::Playing) {
            self.events.push_back(event);
        }
    }
}

/// The boolean argument of a call; a missing one means yes.
fn switch(command: &Command) -> bool {
    command.arguments.first().and_then(Value::as_bool).unwrap_or(true)
}
