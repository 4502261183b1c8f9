//! What the ops listener asks of the parts of the gateway.

use std::sync::{Arc, OnceLock, Weak};

use crate::conferences::Conferences;
use crate::control::ops::{Readiness, Unready};
use crate::events::{Feed, Webhooks};
use crate::hub::{Hub, TIME_BOUNDS_MS, TimesSoFar};
use crate::intake::Intake;
use crate::store::EmbeddedStore;
use crate::telemetry::{Readings, Times};

/// What a scrape of the metrics reads. Conferences are opened after the metrics, which their watchers count into.
pub(super) fn readings(
    store: &Arc<EmbeddedStore>,
    hub: &Hub,
    intake: &Intake,
    conferences: &Arc<OnceLock<Weak<Conferences>>>,
    webhooks: &Arc<OnceLock<Weak<Webhooks>>>,
    feed: &Arc<OnceLock<Weak<Feed>>>,
) -> impl Fn() -> Readings + Send + Sync + 'static {
    let (store, hub, conferences) = (Arc::clone(store), hub.clone(), Arc::clone(conferences));
    let (webhooks, feed, intake) = (Arc::clone(webhooks), Arc::clone(feed), intake.clone());
    let runtime = tokio::runtime::Handle::try_current().ok();
    move || {
        let webhooks = webhooks.get().and_then(Weak::upgrade).map(|webhooks| webhooks.stats());
        let stats = store.stats();
        let conferences = conferences.get().and_then(Weak::upgrade);
        let totals = hub.totals();
        let feed = feed.get().and_then(Weak::upgrade);
        let load = intake.overload.reading();
        Readings {
            tasks: runtime.as_ref().map_or(0, |runtime| runtime.metrics().num_alive_tasks()),
            draining: intake.drain.standing().is_some(),
            overloaded: load.passed.is_some(),
            memory_bytes: load.memory_bytes.unwrap_or_default(),
            lateness: load.lateness,
            event_sockets: feed.map_or(0, |feed| feed.socket_count()),
            viewer_skips: totals.skips,
            viewer_dropped_packets: totals.dropped_packets,
            added_delay: times(&totals.added_delay),
            first_frame: times(&totals.first_frame),
            b_frames: totals.b_frames,
            publisher_changes: totals.publisher_changes,
            publisher_gap_ms: totals.publisher_gap_ms,
            conferences: conferences.map_or(0, |conferences| conferences.count()),
            streams: hub.stream_count(),
            store_bytes: stats.file_bytes,
            store_wal_bytes: stats.wal_bytes,
            store_operations: stats.operations,
            store_commits: stats.commits,
            store_failed_commits: stats.failed_commits,
            store_refused: stats.refused_busy,
            webhook_lanes: webhooks.map_or(0, |webhooks| webhooks.lanes),
            webhook_lag_ms: webhooks.map_or(0, |webhooks| webhooks.lag_ms),
        }
    }
}

fn times(so_far: &TimesSoFar) -> Times {
    Times::of_ms(&TIME_BOUNDS_MS, &so_far.classes, so_far.sum_ms)
}

/// Whether the gateway serves, and why not.
pub(super) fn readiness(conferences: &Arc<Conferences>, intake: &Intake) -> Readiness {
    let (conferences, intake) = (Arc::clone(conferences), intake.clone());
    Arc::new(move || {
        let mut unready = Vec::new();
        if let Some(draining) = intake.drain.standing() {
            let why = if draining.ends {
                "it is shutting down"
            } else {
                "it is drained by an operator; `tidegate undrain` ends that"
            };
            unready.push(Unready { part: "gateway", why: why.to_owned() });
        }
        if let Some(passed) = intake.overload.reading().passed {
            unready.push(Unready { part: "load", why: passed.why().to_owned() });
        }
        if let Some(why) = conferences.store_trouble() {
            unready.push(Unready { part: "store", why });
        }
        unready
    })
}
