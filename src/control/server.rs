//! The HTTP server loop: accept, serve, drain.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use tower::ServiceExt as _;

use super::method;
use super::socket::{Cutter, Socket};
use crate::entrance::{Ends, Entered, Entrance, Place};
use crate::listen;
use crate::telemetry::Metrics;

/// Most that a request's head may take: the longest token, a long path and a browser's headers fit several times.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Pause after an accept that failed, such as for lack of file descriptors: some may have come free by then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Between whom a request travels. Every request carries it as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the connection: the client, or a proxy that speaks HTTP for it.
    pub remote: SocketAddr,
    /// Our end of the connection, or the one that a proxy of TCP stands there for.
    pub local: SocketAddr,
    /// Whether TLS ends here.
    pub secure: bool,
}

/// The place of a request's connection, as an extension: what the connection is upgraded to keeps it.
#[derive(Clone)]
pub struct HeldPlace(pub Place);

/// How connections are served.
#[derive(Clone)]
pub struct ServeOptions {
    /// How long a request's head may take, and how long a connection may idle between requests.
    pub head_timeout: Duration,
    /// How long a connection may take nothing of what waits for it.
    pub write_stall: Duration,
    /// How long connections may take to finish what they are at, once told to stop.
    pub grace: Duration,
    /// What a connection passes before its first request.
    pub entrance: Entrance,
    /// Counts those that do not get so far.
    pub metrics: Metrics,
}

/// Serves `router` on all of `listeners` until `stop`, then lets connections finish for the grace period and closes
/// the rest. No task is left when this returns.
pub async fn serve(
    listeners: Vec<TcpListener>,
    router: Router,
    options: ServeOptions,
    stop: CancellationToken,
) {
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(accept(listener, router.clone(), options.clone(), stop.clone()));
    }
    while let Some(ended) = loops.join_next().await {
        note_panic(ended);
    }
}

async fn accept(listener: TcpListener, router: Router, options: ServeOptions, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => note_panic(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    let Some(entered) = options.entrance.enter(remote) else { continue };
                    let (router, stop) = (router.clone(), stop.clone());
                    connections.spawn(connection((stream, remote, entered), router, options.clone(), stop));
                }
                Err(error) => {
                    options.metrics.connections_refused("accept_failed").inc();
                    tracing::warn!(%error, "an HTTP connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let finished = timeout(options.grace, async {
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
    });
    if finished.await.is_err() {
        tracing::debug!(connections = connections.len(), "HTTP connections outlived the grace period");
    }
    connections.shutdown().await;
}

fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "an HTTP task panicked");
    }
}

/// Serves one connection; told to stop, it answers the request that it is at.
async fn connection(
    (mut stream, remote, entered): (TcpStream, SocketAddr, Entered),
    router: Router,
    options: ServeOptions,
    stop: CancellationToken,
) {
    let Ok(local) = stream.local_addr() else { return };
    if let Err(error) =
        listen::prepare(&stream).and_then(|()| listen::bound_unsent(&stream, listen::UNSENT_BYTES_MAX))
    {
        tracing::debug!(%error, "the socket was gone at once");
        return;
    }
    let entrance = &options.entrance;
    // One time for all that stands before the first request.
    let until = Instant::now() + options.head_timeout;
    let is_proxy = entrance.is_proxy(remote);
    let (ends, entered) = if is_proxy {
        // Boxed, because it is soon over.
        let seen = Box::pin(entrance.see_through(&mut stream, Ends { remote, local }, entered, until));
        let seen = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            seen = seen => seen,
        };
        match seen {
            Ok(seen) => seen,
            Err(no_entry) => {
                options.metrics.handshakes_failed(no_entry.cause()).inc();
                return;
            }
        }
    } else {
        (Ends { remote, local }, entered)
    };
    let socket = Socket::new(stream, options.write_stall);
    let peer = Peer { remote: ends.remote, local: ends.local, secure: entrance.tls.is_some() };
    let served = Served { router, peer, cutter: socket.cutter(), entered };
    let Some(tls) = &entrance.tls else {
        return served.on(socket, is_proxy.then_some(until), &options, stop).await;
    };
    // Boxed, because the handshake is large and soon over.
    let handshake = Box::pin(timeout_at(until, tls.accept(socket)));
    let shaken = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        shaken = handshake => shaken,
    };
    let cause = match shaken {
        Ok(Ok(stream)) => return served.on(stream, Some(until), &options, stop).await,
        Ok(Err(error)) => {
            tracing::debug!(peer = %ends.remote, %error, "the TLS handshake failed");
            "tls"
        }
        Err(_) => "timeout",
    };
    options.metrics.handshakes_failed(cause).inc();
}

/// What every request of a connection comes with.
struct Served {
    router: Router,
    peer: Peer,
    cutter: Cutter,
    entered: Entered,
}

impl Served {
    /// Answers the requests that come on `io`; the first has to be there until `first_until`.
    async fn on<IO>(
        self,
        io: IO,
        first_until: Option<Instant>,
        options: &ServeOptions,
        stop: CancellationToken,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { router, peer, cutter, entered: Entered { place, handshake } } = self;
        let handshake = Mutex::new(Some(handshake));
        let has_asked = Arc::new(AtomicBool::new(false));
        let asks = Arc::clone(&has_asked);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            if !asks.swap(true, Ordering::Relaxed) {
                handshake.lock().take();
            }
            let place = HeldPlace(Arc::clone(&place));
            answer(router.clone(), (peer, cutter.clone(), place), request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(options.head_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let too_late = async {
            match first_until {
                Some(until) => sleep_until(until).await,
                None => pending::<()>().await,
            }
            if has_asked.load(Ordering::Relaxed) {
                pending::<()>().await;
            }
        };
        let served = tokio::select! {
            biased;
            served = connection.as_mut() => served,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = too_late => {
                options.metrics.handshakes_failed("timeout").inc();
                return;
            }
        };
        if let Err(error) = served {
            if error.is_timeout() && !has_asked.load(Ordering::Relaxed) {
                options.metrics.handshakes_failed("timeout").inc();
            }
            if error.is_parse_too_large() {
                options.metrics.limit_reached("request_head_bytes_max");
            }
            tracing::debug!(%error, "an HTTP connection broke off");
        }
    }
}

async fn answer(
    router: Router,
    (peer, cutter, place): (Peer, Cutter, HeldPlace),
    request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request: Request = request.map(Body::new);
    method::as_meant(&mut request);
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(cutter);
    request.extensions_mut().insert(place);
    router.oneshot(request).await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Extension;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::entrance::Admit;

    const LONG: Duration = Duration::from_secs(3600);

    fn everybody() -> Admit {
        Arc::new(|_| Some(Entered::uncounted()))
    }

    fn options(head_timeout: Duration, grace: Duration, admit: Admit) -> ServeOptions {
        let entrance = Entrance { admit, ..Entrance::open() };
        ServeOptions { head_timeout, grace, write_stall: LONG, entrance, metrics: Metrics::new() }
    }

    async fn start(router: Router, options: ServeOptions) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(vec![listener], router, options, stop.clone()));
        (address, stop, served)
    }

    async fn read_all(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        text
    }

    #[tokio::test]
    async fn requests_know_both_ends_of_their_socket() {
        let router = Router::new().route(
            "/",
            get(|Extension(peer): Extension<Peer>| async move { format!("{} {}", peer.remote, peer.local) }),
        );
        let options = options(LONG, LONG, everybody());
        let (address, stop, served) = start(router, options).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let own = stream.local_addr().unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.ends_with(&format!("{own} {address}")), "{answer}");
        stop.cancel();
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_ends_the_connection() {
        let options = options(Duration::from_millis(50), LONG, everybody());
        let (address, stop, served) = start(Router::new(), options).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
        // Ends only because the server closes, as does a connection on which nothing follows an answer.
        read_all(&mut stream).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(read_all(&mut idle).await.starts_with("HTTP/1.1 404"));
        stop.cancel();
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_stop_lets_a_request_finish_and_closes_idle_connections() {
        let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (handler_arrived, handler_go_on) = (Arc::clone(&arrived), Arc::clone(&go_on));
        let handler = move || async move {
            handler_arrived.notify_one();
            handler_go_on.notified().await;
            "done"
        };
        let options = options(LONG, LONG, everybody());
        let (address, stop, served) = start(Router::new().route("/", get(handler)), options).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        let mut busy = TcpStream::connect(address).await.unwrap();
        busy.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        arrived.notified().await;
        stop.cancel();
        read_all(&mut idle).await;
        go_on.notify_one();
        let answer = read_all(&mut busy).await;
        assert!(answer.ends_with("done"), "{answer}");
        served.await.unwrap();
    }

    #[tokio::test]
    async fn what_outlives_the_grace_period_is_closed() {
        let arrived = Arc::new(Notify::new());
        let handler_arrived = Arc::clone(&arrived);
        let handler = move || async move {
            handler_arrived.notify_one();
            std::future::pending::<()>().await;
        };
        let options = options(LONG, Duration::ZERO, everybody());
        let (address, stop, served) = start(Router::new().route("/", get(handler)), options).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        arrived.notified().await;
        stop.cancel();
        served.await.unwrap();
        assert_eq!(read_all(&mut stream).await, "");
    }

    #[tokio::test]
    async fn who_gets_no_place_is_closed_and_a_place_is_held_as_long_as_the_connection() {
        struct Held(Arc<AtomicUsize>, Arc<Notify>);

        impl Drop for Held {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
                self.1.notify_one();
            }
        }

        let (open, left) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counted, freed) = (Arc::clone(&open), Arc::clone(&left));
        let admit: Admit = Arc::new(move |_| {
            if counted.load(Ordering::SeqCst) == 1 {
                return None;
            }
            counted.fetch_add(1, Ordering::SeqCst);
            let place = Arc::new(Held(Arc::clone(&counted), Arc::clone(&freed)));
            Some(Entered { place, ..Entered::uncounted() })
        });
        let options = options(LONG, LONG, admit);
        let (address, stop, served) = start(Router::new(), options).await;
        let first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        read_all(&mut second).await;
        assert_eq!(open.load(Ordering::SeqCst), 1);
        drop(first);
        left.notified().await;
        assert_eq!(open.load(Ordering::SeqCst), 0);
        stop.cancel();
        served.await.unwrap();
    }
}
