//! The socket as a connection sees it: one future that reads and writes, and a hard close.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::outbox::Outbox;

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
        } else if socket.holds_back() {
            match Pin::new(&mut *socket).poll_flush(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(Turn::Wrote(0))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        if outbox.is_full() {
            return Poll::Pending;
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
    while !outbox.is_empty() || socket.holds_back() {
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;

    impl Transport for DuplexStream {
        fn cut_off(&self) {}
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_its_answers_is_not_read_either() {
        let (mut ours, mut theirs) = duplex(1024);
        let mut outbox = Outbox::default();
        let mut asked = 0;
        while !outbox.is_full() {
            theirs.write_all(b"ping").await.unwrap();
            let turned = turn(&mut ours, &mut outbox, |bytes, outbox| {
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
            _ = turn(&mut ours, &mut outbox, |_, _| ()) => false,
            () = tokio::task::yield_now() => true,
        };
        assert!(halted, "nothing is read and nothing can be written");
        let mut answer = [0; 1024];
        theirs.read_exact(&mut answer).await.unwrap();
        assert!(matches!(turn(&mut ours, &mut outbox, |_, _| ()).await, Ok(Turn::Wrote(1024))));
    }
}
