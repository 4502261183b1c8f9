//! Messages to a conference.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Insider;
use super::body::{Json, Query, json};
use super::client::ClientAddress;
use super::document::{BODY, IN_CONFERENCE, INSIDER, refusals};
use super::idempotency::{KeyHeader, Keyed, acting};
use super::members::ForUser;
use super::place::InConference;
use super::rate::{Limiter, Rate};
use super::{Answer, Control, path};
use crate::domain::conference::Member;
use crate::domain::{Command, ConferenceId, MemberId, Reason, TicketId, UserName};
use crate::events::schema;
use crate::places::neighbourhood;

/// Messages a second of one member (contract, section Control API), and as many at once.
const MESSAGES_PER_SECOND: u32 = 5;

/// Whose budget it is, so that nobody gets a fresh one by leaving and joining again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    /// A user keeps its name.
    User(ConferenceId, UserName),
    /// A guest has a new name each time, and the same ticket as many others: those who come with it from one address share
    /// a budget.
    Guest(ConferenceId, TicketId, IpAddr),
}

impl Sender {
    fn of(conference: &ConferenceId, member: &Member, address: IpAddr) -> Self {
        match member.guest_ticket.as_ref().filter(|_| member.user.is_guest()) {
            Some(ticket) => Self::Guest(conference.clone(), ticket.clone(), neighbourhood(address)),
            None => Self::User(conference.clone(), member.user.clone()),
        }
    }
}

pub(super) fn limiter() -> Limiter<Sender> {
    Limiter::new(Rate::per_second(MESSAGES_PER_SECOND, 1))
}

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(send))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MessageRequest {
    /// Reaches these alone; without it, everybody.
    #[schema(value_type = Option<Vec<schema::MemId>>, min_items = 1, max_items = 300)]
    to: Option<Vec<MemberId>>,
    /// Any JSON value of at most 4096 bytes.
    body: Value,
    /// For the app key: whom it acts for. Without it the message is the app's own.
    #[schema(value_type = Option<schema::User>)]
    user: Option<UserName>,
}

#[derive(Serialize, ToSchema)]
struct MessageAnswer {
    /// The number of the message among the conference's events.
    #[schema(value_type = schema::EventNumber)]
    seq: u64,
}

refusals!(MessageRefusals: BODY, INSIDER, IN_CONFERENCE, &[Reason::RateLimited]);

/// Send a message
///
/// To everybody, or to some members alone: then only the sender, they and the app key see it. It comes as the event `message`. A member
/// may send five a second, and so may the guests of one ticket from one address together; the app key without `user` is not limited, and such a message has `from: null`.
#[utoipa::path(
    post,
    path = path::MESSAGES,
    operation_id = "sendMessage",
    tag = "Events",
    params(InConference, ForUser, KeyHeader),
    request_body = MessageRequest,
    responses((status = 201, description = "The message stands among the events.", body = MessageAnswer), MessageRefusals),
    security(("memberToken" = []), ("appKey" = [])),
)]
async fn send(
    State(control): State<Control>,
    caller: Insider,
    ClientAddress(address): ClientAddress,
    InConference(id): InConference,
    Query(query): Query<ForUser>,
    keyed: Keyed<Json<MessageRequest>>,
) -> Answer<Response> {
    let Keyed { body: Json(request), key } = keyed;
    let conference = control.reach(&caller, &id).await?;
    let from = match (&caller, &request.user, &query.user) {
        (Insider::App(_), None, None) => None,
        _ => Some(caller.subject_named(request.user, query.user)?),
    };
    if let Some(subject) = &from {
        let member = conference.subject(subject)?;
        control.messages.take(&Sender::of(&id, member, address)).map_err(|wait| {
            Reason::RateLimited
                .because(format!("a member sends at most {MESSAGES_PER_SECOND} messages a second"))
                .after(wait)
                .at("messages_per_second")
        })?;
    }
    let scope = from.as_ref().map_or_else(|| "app".to_owned(), acting);
    let mark = key.map(|key| key.mark(&control, &scope, path::MESSAGES));
    let command = Command::SendMessage { from, to: request.to, body: request.body };
    let done = control.execute_once("send_message", &id, command, mark).await?;
    // The message is the last event of its command.
    Ok(json(StatusCode::CREATED, &MessageAnswer { seq: done.seq.0 }))
}
