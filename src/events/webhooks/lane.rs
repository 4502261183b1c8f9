//! What one target still has to be told of one conference.
//!
//! A lane holds numbers, never events: what lags stays in the log. It exists from the moment that something is to be
//! told until all of it was.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::book::Book;
use crate::domain::{ConferenceId, Seq, Timestamp};
use crate::store::{ClaimRevision, Position};

/// Lanes of one target, each about two hundred bytes. A target that is behind with more conferences is given no more of
/// the log until some have caught up.
pub(super) const LANES_MAX: usize = 4096;
/// Lanes at which a target that was full takes from the log again: not one by one.
const LANES_RESUME: usize = LANES_MAX / 4 * 3;
/// More lanes that a target may have for gaps alone, of conferences whose events went before it could be given them.
const GAPS_MAX: usize = LANES_MAX;
/// Members and streams, over all conferences of a target, whose fold is kept between two deliveries: some megabytes.
const BOOKS_WEIGHT_MAX: usize = 4096;

/// The longest wait before the attempt after `attempts` failed ones: doubled each time, up to `max`.
pub(super) fn longest_wait(attempts: u32, min: Duration, max: Duration) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    min.saturating_mul(1 << doublings).min(max)
}

/// A wait before the next attempt, anywhere up to the longest (full jitter), so that the attempts of many conferences
/// spread out. `chance` is any random number.
pub(super) fn wait(attempts: u32, min: Duration, max: Duration, chance: u64) -> Duration {
    let longest = u64::try_from(longest_wait(attempts, min, max).as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(chance % longest.saturating_add(1))
}

/// Events that a target is not told, with the moment at which that was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gap {
    pub(super) from: Seq,
    pub(super) to: Seq,
    pub(super) at: Timestamp,
}

/// A failure that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failing {
    pub(super) since: Timestamp,
    pub(super) last: Timestamp,
    pub(super) attempts: u32,
    pub(super) error: String,
}

/// What a lane is of. A replay of dead letters runs beside the lane of what happens now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub(super) conference: ConferenceId,
    /// The dead letter that is replayed.
    pub(super) replay: Option<String>,
}

/// What of a lane outlives the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredLane {
    /// Everything up to this event was told.
    pub(super) after: Seq,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gap: Option<Gap>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failing: Option<Failing>,
}

impl StoredLane {
    /// Whether a process that comes back would go on at the same place: how often a failure was seen matters to none.
    fn is_as_good_as(&self, other: &Self) -> bool {
        let since = |lane: &Self| lane.failing.as_ref().map(|failing| failing.since);
        (self.after, self.gap, since(self)) == (other.after, other.gap, since(other))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ready,
    Delivering,
    Waiting(Instant),
}

/// How far a lane goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Up to what the reader of the log has noted, so that nothing is told that it will note later.
    Noted,
    /// Up to the end of the log: it was left behind by an earlier process, and nobody noted what is in it.
    Whole,
    /// Up to the end of a dead letter.
    Until(Seq),
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) progress: StoredLane,
    /// The newest event that is known to be to tell; zero where only the log knows.
    head: Seq,
    extent: Extent,
    status: Status,
    /// From where in the log of all conferences this lane would come back after a crash.
    resume: Position,
    /// How the store knows it, so that the target's position need not wait for it.
    pub(super) kept: Option<StoredLane>,
    pub(super) claim: Option<ClaimRevision>,
    /// Whether the log no longer held some of its events.
    missed: bool,
    /// About when the oldest untold event happened.
    oldest: Timestamp,
}

/// One turn of a lane.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) key: LaneKey,
    pub(super) progress: StoredLane,
    /// The last event to tell; `None` for all that the log holds.
    pub(super) limit: Option<Seq>,
    pub(super) head: Seq,
    pub(super) book: Option<Book>,
    /// Whether the log no longer held some of the lane's events, in this turn or before.
    pub(super) missed: bool,
    /// How far the target had read when the turn began.
    read: Position,
}

impl Turn {
    /// Whether all was told that this turn is to tell.
    pub(super) fn is_at_limit(&self) -> bool {
        self.limit.is_some_and(|limit| self.progress.after >= limit)
    }

    /// The same, for whoever has to end it should it be lost.
    pub(super) fn without_book(&self) -> Self {
        Self {
            key: self.key.clone(),
            progress: self.progress.clone(),
            limit: self.limit,
            head: self.head,
            book: None,
            missed: self.missed,
            read: self.read,
        }
    }
}

/// How a turn ended.
#[derive(Debug)]
pub(super) enum End {
    /// All was told, up to the limit or the end of the log.
    UpToDate,
    /// There may be more: it was time for others.
    More,
    /// A message was not taken, for the reason that the lane's progress holds now.
    Failed,
    /// The store did not answer. No fault of the target.
    StoreFailed,
}

/// The lanes of one target and how far it has read.
#[derive(Debug)]
pub(super) struct Lanes {
    /// Everything up to here was told or stands in a lane.
    pub(super) read: Position,
    /// About when what was read last happened; until something was read, when the target began.
    read_at: Timestamp,
    /// Something was read.
    has_read: bool,
    /// What the store holds as the position.
    pub(super) saved: Position,
    pub(super) saved_claim: Option<ClaimRevision>,
    lanes: BTreeMap<LaneKey, Lane>,
    ready: VecDeque<LaneKey>,
    waiting: BTreeSet<(Instant, LaneKey)>,
    /// Retries under way.
    retrying: usize,
    /// Claims of lanes that have caught up.
    pub(super) caught_up: BTreeMap<ConferenceId, ClaimRevision>,
    /// What lanes have told or given up on beyond what was noted, until it is noted that far.
    ahead: BTreeMap<ConferenceId, (Seq, Position)>,
    /// Gaps in what was not yet read, of conferences that have a lane: told when the lane has caught up.
    lost: BTreeMap<ConferenceId, Gap>,
    books: BTreeMap<ConferenceId, Book>,
    books_weight: usize,
    full: bool,
}

impl Lanes {
    pub(super) fn new(read: Position, claim: Option<ClaimRevision>, now: Timestamp) -> Self {
        Self {
            read,
            read_at: now,
            has_read: false,
            saved: read,
            saved_claim: claim,
            lanes: BTreeMap::new(),
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            retrying: 0,
            caught_up: BTreeMap::new(),
            ahead: BTreeMap::new(),
            lost: BTreeMap::new(),
            books: BTreeMap::new(),
            books_weight: 0,
            full: false,
        }
    }

    /// Notes that the events `from` to `to` of a conference are to be told. `before` is the position of the record
    /// before. False where there is no place for one more lane.
    pub(super) fn observe(
        &mut self,
        conference: &ConferenceId,
        (from, to): (Seq, Seq),
        at: Timestamp,
        before: Position,
    ) -> bool {
        let key = LaneKey { conference: conference.clone(), replay: None };
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.head = lane.head.max(to);
            return true;
        }
        let told = self.ahead.get(conference).map_or(Seq(0), |(told, _)| *told);
        if to <= told {
            return true;
        }
        if self.is_full() {
            return false;
        }
        let after = told.max(Seq(from.0.saturating_sub(1)));
        let progress = StoredLane { after, gap: None, failing: None };
        let claim = self.caught_up.remove(conference);
        self.ready.push_back(key.clone());
        let lane = Lane {
            progress,
            head: to,
            extent: Extent::Noted,
            status: Status::Ready,
            resume: before,
            kept: None,
            claim,
            missed: false,
            oldest: at,
        };
        self.lanes.insert(key, lane);
        true
    }

    /// Notes that the events of `gap`, the last of which happened at `at`, go from the log. Where they were not read yet
    /// there is nothing that would ever tell of them but this.
    pub(super) fn lose(&mut self, conference: &ConferenceId, gap: Gap, at: Timestamp) {
        // After a start nobody knows until when was read: one gap too many is better than one that is not told.
        let is_read = if self.has_read { at <= self.read_at } else { !self.is_full() };
        let told = self.ahead.get(conference).map_or(Seq(0), |(told, _)| *told);
        if is_read || gap.to <= told {
            return;
        }
        let gap = Gap { from: gap.from.max(told.next()), ..gap };
        let key = LaneKey { conference: conference.clone(), replay: None };
        if self.lanes.contains_key(&key) {
            let lost = self.lost.entry(conference.clone()).or_insert(gap);
            (lost.to, lost.at) = (lost.to.max(gap.to), gap.at);
        } else if self.lanes.len() < LANES_MAX + GAPS_MAX {
            self.begin_with_gap(key, gap);
        } else {
            tracing::error!(%conference, from = %gap.from, to = %gap.to, "a webhook target is not told of a gap: it has too many");
        }
    }

    /// A lane behind a gap, which is told first.
    fn begin_with_gap(&mut self, key: LaneKey, gap: Gap) {
        let claim = self.caught_up.remove(&key.conference);
        self.ready.push_back(key.clone());
        let lane = Lane {
            progress: StoredLane { after: gap.to, gap: Some(gap), failing: None },
            head: gap.to,
            extent: Extent::Noted,
            status: Status::Ready,
            resume: self.read,
            kept: None,
            claim,
            missed: true,
            oldest: gap.at,
        };
        self.lanes.insert(key, lane);
    }

    /// Takes up what an earlier process left behind, or what is to be replayed.
    pub(super) fn restore(
        &mut self,
        key: LaneKey,
        progress: StoredLane,
        until: Option<Seq>,
        claim: Option<ClaimRevision>,
        now: Timestamp,
    ) {
        let oldest = progress.failing.as_ref().map_or(now, |failing| failing.since);
        self.ready.push_back(key.clone());
        let lane = Lane {
            kept: Some(progress.clone()),
            progress,
            head: until.unwrap_or_default(),
            extent: until.map_or(Extent::Whole, Extent::Until),
            status: Status::Ready,
            resume: self.read,
            claim,
            missed: false,
            oldest,
        };
        self.lanes.insert(key, lane);
    }

    pub(super) fn has(&self, key: &LaneKey) -> bool {
        self.lanes.contains_key(key)
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether the target is given no more of the log for now.
    pub(super) fn is_full(&mut self) -> bool {
        let bound = if self.full { LANES_RESUME } else { LANES_MAX };
        self.full = self.lanes.len() >= bound;
        self.full
    }

    /// Whether it can take no more of the log and has read nothing younger than `give_up_ms`: what it has not read by now
    /// would be given up on.
    pub(super) fn is_stuck_since(&self, now: Timestamp, give_up_ms: u64) -> bool {
        self.full && now > self.read_at.plus_ms(give_up_ms)
    }

    /// The next lane whose turn it is. At most `retries_max` of those under way are retries, so that what fails
    /// leaves places to what does not.
    pub(super) fn take(&mut self, now: Instant, retries_max: usize) -> Option<Turn> {
        while let Some((at, key)) = self.waiting.first().cloned() {
            if at > now {
                break;
            }
            self.waiting.pop_first();
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.status = Status::Ready;
                self.ready.push_back(key);
            }
        }
        let may_retry = self.retrying < retries_max;
        let is_retry = |lanes: &BTreeMap<LaneKey, Lane>, key: &LaneKey| {
            lanes.get(key).is_some_and(|lane| lane.progress.failing.is_some())
        };
        let at = self.ready.iter().position(|key| may_retry || !is_retry(&self.lanes, key))?;
        let key = self.ready.remove(at)?;
        let lane = self.lanes.get_mut(&key)?;
        lane.status = Status::Delivering;
        self.retrying += usize::from(lane.progress.failing.is_some());
        let book = if key.replay.is_none() { self.books.remove(&key.conference) } else { None };
        self.books_weight -= book.as_ref().map_or(0, Book::weight);
        let limit = match lane.extent {
            Extent::Noted => Some(lane.head),
            Extent::Whole => None,
            Extent::Until(until) => Some(until),
        };
        let (progress, head, missed) = (lane.progress.clone(), lane.head, lane.missed);
        Some(Turn { key, progress, limit, head, book, missed, read: self.read })
    }

    /// When the next lane's wait is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// Goes on behind `read`, and what happened there at `at`: everything up to there was noted.
    pub(super) fn read_to(&mut self, (read, at): (Position, Option<Timestamp>)) {
        self.read = read;
        if let Some(at) = at {
            (self.read_at, self.has_read) = (at, true);
        }
        self.ahead.retain(|_, (_, until)| *until > read);
    }

    /// Ends a turn. A failed lane waits until `wait`. `newest` is the position of the newest record of any log.
    pub(super) fn end(
        &mut self,
        turn: Turn,
        was_retry: bool,
        end: &End,
        wait: Instant,
        (now, newest): (Timestamp, Position),
    ) {
        self.retrying -= usize::from(was_retry);
        let Some(lane) = self.lanes.get_mut(&turn.key) else { return };
        let moved = turn.progress.after > lane.progress.after;
        (lane.progress, lane.missed) = (turn.progress, turn.missed);
        // A replay that ends early is a dead letter again.
        let is_behind = lane.head > lane.progress.after && !matches!(lane.extent, Extent::Until(_));
        match end {
            End::UpToDate if is_behind || lane.progress.gap.is_some() => {
                // What came while the log was read to its end came after what the target had read before.
                (lane.resume, lane.oldest, lane.status) = (turn.read, now, Status::Ready);
                lane.kept = None;
                self.ready.push_back(turn.key.clone());
            }
            End::UpToDate => {
                let claim = lane.claim;
                let is_ahead = turn.key.replay.is_none() && lane.progress.after > lane.head;
                if is_ahead && newest > self.read {
                    self.ahead.insert(turn.key.conference.clone(), (lane.progress.after, newest));
                }
                let after = lane.progress.after;
                self.lanes.remove(&turn.key);
                if let (Some(claim), None) = (claim, &turn.key.replay) {
                    self.caught_up.insert(turn.key.conference.clone(), claim);
                }
                if turn.key.replay.is_none()
                    && let Some(lost) = self.lost.remove(&turn.key.conference).filter(|lost| lost.to > after)
                {
                    let gap = Gap { from: lost.from.max(after.next()), ..lost };
                    self.begin_with_gap(turn.key.clone(), gap);
                }
            }
            End::More => {
                lane.status = Status::Ready;
                self.ready.push_back(turn.key.clone());
            }
            End::Failed | End::StoreFailed => {
                if moved {
                    lane.oldest = now;
                }
                lane.status = Status::Waiting(wait);
                self.waiting.insert((wait, turn.key.clone()));
            }
        }
        if let (Some(book), None) = (turn.book, turn.key.replay) {
            self.keep_book(turn.key.conference, book);
        }
    }

    fn keep_book(&mut self, conference: ConferenceId, book: Book) {
        if book.is_over() {
            return;
        }
        self.books_weight += book.weight();
        // Only one turn of a conference goes on at a time: there is none to replace.
        self.books.insert(conference, book);
        while self.books_weight > BOOKS_WEIGHT_MAX {
            let Some((_, dropped)) = self.books.pop_first() else { break };
            self.books_weight -= dropped.weight();
        }
    }

    /// Up to where a process that comes back need not read: everything before was told or is kept.
    pub(super) fn safe(&self) -> Position {
        let open = self.lanes.iter().filter(|(key, lane)| key.replay.is_none() && lane.kept.is_none());
        open.map(|(_, lane)| lane.resume).min().unwrap_or(self.read).min(self.read)
    }

    /// Lanes that are to be kept: those that fail, or all of them, where that is not how they are kept already.
    pub(super) fn to_keep(&self, all: bool) -> Vec<(LaneKey, StoredLane, Option<ClaimRevision>)> {
        let is_kept = |lane: &Lane| lane.kept.as_ref().is_some_and(|kept| kept.is_as_good_as(&lane.progress));
        let unkept = self.lanes.iter().filter(|(key, lane)| {
            let due = all || lane.progress.failing.is_some() || lane.progress.gap.is_some();
            key.replay.is_none() && due && !is_kept(lane)
        });
        unkept.map(|(key, lane)| (key.clone(), lane.progress.clone(), lane.claim)).collect()
    }

    /// Notes that a lane is kept as `stored`.
    pub(super) fn kept(&mut self, key: &LaneKey, stored: StoredLane, claim: ClaimRevision) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.kept = Some(stored);
            lane.claim = Some(claim);
        } else {
            // It caught up while it was being kept.
            self.caught_up.insert(key.conference.clone(), claim);
        }
    }

    /// Notes that the claim of a lane that caught up is gone, unless the lane was kept anew meanwhile.
    pub(super) fn forgotten(&mut self, conference: &ConferenceId, claim: ClaimRevision) {
        if self.caught_up.get(conference) == Some(&claim) {
            self.caught_up.remove(conference);
        }
    }

    /// The lowest event of a conference that is still to be told.
    pub(super) fn unread_from(&self, conference: &ConferenceId) -> Option<Seq> {
        let from = LaneKey { conference: conference.clone(), replay: None };
        let lanes = self.lanes.range(from..).take_while(|(key, _)| key.conference == *conference);
        lanes.map(|(_, lane)| lane.progress.after.next()).min()
    }

    /// About when the oldest untold event happened.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.lanes.values().map(|lane| lane.oldest).min()
    }
}

#[cfg(test)]
mod tests;
