//! Names over the memory store: one process, two processes on one log, and a store that fails.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Map;
use tokio::sync::Semaphore;

use super::*;
use crate::domain::conference::{Admission, ConferenceKind};
use crate::domain::ticket::TicketClaims;
use crate::domain::{Event, Recorded, Role, Seq, TicketId, UserName};
use crate::store::{AppendFault, Claims as _, Log as _, MemoryStore};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn random() -> [u8; 10] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bits = [0; 10];
    bits[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bits
}

fn app() -> AppId {
    AppId::parse("app").unwrap()
}

fn room() -> RoomName {
    RoomName::parse("早会").unwrap()
}

fn name() -> Name {
    Name::of_room(&app(), &room()).unwrap()
}

struct Visitor {
    user: UserName,
    may_create: bool,
    /// Permits to go on once it is about to make the conference.
    go_on: Option<Arc<Semaphore>>,
}

fn visitor(name: &str) -> Visitor {
    Visitor { user: UserName::parse(name).unwrap(), may_create: true, go_on: None }
}

impl Visitor {
    fn join_by(&self, admission: Admission) -> Join {
        let member = MemberId::from_random(random());
        Join { member, admission, nick_name: None, ext: Map::new(), mini_program: false, role: None }
    }
}

#[async_trait]
impl Entrant for Visitor {
    async fn found(&self) -> Result<(Created, Join), Refusal> {
        if !self.may_create {
            return Err(Reason::NotAllowed.into());
        }
        if let Some(go_on) = &self.go_on {
            go_on.acquire().await.unwrap().forget();
        }
        let id = ConferenceId::from_random(random());
        let ticket = TicketClaims {
            id: TicketId::from_random(random()),
            app: app(),
            conference: id.clone(),
            user: Some(self.user.clone()),
            role: Role::Admin,
            seq: Seq(1),
            expires_at: NOW,
        };
        let created = Created {
            creator: Some(self.user.clone()),
            room_name: Some(room()),
            ..Created::new(id, app(), ConferenceKind::Communication)
        };
        Ok((created, self.join_by(Admission::Ticket { ticket, shown_by: None })))
    }

    fn mark(&self) -> Option<Mark> {
        None
    }

    async fn join(&self, _: &Conference) -> Result<Join, Refusal> {
        Ok(self.join_by(Admission::Password { user: self.user.clone(), verified: None }))
    }
}

async fn open(store: &Arc<MemoryStore>) -> Arc<Conferences> {
    Conferences::open(store.clone(), vec![]).await.unwrap()
}

async fn enter(conferences: &Conferences, user: &str) -> Result<Entered, Refusal> {
    conferences.enter(&name(), &visitor(user), NOW).await
}

fn id_of(entered: &Entered) -> ConferenceId {
    entered.done.conference.id().clone()
}

/// The open conferences of the log, whoever has them in memory.
async fn open_in_log(store: &MemoryStore) -> Vec<ConferenceId> {
    store.open_conferences(None, PAGE_ITEMS_MAX).await.unwrap()
}

async fn holder(store: &MemoryStore) -> Option<ConferenceId> {
    let claim = store.get(&name().0).await.unwrap()?;
    Some(serde_json::from_slice::<Holder>(&claim.value).unwrap().confr)
}

fn spawn(conferences: &Arc<Conferences>, who: Visitor) -> tokio::task::JoinHandle<Result<Entered, Refusal>> {
    let conferences = Arc::clone(conferences);
    tokio::spawn(async move { conferences.enter(&name(), &who, NOW).await })
}

#[tokio::test]
async fn of_fifty_that_join_a_new_name_at_once_one_makes_it() {
    let store = Arc::new(MemoryStore::new());
    let conferences = open(&store).await;
    let callers: Vec<_> =
        (0..50).map(|number| spawn(&conferences, visitor(&format!("u{}", number % 9)))).collect();
    let mut creators = 0;
    let mut ids = std::collections::BTreeSet::new();
    for caller in callers {
        let entered = caller.await.unwrap().unwrap();
        creators += u32::from(entered.is_creator);
        ids.insert(id_of(&entered));
    }
    assert_eq!((creators, ids.len(), open_in_log(&store).await.len()), (1, 1, 1));
    assert!(conferences.shared.turns.0.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_many_processes_that_join_a_new_name_at_once_one_makes_it() {
    for _ in 0..20 {
        let store = Arc::new(MemoryStore::new());
        let mut callers = Vec::new();
        for number in 0..6 {
            callers.push(spawn(&open(&store).await, visitor(&format!("u{number}"))));
        }
        let mut creators = 0;
        for caller in callers {
            creators += u32::from(caller.await.unwrap().unwrap().is_creator);
        }
        assert_eq!((creators, open_in_log(&store).await.len()), (1, 1));
    }
}

#[tokio::test]
async fn the_creator_is_admin_at_every_join_and_the_others_are_what_the_room_gives() {
    let store = Arc::new(MemoryStore::new());
    let conferences = open(&store).await;
    let role = |entered: &Entered| entered.done.conference.members[&entered.member].role;
    let anna = enter(&conferences, "anna").await.unwrap();
    assert_eq!((anna.is_creator, role(&anna)), (true, Role::Admin));
    assert_eq!(anna.done.conference.settings.room_name, Some(room()));
    assert_eq!(store.read(&id_of(&anna), crate::store::Revision::START, 9).await.unwrap().len(), 1);
    let boris = enter(&conferences, "boris").await.unwrap();
    assert_eq!((boris.is_creator, role(&boris)), (false, Role::Talker));
    let again = enter(&conferences, "anna").await.unwrap();
    assert_eq!((again.is_creator, role(&again)), (false, Role::Admin));
}

#[tokio::test]
async fn a_restart_keeps_the_name_and_an_end_frees_it() {
    let store = Arc::new(MemoryStore::new());
    let conferences = open(&store).await;
    let first = id_of(&enter(&conferences, "anna").await.unwrap());
    let conferences = open(&store).await;
    let boris = enter(&conferences, "boris").await.unwrap();
    assert_eq!((boris.is_creator, id_of(&boris)), (false, first.clone()));

    conferences.execute(&first, Command::End { by: Actor::App }, NOW).await.unwrap();
    conferences.settle().await;
    assert_eq!(holder(&store).await, None, "an ended conference leaves no claim behind");
    let again = enter(&conferences, "boris").await.unwrap();
    assert!(again.is_creator && id_of(&again) != first);
}

#[tokio::test]
async fn a_name_whose_release_failed_is_taken_over_and_swept_at_the_next_start() {
    let store = Arc::new(MemoryStore::new());
    let conferences = open(&store).await;
    for restart in [false, true] {
        let first = id_of(&enter(&conferences, "anna").await.unwrap());
        // Of the claims, only the release asks here.
        store.faults().next_claims(1);
        conferences.execute(&first, Command::End { by: Actor::App }, NOW).await.unwrap();
        conferences.settle().await;
        assert_eq!(holder(&store).await.as_ref(), Some(&first));
        if restart {
            open(&store).await;
            assert_eq!(holder(&store).await, None);
        } else {
            let second = enter(&conferences, "boris").await.unwrap();
            assert!(second.is_creator);
            conferences.execute(&id_of(&second), Command::End { by: Actor::App }, NOW).await.unwrap();
            conferences.settle().await;
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_between_claim_and_append_leaves_one_room_or_none() {
    for fault in [AppendFault::NotKept, AppendFault::KeptUnanswered] {
        for count in 1..=2 {
            let store = Arc::new(MemoryStore::new());
            let heard = Arc::new(Heard::default());
            let conferences = Conferences::open(store.clone(), vec![heard.clone()]).await.unwrap();
            store.faults().next_appends(count, fault);
            let entered = enter(&conferences, "anna").await.unwrap();
            assert!(entered.is_creator);
            assert_eq!(open_in_log(&store).await, [id_of(&entered)]);
            let told: Vec<_> = heard.0.lock().iter().map(|recorded| recorded.seq).collect();
            assert_eq!(told, [Seq(1), Seq(2)], "the watchers hear of it once");
        }
    }
    let store = Arc::new(MemoryStore::new());
    let conferences = open(&store).await;
    store.faults().next_appends(3, AppendFault::NotKept);
    assert_eq!(enter(&conferences, "anna").await.unwrap_err().reason, Reason::StoreUnavailable);
    assert_eq!((holder(&store).await, open_in_log(&store).await.len()), (None, 0));
    assert!(enter(&conferences, "anna").await.unwrap().is_creator);

    store.faults().next_claims(1);
    assert_eq!(enter(&conferences, "boris").await.unwrap_err().reason, Reason::StoreUnavailable);
}

#[derive(Default)]
struct Heard(Mutex<Vec<Recorded>>);

impl crate::conferences::Watcher for Heard {
    fn recorded(&self, _: &Conference, events: &[Recorded]) {
        self.0.lock().extend_from_slice(events);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_maker_went_away_is_waited_for_and_then_taken_over() {
    let store = Arc::new(MemoryStore::new());
    let conferences = open(&store).await;
    let gone = Holder { confr: ConferenceId::from_random(random()), at: NOW };
    store.put(&name().0, None, gone.bytes()).await.unwrap();
    let begun = tokio::time::Instant::now();
    let guest = Visitor { may_create: false, ..visitor("guest") };
    let refused = conferences.enter(&name(), &guest, NOW).await.unwrap_err();
    assert_eq!(refused.reason, Reason::NotAllowed);
    assert_eq!(begun.elapsed(), LOOK_AGAIN * LOOKS_MAX);
    assert!(enter(&conferences, "anna").await.unwrap().is_creator);

    let begun = tokio::time::Instant::now();
    let other = RoomName::parse("other").unwrap();
    let other = Name::of_room(&app(), &other).unwrap();
    store.put(&other.0, None, gone.bytes()).await.unwrap();
    let late = NOW.plus_ms(MAKER_GONE_MS + 1);
    assert!(conferences.enter(&other, &visitor("anna"), late).await.unwrap().is_creator);
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits for an old claim");
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_create_waits_for_the_one_who_is_creating() {
    let store = Arc::new(MemoryStore::new());
    let (here, there) = (open(&store).await, open(&store).await);
    for conferences in [&here, &there] {
        let held = store.faults().hold_appends();
        let anna = spawn(&here, visitor("anna"));
        held.arrived(1).await;
        let guest = spawn(conferences, Visitor { may_create: false, ..visitor("guest") });
        sleep(LOOK_AGAIN * 3).await;
        held.release();
        let anna = anna.await.unwrap().unwrap();
        let guest = guest.await.unwrap().unwrap();
        assert_eq!((anna.is_creator, guest.is_creator, id_of(&guest)), (true, false, id_of(&anna)));
        conferences.execute(&id_of(&anna), Command::End { by: Actor::App }, NOW).await.unwrap();
        conferences.settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_maker_that_lost_its_name_joins_the_other_conference() {
    let store = Arc::new(MemoryStore::new());
    let (here, there) = (open(&store).await, open(&store).await);
    let held = store.faults().hold_appends();
    let slow = spawn(&here, visitor("slow"));
    held.arrived(1).await;
    // It waits its two seconds, takes the claim over, and is held as well.
    let quick = spawn(&there, visitor("quick"));
    held.arrived(2).await;
    held.release();
    let (slow, quick) = (slow.await.unwrap().unwrap(), quick.await.unwrap().unwrap());
    assert_eq!((slow.is_creator, quick.is_creator), (false, true));
    assert_eq!(id_of(&slow), id_of(&quick));
    assert_eq!(open_in_log(&store).await, [id_of(&quick)]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_taken_from_a_conference_that_came_after_all_is_given_back() {
    let store = Arc::new(MemoryStore::new());
    let (here, there) = (open(&store).await, open(&store).await);
    let held = store.faults().hold_appends();
    let slow = spawn(&here, visitor("slow"));
    held.arrived(1).await;
    let go_on = Arc::new(Semaphore::new(0));
    let quick = spawn(&there, Visitor { go_on: Some(Arc::clone(&go_on)), ..visitor("quick") });
    // The other has found nothing and is about to take the claim when the slow one is done with everything.
    sleep(LOOK_AGAIN * (LOOKS_MAX + 10)).await;
    held.release();
    let slow = slow.await.unwrap().unwrap();
    go_on.add_permits(9);
    let quick = quick.await.unwrap().unwrap();
    assert_eq!((slow.is_creator, quick.is_creator), (true, false));
    assert_eq!(id_of(&slow), id_of(&quick));
    assert_eq!(open_in_log(&store).await, [id_of(&slow)]);
    assert_eq!(holder(&store).await, Some(id_of(&slow)));
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_a_whole_room_behind() {
    let store = Arc::new(MemoryStore::new());
    let conferences = open(&store).await;
    let held = store.faults().hold_appends();
    let anna = spawn(&conferences, visitor("anna"));
    held.arrived(1).await;
    let waiting = spawn(&conferences, visitor("boris"));
    tokio::task::yield_now().await;
    anna.abort();
    waiting.abort();
    let _ = (anna.await, waiting.await);
    held.release();
    conferences.settle().await;
    assert_eq!(conferences.count(), 1);
    assert!(conferences.shared.turns.0.lock().is_empty());
    let carol = enter(&conferences, "carol").await.unwrap();
    assert!(!carol.is_creator);
    let events: Vec<_> = carol.done.events.iter().map(|recorded| &recorded.event).collect();
    assert!(matches!(events[..], [Event::MemberJoined { .. }]));
}
