//! Play URLs: subStream. Nothing of it stands in the log.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde::{Deserialize, Serialize};

use super::auth::Insider;
use super::body::{OptionalJson, Query, json};
use super::members::ForUser;
use super::place::AtStream;
use super::streams::right_of;
use super::urls::Origin;
use super::{Answer, Control, path};
use crate::domain::media_url::Profile;
use crate::domain::{Direction, UserName};
use crate::events::views::{StreamView, rfc3339};

pub(super) fn routes() -> Router<Control> {
    Router::new().route(path::SUBSCRIPTIONS, post(subscribe))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscribeRequest {
    #[serde(default)]
    profile: Option<Profile>,
    user: Option<UserName>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SubscribeAnswer<'a> {
    stream: StreamView<'a>,
    data: PlayData,
    expires_at: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlayData {
    rtmp: String,
    flv: String,
    ws_flv: String,
}

async fn subscribe(
    State(control): State<Control>,
    caller: Insider,
    place: AtStream,
    origin: Origin,
    Query(query): Query<ForUser>,
    OptionalJson(request): OptionalJson<SubscribeRequest>,
) -> Answer<Response> {
    let conference = control.reach(&caller, &place.conference).await?;
    let member = conference.subject(&caller.subject_named(request.user, query.user)?)?;
    let stream = place.stream_of(&conference)?;
    let right = right_of(&conference, member, stream, Direction::Play);
    conference.media_right(&right)?;
    let (token, expires_at) = control.media_token(right, request.profile.unwrap_or_default())?;
    let urls = origin.play(&stream.id, &token);
    let answer = SubscribeAnswer {
        stream: StreamView::new(&conference, stream),
        data: PlayData { rtmp: urls.rtmp, flv: urls.flv, ws_flv: urls.ws_flv },
        expires_at: rfc3339(expires_at),
    };
    Ok(json(StatusCode::CREATED, &answer))
}
