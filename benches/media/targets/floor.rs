//! The floor: a bare server in one thread that writes what a publisher sent to each viewer, one write for each message
//! or one for all that came within a window. It has no protocol, no state and no policy; what it costs is the kernel's.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::super::chunks::VIDEO;
use super::super::link::Target;
use super::super::stamps::LENGTH_BYTES;
use super::{Server, Stream, spawn};

/// The first argument of the process that is the floor.
pub const COMMAND: &str = "floor-server";

const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 256 * 1024;
/// Four bytes for the stream and one for the direction.
const HELLO_BYTES: usize = 5;

/// Behind the basic header, a timestamp and a length.
const KIND_AT: usize = 7;

/// Which messages share a write. The number is the longest wait in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merging {
    /// `floor`: none.
    None,
    /// `floor-10`: whatever comes within so long of the first.
    All(u64),
    /// `floor-lead-10`: the first leaves at once, what follows within so long waits for the end of that time.
    Lead(u64),
    /// `floor-sound-10`: pictures leave at once, sounds wait for the next picture.
    Sound(u64),
}

impl FromStr for Merging {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let wrong = || format!("{name:?} is none of floor, floor-<ms>, floor-lead-<ms>, floor-sound-<ms>");
        let rest = name.strip_prefix("floor").ok_or_else(wrong)?;
        if rest.is_empty() {
            return Ok(Self::None);
        }
        let (how, ms): (fn(u64) -> Self, &str) = match rest.split_at_checked(6) {
            Some(("-lead-", ms)) => (Self::Lead, ms),
            _ => match rest.strip_prefix("-sound-") {
                Some(ms) => (Self::Sound, ms),
                None => (Self::All, rest.strip_prefix('-').ok_or_else(wrong)?),
            },
        };
        ms.parse().map(how).map_err(|_| wrong())
    }
}

impl fmt::Display for Merging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("floor"),
            Self::All(ms) => write!(f, "floor-{ms}"),
            Self::Lead(ms) => write!(f, "floor-lead-{ms}"),
            Self::Sound(ms) => write!(f, "floor-sound-{ms}"),
        }
    }
}

pub fn start(merging: Merging, streams: usize) -> Server {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([COMMAND, &merging.to_string()]);
    let (child, line) = spawn(command);
    let address: SocketAddr = line.trim().parse().expect("an address");
    let target = |stream: usize| Target::Floor { address, stream: stream as u32 };
    let streams = (0..streams).map(|number| Stream { publish: target(number), play: vec![target(number)] });
    let process = Some(child.id());
    Server { process, child: Some(child), streams: streams.collect(), _home: None }
}

enum Role {
    /// What of its hello has come.
    Unknown(Vec<u8>),
    /// Its stream, and the beginning of a message that has not come whole.
    Publisher(u32, Vec<u8>),
    /// What the socket did not take.
    Viewer(Vec<u8>),
}

struct Peer {
    socket: TcpStream,
    role: Role,
}

#[derive(Default)]
struct Fan {
    viewers: Vec<usize>,
    /// What waits, and until when.
    merged: Vec<u8>,
    due: Option<Instant>,
    written: Option<Instant>,
}

impl Fan {
    /// Writes what waits.
    fn write(&mut self, peers: &mut [Option<Peer>], now: Instant) {
        fan_out(peers, &self.viewers, &self.merged);
        self.merged.clear();
        self.due = None;
        self.written = Some(now);
    }
}

struct Floor {
    peers: Vec<Option<Peer>>,
    fans: BTreeMap<u32, Fan>,
    merging: Merging,
    buffer: Vec<u8>,
}

/// Serves until it is killed.
pub fn serve(merging: Merging) -> io::Result<()> {
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    println!("{}", listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut floor = Floor { peers: Vec::new(), fans: BTreeMap::new(), merging, buffer: vec![0; READ_BYTES] };
    loop {
        let next = floor.fans.values().filter_map(|fan| fan.due).min();
        poll.poll(&mut events, next.map(|due| due.saturating_duration_since(Instant::now())))?;
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&listener, &poll)?,
                Token(at) => {
                    if floor.attend(at).is_err() {
                        floor.remove(at);
                    }
                }
            }
        }
        if merging != Merging::None {
            floor.write_due();
        }
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        while let Ok((mut socket, _)) = listener.accept() {
            socket.set_nodelay(true)?;
            let at = self.peers.len();
            poll.registry().register(&mut socket, Token(at), Interest::READABLE | Interest::WRITABLE)?;
            self.peers.push(Some(Peer { socket, role: Role::Unknown(Vec::new()) }));
        }
        Ok(())
    }

    fn remove(&mut self, at: usize) {
        self.peers[at] = None;
        for fan in self.fans.values_mut() {
            fan.viewers.retain(|viewer| *viewer != at);
        }
    }

    fn attend(&mut self, at: usize) -> io::Result<()> {
        let Some(peer) = &mut self.peers[at] else { return Ok(()) };
        if let Role::Viewer(pending) = &mut peer.role {
            if !pending.is_empty() {
                let bytes = std::mem::take(pending);
                send(peer, &bytes)?;
            }
            return Ok(());
        }
        loop {
            let Some(Peer { socket, role }) = &mut self.peers[at] else { return Ok(()) };
            let count = match socket.read(&mut self.buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let mut input = &self.buffer[..count];
            if let Role::Unknown(hello) = role {
                let taken = (HELLO_BYTES - hello.len()).min(input.len());
                hello.extend_from_slice(&input[..taken]);
                input = &input[taken..];
                let [a, b, c, d, letter] = hello[..] else { continue };
                let stream = u32::from_be_bytes([a, b, c, d]);
                if letter == b'V' {
                    *role = Role::Viewer(Vec::new());
                    self.fans.entry(stream).or_default().viewers.push(at);
                    return Ok(());
                }
                *role = Role::Publisher(stream, Vec::new());
            }
            let Role::Publisher(stream, partial) = role else { return Ok(()) };
            let stream = *stream;
            let mut inbox = std::mem::take(partial);
            inbox.extend_from_slice(input);
            let mut rest = inbox.as_slice();
            while let Some((message, after)) = split(rest) {
                self.pass(stream, message);
                rest = after;
            }
            let kept = rest.len();
            inbox.drain(..inbox.len() - kept);
            if let Some(Peer { role: Role::Publisher(_, partial), .. }) = &mut self.peers[at] {
                *partial = inbox;
            }
            if count < READ_BYTES {
                return Ok(());
            }
        }
    }

    /// One message of a publisher.
    fn pass(&mut self, stream: u32, message: &[u8]) {
        let fan = self.fans.entry(stream).or_default();
        if self.merging == Merging::None {
            return fan_out(&mut self.peers, &fan.viewers, message);
        }
        fan.merged.extend_from_slice(message);
        let now = Instant::now();
        let due = match self.merging {
            Merging::None => now,
            Merging::All(ms) => now + Duration::from_millis(ms),
            Merging::Lead(ms) => fan.written.map_or(now, |written| written + Duration::from_millis(ms)),
            Merging::Sound(_) if message.get(KIND_AT) == Some(&VIDEO) => now,
            Merging::Sound(ms) => now + Duration::from_millis(ms),
        };
        let due = fan.due.map_or(due, |earlier| earlier.min(due));
        fan.due = Some(due);
        if due <= now {
            fan.write(&mut self.peers, now);
        }
    }

    fn write_due(&mut self) {
        let now = Instant::now();
        for fan in self.fans.values_mut().filter(|fan| fan.due.is_some_and(|due| due <= now)) {
            fan.write(&mut self.peers, now);
        }
    }
}

/// The first whole message behind its length, and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

fn fan_out(peers: &mut [Option<Peer>], viewers: &[usize], bytes: &[u8]) {
    for at in viewers {
        if let Some(peer) = &mut peers[*at]
            && send(peer, bytes).is_err()
        {
            peers[*at] = None;
        }
    }
}

fn send(peer: &mut Peer, bytes: &[u8]) -> io::Result<()> {
    let Role::Viewer(pending) = &mut peer.role else { return Ok(()) };
    if !pending.is_empty() {
        pending.extend_from_slice(bytes);
        return Ok(());
    }
    match peer.socket.write(bytes) {
        Ok(sent) => pending.extend_from_slice(&bytes[sent..]),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => pending.extend_from_slice(bytes),
        Err(error) => return Err(error),
    }
    Ok(())
}
