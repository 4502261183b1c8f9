//! The socket as a connection sees it: one future that reads and writes, and a hard close.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::outbox::Outbox;
use super::port::Port;
use crate::listen;

/// Bytes taken from the socket at once. They live on the stack only while they are handed on, so that an idle
/// connection owns no read buffer.
const READ_BYTES: usize = 16 * 1024;

/// A byte stream that can be cut off.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes the coming drop discard what the kernel still holds for the peer, so that nothing more reaches it.
    fn cut_off(&self);

    /// Whether it has taken bytes that the socket has not. They leave when it is flushed, and as long as they wait nothing
    /// more is worth handing to it.
    fn holds_back(&self) -> bool {
        false
    }

    /// When the socket last took some of what is held back.
    fn moved_at(&self) -> Option<Instant> {
        None
    }

    /// Bounds what waits in the kernel for a viewer to about a second of what it plays.
    fn bound_unsent(&self, bits_per_second: u64);

    /// The socket, where bytes can be handed to it as they are.
    fn direct(&self) -> Option<Arc<TcpStream>> {
        None
    }
}

/// A socket without anything between us and it, which others may write to as well.
#[derive(Debug)]
pub(super) struct PlainSocket(Arc<TcpStream>);

impl PlainSocket {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self(Arc::new(socket))
    }
}

/// Makes the close of `socket` discard what the kernel still holds for the peer.
pub(super) fn discard_unsent(socket: &TcpStream) {
    if let Err(error) = socket.set_zero_linger() {
        tracing::debug!(%error, "the socket does not take a hard close");
    }
}

/// Bytes that may wait in the kernel for a viewer, however little its stream sends: a picture of a poor camera.
const UNSENT_BYTES_MIN: u32 = 16 * 1024;

/// What waits in the kernel can no longer be skipped: it is to be a second of the stream at most.
pub(super) fn bound_unsent_to_a_second(socket: &TcpStream, bits_per_second: u64) {
    let second = u32::try_from(bits_per_second / 8).unwrap_or(u32::MAX);
    let bytes_max = second.clamp(UNSENT_BYTES_MIN, listen::UNSENT_BYTES_MAX);
    if let Err(error) = listen::bound_unsent(socket, bytes_max) {
        tracing::debug!(%error, "the socket takes no bound");
    }
}

impl Transport for PlainSocket {
    fn cut_off(&self) {
        discard_unsent(&self.0);
    }

    fn bound_unsent(&self, bits_per_second: u64) {
        bound_unsent_to_a_second(&self.0, bits_per_second);
    }

    fn direct(&self) -> Option<Arc<TcpStream>> {
        Some(Arc::clone(&self.0))
    }
}

/// Hands `bytes` to `socket` without asking the runtime whether it is ready, and tells how many it took. For bytes that
/// many sockets are handed one after another, nearly all of which are: the runtime's own note of it is one more
/// place in memory for each.
pub(super) fn send_unasked(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}

/// Makes `attempt` as often as the socket seems ready for it.
fn attempt<T>(
    mut ready: impl FnMut() -> Poll<io::Result<()>>,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        ready!(ready())?;
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

/// Moves what has come into `buffer`. Less than there was room for is all there is: the runtime is told so at once, which
/// saves asking the kernel again for nothing. What comes after that wakes the task.
fn take(socket: &TcpStream, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); READ_BYTES];
    let space = space.split_at_mut(READ_BYTES.min(buffer.remaining())).0;
    let mut is_all = false;
    let asked = socket.try_io(Interest::READABLE, || {
        let ((bytes, room), _) = rustix::net::recv(socket, &mut *space, RecvFlags::empty())?;
        is_all = !bytes.is_empty() && !room.is_empty();
        buffer.put_slice(bytes);
        if is_all { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    if is_all { Ok(()) } else { asked }
}

impl AsyncRead for PlainSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = &self.0;
        ready!(attempt(|| socket.poll_read_ready(cx), || take(socket, buffer)))?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PlainSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        attempt(|| self.0.poll_write_ready(cx), || self.0.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        attempt(|| self.0.poll_write_ready(cx), || self.0.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(listen::finish(&self.0))
    }
}

/// What the socket did.
#[derive(Debug)]
pub(super) enum Turn<T> {
    /// Bytes came, and the reader made this of them.
    Read(T),
    /// The outbox got shorter by so many bytes, or what the transport held back has left.
    Wrote(usize),
    /// The peer is gone.
    Closed,
}

/// Waits until bytes came or went. Writing comes first: what is decided leaves before more is taken in.
///
/// `read` sees each piece of input at once. Nothing is read while too many answers wait to be written. Cancelling between two pieces loses nothing.
pub(super) async fn turn<S: Transport, T>(
    socket: &mut S,
    port: &Port,
    mut read: impl FnMut(&[u8], &mut Outbox) -> T,
) -> io::Result<Turn<T>> {
    poll_fn(|cx| {
        let mut outlet = port.outlet();
        let moved = poll_send(socket, &mut outlet.outbox, cx);
        outlet.is_held_back = socket.holds_back();
        if moved.is_ready() {
            return moved;
        }
        let outbox = &mut outlet.outbox;
        if outbox.is_full() {
            return Poll::Pending;
        }
        poll_read(socket, cx, |bytes| read(bytes, outbox))
    })
    .await
}

/// Moves on what waits in the outbox or in the transport.
fn poll_send<S: Transport, T>(
    socket: &mut S,
    outbox: &mut Outbox,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Turn<T>>> {
    if outbox.is_empty() && !socket.holds_back() {
        return Poll::Pending;
    }
    let moved = if outbox.is_empty() {
        ready!(Pin::new(socket).poll_flush(cx)).map(|()| Turn::Wrote(0))
    } else {
        let wrote = ready!(outbox.poll_write(Pin::new(socket), cx));
        wrote.map(|bytes| if bytes == 0 { Turn::Closed } else { Turn::Wrote(bytes) })
    };
    Poll::Ready(moved)
}

fn poll_read<S: Transport, T>(
    socket: &mut S,
    cx: &mut Context<'_>,
    read: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<Turn<T>>> {
    let mut space = [MaybeUninit::uninit(); READ_BYTES];
    let mut buffer = ReadBuf::uninit(&mut space);
    match Pin::new(socket).poll_read(cx, &mut buffer) {
        Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Ok(Turn::Closed)),
        Poll::Ready(Ok(())) => Poll::Ready(Ok(Turn::Read(read(buffer.filled())))),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}

/// Writes as much of the outbox as the socket takes in one call, without waiting for it.
pub(super) async fn send_once<S: Transport>(socket: &mut S, port: &Port) {
    poll_fn(|cx| {
        let outbox = &mut port.outlet().outbox;
        if !outbox.is_empty() {
            // The peer gets this if its window is open, and nothing otherwise.
            let _ = outbox.poll_write(Pin::new(&mut *socket), cx);
        }
        Poll::Ready(())
    })
    .await;
}

/// Sends what waits, says goodbye, and reads until the peer has said so too: a socket that is closed over unread
/// input resets the connection, and the peer would lose the last answer. The caller sets the deadline.
pub(super) async fn close_politely<S: Transport>(socket: &mut S, port: &Port) -> io::Result<()> {
    while !port.outlet().outbox.is_empty() || socket.holds_back() {
        if let Turn::Closed = turn(socket, port, |_, _| ()).await? {
            return Ok(());
        }
    }
    socket.shutdown().await?;
    loop {
        if let Turn::Closed = turn(socket, port, |_, _| ()).await? {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
    use tokio::net::TcpSocket;

    use super::*;

    impl Transport for DuplexStream {
        fn cut_off(&self) {}

        fn bound_unsent(&self, _: u64) {}
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_its_answers_is_not_read_either() {
        let (mut ours, mut theirs) = duplex(1024);
        let port = Port::new(None);
        let mut asked = 0;
        while !port.outlet().outbox.is_full() {
            theirs.write_all(b"ping").await.unwrap();
            let turned = turn(&mut ours, &port, |bytes, outbox| {
                outbox.push_control(Bytes::from(vec![0; 10_000]));
                bytes.len()
            });
            if let Turn::Read(bytes) = turned.await.unwrap() {
                asked += bytes;
            }
        }
        assert!((100..200).contains(&asked), "{asked} bytes were read");
        theirs.write_all(b"more").await.unwrap();
        let halted = tokio::select! {
            biased;
            _ = turn(&mut ours, &port, |_, _| ()) => false,
            () = tokio::task::yield_now() => true,
        };
        assert!(halted, "nothing is read and nothing can be written");
        let mut answer = [0; 1024];
        theirs.read_exact(&mut answer).await.unwrap();
        assert!(matches!(turn(&mut ours, &port, |_, _| ()).await, Ok(Turn::Wrote(1024))));
    }

    /// Takes all and passes it on when there is room, as TLS does.
    #[derive(Default)]
    struct Holding {
        held: usize,
        has_room: bool,
    }

    impl AsyncRead for Holding {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Holding {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.held += bytes.len();
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if !self.has_room {
                return Poll::Pending;
            }
            self.held = 0;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Transport for Holding {
        fn cut_off(&self) {}

        fn bound_unsent(&self, _: u64) {}

        fn holds_back(&self) -> bool {
            self.held > 0
        }
    }

    #[tokio::test]
    async fn what_a_transport_holds_back_leaves_though_nothing_follows() {
        let (mut socket, port) = (Holding::default(), Port::new(None));
        port.outlet().outbox.push_control(Bytes::from(vec![0; 100]));
        assert!(matches!(turn(&mut socket, &port, |_, _| ()).await, Ok(Turn::Wrote(100))));
        assert!(port.outlet().outbox.is_empty() && socket.holds_back());
        let waits = tokio::select! {
            biased;
            _ = turn(&mut socket, &port, |_, _| ()) => false,
            () = tokio::task::yield_now() => true,
        };
        assert!(waits, "the socket has no room");
        socket.has_room = true;
        assert!(matches!(turn(&mut socket, &port, |_, _| ()).await, Ok(Turn::Wrote(0))));
        assert!(!socket.holds_back());
    }

    /// How many bytes a socket takes whose other end reads nothing.
    async fn taken_unread(bits_per_second: Option<u64>) -> usize {
        let listener = TcpSocket::new_v4().unwrap();
        // Set before it listens, so that those who are accepted have it too: their window stays as small.
        listener.set_recv_buffer_size(4096).unwrap();
        listener.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = listener.listen(1).unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_theirs, _) = listener.accept().await.unwrap();
        let socket = PlainSocket::new(ours);
        if let Some(bits) = bits_per_second {
            socket.bound_unsent(bits);
        }
        let mut taken = 0;
        loop {
            socket.0.writable().await.unwrap();
            match socket.0.try_write(&[0; 1000]) {
                Ok(bytes) => taken += bytes,
                Err(_) => return taken,
            }
        }
    }

    #[tokio::test]
    async fn about_a_second_of_the_stream_waits_in_the_kernel() {
        let unbounded = taken_unread(None).await;
        for (bits_per_second, bytes_max) in [(0, 16 * 1024), (400_000, 50_000), (8_000_000, 128 * 1024)] {
            let taken = taken_unread(Some(bits_per_second)).await;
            // What is on the way to the other end comes on top: its buffer, and a segment of the loopback interface.
            assert!(taken < bytes_max + 128 * 1024, "{taken} bytes at {bits_per_second} bits a second");
            assert!(taken < unbounded / 2, "{taken} of {unbounded} bytes");
        }
    }
}
