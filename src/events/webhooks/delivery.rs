//! One turn of a lane: read, tell, and say how far it came.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::book::{Book, Opened, newest_event};
use super::keeper::{self, KeepError, StoredDeadLetter};
use super::lane::{End, Failing, Gap, StoredLane, Turn};
use super::message::Message;
use super::run::Run;
use super::signature::{SIGNATURE_HEADER, sign};
use crate::domain::{ConferenceId, Seq, Timestamp};
use crate::outbound::{CallError, Outbound, Url};
use crate::store::StoreError;

/// Records that are read at once: with [`TURN_MESSAGES_MAX`] what bounds the memory of a turn.
const RECORDS_AT_ONCE: usize = 16;
/// Messages after which a lane lets others go first.
const TURN_MESSAGES_MAX: usize = 64;

/// Who carries messages. The network, but for tests.
#[async_trait]
pub(super) trait Courier: Send + Sync + 'static {
    /// The status of the answer to `body`.
    async fn post(&self, url: &Url, signature: String, body: Bytes) -> Result<u16, CallError>;
}

#[async_trait]
impl Courier for Outbound {
    async fn post(&self, url: &Url, signature: String, body: Bytes) -> Result<u16, CallError> {
        self.post_json(url, &[(SIGNATURE_HEADER, signature)], body).await
    }
}

/// What became of one attempt.
enum Attempt {
    Done,
    Failed(String),
    /// The gateway stops and does not wait for the answer.
    Cut,
}

pub(super) struct Delivery {
    pub(super) shared: Arc<Shared>,
    pub(super) run: Arc<Run>,
    /// Cancelled when no answer is waited for any more.
    pub(super) cut: CancellationToken,
}

impl Delivery {
    /// Tells what the lane of `turn` has still to be told, as far as it gets.
    pub(super) async fn take(&self, mut turn: Turn) -> (Turn, End) {
        // Before anything is read: what waits takes no memory.
        let _place = tokio::select! {
            place = self.shared.calls.place(&self.run.keeper.app) => place,
            () = self.cut.cancelled() => return (turn, End::More),
        };
        let end = match self.tell(&mut turn).await {
            Ok(End::Failed) => self.give_up_if_due(&mut turn).await,
            Ok(End::UpToDate) => self.finish_replay(&turn).await,
            Ok(end) => Ok(end),
            Err(error) => Err(error),
        };
        match end {
            Ok(end) => (turn, end),
            Err(error) => {
                let (target, conference) = (&self.run.keeper.target, &turn.key.conference);
                tracing::error!(%target, %conference, %error, "a webhook waits for the store");
                turn.book = None;
                (turn, End::StoreFailed)
            }
        }
    }

    async fn tell(&self, turn: &mut Turn) -> Result<End, KeepError> {
        let id = turn.key.conference.clone();
        if let Some(gap) = turn.progress.gap {
            let message = Message::gap(&self.run.keeper.app, &id, &gap);
            match self.attempt(&message).await {
                Attempt::Done => (turn.progress.gap, turn.progress.failing) = (None, None),
                Attempt::Failed(error) => return Ok(self.failed(turn, error)),
                Attempt::Cut => return Ok(End::More),
            }
        }
        if turn.is_at_limit() {
            return Ok(End::UpToDate);
        }
        let mut book = match turn.book.take().filter(|book| book.seq() <= turn.progress.after) {
            Some(book) => book,
            None => match Book::open(&*self.shared.store, &id, turn.progress.after).await? {
                Opened::Book(book) => *book,
                Opened::Trimmed(seq) => return Ok(self.miss(turn, seq)),
                Opened::Forgotten if turn.head > turn.progress.after => return Ok(self.miss(turn, turn.head)),
                Opened::Forgotten => return Ok(End::UpToDate),
            },
        };
        let mut told = 0;
        loop {
            let page = self.shared.store.read(&id, book.revision, RECORDS_AT_ONCE).await?;
            if page.is_empty() {
                turn.book = Some(book);
                return Ok(End::UpToDate);
            }
            for (revision, record) in page {
                for recorded in &record.events {
                    let is_told = recorded.seq <= turn.progress.after;
                    if book.misses_before(recorded) {
                        return Ok(self.miss(turn, Seq(recorded.seq.0.saturating_sub(1))));
                    }
                    if turn.is_at_limit() {
                        // Within a record: the fold stands between two places in the log.
                        return Ok(End::UpToDate);
                    }
                    let Some(message) = book.turn_page(recorded).filter(|_| !is_told) else {
                        turn.progress.after = turn.progress.after.max(recorded.seq);
                        continue;
                    };
                    if self.cut.is_cancelled() {
                        return Ok(End::More);
                    }
                    match self.attempt(&message).await {
                        Attempt::Done => {
                            turn.progress.after = recorded.seq;
                            turn.progress.failing = None;
                            told += 1;
                        }
                        Attempt::Failed(error) => return Ok(self.failed(turn, error)),
                        Attempt::Cut => return Ok(End::More),
                    }
                }
                book.revision = revision;
                let is_done = turn.is_at_limit();
                if is_done || told >= TURN_MESSAGES_MAX {
                    turn.book = Some(book);
                    return Ok(if is_done { End::UpToDate } else { End::More });
                }
            }
        }
    }

    async fn attempt(&self, message: &Message) -> Attempt {
        let target = self.run.target();
        if !target.wants(message.kind()) {
            return Attempt::Done;
        }
        let call = async {
            let now = (self.shared.now)();
            let body = message.bytes();
            let signature = sign(target.secrets(now), now.as_secs(), &body);
            self.shared.courier.post(&target.url, signature, body).await
        };
        let answer = tokio::select! {
            answer = call => answer,
            () = self.cut.cancelled() => return Attempt::Cut,
        };
        let (word, error) = outcome(&answer);
        self.shared.metrics.webhook_attempted(word);
        match error {
            None => {
                self.run.worked();
                Attempt::Done
            }
            Some(error) => {
                self.run.troubled(&error);
                Attempt::Failed(error)
            }
        }
    }

    fn failed(&self, turn: &mut Turn, error: String) -> End {
        let now = (self.shared.now)();
        let failing = turn.progress.failing.get_or_insert_with(|| Failing {
            since: now,
            last: now,
            attempts: 0,
            error: String::new(),
        });
        failing.attempts = failing.attempts.saturating_add(1);
        (failing.last, failing.error) = (now, error);
        End::Failed
    }

    /// Notes that the events up to `seq` are no longer in the log.
    fn miss(&self, turn: &mut Turn, seq: Seq) -> End {
        let through = turn.limit.map_or(seq, |limit| limit.min(seq));
        let gap = Gap { from: turn.progress.after.next(), to: through, at: (self.shared.now)() };
        let (target, conference) = (&self.run.keeper.target, &turn.key.conference);
        tracing::warn!(%target, %conference, from = %gap.from, to = %gap.to, "the log no longer holds these events");
        (turn.progress.after, turn.progress.gap, turn.missed) = (through, Some(gap), true);
        End::More
    }

    /// Moves what is pending to the dead letters once it has failed for long enough.
    async fn give_up_if_due(&self, turn: &mut Turn) -> Result<End, KeepError> {
        let Some(failing) = turn.progress.failing.clone() else { return Ok(End::Failed) };
        let now = (self.shared.now)();
        if now < failing.since.plus_ms(self.shared.settings.give_up_ms) {
            return Ok(End::Failed);
        }
        if let Some(id) = &turn.key.replay {
            return self.bury_again(id, turn, &failing).await;
        }
        let conference = &turn.key.conference;
        let newest = self.newest(conference).await?.map_or(turn.head, |newest| newest.max(turn.head));
        let pending = turn.progress.gap.map_or_else(|| turn.progress.after.next(), |gap| gap.from);
        if newest <= turn.progress.after {
            // Only the news of a gap is left, whose events are among the dead letters already.
            let is_over = self.shared.conferences.open_now(conference).is_none();
            return Ok(if is_over {
                turn.progress.gap = None;
                End::UpToDate
            } else {
                End::Failed
            });
        }
        let first = turn.progress.after.next();
        let letter = StoredDeadLetter {
            target: self.run.keeper.target.clone(),
            conference: conference.clone(),
            from: first,
            to: newest,
            first_failure: failing.since,
            last_failure: failing.last,
            last_error: failing.error,
            attempts: failing.attempts,
            replaying: false,
        };
        let id = dead_letter_id(&letter);
        // Before the store has it: no moment in which retention could take its events.
        self.run.letters.lock().note(conference, &id, first, failing.since);
        keeper::put_dead_letter(&*self.shared.store, &self.run.keeper.app, &id, &letter).await?;
        self.shared.metrics.webhook_dead_letters.inc();
        tracing::warn!(
            app = %self.run.keeper.app, target = %letter.target, %conference, from = %first, to = %newest,
            "a webhook target was given up on: its events are among the dead letters"
        );
        let gap = Gap { from: pending, to: newest, at: now };
        turn.progress = StoredLane { after: newest, gap: Some(gap), failing: None };
        turn.book = None;
        Ok(End::More)
    }

    /// A replay that fails for as long is a dead letter again, of what is left of it.
    async fn bury_again(&self, id: &str, turn: &Turn, failing: &Failing) -> Result<End, KeepError> {
        let (store, app) = (&*self.shared.store, &self.run.keeper.app);
        if let Some((_, mut letter)) = keeper::dead_letter(store, app, id).await? {
            if !turn.missed {
                letter.from = turn.progress.after.next();
            }
            letter.last_failure = failing.last;
            letter.last_error.clone_from(&failing.error);
            letter.attempts = letter.attempts.saturating_add(failing.attempts);
            letter.replaying = false;
            keeper::put_dead_letter(store, app, id, &letter).await?;
            self.run.letters.lock().note(&letter.conference, id, letter.from, letter.first_failure);
            self.shared.metrics.webhook_dead_letters.inc();
        }
        Ok(End::UpToDate)
    }

    /// A letter of which all was taken is gone; one of which the log lost a part stays, since that was not told.
    async fn finish_replay(&self, turn: &Turn) -> Result<End, KeepError> {
        let (store, app) = (&*self.shared.store, &self.run.keeper.app);
        let Some(id) = &turn.key.replay else { return Ok(End::UpToDate) };
        if !turn.missed {
            keeper::delete_dead_letter(store, app, id).await?;
            self.run.letters.lock().remove(&turn.key.conference, id);
        } else if let Some((_, mut letter)) = keeper::dead_letter(store, app, id).await? {
            letter.replaying = false;
            "the log no longer holds all of these events".clone_into(&mut letter.last_error);
            keeper::put_dead_letter(store, app, id, &letter).await?;
        }
        Ok(End::UpToDate)
    }

    /// The newest event of a conference, where the log still tells.
    async fn newest(&self, id: &ConferenceId) -> Result<Option<Seq>, StoreError> {
        if let Some(open) = self.shared.conferences.open_now(id) {
            return Ok(Some(open.seq));
        }
        newest_event(&*self.shared.store, id).await
    }
}

/// The word for the metric, and the reason where it was not taken.
fn outcome(answer: &Result<u16, CallError>) -> (&'static str, Option<String>) {
    match answer {
        Ok(200..=299) => ("delivered", None),
        Ok(status @ 300..=399) => {
            ("redirected", Some(format!("the receiver answered {status}, and redirects are not followed")))
        }
        Ok(status) => ("refused", Some(format!("the receiver answered {status}"))),
        Err(error) => {
            let word = match error {
                CallError::Forbidden(_) => "forbidden",
                CallError::Unresolved => "unresolved",
                CallError::Unreachable(_) => "unreachable",
                CallError::Timeout(_) => "timeout",
                CallError::TooLarge => "too_large",
            };
            (word, Some(error.to_string()))
        }
    }
}

/// The same for the same range, so that a crash between keeping the letter and noting it makes no second one; in the
/// order of first failures.
fn dead_letter_id(letter: &StoredDeadLetter) -> String {
    let Timestamp(at) = letter.first_failure;
    let place = format!("{}/{}/{}", letter.target, letter.conference, letter.from);
    let digest = Sha256::digest(place.as_bytes());
    let tail: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("dl_{at:013}_{tail}")
}
