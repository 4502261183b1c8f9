//! Refusals as `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::{Reason, Refusal};

/// Seconds after which a client may try again what was refused for a passing reason. Limits count per second, and a
/// restart or a store's hiccup takes about as long.
const RETRY_AFTER_SECS: u64 = 1;
/// Seconds after which a client may try again while the gateway shuts down: its successor needs a moment to start.
const RETRY_AFTER_DRAINING_SECS: u64 = 5;
/// The reason word of a fault of the gateway itself, which is no refusal and so no [`Reason`].
const INTERNAL_WORD: &str = "internal_error";
/// Its code: clients that know the family of -503 try again later.
const INTERNAL_CODE: i32 = -503;

/// A refusal with its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    word: &'static str,
    code: i32,
    title: &'static str,
    detail: Cow<'static, str>,
    /// In seconds.
    retry_after: Option<u64>,
    /// `None` for a fault, which is no refusal.
    reason: Option<Reason>,
    limit: Option<&'static str>,
}

/// As `Problem` of the API's document has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProblemView<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: i32,
    reason: &'a str,
    /// As the X-Request-Id header says.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    /// A body or query that cannot be read at all, as opposed to one that says something that cannot be.
    pub(super) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, ..Reason::InvalidRequest.because(detail).into() }
    }

    /// The path exists and does not take this method.
    pub(super) fn method_not_allowed(method: &Method) -> Self {
        let detail = if method.as_str().len() <= 16 {
            format!("this path does not take {method}; the Allow header names what it takes")
        } else {
            "this path does not take this method; the Allow header names what it takes".to_owned()
        };
        let refusal = Reason::InvalidRequest.because(detail);
        Self { status: StatusCode::METHOD_NOT_ALLOWED, title: "Method not allowed", ..refusal.into() }
    }

    /// A fault of the gateway itself. Says nothing about it: the log does.
    pub(super) fn internal() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            word: INTERNAL_WORD,
            code: INTERNAL_CODE,
            title: "The gateway failed",
            detail: "this request hit a fault of the gateway; its log names it by the X-Request-Id".into(),
            retry_after: None,
            reason: None,
            limit: None,
        }
    }

    /// A body that took too long to arrive.
    pub(super) fn timed_out(detail: impl Into<Cow<'static, str>>) -> Self {
        let refusal = Reason::InvalidRequest.because(detail);
        Self { status: StatusCode::REQUEST_TIMEOUT, title: "Request timeout", ..refusal.into() }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What is refused, in a few words.
    pub(super) fn title(&self) -> &'static str {
        self.title
    }

    /// The stable word.
    pub(super) fn word(&self) -> &'static str {
        self.word
    }

    /// Why; `None` for a fault of the gateway.
    pub(super) fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// The limit of the gateway's own that was reached.
    pub(super) fn limit(&self) -> Option<&'static str> {
        self.limit
    }

    /// The number that emedia clients know.
    pub(super) fn code(&self) -> i32 {
        self.code
    }

    /// Whether the answer says when to try again.
    pub(super) fn says_when_to_retry(&self) -> bool {
        self.retry_after.is_some()
    }

    /// The document that the answer carries.
    pub(super) fn body(&self, request_id: Option<&str>) -> Vec<u8> {
        let view = ProblemView {
            kind: format!("urn:tidegate:refusal:{}", self.word),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            reason: self.word,
            request_id,
        };
        // Strings and numbers: there is nothing in it that JSON could not hold.
        serde_json::to_vec(&view).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, title) = row(refusal.reason);
        let detail = if refusal.detail.is_empty() { title.into() } else { refusal.detail };
        // Rounded up: whoever comes back then is let in.
        let told = refusal.wait.map(|wait| wait.as_millis().div_ceil(1000).max(1));
        let retry_after = match refusal.reason {
            _ if told.is_some() => told.and_then(|secs| u64::try_from(secs).ok()),
            Reason::Draining => Some(RETRY_AFTER_DRAINING_SECS),
            Reason::RateLimited | Reason::Overloaded | Reason::StoreUnavailable => Some(RETRY_AFTER_SECS),
            _ => None,
        };
        let reason = refusal.reason;
        Self {
            status,
            word: reason.word(),
            code: reason.code(),
            title,
            detail,
            retry_after,
            reason: Some(reason),
            limit: refusal.limit,
        }
    }
}

/// The status and the title of each reason.
fn row(reason: Reason) -> (StatusCode, &'static str) {
    match reason {
        Reason::TicketInvalid => (StatusCode::UNAUTHORIZED, "Invalid ticket"),
        Reason::TicketExpired => (StatusCode::UNAUTHORIZED, "Expired ticket"),
        Reason::Unauthenticated => (StatusCode::UNAUTHORIZED, "Not authenticated"),
        Reason::WrongPassword => (StatusCode::FORBIDDEN, "Wrong password"),
        Reason::ClientNotSupported => (StatusCode::FORBIDDEN, "Client not supported"),
        Reason::NotAllowed => (StatusCode::FORBIDDEN, "Not allowed"),
        Reason::UrlInvalid => (StatusCode::FORBIDDEN, "Invalid media URL"),
        Reason::UrlExpired => (StatusCode::FORBIDDEN, "Expired media URL"),
        Reason::ConferenceNotFound => (StatusCode::NOT_FOUND, "Conference not found"),
        Reason::StreamNotFound => (StatusCode::NOT_FOUND, "Stream not found"),
        Reason::NotFound => (StatusCode::NOT_FOUND, "Not found"),
        Reason::MemberGone => (StatusCode::GONE, "Member gone"),
        Reason::ConferenceClosed => (StatusCode::GONE, "Conference closed"),
        Reason::InvalidRequest => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid request"),
        Reason::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Payload too large"),
        Reason::MembersFull => (StatusCode::CONFLICT, "No place for another member"),
        Reason::TalkersFull => (StatusCode::CONFLICT, "No place for another talker"),
        Reason::VideosFull => (StatusCode::CONFLICT, "No place for another video"),
        Reason::DesktopsFull => (StatusCode::CONFLICT, "No place for another desktop"),
        Reason::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
        Reason::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "Overloaded"),
        Reason::StoreUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "Store unavailable"),
        Reason::Draining => (StatusCode::SERVICE_UNAVAILABLE, "Shutting down"),
    }
}

/// The response carries its [`Reason`] as an extension, for whoever counts refusals.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tidegate\""));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        let mut response = (self.status, headers, self.body(None)).into_response();
        if let Some(reason) = self.reason {
            response.extensions_mut().insert(reason);
        }
        // Whoever knows the request's id writes it into the body.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_follow_the_contract() {
        for (reason, status) in [
            (Reason::TicketInvalid, 401),
            (Reason::TicketExpired, 401),
            (Reason::MemberGone, 410),
            (Reason::ConferenceNotFound, 404),
            (Reason::ConferenceClosed, 410),
            (Reason::WrongPassword, 403),
            (Reason::ClientNotSupported, 403),
            (Reason::NotAllowed, 403),
            (Reason::Unauthenticated, 401),
            (Reason::InvalidRequest, 422),
            (Reason::PayloadTooLarge, 413),
            (Reason::StreamNotFound, 404),
            (Reason::NotFound, 404),
            (Reason::MembersFull, 409),
            (Reason::TalkersFull, 409),
            (Reason::VideosFull, 409),
            (Reason::DesktopsFull, 409),
            (Reason::RateLimited, 429),
            (Reason::Overloaded, 503),
            (Reason::StoreUnavailable, 503),
            (Reason::Draining, 503),
        ] {
            let response = Problem::from(Refusal::from(reason)).into_response();
            assert_eq!(response.status(), status, "{reason:?}");
            let headers = response.headers();
            assert_eq!(headers.contains_key(WWW_AUTHENTICATE), status == 401, "{reason:?}");
            assert_eq!(headers.contains_key(RETRY_AFTER), status == 429 || status == 503, "{reason:?}");
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
        }
    }
}
