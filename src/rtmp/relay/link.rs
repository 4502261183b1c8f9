//! One connection to a far server.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::{FarError, FarUrl, LinkTimes};
use crate::listen;
use crate::media::packet::{Packet, PacketClass, PacketKind};
use crate::rtmp::handshake::{ClientHandshake, HandshakeProgress};
use crate::rtmp::proto::chunk::MediaChunks;
use crate::rtmp::proto::client::{ClientEvent, ClientOutput, ClientSession, Purpose};
use crate::rtmp::proto::{MediaKind, MessageStreamId};
use crate::rtmp::transport::discard_unsent;
use crate::tls::{ClientTlsStream, TlsClient};

/// Bytes taken from the socket at once.
const READ_BYTES: usize = 16 * 1024;
/// Slices in one vectored write: a header and a payload for some thirty messages.
const SLICES_PER_WRITE: usize = 64;
/// What is said beside media may wait up to here for a far server that reads nothing; beyond it nothing more is read from it.
const CONTROL_BYTES_MAX: usize = 256 * 1024;
/// How long a connection that is over may take to say so.
const GOODBYE: Duration = Duration::from_secs(2);
/// In front of `onMetaData` on its way to a server, as AMF0: without it servers keep the message for themselves.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

/// The socket, with or without TLS.
enum FarSocket {
    Plain(TcpStream),
    Tls(Box<ClientTlsStream<TcpStream>>),
}

macro_rules! either {
    ($socket:expr, $io:ident => $call:expr) => {
        match $socket {
            FarSocket::Plain($io) => $call,
            FarSocket::Tls($io) => $call,
        }
    };
}

impl FarSocket {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for FarSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(&mut *self, io => Pin::new(io).poll_read(cx, buffer))
    }
}

impl AsyncWrite for FarSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(&mut *self, io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(&mut *self, io => Pin::new(io).poll_write_vectored(cx, slices))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut *self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut *self, io => Pin::new(io).poll_shutdown(cx))
    }
}

/// One message, or what the session said.
enum Piece {
    Control(Bytes),
    Media(Box<MediaChunks>),
}

impl Piece {
    fn wire_bytes(&self) -> usize {
        match self {
            Self::Control(bytes) => bytes.len(),
            Self::Media(chunks) => chunks.wire_bytes(),
        }
    }
}

/// What is to leave, in order.
#[derive(Default)]
struct Waiting {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that have gone out.
    written: usize,
    control_bytes: usize,
    /// Whether the transport may hold bytes back that the socket has not taken.
    is_unflushed: bool,
}

impl Waiting {
    fn push_control(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.control_bytes += bytes.len();
            self.pieces.push_back(Piece::Control(bytes));
        }
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && !self.is_unflushed
    }

    /// Moves on what waits; tells whether the socket took some of it.
    fn poll_send(&mut self, socket: &mut FarSocket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pieces.is_empty() {
            ready!(Pin::new(socket).poll_flush(cx))?;
            self.is_unflushed = false;
            return Poll::Ready(Ok(()));
        }
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let mut places = slices.iter_mut();
        let mut skip = self.written;
        let mut count = 0;
        'fill: for piece in &self.pieces {
            match piece {
                Piece::Control(bytes) => {
                    let Some(place) = places.next() else { break };
                    *place = IoSlice::new(bytes.get(skip..).unwrap_or_default());
                    count += 1;
                }
                Piece::Media(chunks) => {
                    for slice in chunks.slices_from(skip) {
                        let Some(place) = places.next() else { break 'fill };
                        *place = IoSlice::new(slice);
                        count += 1;
                    }
                }
            }
            skip = 0;
        }
        let filled = slices.get(..count).unwrap_or_default();
        let wrote = ready!(Pin::new(socket).poll_write_vectored(cx, filled))?;
        if wrote == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.is_unflushed = true;
        self.written += wrote;
        while let Some(first) = self.pieces.front() {
            let whole = first.wire_bytes();
            if self.written < whole {
                break;
            }
            self.written -= whole;
            if let Piece::Control(bytes) = first {
                self.control_bytes -= bytes.len();
            }
            self.pieces.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

/// A connection to a far server.
pub struct Link {
    socket: FarSocket,
    session: ClientSession,
    waiting: Waiting,
    peer: SocketAddr,
    stream: MessageStreamId,
    /// Our time of the first packet: each connection begins at zero, as that of an encoder does.
    origin_ms: Option<u64>,
    /// Since when the far server has taken nothing of what waits.
    stalled_since: Option<Instant>,
}

/// Connects to the first of `addresses` that answers, shakes hands, and asks the far server to take or give the stream.
/// Name resolution is the caller's business: nothing is resolved here.
pub async fn dial(
    far: &FarUrl,
    addresses: &[SocketAddr],
    purpose: Purpose,
    tls: &TlsClient,
    times: LinkTimes,
) -> Result<Link, FarError> {
    let until = Instant::now() + times.connect;
    let dialled = async {
        let (socket, peer) = connect(addresses, times.connect).await?;
        let mut socket = if far.is_tls() {
            let stream = tls.connect(far.host(), socket).await;
            FarSocket::Tls(Box::new(stream.map_err(|error| FarError::Tls(error.to_string()))?))
        } else {
            FarSocket::Plain(socket)
        };
        let remainder = shake_hands(&mut socket).await?;
        let mut link = Link {
            socket,
            session: ClientSession::new(far.request(purpose)),
            waiting: Waiting::default(),
            peer,
            stream: MessageStreamId::FIRST,
            origin_ms: None,
            stalled_since: None,
        };
        link.session.handle_input(&remainder)?;
        link.become_ready().await?;
        Ok(link)
    };
    timeout_at(until, Box::pin(dialled)).await.unwrap_or(Err(FarError::Timeout(times.connect)))
}

async fn connect(addresses: &[SocketAddr], all: Duration) -> Result<(TcpStream, SocketAddr), FarError> {
    // A dead address leaves time for the others.
    let each = all / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = "the name has no address".to_owned();
    for address in addresses {
        match timeout(each, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                listen::prepare(&socket)?;
                // What waits in the kernel can no longer be skipped.
                listen::bound_unsent(&socket, listen::UNSENT_BYTES_MAX)?;
                return Ok((socket, *address));
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "no answer".to_owned(),
        }
    }
    Err(FarError::Unreachable(last))
}

/// Gives what of the far server's bytes belongs to the session already.
async fn shake_hands(socket: &mut FarSocket) -> Result<Vec<u8>, FarError> {
    let broken = |error: crate::rtmp::handshake::HandshakeError| FarError::Protocol(error.to_string());
    let (mut handshake, hello) = ClientHandshake::hello().map_err(broken)?;
    socket.write_all(&hello).await?;
    socket.flush().await?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = socket.read(&mut buffer).await?;
        let input = buffer.get(..read).unwrap_or_default();
        if input.is_empty() {
            return Err(FarError::Closed("in the handshake".to_owned()));
        }
        match handshake.handle_input(input).map_err(broken)? {
            HandshakeProgress::InProgress { output } => {
                socket.write_all(&output).await?;
                socket.flush().await?;
            }
            HandshakeProgress::Done { output, remainder } => {
                socket.write_all(&output).await?;
                socket.flush().await?;
                return Ok(remainder.to_vec());
            }
        }
    }
}

impl Link {
    /// Where it leads to.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    async fn become_ready(&mut self) -> Result<(), FarError> {
        loop {
            match self.next_event() {
                Some(ClientEvent::Ready { stream }) => {
                    self.stream = stream;
                    return Ok(());
                }
                Some(other) => return Err(ended(other)),
                None => {}
            }
            self.turn().await?;
        }
    }

    /// What the far server did. What the session says on the way is put out.
    pub(super) fn next_event(&mut self) -> Option<ClientEvent> {
        loop {
            match self.session.poll_output()? {
                ClientOutput::Send(bytes) => self.waiting.push_control(bytes),
                ClientOutput::Event(event) => return Some(event),
            }
        }
    }

    /// Whether everything has left, so that more is worth putting out.
    pub(super) fn has_sent_all(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts a packet out, at its own time counted from the first.
    pub(super) fn push_media(&mut self, packet: &Packet, timestamp_ms: u64) {
        let origin_ms = *self.origin_ms.get_or_insert(timestamp_ms);
        let kind = match packet.kind {
            PacketKind::Audio => MediaKind::Audio,
            PacketKind::Video => MediaKind::Video,
            PacketKind::Data => MediaKind::Data,
        };
        let payload = if packet.class == PacketClass::Metadata {
            Bytes::from([SET_DATA_FRAME, &packet.payload].concat())
        } else {
            packet.payload.clone()
        };
        #[expect(clippy::cast_possible_truncation, reason = "RTMP counts milliseconds modulo 2^32")]
        let timestamp = timestamp_ms.saturating_sub(origin_ms) as u32;
        // What no publisher can send, RTMP cannot carry either.
        if let Ok(chunks) = MediaChunks::new(kind, timestamp, payload)
            && !chunks.payload().is_empty()
        {
            self.waiting.pieces.push_back(Piece::Media(Box::new(chunks.with_stream(self.stream))));
        }
    }

    /// Waits until bytes came or went. Writing comes first. Cancel-safe.
    pub(super) async fn turn(&mut self) -> Result<(), FarError> {
        let Self { socket, session, waiting, .. } = self;
        let read = poll_fn(|cx| {
            if !waiting.is_empty()
                && let Poll::Ready(sent) = waiting.poll_send(socket, cx)
            {
                return Poll::Ready(sent.map(|()| None));
            }
            if waiting.control_bytes >= CONTROL_BYTES_MAX {
                return Poll::Pending;
            }
            let mut space = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut *socket).poll_read(cx, &mut buffer))?;
            let input = buffer.filled();
            Poll::Ready(Ok(Some((input.len(), session.handle_input(input)))))
        });
        match read.await? {
            None => self.stalled_since = None,
            Some((0, _)) => return Err(FarError::Closed("it closed the connection".to_owned())),
            Some((_, handled)) => handled?,
        }
        Ok(())
    }

    /// When the far server counts as stuck, unless it takes something until then.
    pub(super) fn stall_deadline(&mut self, stall: Duration) -> Option<Instant> {
        if self.waiting.is_empty() {
            self.stalled_since = None;
            return None;
        }
        Some(*self.stalled_since.get_or_insert_with(Instant::now) + stall)
    }

    /// Says goodbye, as far as the far server takes it.
    pub(super) async fn finish(mut self) {
        self.session.finish();
        while self.next_event().is_some() {}
        let goodbye = async {
            while !self.has_sent_all() {
                self.turn().await?;
                while self.next_event().is_some() {}
            }
            self.socket.shutdown().await?;
            Ok::<_, FarError>(())
        };
        if timeout(GOODBYE, goodbye).await.is_err() {
            self.cut_off();
        }
    }

    /// Ends it so that nothing more arrives.
    pub(super) fn cut_off(self) {
        discard_unsent(self.socket.tcp());
    }
}

/// Why the connection is over, by what the far server did.
pub(super) fn ended(event: ClientEvent) -> FarError {
    match event {
        ClientEvent::Refused { code, description } => FarError::Refused { code, description },
        ClientEvent::Ended { code } => FarError::Closed(code),
        ClientEvent::Ready { .. } | ClientEvent::Media(_) => {
            FarError::Protocol("media before its time".to_owned())
        }
    }
}
