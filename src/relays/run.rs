//! The task of one relay: it looks whether its right holds, dials when there is something to carry, and waits in between.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

use super::patience::{Outlook, Patience};
use super::{Lost, Relay, Shared, State, Way};
use crate::domain::media_url::Profile;
use crate::domain::{MediaRight, Reason};
use crate::hub::{CloseReason, Protocol, SessionGuard, SessionStart, Viewer};
use crate::outbound::ResolveError;
use crate::rtmp::proto::client::Purpose;
use crate::rtmp::relay::{Claimed, FarError, Link, PullEnd, PushEnd, dial, pull, push};
use crate::{clock, entropy};

/// A stream that has just ended may still count as live in the conference, which is told a moment later.
const AFTER_END: Duration = Duration::from_secs(1);
/// Reasons of another Tidegate that no further try changes.
const FINAL_REASONS: [Reason; 5] = [
    Reason::UrlInvalid,
    Reason::UrlExpired,
    Reason::MemberGone,
    Reason::ConferenceClosed,
    Reason::ConferenceNotFound,
];
/// What far servers say of a stream that nobody publishes yet.
const NOT_THERE: &str = "NetStream.Play.StreamNotFound";

/// How one connection ended, and what is to be done next.
enum Next {
    /// Look anew at once.
    Look,
    /// Look anew a moment later.
    LookLater,
    /// Wait until the stream goes on.
    AwaitMedia(Box<Viewer>),
    /// Try again later, or not.
    Failed(Failure),
    /// The relay was stopped.
    Stop,
}

struct Failure {
    outlook: Outlook,
    reason: &'static str,
    detail: String,
}

/// Runs until the relay is deleted, its right has ended or the gateway stops.
pub(super) async fn run(shared: Arc<Shared>, relay: Arc<Relay>) {
    let span = tracing::info_span!("relay", relay = %relay.id, direction = relay.way.word());
    let task = Task { shared: &shared, relay: &relay, patience: Patience::default() };
    task.run().instrument(span).await;
    // A relay that was not deleted for good is read again at the next start.
    shared.table.leave(&relay);
    relay.ended.cancel();
}

struct Task<'a> {
    shared: &'a Arc<Shared>,
    relay: &'a Arc<Relay>,
    patience: Patience,
}

impl Task<'_> {
    async fn run(mut self) {
        loop {
            if self.relay.stop.is_cancelled() {
                return;
            }
            let Some((right, is_live)) = self.standing() else {
                return self.forget().await;
            };
            if self.relay.way == Way::Push && !is_live {
                self.enter(State::Waiting);
                tokio::select! {
                    () = self.relay.stop.cancelled() => return,
                    () = self.relay.wake.notified() => continue,
                }
            }
            let next = self.connect_once(right).await;
            let skips = self.relay.status.lock().end_session();
            self.shared.metrics.relay_skips.inc_by(skips);
            match next {
                Next::Stop => return,
                Next::Look => {}
                Next::LookLater => {
                    self.enter(State::Waiting);
                    self.pause(AFTER_END).await;
                }
                Next::AwaitMedia(viewer) => self.await_media(*viewer).await,
                Next::Failed(failure) => self.wait_after(failure).await,
            }
        }
    }

    /// The right that the relay lives by, if it still does, and whether media flows.
    fn standing(&self) -> Option<(MediaRight, bool)> {
        let conference = self.shared.conferences.open_now(&self.relay.conference)?;
        if conference.settings.app != self.relay.app {
            return None;
        }
        let is_live = self.relay.stream_in(&conference)?.live.is_some();
        Some((self.relay.right_in(&conference)?, is_live))
    }

    /// Resolves when the relay's right has ended.
    async fn right_ended(&self) {
        while self.standing().is_some() {
            self.relay.wake.notified().await;
        }
    }

    /// Waits, but no longer than the relay lives.
    async fn pause(&self, wait: Duration) {
        tokio::select! {
            () = self.relay.stop.cancelled() => {}
            () = self.right_ended() => {}
            () = sleep(wait) => {}
        }
    }

    fn enter(&self, state: State) {
        self.relay.status.lock().enter(state, clock::now());
    }

    async fn forget(&self) {
        tracing::info!("the relay's stream is gone, and so is the relay");
        if let Err(refusal) = self.shared.keeper.forget(self.relay).await {
            tracing::warn!(%refusal, "the relay is forgotten at the next start");
        }
    }

    /// Nothing came for so long that the far server was let go.
    async fn await_media(&self, mut viewer: Viewer) {
        tracing::info!("no media; the far server was let go until there is some");
        self.enter(State::Waiting);
        tokio::select! {
            () = self.relay.stop.cancelled() => {}
            () = self.right_ended() => {}
            () = viewer.ready() => {}
        }
    }

    async fn wait_after(&mut self, failure: Failure) {
        let Failure { outlook, reason, detail } = failure;
        let detail = self.relay.far.scrub(&detail);
        let chance = entropy::bytes::<1>().map_or(u8::MAX, |[chance]| chance);
        let wait = self.patience.after(outlook, self.shared.settings.retry, chance);
        self.shared.metrics.relay_failed(reason);
        // The far server's own words are its business: who looks for a fault asks the API for them.
        match wait {
            Some(wait) => tracing::info!(reason, wait_ms = wait.as_millis(), "a relay's connection failed"),
            None => tracing::info!(reason, "a relay has given up"),
        }
        let now = clock::now();
        {
            let mut status = self.relay.status.lock();
            status.note_lost(Lost { reason, detail, at: now });
            let until = wait.map(|wait| now.plus_ms(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)));
            status.enter(until.map_or(State::Failed, |until| State::Backoff { until }), now);
        }
        match wait {
            Some(wait) => self.pause(wait).await,
            None => tokio::select! {
                () = self.relay.stop.cancelled() => {}
                () = self.right_ended() => {}
            },
        }
    }

    /// One connection, from the name's resolution to its end.
    async fn connect_once(&mut self, right: MediaRight) -> Next {
        self.relay.status.lock().begin_attempt(clock::now());
        let dialled = tokio::select! {
            biased;
            () = self.relay.stop.cancelled() => return Next::Stop,
            () = self.right_ended() => return Next::Look,
            dialled = self.dial() => dialled,
        };
        let link = match dialled {
            Ok(link) => link,
            Err(failure) => return Next::Failed(failure),
        };
        let began = Instant::now();
        tracing::info!("a relay is live");
        self.shared.metrics.relays_live.inc();
        self.enter(State::Live);
        let next = match self.relay.way {
            Way::Push => self.push(link, right).await,
            Way::Pull => self.pull(link, right).await,
        };
        self.patience.note_live(began.elapsed());
        next
    }

    async fn dial(&self) -> Result<Link, Failure> {
        let far = &self.relay.far;
        let times = self.shared.settings.times;
        let resolved =
            tokio::time::timeout(times.connect, self.shared.policy.resolve(far.host(), far.port())).await;
        let addresses = match resolved {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => return Err(unresolved(&error)),
            Err(_) => {
                let detail = "the name was not resolved in time".to_owned();
                return Err(Failure { outlook: Outlook::Passing, reason: "unreachable", detail });
            }
        };
        let purpose = match self.relay.way {
            Way::Push => Purpose::Publish,
            Way::Pull => Purpose::Play,
        };
        let dialled = dial(far, &addresses, purpose, &self.shared.tls, times).await;
        dialled.map_err(|error| failure(error, self.relay.way))
    }

    /// Stands in the table before the right is read: whoever takes it away meanwhile finds the session there.
    fn enter_session(&self, right: MediaRight, peer: SocketAddr) -> Result<SessionGuard, CloseReason> {
        let session = self.shared.sessions.enter(SessionStart {
            right,
            protocol: Protocol::Relay,
            is_observer: false,
            peer,
            url_key: entropy::bytes().unwrap_or_default(),
            at: clock::now(),
        });
        let held = self.shared.conferences.media_right(session.session().right());
        held.map_err(CloseReason::Revoked)?;
        self.relay.status.lock().begin_session(session.session());
        Ok(session)
    }

    async fn push(&self, link: Link, right: MediaRight) -> Next {
        let shared = self.shared;
        let Ok(session) = self.enter_session(right, link.peer()) else { return Next::Look };
        let _open = shared.metrics.session_opened(session.session().right().direction);
        let viewer =
            match shared.hub.subscribe(&self.relay.stream, Profile::Live, Arc::clone(session.session())) {
                Ok(viewer) => viewer,
                Err(refusal) => {
                    let (outlook, reason) = (Outlook::Passing, refusal.reason.word());
                    return Next::Failed(Failure { outlook, reason, detail: refusal.detail.into_owned() });
                }
            };
        let (times, stop) = (shared.settings.times, &self.relay.stop);
        match push(link, viewer, session.closed(), stop, times, &shared.metrics.relay_sent_bytes).await {
            PushEnd::Stopped => Next::Stop,
            PushEnd::StreamEnded => Next::LookLater,
            PushEnd::Idle(viewer) => Next::AwaitMedia(viewer),
            PushEnd::Closed(reason) => closed(&reason),
            PushEnd::Lost(error) => Next::Failed(failure(error, Way::Push)),
        }
    }

    async fn pull(&self, link: Link, right: MediaRight) -> Next {
        let shared = self.shared;
        let claim = |peer| {
            let session = self.enter_session(right.clone(), peer)?;
            let publisher =
                shared.hub.publish(&self.relay.stream, Arc::clone(session.session()), clock::steady())?;
            Ok(Claimed { session, publisher, open: shared.metrics.session_opened(right.direction) })
        };
        let (times, stop) = (shared.settings.times, &self.relay.stop);
        match pull(link, claim, stop, times, &shared.metrics.relay_received_bytes).await {
            PullEnd::Stopped => Next::Stop,
            PullEnd::Closed(reason) => closed(&reason),
            PullEnd::Lost(error) => Next::Failed(failure(error, Way::Pull)),
        }
    }
}

/// What a close of the session from inside means.
fn closed(reason: &CloseReason) -> Next {
    match reason {
        CloseReason::Revoked(_) | CloseReason::StreamEnded => Next::LookLater,
        CloseReason::Draining => Next::Stop,
        // Two that take a stream from each other would never end.
        CloseReason::Replaced => Next::Failed(Failure {
            outlook: Outlook::Final,
            reason: "replaced",
            detail: "another publisher took the stream over".to_owned(),
        }),
        CloseReason::Stalled | CloseReason::ClosedByApi => {
            let detail = reason.to_string();
            Next::Failed(Failure { outlook: Outlook::Passing, reason: "closed", detail })
        }
    }
}

fn unresolved(error: &ResolveError) -> Failure {
    let (outlook, reason) = match error {
        ResolveError::Forbidden(_) => (Outlook::Refused, Reason::UrlInvalid.word()),
        ResolveError::Failed(_) | ResolveError::Empty => (Outlook::Passing, "unreachable"),
    };
    Failure { outlook, reason, detail: error.to_string() }
}

fn failure(error: FarError, way: Way) -> Failure {
    let detail = error.to_string();
    let (outlook, reason) = match &error {
        FarError::Unreachable(_) => (Outlook::Passing, "unreachable"),
        FarError::Timeout(_) => (Outlook::Passing, "timeout"),
        FarError::Tls(_) => (Outlook::Refused, "tls"),
        FarError::Closed(_) => (Outlook::Passing, "closed"),
        FarError::Stalled(_) => (Outlook::Passing, "stalled"),
        FarError::Silent(_) => (Outlook::Passing, "silent"),
        FarError::Protocol(_) => (Outlook::Refused, "protocol"),
        FarError::Refused { code, description } => refusal(code, description, way),
    };
    Failure { outlook, reason, detail }
}

/// A far Tidegate begins its sentence with the reason word.
fn refusal(code: &str, description: &str, way: Way) -> (Outlook, &'static str) {
    let word = description
        .split(|letter: char| !letter.is_ascii_lowercase() && letter != '_')
        .next()
        .unwrap_or_default();
    if let Some(reason) = FINAL_REASONS.into_iter().find(|reason| reason.word() == word) {
        return (Outlook::Final, reason.word());
    }
    let is_absent = way == Way::Pull && (code == NOT_THERE || word == Reason::StreamNotFound.word());
    if is_absent {
        return (Outlook::Passing, Reason::StreamNotFound.word());
    }
    if word == Reason::Draining.word() || word == Reason::Overloaded.word() {
        return (Outlook::Passing, "refused");
    }
    (Outlook::Refused, "refused")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_far_server_says_decides_how_often_it_is_asked() {
        let bad_name = "NetStream.Publish.BadName";
        for (code, description, way, outlook, reason) in [
            (bad_name, "stream is publishing already", Way::Push, Outlook::Refused, "refused"),
            (bad_name, "url_expired: this URL has expired", Way::Push, Outlook::Final, "url_expired"),
            (bad_name, "url_invalid: changed", Way::Push, Outlook::Final, "url_invalid"),
            (bad_name, "draining: the gateway stops", Way::Push, Outlook::Passing, "refused"),
            (
                "NetStream.Play.Failed",
                "stream_not_found: nobody",
                Way::Pull,
                Outlook::Passing,
                "stream_not_found",
            ),
            (NOT_THERE, "No such stream", Way::Pull, Outlook::Passing, "stream_not_found"),
            ("NetConnection.Connect.Rejected", "", Way::Pull, Outlook::Refused, "refused"),
        ] {
            assert_eq!(refusal(code, description, way), (outlook, reason), "{code} {description}");
        }
    }
}
