use super::*;

const MIN: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(300);

#[test]
fn the_wait_doubles_up_to_its_cap_and_is_anywhere_below() {
    let longest: Vec<u64> = (1..=10).map(|attempts| longest_wait(attempts, MIN, MAX).as_secs()).collect();
    assert_eq!(longest, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    assert_eq!(longest_wait(u32::MAX, MIN, MAX), MAX);
    for chance in [0, 1, 999_999, 1_000_000, 1_000_001, u64::MAX] {
        assert!(wait(1, MIN, MAX, chance) <= MIN);
    }
    assert_eq!(wait(1, MIN, MAX, 0), Duration::ZERO);
    assert_eq!(wait(1, MIN, MAX, 1_000_000), MIN);
}

fn conference(number: usize) -> ConferenceId {
    ConferenceId::parse(&format!("TS_{number}")).unwrap()
}

fn fail(turn: &mut Turn) {
    turn.progress.failing =
        Some(Failing { since: Timestamp(1), last: Timestamp(1), attempts: 1, error: "x".to_owned() });
}

#[tokio::test(start_paused = true)]
async fn the_position_waits_for_what_is_untold_and_not_for_what_is_kept() {
    let start = Position::START;
    let later: Position = serde_json::from_str("7").unwrap();
    let mut lanes = Lanes::new(start, None, Timestamp(1));
    assert!(lanes.observe(&conference(1), (Seq(1), Seq(2)), Timestamp(1), start));
    lanes.read = later;
    assert_eq!(lanes.safe(), start);
    assert_eq!(lanes.unread_from(&conference(1)), Some(Seq(1)));
    let mut turn = lanes.take(Instant::now(), 1).unwrap();
    turn.progress.after = Seq(1);
    fail(&mut turn);
    let due = Instant::now() + MIN;
    lanes.end(turn, false, &End::Failed, due, (Timestamp(2), later));
    assert_eq!((lanes.safe(), lanes.next_due()), (start, Some(due)));
    assert!(lanes.take(Instant::now(), 1).is_none(), "it waits");
    let (key, stored, _) = lanes.to_keep(false).remove(0);
    let claim = kept_claim().await;
    lanes.kept(&key, stored, claim);
    assert_eq!(lanes.safe(), later);
    assert!(lanes.to_keep(false).is_empty());
    assert_eq!(lanes.unread_from(&conference(1)), Some(Seq(2)));
    tokio::time::advance(MIN).await;
    let mut turn = lanes.take(Instant::now(), 1).unwrap();
    (turn.progress.after, turn.progress.failing) = (Seq(2), None);
    lanes.end(turn, true, &End::UpToDate, due, (Timestamp(3), later));
    assert_eq!((lanes.len(), lanes.unread_from(&conference(1))), (0, None));
    assert_eq!(lanes.caught_up, BTreeMap::from([(conference(1), claim)]));
    lanes.forgotten(&conference(1), claim);
    assert!(lanes.caught_up.is_empty());
}

/// Revisions are the store's to make.
async fn kept_claim() -> ClaimRevision {
    use crate::store::{ClaimKey, Claims as _, MemoryStore};
    let key = ClaimKey::parse("x").unwrap();
    MemoryStore::new().put(&key, None, bytes::Bytes::new()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn retries_leave_places_to_conferences_that_do_not_fail() {
    let mut lanes = Lanes::new(Position::START, None, Timestamp(1));
    for number in 0..3 {
        lanes.observe(&conference(number), (Seq(1), Seq(1)), Timestamp(1), Position::START);
    }
    for _ in 0..2 {
        let mut turn = lanes.take(Instant::now(), 1).unwrap();
        fail(&mut turn);
        lanes.end(turn, false, &End::Failed, Instant::now(), (Timestamp(1), Position::START));
    }
    // The third was never tried and stands before the two that are due again.
    let fresh = lanes.take(Instant::now(), 1).unwrap();
    assert_eq!(fresh.key.conference, conference(2));
    let retry = lanes.take(Instant::now(), 1).unwrap();
    assert!(lanes.take(Instant::now(), 1).is_none(), "the place for retries is taken");
    lanes.end(retry, true, &End::Failed, Instant::now(), (Timestamp(1), Position::START));
    assert!(lanes.take(Instant::now(), 1).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_happens_during_a_turn_gets_a_turn_of_its_own() {
    let mut lanes = Lanes::new(Position::START, None, Timestamp(1));
    lanes.observe(&conference(1), (Seq(1), Seq(1)), Timestamp(1), Position::START);
    let mut turn = lanes.take(Instant::now(), 1).unwrap();
    lanes.observe(&conference(1), (Seq(2), Seq(3)), Timestamp(1), Position::START);
    assert!(lanes.take(Instant::now(), 1).is_none(), "one turn at a time");
    turn.progress.after = Seq(1);
    lanes.end(turn, false, &End::UpToDate, Instant::now(), (Timestamp(2), Position::START));
    assert_eq!(lanes.take(Instant::now(), 1).unwrap().head, Seq(3));
}

#[tokio::test(start_paused = true)]
async fn what_a_restored_lane_told_ahead_of_the_reader_is_not_noted_again() {
    let later: Position = serde_json::from_str("7").unwrap();
    let mut lanes = Lanes::new(Position::START, None, Timestamp(1));
    let key = LaneKey { conference: conference(1), replay: None };
    let left = StoredLane { after: Seq(1), gap: None, failing: None };
    lanes.restore(key, left, None, None, Timestamp(1));
    let mut turn = lanes.take(Instant::now(), 1).unwrap();
    assert_eq!(turn.limit, None);
    turn.progress.after = Seq(4);
    lanes.end(turn, false, &End::UpToDate, Instant::now(), (Timestamp(1), later));
    for noted in [(Seq(2), Seq(3)), (Seq(4), Seq(4))] {
        assert!(lanes.observe(&conference(1), noted, Timestamp(1), Position::START));
        assert_eq!(lanes.len(), 0, "{noted:?} was told");
    }
    lanes.observe(&conference(1), (Seq(5), Seq(6)), Timestamp(1), Position::START);
    let turn = lanes.take(Instant::now(), 1).unwrap();
    assert_eq!((turn.progress.after, turn.limit), (Seq(4), Some(Seq(6))));
    lanes.read_to((later, None));
    assert!(lanes.ahead.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_lane_was_given_up_on_ahead_of_the_reader_is_not_noted_again() {
    let later: Position = serde_json::from_str("7").unwrap();
    let mut lanes = Lanes::new(Position::START, None, Timestamp(1));
    lanes.observe(&conference(1), (Seq(1), Seq(1)), Timestamp(1), Position::START);
    let mut turn = lanes.take(Instant::now(), 1).unwrap();
    turn.progress.after = Seq(3);
    lanes.end(turn, false, &End::UpToDate, Instant::now(), (Timestamp(1), later));
    assert!(lanes.observe(&conference(1), (Seq(2), Seq(3)), Timestamp(1), Position::START));
    assert_eq!(lanes.len(), 0, "these are among the dead letters");
}

#[test]
fn a_full_target_takes_no_more_until_some_have_caught_up() {
    let mut lanes = Lanes::new(Position::START, None, Timestamp(1));
    for number in 0..LANES_MAX {
        assert!(lanes.observe(&conference(number), (Seq(1), Seq(1)), Timestamp(1), Position::START));
    }
    assert!(!lanes.observe(&conference(LANES_MAX), (Seq(1), Seq(1)), Timestamp(1), Position::START));
    assert!(lanes.observe(&conference(0), (Seq(2), Seq(2)), Timestamp(1), Position::START), "has its lane");
    lanes.read_to((Position::START, Some(Timestamp(7))));
    assert!(!lanes.is_stuck_since(Timestamp(10), 3) && lanes.is_stuck_since(Timestamp(11), 3));
    lanes.lanes.pop_first();
    assert!(lanes.is_full());
    while lanes.len() >= LANES_RESUME {
        lanes.lanes.pop_first();
    }
    assert!(!lanes.is_full() && !lanes.is_stuck_since(Timestamp(11), 3), "it reads on");
}

#[tokio::test]
async fn what_went_unread_is_a_gap_and_what_was_read_is_none() {
    let mut lanes = Lanes::new(Position::START, None, Timestamp(1));
    let gap = |from, to| Gap { from: Seq(from), to: Seq(to), at: Timestamp(20) };
    lanes.observe(&conference(1), (Seq(1), Seq(2)), Timestamp(7), Position::START);
    lanes.read_to((Position::START, Some(Timestamp(7))));
    lanes.lose(&conference(2), gap(1, 9), Timestamp(7));
    assert_eq!(lanes.len(), 1, "the target was given these");
    lanes.lose(&conference(2), gap(1, 9), Timestamp(8));
    assert_eq!(lanes.unread_from(&conference(2)), Some(Seq(10)));
    // One that has a lane goes on there first. More goes meanwhile.
    lanes.lose(&conference(1), gap(1, 5), Timestamp(8));
    lanes.lose(&conference(1), gap(6, 8), Timestamp(9));
    let now = Instant::now();
    let mut turn = lanes.take(now, 1).unwrap();
    assert_eq!((&turn.key.conference, turn.progress.gap), (&conference(1), None));
    turn.progress.after = Seq(2);
    lanes.end(turn, false, &End::UpToDate, now, (Timestamp(20), Position::START));
    let mut told = Vec::new();
    while let Some(mut turn) = lanes.take(now, 1) {
        let gap = turn.progress.gap.take().unwrap();
        assert!(turn.is_at_limit(), "nothing else is known of it");
        told.push((turn.key.conference.clone(), gap.from.0, gap.to.0));
        lanes.end(turn, false, &End::UpToDate, now, (Timestamp(20), Position::START));
    }
    assert_eq!(told, [(conference(2), 1, 9), (conference(1), 3, 8)]);
    assert_eq!(lanes.len(), 0);
    // What comes later goes on behind the gap.
    lanes.lose(&conference(3), gap(1, 4), Timestamp(9));
    lanes.observe(&conference(3), (Seq(5), Seq(6)), Timestamp(10), Position::START);
    let turn = lanes.take(now, 1).unwrap();
    assert_eq!(
        (turn.progress.gap.map(|gap| gap.to), turn.progress.after, turn.limit),
        (Some(Seq(4)), Seq(4), Some(Seq(6)))
    );
}
