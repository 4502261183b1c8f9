//! The HTTP door: the control API on the main listener and the operators' pages on the ops listener.
//!
//! This folder is the only place that names axum. A resource is one file with its requests, answers and handlers; what
//! it decides, it asks of [`crate::conferences`]. Every handler takes its extractors in one order, and that order is
//! the rule: **who calls** (401), **where** (404), **what** (400, 413, 422), and only then whether it exists and may be
//! done. So nobody without a credential learns whether something exists.
//!
//! **A new route** is a handler under `#[utoipa::path(…)]`, registered by `OpenApiRouter::new().routes(routes!(handler))`
//! and never by axum's own `route`, with its path in the table below. The doc comment's first line is the summary, the rest the
//! description. `params(…)` lists the extractors of path and query, `responses(…)` the successes and one type made by
//! `document::refusals!(NameRefusals: BODY, RUNNER, IN_CONFERENCE, &[Reason::…])`, which documents a status for each
//! reason; `security(…)` names the credentials. Requests and answers derive `ToSchema`; fields of domain types name
//! their stand-in of `events::schema` by `#[schema(value_type = …)]`. Then renew `docs/openapi.json` with
//! `TIDEGATE_RENEW=1 cargo nextest run --lib golden`.

#![allow(unused_qualifications, reason = "what utoipa generates qualifies names")]

pub mod admin;
mod auth;
mod body;
mod client;
mod conferences;
mod configure;
mod console;
mod cors;
mod docs;
mod document;
mod events;
mod guard;
mod heartbeat;
mod idempotency;
mod live;
mod members;
mod messages;
mod method;
mod moderation;
mod observe;
pub mod ops;
mod overview;
mod place;
mod problem;
mod profile;
mod rate;
mod relays;
mod rooms;
pub mod server;
mod sessions;
mod socket;
mod stats;
mod streams;
mod subscriptions;
#[cfg(test)]
mod tests;
mod tickets;
pub mod urls;
mod user_tokens;
mod voip;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use parking_lot::RwLock;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;

use crate::conferences::apps::Apps;
use crate::conferences::passwords::Passwords;
use crate::conferences::voip_sessions::VoipSessions;
use crate::conferences::{Conferences, Done};
use crate::domain::ticket::TokenKeys;
use crate::domain::{Command, ConferenceId, Limits, Mark, MemberId, Reason, Refusal, Seq, Timestamp};
use crate::events::{Feed, Webhooks};
use crate::flv::FlvDoor;
use crate::hub::{Hub, SessionTable};
use crate::intake::Intake;
use crate::overview::Overview;
use crate::places::Places;
use crate::relays::Relays;
use crate::telemetry::Metrics;
use crate::{clock, entropy};
use cors::CorsLayer;
pub use cors::CorsOrigins;
pub use guard::{Guard, GuardSettings};
use problem::Problem;
use rate::Limiter;
use urls::Endpoints;

/// What a request is answered with: the answer, or a problem document.
type Answer<T> = Result<T, Problem>;

/// Numbers that the API's answers follow.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Places in a new conference that names none.
    pub limits: Limits,
    /// Life of a user token made here, where the request names none.
    pub user_token_ttl_secs: u64,
    /// Life of a ticket, where the request names none.
    pub ticket_ttl_secs: u64,
    /// How long a media URL admits.
    pub media_url_ttl_secs: u64,
    /// How long a message on an event socket may take to leave.
    pub answer_stall: Duration,
    /// Between two pings on an event socket.
    pub event_ping: Duration,
    /// Whether the operators' console is served.
    pub console: bool,
    /// Whether the page is served with which a browser watches.
    pub join_page: bool,
    /// Between two samples of the overview.
    pub overview_sample_ms: u64,
}

/// Hears that members are there.
pub trait Heartbeats: Send + Sync {
    /// `member` said that it is there, in the stay that began with `epoch`. Must be quick.
    fn heartbeat(&self, conference: &ConferenceId, member: &MemberId, epoch: Seq);
}

/// All that the control API works with.
pub struct ControlDeps {
    /// The running conferences.
    pub conferences: Arc<Conferences>,
    /// The media sessions that are listed and closed.
    pub sessions: SessionTable,
    /// The streams whose figures are told.
    pub hub: Hub,
    /// The apps and their keys.
    pub apps: Arc<Apps>,
    /// Hashes and verifies conference passwords.
    pub passwords: Arc<Passwords>,
    /// Session keys and used nonces of VoIP rooms.
    pub voip_sessions: Arc<VoipSessions>,
    /// Told of each heartbeat of a member that is inside.
    pub heartbeats: Arc<dyn Heartbeats>,
    /// Feeds events to members.
    pub feed: Arc<Feed>,
    /// Shows streams as FLV.
    pub flv: Arc<FlvDoor>,
    /// Tells the apps' servers of events.
    pub webhooks: Arc<Webhooks>,
    /// Streams to and from far servers.
    pub relays: Arc<Relays>,
    /// Signs and verifies tickets, member tokens and media tokens.
    pub keys: TokenKeys,
    /// Numbers.
    pub settings: Settings,
    /// Where clients reach the gateway.
    pub endpoints: Endpoints,
    /// How much it takes.
    pub guard: Guard,
    /// Which web pages may call it, at first.
    pub cors: CorsOrigins,
    /// Whether anybody new is let in.
    pub intake: Intake,
    /// Where sockets that stay open are counted.
    pub places: Arc<Places>,
    /// Counts requests, refusals, commands and credentials that proved nothing.
    pub metrics: Metrics,
    /// What each app had going on.
    pub overview: Arc<Overview>,
}

/// The control API. Clones share everything.
#[derive(Clone)]
pub struct Control {
    deps: Arc<ControlDeps>,
    /// How often a member may send messages.
    messages: Arc<Limiter<messages::Sender>>,
    cors: Arc<RwLock<CorsLayer>>,
}

impl std::ops::Deref for Control {
    type Target = ControlDeps;

    fn deref(&self) -> &ControlDeps {
        &self.deps
    }
}

impl Control {
    /// Takes what the API works with.
    pub fn new(deps: ControlDeps) -> Self {
        let cors = Arc::new(RwLock::new(cors::layer(&deps.cors)));
        Self { deps: Arc::new(deps), messages: Arc::new(messages::limiter()), cors }
    }

    /// From now on pages of these origins may call.
    pub fn set_cors(&self, origins: &CorsOrigins) {
        *self.cors.write() = cors::layer(origins);
    }

    /// Runs a command, counted as `kind`. Answered when it is durable and rights that it ended are revoked.
    async fn execute(
        &self,
        kind: &'static str,
        id: &ConferenceId,
        command: Command,
    ) -> Result<Done, Refusal> {
        self.execute_once(kind, id, command, None).await
    }

    /// As [`Self::execute`], but a command whose mark is known already does nothing again.
    async fn execute_once(
        &self,
        kind: &'static str,
        id: &ConferenceId,
        command: Command,
        mark: Option<Mark>,
    ) -> Result<Done, Refusal> {
        let started = Instant::now();
        let done = self.conferences.execute_once(id, command, mark, clock::now()).await;
        self.count(kind, done.as_ref().err(), started.elapsed());
        done
    }

    fn count(&self, kind: &'static str, refusal: Option<&Refusal>, took: Duration) {
        let outcome = match refusal {
            None => "done",
            Some(refusal) if refusal.reason == Reason::StoreUnavailable => "failed",
            Some(_) => "refused",
        };
        self.metrics.command_finished(kind, outcome, took);
    }
}

/// `COUNT` random bytes.
fn random<const COUNT: usize>() -> Result<[u8; COUNT], Refusal> {
    entropy::bytes().map_err(|error| Reason::Overloaded.because(error.to_string()))
}

/// The end of a life of `ttl_secs` that begins at `now`, in whole seconds as tokens carry it.
fn expiry(now: Timestamp, ttl_secs: u64) -> Timestamp {
    Timestamp(now.as_secs().saturating_add(ttl_secs).saturating_mul(1000))
}

fn conference_not_found() -> Refusal {
    Reason::ConferenceNotFound.because("there is no such conference in this app")
}

/// A token that could not be signed, which valid claims never lead to.
fn unsigned() -> Problem {
    Problem::internal()
}

/// The paths of the API, as routes and as labels of metrics.
mod path {
    pub(super) const OPENAPI: &str = "/openapi.json";
    pub(super) const DOCS: &str = "/docs";
    pub(super) const DOCS_FILE: &str = "/docs/{file}";
    pub(super) const CONSOLE_DOOR: &str = "/console";
    pub(super) const CONSOLE: &str = "/console/";
    pub(super) const JOIN: &str = "/join";
    pub(super) const ASSET: &str = "/assets/{file}";
    pub(super) const OVERVIEW: &str = "/v1/overview";
    pub(super) const USER_TOKENS: &str = "/v1/user-tokens";
    pub(super) const CONFERENCES: &str = "/v1/conferences";
    pub(super) const CONFERENCE: &str = "/v1/conferences/{confrId}";
    pub(super) const TICKETS: &str = "/v1/conferences/{confrId}/tickets";
    pub(super) const MEMBERS: &str = "/v1/conferences/{confrId}/members";
    pub(super) const OWN_MEMBER: &str = "/v1/conferences/{confrId}/members/me";
    pub(super) const HEARTBEAT: &str = "/v1/conferences/{confrId}/heartbeat";
    pub(super) const EVENTS: &str = "/v1/conferences/{confrId}/events";
    pub(super) const KICK: &str = "/v1/conferences/{confrId}/kick";
    pub(super) const ROLES: &str = "/v1/conferences/{confrId}/roles";
    pub(super) const MUTE: &str = "/v1/conferences/{confrId}/mute";
    pub(super) const MESSAGES: &str = "/v1/conferences/{confrId}/messages";
    pub(super) const STREAMS: &str = "/v1/conferences/{confrId}/streams";
    pub(super) const STREAM: &str = "/v1/conferences/{confrId}/streams/{streamId}";
    pub(super) const SUBSCRIPTIONS: &str = "/v1/conferences/{confrId}/streams/{streamId}/subscriptions";
    pub(super) const RELAYS: &str = "/v1/conferences/{confrId}/relays";
    pub(super) const RELAY: &str = "/v1/conferences/{confrId}/relays/{relayId}";
    pub(super) const ROOM_MEMBERS: &str = "/v1/rooms/{roomName}/members";
    pub(super) const STATS: &str = "/v1/conferences/{confrId}/streams/{streamId}/stats";
    pub(super) const VOIP_SIGNATURES: &str = "/v1/voip/signatures";
    pub(super) const VOIP_SESSION: &str = "/v1/voip/sessions/{openid}";
    pub(super) const VOIP_MEMBERS: &str = "/v1/voip/rooms/{groupId}/members";
    pub(super) const SESSIONS: &str = "/v1/sessions";
    pub(super) const SESSION: &str = "/v1/sessions/{sessionId}";
    pub(super) const LIVE: &str = "/live/{file}";
    pub(super) const WEBHOOKS: &str = "/v1/webhooks";
    pub(super) const DEAD_LETTERS: &str = "/v1/webhooks/dead-letters";
    pub(super) const REPLAY: &str = "/v1/webhooks/dead-letters/{deadLetterId}/replay";

    /// Every path above.
    pub(super) const ALL: &[&str] = &[
        OPENAPI,
        DOCS,
        DOCS_FILE,
        CONSOLE_DOOR,
        CONSOLE,
        JOIN,
        ASSET,
        OVERVIEW,
        USER_TOKENS,
        CONFERENCES,
        CONFERENCE,
        TICKETS,
        MEMBERS,
        OWN_MEMBER,
        HEARTBEAT,
        EVENTS,
        KICK,
        ROLES,
        MUTE,
        MESSAGES,
        STREAMS,
        STREAM,
        SUBSCRIPTIONS,
        RELAYS,
        RELAY,
        ROOM_MEMBERS,
        STATS,
        VOIP_SIGNATURES,
        VOIP_SESSION,
        VOIP_MEMBERS,
        SESSIONS,
        SESSION,
        LIVE,
        WEBHOOKS,
        DEAD_LETTERS,
        REPLAY,
    ];
}

/// The API: routes and their part of the document. A path is registered by the file of its resource; two files may give
/// methods to one path.
fn api() -> OpenApiRouter<Control> {
    OpenApiRouter::with_openapi(document::frame())
        .merge(user_tokens::routes())
        .merge(conferences::routes())
        .merge(configure::routes())
        .merge(tickets::routes())
        .merge(members::routes())
        .merge(profile::routes())
        .merge(rooms::routes())
        .merge(voip::routes())
        .merge(heartbeat::routes())
        .merge(events::routes())
        .merge(streams::routes())
        .merge(subscriptions::routes())
        .merge(stats::routes())
        .merge(relays::routes())
        .merge(messages::routes())
        .merge(moderation::routes())
        .merge(sessions::routes())
        .merge(overview::routes())
        .merge(live::routes())
        .merge(webhooks::routes())
        .merge(document::routes())
        .merge(docs::routes())
        .merge(console::routes())
}

/// The main listener's routes. CORS for browsers, rate limits and request idempotency belong into the layers here, outside
/// of the handlers.
pub fn router(control: Control) -> Router {
    Router::from(api())
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(control.clone(), guard::guard))
        .layer(from_fn_with_state(control.clone(), cors::cors))
        .layer(from_fn_with_state(control.clone(), observe::observe))
        .with_state(control)
}

async fn no_such_route() -> Problem {
    Reason::NotFound.because("this gateway has nothing at this path; the API begins with /v1/").into()
}

/// The router adds the `Allow` header with the methods that the path takes.
async fn no_such_method(method: Method) -> Problem {
    Problem::method_not_allowed(&method)
}
