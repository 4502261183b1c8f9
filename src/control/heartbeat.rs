//! A member's word that it is there, for clients without an event socket or media.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;

use super::auth::Insider;
use super::body::{OptionalJson, Query};
use super::members::ForUser;
use super::place::InConference;
use super::{Answer, Control, path};
use crate::domain::UserName;

pub(super) fn routes() -> Router<Control> {
    Router::new().route(path::HEARTBEAT, post(heartbeat))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeartbeatRequest {
    user: Option<UserName>,
}

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
