//! User tokens for backends that do not mint them themselves.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde::{Deserialize, Serialize};

use super::auth::AppCaller;
use super::body::{Json, json};
use super::{Answer, Control, expiry, path, unsigned};
use crate::clock;
use crate::domain::ticket::{USER_TOKEN_TTL_SECS_MAX, UserClaims, mint_user_token};
use crate::domain::{Reason, UserName};
use crate::events::views::rfc3339;

pub(super) fn routes() -> Router<Control> {
    Router::new().route(path::USER_TOKENS, post(mint))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MintRequest {
    user: UserName,
    ttl_seconds: Option<u64>,
    #[serde(default)]
    can: Vec<Right>,
}

/// What a user token may allow beyond being a user.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Right {
    /// Create conferences.
    Create,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MintAnswer {
    token: String,
    expires_at: String,
}

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
