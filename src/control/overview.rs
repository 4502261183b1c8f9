//! What the app has going on, and had over the last hour.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::AppCaller;
use super::body::json;
use super::document::{CALLER, refusals};
use super::{Answer, Control, path};
use crate::clock;
use crate::domain::AppId;
use crate::events::schema;
use crate::events::views::rfc3339;
use crate::events::webhooks::TargetQueue;
use crate::overview::{Sample, counts_now};

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(overview))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Overview)]
#[serde(rename_all = "camelCase")]
struct OverviewAnswer<'a> {
    #[schema(value_type = String, example = "a7xk2mvq3nrw5tbz")]
    app_id: &'a AppId,
    /// Of the gateway.
    #[schema(example = "0.1.0")]
    version: &'static str,
    #[schema(value_type = schema::Time)]
    at: String,
    /// Conferences that are open.
    conferences: u32,
    /// Members inside.
    members: u32,
    /// Streams whose media flows.
    streams: u32,
    /// Members that play, counted per connection. Who looks on for the app itself does not count.
    viewers: u32,
    /// What webhook targets have still to be told. Targets that are not enabled are told nothing.
    webhooks: Vec<QueueView>,
    /// Between two samples.
    sample_ms: u64,
    /// At most 360 samples, the oldest first. It begins anew when the gateway starts, and is empty where there was nothing to tell.
    history: Vec<SampleView>,
}

/// What a webhook target has still to be told.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookQueue)]
#[serde(rename_all = "camelCase")]
struct QueueView {
    #[schema(example = "main")]
    target_id: String,
    /// Conferences with events that it was not told yet.
    waiting_conferences: usize,
    /// How long ago the oldest of these events happened.
    lag_ms: u64,
}

impl From<TargetQueue> for QueueView {
    fn from(queue: TargetQueue) -> Self {
        Self {
            target_id: queue.target.as_str().to_owned(),
            waiting_conferences: queue.conferences,
            lag_ms: queue.lag_ms,
        }
    }
}

/// What there was at a moment. Bitrates and refusals are those since the sample before.
#[derive(Serialize, ToSchema)]
#[schema(as = OverviewSample)]
#[serde(rename_all = "camelCase")]
struct SampleView {
    #[schema(value_type = schema::Time)]
    at: String,
    conferences: u32,
    members: u32,
    streams: u32,
    viewers: u32,
    /// From publishers.
    received_bitrate_bps: u64,
    /// To viewers.
    sent_bitrate_bps: u64,
    /// Requests with a good credential of the app that were refused.
    refused: u32,
}

impl From<Sample> for SampleView {
    fn from(sample: Sample) -> Self {
        Self {
            at: rfc3339(sample.at),
            conferences: sample.counts.conferences,
            members: sample.counts.members,
            streams: sample.counts.streams,
            viewers: sample.counts.viewers,
            received_bitrate_bps: sample.received_bps,
            sent_bitrate_bps: sample.sent_bps,
            refused: sample.refused,
        }
    }
}

refusals!(OverviewRefusals: CALLER);

/// Look at what the app has going on
///
/// Now, and in samples over the last hour. This gateway's own, in memory, for an operator who comes after the alarm; what is to be kept
/// for longer is for a scraper of the metrics.
#[utoipa::path(
    get,
    path = path::OVERVIEW,
    operation_id = "getOverview",
    tag = "Sessions",
    responses((status = 200, description = "The figures.", body = OverviewAnswer), OverviewRefusals),
    security(("appKey" = [])),
)]
async fn overview(State(control): State<Control>, AppCaller(app): AppCaller) -> Answer<Response> {
    let counts = counts_now(&app, &control.conferences, &control.sessions);
    let answer = OverviewAnswer {
        app_id: &app,
        version: env!("CARGO_PKG_VERSION"),
        at: rfc3339(clock::now()),
        conferences: counts.conferences,
        members: counts.members,
        streams: counts.streams,
        viewers: counts.viewers,
        webhooks: control.webhooks.queues(&app).into_iter().map(QueueView::from).collect(),
        sample_ms: control.settings.overview_sample_ms,
        history: control.overview.history(&app).into_iter().map(SampleView::from).collect(),
    };
    Ok(json(StatusCode::OK, &answer))
}
