//! What only the embedded home does: files, reopening, group commit, failing commits. `opening` holds locks, files that are not
//! ours, and upgrades.

mod opening;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::wal::WAL_BYTES_MAX;
use super::*;
use crate::store::contract::{
    self, Home, conference, ending, fill, read_all, record, record_of_len, snapshot,
};
use crate::store::{RECORD_BYTES_MAX, SNAPSHOT_BYTES_MAX, Store};

async fn open() -> Home {
    let folder = TempDir::new().unwrap();
    Home::new(Arc::new(EmbeddedStore::open(folder.path()).unwrap()), folder)
}

contract::contract_suite!(open);

fn file(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("tidegate.db")
}

fn key(text: &str) -> ClaimKey {
    ClaimKey::parse(text).unwrap()
}

/// Keeps the writer thread in one batch until the returned sender is used or dropped.
async fn occupy_writer(store: &Arc<EmbeddedStore>) -> std::sync::mpsc::Sender<()> {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let (entered, inside) = oneshot::channel();
    let occupied = Arc::clone(store);
    tokio::spawn(async move {
        occupied
            .writer
            .submit(0, move |_| {
                entered.send(()).unwrap();
                let _ = wait.recv();
                Ok(Ok::<_, StoreError>(()))
            })
            .await
    });
    inside.await.unwrap();
    release
}

async fn run(store: &EmbeddedStore, sql: &'static str) {
    store.writer.submit(0, move |batch| batch.run(sql).map(Ok::<_, StoreError>)).await.unwrap();
}

/// Polls `appends` once each, so that all of them wait in the queue in this order.
async fn enqueue_all<F: Future + Unpin>(appends: &mut [F]) {
    std::future::poll_fn(|context| {
        for append in appends.iter_mut() {
            assert!(std::pin::Pin::new(append).poll(context).is_pending());
        }
        std::task::Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn everything_is_back_after_reopening() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    let doors: Arc<dyn Store> = Arc::<EmbeddedStore>::clone(&store);
    let at = fill(&doors, &conference(1), 1, 5).await;
    let ended = fill(&doors, &conference(2), 1, 1).await[0];
    doors.append(&conference(2), ended, &ending(2)).await.unwrap();
    doors.put_snapshot(&conference(1), at[2], &snapshot(3, "three")).await.unwrap();
    doors.trim(&conference(1), at[0]).await.unwrap();
    let status = doors.status(&conference(2)).await.unwrap();
    assert!(status.as_ref().is_some_and(|status| status.ended_at.is_some()));
    let claimed = doors.put(&key("rooms/a"), None, Bytes::from_static(b"TS_1")).await.unwrap();
    let deleted = doors.put(&key("rooms/b"), None, Bytes::new()).await.unwrap();
    doors.delete(&key("rooms/b"), deleted).await.unwrap();
    let log = read_all(&doors, &conference(1)).await;
    let followed = doors.follow_all(Position::START, 99).await.unwrap();
    store.close().await;
    drop(doors);

    let doors: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    assert_eq!(log.len(), 4);
    assert_eq!(read_all(&doors, &conference(1)).await, log);
    assert_eq!(doors.follow_all(Position::START, 99).await.unwrap(), followed);
    let newest = contract::snapshot_of(&doors, &conference(1), SnapshotAt::Newest).await;
    assert_eq!(newest, Some((at[2], snapshot(3, "three"))));
    assert_eq!(doors.status(&conference(2)).await.unwrap(), status);
    assert_eq!(doors.open_conferences(None, 9).await.unwrap(), [conference(1)]);
    let newest = followed.last().unwrap().position;
    assert_eq!((doors.head().await.unwrap(), *doors.changes().borrow()), (newest, newest));
    assert_eq!(
        doors.list(&key("rooms"), None, 9).await.unwrap(),
        [(key("rooms/a"), Claim { revision: claimed, value: Bytes::from_static(b"TS_1") })]
    );
    // Numbers go on and do not return.
    assert!(doors.put(&key("rooms/b"), None, Bytes::new()).await.unwrap() > deleted);
    assert!(doors.append(&conference(1), at[4], &record(6)).await.unwrap().0 > newest.0);
}

#[tokio::test]
async fn dropping_without_closing_keeps_what_was_acknowledged_and_unlocks() {
    let folder = TempDir::new().unwrap();
    for number in 1..=3 {
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
        fill(&store, &conference(1), number, 1).await;
        assert_eq!(read_all(&store, &conference(1)).await.len() as u64, number);
    }
}

#[tokio::test]
async fn closing_carries_out_what_waits_and_refuses_the_rest() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    let mut changes = store.changes();
    let release = occupy_writer(&store).await;
    let (room, first) = (conference(1), record(1));
    let mut waiting = [store.append(&room, Revision::START, &first)];
    enqueue_all(&mut waiting).await;
    let closing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.close().await }
    });
    // The close has begun when the store refuses.
    while store.get(&key("a")).await != Err(StoreError::Closed) {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.append(&room, Revision::START, &first).await, Err(StoreError::Closed.into()));
    assert!(!closing.is_finished());
    release.send(()).unwrap();
    let [waiting] = waiting;
    waiting.await.unwrap();
    closing.await.unwrap();
    // A second close has nothing to wait for, and followers are told of the record and then of the end.
    store.close().await;
    changes.changed().await.unwrap();
    assert_eq!(*changes.borrow_and_update(), Position(1));
    changes.changed().await.unwrap_err();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the write-ahead log is gone");
    let reopened: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    assert_eq!(read_all(&reopened, &conference(1)).await.len(), 1);
}

#[tokio::test]
async fn changes_that_wait_together_share_one_commit() {
    const CALLERS: usize = 300;
    let folder = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    let release = occupy_writer(&store).await;
    let rooms: Vec<_> = (0..CALLERS as u64).map(|room| (conference(room), record(room))).collect();
    let mut appends: Vec<_> =
        rooms.iter().map(|(room, record)| store.append(room, Revision::START, record)).collect();
    enqueue_all(&mut appends).await;
    let before = store.stats();
    release.send(()).unwrap();
    let mut revisions = Vec::new();
    for append in appends {
        revisions.push(append.await.unwrap());
    }
    assert!(revisions.is_sorted_by(|a, b| a < b), "the order of arrival is the order of the log");
    let after = store.stats();
    assert_eq!(after.operations - before.operations, CALLERS as u64);
    assert_eq!(after.commits - before.commits, 1);
    // A conflict costs no commit.
    store.append(&rooms[0].0, Revision::START, &rooms[0].1).await.unwrap_err();
    assert_eq!(store.stats(), after);
}

#[tokio::test]
async fn two_appends_of_one_batch_are_compared_with_each_other() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    let release = occupy_writer(&store).await;
    let (room, records) = (conference(1), [record(1), record(2)]);
    let mut appends: Vec<_> =
        records.iter().map(|record| store.append(&room, Revision::START, record)).collect();
    enqueue_all(&mut appends).await;
    release.send(()).unwrap();
    let mut appends = appends.into_iter();
    appends.next().unwrap().await.unwrap();
    assert_eq!(appends.next().unwrap().await, Err(AppendError::Conflict));
}

#[tokio::test]
async fn too_many_waiting_changes_are_refused() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    let release = occupy_writer(&store).await;
    let (room, record) = (conference(1), record(1));
    let mut waiting: Vec<_> = (0..4_096).map(|_| store.append(&room, Revision::START, &record)).collect();
    enqueue_all(&mut waiting).await;
    assert_eq!(store.append(&room, Revision::START, &record).await, Err(StoreError::Busy.into()));
    assert_eq!(store.stats().refused_busy, 1);
    release.send(()).unwrap();
    let mut won = 0;
    for append in waiting {
        won += usize::from(append.await.is_ok());
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn too_many_waiting_bytes_are_refused() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    let release = occupy_writer(&store).await;
    let room = conference(1);
    let large = record_of_len(1, RECORD_BYTES_MAX - 8 * 1024);
    let mut waiting = Vec::new();
    let refused = loop {
        let mut append = store.append(&room, Revision::START, &large);
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut append).poll(context))
        });
        match polled.await {
            std::task::Poll::Pending => waiting.push(append),
            std::task::Poll::Ready(refused) => break refused,
        }
    };
    assert_eq!(refused, Err(StoreError::Busy.into()));
    assert!((128..=132).contains(&waiting.len()), "{} waited", waiting.len());
    // The callers give up; what they asked for is carried out all the same, and the queue is free again.
    drop(waiting);
    release.send(()).unwrap();
    while store.append(&conference(2), Revision::START, &large).await == Err(StoreError::Busy.into()) {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.read(&room, Revision::START, 9).await.unwrap().len(), 1);
}

/// Two appends, a conflict and a claim in one batch that cannot be kept; then the same again, which can.
async fn assert_a_failed_batch_leaves_nothing(store: &Arc<EmbeddedStore>, mend: &'static str, fault: &str) {
    let rooms = [conference(1), conference(1), conference(2)];
    let records = [record(1), record(2), record_of_len(3, RECORD_BYTES_MAX / 2)];
    let news = store.changes();
    let before = store.stats();
    let release = occupy_writer(store).await;
    let mut appends: Vec<_> = rooms
        .iter()
        .zip(&records)
        .map(|(room, record)| store.append(room, Revision::START, record))
        .collect();
    enqueue_all(&mut appends).await;
    let claim = key("rooms/a");
    let mut claims = [store.put(&claim, None, Bytes::new())];
    enqueue_all(&mut claims).await;
    release.send(()).unwrap();
    for append in appends {
        let Err(AppendError::Unavailable(StoreError::Failed { home, fault: told, .. })) = append.await else {
            panic!("every operation of the batch fails, conflicts too");
        };
        assert!(home.ends_with("tidegate.db"), "{home}");
        assert!(told.contains(fault), "{told}");
    }
    let [claimed] = claims;
    assert!(matches!(claimed.await, Err(ClaimError::Unavailable(_))));
    assert_eq!(store.stats().failed_commits, before.failed_commits + 1);
    assert_eq!(store.stats().commits, before.commits);
    assert_eq!(store.follow_all(Position::START, 9).await.unwrap(), []);
    assert_eq!(store.get(&claim).await.unwrap(), None);
    assert!(!news.has_changed().unwrap());

    run(store, mend).await;
    store.append(&rooms[0], Revision::START, &records[0]).await.unwrap();
    store.append(&rooms[2], Revision::START, &records[2]).await.unwrap();
    store.put(&claim, None, Bytes::new()).await.unwrap();
    assert_eq!(store.follow_all(Position::START, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_full_disk_fails_the_batch_and_the_writer_goes_on() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    run(&store, "PRAGMA max_page_count = 1").await;
    assert_a_failed_batch_leaves_nothing(&store, "PRAGMA max_page_count = 1000000", "full").await;
}

#[tokio::test]
async fn a_commit_that_fails_at_its_end_fails_the_batch_and_the_writer_goes_on() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    // A deferred foreign key is checked by the COMMIT itself.
    run(
        &store,
        "CREATE TABLE parents (id INTEGER PRIMARY KEY);
         CREATE TABLE orphans (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER poison AFTER INSERT ON claims BEGIN INSERT INTO orphans VALUES (1); END;",
    )
    .await;
    assert_a_failed_batch_leaves_nothing(&store, "DROP TRIGGER poison", "FOREIGN KEY").await;
}

#[tokio::test]
async fn only_the_gateways_user_may_read_the_files() {
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("a/b");
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&data_dir).unwrap());
    fill(&store, &conference(1), 1, 1).await;
    let modes: BTreeMap<String, u32> = fs::read_dir(&data_dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), mode)
        })
        .collect();
    let names = ["tidegate.db", "tidegate.db-shm", "tidegate.db-wal", "tidegate.lock"];
    assert_eq!(modes, names.map(|name| (name.to_owned(), 0o600)).into());
    assert_eq!(fs::metadata(&data_dir).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn the_writer_syncs_every_commit_and_keeps_a_write_ahead_log() {
    let folder = TempDir::new().unwrap();
    let store = EmbeddedStore::open(folder.path()).unwrap();
    for (pragma, wanted) in [
        ("synchronous", "2"),
        ("journal_mode", "wal"),
        ("journal_size_limit", "16777216"),
        ("auto_vacuum", "2"),
    ] {
        let found: Result<String, StoreError> = store
            .writer
            .submit(0, move |batch| {
                batch.query(&format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}")).map(Ok)
            })
            .await;
        assert_eq!(found.unwrap(), wanted, "{pragma}");
    }
}

#[tokio::test]
async fn the_write_ahead_log_shrinks_again_and_a_long_reader_stops_nobody() {
    let folder = TempDir::new().unwrap();
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    let room = conference(1);
    let at = fill(&store, &room, 1, 1).await[0];
    let outside = Connection::open(file(&folder)).unwrap();
    outside.execute_batch("BEGIN; SELECT * FROM records;").unwrap();
    // Each differs from the one before: SQLite does not write pages that stay the same.
    for fill in 0..=u8::try_from(WAL_BYTES_MAX / SNAPSHOT_BYTES_MAX as u64).unwrap() {
        let large = Snapshot::new(1, Seq(1), Bytes::from(vec![fill; SNAPSHOT_BYTES_MAX])).unwrap();
        store.put_snapshot(&room, at, &large).await.unwrap();
    }
    let wal_bytes = || Faulty::new(&file(&folder)).wal_bytes();
    assert!(wal_bytes() > WAL_BYTES_MAX, "the reader keeps it: {}", wal_bytes());
    outside.execute_batch("COMMIT").unwrap();
    for number in 2..=3 {
        fill(&store, &room, number, 1).await;
    }
    assert!(wal_bytes() < WAL_BYTES_MAX / 2, "{}", wal_bytes());
    assert_eq!(read_all(&store, &room).await.len(), 3);
}

/// Ended logs without records, made by one transaction.
const ENDED_LONG_AGO: &str = "
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    INSERT INTO logs (conference, head, ended, ended_at, emptied, app)
    SELECT printf('TS_ended%06d', i), 100000 + i, 1, i, 1, 'app' FROM n;";
/// Ended logs with two records each, 40 MB together.
const ENDED_YESTERDAY: &str = "
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
    INSERT INTO logs (conference, head, ended, ended_at, app)
    SELECT printf('TS_ended%06d', i), 200000 + i, 1, i, 'app' FROM n;
    INSERT INTO records SELECT head - 100000, conference, printf('%.*c', 2000, 'x') FROM logs WHERE ended = 1;
    INSERT INTO records SELECT head, conference, printf('%.*c', 2000, 'x') FROM logs WHERE ended = 1;
    UPDATE counters SET last_position = 300000;";

/// What it costs SQLite to list the open conferences, in steps of its virtual machine.
fn steps_to_list(connection: &Connection) -> i32 {
    let mut listing = connection.prepare(OPEN_CONFERENCES).unwrap();
    let listed = listing.query_map(params!["", 999], |row| row.get::<_, String>(0)).unwrap().count();
    assert_eq!(listed, 3);
    listing.get_status(rusqlite::StatementStatus::VmStep)
}

#[tokio::test]
async fn a_year_of_ended_conferences_costs_a_start_not_one_step() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    let doors: Arc<dyn Store> = Arc::<EmbeddedStore>::clone(&store);
    for room in 1..=3 {
        fill(&doors, &conference(room), 1, 2).await;
    }
    let outside = Connection::open(file(&folder)).unwrap();
    let steps = steps_to_list(&outside);
    run(&store, ENDED_LONG_AGO).await;
    assert_eq!(steps_to_list(&outside), steps, "with a hundred thousand ended logs beside");
    assert_eq!(doors.open_conferences(None, 9).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_forgotten_logs_leave_is_given_back_but_for_a_reserve() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    let doors: Arc<dyn Store> = Arc::<EmbeddedStore>::clone(&store);
    fill(&doors, &conference(1), 1, 2).await;
    run(&store, ENDED_YESTERDAY).await;
    assert!(!store.give_back_space().await.unwrap(), "nothing is free yet");
    let mut wal_most = 0;
    loop {
        let ended = store.ended_conferences(EndedPart::All, None, Timestamp(u64::MAX), 500).await.unwrap();
        if ended.is_empty() {
            break;
        }
        let forgotten = ended.iter().map(|ended| store.forget(&ended.conference));
        let forgotten = futures_util::future::join_all(forgotten).await;
        assert!(forgotten.into_iter().all(|forgotten| forgotten.is_ok()));
        wal_most = wal_most.max(store.stats().wal_bytes);
    }
    fill(&doors, &conference(1), 3, 1).await;
    let full = store.stats().file_bytes;
    assert!(full > 40_000_000, "{full}");
    while store.give_back_space().await.unwrap() {
        wal_most = wal_most.max(store.stats().wal_bytes);
    }
    assert!(wal_most <= 2 * WAL_BYTES_MAX, "{wal_most}");
    assert_eq!(read_all(&doors, &conference(1)).await.len(), 3);
    drop(doors);
    store.close().await;
    let left = fs::metadata(file(&folder)).unwrap().len();
    assert!((16_000_000..20_000_000).contains(&left), "{left} bytes of {full} are left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_stays_bounded_while_readers_follow_each_other_without_a_gap() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
    let doors: Arc<dyn Store> = Arc::<EmbeddedStore>::clone(&store);
    let room = conference(1);
    let at = fill(&doors, &room, 1, 200).await;
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (doors, done) = (Arc::clone(&doors), Arc::clone(&done));
            tokio::spawn(async move {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    doors.follow_all(Position::START, 999).await.unwrap();
                }
            })
        })
        .collect();
    let mut most = 0;
    for fill in 0..24 {
        let large = Snapshot::new(1, Seq(1), Bytes::from(vec![fill; SNAPSHOT_BYTES_MAX])).unwrap();
        doors.put_snapshot(&room, at[0], &large).await.unwrap();
        most = most.max(store.stats().wal_bytes);
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(most < 2 * WAL_BYTES_MAX, "{most} bytes, where {} were written", 24 * SNAPSHOT_BYTES_MAX);
}

/// How SQLite carries out `sql`.
fn plan(connection: &Connection, sql: &str, parameters: impl Params) -> String {
    connection.query_row(&format!("EXPLAIN QUERY PLAN {sql}"), parameters, |row| row.get(3)).unwrap()
}

#[tokio::test]
async fn a_listing_touches_nothing_but_what_it_lists() {
    let folder = TempDir::new().unwrap();
    EmbeddedStore::open(folder.path()).unwrap();
    let connection = Connection::open(file(&folder)).unwrap();
    let open = plan(&connection, OPEN_CONFERENCES, params!["", 9]);
    assert!(open.contains("SEARCH logs USING COVERING INDEX open_logs"), "{open}");
    for (sql, index) in [(ENDED_LOGS, "ended_logs"), (ENDED_LOGS_WITH_RECORDS, "ended_logs_with_records")] {
        let ended = plan(&connection, sql, params![-1, "", 9, 9]);
        assert!(ended.contains(&format!("SEARCH logs USING COVERING INDEX {index} (")), "{ended}");
    }
    for sql in [LATER_SNAPSHOT, EARLIER_SNAPSHOT] {
        let snapshot = plan(&connection, sql, params!["", 9]);
        assert!(snapshot.contains("SEARCH snapshots USING INDEX"), "{snapshot}");
    }
}
