//! What every home must do, each behaviour a function over an empty store.
//!
//! A home runs them all by `contract_suite!(open)`, where `open` is an async function that gives a [`Home`].

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::domain::conference::ConferenceKind;
use crate::domain::{AppId, ConferenceId, Created, Event, Record, Recorded, Seq, Timestamp, UserName};

use super::{
    AppendError, CLAIM_VALUE_BYTES_MAX, ClaimError, ClaimKey, ClaimRevision, EndedLog, EndedPart, LogStatus,
    PAGE_BYTES_MAX, PAGE_ITEMS_MAX, Position, RECORD_BYTES_MAX, Revision, SNAPSHOT_BYTES_MAX, Snapshot,
    SnapshotAt, Store, TRIM_RECORDS_MAX,
};

/// Callers that append at the same time in the tests of concurrency.
const CALLERS: u64 = 64;

/// An empty store, and what must live as long as it is used (a folder, a server).
pub(crate) struct Home {
    pub(crate) store: Arc<dyn Store>,
    _keep: Box<dyn Any + Send>,
}

impl Home {
    pub(crate) fn new(store: Arc<dyn Store>, keep: impl Any + Send) -> Self {
        Self { store, _keep: Box::new(keep) }
    }
}

/// One test per behaviour.
macro_rules! contract_suite {
    ($open:ident) => {
        $crate::store::contract::contract_suite! { $open:
            an_append_needs_the_current_revision
            an_ended_log_takes_nothing_more
            records_that_no_home_could_keep_are_refused
            a_record_comes_back_whole
            a_log_is_read_in_pages_and_in_order
            a_page_is_bounded_in_bytes_and_items
            numbers_survive_being_stored
            logs_do_not_see_each_other
            following_sees_every_record_once_and_each_log_in_order
            following_while_others_append_misses_nothing
            a_change_wakes_followers_when_it_can_be_read
            a_log_has_snapshots_of_several_moments
            trimming_stops_at_the_snapshot
            a_snapshot_from_before_the_oldest_record_is_gone_and_is_not_kept_again
            trimming_removes_a_bounded_number_at_a_time
            an_ended_log_is_trimmed_whole_and_keeps_its_status
            a_forgotten_log_leaves_nothing
            an_open_log_is_not_forgotten
            a_status_tells_the_app_the_head_and_the_end
            ended_conferences_are_listed_by_their_end
            only_open_conferences_are_listed
            of_many_appends_to_one_revision_one_wins
            appends_that_retry_on_conflict_are_all_kept
            appends_to_many_logs_do_not_disturb_each_other
            a_claim_is_put_only_over_the_revision_that_is_known
            a_claim_is_deleted_only_at_the_revision_that_is_known
            a_claim_revision_never_returns
            claims_are_listed_below_a_key
            a_value_that_no_home_could_keep_is_refused
            of_many_claims_to_one_key_one_wins
        }
    };
    ($open:ident: $($behaviour:ident)+) => {
        mod contract_suite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    let home = super::$open().await;
                    $crate::store::contract::$behaviour(&home.store).await;
                }
            )+
        }
    };
}
pub(crate) use contract_suite;

pub(crate) fn conference(number: u64) -> ConferenceId {
    ConferenceId::parse(&format!("TS_{number:06}")).unwrap()
}

/// A record of one event whose number is `number`.
pub(crate) fn record(number: u64) -> Record {
    record_of_len(number, 0)
}

/// A record whose text has at least `bytes` bytes.
pub(crate) fn record_of_len(number: u64, bytes: usize) -> Record {
    let mut events = vec![readmitted(number, &format!("user-{number}"))];
    let mut written = 0;
    while written < bytes {
        let event = readmitted(number, &"u".repeat(128));
        written += serde_json::to_string(&event).unwrap().len();
        events.push(event);
    }
    Record { events }
}

fn readmitted(number: u64, user: &str) -> Recorded {
    Recorded {
        seq: Seq(number),
        at: Timestamp(number),
        event: Event::UserReadmitted { user: UserName::parse(user).unwrap() },
    }
}

pub(crate) fn ending(number: u64) -> Record {
    let mut record = record(number);
    record.events.push(Recorded {
        seq: Seq(number + 1),
        at: Timestamp(number),
        event: Event::ConferenceEnded { members: Vec::new() },
    });
    record
}

/// A first record, of a conference in `app`.
pub(crate) fn creation(id: &ConferenceId, app: &str) -> Record {
    let created = Created::new(id.clone(), AppId::parse(app).unwrap(), ConferenceKind::Communication);
    let event = Event::ConferenceCreated(Box::new(created));
    Record { events: vec![Recorded { seq: Seq(1), at: Timestamp(1), event }] }
}

/// A snapshot of everything up to the event `seq`.
pub(crate) fn snapshot(seq: u64, text: &'static str) -> Snapshot {
    Snapshot::new(1, Seq(seq), Bytes::from_static(text.as_bytes())).unwrap()
}

/// The snapshot that `which` names.
pub(crate) async fn snapshot_of(
    store: &Arc<dyn Store>,
    conference: &ConferenceId,
    which: SnapshotAt,
) -> Option<(Revision, Snapshot)> {
    store.snapshot(conference, which).await.unwrap()
}

fn key(text: &str) -> ClaimKey {
    ClaimKey::parse(text).unwrap()
}

/// Appends records `from..from + count` and gives their revisions.
pub(crate) async fn fill(
    store: &Arc<dyn Store>,
    conference: &ConferenceId,
    from: u64,
    count: u64,
) -> Vec<Revision> {
    let mut expected = read_all(store, conference).await.last().map_or(Revision::START, |(at, _)| *at);
    let mut revisions = Vec::new();
    for number in from..from + count {
        expected = store.append(conference, expected, &record(number)).await.unwrap();
        revisions.push(expected);
    }
    revisions
}

pub(crate) async fn read_all(store: &Arc<dyn Store>, conference: &ConferenceId) -> Vec<(Revision, Record)> {
    let mut all = Vec::new();
    let mut after = Revision::START;
    loop {
        let page = store.read(conference, after, PAGE_ITEMS_MAX).await.unwrap();
        let Some((last, _)) = page.last() else { return all };
        after = *last;
        all.extend(page);
    }
}

async fn numbers(store: &Arc<dyn Store>, conference: &ConferenceId) -> Vec<u64> {
    read_all(store, conference).await.iter().map(|(_, record)| record.events[0].seq.0).collect()
}

pub(crate) async fn an_append_needs_the_current_revision(store: &Arc<dyn Store>) {
    let room = conference(1);
    let first = store.append(&room, Revision::START, &record(1)).await.unwrap();
    assert!(first > Revision::START);
    assert_eq!(store.append(&room, Revision::START, &record(2)).await, Err(AppendError::Conflict));
    let second = store.append(&room, first, &record(2)).await.unwrap();
    assert!(second > first);
    assert_eq!(store.append(&room, first, &record(3)).await, Err(AppendError::Conflict));
    // A revision of another log is not one of this log.
    assert_eq!(store.append(&conference(2), second, &record(1)).await, Err(AppendError::Conflict));
    assert_eq!(read_all(store, &room).await, [(first, record(1)), (second, record(2))]);
    assert_eq!(read_all(store, &conference(2)).await, []);
}

pub(crate) async fn an_ended_log_takes_nothing_more(store: &Arc<dyn Store>) {
    let room = conference(1);
    let first = store.append(&room, Revision::START, &record(1)).await.unwrap();
    let last = store.append(&room, first, &ending(2)).await.unwrap();
    assert_eq!(store.append(&room, last, &record(4)).await, Err(AppendError::Ended));
    assert_eq!(store.append(&room, first, &record(4)).await, Err(AppendError::Conflict));
    assert_eq!(read_all(store, &room).await, [(first, record(1)), (last, ending(2))]);
}

pub(crate) async fn records_that_no_home_could_keep_are_refused(store: &Arc<dyn Store>) {
    let room = conference(1);
    let empty = Record { events: Vec::new() };
    assert_eq!(store.append(&room, Revision::START, &empty).await, Err(AppendError::Empty));
    let large = store.append(&room, Revision::START, &record_of_len(1, RECORD_BYTES_MAX)).await;
    assert!(matches!(large, Err(AppendError::TooLarge(_))), "{large:?}");
    assert_eq!(read_all(store, &room).await, []);
}

pub(crate) async fn a_record_comes_back_whole(store: &Arc<dyn Store>) {
    let room = conference(1);
    let mut odd = record_of_len(7, RECORD_BYTES_MAX / 2);
    odd.events.push(readmitted(u64::MAX >> 1, "张三 \"quoted\" \\ \u{1F600} ' ; --"));
    let at = store.append(&room, Revision::START, &odd).await.unwrap();
    assert_eq!(read_all(store, &room).await, [(at, odd.clone())]);
    let followed = store.follow_all(Position::START, 1).await.unwrap();
    assert_eq!(followed[0].record, odd);
}

pub(crate) async fn a_log_is_read_in_pages_and_in_order(store: &Arc<dyn Store>) {
    let room = conference(1);
    let revisions = fill(store, &room, 1, 10).await;
    fill(store, &conference(2), 1, 3).await;
    let page = store.read(&room, Revision::START, 4).await.unwrap();
    assert_eq!(page.iter().map(|(at, _)| *at).collect::<Vec<_>>(), revisions[..4]);
    let page = store.read(&room, revisions[3], 4).await.unwrap();
    assert_eq!(page.iter().map(|(at, _)| *at).collect::<Vec<_>>(), revisions[4..8]);
    let page = store.read(&room, revisions[7], 4).await.unwrap();
    assert_eq!(page.iter().map(|(at, _)| *at).collect::<Vec<_>>(), revisions[8..]);
    assert_eq!(store.read(&room, revisions[9], 4).await.unwrap(), []);
    assert_eq!(numbers(store, &room).await, (1..=10).collect::<Vec<_>>());
    // Zero is taken as one: an empty page always means the end.
    assert_eq!(store.read(&room, Revision::START, 0).await.unwrap().len(), 1);
}

pub(crate) async fn a_page_is_bounded_in_bytes_and_items(store: &Arc<dyn Store>) {
    let large = RECORD_BYTES_MAX - 8 * 1024;
    let fitting = PAGE_BYTES_MAX / large + 1;
    let room = conference(1);
    let mut expected = Revision::START;
    for number in 0..fitting as u64 + 2 {
        expected = store.append(&room, expected, &record_of_len(number, large)).await.unwrap();
    }
    let page = store.read(&room, Revision::START, PAGE_ITEMS_MAX).await.unwrap();
    assert!((1..=fitting).contains(&page.len()), "{} records", page.len());
    let page = store.follow_all(Position::START, PAGE_ITEMS_MAX).await.unwrap();
    assert!((1..=fitting).contains(&page.len()), "{} records", page.len());
    assert_eq!(numbers(store, &room).await.len(), fitting + 2);
    assert_eq!(follow_from(store, Position::START).await.len(), fitting + 2);
}

pub(crate) async fn numbers_survive_being_stored(store: &Arc<dyn Store>) {
    let room = conference(1);
    let revisions = fill(store, &room, 1, 3).await;
    let position = store.follow_all(Position::START, 2).await.unwrap()[1].position;
    let stored = serde_json::to_string(&(revisions[1], position)).unwrap();
    let (revision, position): (Revision, Position) = serde_json::from_str(&stored).unwrap();
    assert_eq!(store.read(&room, revision, 9).await.unwrap(), [(revisions[2], record(3))]);
    assert_eq!(store.follow_all(position, 9).await.unwrap().len(), 1);
}

pub(crate) async fn logs_do_not_see_each_other(store: &Arc<dyn Store>) {
    // One id is the beginning of the other.
    let (short, long) = (ConferenceId::parse("TS_a").unwrap(), ConferenceId::parse("TS_ab").unwrap());
    fill(store, &short, 1, 2).await;
    fill(store, &long, 11, 2).await;
    fill(store, &short, 3, 1).await;
    assert_eq!(numbers(store, &short).await, [1, 2, 3]);
    assert_eq!(numbers(store, &long).await, [11, 12]);
}

async fn follow_from(store: &Arc<dyn Store>, mut after: Position) -> Vec<super::Followed> {
    let mut all = Vec::new();
    loop {
        let page = store.follow_all(after, 7).await.unwrap();
        let Some(last) = page.last() else { return all };
        after = last.position;
        all.extend(page);
    }
}

/// Each position once and rising, each log as `read` gives it.
async fn assert_follows(store: &Arc<dyn Store>, followed: &[super::Followed]) {
    assert!(followed.is_sorted_by(|a, b| a.position < b.position));
    let mut logs: BTreeMap<ConferenceId, Vec<(Revision, Record)>> = BTreeMap::new();
    for item in followed {
        logs.entry(item.conference.clone()).or_default().push((item.revision, item.record.clone()));
    }
    for (conference, records) in logs {
        assert_eq!(records, read_all(store, &conference).await, "{conference}");
    }
}

pub(crate) async fn following_sees_every_record_once_and_each_log_in_order(store: &Arc<dyn Store>) {
    assert_eq!(store.head().await.unwrap(), Position::START);
    for round in 0..5 {
        for room in 1..=3 {
            fill(store, &conference(room), round * 2 + 1, 2).await;
        }
    }
    let followed = follow_from(store, Position::START).await;
    assert_eq!(followed.len(), 30);
    assert_follows(store, &followed).await;
    assert_eq!(store.head().await.unwrap(), followed[29].position);
    assert_eq!(follow_from(store, followed[9].position).await, followed[10..]);
    let head = store.head().await.unwrap();
    assert_eq!(store.follow_all(head, 9).await.unwrap(), []);
    fill(store, &conference(2), 11, 1).await;
    assert_eq!(store.follow_all(head, 9).await.unwrap().len(), 1);
}

pub(crate) async fn following_while_others_append_misses_nothing(store: &Arc<dyn Store>) {
    const RECORDS: u64 = 20;
    let writers: Vec<_> = (0..8)
        .map(|room| {
            let store = Arc::clone(store);
            tokio::spawn(async move { fill(&store, &conference(room), 1, RECORDS).await })
        })
        .collect();
    let mut changes = store.changes();
    let mut followed = Vec::new();
    let mut after = Position::START;
    while followed.len() < 8 * usize::try_from(RECORDS).unwrap() {
        let page = store.follow_all(after, 5).await.unwrap();
        match page.last() {
            Some(last) => {
                after = last.position;
                followed.extend(page);
            }
            None => changes.changed().await.unwrap(),
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(store.follow_all(after, 5).await.unwrap(), []);
    assert_follows(store, &followed).await;
}

pub(crate) async fn a_change_wakes_followers_when_it_can_be_read(store: &Arc<dyn Store>) {
    fill(store, &conference(1), 1, 1).await;
    let mut changes = store.changes();
    assert!(!changes.has_changed().unwrap(), "what was there before is no change");
    let head = store.head().await.unwrap();
    let follower = {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            changes.changed().await.unwrap();
            let told = *changes.borrow_and_update();
            (told, store.follow_all(head, 9).await.unwrap())
        })
    };
    fill(store, &conference(2), 5, 1).await;
    let (told, seen) = follower.await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].position, &seen[0].record), (told, &record(5)));
    // A refused append and a claim are no news for followers of the log.
    let changes = store.changes();
    store.append(&conference(2), Revision::START, &record(6)).await.unwrap_err();
    store.put(&key("a"), None, Bytes::new()).await.unwrap();
    assert!(!changes.has_changed().unwrap());
}

pub(crate) async fn a_log_has_snapshots_of_several_moments(store: &Arc<dyn Store>) {
    let room = conference(1);
    let at = fill(store, &room, 1, 3).await;
    assert_eq!(snapshot_of(store, &room, SnapshotAt::Newest).await, None);
    store.put_snapshot(&room, at[1], &snapshot(2, "two")).await.unwrap();
    store.put_snapshot(&room, at[0], &snapshot(1, "one")).await.unwrap();
    let (one, two) = (Some((at[0], snapshot(1, "one"))), Some((at[1], snapshot(2, "two"))));
    for (which, found) in [
        (SnapshotAt::Newest, &two),
        (SnapshotAt::Oldest, &one),
        (SnapshotAt::UpTo(Seq(0)), &None),
        (SnapshotAt::UpTo(Seq(1)), &one),
        (SnapshotAt::UpTo(Seq(2)), &two),
        (SnapshotAt::UpTo(Seq(u64::MAX)), &two),
    ] {
        assert_eq!(&snapshot_of(store, &room, which).await, found, "{which:?}");
    }
    let again = Snapshot::new(9, Seq(2), Bytes::from_static(b"two, in a later format")).unwrap();
    store.put_snapshot(&room, at[1], &again).await.unwrap();
    assert_eq!(snapshot_of(store, &room, SnapshotAt::Newest).await, Some((at[1], again)));
    let large = Snapshot::new(1, Seq(3), Bytes::from(vec![0xA5; SNAPSHOT_BYTES_MAX])).unwrap();
    store.put_snapshot(&room, at[2], &large).await.unwrap();
    assert_eq!(snapshot_of(store, &room, SnapshotAt::Newest).await, Some((at[2], large)));
    assert!(Snapshot::new(1, Seq(3), Bytes::from(vec![0; SNAPSHOT_BYTES_MAX + 1])).is_err());
    // The log is what it was, and other logs have none.
    assert_eq!(numbers(store, &room).await, [1, 2, 3]);
    store.put_snapshot(&conference(2), at[2], &snapshot(3, "of nothing")).await.unwrap();
    assert_eq!(snapshot_of(store, &conference(2), SnapshotAt::Newest).await, None);
}

pub(crate) async fn trimming_stops_at_the_snapshot(store: &Arc<dyn Store>) {
    let room = conference(1);
    let at = fill(store, &room, 1, 5).await;
    fill(store, &conference(2), 1, 2).await;
    assert_eq!(store.trim(&room, at[4]).await.unwrap(), 0, "without a snapshot the log is all there is");
    store.put_snapshot(&room, at[2], &snapshot(3, "three")).await.unwrap();
    assert_eq!(store.trim(&room, at[0]).await.unwrap(), 1);
    assert_eq!(numbers(store, &room).await, [2, 3, 4, 5]);
    assert_eq!(store.trim(&room, at[4]).await.unwrap(), 2);
    assert_eq!(store.trim(&room, at[4]).await.unwrap(), 0);
    assert_eq!(numbers(store, &room).await, [4, 5]);
    assert_eq!(snapshot_of(store, &room, SnapshotAt::Oldest).await, Some((at[2], snapshot(3, "three"))));
    assert_eq!(numbers(store, &conference(2)).await, [1, 2]);
    assert_eq!(follow_from(store, Position::START).await.len(), 4);
}

pub(crate) async fn a_snapshot_from_before_the_oldest_record_is_gone_and_is_not_kept_again(
    store: &Arc<dyn Store>,
) {
    let room = conference(1);
    let at = fill(store, &room, 1, 5).await;
    store.put_snapshot(&room, at[0], &snapshot(1, "one")).await.unwrap();
    store.put_snapshot(&room, at[2], &snapshot(3, "three")).await.unwrap();
    store.put_snapshot(&room, at[4], &snapshot(5, "five")).await.unwrap();
    assert_eq!(store.trim(&room, at[2]).await.unwrap(), 3);
    let three = Some((at[2], snapshot(3, "three")));
    assert_eq!(snapshot_of(store, &room, SnapshotAt::Oldest).await, three);
    assert_eq!(snapshot_of(store, &room, SnapshotAt::UpTo(Seq(4))).await, three);
    assert_eq!(snapshot_of(store, &room, SnapshotAt::UpTo(Seq(2))).await, None);
    // From it on a record would be missing.
    store.put_snapshot(&room, at[1], &snapshot(2, "two")).await.unwrap();
    assert_eq!(snapshot_of(store, &room, SnapshotAt::Oldest).await, three);
    assert_eq!(snapshot_of(store, &room, SnapshotAt::Newest).await, Some((at[4], snapshot(5, "five"))));
}

pub(crate) async fn an_ended_log_is_trimmed_whole_and_keeps_its_status(store: &Arc<dyn Store>) {
    let room = conference(1);
    let first = store.append(&room, Revision::START, &creation(&room, "app1")).await.unwrap();
    store.put_snapshot(&room, first, &snapshot(1, "one")).await.unwrap();
    let last = store.append(&room, first, &ending(2)).await.unwrap();
    let with_records = |part| async move {
        let ended = store.ended_conferences(part, None, Timestamp(9), 9).await.unwrap();
        ended.into_iter().map(|ended| ended.conference).collect::<Vec<_>>()
    };
    assert_eq!(store.trim(&room, first).await.unwrap(), 1);
    assert_eq!(with_records(EndedPart::WithRecords).await, [conference(1)]);
    assert_eq!(store.trim(&room, last).await.unwrap(), 1, "no snapshot holds it, and none is needed");
    assert_eq!(store.trim(&room, last).await.unwrap(), 0);
    store.put_snapshot(&room, last, &snapshot(3, "ended")).await.unwrap();
    assert_eq!(read_all(store, &room).await, []);
    assert_eq!(snapshot_of(store, &room, SnapshotAt::Newest).await, None);
    let status = store.status(&room).await.unwrap().unwrap();
    assert_eq!((status.head, status.ended_at), (last, Some(Timestamp(2))));
    assert_eq!(with_records(EndedPart::WithRecords).await, []);
    assert_eq!(with_records(EndedPart::All).await, [conference(1)]);
    assert_eq!(store.append(&room, last, &record(4)).await, Err(AppendError::Ended));
    store.forget(&room).await.unwrap();
    assert_eq!(store.status(&room).await.unwrap(), None);
}

pub(crate) async fn a_status_tells_the_app_the_head_and_the_end(store: &Arc<dyn Store>) {
    let (room, nameless) = (conference(1), conference(2));
    assert_eq!(store.status(&room).await.unwrap(), None);
    let first = store.append(&room, Revision::START, &creation(&room, "app1")).await.unwrap();
    let app = AppId::parse("app1").ok();
    let open = LogStatus { app: app.clone(), head: first, ended_at: None };
    assert_eq!(store.status(&room).await.unwrap(), Some(open));
    let last = store.append(&room, first, &ending(2)).await.unwrap();
    let ended = LogStatus { app, head: last, ended_at: Some(Timestamp(2)) };
    assert_eq!(store.status(&room).await.unwrap(), Some(ended));
    let head = fill(store, &nameless, 1, 1).await[0];
    let open = LogStatus { app: None, head, ended_at: None };
    assert_eq!(store.status(&nameless).await.unwrap(), Some(open));
}

pub(crate) async fn ended_conferences_are_listed_by_their_end(store: &Arc<dyn Store>) {
    // By id they stand in another order than by their end, and two ended at the same time.
    for (room, end) in [(1, 30), (2, 10), (3, 20), (4, 20), (6, 40)] {
        let at = fill(store, &conference(room), 1, 1).await[0];
        store.append(&conference(room), at, &ending(end)).await.unwrap();
    }
    fill(store, &conference(5), 1, 1).await;
    let ended = |list: &[(u64, u64)]| -> Vec<EndedLog> {
        let line = |(room, at): &(u64, u64)| EndedLog { at: Timestamp(*at), conference: conference(*room) };
        list.iter().map(line).collect()
    };
    let list = |after: Option<EndedLog>, until, limit| async move {
        store.ended_conferences(EndedPart::All, after.as_ref(), Timestamp(until), limit).await.unwrap()
    };
    let all = ended(&[(2, 10), (3, 20), (4, 20), (1, 30)]);
    assert_eq!(list(None, 30, 9).await, all);
    assert_eq!(list(None, 29, 9).await, all[..3]);
    assert_eq!(list(None, 30, 2).await, all[..2]);
    assert_eq!(list(Some(all[1].clone()), 30, 9).await, all[2..]);
    assert_eq!(list(Some(all[3].clone()), 30, 9).await, []);
    store.forget(&conference(3)).await.unwrap();
    assert_eq!(list(None, 30, 9).await, ended(&[(2, 10), (4, 20), (1, 30)]));
}

pub(crate) async fn trimming_removes_a_bounded_number_at_a_time(store: &Arc<dyn Store>) {
    let room = conference(1);
    let count = TRIM_RECORDS_MAX as u64 + 1;
    let head = *fill(store, &room, 1, count).await.last().unwrap();
    store.put_snapshot(&room, head, &snapshot(count, "all")).await.unwrap();
    assert_eq!(store.trim(&room, head).await.unwrap(), TRIM_RECORDS_MAX);
    assert_eq!(numbers(store, &room).await, [count]);
    assert_eq!(store.trim(&room, head).await.unwrap(), 1);
    // The log goes on where it stood, though none of its records is left.
    assert_eq!(store.append(&room, Revision::START, &record(0)).await, Err(AppendError::Conflict));
    let next = store.append(&room, head, &record(count + 1)).await.unwrap();
    assert!(next > head);
    assert_eq!(store.head().await.unwrap(), store.follow_all(Position::START, 1).await.unwrap()[0].position);
}

pub(crate) async fn a_forgotten_log_leaves_nothing(store: &Arc<dyn Store>) {
    let room = conference(1);
    let head = *fill(store, &room, 1, 3).await.last().unwrap();
    let last = store.append(&room, head, &ending(4)).await.unwrap();
    store.put_snapshot(&room, last, &snapshot(5, "ended")).await.unwrap();
    fill(store, &conference(2), 1, 1).await;
    store.forget(&room).await.unwrap();
    store.put_snapshot(&room, last, &snapshot(5, "too late")).await.unwrap();
    assert_eq!(read_all(store, &room).await, []);
    assert_eq!(snapshot_of(store, &room, SnapshotAt::Newest).await, None);
    assert_eq!(store.status(&room).await.unwrap(), None);
    assert_eq!(follow_from(store, Position::START).await.len(), 1);
    store.forget(&room).await.unwrap();
    let anew = store.append(&room, Revision::START, &record(1)).await.unwrap();
    assert!(anew > last, "revisions are not given twice");
}

pub(crate) async fn an_open_log_is_not_forgotten(store: &Arc<dyn Store>) {
    let room = conference(1);
    fill(store, &room, 1, 2).await;
    store.forget(&room).await.unwrap();
    assert_eq!(numbers(store, &room).await, [1, 2]);
}

pub(crate) async fn only_open_conferences_are_listed(store: &Arc<dyn Store>) {
    for room in 1..=6 {
        let at = fill(store, &conference(room), 1, 1).await[0];
        if room % 3 == 0 {
            store.append(&conference(room), at, &ending(2)).await.unwrap();
        }
    }
    let rooms = |numbers: &[u64]| numbers.iter().map(|number| conference(*number)).collect::<Vec<_>>();
    assert_eq!(store.open_conferences(None, 9).await.unwrap(), rooms(&[1, 2, 4, 5]));
    assert_eq!(store.open_conferences(None, 3).await.unwrap(), rooms(&[1, 2, 4]));
    assert_eq!(store.open_conferences(Some(&conference(4)), 3).await.unwrap(), rooms(&[5]));
    assert_eq!(store.open_conferences(Some(&conference(5)), 3).await.unwrap(), []);
    assert_eq!(store.open_conferences(Some(&conference(3)), 1).await.unwrap(), rooms(&[4]));
}

pub(crate) async fn of_many_appends_to_one_revision_one_wins(store: &Arc<dyn Store>) {
    let room = conference(1);
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (store, room) = (Arc::clone(store), room.clone());
            tokio::spawn(async move { (number, store.append(&room, Revision::START, &record(number)).await) })
        })
        .collect();
    let mut winners = Vec::new();
    for caller in callers {
        match caller.await.unwrap() {
            (number, Ok(at)) => winners.push((at, record(number))),
            (_, Err(error)) => assert_eq!(error, AppendError::Conflict),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(read_all(store, &room).await, winners);
}

pub(crate) async fn appends_that_retry_on_conflict_are_all_kept(store: &Arc<dyn Store>) {
    let room = conference(1);
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (store, room) = (Arc::clone(store), room.clone());
            tokio::spawn(async move {
                let mut expected = Revision::START;
                loop {
                    match store.append(&room, expected, &record(number)).await {
                        Ok(at) => return (at, record(number)),
                        Err(error) => assert_eq!(error, AppendError::Conflict),
                    }
                    while let Some((last, _)) =
                        store.read(&room, expected, PAGE_ITEMS_MAX).await.unwrap().last()
                    {
                        expected = *last;
                    }
                }
            })
        })
        .collect();
    let mut kept = Vec::new();
    for caller in callers {
        kept.push(caller.await.unwrap());
    }
    kept.sort_by_key(|(at, _)| *at);
    assert_eq!(read_all(store, &room).await, kept);
}

pub(crate) async fn appends_to_many_logs_do_not_disturb_each_other(store: &Arc<dyn Store>) {
    let callers: Vec<_> = (0..CALLERS)
        .map(|room| {
            let store = Arc::clone(store);
            tokio::spawn(async move { fill(&store, &conference(room), room * 100, 5).await })
        })
        .collect();
    let mut positions = BTreeSet::new();
    for (room, caller) in (0..CALLERS).zip(callers) {
        let revisions = caller.await.unwrap();
        assert!(revisions.is_sorted_by(|a, b| a < b));
        assert_eq!(numbers(store, &conference(room)).await, (room * 100..room * 100 + 5).collect::<Vec<_>>());
    }
    let followed = follow_from(store, Position::START).await;
    positions.extend(followed.iter().map(|item| item.position));
    assert_eq!(positions.len(), 5 * usize::try_from(CALLERS).unwrap());
    assert_follows(store, &followed).await;
}

pub(crate) async fn a_claim_is_put_only_over_the_revision_that_is_known(store: &Arc<dyn Store>) {
    let room = key("rooms/a");
    assert_eq!(store.get(&room).await.unwrap(), None);
    let first = store.put(&room, None, Bytes::from_static(b"\0one\xFF")).await.unwrap();
    assert_eq!(store.put(&room, None, Bytes::from_static(b"two")).await, Err(ClaimError::Conflict));
    let claim = store.get(&room).await.unwrap().unwrap();
    assert_eq!((claim.revision, &claim.value[..]), (first, &b"\0one\xFF"[..]));
    let second = store.put(&room, Some(first), Bytes::new()).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(store.put(&room, Some(first), Bytes::from_static(b"three")).await, Err(ClaimError::Conflict));
    let claim = store.get(&room).await.unwrap().unwrap();
    assert_eq!((claim.revision, &claim.value[..]), (second, &b""[..]));
    // Absent is not any revision, and keys do not see each other.
    assert_eq!(store.put(&key("rooms/b"), Some(second), Bytes::new()).await, Err(ClaimError::Conflict));
    assert_eq!(store.get(&key("rooms/b")).await.unwrap(), None);
    assert_eq!(store.get(&key("rooms/A")).await.unwrap(), None);
}

pub(crate) async fn a_claim_is_deleted_only_at_the_revision_that_is_known(store: &Arc<dyn Store>) {
    let room = key("rooms/a");
    let first = store.put(&room, None, Bytes::from_static(b"one")).await.unwrap();
    let second = store.put(&room, Some(first), Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(store.delete(&room, first).await, Err(ClaimError::Conflict));
    assert!(store.get(&room).await.unwrap().is_some());
    store.delete(&room, second).await.unwrap();
    assert_eq!(store.get(&room).await.unwrap(), None);
    assert_eq!(store.delete(&room, second).await, Err(ClaimError::Conflict));
    store.put(&room, None, Bytes::from_static(b"three")).await.unwrap();
}

pub(crate) async fn a_claim_revision_never_returns(store: &Arc<dyn Store>) {
    let room = key("rooms/a");
    let mut seen: BTreeSet<ClaimRevision> = BTreeSet::new();
    for _ in 0..4 {
        let at = store.put(&room, None, Bytes::from_static(b"same")).await.unwrap();
        assert!(seen.insert(at));
        let at = store.put(&room, Some(at), Bytes::from_static(b"same")).await.unwrap();
        assert!(seen.insert(at));
        store.delete(&room, at).await.unwrap();
    }
    let at = store.put(&room, None, Bytes::from_static(b"same")).await.unwrap();
    for stale in seen {
        assert_eq!(store.put(&room, Some(stale), Bytes::new()).await, Err(ClaimError::Conflict));
        assert_eq!(store.delete(&room, stale).await, Err(ClaimError::Conflict));
    }
    store.delete(&room, at).await.unwrap();
}

pub(crate) async fn claims_are_listed_below_a_key(store: &Arc<dyn Store>) {
    for text in ["rooms", "rooms/b", "rooms/a", "rooms/a/x", "rooms/c", "rooms-2/a", "rooms0", "roo/a", "z/a"]
    {
        store.put(&key(text), None, Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
    }
    let listed = |page: Vec<(ClaimKey, super::Claim)>| {
        for (key, claim) in &page {
            assert_eq!(claim.value, key.as_str().as_bytes());
        }
        page.into_iter().map(|(key, _)| key.as_str().to_owned()).collect::<Vec<_>>()
    };
    let under = key("rooms");
    let all = store.list(&under, None, 9).await.unwrap();
    assert_eq!(listed(all), ["rooms/a", "rooms/a/x", "rooms/b", "rooms/c"]);
    assert_eq!(listed(store.list(&under, None, 2).await.unwrap()), ["rooms/a", "rooms/a/x"]);
    let rest = store.list(&under, Some(&key("rooms/a/x")), 9).await.unwrap();
    assert_eq!(listed(rest), ["rooms/b", "rooms/c"]);
    assert_eq!(listed(store.list(&under, Some(&key("rooms/bb")), 9).await.unwrap()), ["rooms/c"]);
    assert_eq!(listed(store.list(&key("rooms/a"), None, 9).await.unwrap()), ["rooms/a/x"]);
    assert_eq!(store.list(&under, Some(&key("rooms/c")), 9).await.unwrap(), []);
    // A key from before or behind the folder does not widen it.
    assert_eq!(store.list(&under, Some(&key("a")), 9).await.unwrap().len(), 4);
    assert_eq!(store.list(&under, Some(&key("z")), 9).await.unwrap(), []);
    assert_eq!(store.list(&key("none"), None, 9).await.unwrap(), []);
}

pub(crate) async fn a_value_that_no_home_could_keep_is_refused(store: &Arc<dyn Store>) {
    let fits = Bytes::from(vec![7; CLAIM_VALUE_BYTES_MAX]);
    let at = store.put(&key("a"), None, fits.clone()).await.unwrap();
    assert_eq!(store.get(&key("a")).await.unwrap().unwrap().value, fits);
    let refused = store.put(&key("a"), Some(at), Bytes::from(vec![7; CLAIM_VALUE_BYTES_MAX + 1])).await;
    assert!(matches!(refused, Err(ClaimError::TooLarge(_))), "{refused:?}");
}

pub(crate) async fn of_many_claims_to_one_key_one_wins(store: &Arc<dyn Store>) {
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let store = Arc::clone(store);
            let value = Bytes::from(number.to_string());
            tokio::spawn(async move {
                store.put(&key("rooms/a"), None, value.clone()).await.map(|at| (at, value))
            })
        })
        .collect();
    let mut winners = Vec::new();
    for caller in callers {
        match caller.await.unwrap() {
            Ok(won) => winners.push(won),
            Err(error) => assert_eq!(error, ClaimError::Conflict),
        }
    }
    let claim = store.get(&key("rooms/a")).await.unwrap().unwrap();
    assert_eq!(winners, [(claim.revision, claim.value)]);
}
