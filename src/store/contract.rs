//! What every home must do, each behaviour a function over an empty store.
//!
//! A home runs them all by `contract_suite!(open)`, where `open` is an async function that gives a [`Home`].

mod keeping;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::domain::conference::ConferenceKind;
use crate::domain::{AppId, ConferenceId, Created, Event, Record, Recorded, Seq, Timestamp, UserName};

use super::{
    AppendError, CLAIM_VALUE_BYTES_MAX, ClaimError, ClaimKey, ClaimRevision, PAGE_BYTES_MAX, PAGE_ITEMS_MAX,
    Position, RECORD_BYTES_MAX, Revision, Snapshot, SnapshotAt, Store,
};

pub(crate) use keeping::*;

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
