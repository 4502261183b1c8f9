//! Accepting connections, for as long as the gateway runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::Gateway;
use super::connection::Connection;
use crate::listen;
use crate::telemetry::Protocol;

/// Pause after a failed accept: out of descriptors, mostly, which some closed connection will mend.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts on `listener` until the gateway drains. An error never ends it.
pub async fn listen(listener: TcpListener, gateway: Arc<Gateway>, connections: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = gateway.draining.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => take(socket, peer, &gateway, &connections),
            Err(error) => {
                gateway.metrics.connections_refused("accept_failed").inc();
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn take(socket: TcpStream, peer: SocketAddr, gateway: &Arc<Gateway>, connections: &TaskTracker) {
    let Some(place) = gateway.places.take(peer.ip()) else {
        gateway.metrics.connections_refused("no_place").inc();
        tracing::debug!(%peer, "turned away: no place left");
        return;
    };
    if let Err(error) = listen::prepare(&socket) {
        tracing::debug!(%peer, %error, "the socket was gone at once");
        return;
    }
    let open = gateway.metrics.connection_opened(Protocol::Rtmp);
    let gateway = Arc::clone(gateway);
    let span = tracing::info_span!("rtmp", connection = gateway.next_connection());
    connections.spawn(
        async move {
            let _open = (place, open);
            tracing::debug!(%peer, "accepted");
            Connection::new(socket, peer, gateway).run().await;
        }
        .instrument(span),
    );
}
