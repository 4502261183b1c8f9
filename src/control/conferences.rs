//! Conferences: create, list, look at, end.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{AppCaller, Creator, Insider, Runner};
use super::body::{Json, Object, OwnData, Password, Query, json};
use super::document::{BODY, CALLER, IN_CONFERENCE, INSIDER, QUERY, RUNNER, refusals};
use super::idempotency::{KeyHeader, Keyed};
use super::place::InConference;
use super::{Answer, Control, expiry, path, random, unsigned};
use crate::clock;
use crate::domain::conference::ConferenceKind;
use crate::domain::limits::LimitsChange;
use crate::domain::mark::Drawn;
use crate::domain::password::{PasswordHash, SALT_BYTES};
use crate::domain::ticket::TicketClaims;
use crate::domain::{
    AppId, Command, Conference, ConferenceId, Created, Limits, Reason, Refusal, Role, TicketId, UserName,
};
use crate::events::schema;
use crate::events::views::{ConferenceView, Reader};

/// Conferences on a page, where the request names no number.
const PAGE_DEFAULT: usize = 50;
/// Most conferences on a page. Each may hold hundreds of members, so that a page is a few megabytes at the very worst.
const PAGE_MAX: usize = 100;
/// Characters of a generated password: 40 random bits, and short enough to be read out.
const GENERATED_PASSWORD_CHARS: usize = 8;
/// What a generated password is spelt in: no letter or digit that looks like another (0 and o, 1 and l).
const PASSWORD_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(look, end))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = CreateConferenceRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateRequest {
    #[serde(default)]
    #[schema(value_type = schema::ConferenceType)]
    confr_type: ConferenceKind,
    /// Where it is absent, one is made and told in the answer. Empty is none: then any user of the app may join.
    #[schema(value_type = Option<schema::Password>)]
    password: Option<Password>,
    /// Ask for a recording. `recording` of the conference says what happens.
    #[serde(default)]
    rec: bool,
    /// Ask for a recording of all streams in one picture.
    #[serde(default)]
    rec_merge: bool,
    #[schema(value_type = Option<LimitsRequest>)]
    limits: Option<Object<LimitsRequest>>,
    /// The highest role that a password admits to. Where it is absent the type decides: 3, and 1 for LIVE.
    #[schema(value_type = Option<schema::RoleNumber>)]
    mem_default_role: Option<Role>,
    #[schema(value_type = Option<schema::AppData>)]
    metadata: Option<OwnData>,
    /// False refuses clients that join as `miniProgram`. True where it is absent.
    support_wechat_mini_program: Option<bool>,
    /// The creator, whose ticket the answer carries. A user token speaks for its own user.
    #[schema(value_type = Option<schema::User>)]
    user: Option<UserName>,
}

/// Places that differ from the preset.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = LimitsChange)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LimitsRequest {
    /// Members of role TALKER and above, ADMINs included.
    #[schema(maximum = 1000, example = 9)]
    pub(super) max_talker_count: Option<u32>,
    /// Declared streams that may carry video.
    #[schema(maximum = 1000, example = 9)]
    pub(super) max_video_count: Option<u32>,
    /// Members of role AUDIENCE.
    #[schema(maximum = 8000, example = 600)]
    pub(super) max_audience_count: Option<u32>,
    /// Declared streams of a desktop.
    #[schema(maximum = 100, example = 2)]
    pub(super) max_pub_desktop_count: Option<u32>,
}

impl LimitsRequest {
    /// These places, and those of `preset` where none are named.
    fn over(&self, preset: Limits) -> Result<Limits, Refusal> {
        Ok(self.change()?.over(preset))
    }

    /// The places that are named, if a conference may have as many.
    pub(super) fn change(&self) -> Result<LimitsChange, Refusal> {
        self.change_under("limits")
    }

    /// The same, of an object that the body calls `place`.
    pub(super) fn change_under(&self, place: &str) -> Result<LimitsChange, Refusal> {
        let ceiling = Limits::CEILING;
        let within = |name: &str, asked: Option<u32>, ceiling: u32| match asked {
            Some(asked) if asked > ceiling => {
                Err(Reason::InvalidRequest.because(format!("{place}.{name}: 0 to {ceiling}")))
            }
            asked => Ok(asked),
        };
        Ok(LimitsChange {
            max_talker_count: within("maxTalkerCount", self.max_talker_count, ceiling.max_talker_count)?,
            max_video_count: within("maxVideoCount", self.max_video_count, ceiling.max_video_count)?,
            max_audience_count: within(
                "maxAudienceCount",
                self.max_audience_count,
                ceiling.max_audience_count,
            )?,
            max_pub_desktop_count: within(
                "maxPubDesktopCount",
                self.max_pub_desktop_count,
                ceiling.max_pub_desktop_count,
            )?,
        })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = CreatedConference)]
struct CreateAnswer<'a> {
    #[serde(flatten)]
    conference: ConferenceView<'a>,
    /// Told here and never again; empty where the conference has none.
    #[schema(example = "k7wq3mzx")]
    password: &'a str,
    /// An ADMIN ticket for the creator.
    #[schema(example = "eyJhbGciOiJIUzI1NiJ9.eyJ0eXAiOiJ0aWNrZXQifQ.c2ln")]
    ticket: &'a str,
}

refusals!(CreateRefusals: BODY, CALLER, &[Reason::NotAllowed]);

/// Create a conference
///
/// For the app's backend, and for a user whose token says `can: ["create"]`. The answer carries the conference, its password and an ADMIN
/// ticket for the creator: it joins with it, or runs the conference without joining.
#[utoipa::path(
    post,
    path = path::CONFERENCES,
    operation_id = "createConference",
    tag = "Conferences",
    params(KeyHeader),
    request_body = CreateRequest,
    responses(
        (
            status = 201,
            description = "The new conference.",
            body = CreateAnswer,
            headers(("Location" = String, description = "The path of the conference.")),
        ),
        CreateRefusals,
    ),
    security(("appKey" = []), ("userToken" = [])),
)]
async fn create(
    State(control): State<Control>,
    creator: Creator,
    keyed: Keyed<Json<CreateRequest>>,
) -> Answer<Response> {
    control.intake.admit()?;
    let Keyed { body: Json(request), key } = keyed;
    let caller = match &creator {
        Creator::App(_) => "app".to_owned(),
        Creator::User(user) => format!("user:{}", user.user),
    };
    let (app, creator) = creator_of(creator, request.user)?;
    let drawn = match &key {
        Some(key) => key.draw(&control, &app, &caller),
        None => {
            Drawn { conference: ConferenceId::from_random(random()?), password: random()?, salt: random()? }
        }
    };
    let kind = request.confr_type;
    let preset = kind.limits(control.settings.limits);
    let limits = request.limits.unwrap_or_default().0.over(preset)?;
    let password = match request.password {
        Some(Password(password)) => password,
        None => spell(drawn.password),
    };
    let hash = keep(&control, &password, drawn.salt).await?;
    let created = Created {
        id: drawn.conference,
        mark: key.map(|key| key.creation(hash.clone())),
        app,
        kind,
        password: hash,
        rec: request.rec,
        rec_merge: request.rec_merge,
        limits,
        mem_default_role: request.mem_default_role.unwrap_or_else(|| kind.mem_default_role()),
        support_wechat_mini_program: request.support_wechat_mini_program.unwrap_or(true),
        metadata: request.metadata.unwrap_or_default().0,
        creator,
        room_name: None,
        voip: None,
    };
    let conference = control.conferences.create(created, clock::now()).await?;
    let ticket = creators_ticket(&control, &conference)?;
    let view = ConferenceView::new(&conference, Reader::App);
    let answer = CreateAnswer { conference: view, password: &password, ticket: &ticket };
    let mut response = json(StatusCode::CREATED, &answer);
    if let Ok(location) = HeaderValue::from_str(&format!("{}/{}", path::CONFERENCES, conference.id())) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

fn creator_of(creator: Creator, named: Option<UserName>) -> Result<(AppId, Option<UserName>), Refusal> {
    match creator {
        Creator::App(app) => Ok((app, named)),
        Creator::User(user) if !user.can_create => {
            Err(Reason::NotAllowed
                .because("this user token does not say that its user can create conferences"))
        }
        Creator::User(user) if named.as_ref().is_some_and(|named| *named != user.user) => {
            Err(Reason::NotAllowed.because("user: only the app key creates conferences for others"))
        }
        Creator::User(user) => Ok((user.app, Some(user.user))),
    }
}

/// The hash to keep; an empty password is none.
pub(super) async fn keep(
    control: &Control,
    password: &str,
    salt: [u8; SALT_BYTES],
) -> Result<Option<PasswordHash>, Refusal> {
    if password.is_empty() {
        return Ok(None);
    }
    control.passwords.hash(password, salt).await.map(Some)
}

/// Forty random bits as a password.
fn spell(bits: [u8; 5]) -> String {
    let mut wide = [0; 8];
    wide[3..].copy_from_slice(&bits);
    let number = u64::from_be_bytes(wide);
    let letter = |place: usize| char::from(PASSWORD_ALPHABET[((number >> (place * 5)) & 31) as usize]);
    (0..GENERATED_PASSWORD_CHARS).map(letter).collect()
}

fn creators_ticket(control: &Control, conference: &Conference) -> Answer<String> {
    let claims = TicketClaims {
        id: TicketId::from_random(random()?),
        app: conference.settings.app.clone(),
        conference: conference.id().clone(),
        user: conference.settings.creator.clone(),
        role: Role::Admin,
        seq: conference.seq,
        expires_at: expiry(clock::now(), control.settings.ticket_ttl_secs),
    };
    control.keys.mint_ticket(&claims).ok_or_else(unsigned)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Conferences on the page; 50 where it is absent.
    #[param(minimum = 1, maximum = 100, nullable = false)]
    limit: Option<usize>,
    /// `nextCursor` of the page before.
    #[param(value_type = Option<String>, pattern = "^TS_[A-Za-z0-9_-]+$", max_length = 64, nullable = false)]
    cursor: Option<ConferenceId>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ConferencePage)]
#[serde(rename_all = "camelCase")]
struct ListAnswer<'a> {
    conferences: Vec<ConferenceView<'a>>,
    /// For the next page; null on the last one.
    #[schema(required, value_type = Option<schema::ConfrId>)]
    next_cursor: Option<&'a ConferenceId>,
}

refusals!(ListRefusals: QUERY, CALLER);

/// List the conferences of the app
///
/// Those that go on, in the order of their ids.
#[utoipa::path(
    get,
    path = path::CONFERENCES,
    operation_id = "listConferences",
    tag = "Conferences",
    params(ListQuery),
    responses((status = 200, description = "A page of conferences.", body = ListAnswer), ListRefusals),
    security(("appKey" = [])),
)]
async fn list(
    State(control): State<Control>,
    AppCaller(app): AppCaller,
    Query(query): Query<ListQuery>,
) -> Answer<Response> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        let detail = format!("limit: a page holds 1 to {PAGE_MAX} conferences");
        return Err(Reason::InvalidRequest.because(detail).into());
    }
    // One more than asked tells whether there is another page.
    let mut page = control.conferences.list(&app, query.cursor.as_ref(), limit + 1);
    let more = page.len() > limit;
    page.truncate(limit);
    let next_cursor = page.last().filter(|_| more).map(|conference| conference.id());
    let conferences = page.iter().map(|conference| ConferenceView::new(conference, Reader::App)).collect();
    Ok(json(StatusCode::OK, &ListAnswer { conferences, next_cursor }))
}

refusals!(LookRefusals: INSIDER, IN_CONFERENCE);

/// Look at a conference
///
/// For the app key and for members. A member does not see the audience of a LIVE conference, only how many there are.
#[utoipa::path(
    get,
    path = path::CONFERENCE,
    operation_id = "getConference",
    tag = "Conferences",
    params(InConference),
    responses((status = 200, description = "The conference.", body = ConferenceView), LookRefusals),
    security(("appKey" = []), ("memberToken" = [])),
)]
async fn look(
    State(control): State<Control>,
    caller: Insider,
    InConference(id): InConference,
) -> Answer<Response> {
    let conference = control.reach(&caller, &id).await?;
    if let Insider::Member(_) = caller {
        conference.subject(&caller.subject(None)?)?;
    }
    Ok(json(StatusCode::OK, &ConferenceView::new(&conference, caller.reader())))
}

refusals!(EndRefusals: RUNNER, IN_CONFERENCE);

/// End a conference
///
/// Everyone is told `conferenceExit` with reason 11, and every media session closes. Afterwards the id answers 410 `conference_closed`.
#[utoipa::path(
    delete,
    path = path::CONFERENCE,
    operation_id = "endConference",
    tag = "Conferences",
    params(InConference),
    responses((status = 204, description = "Ended."), EndRefusals),
    security(("appKey" = []), ("memberToken" = []), ("ticket" = [])),
)]
async fn end(
    State(control): State<Control>,
    caller: Runner,
    InConference(id): InConference,
) -> Answer<StatusCode> {
    let by = control.actor(caller, &id).await?;
    control.execute("end", &id, Command::End { by }).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn generated_passwords_use_every_letter_and_no_doubtful_one() {
        assert_eq!(spell([0; 5]), "aaaaaaaa");
        assert_eq!(spell([0xFF; 5]), "99999999");
        assert_eq!(spell([0, 0, 0, 0, 1]), "baaaaaaa");
        let letters: BTreeSet<_> = PASSWORD_ALPHABET.iter().collect();
        assert_eq!(letters.len(), 32);
        assert!(b"0o1l".iter().all(|doubtful| !letters.contains(doubtful)));
    }
}
