//! RTMP by hand: a handshake and messages of any shape, legal or not.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const HANDSHAKE_BYTES: usize = 1536;
/// The chunk size before anybody announced another.
pub const DEFAULT_CHUNK_BYTES: usize = 128;

pub mod message_type {
    pub const SET_CHUNK_SIZE: u8 = 1;
    pub const ABORT: u8 = 2;
    pub const USER_CONTROL: u8 = 4;
    pub const WINDOW_ACKNOWLEDGEMENT: u8 = 5;
    pub const AUDIO: u8 = 8;
    pub const VIDEO: u8 = 9;
    pub const DATA_AMF3: u8 = 15;
    pub const COMMAND_AMF3: u8 = 17;
    pub const DATA: u8 = 18;
    pub const COMMAND: u8 = 20;
    pub const AGGREGATE: u8 = 22;
}

/// The simple handshake. The answer to it is read and echoed as a client does.
pub async fn handshake(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut hello = vec![0_u8; 1 + HANDSHAKE_BYTES];
    hello[0] = 3;
    stream.write_all(&hello).await?;
    let mut answer = vec![0_u8; 1 + 2 * HANDSHAKE_BYTES];
    stream.read_exact(&mut answer).await?;
    stream.write_all(&answer[1..=HANDSHAKE_BYTES]).await
}

/// The basic and message header of a type 0 chunk, saying whatever it is told to say.
pub fn header(csid: u8, timestamp: u32, length: usize, kind: u8, message_stream: u32) -> Vec<u8> {
    assert!((2..64).contains(&csid), "one-byte chunk stream ids only");
    let (time, length) =
        (timestamp.min(0x00FF_FFFF).to_be_bytes(), u32::try_from(length).unwrap().to_be_bytes());
    let mut bytes = vec![csid, time[1], time[2], time[3], length[1], length[2], length[3], kind];
    bytes.extend(message_stream.to_le_bytes());
    if timestamp >= 0x00FF_FFFF {
        bytes.extend(timestamp.to_be_bytes());
    }
    bytes
}

/// A whole message in chunks of the default size.
pub fn message(csid: u8, timestamp: u32, kind: u8, message_stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(csid, timestamp, payload.len(), kind, message_stream);
    for (index, part) in payload.chunks(DEFAULT_CHUNK_BYTES).enumerate() {
        if index > 0 {
            bytes.push(0xC0 | csid);
        }
        bytes.extend(part);
    }
    bytes
}

pub fn command(message_stream: u32, values: &[Vec<u8>]) -> Vec<u8> {
    message(3, 0, message_type::COMMAND, message_stream, &values.concat())
}

pub fn connect(app: &str, tc_url: &str) -> Vec<u8> {
    command(0, &[amf::string("connect"), amf::number(1.0), amf::object(&[("app", app), ("tcUrl", tc_url)])])
}

pub fn create_stream(transaction: f64) -> Vec<u8> {
    command(0, &[amf::string("createStream"), amf::number(transaction), amf::null()])
}

pub fn play(message_stream: u32, name: &str) -> Vec<u8> {
    command(message_stream, &[amf::string("play"), amf::number(0.0), amf::null(), amf::string(name)])
}

pub fn publish(message_stream: u32, name: &str) -> Vec<u8> {
    let arguments =
        [amf::string("publish"), amf::number(0.0), amf::null(), amf::string(name), amf::string("live")];
    command(message_stream, &arguments)
}

pub mod amf {
    pub fn number(value: f64) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(value.to_be_bytes());
        bytes
    }

    pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
        let text = text.as_ref();
        let mut bytes = vec![2];
        bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text);
        bytes
    }

    pub fn null() -> Vec<u8> {
        vec![5]
    }

    pub fn object(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = vec![3];
        for (name, value) in fields {
            bytes.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend(string(value));
        }
        bytes.extend([0, 0, 9]);
        bytes
    }

    /// Arrays within arrays, and nothing that closes them.
    pub fn nested_arrays(depth: usize) -> Vec<u8> {
        [10, 0, 0, 0, 1].repeat(depth)
    }

    /// Objects within objects, and nothing that closes them.
    pub fn nested_objects(depth: usize) -> Vec<u8> {
        [3, 0, 1, b'x'].repeat(depth)
    }
}
