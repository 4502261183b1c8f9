//! What operators' tools ask, on a listener of its own: alive, ready, metrics.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use subtle::ConstantTimeEq as _;

use super::body::json;
use super::problem::Problem;
use crate::domain::Reason;
use crate::secret::Secret;
use crate::telemetry::{Metrics, OPENMETRICS_CONTENT_TYPE};

/// Who may read the metrics.
#[derive(Debug, Clone)]
pub enum MetricsAccess {
    /// Whoever reaches the listener, which only this machine does.
    Open,
    /// Whoever brings this token as bearer.
    Token(Secret),
    /// Nobody: the listener can be reached from elsewhere, and no token is set.
    Closed,
}

impl MetricsAccess {
    /// Metrics are open on loopback only; everywhere else, and wherever a token is set, it has to be shown.
    pub fn new(loopback: bool, token: Option<Secret>) -> Self {
        match token {
            Some(token) => Self::Token(token),
            None if loopback => Self::Open,
            None => Self::Closed,
        }
    }
}

/// One thing that keeps the gateway from serving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unready {
    /// Which part, such as `store`.
    pub part: &'static str,
    /// Why, for a person. Holds no secret.
    pub why: String,
}

/// Tells what keeps the gateway from serving; nothing if it is ready. Must answer at once.
pub type Readiness = Arc<dyn Fn() -> Vec<Unready> + Send + Sync>;

/// What the ops listener works with.
#[derive(Clone)]
pub struct Ops {
    /// Whether the gateway serves.
    pub readiness: Readiness,
    /// All numbers.
    pub metrics: Metrics,
    /// Who may read them.
    pub access: MetricsAccess,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<Unready>,
}

/// The routes of the ops listener.
pub fn router(ops: Ops) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(ops)
}

/// The process runs and answers; nothing is said about what it depends on.
async fn healthz() -> Response {
    probe(StatusCode::OK, &Health { status: "ok", reasons: Vec::new() })
}

async fn readyz(State(ops): State<Ops>) -> Response {
    let reasons = (ops.readiness)();
    if reasons.is_empty() {
        probe(StatusCode::OK, &Health { status: "ready", reasons })
    } else {
        probe(StatusCode::SERVICE_UNAVAILABLE, &Health { status: "unready", reasons })
    }
}

fn probe(status: StatusCode, health: &Health) -> Response {
    let mut response = json(status, health);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn metrics(State(ops): State<Ops>, headers: HeaderMap) -> Result<Response, Problem> {
    if !ops.access.allows(&headers) {
        ops.metrics.authentication_failed("ops_token");
        let detail = "metrics take the ops token (TIDEGATE_OPS_TOKEN) as Authorization: Bearer";
        return Err(Reason::Unauthenticated.because(detail).into());
    }
    let text = ops.metrics.encode().map_err(|_| Problem::internal())?;
    Ok(([(CONTENT_TYPE, OPENMETRICS_CONTENT_TYPE)], text).into_response())
}

impl MetricsAccess {
    fn allows(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Open => true,
            Self::Closed => false,
            Self::Token(token) => headers
                .get(AUTHORIZATION)
                .and_then(|value| value.to_str().ok()?.split_once(' '))
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
                .is_some_and(|(_, shown)| shown.trim().as_bytes().ct_eq(token.expose().as_bytes()).into()),
        }
    }
}

async fn no_such_route() -> Problem {
    Reason::NotFound.because("this listener has /healthz, /readyz and /metrics").into()
}

async fn no_such_method(method: Method) -> Problem {
    Problem::method_not_allowed(&method)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(ops: &Ops, path: &str, bearer: Option<&str>) -> (u16, HeaderMap, String) {
        let mut request = Request::get(path);
        if let Some(bearer) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {bearer}"));
        }
        let request = request.body(Body::empty()).unwrap();
        let (parts, body) = router(ops.clone()).oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    fn ops(access: MetricsAccess, unready: Vec<Unready>) -> Ops {
        Ops { readiness: Arc::new(move || unready.clone()), metrics: Metrics::new(), access }
    }

    #[tokio::test]
    async fn probes_tell_whether_and_why() {
        let ready = ops(MetricsAccess::Closed, vec![]);
        assert_eq!(ask(&ready, "/healthz", None).await.0, 200);
        assert_eq!(ask(&ready, "/readyz", None).await.0, 200);
        let unready = vec![Unready { part: "store", why: "the disk is full".to_owned() }];
        let unready = ops(MetricsAccess::Closed, unready);
        assert_eq!(ask(&unready, "/healthz", None).await.0, 200);
        let (status, headers, body) = ask(&unready, "/readyz", None).await;
        assert_eq!((status, &headers[CONTENT_TYPE]), (503, &HeaderValue::from_static("application/json")));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            body,
            json!({"status": "unready", "reasons": [{"part": "store", "why": "the disk is full"}]})
        );
        assert_eq!(ask(&ready, "/nothing", None).await.0, 404);
    }

    #[tokio::test]
    async fn metrics_are_open_on_loopback_and_take_the_token_elsewhere() {
        let token = || Some(Secret::new("an-ops-token-of-some-length".to_owned()));
        for (loopback, token, bearer, expected) in [
            (true, None, None, 200),
            (true, token(), None, 401),
            (false, None, None, 401),
            (false, None, Some(""), 401),
            (false, token(), None, 401),
            (false, token(), Some("an-ops-token-of-some-lengtH"), 401),
            (false, token(), Some("an-ops-token-of-some-length"), 200),
        ] {
            let ops = ops(MetricsAccess::new(loopback, token), vec![]);
            let (status, headers, body) = ask(&ops, "/metrics", bearer).await;
            assert_eq!(status, expected, "loopback {loopback}, bearer {bearer:?}");
            if status == 200 {
                assert_eq!(headers[CONTENT_TYPE], OPENMETRICS_CONTENT_TYPE);
                assert!(body.ends_with("# EOF\n"), "{body}");
            } else {
                assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
            }
        }
    }
}
