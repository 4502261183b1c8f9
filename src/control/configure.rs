//! Changing the settings of a conference that goes on.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::patch;
use serde::Deserialize;

use super::auth::Insider;
use super::body::{Json, Object, OwnData, Password, json};
use super::conferences::{LimitsRequest, keep};
use super::place::InConference;
use super::{Answer, Control, path};
use crate::domain::conference::Actor;
use crate::domain::password::PasswordHash;
use crate::domain::{Command, Conference, Refusal, Role};
use crate::events::views::ConferenceView;

pub(super) fn routes() -> Router<Control> {
    Router::new().route(path::CONFERENCE, patch(configure))
}

/// What is absent or null stays as it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfigureRequest {
    /// Empty takes the password away.
    password: Option<Password>,
    /// Places that are not named stay as they are. They may be fewer than are taken: nobody is removed.
    limits: Option<Object<LimitsRequest>>,
    mem_default_role: Option<Role>,
    /// Replaces the whole object.
    metadata: Option<OwnData>,
}

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
    keep(control, password).await
}
