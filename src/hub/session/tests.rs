use std::sync::Barrier;
use std::thread;

use super::*;
use crate::domain::Reason;
use crate::hub::fixtures::{conference_id, is_ready, start};
use Direction::{Play, Publish};

const URL: [u8; 4] = [1; 4];

#[test]
fn the_first_reason_stands_and_is_seen_by_whoever_waits_or_looks() {
    let table = SessionTable::new(4);
    let guard = table.enter(start(Publish, 1, URL));
    assert!(!is_ready(guard.closed()));
    assert_eq!(guard.try_closed(), None);
    let refusal = Reason::MemberGone.because("kicked");
    assert!(guard.session().close(CloseReason::Revoked(refusal.clone())));
    assert!(!guard.session().close(CloseReason::Draining));
    assert!(is_ready(guard.closed()));
    assert_eq!(guard.try_closed(), Some(CloseReason::Revoked(refusal)));
}

#[tokio::test]
async fn a_close_wakes_a_future_that_was_made_before_it() {
    let table = SessionTable::new(4);
    let guard = table.enter(start(Publish, 1, URL));
    let session = Arc::clone(guard.session());
    let waiting = tokio::spawn(guard.closed());
    tokio::task::yield_now().await;
    session.close(CloseReason::Stalled);
    assert_eq!(waiting.await.unwrap(), CloseReason::Stalled);
}

#[test]
fn one_conference_is_listed_alone_and_pages_go_on_after_a_number() {
    let table = SessionTable::new(10);
    let ours: Vec<_> = (0..5).map(|_| table.enter(start(Play, 1, URL))).collect();
    let _theirs = table.enter(start(Publish, 2, URL));
    let ids = |sessions: Vec<Arc<Session>>| sessions.iter().map(|session| session.id().0).collect::<Vec<_>>();
    assert_eq!(ids(table.for_conference(&conference_id(1))), [1, 2, 3, 4, 5]);
    assert_eq!(ids(table.page(None, Some(SessionId(4)), 9)), [5, 6]);
    assert_eq!(ids(table.page(Some(&conference_id(1)), Some(SessionId(1)), 2)), [2, 3]);
    assert_eq!(table.counts(), SessionCounts { publishers: 1, viewers: 5 });
    assert!(table.find(SessionId(6)).is_some());
    drop(ours);
    assert!(table.for_conference(&conference_id(1)).is_empty());
    assert_eq!(table.counts(), SessionCounts { publishers: 1, viewers: 0 });
}

#[test]
fn one_play_too_many_of_a_url_closes_the_oldest_that_is_open() {
    let table = SessionTable::new(2);
    let first = table.enter(start(Play, 1, URL));
    let second = table.enter(start(Play, 1, URL));
    let other_url = table.enter(start(Play, 1, [2; 4]));
    let publishers: Vec<_> = (0..5).map(|_| table.enter(start(Publish, 1, URL))).collect();
    assert_eq!(first.try_closed(), None);
    let third = table.enter(start(Play, 1, URL));
    assert_eq!(first.try_closed(), Some(CloseReason::Replaced));
    // The closed one has not left yet and must not count twice.
    drop(second);
    let fourth = table.enter(start(Play, 1, URL));
    for open in [&third, &fourth, &other_url].into_iter().chain(&publishers) {
        assert_eq!(open.try_closed(), None);
    }
}

#[test]
fn a_conference_has_room_for_so_many_viewers_and_any_publisher() {
    let table = SessionTable::new(4).with_viewers_per_conference(2);
    let first = table.enter_if_room(start(Play, 1, URL)).unwrap();
    let _second = table.enter_if_room(start(Play, 1, [2; 4])).unwrap();
    let refusal = table.enter_if_room(start(Play, 1, [3; 4])).unwrap_err();
    assert_eq!((refusal.reason, refusal.limit), (Reason::Overloaded, Some("viewers_per_conference_max")));
    let _publisher = table.enter_if_room(start(Publish, 1, URL)).unwrap();
    let _elsewhere = table.enter_if_room(start(Play, 2, URL)).unwrap();
    drop(first);
    let _third = table.enter_if_room(start(Play, 1, [3; 4])).unwrap();
    assert!(table.enter_if_room(start(Play, 1, [4; 4])).is_err());
}

#[test]
fn an_empty_table_keeps_no_names() {
    let table = SessionTable::new(2);
    for round in 0..100_u8 {
        let guards: Vec<_> = (0..4).map(|_| table.enter(start(Play, round, [round; 4]))).collect();
        drop(guards);
    }
    let entries = table.entries.lock();
    assert!(entries.by_id.is_empty() && entries.by_conference.is_empty() && entries.plays_by_url.is_empty());
}

/// The promise to the revoker: after the right is gone, a session is closed by the scan or sees it by itself.
#[test]
fn no_session_survives_a_revocation_that_races_with_its_entry() {
    let table = SessionTable::new(usize::MAX);
    for _ in 0..200 {
        let is_revoked = std::sync::atomic::AtomicBool::new(false);
        let barrier = Barrier::new(5);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait();
                    let guard = table.enter(start(Play, 1, URL));
                    if is_revoked.load(std::sync::atomic::Ordering::SeqCst) {
                        return None;
                    }
                    Some(guard)
                });
            }
            let revoker = scope.spawn(|| {
                barrier.wait();
                is_revoked.store(true, std::sync::atomic::Ordering::SeqCst);
                for session in table.for_conference(&conference_id(1)) {
                    session.close(CloseReason::ClosedByApi);
                }
            });
            revoker.join().unwrap();
        });
        assert_eq!(table.counts(), SessionCounts::default());
    }
}

#[test]
fn entering_closing_and_leaving_from_many_threads_leaves_nothing() {
    let table = SessionTable::new(3);
    thread::scope(|scope| {
        for seed in 0..4_u8 {
            let table = &table;
            scope.spawn(move || {
                for round in 0..500_u16 {
                    let key = u8::try_from(round % 3).unwrap();
                    let guard = table.enter(start(Play, key, [key; 4]));
                    for session in table.for_conference(&conference_id(seed % 3)) {
                        session.close(CloseReason::Draining);
                    }
                    drop(guard);
                }
            });
        }
    });
    assert_eq!(table.counts(), SessionCounts::default());
    assert!(table.entries.lock().plays_by_url.is_empty());
}

#[test]
fn what_a_session_moved_is_counted_past_4_gib() {
    let counters = SessionCounters::default();
    let each = 3_000_000_000;
    for times in 1..=3 {
        counters.add(usize::try_from(each).unwrap(), usize::try_from(each).unwrap());
        assert_eq!((counters.bytes(), counters.packets()), (times * each, times * each));
    }
}
