//! Relays: streams of a conference that are pushed to far RTMP servers, and streams of far servers that are pulled into one.
//!
//! A relay is kept among the claims, its URL sealed, and is resumed when the gateway starts. It lives by the right to its
//! stream: when the stream is no longer declared, because it was deleted, its owner left or was removed or demoted, or the
//! conference ended, the relay is gone too. Each has one task, which dials, feeds and waits; what it does stands in its
//! status, and nothing of it in the conference's log: a far server that comes and goes changes nothing for the members.
//!
//! | file | what it does |
//! | --- | --- |
//! | `keeper` | what is kept among the claims |
//! | `status` | what a relay does now |
//! | `patience` | how long it waits before it tries again, and when it gives up |
//! | `run` | the task of one relay |

mod keeper;
mod patience;
mod run;
mod status;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::conferences::{Conferences, Watcher};
use crate::domain::conference::{Stream, another_body};
use crate::domain::sealed::SealingKey;
use crate::domain::{
    AppId, Conference, ConferenceId, Direction, Mark, MediaRight, MemberId, Reason, Recorded, Refusal,
    RelayId, Seq, StreamId, Timestamp,
};
use crate::hub::{Hub, SessionTable};
use crate::outbound::Policy;
use crate::presence::Present;
use crate::rtmp::relay::LinkTimes;
use crate::store::{ClaimKey, ClaimRevision, Store};
use crate::telemetry::Metrics;
use crate::tls::TlsClient;
use crate::{clock, entropy};

pub use crate::rtmp::relay::FarUrl;
use keeper::Keeper;
pub use patience::RetryTimes;
pub use status::{Lost, State, Status};

/// Which way a relay's media flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// A stream of the conference, out to a far server.
    Push,
    /// A stream of a far server, in as a declared stream of a member.
    Pull,
}

impl Way {
    /// The word in the API, in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
        }
    }
}

/// What relays are held to.
#[derive(Debug, Clone, Copy)]
pub struct RelaySettings {
    /// Relays of one conference.
    pub per_conference_max: usize,
    /// Relays of this gateway.
    pub relays_max: usize,
    /// Times of a connection.
    pub times: LinkTimes,
    /// Waits between connections.
    pub retry: RetryTimes,
}

/// What relays work with.
pub struct RelayDeps {
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// Seals their URLs.
    pub sealing: SealingKey,
    /// Whose streams they carry.
    pub conferences: Arc<Conferences>,
    /// The streams.
    pub hub: Hub,
    /// Where they stand among the media sessions.
    pub sessions: SessionTable,
    /// Which addresses they may call.
    pub policy: Policy,
    /// TLS to far servers.
    pub tls: TlsClient,
    /// Limits and times.
    pub settings: RelaySettings,
    /// Counters.
    pub metrics: Metrics,
    /// Cancelled when the gateway stops.
    pub draining: CancellationToken,
}

/// A relay that is asked for. Its stream is declared.
#[derive(Debug)]
pub struct NewRelay {
    /// Which way.
    pub way: Way,
    /// Which stream.
    pub stream: StreamId,
    /// The far server.
    pub far: FarUrl,
    /// Tells a repeated request.
    pub mark: Option<Mark>,
}

/// One relay.
pub struct Relay {
    id: RelayId,
    app: AppId,
    conference: ConferenceId,
    way: Way,
    stream: StreamId,
    /// The event that declared the stream: another stream of the same name is not this one.
    declared: Seq,
    far: FarUrl,
    created: Timestamp,
    mark: Option<Mark>,
    key: ClaimKey,
    revision: ClaimRevision,
    status: Mutex<Status>,
    /// Cancelled when it was deleted or the gateway stops.
    stop: CancellationToken,
    /// Cancelled when its task has ended.
    ended: CancellationToken,
    /// Something happened in its conference.
    wake: Notify,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay {}", self.id)
    }
}

impl Relay {
    /// Its id.
    pub fn id(&self) -> &RelayId {
        &self.id
    }

    /// Which way.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Its stream.
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// The far server. Shown without keys.
    pub fn far(&self) -> &FarUrl {
        &self.far
    }

    /// When it was asked for.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// What it does now.
    pub fn look<T>(&self, look: impl FnOnce(&Status) -> T) -> T {
        look(&self.status.lock())
    }

    /// The stream that it is for, if that is still declared.
    fn stream_in<'a>(&self, conference: &'a Conference) -> Option<&'a Stream> {
        conference
            .streams
            .get(&self.stream)
            .filter(|stream| stream.declared == self.declared && !conference.is_ended())
    }

    /// The right that it lives by: that of the stream's owner to publish it, or to see it.
    fn right_in(&self, conference: &Conference) -> Option<MediaRight> {
        let stream = self.stream_in(conference)?;
        let owner = conference.members.get(&stream.owner)?;
        let direction = match self.way {
            Way::Push => Direction::Play,
            Way::Pull => Direction::Publish,
        };
        let right = MediaRight {
            conference: conference.id().clone(),
            member: owner.id.clone(),
            epoch: owner.epoch,
            direction,
            stream: stream.id.clone(),
            declared: stream.declared,
        };
        conference.media_right(&right).is_ok().then_some(right)
    }
}

type Known = BTreeMap<ConferenceId, BTreeMap<RelayId, Arc<Relay>>>;

/// The relays that there are. Made before the conferences are opened, whose watcher it is.
#[derive(Default)]
pub struct RelayTable {
    known: Mutex<Known>,
    conferences: OnceLock<Arc<Conferences>>,
}

impl RelayTable {
    fn of(&self, conference: &ConferenceId) -> Vec<Arc<Relay>> {
        self.known.lock().get(conference).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    fn find(&self, conference: &ConferenceId, id: &RelayId) -> Option<Arc<Relay>> {
        self.known.lock().get(conference)?.get(id).cloned()
    }

    fn count(&self) -> usize {
        self.known.lock().values().map(BTreeMap::len).sum()
    }

    fn enter(&self, relay: Arc<Relay>) {
        let mut known = self.known.lock();
        known.entry(relay.conference.clone()).or_default().insert(relay.id.clone(), relay);
    }

    fn leave(&self, relay: &Relay) {
        let mut known = self.known.lock();
        if let Some(relays) = known.get_mut(&relay.conference) {
            relays.remove(&relay.id);
            if relays.is_empty() {
                known.remove(&relay.conference);
            }
        }
    }
}

/// Wakes the relays of a conference, which look for themselves what it means to them.
impl Watcher for RelayTable {
    fn recorded(&self, conference: &Conference, _: &[Recorded]) {
        for relay in self.of(conference.id()) {
            relay.wake.notify_one();
        }
    }
}

/// A member whose stream is pulled is there as long as the relay has not given up: it needs no client of its own. A push
/// keeps nobody.
impl Present for RelayTable {
    fn each_present(&self, tell: &mut dyn FnMut(&ConferenceId, &MemberId, Seq)) {
        let Some(conferences) = self.conferences.get() else { return };
        let known: Vec<_> = self.known.lock().values().flat_map(BTreeMap::values).cloned().collect();
        for relay in known.into_iter().filter(|relay| relay.way == Way::Pull) {
            if relay.look(Status::has_given_up) {
                continue;
            }
            let right =
                conferences.open_now(&relay.conference).and_then(|conference| relay.right_in(&conference));
            if let Some(right) = right {
                tell(&right.conference, &right.member, right.epoch);
            }
        }
    }
}

struct Shared {
    table: Arc<RelayTable>,
    keeper: Keeper,
    conferences: Arc<Conferences>,
    hub: Hub,
    sessions: SessionTable,
    policy: Policy,
    tls: TlsClient,
    settings: RelaySettings,
    metrics: Metrics,
    draining: CancellationToken,
    tasks: TaskTracker,
}

/// All relays of this gateway.
pub struct Relays {
    shared: Arc<Shared>,
    /// One is made at a time, so that limits and repeated requests are seen by the next.
    making: tokio::sync::Mutex<()>,
}

impl Relays {
    /// Resumes the relays that are kept, but for those whose stream is gone. `table` watches the conferences.
    pub async fn open(table: Arc<RelayTable>, deps: RelayDeps) -> Result<Arc<Self>, Refusal> {
        let _ = table.conferences.set(Arc::clone(&deps.conferences));
        let shared = Arc::new(Shared {
            table,
            keeper: Keeper::new(deps.store, deps.sealing),
            conferences: deps.conferences,
            hub: deps.hub,
            sessions: deps.sessions,
            policy: deps.policy,
            tls: deps.tls,
            settings: deps.settings,
            metrics: deps.metrics,
            draining: deps.draining,
            tasks: TaskTracker::new(),
        });
        for kept in shared.keeper.all().await? {
            let status = Status::new(clock::now(), &shared.metrics, kept.way);
            shared.start(kept.into_relay(status, shared.draining.child_token()));
        }
        Ok(Arc::new(Self { shared, making: tokio::sync::Mutex::default() }))
    }

    /// Makes a relay of `conference`. Answered when it is durable.
    pub async fn create(&self, conference: &Conference, new: NewRelay) -> Result<Arc<Relay>, Refusal> {
        let shared = &self.shared;
        let _turn = self.making.lock().await;
        let present = shared.table.of(conference.id());
        if let Some(mark) = new.mark
            && let Some(known) =
                present.iter().find(|relay| relay.mark.is_some_and(|known| known.key == mark.key))
        {
            return if known.mark == Some(mark) { Ok(Arc::clone(known)) } else { Err(another_body()) };
        }
        self.check_places(&present)?;
        let stream = conference.streams.get(&new.stream).ok_or_else(no_such_stream)?;
        if new.way == Way::Pull
            && present.iter().any(|relay| relay.way == Way::Pull && relay.stream == new.stream)
        {
            return Err(Reason::InvalidRequest
                .because("rtcId: this stream is pulled already; delete that relay, or name another rtcId"));
        }
        let bits = entropy::bytes().map_err(|error| Reason::Overloaded.because(error.to_string()))?;
        let kept = shared
            .keeper
            .keep(keeper::Wanted {
                id: RelayId::from_random(bits),
                app: conference.settings.app.clone(),
                conference: conference.id().clone(),
                declared: stream.declared,
                created: clock::now(),
                new,
            })
            .await?;
        let status = Status::new(clock::now(), &shared.metrics, kept.way);
        let relay = kept.into_relay(status, shared.draining.child_token());
        tracing::info!(
            relay = %relay.id, conference = %relay.conference, stream = %relay.stream, direction = relay.way.word(),
            "a relay was made"
        );
        Ok(shared.start(relay))
    }

    fn check_places(&self, present: &[Arc<Relay>]) -> Result<(), Refusal> {
        let settings = self.shared.settings;
        if self.shared.draining.is_cancelled() {
            return Err(Reason::Draining.because("the gateway is shutting down; try again"));
        }
        if present.len() >= settings.per_conference_max {
            let most = settings.per_conference_max;
            return Err(Reason::InvalidRequest
                .because(format!("a conference has at most {most} relays; delete one first"))
                .at("relays_per_conference_max"));
        }
        if self.shared.table.count() >= settings.relays_max {
            return Err(Reason::Overloaded
                .because("this gateway has as many relays as it may")
                .at("relays_max"));
        }
        Ok(())
    }

    /// Refuses a far server that may not be called, as far as can be said without resolving its name.
    pub fn check(&self, far: &FarUrl) -> Result<(), Refusal> {
        let checked = self.shared.policy.check_host(far.host());
        checked.map_err(|forbidden| Reason::UrlInvalid.because(format!("url: {forbidden}")))
    }

    /// The relays of `conference`, in the order of their making.
    pub fn of(&self, conference: &ConferenceId) -> Vec<Arc<Relay>> {
        let mut relays = self.shared.table.of(conference);
        relays.sort_by_key(|relay| (relay.created, relay.id.clone()));
        relays
    }

    /// One of them.
    pub fn find(&self, conference: &ConferenceId, id: &RelayId) -> Option<Arc<Relay>> {
        self.shared.table.find(conference, id)
    }

    /// Ends a relay. Answered when it will not come back, and nothing more of it moves. False where it was gone already.
    pub async fn delete(&self, conference: &ConferenceId, id: &RelayId) -> Result<bool, Refusal> {
        let Some(relay) = self.find(conference, id) else { return Ok(false) };
        self.shared.keeper.forget(&relay).await?;
        relay.stop.cancel();
        relay.ended.cancelled().await;
        Ok(true)
    }

    /// Waits until every relay's task has ended. No new one may come.
    pub async fn ended(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Shared {
    fn start(self: &Arc<Self>, relay: Relay) -> Arc<Relay> {
        let relay = Arc::new(relay);
        self.table.enter(Arc::clone(&relay));
        self.tasks.spawn(run::run(Arc::clone(self), Arc::clone(&relay)));
        relay
    }
}

fn no_such_stream() -> Refusal {
    Reason::StreamNotFound.because("there is no such stream in this conference; it may have been deleted")
}
