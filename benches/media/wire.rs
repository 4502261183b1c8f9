//! What an RTMP client sends: the handshake and the commands, as bytes.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use super::chunks::{AUDIO, COMMAND, SET_CHUNK_SIZE, USER_CONTROL, VIDEO};

/// The chunk size that our clients announce: what OBS sends.
pub const CHUNK_BYTES: usize = 4096;
/// Bytes of S0, S1 and S2.
pub const HANDSHAKE_ANSWER_BYTES: usize = 1 + 2 * HANDSHAKE_BYTES;
const HANDSHAKE_BYTES: usize = 1536;

/// Transactions of the commands that are answered.
pub const CONNECT: f64 = 1.0;
pub const CREATE_STREAM: f64 = 2.0;

/// `rtmp://host:port/app/name?query`
#[derive(Debug, Clone)]
pub struct Url {
    pub address: SocketAddr,
    authority: String,
    app: String,
    pub name: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not rtmp://host:port/app/stream");
        let (authority, path) =
            text.strip_prefix("rtmp://").and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
        let (app, name) = path.split_once('/').ok_or_else(wrong)?;
        let with_port =
            if authority.contains(':') { authority.to_owned() } else { format!("{authority}:1935") };
        let address = with_port.to_socket_addrs().map_err(|error| format!("{authority}: {error}"))?.next();
        Ok(Self {
            address: address.ok_or_else(wrong)?,
            authority: authority.to_owned(),
            app: app.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rtmp://{}/{}/{}", self.authority, self.app, self.name)
    }
}

/// C0 and C1 of the simple handshake.
pub fn hello() -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.resize(1 + 8, 0);
    bytes.resize(1 + HANDSHAKE_BYTES, 0x5A);
    bytes
}

/// C2 for these S0, S1 and S2.
pub fn echo(answer: &[u8]) -> &[u8] {
    &answer[1..=HANDSHAKE_BYTES]
}

/// A message in chunks of [`CHUNK_BYTES`].
pub fn message(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let id = match kind {
        AUDIO => 4,
        VIDEO => 6,
        COMMAND => 3,
        _ => 2,
    };
    let stream = if matches!(kind, AUDIO | VIDEO) { 1 } else { stream };
    let mut bytes = vec![id, 0, 0, 0];
    bytes.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.push(kind);
    bytes.extend(stream.to_le_bytes());
    for (number, chunk) in payload.chunks(CHUNK_BYTES).enumerate() {
        if number > 0 {
            bytes.push(0xC0 | id);
        }
        bytes.extend(chunk);
    }
    bytes
}

enum Value<'a> {
    Number(f64),
    Text(&'a str),
    Null,
    Object(&'a [(&'a str, Self)]),
}

fn write(out: &mut Vec<u8>, value: &Value<'_>) {
    let name = |out: &mut Vec<u8>, text: &str| {
        out.extend((text.len() as u16).to_be_bytes());
        out.extend(text.as_bytes());
    };
    match value {
        Value::Number(number) => {
            out.push(0);
            out.extend(number.to_be_bytes());
        }
        Value::Text(text) => {
            out.push(2);
            name(out, text);
        }
        Value::Null => out.push(5),
        Value::Object(fields) => {
            out.push(3);
            for (key, value) in *fields {
                name(out, key);
                write(out, value);
            }
            out.extend([0, 0, 9]);
        }
    }
}

fn command(stream: u32, values: &[Value<'_>]) -> Vec<u8> {
    let mut payload = Vec::new();
    values.iter().for_each(|value| write(&mut payload, value));
    message(COMMAND, stream, &payload)
}

/// SetChunkSize and connect, to be sent with C2.
pub fn connect(url: &Url) -> Vec<u8> {
    let address = format!("rtmp://{}/{}", url.authority, url.app);
    let fields = [
        ("app", Value::Text(&url.app)),
        ("flashVer", Value::Text("LNX 9,0,124,2")),
        ("tcUrl", Value::Text(&address)),
        ("capabilities", Value::Number(15.0)),
        ("audioCodecs", Value::Number(4071.0)),
        ("videoCodecs", Value::Number(252.0)),
    ];
    let size = message(SET_CHUNK_SIZE, 0, &(CHUNK_BYTES as u32).to_be_bytes());
    [size, command(0, &[Value::Text("connect"), Value::Number(CONNECT), Value::Object(&fields)])].concat()
}

pub fn create_stream() -> Vec<u8> {
    command(0, &[Value::Text("createStream"), Value::Number(CREATE_STREAM), Value::Null])
}

pub fn publish(stream: u32, name: &str) -> Vec<u8> {
    let name = Value::Text(name);
    command(stream, &[Value::Text("publish"), Value::Number(3.0), Value::Null, name, Value::Text("live")])
}

pub fn play(stream: u32, name: &str) -> Vec<u8> {
    let (name, live_or_recorded) = (Value::Text(name), Value::Number(-2000.0));
    command(stream, &[Value::Text("play"), Value::Number(4.0), Value::Null, name, live_or_recorded])
}

/// What a server's user control message wants to hear, if anything.
pub fn pong(control: &[u8]) -> Option<Vec<u8>> {
    let time = control.strip_prefix(&[0, 6])?;
    Some(message(USER_CONTROL, 0, &[&[0, 7], time].concat()))
}

/// What a server says, as far as a client of the bench must know.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// The result of the command with this transaction, and the number that it ends with.
    Result {
        transaction: f64,
        number: Option<f64>,
    },
    /// Publishing may begin.
    PublishStart,
    /// An error, with the words in it.
    Refused(String),
    Other,
}

pub fn understand(payload: &[u8]) -> Answer {
    let number = |bytes: &[u8]| Some(f64::from_be_bytes(bytes.get(..8)?.try_into().ok()?));
    let holds = |part: &[u8]| payload.windows(part.len()).any(|window| window == part);
    if let Some(rest) = payload.strip_prefix(b"\x02\x00\x07_result\x00") {
        let tail = payload.len().checked_sub(9).and_then(|at| payload[at..].strip_prefix(b"\x00"));
        return Answer::Result {
            transaction: number(rest).unwrap_or_default(),
            number: tail.and_then(number),
        };
    }
    if holds(b"NetStream.Publish.Start") {
        return Answer::PublishStart;
    }
    if payload.starts_with(b"\x02\x00\x06_error") || holds(b"level\x02\x00\x05error") {
        let words = payload.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { ' ' });
        return Answer::Refused(words.collect());
    }
    Answer::Other
}
