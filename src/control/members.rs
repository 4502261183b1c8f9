//! Members: joining and leaving.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Insider, Joiner, opens};
use super::body::{NickName, OptionalJson, OwnData, Password, Query, json};
use super::document::{BODY, IN_CONFERENCE, INSIDER, QUERY, refusals};
use super::idempotency::{KeyHeader, Keyed, joining};
use super::place::InConference;
use super::urls::Origin;
use super::{Answer, Control, expiry, path, random, unsigned};
use crate::clock;
use crate::conferences::Done;
use crate::domain::conference::{Admission, Join, Subject};
use crate::domain::event::ExitReason;
use crate::domain::ticket::{MemberClaims, TicketClaims};
use crate::domain::{AppId, Command, ConferenceId, MemberId, Reason, Refusal, UserName};
use crate::events::schema;
use crate::events::views::{ConferenceView, MemberView, Reader};

/// Life of a member token: thirty days, longer than any meeting. It dies with the membership long before.
pub(super) const MEMBER_TOKEN_TTL_SECS: u64 = 30 * 24 * 3600;
/// What a WeChat mini program calls itself in `client`.
const MINI_PROGRAM: &str = "miniProgram";
/// Longest name of a client, in characters. Other names than the one above are taken and mean nothing yet.
const CLIENT_CHARS_MAX: usize = 64;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(join)).routes(routes!(leave))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JoinRequest {
    /// What lets in, unless it is the bearer.
    ticket: Option<String>,
    /// For a user token without a ticket.
    #[schema(value_type = Option<schema::Password>)]
    password: Option<Password>,
    /// What others see beside the user name.
    #[schema(value_type = Option<String>, max_length = 128, example = "Anna")]
    nick_name: Option<NickName>,
    #[schema(value_type = Option<schema::AppData>)]
    ext: Option<OwnData>,
    /// Which kind of client joins. `miniProgram` is refused where the conference does not take mini programs.
    #[schema(value_type = Option<String>, max_length = 64, example = "miniProgram")]
    client: Option<Client>,
    /// For the app key: the user that joins.
    #[schema(value_type = Option<schema::User>)]
    user: Option<UserName>,
}

/// Which kind of client joins.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Client {
    pub(super) mini_program: bool,
}

impl TryFrom<String> for Client {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.chars().count() > CLIENT_CHARS_MAX {
            return Err(format!("a client's name has at most {CLIENT_CHARS_MAX} characters"));
        }
        Ok(Self { mini_program: text == MINI_PROGRAM })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Joined)]
#[serde(rename_all = "camelCase")]
pub(super) struct JoinAnswer<'a> {
    confr: ConferenceView<'a>,
    /// The new member.
    member: MemberView<'a>,
    /// The member token, for `Authorization: Bearer` and for the feed. It dies with the membership.
    #[schema(example = "eyJhbGciOiJIUzI1NiJ9.eyJ0eXAiOiJtZW1iZXIifQ.c2ln")]
    role_token: String,
    /// The event feed, a WebSocket, without a token.
    #[schema(example = "wss://gateway.example/v1/conferences/TS_bm6vezhq2kdr4wty/events")]
    events_url: String,
    /// Whether this join made the room. Stands in the answer of a join by name only.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_creator: Option<bool>,
}

/// What opens the door, and who looks at the answer.
struct Entry {
    admission: Admission,
    reader: Reader,
}

refusals!(
    JoinRefusals: BODY,
    IN_CONFERENCE,
    &[
        Reason::Unauthenticated,
        Reason::TicketInvalid,
        Reason::TicketExpired,
        Reason::WrongPassword,
        Reason::ClientNotSupported,
        Reason::MemberGone,
        Reason::MembersFull,
        Reason::TalkersFull,
    ],
);

/// Join
///
/// With a ticket, as bearer or in the body; or with a user token and the password; or by the app key for a `user`. A ticket that names
/// no user gives the name of the user token beside it, else `guest-<n>`. A user that is inside already is replaced by its new self, and
/// the old one is told reason 10.
#[utoipa::path(
    post,
    path = path::MEMBERS,
    operation_id = "join",
    tag = "Members",
    params(InConference, KeyHeader),
    request_body = Option<JoinRequest>,
    responses((status = 201, description = "The member is inside.", body = JoinAnswer), JoinRefusals),
    security(("ticket" = []), ("userToken" = []), ("appKey" = []), ()),
)]
async fn join(
    State(control): State<Control>,
    joiner: Joiner,
    InConference(id): InConference,
    origin: Origin,
    keyed: Keyed<OptionalJson<JoinRequest>>,
) -> Answer<Response> {
    control.intake.admit()?;
    let Keyed { body: OptionalJson(request), key } = keyed;
    let Entry { admission, reader } =
        entry(&control, joiner, &id, request.ticket, request.password, request.user).await?;
    let mark = key.zip(joining(&admission)).map(|(key, who)| key.mark(&control, &who, path::MEMBERS));
    let join = Join {
        member: MemberId::from_random(random()?),
        admission,
        nick_name: request.nick_name.map(|nick| nick.0),
        ext: request.ext.unwrap_or_default().0,
        mini_program: request.client.is_some_and(|client| client.mini_program),
        role: None,
    };
    let done = control.execute_once("join", &id, Command::Join(Box::new(join)), mark).await?;
    let member = done.joined().map(|joined| joined.id.clone()).ok_or_else(gone_since)?;
    Joined { done: &done, member: &member, reader, is_creator: None }.answer(&control, &origin)
}

/// The refusal for a member that joined, by this request or by the one that it repeats, and is not inside.
fn gone_since() -> Refusal {
    Reason::MemberGone.because("this member was removed or replaced since it joined; join with a new request")
}

/// A join that is to be answered.
pub(super) struct Joined<'a> {
    pub(super) done: &'a Done,
    pub(super) member: &'a MemberId,
    pub(super) reader: Reader,
    /// Whether the join made the conference, where it could have.
    pub(super) is_creator: Option<bool>,
}

impl Joined<'_> {
    pub(super) fn answer(self, control: &Control, origin: &Origin) -> Answer<Response> {
        let conference = &*self.done.conference;
        // The answer may be of a moment after the join: whoever was removed in between is told so.
        let joined = conference.members.get(self.member).ok_or_else(gone_since)?;
        let claims = MemberClaims {
            app: conference.settings.app.clone(),
            conference: conference.id().clone(),
            member: self.member.clone(),
            epoch: joined.epoch,
            expires_at: expiry(clock::now(), MEMBER_TOKEN_TTL_SECS),
        };
        let answer = JoinAnswer {
            confr: ConferenceView::new(conference, self.reader),
            member: MemberView::new(&conference.settings.app, joined),
            role_token: control.keys.mint_member_token(&claims).ok_or_else(unsigned)?,
            events_url: origin.events(conference.id()),
            is_creator: self.is_creator,
        };
        Ok(json(StatusCode::CREATED, &answer))
    }
}

/// What the caller shows, checked as far as it can be without the conference's state. A ticket decides wherever one is
/// shown; a user token beside it gives the name to a ticket that has none.
async fn entry(
    control: &Control,
    joiner: Joiner,
    id: &ConferenceId,
    ticket: Option<String>,
    password: Option<Password>,
    user: Option<UserName>,
) -> Result<Entry, Refusal> {
    let reader = if matches!(joiner, Joiner::App(_)) { Reader::App } else { Reader::Member };
    if user.is_some() && reader == Reader::Member {
        return Err(Reason::InvalidRequest.because("user: only the app key names a user"));
    }
    let ticket = ticket.map(|ticket| control.verify_ticket(&ticket)).transpose()?;
    let admission = match (joiner, ticket, user) {
        (Joiner::Nobody, None, _) => return Err(Joiner::nothing_shown()),
        (Joiner::Nobody, Some(ticket), _) => by_ticket(ticket, id, None, None)?,
        (Joiner::Ticket(shown), None, _) => by_ticket(shown, id, None, None)?,
        (Joiner::Ticket(shown), Some(ticket), _) if shown == ticket => by_ticket(ticket, id, None, None)?,
        (Joiner::Ticket(_), Some(_), _) => {
            return Err(Reason::InvalidRequest.because("ticket: the bearer is another ticket; show one"));
        }
        (Joiner::User(user), Some(ticket), _) => by_ticket(ticket, id, Some(&user.app), Some(user.user))?,
        (Joiner::App(app), Some(ticket), user) => by_ticket(ticket, id, Some(&app), user)?,
        (Joiner::User(user), None, _) => {
            let conference = control.conferences.find(&user.app, id).await?;
            let verified = control.check_password(&conference, &user.user, password).await?;
            Admission::Password { user: user.user, verified }
        }
        (Joiner::App(app), None, Some(user)) => {
            control.conferences.find(&app, id).await?;
            Admission::App { user }
        }
        (Joiner::App(_), None, None) => {
            return Err(Reason::InvalidRequest.because("user: the app key names the user that joins"));
        }
    };
    Ok(Entry { admission, reader })
}

fn by_ticket(
    ticket: TicketClaims,
    id: &ConferenceId,
    app: Option<&AppId>,
    shown_by: Option<UserName>,
) -> Result<Admission, Refusal> {
    opens(&ticket, id)?;
    if app.is_some_and(|app| *app != ticket.app) {
        return Err(Reason::TicketInvalid.because("this ticket is of another app"));
    }
    Ok(Admission::Ticket { ticket, shown_by })
}

/// Whom the app key acts for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ForUser {
    /// For the app key: whom it acts for.
    #[param(
        value_type = Option<String>,
        pattern = r"^[^/\x00-\x1f\x7f-\x9f]+$",
        min_length = 1,
        max_length = 128,
        nullable = false
    )]
    pub(super) user: Option<UserName>,
}

refusals!(LeaveRefusals: QUERY, INSIDER, IN_CONFERENCE);

/// Leave
///
/// The others are told `memberExited` with reason 0; the member's streams and media end.
#[utoipa::path(
    delete,
    path = path::OWN_MEMBER,
    operation_id = "leave",
    tag = "Members",
    params(InConference, ForUser),
    responses((status = 204, description = "Gone."), LeaveRefusals),
    security(("memberToken" = []), ("appKey" = [])),
)]
async fn leave(
    State(control): State<Control>,
    caller: Insider,
    InConference(id): InConference,
    Query(query): Query<ForUser>,
) -> Answer<StatusCode> {
    control.reach(&caller, &id).await?;
    let subject: Subject = caller.subject(query.user)?;
    let command = Command::Leave { subject, reason: ExitReason::Normal };
    control.execute("leave", &id, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
