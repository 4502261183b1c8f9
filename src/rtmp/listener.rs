//! Accepting connections, for as long as the gateway runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::Gateway;
use super::connection::Connection;
use super::secure::Noted;
use super::transport::PlainSocket;
use crate::entrance::{Ends, Entered, Entrance, Place};
use crate::listen;
use crate::tls::TlsDoor;

/// Pause after a failed accept: out of descriptors, mostly, which some closed connection will mend.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts on `listener` until the gateway drains. An error never ends it.
pub async fn listen(
    listener: TcpListener,
    entrance: Entrance,
    gateway: Arc<Gateway>,
    connections: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = gateway.draining.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => take(socket, peer, &entrance, &gateway, &connections),
            Err(error) => {
                gateway.metrics.connections_refused("accept_failed").inc();
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn take(
    socket: TcpStream,
    peer: SocketAddr,
    entrance: &Entrance,
    gateway: &Arc<Gateway>,
    connections: &TaskTracker,
) {
    let Some(entered) = entrance.enter(peer) else {
        tracing::debug!(%peer, "turned away: no place left");
        return;
    };
    if let Err(error) = listen::prepare(&socket) {
        tracing::debug!(%peer, %error, "the socket was gone at once");
        return;
    }
    // From here on, whatever stands between the peer and its request.
    let until = Instant::now() + gateway.settings.handshake_timeout;
    let gateway = Arc::clone(gateway);
    let span = tracing::info_span!("rtmp", connection = gateway.next_connection());
    // The plain way is the one of most connections, and holds nothing that it does not need.
    if entrance.tls.is_none() && !entrance.is_proxy(peer) {
        connections.spawn(
            async move {
                let Entered { place: _place, handshake } = entered;
                tracing::debug!(%peer, "accepted");
                Connection::new(PlainSocket::new(socket), peer, gateway, until, handshake).run().await;
            }
            .instrument(span),
        );
    } else {
        let newcomer = Newcomer { socket, peer, entrance: entrance.clone(), gateway, until };
        connections.spawn(newcomer.serve(entered).instrument(span));
    }
}

/// A connection that has to pass something before it speaks RTMP.
struct Newcomer {
    socket: TcpStream,
    peer: SocketAddr,
    entrance: Entrance,
    gateway: Arc<Gateway>,
    until: Instant,
}

impl Newcomer {
    async fn serve(self, mut entered: Entered) {
        let Self { mut socket, mut peer, entrance, gateway, until } = self;
        tracing::debug!(%peer, "accepted");
        if entrance.is_proxy(peer) {
            let Ok(local) = socket.local_addr() else { return };
            // Boxed, because it is soon over.
            let seen =
                Box::pin(entrance.see_through(&mut socket, Ends { remote: peer, local }, entered, until));
            let seen = tokio::select! {
                biased;
                () = gateway.draining.cancelled() => return,
                seen = seen => seen,
            };
            match seen {
                Ok((ends, held)) => (peer, entered) = (ends.remote, held),
                Err(no_entry) => {
                    gateway.metrics.handshakes_failed(no_entry.cause()).inc();
                    return;
                }
            }
        }
        let Entered { place: _place, handshake } = entered;
        match &entrance.tls {
            None => {
                Connection::new(PlainSocket::new(socket), peer, gateway, until, handshake).run().await;
            }
            Some(tls) => serve_secure(tls, socket, peer, gateway, until, handshake).await,
        }
    }
}

async fn serve_secure(
    tls: &TlsDoor,
    socket: TcpStream,
    peer: SocketAddr,
    gateway: Arc<Gateway>,
    until: Instant,
    place: Place,
) {
    // Boxed, because the handshake is large and soon over.
    let handshake = Box::pin(timeout_at(until, tls.accept(Noted::new(socket))));
    let shaken = tokio::select! {
        biased;
        () = gateway.draining.cancelled() => return,
        shaken = handshake => shaken,
    };
    let cause = match shaken {
        Ok(Ok(stream)) => {
            stream.get_ref().0.acknowledge();
            return Connection::new(Box::new(stream), peer, gateway, until, place).run().await;
        }
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "the TLS handshake failed");
            "tls"
        }
        Err(_) => "timeout",
    };
    gateway.metrics.handshakes_failed(cause).inc();
}
