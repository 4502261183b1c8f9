//! The OpenAPI document: what is said once for the whole API. The rest of it stands at the handlers.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{AllOfBuilder, ComponentsBuilder, ObjectBuilder, Ref, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Content, ContentBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, RefOr, ResponseBuilder,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::{Control, api, path};
use crate::domain::{Reason, Refusal};

/// Reasons of a call that takes a body. One of a body that cannot be read, with status 400, belongs to them.
pub(super) const BODY: &[Reason] = &[Reason::InvalidRequest, Reason::PayloadTooLarge];
/// Reasons of a call that takes a query.
pub(super) const QUERY: &[Reason] = &[Reason::InvalidRequest];
/// Reasons of a call for the app's backend or a user of it.
pub(super) const CALLER: &[Reason] = &[Reason::Unauthenticated];
/// Reasons of a call that looks at one conference.
pub(super) const IN_CONFERENCE: &[Reason] = &[Reason::ConferenceNotFound, Reason::ConferenceClosed];
/// Reasons of a call for a member, or the backend that acts for one.
pub(super) const INSIDER: &[Reason] =
    &[Reason::Unauthenticated, Reason::NotAllowed, Reason::MemberGone, Reason::NotFound];
/// Reasons of a call for whoever runs a conference.
pub(super) const RUNNER: &[Reason] = &[
    Reason::Unauthenticated,
    Reason::NotAllowed,
    Reason::MemberGone,
    Reason::TicketInvalid,
    Reason::TicketExpired,
];
/// Reasons that any call can meet.
const ANY: &[Reason] = &[Reason::Overloaded, Reason::StoreUnavailable, Reason::Draining];

/// The names of the shared responses.
const MALFORMED: &str = "Malformed";
const TOO_LARGE: &str = "TooLarge";
const TOO_SLOW: &str = "TooSlow";
const FAULT: &str = "Fault";
const UNAVAILABLE: &str = "Unavailable";
const TOO_MANY: &str = "TooMany";
/// A request's id in examples.
const REQUEST_ID_SHOWN: &str = "9f86d081884c7d65";

/// Declares what a call refuses: `refusals!(KickRefusals: BODY, RUNNER, &[Reason::NotFound])`. The name then stands
/// among the `responses(…)` of the call. What every call can meet is added: 429, 500 and 503.
macro_rules! refusals {
    ($name:ident: $($reasons:expr),+ $(,)?) => {
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses()
            -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
                $crate::control::document::responses_of(&[$($reasons),+])
            }
        }
    };
}
pub(super) use refusals;

/// The responses of a call that refuses for `reasons`, one for each status.
pub(super) fn responses_of(reasons: &[&[Reason]]) -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
    let mut by_status = BTreeMap::<u16, Vec<Reason>>::new();
    for reason in reasons.iter().copied().flatten() {
        let of_status = by_status.entry(Problem::from(Refusal::from(*reason)).status().as_u16()).or_default();
        if !of_status.contains(reason) {
            of_status.push(*reason);
        }
    }
    let mut responses = BTreeMap::new();
    let mut share = |status: u16, name: &str| {
        responses.insert(status.to_string(), RefOr::Ref(Ref::from_response_name(name)));
    };
    share(429, TOO_MANY);
    share(500, FAULT);
    share(503, UNAVAILABLE);
    if by_status.remove(&413).is_some() {
        share(400, MALFORMED);
        share(408, TOO_SLOW);
        share(413, TOO_LARGE);
    }
    for (status, reasons) in by_status {
        let problems = reasons.into_iter().map(|reason| Problem::from(Refusal::from(reason))).collect();
        responses.insert(status.to_string(), RefOr::T(problem_response(problems)));
    }
    responses
}

/// The response to an upgrade that is none.
pub(super) struct Unupgradable;

impl utoipa::IntoResponses for Unupgradable {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        BTreeMap::from([("400".to_owned(), RefOr::Ref(Ref::from_response_name(MALFORMED)))])
    }
}

/// The response that is one of `problems`, which have one status.
fn problem_response(problems: Vec<Problem>) -> utoipa::openapi::Response {
    let description: Vec<_> = problems
        .iter()
        .map(|problem| format!("`{}` ({}): {}", problem.word(), problem.code(), meaning(problem)))
        .collect();
    let examples = problems.iter().map(|problem| {
        let body = serde_json::from_slice(&problem.body(Some(REQUEST_ID_SHOWN))).ok();
        (problem.word(), ExampleBuilder::new().summary(problem.title()).value(body).build())
    });
    let words = problems.iter().map(Problem::word);
    let reason = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name("Problem"))
        .item(ObjectBuilder::new().schema_type(Type::Object).property("reason", reason));
    let content: Content =
        ContentBuilder::new().schema(Some(Schema::from(schema))).examples_from_iter(examples).build();
    let mut response = ResponseBuilder::new()
        .description(description.join("\n\n"))
        .content("application/problem+json", content);
    if problems.iter().any(Problem::says_when_to_retry) {
        response = response
            .header("Retry-After", header(Type::Integer, "Seconds after which to try again.", json!(1)));
    }
    if problems.iter().any(|problem| problem.status() == 401) {
        let told = header(Type::String, "Which credential is needed.", json!("Bearer realm=\"tidegate\""));
        response = response.header("WWW-Authenticate", told);
    }
    response.build()
}

/// What a reason means to who gets it, and the way out.
fn meaning(problem: &Problem) -> &'static str {
    match problem.reason() {
        None => "The gateway failed; its log tells more under the `X-Request-Id`.",
        Some(_) if problem.status() == 400 => "What was sent cannot be read at all.",
        Some(_) if problem.status() == 408 => "The body did not arrive in time. Nothing was done.",
        Some(Reason::TicketInvalid) => {
            "The ticket is forged, garbled, or for something else. Ask for a new one."
        }
        Some(Reason::TicketExpired) => "The ticket's time is over. Ask for a new one.",
        Some(Reason::MemberGone) => {
            "The member was kicked, left, or was replaced by a newer self; or a kick stands against letting it in again."
        }
        Some(Reason::ConferenceNotFound) => "No such conference in this app.",
        Some(Reason::ConferenceClosed) => "The conference has ended.",
        Some(Reason::WrongPassword) => "The password does not match.",
        Some(Reason::ClientNotSupported) => "The conference does not take this kind of client.",
        Some(Reason::NotAllowed) => "The credential is good, and its role or right is not enough for this.",
        Some(Reason::Unauthenticated) => "No credential, or one that proves nothing here.",
        Some(Reason::InvalidRequest) => "A field or parameter is wrong; `detail` begins with its name.",
        Some(Reason::PayloadTooLarge) => "The body has more than 64 KiB.",
        Some(Reason::StreamNotFound) => "No such stream in this conference; it may have been deleted.",
        Some(Reason::NotFound) => "What the call names does not exist.",
        Some(Reason::UrlInvalid) => {
            "The media URL is forged, of the wrong direction, or of a stream that was deleted."
        }
        Some(Reason::UrlExpired) => "The media URL's time is over. Ask for a new one.",
        Some(Reason::MembersFull) => "No place is left for another member of role AUDIENCE.",
        Some(Reason::TalkersFull) => "No place is left for another talker.",
        Some(Reason::VideosFull) => "No place is left for another video. Declare the stream with `voff: 1`.",
        Some(Reason::DesktopsFull) => "No place is left for another shared desktop.",
        Some(Reason::RateLimited) => "Too many requests. Try again after `Retry-After`.",
        Some(Reason::Overloaded) => "The gateway is at a limit of its own. Try again after `Retry-After`.",
        Some(Reason::StoreUnavailable) => {
            "The store does not answer; nothing was changed. Try again after `Retry-After`."
        }
        Some(Reason::Draining) => "The gateway is shutting down. Try again after `Retry-After`.",
    }
}

fn header(kind: Type, description: &str, example: Value) -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(kind).examples([example]));
    header.description = Some(description.to_owned());
    header
}

fn problem_schema() -> Schema {
    let text = |description: &str| {
        ObjectBuilder::new().schema_type(Type::String).description(Some(description.to_owned()))
    };
    let number = |description: &str| {
        ObjectBuilder::new().schema_type(Type::Integer).description(Some(description.to_owned()))
    };
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("A refusal (RFC 9457). Programs look at `reason`; people read `detail`."))
        .property("type", text("`urn:tidegate:refusal:<reason>`"))
        .property("title", text("The refusal in a few words."))
        .property("status", number("The HTTP status."))
        .property("detail", text("What was wrong here and what to do."))
        .property("code", number("The number that emedia clients know."))
        .property("reason", text("The stable word."))
        .property("requestId", text("As the `X-Request-Id` header says."))
        .required("type")
        .required("title")
        .required("status")
        .required("detail")
        .required("code")
        .required("reason")
        .into()
}

const ABOUT: &str = "\
Conferences, tickets and roles for WeChat mini programs, with media over RTMP and FLV.

**Order of a call.** The app's backend holds the *app key*. It creates a conference and issues *tickets*. A client joins with its ticket and \
gets a *member token* (`roleToken`). With that it publishes (`POST …/streams` answers an RTMP URL), watches (`POST …/subscriptions` answers \
play URLs), and follows the events by a WebSocket.

**Refusals** are `application/problem+json`. `reason` is a stable word, `code` the number that emedia clients know. 401 comes before 404, \
404 before what is wrong in the request.

**Times** are RFC 3339 in UTC; durations carry their unit in the name. Bodies hold at most 64 KiB; unknown fields are refused by name. \
Every answer has an `X-Request-Id`, which the log names too.

**Limits.** A caller that asks too often is told 429 with the seconds to wait in `Retry-After`; calls with the app key are not limited by address.

**Retries.** A POST that creates takes an `Idempotency-Key`: sent again with the same key and body, within a day, it takes effect once and is \
answered again with fresh tokens. The same key with another body is refused.

**Web pages** of every origin may call, unless the operator names some: there are no cookies, and the app key does not belong into a page.

**The app key acts for a member** where a member is asked for, by `\"user\": \"name\"` in the body or `?user=name`.";

/// The resources, in the order in which a client meets them.
const TAGS: &[(&str, &str)] = &[
    ("Users", "Tokens that say which user of the app is calling, before a conference."),
    ("Conferences", "Create, look at, change and end conferences."),
    ("Rooms", "Meet in a conference by a name. Whoever comes first makes it."),
    (
        "VoIP",
        "Rooms with the rules of WeChat's `joinVoIPChat`: signed joins, ten members, gone with the last one.",
    ),
    ("Tickets", "A ticket lets its holder into one conference, with a highest role, until it expires."),
    ("Members", "Join, tell about oneself, stay alive, leave."),
    ("Streams", "Declare a stream and get the URL to publish it to; ask for URLs to play one."),
    ("Relays", "Push a stream to a far RTMP server, such as a CDN, or pull one from there."),
    ("Events", "What happens in a conference: live by a WebSocket, past as pages."),
    ("Moderation", "Run a conference: remove members, change roles."),
    ("Sessions", "Media connections as they are now."),
    ("Webhooks", "Where the app's server is told of events, and what it could not be told."),
    ("Documentation", "This document, for programs and for people."),
];

/// What is said once: titles, tags, credentials, shared responses. The routes add themselves.
pub(super) fn frame() -> OpenApi {
    let bearer = |format: &str, description: &str| {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format(format);
        SecurityScheme::Http(scheme.description(Some(description)).build())
    };
    let from_reasons = |reasons: &[Reason]| {
        problem_response(reasons.iter().map(|reason| Problem::from(Refusal::from(*reason))).collect())
    };
    let components = ComponentsBuilder::new()
        .schema("Problem", problem_schema())
        .response(MALFORMED, problem_response(vec![Problem::malformed("the body is not JSON")]))
        .response(TOO_SLOW, problem_response(vec![Problem::timed_out("the body did not arrive in time")]))
        .response(TOO_LARGE, from_reasons(&[Reason::PayloadTooLarge]))
        .response(FAULT, problem_response(vec![Problem::internal()]))
        .response(UNAVAILABLE, from_reasons(ANY))
        .response(TOO_MANY, from_reasons(&[Reason::RateLimited]))
        .security_scheme(
            "appKey",
            bearer(
                "<appId>.<secret>",
                "The app key, for the app's backend only: all rights in its app. `tidegate key show` prints it.",
            ),
        )
        .security_scheme(
            "userToken",
            bearer(
                "JWT",
                "A user of the app, before a conference. HS256 with the app's secret, `iss` the app id, `sub` the user, `exp` at \
                 most 24 h ahead, and `can: [\"create\"]` for who may create conferences. The backend mints it, or asks \
                 `POST /v1/user-tokens`.",
            ),
        )
        .security_scheme(
            "ticket",
            bearer("JWT", "Whoever may join one conference. An ADMIN ticket also runs it, without joining."),
        )
        .security_scheme(
            "memberToken",
            bearer("JWT", "A member inside: the `roleToken` of the join. Its role is the member's role now."),
        );
    let tags =
        TAGS.iter().map(|(name, about)| TagBuilder::new().name(*name).description(Some(*about)).build());
    let info = InfoBuilder::new()
        .title("Tidegate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(License::new("Apache-2.0")));
    OpenApiBuilder::new()
        .info(info)
        .tags(Some(tags.collect::<Vec<_>>()))
        .components(Some(components.build()))
        .build()
}

/// The document of all routes, and what every response of theirs has in common.
pub(super) fn document() -> OpenApi {
    let mut document = api().into_openapi();
    let id = header(Type::String, "Names this request in the log.", json!(REQUEST_ID_SHOWN));
    let each = |response: &mut RefOr<utoipa::openapi::Response>| {
        if let RefOr::T(response) = response {
            response.headers.insert("X-Request-Id".to_owned(), RefOr::T(id.clone()));
        }
    };
    let operations = document.paths.paths.values_mut().flat_map(operations_of);
    operations.for_each(|operation| operation.responses.responses.values_mut().for_each(each));
    if let Some(components) = &mut document.components {
        components.responses.values_mut().for_each(each);
    }
    document
}

fn operations_of(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete]
        .into_iter()
        .filter_map(Option::as_mut)
}

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(openapi))
}

/// This document
///
/// Made from the code of the gateway that answers, so it is true for exactly this version.
#[utoipa::path(
    get,
    path = path::OPENAPI,
    operation_id = "getOpenApi",
    tag = "Documentation",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Value))
)]
async fn openapi() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}
