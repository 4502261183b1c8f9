//! Relays: streams pushed to far RTMP servers and pulled from them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::AppCaller;
use super::body::{Flag, Json, json};
use super::document::{BODY, CALLER, IN_CONFERENCE, refusals};
use super::idempotency::{KeyHeader, Keyed};
use super::place::{AtRelay, InConference};
use super::{Answer, Control, path};
use crate::domain::conference::Subject;
use crate::domain::event::StreamKind;
use crate::domain::{
    AppId, Command, Conference, ConferenceId, Mark, Reason, Refusal, RtcId, StreamId, UserName,
};
use crate::events::schema;
use crate::events::views::rfc3339;
use crate::relays::{FarUrl, Lost, NewRelay, Relay, State as RelayState, Way};

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(find, delete))
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RelayDirection {
    /// A stream of the conference goes out to a far server.
    Push,
    /// A stream of a far server comes in.
    Pull,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RelayRequest {
    direction: RelayDirection,
    /// `rtmp://host[:port]/app/stream`, or rtmps. What stands behind the app may be a key: no answer, log line or metric
    /// shows it. Addresses of inner networks are refused unless the operator allows them.
    #[schema(max_length = 2048, example = "rtmps://live.example.com/app/stream-key")]
    url: String,
    /// To push: which stream.
    #[schema(value_type = Option<schema::StreamName>)]
    stream_id: Option<StreamId>,
    /// To pull: the member, TALKER or above, whose stream it becomes. While the relay has not given up, the member counts as there.
    #[schema(value_type = Option<schema::User>)]
    user: Option<UserName>,
    /// To pull: the member's name for that stream, which is declared where it is not yet.
    #[schema(value_type = Option<schema::RtcName>)]
    rtc_id: Option<RtcId>,
    /// To pull: as a stream is declared.
    #[serde(rename = "type")]
    #[schema(value_type = Option<schema::StreamType>)]
    kind: Option<StreamKind>,
    /// To pull: as a stream is declared.
    #[schema(value_type = Option<schema::OffFlag>)]
    voff: Option<Flag>,
    /// To pull: as a stream is declared.
    #[schema(value_type = Option<schema::OffFlag>)]
    aoff: Option<Flag>,
}

/// What a relay is for, and what it does now.
#[derive(Serialize, ToSchema)]
#[schema(as = Relay)]
#[serde(rename_all = "camelCase")]
struct RelayView<'a> {
    #[schema(example = "RL_bm6vezhq2kdr4wty")]
    id: &'a str,
    #[schema(value_type = schema::ConfrId)]
    confr_id: &'a ConferenceId,
    /// `push` or `pull`
    #[schema(example = "push")]
    direction: &'static str,
    #[schema(value_type = schema::StreamName)]
    stream_id: &'a StreamId,
    /// The far server, without anything that may be a key.
    #[schema(example = "rtmps://live.example.com/app/…")]
    url: String,
    /// `connecting`; `live`: media may flow; `waiting`: there is no media to push; `backoff`: the last connection failed, and
    /// another one follows; `failed`: it has given up, and only a new relay tries again.
    #[schema(example = "live")]
    state: &'static str,
    /// Since when.
    #[schema(value_type = schema::Time)]
    since: String,
    /// When the next connection is tried, in the state `backoff`.
    #[schema(required, value_type = Option<schema::Time>)]
    next_attempt_at: Option<String>,
    /// Connections that were tried since the relay was made or the gateway was started.
    attempts: u64,
    /// Why the newest connection that failed did so. It stays when a later one succeeds.
    #[schema(required)]
    last_error: Option<LastError>,
    /// Bytes of media that were moved since the relay was made or the gateway was started.
    bytes: u64,
    /// How often a push went on at a newer keyframe because the far server took too little.
    skips: u64,
    #[schema(value_type = schema::Time)]
    created_at: String,
}

/// Why a connection of a relay failed.
#[derive(Serialize, ToSchema)]
#[schema(as = RelayError)]
#[serde(rename_all = "camelCase")]
struct LastError {
    /// `unreachable`, `timeout`, `tls`, `refused`, `closed`, `stalled`, `silent`, `protocol`, `replaced`; `url_invalid` where the
    /// far server's address may not be called; or the reason word with which another Tidegate refuses, such as `url_expired`.
    #[schema(example = "refused")]
    reason: &'static str,
    /// For people. The far server's own words are in it, without anything that may be a key.
    #[schema(example = "the far server refused: NetStream.Publish.BadName stream is busy")]
    detail: String,
    #[schema(value_type = schema::Time)]
    at: String,
}

impl LastError {
    fn new(lost: &Lost) -> Self {
        Self { reason: lost.reason, detail: lost.detail.clone(), at: rfc3339(lost.at) }
    }
}

impl<'a> RelayView<'a> {
    fn new(conference: &'a ConferenceId, relay: &'a Relay) -> Self {
        relay.look(|status| {
            let next_attempt_at = match status.state() {
                RelayState::Backoff { until } => Some(rfc3339(until)),
                _ => None,
            };
            Self {
                id: relay.id().as_str(),
                confr_id: conference,
                direction: relay.way().word(),
                stream_id: relay.stream(),
                url: relay.far().to_string(),
                state: status.state().word(),
                since: rfc3339(status.since()),
                next_attempt_at,
                attempts: status.attempts(),
                last_error: status.lost().map(LastError::new),
                bytes: status.bytes(),
                skips: status.skips(),
                created_at: rfc3339(relay.created()),
            }
        })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = RelayList)]
struct ListAnswer<'a> {
    /// In the order in which they were made.
    relays: Vec<RelayView<'a>>,
}

refusals!(
    CreateRefusals: BODY,
    CALLER,
    IN_CONFERENCE,
    &[
        Reason::UrlInvalid,
        Reason::StreamNotFound,
        Reason::NotAllowed,
        Reason::NotFound,
        Reason::VideosFull,
        Reason::DesktopsFull,
    ],
);

/// Relay a stream
///
/// Pushes a declared stream to a far RTMP server, such as a CDN, or pulls one from there as a stream of a member. The relay is kept over
/// restarts. It ends with the right to its stream: when the stream is deleted, its owner leaves, is removed or demoted, or the conference
/// ends. A connection that fails is tried again with growing waits; a far server that refuses again and again is left alone.
#[utoipa::path(
    post,
    path = path::RELAYS,
    operation_id = "createRelay",
    tag = "Relays",
    params(InConference, KeyHeader),
    request_body = RelayRequest,
    responses((status = 201, description = "The relay, which begins its work.", body = RelayView), CreateRefusals),
    security(("appKey" = [])),
)]
async fn create(
    State(control): State<Control>,
    AppCaller(app): AppCaller,
    InConference(id): InConference,
    keyed: Keyed<Json<RelayRequest>>,
) -> Answer<Response> {
    let Keyed { body: Json(request), key } = keyed;
    let conference = control.conferences.find(&app, &id).await?;
    control.intake.admit()?;
    let mark = key.map(|key| key.mark(&control, "app", path::RELAYS));
    let far =
        FarUrl::parse(&request.url).map_err(|error| Reason::UrlInvalid.because(format!("url: {error}")))?;
    control.relays.check(&far)?;
    let relay = match request.direction {
        RelayDirection::Push => control.push(&conference, request, far, mark).await?,
        RelayDirection::Pull => control.pull(&app, &id, request, far, mark).await?,
    };
    Ok(json(StatusCode::CREATED, &RelayView::new(&id, &relay)))
}

refusals!(ListRefusals: CALLER, IN_CONFERENCE);

/// List relays
///
/// Those that have given up are among them, until they are deleted.
#[utoipa::path(
    get,
    path = path::RELAYS,
    operation_id = "listRelays",
    tag = "Relays",
    params(InConference),
    responses((status = 200, description = "The relays of the conference.", body = ListAnswer), ListRefusals),
    security(("appKey" = [])),
)]
async fn list(
    State(control): State<Control>,
    AppCaller(app): AppCaller,
    InConference(id): InConference,
) -> Answer<Response> {
    control.conferences.find(&app, &id).await?;
    let relays = control.relays.of(&id);
    let relays = relays.iter().map(|relay| RelayView::new(&id, relay)).collect();
    Ok(json(StatusCode::OK, &ListAnswer { relays }))
}

refusals!(FindRefusals: CALLER, IN_CONFERENCE, &[Reason::NotFound]);

/// Look at a relay
///
/// What it does now, what it moved, and why its last connection failed.
#[utoipa::path(
    get,
    path = path::RELAY,
    operation_id = "getRelay",
    tag = "Relays",
    params(AtRelay),
    responses((status = 200, description = "The relay.", body = RelayView), FindRefusals),
    security(("appKey" = [])),
)]
async fn find(State(control): State<Control>, AppCaller(app): AppCaller, place: AtRelay) -> Answer<Response> {
    control.conferences.find(&app, &place.conference).await?;
    let relay = place.relay.as_ref().and_then(|id| control.relays.find(&place.conference, id));
    let relay = relay.ok_or_else(no_such_relay)?;
    Ok(json(StatusCode::OK, &RelayView::new(&place.conference, &relay)))
}

/// End a relay
///
/// When this is answered, nothing more is pushed or pulled. The stream stays declared.
#[utoipa::path(
    delete,
    path = path::RELAY,
    operation_id = "deleteRelay",
    tag = "Relays",
    params(AtRelay),
    responses((status = 204, description = "Ended."), FindRefusals),
    security(("appKey" = [])),
)]
async fn delete(
    State(control): State<Control>,
    AppCaller(app): AppCaller,
    place: AtRelay,
) -> Answer<StatusCode> {
    control.conferences.find(&app, &place.conference).await?;
    let id = place.relay.ok_or_else(no_such_relay)?;
    if control.relays.delete(&place.conference, &id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(no_such_relay().into())
    }
}

fn no_such_relay() -> Refusal {
    Reason::NotFound.because("there is no such relay in this conference; it ends with its stream")
}

fn field_for(way: Way, name: &str, given: bool) -> Result<(), Refusal> {
    if !given {
        return Ok(());
    }
    let other = if way == Way::Push { "pull" } else { "push" };
    Err(Reason::InvalidRequest.because(format!("{name}: belongs to a relay of the direction {other}")))
}

fn missing(name: &str, way: Way) -> Refusal {
    Reason::InvalidRequest.because(format!("{name}: a {} needs it", way.word()))
}

impl Control {
    async fn push(
        &self,
        conference: &Conference,
        request: RelayRequest,
        far: FarUrl,
        mark: Option<Mark>,
    ) -> Result<Arc<Relay>, Refusal> {
        let way = Way::Push;
        field_for(way, "user", request.user.is_some())?;
        field_for(way, "rtcId", request.rtc_id.is_some())?;
        field_for(way, "type", request.kind.is_some())?;
        field_for(way, "voff", request.voff.is_some())?;
        field_for(way, "aoff", request.aoff.is_some())?;
        let stream = request.stream_id.ok_or_else(|| missing("streamId", way))?;
        self.relays.create(conference, NewRelay { way, stream, far, mark }).await
    }

    /// Declares the stream by the member's own command, whose rules hold.
    async fn pull(
        &self,
        app: &AppId,
        id: &ConferenceId,
        request: RelayRequest,
        far: FarUrl,
        mark: Option<Mark>,
    ) -> Result<Arc<Relay>, Refusal> {
        let way = Way::Pull;
        field_for(way, "streamId", request.stream_id.is_some())?;
        let user = request.user.ok_or_else(|| missing("user", way))?;
        let rtc_id = request.rtc_id.ok_or_else(|| missing("rtcId", way))?;
        let subject = Subject::User(user);
        let command = Command::DeclareStream {
            subject: subject.clone(),
            rtc_id: rtc_id.clone(),
            kind: request.kind.unwrap_or_default(),
            video_off: request.voff.is_some_and(|off| off.0),
            audio_off: request.aoff.is_some_and(|off| off.0),
        };
        self.execute("pub_stream", id, command).await?;
        // The newest state: what was taken back in between gets no relay.
        let conference = self.conferences.find(app, id).await?;
        let member = conference.subject(&subject)?;
        let stream = StreamId::new(&rtc_id, &member.id);
        self.relays.create(&conference, NewRelay { way, stream, far, mark }).await
    }
}
