//! Running a conference: kick and roles.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde::{Deserialize, Serialize};

use super::auth::Runner;
use super::body::{Json, json};
use super::place::InConference;
use super::{Answer, Control, path};
use crate::domain::event::ExitReason;
use crate::domain::{Command, Event, Reason, Recorded, Refusal, Role, UserName};

pub(super) fn routes() -> Router<Control> {
    Router::new().route(path::KICK, post(kick)).route(path::ROLES, post(set_roles))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KickRequest {
    member_names: Vec<UserName>,
}

#[derive(Serialize)]
struct KickAnswer<'a> {
    /// Those who were inside.
    kicked: Vec<&'a UserName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RolesRequest {
    member_names: Vec<UserName>,
    role: Role,
}

#[derive(Serialize)]
struct RolesAnswer<'a> {
    /// Those who are inside.
    changed: Vec<&'a UserName>,
}

async fn kick(
    State(control): State<Control>,
    caller: Runner,
    InConference(id): InConference,
    Json(request): Json<KickRequest>,
) -> Answer<Response> {
    named(&request.member_names)?;
    let by = control.actor(caller, &id).await?;
    let done = control.execute("kick", &id, Command::Kick { by, users: request.member_names }).await?;
    Ok(json(StatusCode::OK, &KickAnswer { kicked: kicked(&done.events) }))
}

async fn set_roles(
    State(control): State<Control>,
    caller: Runner,
    InConference(id): InConference,
    Json(request): Json<RolesRequest>,
) -> Answer<Response> {
    named(&request.member_names)?;
    let by = control.actor(caller, &id).await?;
    let command = Command::SetRoles { by, users: request.member_names, role: request.role };
    let done = control.execute("roles", &id, command).await?;
    let changed = done.events.iter().filter_map(|recorded| match &recorded.event {
        Event::RoleChanged { user, .. } => Some(user),
        _ => None,
    });
    let changed = changed.filter(|user| done.conference.member_of(user).is_some()).collect();
    Ok(json(StatusCode::OK, &RolesAnswer { changed }))
}

fn named(names: &[UserName]) -> Result<(), Refusal> {
    if names.is_empty() {
        return Err(Reason::InvalidRequest.because("memberNames: at least one name is needed"));
    }
    Ok(())
}

/// Whose decision to leave was not their own: the exit of a kicked member follows the kick of its user, and the exit
/// names the member only.
fn kicked(events: &[Recorded]) -> Vec<&UserName> {
    let mut kicked = Vec::new();
    let mut named = None;
    for recorded in events {
        match &recorded.event {
            Event::UserKicked { user, .. } => named = Some(user),
            Event::MemberExited { reason: ExitReason::Kicked, .. } => kicked.extend(named),
            _ => {}
        }
    }
    kicked
}
