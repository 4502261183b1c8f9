//! Which web pages may call the API.
//!
//! A browser sends nothing of its own accord that would let anybody in: there are no cookies, and every credential is put
//! into a request by the page that holds it. So pages of every origin may call by default, and the answer is the same on
//! every route; that the app key does not belong into a page is for the page's makers to know. Preflights carry no
//! credential and are answered before anything is counted or checked.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tower::{Layer as _, ServiceExt as _};
use tower_http::cors::AllowOrigin;
pub(super) use tower_http::cors::CorsLayer;

use super::{Control, idempotency, method, observe};

/// How long a browser may remember the answer to a preflight: the longest that any of them does.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(7200);

/// Whose pages may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// Everybody's.
    Any,
    /// Those of these origins, each `https://host[:port]`; none where the list is empty.
    Only(Vec<String>),
}

pub(super) fn layer(origins: &CorsOrigins) -> CorsLayer {
    let origin = match origins {
        CorsOrigins::Any => AllowOrigin::any(),
        CorsOrigins::Only(origins) => {
            AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
        }
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            idempotency::HEADER,
            method::OVERRIDE,
            observe::REQUEST_ID,
        ])
        .expose_headers([RETRY_AFTER, LOCATION, observe::REQUEST_ID])
        .max_age(PREFLIGHT_MAX_AGE)
}

/// Answers preflights and marks answers by the origins that may call now.
pub(super) async fn cors(State(control): State<Control>, request: Request, next: Next) -> Response {
    let layer = control.cors.read().clone();
    layer.layer(next).oneshot(request).await.unwrap_or_else(|never: Infallible| match never {})
}
