//! Running a conference: kick and roles.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Runner;
use super::body::{Json, json};
use super::document::{BODY, IN_CONFERENCE, RUNNER, refusals};
use super::place::InConference;
use super::{Answer, Control, path};
use crate::domain::event::ExitReason;
use crate::domain::{Command, Event, Reason, Recorded, Refusal, Role, UserName};
use crate::events::schema;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(kick)).routes(routes!(set_roles))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KickRequest {
    /// Users, inside or not.
    #[schema(value_type = Vec<schema::User>, min_items = 1, max_items = 300)]
    member_names: Vec<UserName>,
}

#[derive(Serialize, ToSchema)]
struct KickAnswer<'a> {
    /// Those who were inside.
    #[schema(value_type = Vec<schema::User>)]
    kicked: Vec<&'a UserName>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RolesRequest {
    /// Users, inside or not.
    #[schema(value_type = Vec<schema::User>, min_items = 1, max_items = 300)]
    member_names: Vec<UserName>,
    #[schema(value_type = schema::RoleNumber)]
    role: Role,
}

#[derive(Serialize, ToSchema)]
struct RolesAnswer<'a> {
    /// Those who are inside.
    #[schema(value_type = Vec<schema::User>)]
    changed: Vec<&'a UserName>,
}

refusals!(KickRefusals: BODY, RUNNER, IN_CONFERENCE);

/// Remove members
///
/// Their media stops at once, and so does their token. Every ticket that was issued to them before, and the password, are refused
/// `member_gone` until the app key or an ADMIN issues a new ticket. A user that is not inside is barred all the same.
#[utoipa::path(
    post,
    path = path::KICK,
    operation_id = "kick",
    tag = "Moderation",
    params(InConference),
    request_body = KickRequest,
    responses((status = 200, description = "Who was removed.", body = KickAnswer), KickRefusals),
    security(("appKey" = []), ("memberToken" = []), ("ticket" = [])),
)]
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

refusals!(RolesRefusals: BODY, RUNNER, IN_CONFERENCE, &[Reason::TalkersFull, Reason::MembersFull]);

/// Change roles
///
/// The role counts at once: an AUDIENCE member stops publishing. It stays over a rejoin, which never gives a higher role than the one
/// last granted here. Each member is told `roleChanged` with a fresh `roleToken`; the old one stays valid.
#[utoipa::path(
    post,
    path = path::ROLES,
    operation_id = "setRoles",
    tag = "Moderation",
    params(InConference),
    request_body = RolesRequest,
    responses((status = 200, description = "Whose role was changed.", body = RolesAnswer), RolesRefusals),
    security(("appKey" = []), ("memberToken" = []), ("ticket" = [])),
)]
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
