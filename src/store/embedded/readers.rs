//! A few threads that read, each with its own read-only connection, so that a long listing delays neither the
//! writer nor the runtime.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::StoreError;

use super::open::{self, OpenError};
use super::writer::Counts;

/// Threads that read: one long page must not hold up all others, and the disk and the machine are shared with media.
const READERS: usize = 2;
/// Most reads that wait. A read is a fraction of a millisecond, so this is well below a second of work.
const QUEUE_READS_MAX: usize = 1_024;

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The way to the reader threads.
#[derive(Debug)]
pub(super) struct Readers {
    queue: Mutex<Option<SyncSender<Read>>>,
    counts: Arc<Counts>,
}

impl Readers {
    pub(super) fn start(path: &Path, counts: Arc<Counts>) -> Result<(Self, Vec<JoinHandle<()>>), OpenError> {
        let (sender, receiver) = sync_channel(QUEUE_READS_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::new();
        for number in 1..=READERS {
            let connection = open::open_reader(path)?;
            let receiver = Arc::clone(&receiver);
            let thread = Builder::new()
                .name(format!("store-reader-{number}"))
                .spawn(move || work(&connection, &receiver))
                .map_err(|source| OpenError::File { path: path.to_owned(), source })?;
            threads.push(thread);
        }
        Ok((Self { queue: Mutex::new(Some(sender)), counts }, threads))
    }

    pub(super) async fn submit<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(move |connection| {
            if !reply.is_closed() {
                // Who stopped listening meanwhile needs no answer.
                let _ = reply.send(read(connection));
            }
        }))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    fn enqueue(&self, read: Read) -> Result<(), StoreError> {
        let queue = self.queue.lock();
        let Some(sender) = queue.as_ref() else { return Err(StoreError::Closed) };
        sender.try_send(read).map_err(|refused| match refused {
            TrySendError::Full(_) => self.counts.busy(),
            TrySendError::Disconnected(_) => StoreError::Closed,
        })
    }

    /// Takes nothing more; what waits is still carried out.
    pub(super) fn close(&self) {
        self.queue.lock().take();
    }
}

fn work(connection: &Connection, queue: &Mutex<Receiver<Read>>) {
    loop {
        // The lock is held while waiting: one reader waits for the queue, the others for the lock.
        let next = queue.lock().recv();
        match next {
            Ok(read) => read(connection),
            Err(_) => return,
        }
    }
}
