//! The limits of an app over the memory store.

use super::*;
use crate::conferences::Conferences;
use crate::domain::conference::{Actor, ConferenceKind};
use crate::domain::{Command, ConferenceId, Created};
use crate::store::{AppendFault, Claims as _, MemoryStore};

const MORNING: Timestamp = Timestamp(20_000 * DAY_MS + 1000);

fn app(name: &str) -> AppId {
    AppId::parse(name).unwrap()
}

fn created(app: &AppId) -> Created {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bits = [0; 10];
    bits[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Created::new(ConferenceId::from_random(bits), app.clone(), ConferenceKind::Communication)
}

async fn open(store: &Arc<MemoryStore>, rooms_per_day_max: u32, conferences_max: u32) -> Arc<Conferences> {
    let conferences = Conferences::open(store.clone(), vec![]).await.unwrap();
    conferences.limit_apps(Arc::new(move |_| Some(AppLimits { rooms_per_day_max, conferences_max })));
    conferences
}

async fn make(conferences: &Conferences, name: &str, now: Timestamp) -> Result<ConferenceId, Refusal> {
    conferences.create(created(&app(name)), now).await.map(|conference| conference.id().clone())
}

async fn claims(store: &MemoryStore) -> Vec<(String, String)> {
    let under = ClaimKey::from_parts(&[DAYS_CLAIM]).unwrap();
    let page = store.list(&under, None, PAGE_ITEMS_MAX).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    page.iter().map(|(key, claim)| (key.to_string(), text(&claim.value))).collect()
}

#[tokio::test]
async fn a_day_holds_so_many_and_the_next_day_as_many_again() {
    let store = Arc::new(MemoryStore::new());
    let conferences = open(&store, 3, 100).await;
    for _ in 0..3 {
        make(&conferences, "a", MORNING).await.unwrap();
    }
    let refusal = make(&conferences, "a", MORNING).await.unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.wait.map(|wait| wait.as_secs())),
        (Reason::RateLimited, Some(24 * 3600 - 1))
    );
    make(&conferences, "b", MORNING).await.unwrap();

    let restarted = open(&store, 3, 100).await;
    assert_eq!(make(&restarted, "a", MORNING).await.unwrap_err().reason, Reason::RateLimited);
    let tomorrow = MORNING.plus_ms(DAY_MS);
    for now in [tomorrow, tomorrow.plus_ms(DAY_MS)] {
        for _ in 0..3 {
            make(&restarted, "a", now).await.unwrap();
        }
        assert_eq!(make(&restarted, "a", now).await.unwrap_err().reason, Reason::RateLimited);
    }
    restarted.settle().await;
    let kept: Vec<_> = claims(&store).await.into_iter().map(|(key, _)| key).collect();
    let day = |app: &str, day: u64| format!("{DAYS_CLAIM}/{app}/{day}");
    assert_eq!(kept, [day("a", 20_001), day("a", 20_002), day("b", 20_000)], "older days are forgotten");
}

#[tokio::test]
async fn blocks_cost_one_write_and_a_restart_loses_one_block_at_most() {
    let store = Arc::new(MemoryStore::new());
    let conferences = open(&store, 1000, u32::MAX).await;
    for _ in 0..11 {
        make(&conferences, "a", MORNING).await.unwrap();
    }
    assert_eq!(claims(&store).await[0].1, "20", "two blocks of ten");
    let restarted = open(&store, 1000, u32::MAX).await;
    let mut made = 11;
    while make(&restarted, "a", MORNING).await.is_ok() {
        made += 1;
    }
    assert_eq!(made, 1000 - 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_race_for_the_last_places_exactly_so_many_win() {
    for (per_day, at_once, reason) in [(7, 1000, Reason::RateLimited), (1000, 7, Reason::Overloaded)] {
        let store = Arc::new(MemoryStore::new());
        // Two processes share the day, each with its own open conferences.
        let conferences = open(&store, per_day, at_once).await;
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let conferences = Arc::clone(&conferences);
                tokio::spawn(async move { make(&conferences, "a", MORNING).await })
            })
            .collect();
        let mut won = Vec::new();
        for caller in callers {
            match caller.await.unwrap() {
                Ok(id) => won.push(id),
                Err(refusal) => assert_eq!(refusal.reason, reason),
            }
        }
        assert_eq!(won.len(), 7);
        conferences.execute(&won[0], Command::End { by: Actor::App }, MORNING).await.unwrap();
        let again = make(&conferences, "a", MORNING).await;
        assert_eq!(again.is_ok(), reason == Reason::Overloaded, "an end frees a place, and no day's number");
        assert!(conferences.shared.quotas.counts.lock().values().all(|count| count.in_flight == 0));
    }
}

#[tokio::test]
async fn what_came_to_nothing_counts_for_nothing_and_what_may_have_come_to_be_counts() {
    let store = Arc::new(MemoryStore::new());
    let conferences = open(&store, 2, 2).await;
    store.faults().next_appends(1, AppendFault::Busy);
    make(&conferences, "a", MORNING).await.unwrap_err();
    store.faults().next_appends(1, AppendFault::NotKept);
    assert_eq!(make(&conferences, "a", MORNING).await.unwrap_err().reason, Reason::StoreUnavailable);
    make(&conferences, "a", MORNING).await.unwrap();
    assert_eq!(make(&conferences, "a", MORNING).await.unwrap_err().reason, Reason::RateLimited);
}

#[tokio::test]
async fn a_days_number_that_cannot_be_read_or_written_makes_no_conference() {
    let store = Arc::new(MemoryStore::new());
    let conferences = open(&store, 2, 2).await;
    store.faults().next_claims(1);
    assert_eq!(make(&conferences, "a", MORNING).await.unwrap_err().reason, Reason::StoreUnavailable);
    let key = ClaimKey::from_parts(&[DAYS_CLAIM, "a", "20000"]).unwrap();
    store.put(&key, None, Bytes::from_static(b"many")).await.unwrap();
    assert_eq!(make(&conferences, "a", MORNING).await.unwrap_err().reason, Reason::StoreUnavailable);
    assert_eq!(conferences.count(), 0);
}

/// Conferences whose one limit, and whether their apps are there, the test changes as it goes.
async fn changeable(store: &Arc<MemoryStore>) -> (Arc<Conferences>, Arc<Mutex<Option<u32>>>) {
    let conferences = Conferences::open(store.clone(), vec![]).await.unwrap();
    let max = Arc::new(Mutex::new(Some(1000)));
    let asked = Arc::clone(&max);
    conferences.limit_apps(Arc::new(move |_| {
        asked.lock().map(|rooms_per_day_max| AppLimits { rooms_per_day_max, ..AppLimits::NONE })
    }));
    (conferences, max)
}

#[tokio::test]
async fn a_lowered_limit_counts_at_once_and_a_raised_one_too() {
    let store = Arc::new(MemoryStore::new());
    let (conferences, max) = changeable(&store).await;
    for _ in 0..3 {
        make(&conferences, "a", MORNING).await.unwrap();
    }
    *max.lock() = Some(4);
    make(&conferences, "a", MORNING).await.unwrap();
    assert_eq!(make(&conferences, "a", MORNING).await.unwrap_err().reason, Reason::RateLimited);
    *max.lock() = Some(2);
    assert_eq!(make(&conferences, "a", MORNING).await.unwrap_err().reason, Reason::RateLimited);
    *max.lock() = Some(12);
    for _ in 4..12 {
        make(&conferences, "a", MORNING).await.unwrap();
    }
    assert_eq!(make(&conferences, "a", MORNING).await.unwrap_err().reason, Reason::RateLimited);
}

#[tokio::test]
async fn when_an_app_is_gone_nothing_of_it_is_in_the_making_any_more() {
    let store = Arc::new(MemoryStore::new());
    let (conferences, max) = changeable(&store).await;
    make(&conferences, "a", MORNING).await.unwrap();
    let held = store.faults().hold_appends();
    let making = tokio::spawn({
        let conferences = Arc::clone(&conferences);
        async move { make(&conferences, "a", MORNING).await }
    });
    held.arrived(1).await;
    *max.lock() = None;
    assert_eq!(make(&conferences, "a", MORNING).await.unwrap_err().reason, Reason::Unauthenticated);
    {
        let gone = app("a");
        let mut settled = std::pin::pin!(conferences.creations_settled(&gone));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(settled.as_mut().poll(&mut context).is_pending(), "one is being made");
        conferences.creations_settled(&app("b")).await;
        held.release();
        settled.await;
    }
    assert_eq!(conferences.list(&app("a"), None, 10).len(), 2, "what was being made is there to be ended");
    making.await.unwrap().unwrap();
}
