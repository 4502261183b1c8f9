//! RTMP inside TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::transport::{Transport, bound_unsent_to_a_second, discard_unsent};
use crate::listen;
use crate::tls::TlsStream;

/// The socket under TLS, which notes when it last took something: TLS takes a whole refill of the outbox at once, and only
/// here is seen whether it leaves.
pub(super) struct Noted {
    stream: TcpStream,
    moved_at: Option<Instant>,
}

impl Noted {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, moved_at: None }
    }

    /// Lets a peer go on that waits for an acknowledgement.
    pub(super) fn acknowledge(&self) {
        listen::acknowledge(&self.stream);
    }

    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = &written {
            self.moved_at = Some(Instant::now());
        }
        written
    }
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Noted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Boxed: it holds the state of TLS, and a connection is moved some times before it runs.
impl Transport for Box<TlsStream<Noted>> {
    fn cut_off(&self) {
        discard_unsent(&self.get_ref().0.stream);
    }

    fn bound_unsent(&self, bits_per_second: u64) {
        bound_unsent_to_a_second(&self.get_ref().0.stream, bits_per_second);
    }

    fn holds_back(&self) -> bool {
        self.get_ref().1.wants_write()
    }

    fn moved_at(&self) -> Option<Instant> {
        self.get_ref().0.moved_at
    }
}
