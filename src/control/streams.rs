//! Streams: pubStream, turning pictures and sound on and off, and taking a stream back.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Insider;
use super::body::{Flag, Json, Query, json};
use super::document::{BODY, IN_CONFERENCE, INSIDER, QUERY, refusals};
use super::idempotency::{KeyHeader, Keyed, acting};
use super::members::ForUser;
use super::place::{AtStream, InConference};
use super::urls::Origin;
use super::{Answer, Control, expiry, path, random};
use crate::clock;
use crate::domain::conference::{Actor, Member, Stream};
use crate::domain::event::StreamKind;
use crate::domain::media_url::{MediaGrant, Profile};
use crate::domain::{
    Command, Conference, Direction, MediaRight, Reason, Refusal, RtcId, StreamId, Timestamp, UserName,
};
use crate::events::schema;
use crate::events::views::{StreamView, rfc3339};

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(publish)).routes(routes!(change, undeclare))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PublishRequest {
    #[schema(value_type = schema::RtcName)]
    rtc_id: RtcId,
    #[serde(default, rename = "type")]
    #[schema(value_type = schema::StreamType)]
    kind: StreamKind,
    /// With `1` the stream takes no place for video until video comes. Where none is free then, the video is held back and the owner is
    /// told `mediaChanged` with `refused`; it passes as soon as a place is free.
    #[serde(default)]
    #[schema(value_type = schema::OffFlag)]
    voff: Flag,
    /// With `1` sound is held back until the owner turns it on.
    #[serde(default)]
    #[schema(value_type = schema::OffFlag)]
    aoff: Flag,
    /// For the app key: whom it acts for.
    #[schema(value_type = Option<schema::User>)]
    user: Option<UserName>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PublishUrl)]
#[serde(rename_all = "camelCase")]
struct PublishAnswer<'a> {
    stream: StreamView<'a>,
    data: PublishData,
    /// Until when the URL lets in. Who publishes then goes on publishing.
    #[schema(value_type = schema::Time)]
    expires_at: String,
}

/// Where to publish to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PublishData {
    /// For live-pusher and ffmpeg.
    #[schema(example = "rtmp://gateway.example/live/RTC1__Of_MS_k3xw5rjbq6ahn2ud?t=AQID")]
    rtmp: String,
    /// The same in two parts, for OBS: the server
    #[schema(example = "rtmp://gateway.example/live")]
    rtmp_server: String,
    /// and the stream key.
    #[schema(example = "RTC1__Of_MS_k3xw5rjbq6ahn2ud?t=AQID")]
    rtmp_key: String,
}

refusals!(
    PublishRefusals: BODY,
    INSIDER,
    IN_CONFERENCE,
    &[Reason::StreamNotFound, Reason::VideosFull, Reason::DesktopsFull],
);

/// Declare a stream and get its publish URL (pubStream)
///
/// For a TALKER or ADMIN. The stream stays declared until it is deleted or its owner leaves, is removed or may no longer publish. Asking
/// again with the same `rtcId` answers the same stream with a fresh URL. The others are told `streamAdded` when media really flows.
#[utoipa::path(
    post,
    path = path::STREAMS,
    operation_id = "publishStream",
    tag = "Streams",
    params(InConference, ForUser, KeyHeader),
    request_body = PublishRequest,
    responses((status = 201, description = "The stream and its URL.", body = PublishAnswer), PublishRefusals),
    security(("memberToken" = []), ("appKey" = [])),
)]
async fn publish(
    State(control): State<Control>,
    caller: Insider,
    InConference(id): InConference,
    origin: Origin,
    Query(query): Query<ForUser>,
    keyed: Keyed<Json<PublishRequest>>,
) -> Answer<Response> {
    let Keyed { body: Json(request), key } = keyed;
    control.reach(&caller, &id).await?;
    control.intake.admit()?;
    let subject = caller.subject_named(request.user, query.user)?;
    let mark = key.map(|key| key.mark(&control, &acting(&subject), path::STREAMS));
    let command = Command::DeclareStream {
        subject: subject.clone(),
        rtc_id: request.rtc_id.clone(),
        kind: request.kind,
        video_off: request.voff.0,
        audio_off: request.aoff.0,
    };
    let done = control.execute_once("pub_stream", &id, command, mark).await?;
    // The answer may be of a moment after the command: what was taken back in between gets no URL.
    let conference = &*done.conference;
    let member = conference.subject(&subject)?;
    let stream = conference.streams.get(&StreamId::new(&request.rtc_id, &member.id)).ok_or_else(|| {
        Reason::StreamNotFound.because("this stream was deleted as soon as it was declared")
    })?;
    let right = right_of(conference, member, stream, Direction::Publish);
    let (token, expires_at) = control.media_token(right, Profile::default())?;
    let urls = origin.publish(&stream.id, &token);
    let answer = PublishAnswer {
        stream: StreamView::new(conference, stream),
        data: PublishData { rtmp: urls.rtmp, rtmp_server: urls.rtmp_server, rtmp_key: urls.rtmp_key },
        expires_at: rfc3339(expires_at),
    };
    Ok(json(StatusCode::CREATED, &answer))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ChangeStreamRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangeRequest {
    /// `1` turns the pictures off and gives their place back, `0` takes a place.
    #[schema(value_type = Option<schema::OffFlag>)]
    voff: Option<Flag>,
    /// `1` turns the sound off.
    #[schema(value_type = Option<schema::OffFlag>)]
    aoff: Option<Flag>,
    /// For the app key: whom it acts for.
    #[schema(value_type = Option<schema::User>)]
    user: Option<UserName>,
}

refusals!(ChangeRefusals: BODY, INSIDER, IN_CONFERENCE, &[Reason::StreamNotFound, Reason::VideosFull]);

/// Turn pictures or sound of a stream on or off
///
/// By its owner. What is off is held back by the gateway, whatever is sent. Everyone is told `mediaChanged` where it makes a difference.
#[utoipa::path(
    patch,
    path = path::STREAM,
    operation_id = "changeStream",
    tag = "Streams",
    params(AtStream, ForUser),
    request_body = ChangeRequest,
    responses((status = 200, description = "The stream as it is now.", body = StreamView), ChangeRefusals),
    security(("memberToken" = []), ("appKey" = [])),
)]
async fn change(
    State(control): State<Control>,
    caller: Insider,
    place: AtStream,
    Query(query): Query<ForUser>,
    Json(request): Json<ChangeRequest>,
) -> Answer<Response> {
    let conference = control.reach(&caller, &place.conference).await?;
    let subject = caller.subject_named(request.user, query.user)?;
    conference.subject(&subject)?;
    let command = Command::ChangeStream {
        subject,
        stream: place.stream_of(&conference)?.id.clone(),
        video_off: request.voff.map(|off| off.0),
        audio_off: request.aoff.map(|off| off.0),
    };
    let done = control.execute("change_stream", &place.conference, command).await?;
    // The answer may be of a moment after the change: what was taken back in between is told so.
    let stream = place.stream_of(&done.conference)?;
    Ok(json(StatusCode::OK, &StreamView::new(&done.conference, stream)))
}

refusals!(UndeclareRefusals: QUERY, INSIDER, IN_CONFERENCE, &[Reason::StreamNotFound]);

/// Delete a stream
///
/// Its owner, an ADMIN or the app. Its publisher and its viewers are cut off at once, and all its URLs are refused.
#[utoipa::path(
    delete,
    path = path::STREAM,
    operation_id = "deleteStream",
    tag = "Streams",
    params(AtStream, ForUser),
    responses((status = 204, description = "Deleted."), UndeclareRefusals),
    security(("memberToken" = []), ("appKey" = [])),
)]
async fn undeclare(
    State(control): State<Control>,
    caller: Insider,
    place: AtStream,
    Query(query): Query<ForUser>,
) -> Answer<StatusCode> {
    let conference = control.reach(&caller, &place.conference).await?;
    let by = match (&caller, &query.user) {
        (Insider::App(_), None) => Actor::App,
        _ => Actor::Member(caller.subject(query.user)?),
    };
    if let Actor::Member(subject) = &by {
        conference.subject(subject)?;
    }
    let stream = place.stream_of(&conference)?.id.clone();
    control.execute("delete_stream", &place.conference, Command::UndeclareStream { by, stream }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The right of `member` to one direction of `stream`, as both stand now.
pub(super) fn right_of(
    conference: &Conference,
    member: &Member,
    stream: &Stream,
    direction: Direction,
) -> MediaRight {
    MediaRight {
        conference: conference.id().clone(),
        member: member.id.clone(),
        epoch: member.epoch,
        direction,
        stream: stream.id.clone(),
        declared: stream.declared,
    }
}

impl Control {
    /// The token of a media URL, and when it stops admitting.
    pub(super) fn media_token(
        &self,
        right: MediaRight,
        profile: Profile,
    ) -> Result<(String, Timestamp), Refusal> {
        let expires_at = expiry(clock::now(), self.settings.media_url_ttl_secs);
        let grant = MediaGrant { right, profile, expires_at, nonce: random()?, is_observer: false };
        Ok((self.keys.media.mint(&grant), expires_at))
    }

    /// The same for the app itself, which looks on by the right of the stream's owner.
    pub(super) fn observer_token(
        &self,
        right: MediaRight,
        profile: Profile,
    ) -> Result<(String, Timestamp), Refusal> {
        let expires_at = expiry(clock::now(), self.settings.media_url_ttl_secs);
        let grant = MediaGrant { right, profile, expires_at, nonce: random()?, is_observer: true };
        Ok((self.keys.media.mint(&grant), expires_at))
    }
}
