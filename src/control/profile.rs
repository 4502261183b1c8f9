//! What a member says of itself.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Insider;
use super::body::{Json, NickName, OwnData, Query, given, json};
use super::document::{BODY, IN_CONFERENCE, INSIDER, refusals};
use super::members::ForUser;
use super::place::InConference;
use super::{Answer, Control, path};
use crate::domain::{Command, UserName};
use crate::events::schema;
use crate::events::views::MemberView;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(change))
}

/// What is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChangeMemberRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangeRequest {
    /// Null takes the nick name away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 128, example = "Anna")]
    nick_name: Option<Option<NickName>>,
    /// Replaces the whole object.
    #[schema(value_type = Option<schema::AppData>)]
    ext: Option<OwnData>,
    /// For the app key: whom it acts for.
    #[schema(value_type = Option<schema::User>)]
    user: Option<UserName>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ChangedMember)]
struct ChangeAnswer<'a> {
    member: MemberView<'a>,
}

refusals!(ChangeRefusals: BODY, INSIDER, IN_CONFERENCE);

/// Change one's own nick name or data
///
/// Everyone who sees the member is told `memberChanged`.
#[utoipa::path(
    patch,
    path = path::OWN_MEMBER,
    operation_id = "changeOwnMember",
    tag = "Members",
    params(InConference, ForUser),
    request_body = ChangeRequest,
    responses((status = 200, description = "The member as it is now.", body = ChangeAnswer), ChangeRefusals),
    security(("memberToken" = []), ("appKey" = [])),
)]
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
