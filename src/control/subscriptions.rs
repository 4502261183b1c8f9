//! Play URLs: subStream. Nothing of it stands in the log.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Insider;
use super::body::{OptionalJson, Query, json};
use super::document::{BODY, IN_CONFERENCE, INSIDER, refusals};
use super::members::ForUser;
use super::place::AtStream;
use super::streams::right_of;
use super::urls::Origin;
use super::{Answer, Control, path};
use crate::domain::media_url::Profile;
use crate::domain::{Direction, Reason, Refusal, UserName};
use crate::events::schema;
use crate::events::views::{StreamView, rfc3339};

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(subscribe))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SubscribeRequest {
    #[serde(default)]
    #[schema(value_type = Option<PlayProfile>)]
    profile: Option<Profile>,
    /// For the app key: whom it acts for. Absent: the app looks on for itself.
    #[schema(value_type = Option<schema::User>)]
    user: Option<UserName>,
}

/// How a viewer is served.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "tells the document what `Profile` looks like")]
enum PlayProfile {
    /// As close to now as can be.
    Rtc,
    /// Smooth, with the whole of the newest GOP at the start.
    Live,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PlayUrls)]
#[serde(rename_all = "camelCase")]
struct SubscribeAnswer<'a> {
    stream: StreamView<'a>,
    data: PlayData,
    /// Until when the URLs let in. Who plays then goes on playing.
    #[schema(value_type = schema::Time)]
    expires_at: String,
}

/// The same stream in three ways.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PlayData {
    /// For live-player, ffplay, VLC.
    #[schema(example = "rtmp://gateway.example/live/RTC1__Of_MS_k3xw5rjbq6ahn2ud?t=AQID")]
    rtmp: String,
    /// HTTP-FLV, for live-player and flv.js.
    #[schema(example = "https://gateway.example/live/RTC1__Of_MS_k3xw5rjbq6ahn2ud.flv?t=AQID")]
    flv: String,
    /// The same as binary messages of a WebSocket.
    #[schema(example = "wss://gateway.example/live/RTC1__Of_MS_k3xw5rjbq6ahn2ud.flv?t=AQID")]
    ws_flv: String,
}

refusals!(SubscribeRefusals: BODY, INSIDER, IN_CONFERENCE, &[Reason::StreamNotFound]);

/// Ask for URLs to play a stream (subStream)
///
/// Works on any declared stream: where its media does not flow yet, a player waits for it. Each answer has fresh URLs for this member
/// alone; they die with the membership. Nobody is told of it.
///
/// The app key without a `user` looks on for itself, as an operator's console does: by the right of the stream's owner, so that the URLs
/// die with the owner's stay, and without being a member or anybody's sign of life.
#[utoipa::path(
    post,
    path = path::SUBSCRIPTIONS,
    operation_id = "subscribeStream",
    tag = "Streams",
    params(AtStream, ForUser),
    request_body = Option<SubscribeRequest>,
    responses((status = 201, description = "The URLs.", body = SubscribeAnswer), SubscribeRefusals),
    security(("memberToken" = []), ("appKey" = [])),
)]
async fn subscribe(
    State(control): State<Control>,
    caller: Insider,
    place: AtStream,
    origin: Origin,
    Query(query): Query<ForUser>,
    OptionalJson(request): OptionalJson<SubscribeRequest>,
) -> Answer<Response> {
    let conference = control.reach(&caller, &place.conference).await?;
    control.intake.admit()?;
    let profile = request.profile.unwrap_or_default();
    let observes = matches!(caller, Insider::App(_)) && request.user.is_none() && query.user.is_none();
    let (stream, (token, expires_at)) = if observes {
        let stream = place.stream_of(&conference)?;
        let owner =
            conference.members.get(&stream.owner).ok_or_else(|| Refusal::from(Reason::StreamNotFound))?;
        let right = right_of(&conference, owner, stream, Direction::Play);
        conference.media_right(&right)?;
        (stream, control.observer_token(right, profile)?)
    } else {
        let member = conference.subject(&caller.subject_named(request.user, query.user)?)?;
        let stream = place.stream_of(&conference)?;
        let right = right_of(&conference, member, stream, Direction::Play);
        conference.media_right(&right)?;
        (stream, control.media_token(right, profile)?)
    };
    let urls = origin.play(&stream.id, &token);
    let answer = SubscribeAnswer {
        stream: StreamView::new(&conference, stream),
        data: PlayData { rtmp: urls.rtmp, flv: urls.flv, ws_flv: urls.ws_flv },
        expires_at: rfc3339(expires_at),
    };
    Ok(json(StatusCode::CREATED, &answer))
}
