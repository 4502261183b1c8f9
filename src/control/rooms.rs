//! Rooms: conferences that people meet in by a name, made by whoever comes first.

use async_trait::async_trait;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Creator;
use super::body::{NickName, Object, OptionalJson, OwnData, Password};
use super::conferences::{LimitsRequest, keep};
use super::document::{BODY, CALLER, refusals};
use super::idempotency::{IdempotencyKey, KeyHeader, Keyed};
use super::members::{Client, JoinAnswer, Joined};
use super::place::InRoom;
use super::urls::Origin;
use super::{Answer, Control, path, random};
use crate::clock;
use crate::conferences::named::{Entered, Entrant, Name};
use crate::domain::conference::{Admission, ConferenceKind, Join};
use crate::domain::ticket::TicketClaims;
use crate::domain::{
    AppId, Conference, ConferenceId, Created, Mark, MemberId, Reason, Refusal, Role, RoomName, Seq, TicketId,
    UserName,
};
use crate::events::schema;
use crate::events::views::Reader;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(join))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = RoomJoinRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JoinRequest {
    /// Becomes the room's where this join makes it; absent or empty, the room has none and takes everybody. Others must know it.
    #[schema(value_type = Option<schema::Password>)]
    password: Option<Password>,
    /// The role to join as. More than the room gives is lowered to that. Whoever makes the room is ADMIN.
    #[schema(value_type = Option<schema::RoleNumber>)]
    role: Option<Role>,
    /// Which kind of client joins. `miniProgram` is refused where the room does not take mini programs.
    #[schema(value_type = Option<String>, max_length = 64, example = "miniProgram")]
    client: Option<Client>,
    /// The preset of a room that this join makes.
    #[schema(value_type = Option<schema::ConferenceType>)]
    confr_type: Option<ConferenceKind>,
    #[serde(default)]
    #[schema(value_type = Config)]
    config: Object<Config>,
    /// For the app key: the user that joins.
    #[schema(value_type = Option<schema::User>)]
    user: Option<UserName>,
}

/// `nickName` and `ext` are the member's own. The rest describes the room and counts for whoever makes it: the first config wins.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = RoomConfig)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    /// What others see beside the user name.
    #[schema(value_type = Option<String>, max_length = 128, example = "Anna")]
    nick_name: Option<NickName>,
    #[schema(value_type = Option<schema::AppData>)]
    ext: Option<OwnData>,
    /// Asks for a recording. `recording` of the answer says what happens.
    #[serde(default)]
    rec: bool,
    /// Asks for a recording of all streams in one picture.
    #[serde(default)]
    rec_merge: bool,
    /// Members of role TALKER and above, ADMINs included.
    #[schema(maximum = 1000, example = 9)]
    max_talker_count: Option<u32>,
    /// Declared streams that may carry video.
    #[schema(maximum = 1000, example = 9)]
    max_video_count: Option<u32>,
    /// Members of role AUDIENCE.
    #[schema(maximum = 8000, example = 600)]
    max_audience_count: Option<u32>,
    /// Declared streams of a desktop.
    #[schema(maximum = 100, example = 2)]
    max_pub_desktop_count: Option<u32>,
    /// The same as `confrType` beside the config.
    #[schema(value_type = Option<schema::ConferenceType>)]
    confr_type: Option<ConferenceKind>,
    /// The highest role that the name admits to. Where it is absent the type decides: 3, and 1 for LIVE.
    #[schema(value_type = Option<schema::RoleNumber>)]
    mem_default_role: Option<Role>,
    /// False refuses clients that join as `miniProgram`. True where it is absent.
    support_wechat_mini_program: Option<bool>,
}

impl Config {
    fn limits(&self) -> LimitsRequest {
        LimitsRequest {
            max_talker_count: self.max_talker_count,
            max_video_count: self.max_video_count,
            max_audience_count: self.max_audience_count,
            max_pub_desktop_count: self.max_pub_desktop_count,
        }
    }
}

/// Somebody at the door of a room.
struct Visitor {
    control: Control,
    mark: Option<Mark>,
    app: AppId,
    user: UserName,
    /// The app's backend, which needs no password.
    by_app: bool,
    can_create: bool,
    room: RoomName,
    /// Empty where none is shown.
    password: String,
    join: Join,
    /// What the room would be made as, without its password.
    created: Created,
}

refusals!(
    JoinRefusals: BODY,
    CALLER,
    &[
        Reason::NotAllowed,
        Reason::WrongPassword,
        Reason::ClientNotSupported,
        Reason::MemberGone,
        Reason::MembersFull,
        Reason::TalkersFull,
        Reason::RateLimited,
    ],
);

/// Join a room by its name
///
/// Makes the room where nobody has that name: then the joining user is its ADMIN, now and whenever it joins again. A user token needs `create` for
/// that; the app key always may, and needs no password. However many join a new name at once, one of them makes the room and the others
/// are in it. The name is free again when the conference has ended.
#[utoipa::path(
    post,
    path = path::ROOM_MEMBERS,
    operation_id = "joinRoom",
    tag = "Rooms",
    params(InRoom, KeyHeader),
    request_body = Option<JoinRequest>,
    responses((status = 201, description = "The member is inside.", body = JoinAnswer), JoinRefusals),
    security(("userToken" = []), ("appKey" = [])),
)]
async fn join(
    State(control): State<Control>,
    caller: Creator,
    InRoom(room): InRoom,
    origin: Origin,
    keyed: Keyed<OptionalJson<JoinRequest>>,
) -> Answer<Response> {
    control.intake.admit()?;
    let Keyed { body: OptionalJson(request), key } = keyed;
    let visitor = Visitor::new(&control, caller, room?, request, key)?;
    let name = Name::of_room(&visitor.app, &visitor.room)?;
    let reader = if visitor.by_app { Reader::App } else { Reader::Member };
    let entered = control.enter("join_room", &name, &visitor).await?;
    Joined { done: &entered.done, member: &entered.member, reader, is_creator: Some(entered.is_creator) }
        .answer(&control, &origin)
}

impl Visitor {
    fn new(
        control: &Control,
        caller: Creator,
        room: RoomName,
        request: JoinRequest,
        key: Option<IdempotencyKey>,
    ) -> Result<Self, Refusal> {
        let (app, user, by_app, can_create) = match (caller, request.user) {
            (Creator::App(app), Some(user)) => (app, user, true, true),
            (Creator::App(_), None) => {
                return Err(Reason::InvalidRequest.because("user: the app key names the user that joins"));
            }
            (Creator::User(_), Some(_)) => {
                return Err(Reason::InvalidRequest.because("user: only the app key names a user"));
            }
            (Creator::User(user), None) => (user.app, user.user, false, user.can_create),
        };
        let Object(config) = request.config;
        let kind = config.confr_type.or(request.confr_type).unwrap_or_default();
        let limits = config.limits().change_under("config")?.over(kind.limits(control.settings.limits));
        let created = Created {
            rec: config.rec,
            rec_merge: config.rec_merge,
            limits,
            mem_default_role: config.mem_default_role.unwrap_or_else(|| kind.mem_default_role()),
            support_wechat_mini_program: config.support_wechat_mini_program.unwrap_or(true),
            creator: Some(user.clone()),
            room_name: Some(room.clone()),
            ..Created::new(ConferenceId::from_random(random()?), app.clone(), kind)
        };
        let join = Join {
            member: MemberId::from_random(random()?),
            admission: Admission::App { user: user.clone() },
            nick_name: config.nick_name.map(|nick| nick.0),
            ext: config.ext.unwrap_or_default().0,
            mini_program: request.client.is_some_and(|client| client.mini_program),
            role: request.role,
        };
        let password = request.password.map(|password| password.0).unwrap_or_default();
        let caller = if by_app { format!("app:{user}") } else { format!("user:{user}") };
        let mark = key.map(|key| key.mark(control, &caller, path::ROOM_MEMBERS));
        let control = control.clone();
        Ok(Self { mark, control, app, user, by_app, can_create, room, password, join, created })
    }
}

#[async_trait]
impl Entrant for Visitor {
    async fn found(&self) -> Result<(Created, Join), Refusal> {
        if !self.can_create {
            return Err(Reason::NotAllowed.because(
                "nobody is in this room, and this user token does not say that its user can create conferences",
            ));
        }
        let password = keep(&self.control, &self.password, random()?).await?;
        // Ids of its own: an earlier attempt may have left these in the log.
        let id = ConferenceId::from_random(random()?);
        let admission = creators_admission(&self.app, &id, &self.user)?;
        let join =
            Join { member: MemberId::from_random(random()?), admission, role: None, ..self.join.clone() };
        Ok((Created { id, password, ..self.created.clone() }, join))
    }

    fn mark(&self) -> Option<Mark> {
        self.mark
    }

    async fn join(&self, conference: &Conference) -> Result<Join, Refusal> {
        let mut join = self.join.clone();
        join.member = MemberId::from_random(random()?);
        // The app's key opens without a password; one that is shown has to be right all the same.
        if !self.by_app || !self.password.is_empty() {
            let shown = Password(self.password.clone());
            let verified = self.control.check_password(conference, &self.user, Some(shown)).await?;
            if !self.by_app {
                join.admission = Admission::Password { user: self.user.clone(), verified };
            }
        }
        Ok(join)
    }
}

/// Lets the creator in as ADMIN, with its first record.
pub(super) fn creators_admission(
    app: &AppId,
    conference: &ConferenceId,
    user: &UserName,
) -> Result<Admission, Refusal> {
    let ticket = TicketClaims {
        id: TicketId::from_random(random()?),
        app: app.clone(),
        conference: conference.clone(),
        user: Some(user.clone()),
        role: Role::Admin,
        seq: Seq(1),
        expires_at: clock::now(),
    };
    Ok(Admission::Ticket { ticket, shown_by: None })
}

impl Control {
    /// Lets `entrant` in under `name`, counted as `kind`.
    pub(super) async fn enter(
        &self,
        kind: &'static str,
        name: &Name,
        entrant: &dyn Entrant,
    ) -> Result<Entered, Refusal> {
        let started = Instant::now();
        let entered = self.conferences.enter(name, entrant, clock::now()).await;
        self.count(kind, entered.as_ref().err(), started.elapsed());
        entered
    }
}
