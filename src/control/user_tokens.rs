//! User tokens for backends that do not mint them themselves.

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::AppCaller;
use super::body::{Json, json};
use super::document::{BODY, CALLER, refusals};
use super::{Answer, Control, expiry, path, unsigned};
use crate::clock;
use crate::domain::ticket::{USER_TOKEN_TTL_SECS_MAX, UserClaims, mint_user_token};
use crate::domain::{Reason, UserName};
use crate::events::schema;
use crate::events::views::rfc3339;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(mint))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = UserTokenRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MintRequest {
    #[schema(value_type = schema::User)]
    user: UserName,
    /// How long the token lives; an hour where it is absent.
    #[schema(minimum = 1, maximum = 86_400, example = 3600)]
    ttl_seconds: Option<u64>,
    /// What the user may do beyond joining.
    #[serde(default)]
    can: Vec<Right>,
}

/// What a user token may allow beyond being a user.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = UserRight)]
#[serde(rename_all = "lowercase")]
enum Right {
    /// Create conferences.
    Create,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UserToken)]
#[serde(rename_all = "camelCase")]
struct MintAnswer {
    /// For `Authorization: Bearer`.
    #[schema(example = "eyJhbGciOiJIUzI1NiJ9.eyJ0eXAiOiJ1c2VyIn0.c2ln")]
    token: String,
    #[schema(value_type = schema::Time)]
    expires_at: String,
}

refusals!(MintRefusals: BODY, CALLER);

/// Make a user token
///
/// For backends that do not sign the JWT themselves. The token says that its holder is this user of the app.
#[utoipa::path(
    post,
    path = path::USER_TOKENS,
    operation_id = "createUserToken",
    tag = "Users",
    request_body = MintRequest,
    responses((status = 200, description = "The token.", body = MintAnswer), MintRefusals),
    security(("appKey" = [])),
)]
async fn mint(
    axum::extract::State(control): axum::extract::State<Control>,
    AppCaller(app): AppCaller,
    Json(request): Json<MintRequest>,
) -> Answer<Response> {
    let ttl_secs = request.ttl_seconds.unwrap_or(control.settings.user_token_ttl_secs);
    if !(1..=USER_TOKEN_TTL_SECS_MAX).contains(&ttl_secs) {
        let detail = format!("ttlSeconds: a user token lives 1 to {USER_TOKEN_TTL_SECS_MAX} seconds");
        return Err(Reason::InvalidRequest.because(detail).into());
    }
    let expires_at = expiry(clock::now(), ttl_secs);
    let can_create = request.can.contains(&Right::Create);
    let claims = UserClaims { app: app.clone(), user: request.user, can_create };
    let token = control.apps.with_secrets(&app, |secret| mint_user_token(secret, &claims, expires_at));
    let token = token.ok_or_else(unsigned)?;
    Ok(json(StatusCode::OK, &MintAnswer { token, expires_at: rfc3339(expires_at) }))
}
