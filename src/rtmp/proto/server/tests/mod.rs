use bytes::Bytes;

use super::*;
use crate::rtmp::proto::amf0::{Value, object};
use crate::rtmp::proto::chunk::ChunkErrorKind;
use crate::rtmp::proto::message::Command;
use crate::rtmp::proto::recording::{self, Chunk, command, connect_object, message, pattern, values};
use crate::rtmp::proto::{MediaKind, UrlText};

mod calls;
mod media;
mod robustness;

/// A peer that speaks to a session, reads what it answers, and decides like an application that admits everybody.
struct Peer {
    session: ServerSession,
    reader: ChunkReader,
    admit: bool,
    heard: Vec<ChunkMessage>,
    events: Vec<SessionEvent>,
    sends: Vec<Bytes>,
}

impl Peer {
    fn new() -> Self {
        Self {
            session: ServerSession::new(),
            reader: ChunkReader::new(0, ChunkLimits::ADMITTED),
            admit: true,
            heard: Vec::new(),
            events: Vec::new(),
            sends: Vec::new(),
        }
    }

    fn connected() -> Self {
        let mut peer = Self::new();
        peer.call(0, "connect", 1.0, &[connect_object()]);
        peer.call(0, "createStream", 2.0, &[Value::Null]);
        peer.forget();
        peer
    }

    fn publishing() -> Self {
        let mut peer = Self::connected();
        peer.call(1, "publish", 3.0, &[Value::Null, "s".into(), "live".into()]);
        peer.forget();
        peer
    }

    fn playing() -> Self {
        let mut peer = Self::connected();
        peer.call(1, "play", 3.0, &[Value::Null, "s".into()]);
        peer.forget();
        peer
    }

    fn forget(&mut self) {
        self.heard.clear();
        self.events.clear();
        self.sends.clear();
    }

    fn input(&mut self, input: &[u8]) -> Result<(), ProtocolError> {
        let handled = self.session.handle_input(input);
        self.drain();
        handled
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(bytes) => {
                    let mut rest = &bytes[..];
                    while let Some(message) = self.reader.next_message(&mut rest).unwrap() {
                        self.heard.push(message);
                    }
                    assert_eq!(self.reader.partial_bytes(), 0, "an answer is whole");
                    self.sends.push(bytes);
                }
                Output::Event(event) => {
                    match &event {
                        SessionEvent::PublishRequested { stream, .. } if self.admit => {
                            self.session.accept_publish(*stream).unwrap();
                        }
                        SessionEvent::PlayRequested { stream, .. } if self.admit => {
                            self.session.accept_play(*stream).unwrap();
                        }
                        _ => {}
                    }
                    self.events.push(event);
                }
            }
        }
    }

    fn say(&mut self, type_id: u8, stream: u32, body: &[u8]) {
        let mut input = Vec::new();
        message(&mut input, 128, 3, type_id, stream, body);
        self.input(&input).unwrap();
    }

    fn call(&mut self, stream: u32, name: &str, transaction: f64, arguments: &[Value]) {
        self.say(20, stream, &command(name, transaction, arguments));
    }

    /// Says something and returns the commands that came back, with their message streams.
    fn ask(&mut self, stream: u32, name: &str, transaction: f64, arguments: &[Value]) -> Vec<(u32, Command)> {
        self.forget();
        self.call(stream, name, transaction, arguments);
        self.commands()
    }

    fn commands(&self) -> Vec<(u32, Command)> {
        let commands = self.heard.iter().filter(|message| message.type_id == 20);
        commands.map(|m| (m.message_stream_id.0, Command::parse(&m.payload).unwrap())).collect()
    }

    fn statuses(&self) -> Vec<(u32, String, String, String)> {
        let text = |command: &Command, name| {
            command.arguments[0].property(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let all = self.commands();
        let statuses = all.iter().filter(|(_, command)| command.name == "onStatus");
        statuses.map(|(id, c)| (*id, text(c, "level"), text(c, "code"), text(c, "description"))).collect()
    }

    fn media(&self) -> Vec<MediaMessage> {
        let media = |event: &SessionEvent| match event {
            SessionEvent::Media(media) => Some(media.clone()),
            _ => None,
        };
        self.events.iter().filter_map(media).collect()
    }

    fn types_heard(&self) -> Vec<u8> {
        self.heard.iter().map(|message| message.type_id).collect()
    }
}

fn result(transaction: f64, value: Value) -> (u32, Command) {
    (0, Command { name: "_result".to_owned(), transaction, object: Value::Null, arguments: vec![value] })
}

const STREAM: MessageStreamId = MessageStreamId::FIRST;
