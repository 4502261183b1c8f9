//! What a member says of itself.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::patch;
use serde::{Deserialize, Serialize};

use super::auth::Insider;
use super::body::{Json, NickName, OwnData, Query, given, json};
use super::members::ForUser;
use super::place::InConference;
use super::{Answer, Control, path};
use crate::domain::{Command, UserName};
use crate::events::views::MemberView;

pub(super) fn routes() -> Router<Control> {
    Router::new().route(path::OWN_MEMBER, patch(change))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangeRequest {
    /// Null takes the nick name away.
    #[serde(default, deserialize_with = "given")]
    nick_name: Option<Option<NickName>>,
    /// Replaces the whole object.
    ext: Option<OwnData>,
    user: Option<UserName>,
}

#[derive(Serialize)]
struct ChangeAnswer<'a> {
    member: MemberView<'a>,
}

async fn change(
    State(control): State<Control>,
    caller: Insider,
    InConference(id): InConference,
    Query(query): Query<ForUser>,
    Json(request): Json<ChangeRequest>,
) -> Answer<Response> {
    control.reach(&caller, &id).await?;
    let subject = caller.subject_named(request.user, query.user)?;
    let command = Command::ChangeMember {
        subject: subject.clone(),
        nick_name: request.nick_name.map(|nick_name| nick_name.map(|nick_name| nick_name.0)),
        ext: request.ext.map(|ext| ext.0),
    };
    let done = control.execute("change_member", &id, command).await?;
    let conference = &*done.conference;
    // The answer may be of a moment after the change: whoever was removed in between is told so.
    let member = MemberView::new(&conference.settings.app, conference.subject(&subject)?);
    Ok(json(StatusCode::OK, &ChangeAnswer { member }))
}
