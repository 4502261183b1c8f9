//! VoIP rooms: signatures for `joinVoIPChat`, the session keys that they are made with, and joins that show one.

use std::fmt;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use super::auth::{AppCaller, UserCaller};
use super::body::{Json, Object, json};
use super::document::{BODY, CALLER, refusals};
use super::idempotency::{KeyHeader, Keyed};
use super::members::{JoinAnswer, Joined};
use super::place::{AtOpenid, InGroup};
use super::rooms::creators_admission;
use super::urls::Origin;
use super::{Answer, Control, path, random};
use crate::clock;
use crate::conferences::named::{Entrant, Name};
use crate::conferences::voip_sessions::{NonceUse, VoipSession};
use crate::domain::conference::{Admission, ConferenceKind, Join};
use crate::domain::voip::{
    MINI_APP_ID_CHARS_MAX, NONCE_CHARS_MAX, RoomType, SESSION_KEY_CHARS_MAX, Signed, SignedAt, VoipRoom,
};
use crate::domain::{
    AppId, Conference, ConferenceId, Created, Limits, Mark, MemberId, Reason, Refusal, RoomName, UserName,
};
use crate::events::schema;
use crate::events::views::Reader;

/// Random bytes of a nonce that is made here: nobody meets the same one twice.
const NONCE_BYTES: usize = 18;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(sign)).routes(routes!(keep_session)).routes(routes!(join))
}

/// A text of 1 to so many characters without control characters.
macro_rules! plain_text {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Deserialize)]
        #[serde(try_from = "String")]
        struct $name(String);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let chars = text.chars().count();
                if (1..=$max).contains(&chars) && !text.chars().any(char::is_control) {
                    Ok(Self(text))
                } else {
                    Err(format!("is 1 to {} characters without control characters", $max))
                }
            }
        }
    };
}

plain_text!(
    /// `nonceStr`
    Nonce,
    NONCE_CHARS_MAX
);
plain_text!(
    /// `sessionKey`, as WeChat's login gave it
    SessionKey,
    SESSION_KEY_CHARS_MAX
);
plain_text!(
    /// `appId` of the mini program
    MiniAppId,
    MINI_APP_ID_CHARS_MAX
);

/// `timeStamp`: a number, or the digits of one.
struct TimeStamp(SignedAt);

impl<'de> Deserialize<'de> for TimeStamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;

        impl Visitor<'_> for Seconds {
            type Value = TimeStamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since 1970, as a number or as its digits")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<TimeStamp, E> {
                SignedAt::from_number(number)
                    .map(TimeStamp)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E: Error>(self, digits: &str) -> Result<TimeStamp, E> {
                SignedAt::from_digits(digits)
                    .map(TimeStamp)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Other("a text"), &self))
            }
        }

        deserializer.deserialize_any(Seconds)
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = VoipSignatureRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignRequest {
    /// The mini program's id.
    #[schema(value_type = String, min_length = 1, max_length = 128, example = "wx20afc706a711eefc")]
    app_id: MiniAppId,
    #[schema(value_type = schema::Room)]
    group_id: RoomName,
    /// A text for one use; made here where it is absent.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 127, example = "8AP6DT9ybtniUJfb")]
    nonce_str: Option<Nonce>,
    /// Seconds since 1970, as a number or as its digits; now where it is absent.
    #[schema(value_type = Option<TimeStampView>)]
    time_stamp: Option<TimeStamp>,
    /// The `session_key` of WeChat's login, as it is.
    #[schema(value_type = String, min_length = 1, max_length = 256)]
    session_key: SessionKey,
}

/// Seconds since 1970.
#[derive(ToSchema)]
#[schema(as = VoipTimeStamp)]
#[serde(untagged)]
#[expect(dead_code, reason = "tells the document what a time stamp looks like")]
enum TimeStampView {
    /// The number.
    Number(u64),
    /// Its digits.
    Digits(String),
}

#[derive(Serialize, ToSchema)]
#[schema(as = VoipSignature)]
#[serde(rename_all = "camelCase")]
struct SignAnswer<'a> {
    #[schema(value_type = schema::Room)]
    group_id: &'a RoomName,
    #[schema(example = "8AP6DT9ybtniUJfb")]
    nonce_str: &'a str,
    /// Seconds since 1970: a number, as `joinVoIPChat` takes it.
    #[schema(value_type = u64, example = 1_559_129_714)]
    time_stamp: SignedAt,
    /// Lower-case hexadecimal digits.
    #[schema(
        min_length = 64,
        max_length = 64,
        example = "b002b824688dd8593a6079e11d8c5e8734fbcb39a6d5906eb347bfbcad79c617"
    )]
    signature: String,
}

refusals!(SignRefusals: BODY, CALLER);

/// Sign for joinVoIPChat
///
/// HMAC-SHA256 over app id, group id, nonce and time, sorted and joined, under the session key. Nothing is kept.
#[utoipa::path(
    post,
    path = path::VOIP_SIGNATURES,
    operation_id = "signVoip",
    tag = "VoIP",
    request_body = SignRequest,
    responses((status = 200, description = "The signature.", body = SignAnswer), SignRefusals),
    security(("appKey" = [])),
)]
async fn sign(_caller: AppCaller, Json(request): Json<SignRequest>) -> Answer<Response> {
    let session_key = Zeroizing::new(request.session_key.0);
    let nonce = match request.nonce_str {
        Some(Nonce(nonce)) => nonce,
        None => URL_SAFE_NO_PAD.encode(random::<NONCE_BYTES>()?),
    };
    let at = request.time_stamp.map_or_else(|| SignedAt::at(clock::now()), |time| time.0);
    let group_id = &request.group_id;
    let signed = Signed { app_id: &request.app_id.0, group_id: group_id.as_str(), nonce: &nonce, at };
    let signature = signed.signature(&session_key);
    Ok(json(StatusCode::OK, &SignAnswer { group_id, nonce_str: &nonce, time_stamp: at, signature }))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = VoipSessionRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SessionRequest {
    /// The `session_key` of WeChat's login, as it is.
    #[schema(value_type = String, min_length = 1, max_length = 256)]
    session_key: SessionKey,
    /// The mini program's id, which its signatures are made with; where it is absent, the app's own id.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128, example = "wx20afc706a711eefc")]
    app_id: Option<MiniAppId>,
}

refusals!(SessionRefusals: BODY, CALLER);

/// Keep a session key
///
/// For the user with this openid, in the stead of the one of an earlier login. It is kept encrypted, never shown, and thrown away when
/// nobody used it for thirty days.
#[utoipa::path(
    put,
    path = path::VOIP_SESSION,
    operation_id = "keepVoipSession",
    tag = "VoIP",
    params(AtOpenid),
    request_body = SessionRequest,
    responses((status = 204, description = "It is kept."), SessionRefusals),
    security(("appKey" = [])),
)]
async fn keep_session(
    State(control): State<Control>,
    AppCaller(app): AppCaller,
    AtOpenid(openid): AtOpenid,
    Json(request): Json<SessionRequest>,
) -> Answer<StatusCode> {
    let session = VoipSession {
        session_key: Zeroizing::new(request.session_key.0),
        mini_app_id: request.app_id.map(|id| id.0),
    };
    control.voip_sessions.put(&app, &openid?, &session, random()?, clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[schema(as = VoipJoinRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JoinRequest {
    /// As `POST /v1/voip/signatures` makes it.
    signature: String,
    #[schema(value_type = String, min_length = 1, max_length = 127, example = "8AP6DT9ybtniUJfb")]
    nonce_str: Nonce,
    #[schema(value_type = TimeStampView)]
    time_stamp: TimeStamp,
    /// What the room carries, where this join makes it. The first one wins.
    #[schema(value_type = schema::VoipRoomType)]
    room_type: RoomType,
    #[schema(value_type = Option<MuteConfig>)]
    mute_config: Option<Object<MuteConfig>>,
}

/// As `joinVoIPChat` takes it: kept in the member's `ext` as `muteConfig`, for the others to see.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = VoipMuteConfig)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MuteConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mute_microphone: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mute_earphone: Option<bool>,
}

refusals!(
    JoinRefusals: BODY,
    CALLER,
    &[Reason::MemberGone, Reason::MembersFull, Reason::TalkersFull, Reason::RateLimited],
);

/// Join a VoIP room
///
/// The `sub` of the user token is the openid. The signature has to be the one under the user's session key, made at most five minutes ago,
/// with a nonce that was not used before; only the same request with the same `Idempotency-Key` may show it again. Ten members find a place. The room is gone the moment the last one leaves, and the same
/// group then makes a new one.
#[utoipa::path(
    post,
    path = path::VOIP_MEMBERS,
    operation_id = "joinVoipRoom",
    tag = "VoIP",
    params(InGroup, KeyHeader),
    request_body = JoinRequest,
    responses((status = 201, description = "The member is inside.", body = JoinAnswer), JoinRefusals),
    security(("userToken" = [])),
)]
async fn join(
    State(control): State<Control>,
    UserCaller(user): UserCaller,
    InGroup(group_id): InGroup,
    origin: Origin,
    keyed: Keyed<Json<JoinRequest>>,
) -> Answer<Response> {
    control.intake.admit()?;
    let Keyed { body: Json(request), key } = keyed;
    let (app, user, group_id) = (user.app, user.user, group_id?);
    let mark = key.map(|key| key.mark(&control, &format!("user:{user}"), path::VOIP_MEMBERS));
    control.check_signature(&app, &user, &group_id, &request, mark).await?;
    let mut ext = Map::new();
    if let Some(Object(mute_config)) = &request.mute_config {
        ext.insert("muteConfig".to_owned(), serde_json::to_value(mute_config).unwrap_or(Value::Null));
    }
    let name = Name::of_voip_room(&app, &group_id)?;
    let room = VoipRoom { group_id, room_type: request.room_type };
    let talker = Talker { mark, app, user, room, ext, ordinary: control.settings.limits };
    let entered = control.enter("join_voip_room", &name, &talker).await?;
    let (done, member) = (&entered.done, &entered.member);
    Joined { done, member, reader: Reader::Member, is_creator: Some(entered.is_creator) }
        .answer(&control, &origin)
}

impl Control {
    /// Uses the signature up, if it is right. Refused is what proves nothing: the caller is not who the session key says.
    async fn check_signature(
        &self,
        app: &AppId,
        openid: &UserName,
        group_id: &RoomName,
        request: &JoinRequest,
        by: Option<Mark>,
    ) -> Result<(), Refusal> {
        let now = clock::now();
        let TimeStamp(at) = request.time_stamp;
        let until = at.valid_until(now)?;
        let session = self.voip_sessions.get(app, openid, now).await?.ok_or_else(|| {
            Reason::Unauthenticated.because(
                "no session key of this user is known; the app's backend hands it in after each login",
            )
        })?;
        let app_id = session.mini_app_id.as_deref().unwrap_or_else(|| app.as_str());
        let signed = Signed { app_id, group_id: group_id.as_str(), nonce: &request.nonce_str.0, at };
        if !signed.is_signed(&session.session_key, &request.signature) {
            self.metrics.authentication_failed("voip_signature");
            return Err(Reason::Unauthenticated.because(
                "signature: it is not the one of this app, group, nonce and time under the user's session key",
            ));
        }
        // Only now: nobody without the session key uses up a nonce.
        let usage = NonceUse { until, by };
        self.voip_sessions.use_nonce(app, &request.nonce_str.0, now, usage).await
    }
}

/// Somebody with a good signature.
struct Talker {
    mark: Option<Mark>,
    app: AppId,
    user: UserName,
    room: VoipRoom,
    ext: Map<String, Value>,
    ordinary: Limits,
}

impl Talker {
    fn join_by(&self, admission: Admission) -> Result<Join, Refusal> {
        Ok(Join {
            member: MemberId::from_random(random()?),
            admission,
            nick_name: None,
            ext: self.ext.clone(),
            mini_program: false,
            role: None,
        })
    }
}

#[async_trait]
impl Entrant for Talker {
    async fn found(&self) -> Result<(Created, Join), Refusal> {
        let id = ConferenceId::from_random(random()?);
        let join = self.join_by(creators_admission(&self.app, &id, &self.user)?)?;
        let created = Created {
            limits: self.room.room_type.limits(self.ordinary),
            creator: Some(self.user.clone()),
            voip: Some(self.room.clone()),
            ..Created::new(id, self.app.clone(), ConferenceKind::Communication)
        };
        Ok((created, join))
    }

    fn mark(&self) -> Option<Mark> {
        self.mark
    }

    async fn join(&self, _: &Conference) -> Result<Join, Refusal> {
        self.join_by(Admission::Signature { user: self.user.clone() })
    }
}
