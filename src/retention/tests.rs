//! Retention over the memory store. Time stands still but for the pace.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::Map;
use tokio::time::Instant;

use super::*;
use crate::domain::conference::{Actor, Admission, ConferenceKind, Join};
use crate::domain::{AppId, Command, Created, MemberId, Reason, UserName};
use crate::events::Feed;
use crate::events::feed::{Entry, Past, Wanted};
use crate::store::contract::{conference, creation, ending};
use crate::store::{Log as _, MemoryStore, Position, Revision, SnapshotAt};

const HOUR_MS: u64 = 3_600_000;
const BEGIN: Timestamp = Timestamp(1_800_000_000_000);

fn hours(count: u64) -> Timestamp {
    BEGIN.plus_ms(count * HOUR_MS)
}

#[derive(Default)]
struct Reader(Mutex<BTreeMap<ConferenceId, Seq>>, Mutex<Option<Vec<(ConferenceId, Removed)>>>);

impl LogReader for Reader {
    fn unread_from(&self, conference: &ConferenceId, app: Option<&AppId>) -> Option<Seq> {
        assert!(app.is_some(), "the log of {conference} names its app");
        self.0.lock().get(conference).copied()
    }

    fn wants_removed(&self, app: &AppId) -> bool {
        assert_eq!(app.as_str(), "app");
        self.1.lock().is_some()
    }

    fn removed(&self, _: &AppId, conference: &ConferenceId, removed: Removed) {
        self.1.lock().as_mut().unwrap().push((conference.clone(), removed));
    }
}

impl Reader {
    fn needs(&self, conference: &ConferenceId, from: Option<u64>) {
        let mut needs = self.0.lock();
        match from {
            Some(from) => drop(needs.insert(conference.clone(), Seq(from))),
            None => drop(needs.remove(conference)),
        }
    }
}

struct House {
    store: Arc<MemoryStore>,
    conferences: Arc<Conferences>,
    feed: Feed,
    reader: Arc<Reader>,
    retention: Retention,
}

impl House {
    /// Keeps events for a day, at most a hundred of them, and an end for a week.
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let conferences = Conferences::open(store.clone(), vec![]).await.unwrap();
        let reader = Arc::new(Reader::default());
        let keep = Keep {
            events_ms: 24 * HOUR_MS,
            events_max: 100,
            closed_ms: 7 * 24 * HOUR_MS,
            pause: Duration::from_secs(60),
            steps_per_second: 200,
        };
        let retention = Retention {
            store: store.clone(),
            conferences: Arc::clone(&conferences),
            readers: vec![reader.clone()],
            sweeps: Vec::new(),
            keep,
            metrics: Metrics::new(),
            clock: || BEGIN,
        };
        let feed = Feed::new(store.clone(), 100, CancellationToken::new());
        Self { store, conferences, feed, reader, retention }
    }

    /// A conference whose log begins at `BEGIN`.
    async fn conference(&self, number: u8) -> ConferenceId {
        let created =
            Created::new(ConferenceId::from_random([number; 10]), app(), ConferenceKind::Communication);
        self.conferences.create(created, BEGIN).await.unwrap().id().clone()
    }

    /// `count` joins of one user, two events each after the first, one record each.
    async fn joins(&self, id: &ConferenceId, count: usize, at: Timestamp) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        for _ in 0..count {
            let mut bits = [0; 10];
            bits[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            let admission = Admission::App { user: UserName::parse("anna").unwrap() };
            let member = MemberId::from_random(bits);
            let join =
                Join { member, admission, nick_name: None, ext: Map::new(), mini_program: false, role: None };
            self.conferences.execute(id, Command::Join(Box::new(join)), at).await.unwrap();
        }
    }

    async fn end(&self, id: &ConferenceId, at: Timestamp) {
        self.conferences.execute(id, Command::End { by: Actor::App }, at).await.unwrap();
    }

    /// The numbers of the events that are kept.
    async fn kept(&self, id: &ConferenceId) -> Vec<u64> {
        let page = self.store.read(id, Revision::START, PAGE_ITEMS_MAX).await.unwrap();
        page.iter().flat_map(|(_, record)| &record.events).map(|recorded| recorded.seq.0).collect()
    }

    async fn past(&self, id: &ConferenceId, after: u64) -> Option<Past> {
        let wanted =
            Wanted { after: Seq(after), through: Seq(u64::MAX), entries_max: 10_000, events_max: 10_000 };
        self.feed.past(id, wanted).await.unwrap()
    }

    async fn reason(&self, id: &ConferenceId) -> Reason {
        self.conferences.find(&app(), id).await.unwrap_err().reason
    }

    fn count(&self, metric: &str) -> String {
        let text = self.retention.metrics.encode().unwrap();
        text.lines().find_map(|line| line.strip_prefix(metric)).unwrap().trim().to_owned()
    }
}

fn app() -> AppId {
    AppId::parse("app").unwrap()
}

fn after(entries: &[Entry], seq: u64) -> Vec<Entry> {
    entries.iter().filter(|entry| entry.seq > Seq(seq)).cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn events_go_when_they_are_old_and_what_is_left_reads_as_before() {
    let house = House::new().await;
    let id = house.conference(1).await;
    house.joins(&id, 5, hours(1)).await;
    house.joins(&id, 5, hours(10)).await;
    let whole = house.past(&id, 0).await.unwrap();
    assert_eq!(house.kept(&id).await, (1..=20).collect::<Vec<_>>());

    house.retention.round(hours(25)).await;
    assert_eq!(house.kept(&id).await.len(), 19, "the creation is a day old, the rest is not");
    house.retention.round(hours(30)).await;
    assert_eq!(house.kept(&id).await, (11..=20).collect::<Vec<_>>());
    let left = house.past(&id, 0).await.unwrap();
    assert_eq!((left.from, left.told), (Seq(10), Seq(20)));
    assert_eq!(left.entries, after(&whole.entries, 10));
    let later = house.past(&id, 13).await.unwrap();
    assert_eq!((later.from, later.entries), (Seq(13), after(&whole.entries, 13)));
    assert_eq!(house.count("tidegate_records_trimmed_total"), "6");

    // All of it is old: the state stays, and the log goes on.
    house.retention.round(hours(100)).await;
    assert_eq!(house.kept(&id).await, [0; 0]);
    house.joins(&id, 1, hours(100)).await;
    let left = house.past(&id, 3).await.unwrap();
    assert_eq!((left.from, left.told, left.entries.len()), (Seq(20), Seq(22), 2));
    let reopened = Conferences::open(house.store.clone(), vec![]).await.unwrap();
    assert_eq!(reopened.open_now(&id), house.conferences.open_now(&id));
}

#[tokio::test(start_paused = true)]
async fn events_go_when_there_are_too_many_though_they_are_young() {
    let house = House::new().await;
    let id = house.conference(1).await;
    house.joins(&id, 400, BEGIN).await;
    let whole = house.past(&id, 0).await.unwrap();
    let newest = house.conferences.open_now(&id).unwrap().seq;
    assert_eq!(newest, Seq(800));
    house.retention.round(BEGIN).await;
    assert_eq!(house.kept(&id).await, (701..=800).collect::<Vec<_>>());
    let left = house.past(&id, 0).await.unwrap();
    assert_eq!((left.from, left.entries), (Seq(700), after(&whole.entries, 700)));
    house.retention.round(BEGIN).await;
    assert_eq!(house.kept(&id).await.len(), 100, "another round finds nothing");
}

#[tokio::test(start_paused = true)]
async fn what_a_reader_has_not_read_stays() {
    let house = House::new().await;
    let (open, ended) = (house.conference(1).await, house.conference(2).await);
    house.joins(&open, 5, BEGIN).await;
    house.joins(&ended, 5, BEGIN).await;
    house.end(&ended, BEGIN).await;
    house.reader.needs(&open, Some(7));
    house.reader.needs(&ended, Some(7));
    house.retention.round(hours(1000)).await;
    assert_eq!(house.kept(&open).await, (7..=10).collect::<Vec<_>>());
    assert_eq!(house.kept(&ended).await, (7..=11).collect::<Vec<_>>());
    assert_eq!(house.reason(&ended).await, Reason::ConferenceClosed);
    house.reader.needs(&open, None);
    house.reader.needs(&ended, None);
    house.retention.round(hours(1000)).await;
    assert_eq!(house.kept(&open).await, [0; 0]);
    assert_eq!(house.reason(&ended).await, Reason::ConferenceNotFound);
}

#[tokio::test(start_paused = true)]
async fn an_ended_conference_is_read_for_a_day_and_closed_for_a_week() {
    let house = House::new().await;
    let id = house.conference(1).await;
    house.joins(&id, 300, BEGIN).await;
    house.end(&id, hours(1)).await;
    house.retention.round(hours(24)).await;
    assert_eq!(house.past(&id, 0).await.unwrap().told, Seq(601));
    house.retention.round(hours(25)).await;
    assert!(house.past(&id, 0).await.is_none());
    assert_eq!(house.kept(&id).await, [0; 0]);
    assert_eq!(house.store.snapshot(&id, SnapshotAt::Newest).await.unwrap(), None);
    assert_eq!(house.reason(&id).await, Reason::ConferenceClosed);
    house.retention.round(hours(7 * 24)).await;
    assert_eq!(house.reason(&id).await, Reason::ConferenceClosed);
    house.retention.round(hours(7 * 24 + 1)).await;
    assert_eq!(house.reason(&id).await, Reason::ConferenceNotFound);
    assert_eq!(house.store.status(&id).await.unwrap(), None);
    assert_eq!(house.count("tidegate_logs_forgotten_total"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_read_costs_past_events_and_nothing_else() {
    let house = House::new().await;
    let id = house.conference(1).await;
    house.joins(&id, 10, BEGIN).await;
    house.reader.needs(&id, Some(6));
    house.retention.round(hours(1000)).await;
    house.reader.needs(&id, None);
    // As if another release had written it.
    let (at, snapshot) = house.store.snapshot(&id, SnapshotAt::Oldest).await.unwrap().unwrap();
    let foreign = crate::store::Snapshot::new(77, snapshot.seq(), snapshot.bytes().clone()).unwrap();
    house.store.put_snapshot(&id, at, &foreign).await.unwrap();
    house.joins(&id, 1, hours(1000)).await;
    assert!(house.past(&id, 0).await.is_none());
    house.retention.round(hours(1001)).await;
    assert_eq!(house.kept(&id).await, [21, 22]);
    let reopened = Conferences::open(house.store.clone(), vec![]).await.unwrap();
    assert_eq!(reopened.open_now(&id), house.conferences.open_now(&id));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_ended_logs_go_at_the_set_pace() {
    const LOGS: u64 = 100_000;
    let house = House::new().await;
    for number in 0..LOGS {
        let id = conference(number);
        let mut record = creation(&id, "app");
        record.events.extend(ending(BEGIN.0).events);
        house.store.append(&id, Revision::START, &record).await.unwrap();
    }
    let begun = Instant::now();
    house.retention.round(hours(24)).await;
    let seconds = begun.elapsed().as_secs();
    assert!((LOGS / 200 - 1..=LOGS / 200 + 1).contains(&seconds), "trimmed in {seconds} s");
    assert_eq!(house.store.follow_all(Position::START, 9).await.unwrap(), []);
    let begun = Instant::now();
    house.retention.round(hours(7 * 24)).await;
    let seconds = begun.elapsed().as_secs();
    assert!((LOGS / 200 - 1..=LOGS / 200 + 1).contains(&seconds), "forgotten in {seconds} s");
    let left = house.store.ended_conferences(EndedPart::All, None, Timestamp(u64::MAX), 9).await.unwrap();
    assert_eq!(left, []);
    assert_eq!(house.count("tidegate_logs_forgotten_total"), LOGS.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_round_that_the_store_refuses_is_taken_up_by_the_next() {
    let house = House::new().await;
    let id = house.conference(1).await;
    house.end(&id, BEGIN).await;
    house.store.faults().next_reads(1);
    house.retention.round(hours(1000)).await;
    assert_eq!(house.reason(&id).await, Reason::ConferenceClosed);
    house.retention.round(hours(1000)).await;
    assert_eq!(house.reason(&id).await, Reason::ConferenceNotFound);
}

/// Has three portions of something, and fails on the way.
#[derive(Default)]
struct Portions(Mutex<Vec<Timestamp>>);

#[async_trait]
impl Sweep for Portions {
    fn name(&self) -> &'static str {
        "portions"
    }

    async fn sweep(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut taken = self.0.lock();
        taken.push(now);
        if taken.len() == 2 { Err(StoreError::Busy) } else { Ok(taken.len() < 4) }
    }
}

#[tokio::test(start_paused = true)]
async fn what_hooks_in_is_swept_until_nothing_is_due_and_stops_when_told() {
    let house = House::new().await;
    let (failing, other) = (Arc::new(Portions::default()), Arc::new(Portions::default()));
    other.0.lock().extend([Timestamp(0); 2]);
    let retention =
        Retention { sweeps: vec![failing.clone(), other.clone()], clock: || hours(3), ..house.retention };
    let stop = CancellationToken::new();
    let running = tokio::spawn(retention.run(stop.clone()));
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(*failing.0.lock(), [hours(3); 2], "the second time failed: the rest waits for the next round");
    assert_eq!(other.0.lock().len(), 4, "it has its turn all the same");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(failing.0.lock().len(), 4);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_wants_to_know_is_told_what_goes() {
    let house = House::new().await;
    let (open, ended) = (house.conference(1).await, house.conference(2).await);
    house.joins(&open, 5, hours(1)).await;
    house.joins(&open, 5, hours(10)).await;
    house.joins(&ended, 3, hours(1)).await;
    house.end(&ended, hours(2)).await;
    let last = house.kept(&ended).await.last().copied().unwrap();
    *house.reader.1.lock() = Some(Vec::new());
    house.retention.round(hours(30)).await;
    let told = house.reader.1.lock().take().unwrap();
    let of = |from, to, at| Removed { from: Seq(from), to: Seq(to), at };
    assert_eq!(told, [(open.clone(), of(1, 10, hours(1))), (ended.clone(), of(1, last, hours(2)))]);
    assert_eq!(house.kept(&open).await, (11..=20).collect::<Vec<_>>());
    assert!(house.kept(&ended).await.is_empty());
}
