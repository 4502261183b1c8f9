//! Where an app's server is told of events, and what it could not be told.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::AppCaller;
use super::body::{Json, Object, Query, json};
use super::document::{BODY, CALLER, QUERY, refusals};
use super::place::AtDeadLetter;
use super::{Answer, Control, path};
use crate::clock;
use crate::domain::{ConferenceId, Reason, Timestamp};
use crate::events::schema;
use crate::events::views::rfc3339;
use crate::events::webhooks::{DeadLetter, Target, TargetId, TargetRequest};

/// Dead letters on a page, where the request names no number.
const PAGE_DEFAULT: usize = 50;
/// Most dead letters on a page: about 200 KiB of answer.
const PAGE_MAX: usize = 500;
/// Longest id of a dead letter; ours have 29 characters.
const ID_CHARS_MAX: usize = 64;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(list, replace)).routes(routes!(dead_letters)).routes(routes!(replay))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhooksRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutRequest {
    /// All targets of the app: those that are not in the list are told nothing any more.
    #[schema(value_type = Vec<PutTarget>, max_items = 16)]
    targets: Vec<Object<PutTarget>>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookTargetRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutTarget {
    /// Absent: that of the present target with this URL, else a new one.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,64}$", example = "main")]
    id: Option<TargetId>,
    /// `http` or `https`, without user name and password. Addresses of inner networks are refused unless the operator allows
    /// them.
    #[schema(max_length = 2048, example = "https://app.example.com/tidegate")]
    url: String,
    /// The types it is told of. Absent or null: all.
    #[schema(min_items = 1, example = json!(["memberJoined", "memberExited"]))]
    events: Option<Vec<String>>,
    /// Visible ASCII characters. Absent, or masked as in an answer: what is there stays, or one is made.
    #[schema(min_length = 7, max_length = 128)]
    secret: Option<String>,
    /// Absent: yes. A target that is not enabled is told nothing, and nothing is kept for it.
    enabled: Option<bool>,
    /// Stands in answers; taken and passed over, so that what was got can be put back.
    #[schema(value_type = Option<schema::Time>)]
    #[serde(rename = "previousSecretUntil")]
    _previous_secret_until: Option<IgnoredAny>,
}

impl From<PutTarget> for TargetRequest {
    fn from(put: PutTarget) -> Self {
        Self { id: put.id, url: put.url, events: put.events, secret: put.secret, enabled: put.enabled }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Webhooks)]
#[serde(rename_all = "camelCase")]
struct TargetsAnswer<'a> {
    /// In the order in which they were put.
    targets: Vec<TargetView<'a>>,
}

/// Where messages go.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTarget)]
#[serde(rename_all = "camelCase")]
struct TargetView<'a> {
    #[schema(example = "main")]
    id: &'a str,
    #[schema(example = "https://app.example.com/tidegate")]
    url: &'a str,
    /// The types it is told of; null is all.
    #[schema(required, value_type = Option<Vec<String>>)]
    events: Option<&'a BTreeSet<String>>,
    enabled: bool,
    /// Whole in the answer to the PUT that made or named it; else all but its end hidden.
    #[schema(example = "****9f3c")]
    secret: String,
    /// Until when the secret before this one signs too; null where none does.
    #[schema(required, value_type = Option<schema::Time>)]
    previous_secret_until: Option<String>,
}

impl<'a> TargetView<'a> {
    fn new(target: &'a Target, secret: Option<&str>, now: Timestamp) -> Self {
        Self {
            id: target.id.as_str(),
            url: target.url.as_str(),
            events: target.events.as_ref(),
            enabled: target.enabled,
            secret: secret.map_or_else(|| target.masked_secret(), str::to_owned),
            previous_secret_until: target.former_until(now).map(rfc3339),
        }
    }
}

refusals!(ListRefusals: CALLER);

/// List webhook targets
///
/// Secrets are masked.
#[utoipa::path(
    get,
    path = path::WEBHOOKS,
    operation_id = "listWebhooks",
    tag = "Webhooks",
    responses((status = 200, description = "The targets of the app.", body = TargetsAnswer), ListRefusals),
    security(("appKey" = [])),
)]
async fn list(State(control): State<Control>, AppCaller(app): AppCaller) -> Answer<Response> {
    let targets = control.webhooks.targets(&app).await?;
    let now = clock::now();
    let targets = targets.iter().map(|target| TargetView::new(target, None, now)).collect();
    Ok(json(StatusCode::OK, &TargetsAnswer { targets }))
}

refusals!(PutRefusals: BODY, CALLER);

/// Replace webhook targets
///
/// Replaces the list whole; the same list put twice changes nothing. A target that is named again goes on where it was and keeps its
/// secret; a new one begins with what happens from now on. Where a target gets another secret, the one before signs beside it for
/// 24 hours; naming the same secret again ends that.
///
/// Each event is a POST to the target's URL: `{id, appId, confrId, seq, type, at, …}`, in order per conference and at least once, with the
/// header `Tidegate-Signature: t=<seconds>,v1=<hex HMAC-SHA256 of "t.body">`.
#[utoipa::path(
    put,
    path = path::WEBHOOKS,
    operation_id = "replaceWebhooks",
    tag = "Webhooks",
    request_body = PutRequest,
    responses(
        (status = 200, description = "The targets, with each secret that this request made or named.", body = TargetsAnswer),
        PutRefusals,
    ),
    security(("appKey" = [])),
)]
async fn replace(
    State(control): State<Control>,
    AppCaller(app): AppCaller,
    Json(request): Json<PutRequest>,
) -> Answer<Response> {
    let requests = request.targets.into_iter().map(|Object(target)| target.into()).collect();
    let put = control.webhooks.put_targets(&app, requests).await?;
    let now = clock::now();
    let shown =
        |secret: &Option<crate::secret::Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
    let targets =
        put.iter().map(|put| TargetView::new(&put.target, shown(&put.shown).as_deref(), now)).collect();
    Ok(json(StatusCode::OK, &TargetsAnswer { targets }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
struct PageQuery {
    /// Dead letters on the page; 50 where it is absent.
    #[param(minimum = 1, maximum = 500, nullable = false)]
    limit: Option<usize>,
    /// `nextCursor` of the page before.
    #[param(nullable = false, max_length = 64)]
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetterPage)]
#[serde(rename_all = "camelCase")]
struct DeadLettersAnswer<'a> {
    /// Those that failed first stand in front.
    dead_letters: Vec<DeadLetterView<'a>>,
    /// For the next page; null on the last one.
    #[schema(required)]
    next_cursor: Option<&'a str>,
}

/// Events of one conference that a target was given up on.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
#[serde(rename_all = "camelCase")]
struct DeadLetterView<'a> {
    #[schema(example = "dl_1800000000000_5f2a90c1d3e4")]
    id: &'a str,
    #[schema(example = "main")]
    target_id: &'a str,
    #[schema(value_type = schema::ConfrId)]
    confr_id: &'a ConferenceId,
    #[schema(value_type = schema::EventNumber)]
    from_seq: u64,
    #[schema(value_type = schema::EventNumber)]
    to_seq: u64,
    #[schema(value_type = schema::Time)]
    first_failure_at: String,
    #[schema(value_type = schema::Time)]
    last_failure_at: String,
    /// Why the last attempt failed, for people.
    #[schema(example = "the receiver answered 503")]
    last_error: &'a str,
    attempts: u32,
    /// Whether its events are on their way again.
    replaying: bool,
}

impl<'a> DeadLetterView<'a> {
    fn new(letter: &'a DeadLetter) -> Self {
        Self {
            id: &letter.id,
            target_id: letter.target.as_str(),
            confr_id: &letter.conference,
            from_seq: letter.from.0,
            to_seq: letter.to.0,
            first_failure_at: rfc3339(letter.first_failure),
            last_failure_at: rfc3339(letter.last_failure),
            last_error: &letter.last_error,
            attempts: letter.attempts,
            replaying: letter.replaying,
        }
    }
}

refusals!(DeadLettersRefusals: QUERY, CALLER);

/// List dead letters
///
/// What could not be told for 24 hours, or for as long as the operator has set. They are kept for 7 days.
#[utoipa::path(
    get,
    path = path::DEAD_LETTERS,
    operation_id = "listDeadLetters",
    tag = "Webhooks",
    params(PageQuery),
    responses((status = 200, description = "A page of dead letters.", body = DeadLettersAnswer), DeadLettersRefusals),
    security(("appKey" = [])),
)]
async fn dead_letters(
    State(control): State<Control>,
    AppCaller(app): AppCaller,
    Query(query): Query<PageQuery>,
) -> Answer<Response> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        let detail = format!("limit: a page holds 1 to {PAGE_MAX} dead letters");
        return Err(Reason::InvalidRequest.because(detail).into());
    }
    if query.cursor.as_ref().is_some_and(|cursor| cursor.is_empty() || cursor.len() > ID_CHARS_MAX) {
        return Err(Reason::InvalidRequest.because("cursor: is the nextCursor of another page").into());
    }
    // One more than asked for tells whether there is a next page.
    let mut letters = control.webhooks.dead_letters(&app, query.cursor.as_deref(), limit + 1).await?;
    let has_more = letters.len() > limit;
    letters.truncate(limit);
    let next_cursor = letters.last().filter(|_| has_more).map(|letter| letter.id.as_str());
    let dead_letters = letters.iter().map(DeadLetterView::new).collect();
    Ok(json(StatusCode::OK, &DeadLettersAnswer { dead_letters, next_cursor }))
}

refusals!(ReplayRefusals: CALLER, &[Reason::NotFound]);

/// Replay a dead letter
///
/// Sends its events again, under their old ids and in order among themselves, beside what happens now. It is gone from the list when
/// the last of them was taken. Events that the log no longer holds are told as a `webhookGap`.
#[utoipa::path(
    post,
    path = path::REPLAY,
    operation_id = "replayDeadLetter",
    tag = "Webhooks",
    params(AtDeadLetter),
    responses((status = 202, description = "They are on their way."), ReplayRefusals),
    security(("appKey" = [])),
)]
async fn replay(
    State(control): State<Control>,
    AppCaller(app): AppCaller,
    AtDeadLetter(id): AtDeadLetter,
) -> Answer<StatusCode> {
    control.webhooks.replay(&app, &id).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Whether this can be the id of a dead letter.
pub(super) fn is_dead_letter_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= ID_CHARS_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
