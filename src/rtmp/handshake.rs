//! Both sides of the RTMP handshake: bytes in, bytes out.
//!
//! This is the only place that names `rml_rtmp`, whose handshake speaks both the simple form of RTMP 1.0 and the
//! digest form that Flash 9 introduced. It draws its own random bytes. The wrapper sees to it that it never gets
//! more than a handshake has, so that nothing a peer sends can make it hold more than 3 073 bytes.

use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};

/// C0 or S0.
const VERSION_BYTES: usize = 1;

/// C1, C2, S1 or S2.
const PACKET_BYTES: usize = 1536;

/// What a client sends in all: C0, C1 and C2. A server sends as much: S0, S1 and S2.
pub const CLIENT_HANDSHAKE_BYTES: usize = VERSION_BYTES + 2 * PACKET_BYTES;

/// The only version of RTMP without encryption.
const VERSION: u8 = 3;

/// The peer does not shake hands as RTMP does; the connection has to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The first byte is no version that we speak. 0x16 is a TLS hello, a letter an HTTP request, 6 and 8 are
    /// encrypted RTMP.
    #[error("byte 0: version {version:#04x}; plain RTMP starts with 0x03 (0x16 is TLS, a letter is HTTP)")]
    Version {
        /// The first byte.
        version: u8,
    },
    /// The handshake code gave up.
    #[error("byte {position}: handshake failed: {reason}")]
    Failed {
        /// Bytes taken before.
        position: usize,
        /// Its own words.
        reason: String,
    },
    /// The handshake is over; the bytes belong to the session.
    #[error("the handshake is over; hand the bytes to the session")]
    Over,
}

/// What one piece of input led to.
#[derive(Debug, PartialEq, Eq)]
pub enum HandshakeProgress<'a> {
    /// Write `output` (it may be empty) and read on.
    InProgress {
        /// Bytes for the peer.
        output: Vec<u8>,
    },
    /// Write `output` and hand `remainder` to the session.
    Done {
        /// Bytes for the peer.
        output: Vec<u8>,
        /// The end of the input, behind the handshake.
        remainder: &'a [u8],
    },
}

/// The server's side of one handshake. Its deadline is the driver's business.
#[derive(Debug)]
pub struct ServerHandshake(Side);

impl Default for ServerHandshake {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerHandshake {
    /// A handshake that waits for C0.
    pub fn new() -> Self {
        Self(Side::new(Handshake::new(PeerType::Server)))
    }

    /// Takes the next bytes of the connection, in any split, and at most what the handshake still lacks of them.
    pub fn handle_input<'a>(&mut self, input: &'a [u8]) -> Result<HandshakeProgress<'a>, HandshakeError> {
        self.0.handle_input(input)
    }
}

/// The client's side of one handshake. It begins with [`ClientHandshake::hello`].
#[derive(Debug)]
pub struct ClientHandshake(Side);

impl ClientHandshake {
    /// A handshake, and C0 and C1 to be written first. C1 is of the digest form, which servers of the simple form echo.
    pub fn hello() -> Result<(Self, Vec<u8>), HandshakeError> {
        let mut handshake = Handshake::new(PeerType::Client);
        let hello = handshake
            .generate_outbound_p0_and_p1()
            .map_err(|error| HandshakeError::Failed { position: 0, reason: error.to_string() })?;
        Ok((Self(Side::new(handshake)), hello))
    }

    /// Takes the next bytes of the connection, in any split, and at most what the handshake still lacks of them.
    pub fn handle_input<'a>(&mut self, input: &'a [u8]) -> Result<HandshakeProgress<'a>, HandshakeError> {
        self.0.handle_input(input)
    }
}

/// What both sides do with the same number of bytes from the other.
struct Side {
    handshake: Handshake,
    received: usize,
    failed: bool,
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Side").field("received", &self.received).finish_non_exhaustive()
    }
}

impl Side {
    fn new(handshake: Handshake) -> Self {
        Self { handshake, received: 0, failed: false }
    }

    fn handle_input<'a>(&mut self, input: &'a [u8]) -> Result<HandshakeProgress<'a>, HandshakeError> {
        if self.failed || self.received >= CLIENT_HANDSHAKE_BYTES {
            return Err(HandshakeError::Over);
        }
        match input.first() {
            None => return Ok(HandshakeProgress::InProgress { output: Vec::new() }),
            Some(&version) if self.received == 0 && version != VERSION => {
                self.failed = true;
                return Err(HandshakeError::Version { version });
            }
            Some(_) => {}
        }
        let missing = CLIENT_HANDSHAKE_BYTES - self.received;
        let (own, remainder) = input.split_at_checked(missing).unwrap_or((input, &[]));
        match self.handshake.process_bytes(own) {
            Ok(HandshakeProcessResult::InProgress { response_bytes }) => {
                self.received += own.len();
                Ok(HandshakeProgress::InProgress { output: response_bytes })
            }
            Ok(HandshakeProcessResult::Completed { response_bytes, .. }) => {
                self.received = CLIENT_HANDSHAKE_BYTES;
                Ok(HandshakeProgress::Done { output: response_bytes, remainder })
            }
            Err(error) => {
                self.failed = true;
                Err(HandshakeError::Failed { position: self.received, reason: error.to_string() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a server against C0 C1 C2 in pieces; returns S0 S1 S2 and the remainder.
    fn run(input: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>) {
        let mut server = ServerHandshake::new();
        let mut sent = Vec::new();
        let mut rest = Vec::new();
        let mut done = false;
        for piece in input.chunks(piece) {
            if done {
                rest.extend_from_slice(piece);
                continue;
            }
            match server.handle_input(piece).unwrap() {
                HandshakeProgress::InProgress { output } => sent.extend(output),
                HandshakeProgress::Done { output, remainder } => {
                    sent.extend(output);
                    rest.extend_from_slice(remainder);
                    done = true;
                }
            }
        }
        assert!(done);
        (sent, rest)
    }

    #[test]
    fn simple_form_echoes_c1_in_any_split() {
        let mut input = vec![3];
        input.extend((0..2 * PACKET_BYTES).map(|n| u8::try_from(n % 251).unwrap()));
        input.extend_from_slice(b"first chunk");
        for piece in [1, 2, 1535, 1536, 1537, 3072, 3073, 3074, 5000] {
            let (sent, rest) = run(&input, piece);
            assert_eq!(sent.len(), CLIENT_HANDSHAKE_BYTES, "piece {piece}");
            assert_eq!(sent[0], VERSION);
            assert_eq!(&sent[1 + PACKET_BYTES..], &input[1..=PACKET_BYTES], "S2 is C1");
            assert_eq!(rest, b"first chunk");
        }
    }

    #[test]
    fn digest_form_is_completed_by_a_digest_client() {
        let mut client = Handshake::new(PeerType::Client);
        let c0_c1 = client.generate_outbound_p0_and_p1().unwrap();
        let mut server = ServerHandshake::new();
        let HandshakeProgress::InProgress { output } = server.handle_input(&c0_c1).unwrap() else {
            panic!("C2 is still missing")
        };
        assert_eq!(output.len(), CLIENT_HANDSHAKE_BYTES);
        assert_ne!(&output[1 + PACKET_BYTES..], &c0_c1[1..], "a digest client gets a signed S2, not an echo");
        let HandshakeProcessResult::Completed { response_bytes: c2, .. } =
            client.process_bytes(&output).unwrap()
        else {
            panic!("the client has all it needs")
        };
        let done = server.handle_input(&c2).unwrap();
        assert_eq!(done, HandshakeProgress::Done { output: Vec::new(), remainder: &[] });
    }

    #[test]
    fn other_protocols_are_refused_at_the_first_byte_without_an_answer() {
        for first in [0x16, b'G', b'P', 6, 8, 0, 0xFF] {
            let mut server = ServerHandshake::new();
            let input = [first, 1, 2, 3];
            let refused = server.handle_input(&input);
            assert_eq!(refused, Err(HandshakeError::Version { version: first }));
            assert_eq!(server.handle_input(&[3]), Err(HandshakeError::Over));
        }
    }

    #[test]
    fn our_client_and_our_server_agree_in_any_split() {
        for piece in [1, 2, 1535, 1537, 3073, 5000] {
            let (mut client, hello) = ClientHandshake::hello().unwrap();
            assert_eq!(hello.len(), 1 + PACKET_BYTES);
            let mut server = ServerHandshake::new();
            let HandshakeProgress::InProgress { output } = server.handle_input(&hello).unwrap() else {
                panic!("C2 is still missing")
            };
            let input = [&output[..], b"first chunk"].concat();
            let (mut c2, mut rest, mut done) = (Vec::new(), Vec::new(), false);
            for piece in input.chunks(piece) {
                if done {
                    rest.extend_from_slice(piece);
                    continue;
                }
                match client.handle_input(piece).unwrap() {
                    HandshakeProgress::InProgress { output } => c2.extend(output),
                    HandshakeProgress::Done { output, remainder } => {
                        c2.extend(output);
                        rest.extend_from_slice(remainder);
                        done = true;
                    }
                }
            }
            assert!(done, "piece {piece}");
            assert_eq!(rest, b"first chunk");
            assert!(matches!(server.handle_input(&c2), Ok(HandshakeProgress::Done { .. })));
            assert_eq!(client.handle_input(&[3]), Err(HandshakeError::Over));
        }
    }

    #[test]
    fn a_client_takes_the_simple_form_and_no_other_protocol() {
        let (mut client, hello) = ClientHandshake::hello().unwrap();
        let s1: Vec<u8> =
            (0..PACKET_BYTES).map(|n| if n < 8 { 0 } else { u8::try_from(n % 251).unwrap() }).collect();
        let answer = [&[VERSION][..], &s1, &hello[1..]].concat();
        assert!(matches!(client.handle_input(&answer), Ok(HandshakeProgress::Done { .. })));
        let (mut client, _) = ClientHandshake::hello().unwrap();
        assert_eq!(client.handle_input(b"HTTP/1.1 400"), Err(HandshakeError::Version { version: b'H' }));
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        let mut server = ServerHandshake::new();
        let input = [3; CLIENT_HANDSHAKE_BYTES];
        assert!(matches!(server.handle_input(&input), Ok(HandshakeProgress::Done { .. })));
        assert_eq!(server.handle_input(&[0]), Err(HandshakeError::Over));
    }
}
