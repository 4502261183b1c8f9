//! The socket as a connection sees it: one future that reads and writes, and a hard close.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use super::outbox::Outbox;

/// Bytes taken from the socket at once. They live on the stack only while they are handed on, so that an idle
/// connection owns no read buffer.
const READ_BYTES: usize = 16 * 1024;

/// A byte stream that can be cut off.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes the coming drop discard what the kernel still holds for the peer, so that nothing more reaches it.
    fn cut_off(&self);
}

impl Transport for TcpStream {
    fn cut_off(&self) {
        if let Err(error) = self.set_zero_linger() {
            tracing::debug!(%error, "the socket does not take a hard close");
        }
    }
}

/// What the socket did.
#[derive(Debug)]
pub(super) enum Turn<T> {
    /// Bytes came, and the reader made this of them.
    Read(T),
    /// The outbox got shorter by so many bytes.
    Wrote(usize),
    /// The peer is gone.
    Closed,
}

/// Waits until bytes came or went. Writing comes first: what is decided leaves before more is taken in.
///
/// `read` sees each piece of input at once. Cancelling between two pieces loses nothing.
pub(super) async fn turn<S: Transport, T>(
    socket: &mut S,
    outbox: &mut Outbox,
    mut read: impl FnMut(&[u8], &mut Outbox) -> T,
) -> io::Result<Turn<T>> {
    poll_fn(|cx| {
        if !outbox.is_empty() {
            match outbox.poll_write(Pin::new(&mut *socket), cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Turn::Closed)),
                Poll::Ready(Ok(bytes)) => return Poll::Ready(Ok(Turn::Wrote(bytes))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        poll_read(socket, cx, |bytes| read(bytes, outbox))
    })
    .await
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
pub(super) async fn send_once<S: Transport>(socket: &mut S, outbox: &mut Outbox) {
    poll_fn(|cx| {
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
pub(super) async fn close_politely<S: Transport>(socket: &mut S, outbox: &mut Outbox) -> io::Result<()> {
    while !outbox.is_empty() {
        if let Turn::Closed = turn(socket, outbox, |_, _| ()).await? {
            return Ok(());
        }
    }
    socket.shutdown().await?;
    loop {
        if let Turn::Closed = turn(socket, outbox, |_, _| ()).await? {
            return Ok(());
        }
    }
}
