//! Tickets for one conference.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Issuer, Runner};
use super::body::{OptionalJson, Password, json};
use super::document::{BODY, IN_CONFERENCE, RUNNER, refusals};
use super::idempotency::{IdempotencyKey, KeyHeader, Keyed};
use super::place::InConference;
use super::{Answer, Control, expiry, path, random, unsigned};
use crate::clock;
use crate::domain::password::PasswordHash;
use crate::domain::ticket::{TicketClaims, UserClaims};
use crate::domain::{Command, Conference, ConferenceId, Reason, Refusal, Role, Seq, TicketId, UserName};
use crate::events::schema;
use crate::events::views::rfc3339;

/// Longest life of a ticket: thirty days. What shall open longer is better issued again.
const TICKET_TTL_SECS_MAX: u64 = 30 * 24 * 3600;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(issue))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = TicketRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IssueRequest {
    /// Who may come with it. Without a user whoever holds it comes, as a guest or as its own user.
    #[schema(value_type = Option<schema::User>)]
    user: Option<UserName>,
    /// The highest role that it gives; `memDefaultRole` where it is absent.
    #[schema(value_type = Option<schema::RoleNumber>)]
    role: Option<Role>,
    /// For a user token.
    #[schema(value_type = Option<schema::Password>)]
    password: Option<Password>,
    /// How long it opens; a day where it is absent.
    #[schema(minimum = 1, maximum = 2_592_000, example = 86_400)]
    ttl_seconds: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Ticket)]
#[serde(rename_all = "camelCase")]
struct IssueAnswer {
    /// For the join, as often as it is needed until it expires.
    #[schema(example = "eyJhbGciOiJIUzI1NiJ9.eyJ0eXAiOiJ0aWNrZXQifQ.c2ln")]
    ticket: String,
    /// The role that it gives now, which can be less than was asked for.
    #[schema(value_type = schema::RoleNumber)]
    role: Role,
    #[schema(value_type = schema::Time)]
    expires_at: String,
}

refusals!(IssueRefusals: BODY, RUNNER, IN_CONFERENCE, &[Reason::WrongPassword]);

/// Issue a ticket
///
/// The app key, an ADMIN or an ADMIN ticket issue tickets for anyone, and so readmit a user that was kicked. A user token with the
/// password gets one for its own user.
#[utoipa::path(
    post,
    path = path::TICKETS,
    operation_id = "issueTicket",
    tag = "Tickets",
    params(InConference, KeyHeader),
    request_body = Option<IssueRequest>,
    responses((status = 200, description = "The ticket.", body = IssueAnswer), IssueRefusals),
    security(("appKey" = []), ("memberToken" = []), ("ticket" = []), ("userToken" = [])),
)]
async fn issue(
    State(control): State<Control>,
    caller: Issuer,
    InConference(id): InConference,
    keyed: Keyed<OptionalJson<IssueRequest>>,
) -> Answer<Response> {
    let Keyed { body: OptionalJson(request), key } = keyed;
    let ttl_secs = request.ttl_seconds.unwrap_or(control.settings.ticket_ttl_secs);
    if !(1..=TICKET_TTL_SECS_MAX).contains(&ttl_secs) {
        let detail = format!("ttlSeconds: a ticket lives 1 to {TICKET_TTL_SECS_MAX} seconds");
        return Err(Reason::InvalidRequest.because(detail).into());
    }
    let mut claims = match caller {
        Issuer::Runner(runner) => by_runner(&control, runner, &id, request, key).await?,
        Issuer::User(user) => by_user(&control, &user, &id, request, key).await?,
    };
    claims.expires_at = expiry(clock::now(), ttl_secs);
    let ticket = control.keys.mint_ticket(&claims).ok_or_else(unsigned)?;
    let answer = IssueAnswer { ticket, role: claims.role, expires_at: rfc3339(claims.expires_at) };
    Ok(json(StatusCode::OK, &answer))
}

/// A ticket on the authority of whoever runs the conference. It readmits a kicked user, and gives no more than the
/// role that was last granted to that user.
async fn by_runner(
    control: &Control,
    runner: Runner,
    id: &ConferenceId,
    request: IssueRequest,
    key: Option<IdempotencyKey>,
) -> Result<TicketClaims, Refusal> {
    let mark = key.map(|key| key.mark(control, &runner.scope(), path::TICKETS));
    let by = control.actor(runner, id).await?;
    let command = Command::IssueTicket { by, user: request.user.clone() };
    let done = control.execute_once("ticket", id, command, mark).await?;
    let mut claims = claims_of(&done.conference, done.seq, request.user, request.role)?;
    claims.role = done.conference.admit_ticket(&claims, None)?.role;
    Ok(claims)
}

/// A ticket for the user itself, who knows the password: no more than a join with the password would give.
async fn by_user(
    control: &Control,
    user: &UserClaims,
    id: &ConferenceId,
    request: IssueRequest,
    key: Option<IdempotencyKey>,
) -> Result<TicketClaims, Refusal> {
    if request.user.is_some_and(|named| named != user.user) {
        return Err(Reason::NotAllowed.because("user: a user token asks for its own user's ticket only"));
    }
    let conference = control.conferences.find(&user.app, id).await?;
    control.check_password(&conference, &user.user, request.password).await?;
    let mark = key.map(|key| key.mark(control, &format!("user:{}", user.user), path::TICKETS));
    let command = Command::TakeTicket { user: user.user.clone() };
    let done = control.execute_once("ticket", id, command, mark).await?;
    let admitted = done.conference.admit_user(&user.user)?;
    let mut claims = claims_of(&done.conference, done.seq, Some(user.user.clone()), request.role)?;
    claims.role = claims.role.min(admitted.role);
    Ok(claims)
}

/// What a ticket of `conference` says that was issued right after the event `seq`; it has not yet a time to live.
fn claims_of(
    conference: &Conference,
    seq: Seq,
    user: Option<UserName>,
    role: Option<Role>,
) -> Result<TicketClaims, Refusal> {
    Ok(TicketClaims {
        id: TicketId::from_random(random()?),
        app: conference.settings.app.clone(),
        conference: conference.id().clone(),
        user,
        role: role.unwrap_or(conference.settings.mem_default_role),
        seq,
        expires_at: clock::now(),
    })
}

impl Control {
    /// The hash that the `password` of `user` matched, or `None` where the conference has no password and takes any.
    pub(super) async fn check_password(
        &self,
        conference: &Conference,
        user: &UserName,
        password: Option<Password>,
    ) -> Result<Option<PasswordHash>, Refusal> {
        if conference.settings.voip.is_some() {
            return Err(Reason::NotAllowed.because("a VoIP room is joined by signature"));
        }
        let Some(hash) = &conference.settings.password else { return Ok(None) };
        // Where none is given there is nothing to compute.
        if let Some(Password(password)) = password {
            self.guard.may_try_password(conference.id(), user)?;
            if self.passwords.matches(hash, &password).await? {
                return Ok(Some(hash.clone()));
            }
            self.guard.wrong_password(conference.id(), user)?;
        }
        Err(Reason::WrongPassword.because("the password does not match"))
    }
}
