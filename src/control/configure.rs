//! Changing the settings of a conference that goes on.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Insider;
use super::body::{Json, Object, OwnData, Password, json};
use super::conferences::{LimitsRequest, keep};
use super::document::{BODY, IN_CONFERENCE, INSIDER, refusals};
use super::place::InConference;
use super::{Answer, Control, path, random};
use crate::domain::conference::Actor;
use crate::domain::password::PasswordHash;
use crate::domain::{Command, Conference, Refusal, Role};
use crate::events::schema;
use crate::events::views::ConferenceView;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(configure))
}

/// What is absent or null stays as it is.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChangeConferenceRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfigureRequest {
    /// Empty takes the password away.
    #[schema(value_type = Option<schema::Password>)]
    password: Option<Password>,
    /// Places that are not named stay as they are. They may be fewer than are taken: nobody is removed.
    #[schema(value_type = Option<LimitsRequest>)]
    limits: Option<Object<LimitsRequest>>,
    /// The highest role that a password admits to.
    #[schema(value_type = Option<schema::RoleNumber>)]
    mem_default_role: Option<Role>,
    /// Replaces the whole object.
    #[schema(value_type = Option<schema::AppData>)]
    metadata: Option<OwnData>,
}

refusals!(ConfigureRefusals: BODY, INSIDER, IN_CONFERENCE);

/// Change a conference
///
/// The app key or an ADMIN inside. Everyone is told `conferenceChanged`. Members that are inside stay, whatever is changed.
#[utoipa::path(
    patch,
    path = path::CONFERENCE,
    operation_id = "changeConference",
    tag = "Conferences",
    params(InConference),
    request_body = ConfigureRequest,
    responses((status = 200, description = "The conference as it is now.", body = ConferenceView), ConfigureRefusals),
    security(("appKey" = []), ("memberToken" = [])),
)]
async fn configure(
    State(control): State<Control>,
    caller: Insider,
    InConference(id): InConference,
    Json(request): Json<ConfigureRequest>,
) -> Answer<Response> {
    let limits = request.limits.unwrap_or_default().0.change()?;
    let conference = control.reach(&caller, &id).await?;
    let by = match &caller {
        Insider::App(_) => Actor::App,
        Insider::Member(_) => Actor::Member(caller.subject(None)?),
    };
    // Asked before the command is, so that nobody else can make the gateway hash.
    conference.require_admin(&by)?;
    let password = match request.password {
        Some(Password(password)) => Some(hash(&control, &conference, &password).await?),
        None => None,
    };
    let command = Command::Configure {
        by,
        password,
        limits,
        mem_default_role: request.mem_default_role,
        metadata: request.metadata.map(|metadata| metadata.0),
    };
    let done = control.execute("configure", &id, command).await?;
    Ok(json(StatusCode::OK, &ConferenceView::new(&done.conference, caller.reader())))
}

/// The hash to keep for `password`: the one that stands, where the password is the same.
async fn hash(
    control: &Control,
    conference: &Conference,
    password: &str,
) -> Result<Option<PasswordHash>, Refusal> {
    if let Some(stands) = &conference.settings.password
        && !password.is_empty()
        && control.passwords.matches(stands, password).await?
    {
        return Ok(Some(stands.clone()));
    }
    keep(control, password, random()?).await
}
