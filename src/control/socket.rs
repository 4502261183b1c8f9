//! The socket under an HTTP connection: it gives up on a peer that takes nothing, and a handler can cut it off.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::clock;

type Moment = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ends the connection that a request came on, hard: what the kernel still holds for the peer is thrown away. Every
/// request carries one as an extension.
#[derive(Clone, Default)]
pub(super) struct Cutter(Arc<Cut>);

#[derive(Default)]
struct Cut {
    is_due: AtomicBool,
    when: Mutex<Option<Moment>>,
}

impl Cutter {
    /// Cuts off as soon as the connection is next driven, or dropped.
    pub(super) fn cut_off(&self) {
        self.0.is_due.store(true, Ordering::Relaxed);
    }

    /// Cuts off when `moment` comes, even while a write is stuck. To be called from the connection's own task, which
    /// looks at it from then on.
    pub(super) fn cut_off_when(&self, moment: impl Future<Output = ()> + Send + 'static) {
        *self.0.when.lock() = Some(Box::pin(moment));
    }

    /// Whether the connection is to end now; else the task is woken when it is.
    fn is_due(&self, cx: &mut Context<'_>) -> bool {
        if let Some(when) = &mut *self.0.when.lock()
            && when.as_mut().poll(cx).is_ready()
        {
            self.cut_off();
        }
        self.0.is_due.load(Ordering::Relaxed)
    }
}

/// A TCP stream with a limit on how long it may take nothing.
pub(super) struct Socket {
    stream: TcpStream,
    cutter: Cutter,
    stall_max: Duration,
    /// Runs while the peer takes nothing of what waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// Fails a write once the peer has taken nothing for `stall_max`.
    pub(super) fn new(stream: TcpStream, stall_max: Duration) -> Self {
        Self { stream, cutter: Cutter::default(), stall_max, stalled: None }
    }

    /// Ends this connection.
    pub(super) fn cutter(&self) -> Cutter {
        self.cutter.clone()
    }

    fn refuse_if_cut(&self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.cutter.is_due(cx) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// What a write came to, or the end of the peer's time.
    fn watched<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.stall_max)));
        ready!(stalled.as_mut().poll(cx));
        let now = Instant::now();
        if clock::was_away(stalled.deadline(), now) {
            stalled.as_mut().reset(now + clock::HEARING);
            ready!(stalled.as_mut().poll(cx));
        }
        self.cutter.cut_off();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.refuse_if_cut(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.refuse_if_cut(cx)?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watched(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.refuse_if_cut(cx)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watched(cx, written)
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

impl Drop for Socket {
    fn drop(&mut self) {
        if self.cutter.0.is_due.load(Ordering::Relaxed)
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "the socket does not take a hard close");
        }
    }
}
