//! What the embedded store has acknowledged survives `kill -9`.
//!
//! The test starts itself again as a child that appends to several logs as fast as it can and prints every answer;
//! kills it at a moment that a seed decides; and looks, after each death, for everything that was printed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tidegate::domain::{ConferenceId, Event, Record, Recorded, Seq, Timestamp, UserName};
use tidegate::store::{ClaimKey, Claims, EmbeddedStore, Log, Revision, StoreError};

/// Tells the child where the store is; without it the child's test does nothing.
const DATA_DIR_VARIABLE: &str = "TIDEGATE_TEST_CRASH_DATA_DIR";
/// Begins each line of the child that tells of an answer: the test harness prints lines of its own.
const ANSWER: &str = "kept ";
/// Logs that the child fills at the same time, so that its commits hold several records.
const LOGS: u64 = 8;
/// Times that it is killed: a store that answers just before it commits is found out in about one of ten.
const ROUNDS: u64 = 20;
/// Answers after which it is killed at the latest.
const ANSWERS_MAX: u64 = 400;
const SEED: u64 = 0x7469_6465_6761_7465;

/// The next number of a fixed sequence (splitmix64).
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn conference(log: u64) -> ConferenceId {
    ConferenceId::parse(&format!("TS_{log}")).unwrap()
}

fn claim_key(log: u64) -> ClaimKey {
    ClaimKey::from_parts(&["crash", &log.to_string()]).unwrap()
}

/// The `number`th record of a log: of one to forty events, so that some span pages of the file, and no two alike.
fn record(log: u64, number: u64) -> Record {
    let events = 1 + (log * 7 + number * 13) % 40;
    let event = |index: u64| Recorded {
        seq: Seq(number * 100 + index),
        at: Timestamp(number),
        event: Event::UserReadmitted {
            user: UserName::parse(&format!("log {log} record {number} event {index} of {events}")).unwrap(),
        },
    };
    Record { events: (0..events).map(event).collect() }
}

fn number_of(record: &Record) -> u64 {
    record.events[0].seq.0 / 100
}

async fn read_all(store: &EmbeddedStore, conference: &ConferenceId) -> Vec<(Revision, Record)> {
    let mut all: Vec<(Revision, Record)> = Vec::new();
    loop {
        let after = all.last().map_or(Revision::START, |(at, _)| *at);
        let page = store.read(conference, after, 500).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Not a test of its own: the body of the child.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_appends_until_it_is_killed() {
    let Some(data_dir) = std::env::var_os(DATA_DIR_VARIABLE) else { return };
    let store = Arc::new(EmbeddedStore::open(Path::new(&data_dir)).unwrap());
    let mut writers = tokio::task::JoinSet::new();
    for log in 0..LOGS {
        let store = Arc::clone(&store);
        writers.spawn(async move { fill_for_ever(&store, log).await });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap().unwrap();
    }
}

/// Appends, then counts the record in a claim, and prints both answers.
async fn fill_for_ever(store: &EmbeddedStore, log: u64) -> Result<(), StoreError> {
    let conference = conference(log);
    let known = read_all(store, &conference).await;
    let (mut at, mut number) =
        known.last().map_or((Revision::START, 0), |(at, record)| (*at, number_of(record)));
    let mut claimed = store.get(&claim_key(log)).await?.map(|claim| claim.revision);
    loop {
        number += 1;
        at = store.append(&conference, at, &record(log, number)).await.unwrap();
        print(&format!("{ANSWER}record {log} {number} {at}\n"));
        let value = Bytes::from(number.to_string());
        claimed = Some(store.put(&claim_key(log), claimed, value).await.unwrap());
        print(&format!("{ANSWER}claim {log} {number} -\n"));
    }
}

/// One line in one write, past the buffer that a killed process would lose.
fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

fn start_child(data_dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_appends_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(DATA_DIR_VARIABLE, data_dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// What must be there: by log, the revision of each record by its number, and the value of the claim.
#[derive(Debug, Default)]
struct Acknowledged {
    records: BTreeMap<u64, BTreeMap<u64, String>>,
    claims: BTreeMap<u64, u64>,
}

impl Acknowledged {
    fn note(&mut self, answer: &str) {
        let words: Vec<&str> = answer.split_whitespace().collect();
        let [kind, log, number, at] = words[..] else { panic!("half a line: {answer:?}") };
        let (log, number) = (log.parse().unwrap(), number.parse().unwrap());
        if kind == "record" {
            self.records.entry(log).or_default().insert(number, at.to_owned());
        } else {
            self.claims.insert(log, number);
        }
    }

    fn count(&self) -> usize {
        self.records.values().map(BTreeMap::len).sum()
    }
}

/// Runs a child until `answers` answers have come, kills it, and notes all that it had printed by then.
fn run_and_kill(data_dir: &Path, answers: u64, acknowledged: &mut Acknowledged) {
    let mut child = start_child(data_dir);
    let mut seen = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // The harness may have begun a line of its own before the first answer.
        let line = line.unwrap();
        let Some((_, answer)) = line.split_once(ANSWER) else { continue };
        acknowledged.note(answer);
        seen += 1;
        if seen == answers {
            // SIGKILL. The lines that are still in the pipe were answers too: the loop reads them to the end.
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success(), "the child is killed, it does not end");
    assert!(seen >= answers, "the child ended by itself after {seen} answers");
}

/// What is found now must be there after the next death too, so it is noted as if it had been answered.
async fn assert_all_is_there(data_dir: &Path, acknowledged: &mut Acknowledged) {
    let store = EmbeddedStore::open(data_dir).unwrap();
    for log in 0..LOGS {
        let kept = read_all(&store, &conference(log)).await;
        let told = acknowledged.records.entry(log).or_default();
        // Of each log one append was in flight: it may be kept though its answer was lost.
        let (found, answered) = (kept.len(), told.len());
        assert!(
            found == answered || found == answered + 1,
            "log {log}: {answered} were acknowledged, {found} are kept"
        );
        for ((at, found), number) in kept.iter().zip(1..) {
            assert_eq!(found, &record(log, number), "log {log}");
            let at = at.to_string();
            assert_eq!(told.entry(number).or_insert_with(|| at.clone()), &at, "log {log} record {number}");
        }

        let told = acknowledged.claims.entry(log).or_default();
        let found = match store.get(&claim_key(log)).await.unwrap() {
            Some(claim) => std::str::from_utf8(&claim.value).unwrap().parse().unwrap(),
            None => 0,
        };
        assert!(
            (*told..=kept.len() as u64).contains(&found),
            "claim {log}: {told} was told, {found} is kept"
        );
        *told = found;
    }
    store.close().await;
}

/// Times that records are appended to all logs at once: not so many that the write-ahead log is copied into the database,
/// because then nothing of it could be lost.
const APPENDS: u64 = 15;
/// What a power loss may leave of the write-ahead log: so many different ends of it.
const CUTS: u64 = 60;
/// The last page that was on its way to the disk may hold anything.
const TORN_BYTES: u64 = 4096;

/// The files of the store as they are found after a power loss that left `length` bytes of the write-ahead log, the last
/// page of them torn where that is asked for; tells how many bytes of it are whole.
fn lose_power(from: &Path, to: &Path, length: u64, torn: bool, seed: &mut u64) -> u64 {
    std::fs::copy(from.join("tidegate.db"), to.join("tidegate.db")).unwrap();
    let mut log = std::fs::read(from.join("tidegate.db-wal")).unwrap();
    log.truncate(usize::try_from(length).unwrap());
    let whole = if torn { length.saturating_sub(TORN_BYTES) } else { length };
    for byte in log.iter_mut().skip(usize::try_from(whole).unwrap()) {
        *byte = draw(seed).to_le_bytes()[0];
    }
    std::fs::write(to.join("tidegate.db-wal"), log).unwrap();
    whole
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_loss_leaves_everything_synced_and_of_the_rest_a_beginning() {
    let folder = TempDir::new().unwrap();
    let store = EmbeddedStore::open(folder.path()).unwrap();
    let mut heads = vec![Revision::START; usize::try_from(LOGS).unwrap()];
    // By their place in the order of commits: the log that each is of, and how long the write-ahead log was when it was answered.
    let mut told = BTreeMap::new();
    for number in 1..=APPENDS {
        let appends = (0..).zip(&heads).map(|(log, head)| {
            let (conference, record) = (conference(log), record(log, number));
            let store = &store;
            async move { store.append(&conference, *head, &record).await.unwrap() }
        });
        heads = futures_util::future::join_all(appends).await;
        let synced_bytes = store.stats().wal_bytes;
        told.extend((0..).zip(&heads).map(|(log, at)| (*at, (log, synced_bytes))));
    }
    let length = store.stats().wal_bytes;
    let (first, _) = told
        .values()
        .map(|(_, bytes)| *bytes)
        .fold((u64::MAX, 0), |(low, high), bytes| (low.min(bytes), high.max(bytes)));
    assert!(0 < first && first < length, "the write-ahead log grew from {first} to {length} bytes");
    let commits = store.stats().commits;

    let (mut seed, mut lost, mut torn_ones) = (SEED, 0, 0);
    for cut in 0..CUTS {
        // The whole of it, nothing of it, and ends at any byte between.
        let left = match cut {
            0 => length,
            1 => 0,
            _ => draw(&mut seed) % length,
        };
        let torn = cut % 2 == 1 && left > 0;
        torn_ones += usize::from(torn);
        let copy = TempDir::new().unwrap();
        let whole = lose_power(folder.path(), copy.path(), left, torn, &mut seed);
        let reopened = EmbeddedStore::open(copy.path()).unwrap();
        let mut kept = 0;
        let mut revisions = Vec::new();
        for log in 0..LOGS {
            for ((at, found), number) in read_all(&reopened, &conference(log)).await.iter().zip(1..) {
                assert_eq!(found, &record(log, number), "log {log} after {left} bytes");
                assert_eq!(told[at].0, log);
                revisions.push(*at);
                kept += 1;
            }
        }
        revisions.sort();
        let beginning: Vec<Revision> = told.keys().take(kept).copied().collect();
        assert_eq!(revisions, beginning, "{left} bytes, torn: {torn}: not a beginning of what was committed");
        let synced = told.values().filter(|(_, bytes)| *bytes <= whole).count();
        assert!(kept >= synced, "{left} bytes, torn: {torn}: {synced} were synced and {kept} are kept");
        lost += told.len() - kept;
        reopened.close().await;
    }
    println!(
        "{} records in {commits} commits, {length} bytes of log; {CUTS} power losses, {torn_ones} of them with a torn page: {lost} \
         unsynced records lost, no synced one",
        told.len()
    );
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_change_survives_a_kill() {
    let folder = TempDir::new().unwrap();
    let mut acknowledged = Acknowledged::default();
    let mut seed = SEED;
    for round in 1..=ROUNDS {
        let before = acknowledged.count();
        let answers = 1 + draw(&mut seed) % ANSWERS_MAX;
        run_and_kill(folder.path(), answers, &mut acknowledged);
        assert_all_is_there(folder.path(), &mut acknowledged).await;
        println!(
            "round {round}: killed after {answers} answers, {} records more",
            acknowledged.count() - before
        );
    }
}
