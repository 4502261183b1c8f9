//! How a stream does.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Insider;
use super::body::json;
use super::document::{IN_CONFERENCE, INSIDER, refusals};
use super::place::AtStream;
use super::{Answer, Control, path};
use crate::clock;
use crate::domain::{Reason, StreamId};
use crate::events::schema;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(stats))
}

/// Rates are those of what the publisher sends, over the last five seconds, whether or not it may pass.
#[derive(Serialize, ToSchema)]
#[schema(as = StreamStats)]
#[serde(rename_all = "camelCase")]
struct StatsAnswer<'a> {
    #[schema(value_type = schema::StreamName)]
    stream_id: &'a StreamId,
    live: bool,
    video_bitrate_bps: u64,
    audio_bitrate_bps: u64,
    /// Pictures a second, with one digit behind the point.
    fps: f64,
    /// Between the two newest keyframes; null before the second.
    #[schema(required)]
    keyframe_gap_ms: Option<u64>,
    /// Pictures of this publisher that are shown before one that it sent earlier (B-frames). Players in WeChat's RTC mode stutter with them:
    /// turn them off in the encoder.
    b_frames: u64,
    /// How often another publisher went on with the stream: the same member from another connection.
    publisher_changes: u64,
    /// How long the stream stood still the last time: from the last picture or sound of the publisher before to the first of the next.
    /// Viewers see so much of a gap, and their times go on by as much. Null where there was no change.
    #[schema(required)]
    publisher_gap_ms: Option<u64>,
    viewers: usize,
    /// How long viewers waited in this gateway for their first picture, or for sound where there are no pictures: from when they were let in,
    /// or from when media began to flow, the average. Null before the first.
    #[schema(required)]
    first_frame_ms: Option<u64>,
    /// The longest that one waited.
    #[schema(required)]
    first_frame_max_ms: Option<u64>,
    /// Packets that viewers passed over because they were too far behind, added up over all viewers.
    dropped_packets: u64,
    /// How often a viewer passed something over.
    skips: u64,
    /// How long a packet waits in this gateway, from when it has arrived whole until it is handed to a viewer's connection: the average
    /// over what all viewers took in the last five to ten seconds. 0 is less than a millisecond. What a viewer begins with, which is
    /// older, does not count; nor do the networks on both sides. Null where nobody watched.
    #[schema(required)]
    added_delay_ms: Option<u64>,
    /// The longest that a packet waited for a viewer in that time. It grows where a viewer's network is slower than the stream.
    #[schema(required)]
    added_delay_max_ms: Option<u64>,
    /// What is not let pass: by a mute, because it is turned off, or for want of a video place.
    held_back: HeldBack,
}

/// What viewers do not get.
#[derive(Serialize, ToSchema)]
struct HeldBack {
    audio: bool,
    video: bool,
}

refusals!(StatsRefusals: INSIDER, IN_CONFERENCE, &[Reason::StreamNotFound]);

/// Look at a stream's figures
///
/// All zeros before anybody publishes.
#[utoipa::path(
    get,
    path = path::STATS,
    operation_id = "streamStats",
    tag = "Streams",
    params(AtStream),
    responses((status = 200, description = "The figures of this moment.", body = StatsAnswer), StatsRefusals),
    security(("memberToken" = []), ("appKey" = [])),
)]
async fn stats(State(control): State<Control>, caller: Insider, place: AtStream) -> Answer<Response> {
    let conference = control.reach(&caller, &place.conference).await?;
    if let Insider::Member(_) = &caller {
        conference.subject(&caller.subject(None)?)?;
    }
    let stream = place.stream_of(&conference)?;
    // What nobody has published or played yet is all zeros.
    let stats = control.hub.stats(&stream.id).unwrap_or_default();
    let rates = control.hub.rates(&stream.id, clock::steady()).unwrap_or_default();
    let delay = control.hub.delay(&stream.id, clock::steady());
    let gate = conference.media_gate(&stream.id);
    let tenths = u32::try_from((rates.millipictures + 50) / 100).unwrap_or(u32::MAX);
    let answer = StatsAnswer {
        stream_id: &stream.id,
        live: stream.live.is_some(),
        video_bitrate_bps: rates.video_bits,
        audio_bitrate_bps: rates.audio_bits,
        fps: f64::from(tenths) / 10.0,
        keyframe_gap_ms: stats.keyframe_gap_ms,
        b_frames: stats.b_frames,
        publisher_changes: stats.publisher_changes,
        publisher_gap_ms: stats.publisher_gap_ms,
        viewers: stats.viewers,
        first_frame_ms: stats.first_frame_ms,
        first_frame_max_ms: stats.first_frame_max_ms,
        dropped_packets: stats.dropped_packets,
        skips: stats.skips,
        added_delay_ms: delay.map(|delay| delay.mean_ms),
        added_delay_max_ms: delay.map(|delay| delay.max_ms),
        held_back: HeldBack { audio: !gate.audio, video: !gate.video },
    };
    Ok(json(StatusCode::OK, &answer))
}
