//! `Idempotency-Key`: a request that is sent again takes effect once.
//!
//! A key belongs to an app, a caller, a route and a conference, so that nobody meets the keys of others. The command's
//! first event carries fingerprints of the key and of the body; a repetition finds them in the conference's state, does
//! nothing, and is answered anew from what stands now, with fresh tokens. A refused request leaves nothing behind and is
//! judged afresh.

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::body::{FromBody, read};
use super::problem::Problem;
use super::{Control, path};
use crate::domain::conference::{Admission, Subject};
use crate::domain::mark::{CreationMark, Drawn, Fingerprint};
use crate::domain::password::PasswordHash;
use crate::domain::{AppId, Mark, Reason, Refusal};

/// The name of the header, in lower case as HTTP libraries keep it.
pub(super) const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest key: what others take, and any UUID with a prefix.
const KEY_CHARS_MAX: usize = 255;
/// The field that stands outside of the comparison of bodies: a password is checked for itself, and a quick fingerprint
/// of it would undo the slow hash that it is kept as.
const PASSWORD_FIELD: &str = "password";

/// A key and the fingerprint of the body that it came with.
pub(super) struct IdempotencyKey {
    text: String,
    body: Fingerprint,
}

/// The header, as the API's document tells of it.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described; the request's headers are read by hand")]
pub(super) struct KeyHeader {
    /// Makes a retry take effect once: any text of your own that is new for each new request, such as a UUID.
    #[param(rename = "Idempotency-Key", value_type = Option<String>, pattern = "^[!-~]{1,255}$", nullable = false)]
    idempotency_key: Option<String>,
}

/// A body, and the key where the request has one.
pub(super) struct Keyed<B> {
    pub(super) body: B,
    pub(super) key: Option<IdempotencyKey>,
}

impl<B: FromBody> FromRequest<Control> for Keyed<B> {
    type Rejection = Problem;

    async fn from_request(request: Request, control: &Control) -> Result<Self, Problem> {
        let text = given(request.headers())?;
        let bytes = read(request.into_body()).await?;
        let body = B::from_body(&bytes)?;
        let key = text.map(|text| {
            let body = control.keys.marks.body(&compared(&bytes));
            IdempotencyKey { text, body }
        });
        Ok(Self { body, key })
    }
}

fn given(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bytes = value.as_bytes();
    let valid = (1..=KEY_CHARS_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    match (value.to_str(), values.next()) {
        (Ok(text), None) if valid => Ok(Some(text.to_owned())),
        _ => Err(Reason::InvalidRequest
            .because(format!("Idempotency-Key: one key of 1 to {KEY_CHARS_MAX} visible ASCII characters"))),
    }
}

/// What of a body two requests with one key must have in common: all of it but the password, however it is spelt.
fn compared(body: &[u8]) -> Vec<u8> {
    let mut fields: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    fields.remove(PASSWORD_FIELD);
    serde_json::to_vec(&fields).unwrap_or_default()
}

impl IdempotencyKey {
    /// The mark of a request of `caller` for `route`.
    pub(super) fn mark(&self, control: &Control, caller: &str, route: &str) -> Mark {
        control.keys.marks.mark(caller, route, &self.text, self.body)
    }

    /// What the creation of a conference by `caller` draws in the stead of random bits.
    pub(super) fn draw(&self, control: &Control, app: &AppId, caller: &str) -> Drawn {
        control.keys.marks.draw(app, caller, &format!("{} {}", path::CONFERENCES, self.text))
    }

    /// The mark of that creation.
    pub(super) fn creation(&self, password: Option<PasswordHash>) -> CreationMark {
        CreationMark { body: self.body, password }
    }
}

/// Who joins, as the scope of a key. A guest has none: many show the same ticket, and one must not get what another did.
pub(super) fn joining(admission: &Admission) -> Option<String> {
    match admission {
        Admission::Ticket { ticket, shown_by } => {
            ticket.user.as_ref().or(shown_by.as_ref()).map(|user| format!("user:{user}"))
        }
        Admission::Password { user, .. } | Admission::Signature { user } => Some(format!("user:{user}")),
        Admission::App { user } => Some(format!("app:{user}")),
    }
}

/// For whom something is asked, as the scope of a key.
pub(super) fn acting(subject: &Subject) -> String {
    match subject {
        Subject::Member { id, .. } => format!("member:{id}"),
        Subject::User(user) => format!("app:{user}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        values.iter().map(|value| (HEADER, axum::http::HeaderValue::from_bytes(value).unwrap())).collect()
    }

    #[test]
    fn a_key_is_short_and_visible() {
        assert_eq!(given(&headers(&[])), Ok(None));
        assert_eq!(given(&headers(&[b"!key~"])), Ok(Some("!key~".to_owned())));
        assert!(given(&headers(&[&[b'k'; 255]])).is_ok());
        for bad in [&[&b""[..]][..], &[b"a b"], &[b"a\tb"], &["é".as_bytes()], &[&[b'k'; 256]], &[b"a", b"a"]]
        {
            let refusal = given(&headers(bad)).unwrap_err();
            assert_eq!(refusal.reason, Reason::InvalidRequest);
            assert!(refusal.detail.starts_with("Idempotency-Key: "), "{refusal}");
        }
    }

    #[test]
    fn bodies_are_compared_by_what_they_say() {
        assert_eq!(compared(br#"{"a":1,"b":{"d":2,"c":3}}"#), compared(br#" {"b":{"c":3,"d":2}, "a":1}"#));
        assert_eq!(compared(b""), compared(b"{}"));
        assert_eq!(compared(br#"{"password":"x"}"#), compared(br#"{"password":"y"}"#));
        assert_ne!(compared(br#"{"a":1}"#), compared(br#"{"a":2}"#));
        assert_ne!(compared(br#"{"a":{"password":"x"}}"#), compared(br#"{"a":{"password":"y"}}"#));
    }
}
