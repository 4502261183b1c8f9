//! A network in the hands of a test: a TCP proxy that holds back, delays, and cuts without a word.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Pieces that are on the way within a delay, at most.
const PIECES_ON_THE_WAY: usize = 1024;
/// What the proxy's kernel takes from the target while the way is stalled: about a second of the clip, so that the target
/// notices soon.
const UNREAD_BYTES: u32 = 32 * 1024;

/// What happens to what is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    /// It arrives so much later.
    Open(Duration),
    /// It waits, like on a network that lost its signal for a moment.
    Stalled,
    /// It vanishes, and no end of a connection is ever told: a cable that was pulled, a NAT that forgot.
    Cut,
}

/// Forwards to one address.
pub struct Proxy {
    pub address: SocketAddr,
    /// The way of the connections that there are, and of those to come until it is replaced.
    way: Arc<Mutex<watch::Sender<Way>>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let way = Arc::new(Mutex::new(watch::Sender::new(Way::Open(Duration::ZERO))));
        let ways = Arc::clone(&way);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let socket = TcpSocket::new_v4().expect("a socket");
                socket.set_recv_buffer_size(UNREAD_BYTES).expect("a small buffer");
                let Ok(far) = socket.connect(target).await else { continue };
                near.set_nodelay(true).expect("a socket");
                far.set_nodelay(true).expect("a socket");
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                let way = ways.lock().subscribe();
                connections.spawn(carry(near_in, far_out, way.clone()));
                connections.spawn(carry(far_in, near_out, way));
            }
        });
        Self { address, way, task }
    }

    /// Changes the way of all connections that there are and that come.
    pub fn set(&self, way: Way) {
        self.way.lock().send_replace(way);
    }

    /// Cuts the connections that there are, in silence and for ever. Those that come later are carried.
    pub fn cut(&self) {
        let fresh = watch::Sender::new(Way::Open(Duration::ZERO));
        std::mem::replace(&mut *self.way.lock(), fresh).send_replace(Way::Cut);
    }
}

/// Waits until the way is not stalled; gives what it is.
async fn flows(way: &mut watch::Receiver<Way>) -> Way {
    // Where the sender is gone, its last word stands.
    let _ = way.wait_for(|way| *way != Way::Stalled).await;
    *way.borrow()
}

async fn carry(mut from: OwnedReadHalf, to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let (sender, receiver) = mpsc::channel(PIECES_ON_THE_WAY);
    let mut deliverer = tokio::spawn(deliver(to, receiver, way.clone()));
    let mut bytes = vec![0; 16 * 1024];
    loop {
        flows(&mut way).await;
        let read = tokio::select! {
            _ = way.changed() => continue,
            // The other end does not take it any more.
            _ = &mut deliverer => return,
            read = from.read(&mut bytes) => read.unwrap_or(0),
        };
        let now = *way.borrow();
        let delay = match now {
            Way::Open(delay) => delay,
            Way::Stalled => Duration::ZERO,
            // Neither the bytes nor the end get through; the halves stay as they are for as long as the proxy lives.
            Way::Cut if read == 0 => std::future::pending().await,
            Way::Cut => continue,
        };
        if sender.send((Instant::now() + delay, bytes[..read].to_vec())).await.is_err() || read == 0 {
            break;
        }
    }
    let _ = deliverer.await;
}

async fn deliver(
    mut to: OwnedWriteHalf,
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut way: watch::Receiver<Way>,
) {
    while let Some((due, bytes)) = pieces.recv().await {
        tokio::time::sleep_until(due).await;
        if flows(&mut way).await == Way::Cut {
            std::future::pending::<()>().await;
        }
        if bytes.is_empty() || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // Cut, and the other half of this connection has said nothing more.
    if *way.borrow() == Way::Cut {
        std::future::pending::<()>().await;
    }
}
