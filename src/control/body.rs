//! Bodies and queries into checked values, and answers into JSON.
//!
//! A body is read whole, within a limit and a time, and is one JSON object whatever the content type says. What cannot
//! be read is 400; what can be read and says something wrong is 422 and names the field. Values are never repeated in a
//! refusal, because a password may be among them.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::domain::Reason;
use crate::domain::limits::{EXT_BYTES_MAX, JSON_DEPTH_MAX, NICK_NAME_CHARS_MAX, json_depth};
use crate::domain::password::PASSWORD_CHARS_MAX;

/// Largest body that is read (contract, section Control API).
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How much is read beyond that limit before the connection is given up: most clients that send too much get the answer.
const DROPPED_BYTES_MAX: usize = 1024 * 1024;
/// How long a body may take to arrive: 64 KiB in ten seconds is slower than any phone network that can carry media.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest field path that a refusal repeats: a field's name comes from the client.
const PATH_CHARS_SHOWN_MAX: usize = 128;

/// A body that must be there.
pub(super) struct Json<T>(pub(super) T);

/// A body that may be left out where every field may be: nothing at all counts as `{}`.
pub(super) struct OptionalJson<T>(pub(super) T);

/// What a whole body says.
pub(super) trait FromBody: Sized {
    fn from_body(body: &[u8]) -> Result<Self, Problem>;
}

impl<T: DeserializeOwned> FromBody for Json<T> {
    fn from_body(body: &[u8]) -> Result<Self, Problem> {
        parse(body).map(Self)
    }
}

impl<T: DeserializeOwned> FromBody for OptionalJson<T> {
    fn from_body(body: &[u8]) -> Result<Self, Problem> {
        parse(if body.is_empty() { b"{}" } else { body }).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        Self::from_body(&read(request.into_body()).await?)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        Self::from_body(&read(request.into_body()).await?)
    }
}

/// The whole body. Memory follows what arrived, not what was announced.
pub(super) async fn read(body: Body) -> Result<BytesMut, Problem> {
    match tokio::time::timeout(BODY_READ_TIMEOUT, collect(body)).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err(Reason::PayloadTooLarge
            .because(format!("the body is larger than {BODY_BYTES_MAX} bytes"))
            .at("request_body_bytes_max")
            .into()),
        Ok(Err(_)) => Err(Problem::malformed("the body broke off")),
        Err(_) => {
            let secs = BODY_READ_TIMEOUT.as_secs();
            Err(Problem::timed_out(format!("the body did not arrive within {secs} seconds")))
        }
    }
}

/// The body, or `None` where it is too large. Some of what is too much is read and dropped, because a socket that is
/// closed over unread bytes takes the answer with it.
async fn collect(mut body: Body) -> Result<Option<BytesMut>, axum::Error> {
    let mut collected = BytesMut::new();
    let mut dropped = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame?.into_data() else { continue };
        if dropped == 0 && collected.len() + data.len() <= BODY_BYTES_MAX {
            collected.extend_from_slice(&data);
        } else {
            dropped += data.len();
            if dropped > DROPPED_BYTES_MAX {
                return Ok(None);
            }
        }
    }
    Ok((dropped == 0).then_some(collected))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Err(Problem::malformed("the body is empty; a JSON object is needed"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let Object(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| refusal(&error))?;
    json.end().map_err(|error| Problem::malformed(format!("the body is not JSON: {error}")))?;
    Ok(value)
}

fn refusal(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let text = error.inner().to_string();
    if error.inner().classify() != Category::Data {
        return Problem::malformed(format!("the body is not JSON: {text}"));
    }
    let rule = without_value(without_position(&text));
    let path = error.path().to_string();
    let detail = if path == "." {
        format!("the body: {rule}")
    } else {
        format!("{}: {rule}", path.chars().take(PATH_CHARS_SHOWN_MAX).collect::<String>())
    };
    Reason::InvalidRequest.because(detail).into()
}

/// Drops the " at line 1 column 7" that names no field.
fn without_position(text: &str) -> &str {
    text.rfind(" at line ").and_then(|at| text.get(..at)).unwrap_or(text)
}

/// Keeps "expected …" of a message that repeats what was given instead.
fn without_value(text: &str) -> String {
    let repeats = ["invalid type: ", "invalid value: ", "unknown variant "];
    if repeats.iter().any(|start| text.starts_with(start)) {
        let expected = text.rfind(", expected ").and_then(|at| text.get(at + 2..));
        return expected.unwrap_or("is not of the type that is needed here").to_owned();
    }
    if text.starts_with("unknown field ") {
        return "no such field".to_owned();
    }
    text.to_owned()
}

/// A JSON object. Serde's own structs would take an array of their fields as well.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// Tells a field that is null, which takes something away, from one that is absent, which changes nothing.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A conference password as it is typed.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Password(pub(super) String);

impl TryFrom<String> for Password {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.chars().count() <= PASSWORD_CHARS_MAX {
            Ok(Self(text))
        } else {
            Err(format!("a password has at most {PASSWORD_CHARS_MAX} characters"))
        }
    }
}

/// What others see beside the user name.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct NickName(pub(super) String);

impl TryFrom<String> for NickName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.chars().count() <= NICK_NAME_CHARS_MAX && !text.chars().any(char::is_control) {
            Ok(Self(text))
        } else {
            Err(format!("a nick name has at most {NICK_NAME_CHARS_MAX} characters and no control characters"))
        }
    }
}

/// The app's own data, kept and shown as it is.
#[derive(Default, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub(super) struct OwnData(pub(super) Map<String, Value>);

impl TryFrom<Map<String, Value>> for OwnData {
    type Error = String;

    fn try_from(map: Map<String, Value>) -> Result<Self, String> {
        if map.values().any(|value| json_depth(value) >= JSON_DEPTH_MAX) {
            return Err(format!("objects and arrays nest at most {JSON_DEPTH_MAX} deep"));
        }
        let bytes = serde_json::to_vec(&map).map_or(usize::MAX, |text| text.len());
        if bytes <= EXT_BYTES_MAX {
            Ok(Self(map))
        } else {
            Err(format!("the object has more than {EXT_BYTES_MAX} bytes of JSON"))
        }
    }
}

/// 0 or 1, as emedia clients say no and yes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub(super) struct Flag(pub(super) bool);

impl TryFrom<u8> for Flag {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self(false)),
            1 => Ok(Self(true)),
            _ => Err("is 0 or 1"),
        }
    }
}

/// The query string. Parameters that the call does not know are passed over.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let text = rejection.body_text();
                let rule = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                Err(Reason::InvalidRequest.because(format!("the query: {}", without_value(rule))).into())
            }
        }
    }
}

/// `answer` as JSON with `status`.
pub(super) fn json<T: Serialize>(status: StatusCode, answer: &T) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => {
            let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            (status, kind, body).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            Problem::internal().into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Asked {
        password: Option<Password>,
        #[serde(default)]
        voff: Flag,
        #[serde(default)]
        limits: Object<Places>,
        ext: Option<OwnData>,
    }

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Places {
        max_talker_count: Option<u32>,
    }

    fn refused(body: &str) -> (u16, String) {
        let problem = parse::<Asked>(body.as_bytes()).err().unwrap_or_else(|| panic!("{body} was taken"));
        (problem.status().as_u16(), problem.detail().to_owned())
    }

    #[test]
    fn a_good_body_is_taken() {
        let asked: Asked =
            parse(br#"{"password":"pw","voff":1,"limits":{"maxTalkerCount":3},"ext":{"a":1}}"#).unwrap();
        assert_eq!(asked.password.unwrap().0, "pw");
        assert!(asked.voff.0);
        assert_eq!(asked.limits.0.max_talker_count, Some(3));
        assert_eq!(asked.ext.unwrap().0.len(), 1);
        assert!(parse::<Asked>(br#" {"password":null} "#).unwrap().password.is_none());
    }

    #[tokio::test]
    async fn a_body_may_have_so_many_bytes_and_no_more() {
        let read = async |bytes: usize| read(Body::from(vec![b' '; bytes])).await.map(|body| body.len());
        assert_eq!(read(BODY_BYTES_MAX).await.unwrap(), BODY_BYTES_MAX);
        assert_eq!(read(BODY_BYTES_MAX + 1).await.unwrap_err().status(), 413);
        assert_eq!(read(BODY_BYTES_MAX + DROPPED_BYTES_MAX + 1).await.unwrap_err().status(), 413);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_waited_for_only_so_long() {
        /// A body of which nothing ever comes.
        struct Never;

        impl axum::body::HttpBody for Never {
            type Data = axum::body::Bytes;
            type Error = std::convert::Infallible;

            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
                std::task::Poll::Pending
            }
        }

        assert_eq!(read(Body::new(Never)).await.unwrap_err().status(), 408);
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        for body in ["", "{", "xyz", "{} x", "{\"password\":}", "\u{0}", "{\"password\":\"\\ud800\"}"] {
            assert_eq!(refused(body).0, 400, "{body}");
        }
        let deep = format!("{{\"ext\":{{\"a\":{}{}}}}}", "[".repeat(20_000), "]".repeat(20_000));
        assert_eq!(refused(&deep).0, 400);
    }

    #[test]
    fn what_is_wrong_is_named_and_its_value_is_not_repeated() {
        for (body, field) in [
            (r#"{"surprise":1}"#, "surprise: no such field"),
            (r#"{"password":8675309}"#, "password: expected a string"),
            (r#"{"password":{"secret":1}}"#, "password: expected a string"),
            (r#"{"voff":2}"#, "voff: is 0 or 1"),
            (r#"{"voff":"hunter2, expected"}"#, "voff: expected u8"),
            (r#"{"limits":{"maxTalkerCount":"many"}}"#, "limits.maxTalkerCount: expected u32"),
            (r#"{"limits":{"maxTalkers":1}}"#, "limits.maxTalkers: no such field"),
            (r#"{"limits":[3]}"#, "limits: expected an object"),
            ("[]", "the body: expected an object"),
            ("null", "the body: expected an object"),
            ("\"hunter2\"", "the body: expected an object"),
        ] {
            assert_eq!(refused(body), (422, field.to_owned()), "{body}");
        }
        let long = format!("{{\"password\":\"{}\"}}", "p".repeat(129));
        assert_eq!(refused(&long), (422, "password: a password has at most 128 characters".to_owned()));
        let large = format!("{{\"ext\":{{\"a\":\"{}\"}}}}", "x".repeat(2048));
        assert_eq!(refused(&large), (422, "ext: the object has more than 2048 bytes of JSON".to_owned()));
    }
}
