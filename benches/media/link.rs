//! One client connection: from the handshake to frames.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::TcpStream;
use socket2::SockRef;

use super::chunks::{AUDIO, COMMAND, ChunkReader, USER_CONTROL, VIDEO};
use super::stamps::{Seen, see};
use super::wire::{self, Answer, CHUNK_BYTES, HANDSHAKE_ANSWER_BYTES, Url};

/// What a publisher may have waiting before it drops frames, as an encoder would.
const PENDING_BYTES_MAX: usize = 4 << 20;

/// Where a client connects to.
#[derive(Debug, Clone)]
pub enum Target {
    Rtmp(Url),
    /// The floor has no protocol: four bytes with the stream's number, a letter for the direction, then frames.
    Floor {
        address: SocketAddr,
        stream: u32,
    },
}

impl Target {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Rtmp(url) => url.address,
            Self::Floor { address, .. } => *address,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Publish,
    Play,
}

#[derive(Debug)]
enum Phase {
    Connecting,
    /// What of S0, S1 and S2 has come.
    Handshake(Vec<u8>),
    Asking,
    /// Media may flow.
    Running,
}

/// What an event on a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    /// It runs since this event.
    Started,
    Closed,
}

#[derive(Debug)]
pub struct Link {
    socket: TcpStream,
    target: Target,
    pub direction: Direction,
    phase: Phase,
    reader: ChunkReader,
    /// What the socket did not take.
    pending: Vec<u8>,
    pub received: u64,
    /// Why the server refused, if it did.
    pub refusal: Option<String>,
}

impl Link {
    /// Begins to connect. A receive buffer of its own keeps a slow reader's backlog on the server's side.
    pub fn open(target: &Target, direction: Direction, receive_bytes: Option<usize>) -> io::Result<Self> {
        let address = target.address();
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM.nonblocking(),
            None,
        )?;
        socket.set_tcp_nodelay(true)?;
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        Ok(Self {
            socket: TcpStream::from_std(socket.into()),
            target: target.clone(),
            direction,
            phase: Phase::Connecting,
            reader: ChunkReader::new(128),
            pending: Vec::new(),
            received: 0,
            refusal: None,
        })
    }

    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    pub fn local_port(&self) -> u16 {
        SockRef::from(&self.socket)
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket())
            .map_or(0, |address| address.port())
    }

    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Whether frames go out with their length in front.
    pub fn is_framed(&self) -> bool {
        matches!(self.target, Target::Floor { .. })
    }

    /// The socket can be written.
    pub fn on_writable(&mut self) -> io::Result<State> {
        if let Phase::Connecting = self.phase {
            if let Some(error) = self.socket.take_error()? {
                return Err(error);
            }
            if self.socket.peer_addr().is_err() {
                return Ok(State::Open);
            }
            match &self.target {
                Target::Floor { stream, .. } => {
                    let letter = if self.direction == Direction::Publish { b'P' } else { b'V' };
                    let hello = [&stream.to_be_bytes()[..], &[letter]].concat();
                    self.reader = ChunkReader::new(CHUNK_BYTES);
                    self.phase = Phase::Running;
                    self.send(&hello)?;
                    return Ok(State::Started);
                }
                Target::Rtmp(_) => {
                    self.phase = Phase::Handshake(Vec::with_capacity(HANDSHAKE_ANSWER_BYTES));
                    self.send(&wire::hello())?;
                }
            }
        } else if !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            self.send(&pending)?;
        }
        Ok(State::Open)
    }

    /// Reads once, into a buffer that is larger than what usually waits, and tells of the frames that became whole.
    /// Gives whether there may be more.
    pub fn on_readable(
        &mut self,
        buffer: &mut [u8],
        mut seen: impl FnMut(Seen),
    ) -> io::Result<(State, bool)> {
        if let Phase::Connecting = self.phase {
            return Ok((State::Open, false));
        }
        let count = match self.socket.read(buffer) {
            Ok(0) => return Ok((State::Closed, false)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((State::Open, false)),
            Err(error) => return Err(error),
        };
        self.received += count as u64;
        let is_full = count == buffer.len();
        let mut input = &buffer[..count];
        if let Phase::Handshake(answer) = &mut self.phase {
            let taken = (HANDSHAKE_ANSWER_BYTES - answer.len()).min(input.len());
            answer.extend_from_slice(&input[..taken]);
            input = &input[taken..];
            if answer.len() < HANDSHAKE_ANSWER_BYTES {
                return Ok((State::Open, is_full));
            }
            let Target::Rtmp(url) = &self.target else { return Ok((State::Closed, false)) };
            let asks = [wire::echo(answer), &wire::connect(url)].concat();
            self.phase = Phase::Asking;
            self.send(&asks)?;
        }
        let was_running = self.is_running();
        let mut asks = Vec::new();
        let Self { reader, target, direction, phase, refusal, .. } = self;
        let read = reader.read(input, |message| match message.kind {
            AUDIO | VIDEO => {
                if let Some(frame) = see(message.kind, message.head) {
                    seen(frame);
                }
            }
            COMMAND => match (wire::understand(message.head), &*target) {
                (Answer::Result { transaction: wire::CONNECT, .. }, _) => asks.extend(wire::create_stream()),
                (
                    Answer::Result { transaction: wire::CREATE_STREAM, number: Some(stream) },
                    Target::Rtmp(url),
                ) => match direction {
                    Direction::Publish => asks.extend(wire::publish(stream as u32, &url.name)),
                    Direction::Play => {
                        asks.extend(wire::play(stream as u32, &url.name));
                        *phase = Phase::Running;
                    }
                },
                (Answer::PublishStart, _) => *phase = Phase::Running,
                (Answer::Refused(words), _) => *refusal = Some(words),
                _ => {}
            },
            USER_CONTROL => asks.extend(wire::pong(message.head).unwrap_or_default()),
            _ => {}
        });
        read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.0))?;
        if !asks.is_empty() {
            self.send(&asks)?;
        }
        if self.refusal.is_some() {
            return Ok((State::Closed, false));
        }
        let started = !was_running && self.is_running();
        Ok((if started { State::Started } else { State::Open }, is_full))
    }

    /// Sends, or keeps what does not go out. Gives whether it was taken at all.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if !self.pending.is_empty() {
            let fits = self.pending.len() + bytes.len() <= PENDING_BYTES_MAX;
            if fits {
                self.pending.extend_from_slice(bytes);
            }
            return Ok(fits);
        }
        let sent = match self.socket.write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.pending.extend_from_slice(&bytes[sent..]);
        Ok(true)
    }
}
