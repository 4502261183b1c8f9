//! Running a conference: kick, roles and mute.

use std::collections::BTreeSet;

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
use crate::domain::conference::MuteChange;
use crate::domain::event::ExitReason;
use crate::domain::{Command, Conference, Event, Reason, Recorded, Refusal, Role, UserName};
use crate::events::schema;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(kick)).routes(routes!(set_roles)).routes(routes!(mute))
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

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MuteRequest {
    /// Users, inside or not.
    #[schema(value_type = Vec<schema::User>, min_items = 1, max_items = 300)]
    member_names: Vec<UserName>,
    /// Whether their sound is held back. Left out, it stays as it is; one of the two is needed.
    audio: Option<bool>,
    /// Whether their pictures are held back.
    video: Option<bool>,
}

#[derive(Serialize, ToSchema)]
struct MuteAnswer<'a> {
    /// Those who are inside.
    #[schema(value_type = Vec<schema::User>)]
    muted: BTreeSet<&'a UserName>,
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
    Ok(json(StatusCode::OK, &RolesAnswer { changed: changed(&done.events, &done.conference) }))
}

refusals!(MuteRefusals: BODY, RUNNER, IN_CONFERENCE);

/// Mute members, or lift a mute
///
/// The gateway holds back their sound, their pictures or both, of all their streams, now and later; they stay connected. When this is
/// answered nothing of it passes any more. It stays over a rejoin, and only an ADMIN or the app key lifts it. Everyone is told
/// `memberChanged` for the member and `mediaChanged` for each of its declared streams.
#[utoipa::path(
    post,
    path = path::MUTE,
    operation_id = "mute",
    tag = "Moderation",
    params(InConference),
    request_body = MuteRequest,
    responses((status = 200, description = "Whose mute was set.", body = MuteAnswer), MuteRefusals),
    security(("appKey" = []), ("memberToken" = []), ("ticket" = [])),
)]
async fn mute(
    State(control): State<Control>,
    caller: Runner,
    InConference(id): InConference,
    Json(request): Json<MuteRequest>,
) -> Answer<Response> {
    let MuteRequest { member_names: users, audio, video } = request;
    named(&users)?;
    if audio.is_none() && video.is_none() {
        return Err(Reason::InvalidRequest.because("audio, video: at least one of them is needed").into());
    }
    let by = control.actor(caller, &id).await?;
    let change = MuteChange { audio, video };
    let done = control.execute("mute", &id, Command::SetMuted { by, users: users.clone(), change }).await?;
    let muted = users.iter().filter(|user| done.conference.member_of(user).is_some()).collect();
    Ok(json(StatusCode::OK, &MuteAnswer { muted }))
}

fn named(names: &[UserName]) -> Result<(), Refusal> {
    if names.is_empty() {
        return Err(Reason::InvalidRequest.because("memberNames: at least one name is needed"));
    }
    Ok(())
}

/// Whose stay the roles of `events` changed. `conference` may stand at a later moment, when somebody has joined whose role
/// was only noted for later.
fn changed<'a>(events: &'a [Recorded], conference: &Conference) -> Vec<&'a UserName> {
    let changed = events.iter().filter_map(|recorded| match &recorded.event {
        Event::RoleChanged { user, .. } => {
            conference.member_of(user).filter(|member| member.epoch < recorded.seq).map(|_| user)
        }
        _ => None,
    });
    changed.collect()
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

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::domain::conference::ConferenceKind;
    use crate::domain::{AppId, ConferenceId, Created, MemberId, Timestamp};

    #[test]
    fn who_joins_behind_a_change_of_roles_is_not_changed_by_it() {
        let user = |name: &str| UserName::parse(name).unwrap();
        let joined = |name: &str| Event::MemberJoined {
            member: MemberId::parse(&format!("MS_{name}")).unwrap(),
            user: user(name),
            role: Role::Talker,
            nick_name: None,
            ext: Map::new(),
            guest_ticket: None,
        };
        let role = |name| Event::RoleChanged { user: user(name), guest_ticket: None, role: Role::Audience };
        let id = ConferenceId::parse("TS_a").unwrap();
        let created = Created::new(id, AppId::parse("app1").unwrap(), ConferenceKind::Communication);
        let (mut conference, _) = Conference::create(created, Timestamp(0));
        conference.record(joined("anna"), Timestamp(0));
        let events = ["anna", "boris"].map(|name| conference.record(role(name), Timestamp(0)));
        conference.record(joined("boris"), Timestamp(0));
        assert_eq!(changed(&events, &conference), [&user("anna")]);
    }
}
