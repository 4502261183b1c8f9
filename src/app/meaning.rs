//! What the settings mean for each part.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::control;
use crate::control::server::ServeOptions;
use crate::control::urls::Endpoints;
use crate::entrance::Entrance;
use crate::events::webhooks::WebhookSettings;
use crate::hub::{HubSettings, SessionTable};
use crate::intake::Intake;
use crate::listen::Listening;
use crate::overload::{Marks, Overload};
use crate::presence::ContactTimes;
use crate::retention::Keep;
use crate::rtmp::crowd::MergeWindows;
use crate::rtmp::{RtmpSettings, UnfinishedBudget};
use crate::telemetry::Metrics;

/// How long a connection that is over may take to read its last answer: a round trip on a poor network.
const GOODBYE: Duration = Duration::from_secs(2);

pub(super) fn contact_times(config: &Config) -> ContactTimes {
    ContactTimes {
        first_contact: Duration::from_millis(config.first_contact_ms),
        member_timeout: Duration::from_millis(config.member_timeout_ms),
        unused_conference: Duration::from_millis(config.unused_conference_ms),
        empty_conference: Duration::from_millis(config.empty_conference_ms),
    }
}

pub(super) fn keep(config: &Config) -> Keep {
    Keep {
        events_ms: config.events_kept_seconds.saturating_mul(1000),
        events_max: config.events_kept_max,
        closed_ms: config.closed_told_seconds.saturating_mul(1000),
        pause: Duration::from_millis(config.retention_pause_ms),
        steps_per_second: config.retention_steps_per_second,
    }
}

pub(super) fn hub_settings(config: &Config) -> HubSettings {
    HubSettings {
        ring_bytes_max: config.ring_bytes_max,
        ring_ms_max: config.ring_ms_max.into(),
        ring_packets_max: config.ring_packets_max,
        rtc_lag_max_ms: config.rtc_lag_max_ms.into(),
        live_lag_max_ms: config.live_lag_max_ms.into(),
        burst_squeeze_ms: config.rtc_burst_ms.into(),
        viewers_per_stream_max: config.viewers_per_stream_max as usize,
    }
}

pub(super) fn webhook_settings(config: &Config) -> WebhookSettings {
    WebhookSettings {
        retry_min: Duration::from_millis(config.webhook_retry_min_ms),
        retry_max: Duration::from_millis(config.webhook_retry_max_ms),
        give_up_ms: config.webhook_give_up_seconds * 1000,
        conferences_at_once: config.webhook_conferences_at_once as usize,
    }
}

pub(super) fn merge_windows(config: &Config) -> MergeWindows {
    MergeWindows {
        rtc: Duration::from_millis(config.rtc_merge_ms.into()),
        live: Duration::from_millis(config.live_merge_ms.into()),
    }
}

pub(super) fn rtmp_settings(config: &Config) -> RtmpSettings {
    RtmpSettings {
        handshake_timeout: Duration::from_millis(config.handshake_timeout_ms),
        play_wait: Duration::from_millis(config.play_wait_ms),
        viewer_stall: Duration::from_millis(config.viewer_stall_ms),
        publisher_idle: Duration::from_millis(config.publisher_idle_ms),
        // A stop does not wait longer for a peer than it may take.
        goodbye: GOODBYE.min(Duration::from_millis(config.drain_ms)),
    }
}

pub(super) fn control_settings(config: &Config) -> control::Settings {
    control::Settings {
        limits: config.conference_limits(),
        user_token_ttl_secs: config.user_token_ttl_seconds,
        ticket_ttl_secs: config.ticket_ttl_seconds,
        media_url_ttl_secs: config.media_url_ttl_seconds,
        answer_stall: Duration::from_millis(config.viewer_stall_ms),
        event_ping: Duration::from_millis(config.event_ping_ms),
        console: config.console,
        join_page: config.join_page,
        overview_sample_ms: config.overview_sample_ms,
    }
}

pub(super) fn endpoints(config: &Config, listening: Listening) -> Endpoints {
    let trusted = config.trusted_proxies.clone();
    Endpoints {
        public_rtmp_url: config.public_rtmp_url.as_ref().map(|url| url.as_str().to_owned()),
        public_http_url: config.public_http_url.as_ref().map(|url| url.as_str().to_owned()),
        rtmp: super::doors::rtmp_origin(listening),
        trusted_proxy: Arc::new(move |address| trusted.contains(address)),
    }
}

pub(super) fn serve_options(config: &Config, entrance: Entrance, metrics: &Metrics) -> ServeOptions {
    ServeOptions {
        head_timeout: Duration::from_millis(config.handshake_timeout_ms),
        write_stall: Duration::from_millis(config.viewer_stall_ms),
        grace: stop_grace(config),
        entrance,
        metrics: metrics.clone(),
    }
}

/// What is left of a stop when those inside have had their time.
pub(super) fn stop_grace(config: &Config) -> Duration {
    Duration::from_millis(config.drain_ms - config.stop_notice_ms())
}

/// Who newcomers ask.
pub(super) fn intake(config: &Config) -> Intake {
    Intake { overload: Overload::new(overload_marks(config)), ..Intake::default() }
}

/// From where on it is too much.
pub(super) fn overload_marks(config: &Config) -> Marks {
    Marks::new(config.overload_memory_bytes, Duration::from_millis(config.overload_lateness_ms))
}

pub(super) fn session_table(config: &Config) -> SessionTable {
    SessionTable::new(config.plays_per_url as usize)
        .with_viewers_per_conference(config.viewers_per_conference_max as usize)
}

/// What unfinished messages may take.
pub(super) fn unfinished_budget(config: &Config) -> UnfinishedBudget {
    UnfinishedBudget::new(usize::try_from(config.unfinished_bytes_max).unwrap_or(usize::MAX))
}
