//! A member's word that it is there, for clients without an event socket or media.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Insider;
use super::body::{OptionalJson, Query};
use super::document::{BODY, IN_CONFERENCE, INSIDER, refusals};
use super::members::ForUser;
use super::place::InConference;
use super::{Answer, Control, path};
use crate::domain::UserName;
use crate::events::schema;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(heartbeat))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HeartbeatRequest {
    /// For the app key: whose heartbeat it is.
    #[schema(value_type = Option<schema::User>)]
    user: Option<UserName>,
}

refusals!(HeartbeatRefusals: BODY, INSIDER, IN_CONFERENCE);

/// Say that a member is there
///
/// For members without an event socket and without media: both count as a sign of life by themselves. A member that gives none
/// for 20 s (`TIDEGATE_MEMBER_TIMEOUT_MS`) leaves with reason 1. Every 5 to 10 s is a good pace.
#[utoipa::path(
    post,
    path = path::HEARTBEAT,
    operation_id = "heartbeat",
    tag = "Members",
    params(InConference, ForUser),
    request_body = Option<HeartbeatRequest>,
    responses((status = 204, description = "Heard."), HeartbeatRefusals),
    security(("memberToken" = []), ("appKey" = [])),
)]
async fn heartbeat(
    State(control): State<Control>,
    caller: Insider,
    InConference(id): InConference,
    Query(query): Query<ForUser>,
    OptionalJson(request): OptionalJson<HeartbeatRequest>,
) -> Answer<StatusCode> {
    let conference = control.reach(&caller, &id).await?;
    let member = conference.subject(&caller.subject_named(request.user, query.user)?)?;
    control.heartbeats.heartbeat(&id, &member.id, member.epoch);
    Ok(StatusCode::NO_CONTENT)
}
