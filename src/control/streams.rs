//! Streams: pubStream and taking a stream back.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{delete, post};
use serde::{Deserialize, Serialize};

use super::auth::Insider;
use super::body::{Flag, Json, Query, json};
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
use crate::events::views::{StreamView, rfc3339};

pub(super) fn routes() -> Router<Control> {
    Router::new().route(path::STREAMS, post(publish)).route(path::STREAM, delete(undeclare))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PublishRequest {
    rtc_id: RtcId,
    #[serde(default, rename = "type")]
    kind: StreamKind,
    #[serde(default)]
    voff: Flag,
    #[serde(default)]
    aoff: Flag,
    user: Option<UserName>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PublishAnswer<'a> {
    stream: StreamView<'a>,
    data: PublishData,
    expires_at: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PublishData {
    rtmp: String,
    rtmp_server: String,
    rtmp_key: String,
}

async fn publish(
    State(control): State<Control>,
    caller: Insider,
    InConference(id): InConference,
    origin: Origin,
    Query(query): Query<ForUser>,
    Json(request): Json<PublishRequest>,
) -> Answer<Response> {
    control.reach(&caller, &id).await?;
    let subject = caller.subject_named(request.user, query.user)?;
    let command = Command::DeclareStream {
        subject: subject.clone(),
        rtc_id: request.rtc_id.clone(),
        kind: request.kind,
        video_off: request.voff.0,
        audio_off: request.aoff.0,
    };
    let done = control.execute("pub_stream", &id, command).await?;
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
        let grant = MediaGrant { right, profile, expires_at, nonce: random()? };
        Ok((self.keys.media.mint(&grant), expires_at))
    }
}
