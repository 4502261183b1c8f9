//! The service over the memory store, with its faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::Map;

use super::*;
use crate::domain::conference::{Actor, Admission, ConferenceKind, Join};
use crate::domain::event::StreamKind;
use crate::domain::{MemberId, Record, RtcId, UserName};
use crate::store::{AppendFault, Log as _, MemoryStore, Revision, SnapshotAt};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn created(id: u8) -> Created {
    Created::new(
        ConferenceId::from_random([id; 10]),
        AppId::parse("app").unwrap(),
        ConferenceKind::Communication,
    )
}

fn user(number: usize) -> UserName {
    UserName::parse(&format!("u{number}")).unwrap()
}

fn join(number: usize) -> Command {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let mut bits = [0; 10];
    bits[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let admission = Admission::App { user: user(number) };
    let member = MemberId::from_random(bits);
    Command::Join(Box::new(Join {
        member,
        admission,
        nick_name: None,
        ext: Map::new(),
        mini_program: false,
        role: None,
    }))
}

fn kick(number: usize) -> Command {
    Command::Kick { by: Actor::App, users: vec![user(number)] }
}

async fn open(store: &Arc<MemoryStore>, watchers: Vec<Arc<dyn Watcher>>) -> (Arc<Conferences>, ConferenceId) {
    let conferences = Conferences::open(store.clone(), watchers).await.unwrap();
    let conference = conferences.create(created(1), NOW).await.unwrap();
    (conferences, conference.id().clone())
}

async fn log_of(store: &MemoryStore, id: &ConferenceId) -> Vec<Record> {
    let page = store.read(id, Revision::START, PAGE_ITEMS_MAX).await.unwrap();
    page.into_iter().map(|(_, record)| record).collect()
}

/// Checks that the log, read afresh, tells the same as what callers were shown.
async fn assert_log_matches(store: &Arc<MemoryStore>, conferences: &Conferences, id: &ConferenceId) {
    let shown = conferences.find(&created(1).app, id).await.unwrap();
    let folded = load(&**store, id).await.unwrap().unwrap().conference;
    assert_eq!(*shown, folded);
}

#[tokio::test]
async fn commands_that_arrive_during_an_append_leave_together_as_the_next_record() {
    let store = Arc::new(MemoryStore::new());
    let (conferences, id) = open(&store, vec![]).await;
    let held = store.faults().hold_appends();
    let mut callers = Vec::new();
    for number in 0..9 {
        let (conferences, id) = (Arc::clone(&conferences), id.clone());
        callers.push(tokio::spawn(async move { conferences.execute(&id, join(number), NOW).await }));
        if number == 0 {
            held.arrived(1).await;
        }
    }
    // Each caller has run as far as it can once all are parked on their answers.
    while conferences.room(&id).unwrap().waiting_count() < 8 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        conferences.find(&created(1).app, &id).await.unwrap().members.len(),
        0,
        "nothing is shown early"
    );
    held.release();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(log_of(&store, &id).await.len(), 3, "the creation, the first join, and eight joins together");
    assert_log_matches(&store, &conferences, &id).await;
}

#[tokio::test]
async fn of_many_that_race_for_few_places_exactly_so_many_win() {
    let store = Arc::new(MemoryStore::new());
    let (conferences, id) = open(&store, vec![]).await;
    let callers: Vec<_> = (0..200)
        .map(|number| {
            let (conferences, id) = (Arc::clone(&conferences), id.clone());
            tokio::spawn(async move { conferences.execute(&id, join(number), NOW).await })
        })
        .collect();
    let mut won = 0;
    for caller in callers {
        match caller.await.unwrap() {
            Ok(_) => won += 1,
            Err(refusal) => assert_eq!(refusal.reason, Reason::TalkersFull),
        }
    }
    assert_eq!(won, 9);
    assert_log_matches(&store, &conferences, &id).await;
}

#[tokio::test]
async fn a_failed_append_is_reread_and_decided_anew() {
    let store = Arc::new(MemoryStore::new());
    for fault in [AppendFault::NotKept, AppendFault::KeptUnanswered] {
        let conferences = Conferences::open(store.clone(), vec![]).await.unwrap();
        let id = conferences.create(created(10 + fault as u8), NOW).await.unwrap().id().clone();
        store.faults().next_appends(1, fault);
        let done = conferences.execute(&id, join(0), NOW).await.unwrap();
        assert_eq!(done.conference.members.len(), 1);
        assert_eq!(log_of(&store, &id).await.len(), 2, "the join stands in the log once");
        let app = created(1).app;
        assert_eq!(
            *conferences.find(&app, &id).await.unwrap(),
            load(&*store, &id).await.unwrap().unwrap().conference
        );
    }
}

#[tokio::test]
async fn a_store_that_stays_down_is_told_and_leaves_nothing_behind() {
    let store = Arc::new(MemoryStore::new());
    let (conferences, id) = open(&store, vec![]).await;
    store.faults().next_appends(3, AppendFault::NotKept);
    let refusal = conferences.execute(&id, join(0), NOW).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::StoreUnavailable);
    let done = conferences.execute(&id, join(1), NOW).await.unwrap();
    assert_eq!(done.conference.members.len(), 1, "the refused join is not in the state");
    assert_log_matches(&store, &conferences, &id).await;
}

#[tokio::test]
async fn another_writer_of_the_same_log_is_noticed() {
    let store = Arc::new(MemoryStore::new());
    let (here, id) = open(&store, vec![]).await;
    let there = Conferences::open(store.clone(), vec![]).await.unwrap();
    there.execute(&id, join(0), NOW).await.unwrap();
    let done = here.execute(&id, join(1), NOW).await.unwrap();
    assert_eq!(done.conference.members.len(), 2);
    assert_log_matches(&store, &here, &id).await;
}

#[derive(Default)]
struct Heard(Mutex<Vec<Recorded>>);

impl Watcher for Heard {
    fn recorded(&self, _: &Conference, events: &[Recorded]) {
        self.0.lock().extend_from_slice(events);
    }
}

#[tokio::test]
async fn watchers_hear_every_event_once_in_order_and_before_the_answer() {
    let store = Arc::new(MemoryStore::new());
    let heard = Arc::new(Heard::default());
    let (conferences, id) = open(&store, vec![heard.clone()]).await;
    for number in 0..5 {
        let done = conferences.execute(&id, join(number), NOW).await.unwrap();
        assert_eq!(heard.0.lock().last(), done.events.last());
    }
    store.faults().next_appends(1, AppendFault::KeptUnanswered);
    conferences.execute(&id, kick(3), NOW).await.unwrap();
    let log: Vec<_> = log_of(&store, &id).await.into_iter().flat_map(|record| record.events).collect();
    assert_eq!(*heard.0.lock(), log);
}

#[tokio::test]
async fn a_command_that_changes_nothing_waits_for_what_it_follows_from() {
    let store = Arc::new(MemoryStore::new());
    let (conferences, id) = open(&store, vec![]).await;
    conferences.execute(&id, join(0), NOW).await.unwrap();
    let declare = || Command::DeclareStream {
        subject: crate::domain::conference::Subject::User(user(0)),
        rtc_id: RtcId::parse("cam").unwrap(),
        kind: StreamKind::Camera,
        video_off: false,
        audio_off: false,
    };
    let held = store.faults().hold_appends();
    let first = tokio::spawn({
        let (conferences, id) = (Arc::clone(&conferences), id.clone());
        async move { conferences.execute(&id, declare(), NOW).await }
    });
    held.arrived(1).await;
    let mut again = Box::pin(conferences.execute(&id, declare(), NOW));
    assert!(futures_poll_once(&mut again).await.is_none(), "the stream is not durable yet");
    held.release();
    first.await.unwrap().unwrap();
    let done = again.await.unwrap();
    assert!(done.events.is_empty());
    assert_eq!(done.conference.streams.len(), 1);
}

async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// Writers end and begin all the time here, so that a command meets every moment of a writer's end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_given_up_and_the_log_stays_whole_under_a_storm_from_many_threads() {
    let store = Arc::new(MemoryStore::new());
    let (conferences, id) = open(&store, vec![]).await;
    let callers: Vec<_> = (0..8)
        .map(|number| {
            let (conferences, id) = (Arc::clone(&conferences), id.clone());
            tokio::spawn(async move {
                for _ in 0..5_000 {
                    conferences.execute(&id, join(number), NOW).await.unwrap();
                    conferences.execute(&id, kick(number), NOW).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_log_matches(&store, &conferences, &id).await;
    let mut after = Revision::START;
    let mut next = Seq(1);
    loop {
        let page = store.read(&id, after, PAGE_ITEMS_MAX).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for recorded in page.iter().flat_map(|(_, record)| &record.events) {
            assert_eq!(recorded.seq, next, "the log counts without a gap");
            next = next.next();
        }
    }
    assert!(conferences.find(&created(1).app, &id).await.unwrap().members.is_empty());
}

#[tokio::test]
async fn an_ended_conference_leaves_memory_and_is_told_as_closed() {
    let store = Arc::new(MemoryStore::new());
    let (conferences, id) = open(&store, vec![]).await;
    let app = created(1).app;
    assert_eq!(conferences.list(&app, None, 10).len(), 1);
    conferences.execute(&id, Command::End { by: Actor::App }, NOW).await.unwrap();
    assert!(conferences.all().is_empty() && conferences.list(&app, None, 10).is_empty());
    let reason = |result: Result<Arc<Conference>, Refusal>| result.unwrap_err().reason;
    assert_eq!(reason(conferences.find(&app, &id).await), Reason::ConferenceClosed);
    let stranger = AppId::parse("other").unwrap();
    assert_eq!(reason(conferences.find(&stranger, &id).await), Reason::ConferenceNotFound);
    let unknown = ConferenceId::from_random([99; 10]);
    assert_eq!(reason(conferences.find(&app, &unknown).await), Reason::ConferenceNotFound);
    let refusal = conferences.execute(&id, join(0), NOW).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ConferenceClosed);

    let reopened = Conferences::open(store.clone(), vec![]).await.unwrap();
    assert!(reopened.all().is_empty());
    assert_eq!(reason(reopened.find(&app, &id).await), Reason::ConferenceClosed);
    // Without its records it is still known, and by its app alone; forgotten it never was.
    let head = store.status(&id).await.unwrap().unwrap().head;
    store.trim(&id, head).await.unwrap();
    assert_eq!(log_of(&store, &id).await, []);
    assert_eq!(reason(reopened.find(&app, &id).await), Reason::ConferenceClosed);
    assert_eq!(reason(reopened.find(&stranger, &id).await), Reason::ConferenceNotFound);
    store.forget(&id).await.unwrap();
    assert_eq!(reason(reopened.find(&app, &id).await), Reason::ConferenceNotFound);
}

#[tokio::test]
async fn a_start_reads_the_snapshot_and_what_came_after_it() {
    let store = Arc::new(MemoryStore::new());
    let (conferences, id) = open(&store, vec![]).await;
    for round in 0..900 {
        conferences.execute(&id, if round % 2 == 0 { join(7) } else { kick(7) }, NOW).await.unwrap();
    }
    conferences.settle().await;
    let (_, snapshot) = store.snapshot(&id, SnapshotAt::Newest).await.unwrap().expect("one is due by now");
    assert!(snapshot.seq() < conferences.find(&created(1).app, &id).await.unwrap().seq);
    let reopened = Conferences::open(store.clone(), vec![]).await.unwrap();
    let app = created(1).app;
    assert_eq!(reopened.find(&app, &id).await.unwrap(), conferences.find(&app, &id).await.unwrap());
}

#[tokio::test]
async fn a_creation_whose_caller_goes_away_is_there_all_the_same() {
    let store = Arc::new(MemoryStore::new());
    let conferences = Conferences::open(store.clone(), vec![]).await.unwrap();
    let held = store.faults().hold_appends();
    let mut creation = Box::pin(conferences.create(created(1), NOW));
    assert!(futures_poll_once(&mut creation).await.is_none());
    held.arrived(1).await;
    drop(creation);
    held.release();
    conferences.settle().await;
    assert_eq!(conferences.all().len(), 1);
}

#[tokio::test]
async fn an_app_lists_its_own_conferences_page_by_page() {
    let store = Arc::new(MemoryStore::new());
    let conferences = Conferences::open(store, vec![]).await.unwrap();
    for id in 1..=5 {
        conferences.create(created(id), NOW).await.unwrap();
    }
    let stranger = Created { app: AppId::parse("other").unwrap(), ..created(6) };
    conferences.create(stranger, NOW).await.unwrap();
    let app = created(1).app;
    let first = conferences.list(&app, None, 3);
    let second = conferences.list(&app, Some(first[2].id()), 3);
    assert_eq!((first.len(), second.len()), (3, 2));
    assert!(first.iter().chain(&second).is_sorted_by_key(|conference| conference.id().clone()));
}

fn mark(key: &str, body: &str) -> Mark {
    let keys = crate::domain::ticket::TokenKeys::derive(&[3; 32]).marks;
    keys.mark("app", "/members", key, keys.body(body.as_bytes()))
}

#[tokio::test]
async fn of_many_with_one_mark_exactly_one_takes_effect() {
    let store = Arc::new(MemoryStore::new());
    let (conferences, id) = open(&store, vec![]).await;
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let (conferences, id) = (Arc::clone(&conferences), id.clone());
            let mark = Some(mark("k", "b"));
            tokio::spawn(async move { conferences.execute_once(&id, join(7), mark, NOW).await })
        })
        .collect();
    let mut members = std::collections::BTreeSet::new();
    let mut did = 0;
    for caller in callers {
        let done = caller.await.unwrap().unwrap();
        did += usize::from(done.repeats.is_none());
        members.insert(done.joined().expect("inside").id.clone());
    }
    assert_eq!((did, members.len()), (1, 1));
    let refusal = conferences.execute_once(&id, join(7), Some(mark("k", "c")), NOW).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidRequest);
    assert_log_matches(&store, &conferences, &id).await;

    let conferences = Conferences::open(store.clone(), vec![]).await.unwrap();
    let done = conferences.execute_once(&id, join(7), Some(mark("k", "b")), NOW).await.unwrap();
    assert_eq!(done.joined().map(|member| &member.id), members.first(), "the mark is in the log");
    let later = NOW.plus_ms(crate::domain::limits::MARK_LIFE_MS);
    let done = conferences.execute_once(&id, join(7), Some(mark("k", "b")), later).await.unwrap();
    assert!(done.repeats.is_none(), "a mark is forgotten after its life");
}

#[tokio::test]
async fn a_marked_command_whose_append_was_kept_unanswered_is_done_once() {
    let store = Arc::new(MemoryStore::new());
    let (conferences, id) = open(&store, vec![]).await;
    store.faults().next_appends(1, AppendFault::KeptUnanswered);
    let done = conferences.execute_once(&id, join(1), Some(mark("k", "b")), NOW).await.unwrap();
    let again = conferences.execute_once(&id, join(1), Some(mark("k", "b")), NOW).await.unwrap();
    assert_eq!(done.joined().map(|member| &member.id), again.joined().map(|member| &member.id));
    assert_eq!(log_of(&store, &id).await.len(), 2);
}

fn marked_creation(body: &str) -> Created {
    let keys = crate::domain::ticket::TokenKeys::derive(&[3; 32]).marks;
    let mark = crate::domain::mark::CreationMark { body: keys.body(body.as_bytes()), password: None };
    Created { mark: Some(mark), ..created(20) }
}

#[tokio::test]
async fn a_marked_creation_is_done_once_whatever_became_of_its_answer() {
    let store = Arc::new(MemoryStore::new());
    let conferences = Conferences::open(store.clone(), vec![]).await.unwrap();
    store.faults().next_appends(1, AppendFault::KeptUnanswered);
    conferences.create(marked_creation("a"), NOW).await.unwrap();
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let conferences = Arc::clone(&conferences);
            tokio::spawn(async move { conferences.create(marked_creation("a"), NOW).await })
        })
        .collect();
    for caller in callers {
        assert_eq!(*caller.await.unwrap().unwrap().id(), created(20).id);
    }
    assert_eq!((conferences.count(), log_of(&store, &created(20).id).await.len()), (1, 1));
    let refusal = conferences.create(marked_creation("b"), NOW).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidRequest);
    conferences.execute(&created(20).id, join(1), NOW).await.unwrap();
    conferences.execute(&created(20).id, Command::End { by: Actor::App }, NOW).await.unwrap();
    let refusal = conferences.create(marked_creation("a"), NOW).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ConferenceClosed);
    conferences.create(created(20), NOW).await.unwrap_err();
}
