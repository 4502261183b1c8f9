//! What is kept of a log and what goes: snapshots, trimming, the end, forgetting.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    conference, creation, ending, fill, follow_from, numbers, read_all, record, snapshot, snapshot_of,
};
use crate::domain::{AppId, Seq, Timestamp};
use crate::store::{
    AppendError, EndedLog, EndedPart, LogStatus, Position, Revision, SNAPSHOT_BYTES_MAX, Snapshot,
    SnapshotAt, Store, TRIM_RECORDS_MAX,
};

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
