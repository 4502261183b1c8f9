//! Deliveries over the memory store, with a receiver that does as it is told and a clock that runs ahead.

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::*;
use crate::domain::conference::ConferenceKind;
use crate::domain::{Conference, Created, Event, MemberId, Record, Role, UserName};
use crate::outbound::{CallError, Url};
use crate::store::{Claims as _, Log as _, MemoryStore, Revision};

const MIN: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(300);
const GIVE_UP_MS: u64 = 3_600_000;

/// Notes what comes and when, and answers 500 to messages of the conferences that it is told to refuse, and nothing to
/// those that it is told to hang at.
#[derive(Default)]
struct Receiver {
    seen: parking_lot::Mutex<Vec<(Instant, Value, u16)>>,
    refuses: parking_lot::Mutex<Vec<String>>,
    hangs: parking_lot::Mutex<Vec<String>>,
    news: Notify,
}

#[async_trait]
impl Courier for Arc<Receiver> {
    async fn post(&self, _: &Url, signature: String, body: Bytes) -> Result<u16, CallError> {
        assert!(signature.starts_with("t=") && signature.contains(",v1="), "{signature}");
        let body: Value = serde_json::from_slice(&body).unwrap();
        let refused = self.refuses.lock().iter().any(|id| body["confrId"] == id.as_str());
        let status = if refused { 500 } else { 200 };
        let hangs = self.hangs.lock().iter().any(|id| body["confrId"] == id.as_str());
        self.seen.lock().push((Instant::now(), body, if hangs { 0 } else { status }));
        self.news.notify_one();
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok(status)
    }
}

impl Receiver {
    /// Waits until `found` is content with all that came.
    async fn until<T>(&self, mut found: impl FnMut(&[(Instant, Value, u16)]) -> Option<T>) -> T {
        loop {
            let news = self.news.notified();
            if let Some(found) = found(&self.seen.lock()) {
                return found;
            }
            news.await;
        }
    }

    /// What of `conference` was taken, as type and number.
    fn taken(seen: &[(Instant, Value, u16)], conference: &str) -> Vec<(String, u64)> {
        let of = seen.iter().filter(|(_, body, status)| *status == 200 && body["confrId"] == conference);
        of.map(|(_, body, _)| (body["type"].as_str().unwrap().to_owned(), body["seq"].as_u64().unwrap()))
            .collect()
    }
}

struct House {
    store: Arc<MemoryStore>,
    receiver: Arc<Receiver>,
    webhooks: Arc<Webhooks>,
}

fn app() -> AppId {
    AppId::parse("app1").unwrap()
}

async fn open(store: Arc<MemoryStore>, receiver: Arc<Receiver>) -> Arc<Webhooks> {
    let began = Instant::now();
    let conferences = Conferences::open(store.clone(), Vec::new()).await.unwrap();
    Webhooks::open_with(Shared {
        store,
        conferences,
        courier: Arc::new(receiver),
        policy: Policy::new(|_| false),
        settings: WebhookSettings {
            retry_min: MIN,
            retry_max: MAX,
            give_up_ms: GIVE_UP_MS,
            conferences_at_once: 4,
        },
        metrics: Metrics::new(),
        now: Arc::new(move || {
            let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap();
            Timestamp(1_800_000_000_000 + elapsed)
        }),
        runs: RwLock::default(),
        tail: Notify::new(),
        calls: Calls::new(CALLS_MAX),
    })
    .await
    .unwrap()
}

impl House {
    async fn new() -> Self {
        let (store, receiver) = (Arc::new(MemoryStore::new()), Arc::new(Receiver::default()));
        let webhooks = open(store.clone(), receiver.clone()).await;
        let house = Self { store, receiver, webhooks };
        house.put(&["https://a.example/"]).await;
        house
    }

    async fn put(&self, urls: &[&str]) -> Vec<PutTarget> {
        let request = |url: &&str| TargetRequest { url: (*url).to_owned(), ..TargetRequest::default() };
        self.webhooks.put_targets(&app(), urls.iter().map(request).collect()).await.unwrap()
    }

    async fn begin(&self, id: &str) -> Story {
        let id = ConferenceId::parse(id).unwrap();
        let created = Created::new(id, app(), ConferenceKind::Communication);
        let (conference, first) = Conference::create(created, Timestamp(1));
        let mut story = Story { conference, revision: Revision::START };
        story.write(&self.store, first).await;
        story
    }
}

/// A conference whose log is written by the test.
struct Story {
    conference: Conference,
    revision: Revision,
}

impl Story {
    async fn write(&mut self, store: &MemoryStore, recorded: crate::domain::Recorded) {
        let record = Record { events: vec![recorded] };
        self.revision = store.append(self.conference.id(), self.revision, &record).await.unwrap();
    }

    async fn join(&mut self, store: &MemoryStore, user: &str) {
        let event = Event::MemberJoined {
            member: MemberId::parse(&format!("MS_{user}")).unwrap(),
            user: UserName::parse(user).unwrap(),
            role: Role::Talker,
            nick_name: None,
            ext: Map::new(),
            guest_ticket: None,
        };
        let recorded = self.conference.record(event, Timestamp(2));
        self.write(store, recorded).await;
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_stand_within_the_growing_waits() {
    let house = House::new().await;
    house.receiver.refuses.lock().push("TS_a".to_owned());
    house.begin("TS_a").await;
    let attempts = house.receiver.until(|seen| (seen.len() >= 12).then(|| seen.to_vec())).await;
    for (number, pair) in attempts.windows(2).enumerate() {
        let longest = lane::longest_wait(u32::try_from(number + 1).unwrap(), MIN, MAX);
        let waited = pair[1].0 - pair[0].0;
        // The runtime's clock counts whole milliseconds.
        assert!(waited <= longest + Duration::from_millis(1), "{number}: {waited:?} of {longest:?}");
        assert_eq!(pair[1].1, pair[0].1, "an attempt tells the same as the one before");
    }
    house.webhooks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_conference_holds_back_itself_alone_and_keeps_its_order() {
    let house = House::new().await;
    house.receiver.refuses.lock().push("TS_bad".to_owned());
    let mut bad = house.begin("TS_bad").await;
    bad.join(&house.store, "anna").await;
    for number in 0..20 {
        let id = format!("TS_good{number}");
        let mut good = house.begin(&id).await;
        good.join(&house.store, "boris").await;
        let told =
            house.receiver.until(|seen| Some(Receiver::taken(seen, &id)).filter(|told| told.len() == 2));
        assert_eq!(told.await, [("conferenceStarted".to_owned(), 1), ("memberJoined".to_owned(), 2)]);
    }
    assert_eq!(house.webhooks.unread_from(bad.conference.id(), Some(&app())), Some(Seq(1)));
    assert!(Receiver::taken(&house.receiver.seen.lock(), "TS_bad").is_empty());
    house.receiver.refuses.lock().clear();
    let told =
        house.receiver.until(|seen| Some(Receiver::taken(seen, "TS_bad")).filter(|told| told.len() == 2));
    assert_eq!(told.await, [("conferenceStarted".to_owned(), 1), ("memberJoined".to_owned(), 2)]);
    house.webhooks.stop().await;
    assert_eq!(house.webhooks.unread_from(bad.conference.id(), Some(&app())), None);
}

/// The paused clock only moves while every task waits: one that spins holds it for good.
#[tokio::test(start_paused = true)]
async fn a_lane_that_is_due_waits_for_a_free_place_without_spinning() {
    let house = House::new().await;
    house.receiver.refuses.lock().push("TS_bad".to_owned());
    house.begin("TS_bad").await;
    house.receiver.until(|seen| (!seen.is_empty()).then_some(())).await;
    for number in 0..4 {
        let id = format!("TS_hang{number}");
        house.receiver.hangs.lock().push(id.clone());
        house.begin(&id).await;
    }
    let hanging = |seen: &[(Instant, Value, u16)]| seen.iter().filter(|(_, _, status)| *status == 0).count();
    house.receiver.until(|seen| (hanging(seen) == 4).then_some(())).await;
    tokio::time::sleep(MAX).await;
    house.webhooks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_failed_for_too_long_is_a_dead_letter_and_a_gap_comes_first() {
    let house = House::new().await;
    house.receiver.refuses.lock().push("TS_a".to_owned());
    let mut story = house.begin("TS_a").await;
    story.join(&house.store, "anna").await;
    let is_gap = |(_, body, _): &&(Instant, Value, u16)| body["type"] == "webhookGap";
    house.receiver.until(|seen| seen.iter().find(is_gap).map(drop)).await;
    let letters = house.webhooks.dead_letters(&app(), None, 10).await.unwrap();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.from, letter.to), (Seq(1), Seq(2)));
    assert_eq!(letter.last_error, "the receiver answered 500");
    assert!(
        letter.attempts > 10 && letter.last_failure.0 - letter.first_failure.0 >= GIVE_UP_MS,
        "{letter:?}"
    );

    // The gap is not taken either: it is told again, before what comes later.
    story.join(&house.store, "boris").await;
    house.receiver.refuses.lock().clear();
    let told =
        house.receiver.until(|seen| Some(Receiver::taken(seen, "TS_a")).filter(|told| told.len() == 2));
    assert_eq!(told.await, [("webhookGap".to_owned(), 2), ("memberJoined".to_owned(), 3)]);
    assert_eq!(
        house.webhooks.unread_from(story.conference.id(), Some(&app())),
        Some(Seq(1)),
        "it may be replayed"
    );

    house.webhooks.replay(&app(), &letter.id).await.unwrap();
    let told =
        house.receiver.until(|seen| Some(Receiver::taken(seen, "TS_a")).filter(|told| told.len() == 4));
    assert_eq!(told.await[2..], [("conferenceStarted".to_owned(), 1), ("memberJoined".to_owned(), 2)]);
    house.webhooks.stop().await;
    assert!(house.webhooks.dead_letters(&app(), None, 10).await.unwrap().is_empty());
    assert_eq!(house.webhooks.unread_from(story.conference.id(), Some(&app())), None);
    assert_eq!(house.webhooks.replay(&app(), &letter.id).await.unwrap_err().reason, Reason::NotFound);
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_everything_goes_on_where_it_was() {
    let house = House::new().await;
    house.receiver.refuses.lock().push("TS_late".to_owned());
    let mut late = house.begin("TS_late").await;
    let mut fine = house.begin("TS_fine").await;
    house.receiver.until(|seen| (!Receiver::taken(seen, "TS_fine").is_empty()).then_some(())).await;
    house.webhooks.stop().await;
    late.join(&house.store, "anna").await;
    fine.join(&house.store, "anna").await;
    house.begin("TS_new").await;

    house.receiver.seen.lock().clear();
    house.receiver.refuses.lock().clear();
    let again = open(house.store.clone(), house.receiver.clone()).await;
    let told = house.receiver.until(|seen| (seen.len() >= 4).then(|| seen.to_vec())).await;
    assert_eq!(Receiver::taken(&told, "TS_late").len(), 2);
    assert_eq!(Receiver::taken(&told, "TS_fine"), [("memberJoined".to_owned(), 2)]);
    assert_eq!(Receiver::taken(&told, "TS_new"), [("conferenceStarted".to_owned(), 1)]);
    again.stop().await;
    assert_eq!(house.receiver.seen.lock().len(), 4, "nothing is told twice after an orderly stop");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_left_the_list_begins_anew() {
    let house = House::new().await;
    house.receiver.refuses.lock().push("TS_a".to_owned());
    let mut story = house.begin("TS_a").await;
    house.receiver.until(|seen| (!seen.is_empty()).then_some(())).await;
    assert_eq!(house.put(&[]).await.len(), 0);
    let kept = crate::store::ClaimKey::parse("webhooks/cursors").unwrap();
    assert!(house.store.list(&kept, None, 10).await.unwrap().is_empty());
    assert_eq!(house.webhooks.unread_from(story.conference.id(), Some(&app())), None);
    story.join(&house.store, "anna").await;
    house.receiver.seen.lock().clear();
    house.receiver.refuses.lock().clear();
    house.put(&["https://a.example/"]).await;
    story.join(&house.store, "boris").await;
    let told =
        house.receiver.until(|seen| Some(Receiver::taken(seen, "TS_a")).filter(|told| !told.is_empty()));
    assert_eq!(told.await, [("memberJoined".to_owned(), 3)]);
    house.webhooks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_log_no_longer_holds_is_told_as_a_gap() {
    let house = House::new().await;
    house.receiver.refuses.lock().push("TS_a".to_owned());
    let mut story = house.begin("TS_a").await;
    house.receiver.until(|seen| (!seen.is_empty()).then_some(())).await;
    story.join(&house.store, "anna").await;
    story.join(&house.store, "boris").await;
    let snapshot = crate::conferences::folding::snapshot_of(&story.conference).unwrap();
    house.store.put_snapshot(story.conference.id(), story.revision, &snapshot).await.unwrap();
    while house.store.trim(story.conference.id(), story.revision).await.unwrap() > 0 {}
    story.join(&house.store, "clara").await;
    house.receiver.refuses.lock().clear();
    let told =
        house.receiver.until(|seen| Some(Receiver::taken(seen, "TS_a")).filter(|told| told.len() == 2));
    assert_eq!(told.await, [("webhookGap".to_owned(), 3), ("memberJoined".to_owned(), 4)]);
    house.webhooks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_went_before_a_full_target_could_read_it_is_told_as_a_gap() {
    let house = House::new().await;
    let story = house.begin("TS_a").await;
    house.receiver.until(|seen| (!seen.is_empty()).then_some(())).await;
    let [target] = &house.webhooks.targets(&app()).await.unwrap()[..] else { panic!() };
    let run = house.webhooks.shared.run_of(&app(), &target.id).unwrap();
    // As it is while the target is full: others' events happen and go, and nobody gives the target any of them.
    let id = story.conference.id().clone();
    {
        let mut lanes = run.lanes.lock();
        let read = lanes.read;
        lanes.read_to((read, Some(Timestamp(2))));
    }
    house.webhooks.removed(&AppId::parse("app2").unwrap(), &id, (Seq(2), Seq(3)), Timestamp(9));
    house.webhooks.removed(&app(), &id, (Seq(1), Seq(1)), Timestamp(1));
    house.webhooks.removed(&app(), &id, (Seq(2), Seq(3)), Timestamp(9));
    let told =
        house.receiver.until(|seen| Some(Receiver::taken(seen, "TS_a")).filter(|told| told.len() == 2));
    assert_eq!(told.await[1], ("webhookGap".to_owned(), 3));
    house.webhooks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_of_which_the_log_lost_a_part_stays_after_its_replay() {
    let house = House::new().await;
    house.receiver.refuses.lock().push("TS_a".to_owned());
    let mut story = house.begin("TS_a").await;
    let is_gap = |(_, body, _): &&(Instant, Value, u16)| body["type"] == "webhookGap";
    house.receiver.until(|seen| seen.iter().find(is_gap).map(drop)).await;
    story.join(&house.store, "anna").await;
    let snapshot = crate::conferences::folding::snapshot_of(&story.conference).unwrap();
    house.store.put_snapshot(story.conference.id(), story.revision, &snapshot).await.unwrap();
    while house.store.trim(story.conference.id(), story.revision).await.unwrap() > 0 {}
    house.receiver.refuses.lock().clear();
    let [letter] = &house.webhooks.dead_letters(&app(), None, 10).await.unwrap()[..] else { panic!() };
    house.receiver.seen.lock().clear();
    house.webhooks.replay(&app(), &letter.id).await.unwrap();
    let gaps =
        |seen: &[(Instant, Value, u16)]| seen.iter().filter(|seen| is_gap(seen) && seen.2 == 200).count();
    house.receiver.until(|seen| (gaps(seen) >= 2).then_some(())).await;
    house.webhooks.stop().await;
    let [kept] = &house.webhooks.dead_letters(&app(), None, 10).await.unwrap()[..] else { panic!("gone") };
    assert_eq!((kept.from, kept.to, kept.replaying), (letter.from, letter.to, false));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_behind_holds_the_logs_of_its_own_app_alone() {
    let house = House::new().await;
    house.receiver.refuses.lock().push("TS_a".to_owned());
    let story = house.begin("TS_a").await;
    house.receiver.until(|seen| (!seen.is_empty()).then_some(())).await;
    let [target] = &house.webhooks.targets(&app()).await.unwrap()[..] else { panic!() };
    house.webhooks.shared.run_of(&app(), &target.id).unwrap().lanes.lock().read =
        crate::store::Position::START;
    let (own, other) = (app(), AppId::parse("app2").unwrap());
    let unread = |app: Option<&AppId>| house.webhooks.unread_from(story.conference.id(), app);
    assert_eq!((unread(Some(&own)), unread(Some(&other)), unread(None)), (Some(Seq(1)), None, Some(Seq(1))));
    house.webhooks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_claim_of_a_lane_that_caught_up_goes_though_the_store_failed_once() {
    let house = House::new().await;
    let [target] = &house.webhooks.targets(&app()).await.unwrap()[..] else { panic!() };
    let (shared, run) = (&house.webhooks.shared, house.webhooks.shared.run_of(&app(), &target.id).unwrap());
    let kept = crate::store::ClaimKey::parse("webhooks/lanes").unwrap();
    house.receiver.refuses.lock().push("TS_a".to_owned());
    house.begin("TS_a").await;
    while house.store.list(&kept, None, 10).await.unwrap().is_empty() {
        tokio::time::sleep(MIN).await;
    }
    house.receiver.refuses.lock().clear();
    house.receiver.until(|seen| (!Receiver::taken(seen, "TS_a").is_empty()).then_some(())).await;
    while run.lanes.lock().len() > 0 {
        tokio::task::yield_now().await;
    }
    house.store.faults().next_claims(1);
    run::try_keep(shared, &run, false, false).await.unwrap_err();
    assert_eq!(house.store.list(&kept, None, 10).await.unwrap().len(), 1);
    run::try_keep(shared, &run, false, false).await.unwrap();
    assert!(house.store.list(&kept, None, 10).await.unwrap().is_empty());
    house.webhooks.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_ends_while_it_is_asked_for_leaves_no_letter_behind() {
    let house = House::new().await;
    house.receiver.refuses.lock().push("TS_a".to_owned());
    house.begin("TS_a").await;
    house.receiver.until(|seen| seen.iter().find(|seen| seen.1["type"] == "webhookGap").map(drop)).await;
    house.receiver.refuses.lock().clear();
    house.receiver.until(|seen| (!Receiver::taken(seen, "TS_a").is_empty()).then_some(())).await;
    house.receiver.hangs.lock().push("TS_a".to_owned());
    let [letter] = &house.webhooks.dead_letters(&app(), None, 10).await.unwrap()[..] else { panic!() };
    house.webhooks.replay(&app(), &letter.id).await.unwrap();
    house.receiver.until(|seen| seen.iter().find(|seen| seen.2 == 0).map(drop)).await;
    house.webhooks.replay(&app(), &letter.id).await.unwrap();
    let store = &*house.store;
    let (revision, read) = keeper::dead_letter(store, &app(), &letter.id).await.unwrap().unwrap();
    assert!(read.replaying);
    keeper::delete_dead_letter(store, &app(), &letter.id).await.unwrap();
    let put = keeper::put_dead_letter_as_read(store, &app(), &letter.id, revision, &read).await;
    assert!(matches!(put, Err(KeepError::Claim(ClaimError::Conflict))), "{put:?}");
    assert!(house.webhooks.dead_letters(&app(), None, 10).await.unwrap().is_empty());
    house.webhooks.stop().await;
}
