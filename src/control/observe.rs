//! Around every request: its id, its span, its log line, and a net for panics.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderName, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::problem::Problem;
use super::{Control, path, random};
use crate::domain::Reason;

/// Longest request id that is taken over from a caller: a UUID with a prefix fits.
const REQUEST_ID_CHARS_MAX: usize = 64;
/// What stands for the route where none matched: a path that clients made up must not get into logs.
const NO_ROUTE: &str = "(none)";

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Runs the request inside its span. The path's template is logged and never the path or the query, which may carry
/// tokens; so are the method, the status and the time taken.
pub(super) async fn observe(State(control): State<Control>, request: Request, next: Next) -> Response {
    let id = given_id(request.headers()).unwrap_or_else(fresh_id);
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, template);
    let span = tracing::info_span!("request", id, method = %shown(request.method()), route);
    let shown = bearer_of(request.headers());
    let started = Instant::now();
    let mut response = answer_or_fault(next.run(request)).instrument(span.clone()).await;
    let ms = started.elapsed().as_millis();
    let status = response.status().as_u16();
    let reason = response.extensions().get::<Reason>().copied();
    // Whoever comes while nobody is let in could fill the log; a drain has its own line, and metrics count what was refused.
    let is_turned_away = matches!(reason, Some(Reason::Draining | Reason::Overloaded));
    span.in_scope(|| {
        if response.status().is_server_error() && !is_turned_away {
            tracing::warn!(status, ms, "the request failed");
        } else {
            tracing::debug!(status, ms, "answered");
        }
    });
    control.metrics.http_answered(route, status.into());
    if let Some(reason) = reason {
        control.metrics.refused(reason);
        if let Some(app) = control.app_of(&shown) {
            control.overview.refused(&app);
        }
    }
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        if let Some(limit) = problem.limit() {
            control.metrics.limit_reached(limit);
        }
        *response.body_mut() = problem.body(Some(&id)).into();
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    // Answers carry tokens: no cache may keep them.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The headers that say who asks.
fn bearer_of(headers: &HeaderMap) -> HeaderMap {
    headers.get_all(AUTHORIZATION).iter().map(|value| (AUTHORIZATION, value.clone())).collect()
}

/// The path as it stands in the code.
fn template(matched: &MatchedPath) -> &'static str {
    path::ALL.iter().copied().find(|path| *path == matched.as_str()).unwrap_or(NO_ROUTE)
}

/// A method that nobody defined has a name that a client made up.
fn shown(method: &axum::http::Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    }
}

fn given_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let valid = !id.is_empty() && id.len() <= REQUEST_ID_CHARS_MAX && id.bytes().all(plain);
    valid.then(|| id.to_owned())
}

fn fresh_id() -> String {
    let bits = random::<8>().map(u64::from_be_bytes).unwrap_or_default();
    format!("{bits:016x}")
}

/// A panic of a handler costs its own request and no other on the connection.
async fn answer_or_fault(answer: impl Future<Output = Response>) -> Response {
    let mut answer = Box::pin(answer);
    let polled = std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
            Ok(Poll::Ready(response)) => Poll::Ready(Some(response)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    });
    polled.await.unwrap_or_else(|| {
        tracing::error!("a handler panicked");
        Problem::internal().into_response()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_answer() {
        let response = answer_or_fault(async { panic!("on purpose") }).await;
        assert_eq!(response.status(), 500);
        assert_eq!(answer_or_fault(async { "fine".into_response() }).await.status(), 200);
    }

    #[test]
    fn only_plain_request_ids_are_taken_over() {
        let id = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(text).unwrap());
            given_id(&headers)
        };
        assert_eq!(id("req-1.2_3"), Some("req-1.2_3".to_owned()));
        for bad in ["", "a b", "a\"b", &"x".repeat(65)] {
            assert_eq!(id(bad), None, "{bad}");
        }
        assert_eq!(given_id(&HeaderMap::new()), None);
    }
}
