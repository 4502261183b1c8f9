//! The one thread that writes, and group commit: what has piled up while the disk was busy becomes one transaction
//! with one sync, and all are answered after it.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};

use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::store::{Position, StoreError};

use super::batch::{Batch, Kept};
use super::fault::Faulty;
use super::wal::WalBound;

/// Most changes that wait for the disk. At some thousand changes a second this is about one second of work; who
/// comes later is better refused than kept waiting.
const QUEUE_OPERATIONS_MAX: usize = 4_096;
/// Most bytes that wait for the disk: the memory that a stalled disk may cost.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most changes in one transaction, so that the first of them does not wait for ever more to join.
const BATCH_OPERATIONS_MAX: usize = 1_024;
/// A transaction takes no more changes when it has this many bytes: what the disk writes in a fraction of a second.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How the writer has fared since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Transactions that became durable: one sync of the disk each.
    pub commits: u64,
    /// Changes that became durable; divided by `commits`, what group commit saves.
    pub operations: u64,
    /// Transactions that failed; each of their changes was answered as unavailable.
    pub failed_commits: u64,
    /// Changes and reads that were refused because too many waited.
    pub refused_busy: u64,
    /// Bytes of the database file.
    pub file_bytes: u64,
    /// Bytes of its write-ahead log.
    pub wal_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    commits: AtomicU64,
    operations: AtomicU64,
    failed_commits: AtomicU64,
    refused_busy: AtomicU64,
}

impl Counts {
    pub(super) fn stats(&self) -> StoreStats {
        StoreStats {
            commits: self.commits.load(Ordering::Relaxed),
            operations: self.operations.load(Ordering::Relaxed),
            failed_commits: self.failed_commits.load(Ordering::Relaxed),
            refused_busy: self.refused_busy.load(Ordering::Relaxed),
            ..StoreStats::default()
        }
    }

    /// Counts the refusal and gives its error.
    pub(super) fn busy(&self) -> StoreError {
        self.refused_busy.fetch_add(1, Ordering::Relaxed);
        StoreError::Busy
    }
}

/// A change that is carried out in a batch and answered when the batch is durable.
trait Change: Send {
    fn carry_out(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: &Result<(), StoreError>);
}

struct Pending<W, T, E> {
    work: Option<W>,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<W, T, E> Change for Pending<W, T, E>
where
    W: FnOnce(&mut Batch<'_>) -> rusqlite::Result<Result<T, E>> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn carry_out(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.outcome = Some(work(batch)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: &Result<(), StoreError>) {
        // A conflict may come from a change of the same batch: if that is not durable, it is no conflict either.
        let answer = match (committed, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(StoreError::Closed.into()),
            (Err(error), _) => Err(error.clone().into()),
        };
        // Who no longer listens has accepted not to know.
        let _ = self.reply.send(answer);
    }
}

struct Job {
    change: Box<dyn Change>,
    /// The job's share of the bytes that may wait.
    bytes: OwnedSemaphorePermit,
}

/// The way to the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    bytes: Arc<Semaphore>,
    counts: Arc<Counts>,
}

/// What the writer thread works with, and what it takes down at its end.
#[derive(Debug)]
pub(super) struct Workshop {
    pub(super) connection: Connection,
    pub(super) faulty: Faulty,
    pub(super) counts: Arc<Counts>,
    pub(super) durable: watch::Sender<Position>,
    /// Ended before the connection is closed, so that closing can empty the write-ahead log.
    pub(super) readers: Vec<JoinHandle<()>>,
    pub(super) lock: File,
    /// Dropped last: tells who waits for the end.
    pub(super) running: watch::Sender<()>,
}

impl Writer {
    pub(super) fn start(workshop: Workshop) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = mpsc::channel(QUEUE_OPERATIONS_MAX);
        let counts = Arc::clone(&workshop.counts);
        let thread = Builder::new().name("store-writer".to_owned()).spawn(move || workshop.work(receiver))?;
        let bytes = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        Ok((Self { queue: Mutex::new(Some(sender)), bytes, counts }, thread))
    }

    /// Has `work` carried out in the next batch and waits until it is durable. `bytes` is what it keeps in memory.
    pub(super) async fn submit<T, E>(
        &self,
        bytes: usize,
        work: impl FnOnce(&mut Batch<'_>) -> rusqlite::Result<Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.enqueue(bytes, Box::new(Pending { work: Some(work), outcome: None, reply }))?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    fn enqueue(&self, bytes: usize, change: Box<dyn Change>) -> Result<(), StoreError> {
        let bytes = u32::try_from(bytes.max(1)).unwrap_or(u32::MAX);
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(bytes).map_err(|_| self.counts.busy())?;
        let queue = self.queue.lock();
        let Some(sender) = queue.as_ref() else { return Err(StoreError::Closed) };
        sender.try_send(Job { change, bytes }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => self.counts.busy(),
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })
    }

    /// Takes nothing more; what waits is still carried out.
    pub(super) fn close(&self) {
        self.queue.lock().take();
    }
}

impl Workshop {
    fn work(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut wal = WalBound::default();
        while let Some(first) = queue.blocking_recv() {
            let jobs = gather(first, &mut queue);
            self.carry_out(jobs);
            wal.keep(&self.connection, &self.faulty);
        }
        let Self { connection, readers, lock, running, durable, .. } = self;
        drop(durable);
        for reader in readers {
            // A reader that panicked has nothing to tell any more.
            let _ = reader.join();
        }
        drop(connection);
        drop(lock);
        drop(running);
    }

    fn carry_out(&mut self, mut jobs: Vec<Job>) {
        let committed = self.transact(&mut jobs);
        let counts = &self.counts;
        let answer = match committed {
            Ok(kept) => {
                counts.commits.fetch_add(u64::from(kept.operations > 0), Ordering::Relaxed);
                counts.operations.fetch_add(kept.operations, Ordering::Relaxed);
                if let Some(newest) = kept.newest {
                    self.durable.send_replace(newest);
                }
                Ok(())
            }
            Err(error) => {
                counts.failed_commits.fetch_add(1, Ordering::Relaxed);
                let error = self.faulty.error(&error);
                tracing::error!(%error, changes = jobs.len(), "the store could not commit");
                Err(error)
            }
        };
        for job in jobs {
            job.change.answer(&answer);
        }
    }

    /// On any error nothing of the batch is kept: the transaction rolls back when it is dropped.
    fn transact(&mut self, jobs: &mut [Job]) -> rusqlite::Result<Kept> {
        if !self.connection.is_autocommit() {
            // A rollback that failed too, on a disk that fails: without this no transaction could ever begin again.
            self.connection.execute_batch("ROLLBACK")?;
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut batch = Batch::begin(transaction)?;
        for job in jobs {
            job.change.carry_out(&mut batch)?;
        }
        batch.commit()
    }
}

/// The first job and what waits behind it, as far as one transaction should go.
fn gather(first: Job, queue: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.bytes.num_permits();
    let mut jobs = vec![first];
    while jobs.len() < BATCH_OPERATIONS_MAX && bytes < BATCH_BYTES_MAX {
        let Ok(job) = queue.try_recv() else { break };
        bytes += job.bytes.num_permits();
        jobs.push(job);
    }
    jobs
}
