//! Relays, put together from the settings and the other parts.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::conferences::Conferences;
use crate::config::Config;
use crate::domain::ticket::TokenKeys;
use crate::hub::{Hub, SessionTable};
use crate::outbound::Policy;
use crate::relays::{RelayDeps, RelaySettings, RelayTable, Relays, RetryTimes};
use crate::rtmp::relay::LinkTimes;
use crate::store::EmbeddedStore;
use crate::telemetry::Metrics;
use crate::tls::TlsClient;

/// What relays are made of.
pub(super) struct RelayParts<'a> {
    pub(super) store: Arc<EmbeddedStore>,
    pub(super) keys: &'a TokenKeys,
    pub(super) conferences: &'a Arc<Conferences>,
    pub(super) hub: &'a Hub,
    pub(super) sessions: &'a SessionTable,
    pub(super) policy: Policy,
    pub(super) metrics: &'a Metrics,
    pub(super) draining: &'a CancellationToken,
}

impl RelayParts<'_> {
    /// Resumes the relays that are kept.
    pub(super) async fn open(
        self,
        table: Arc<RelayTable>,
        config: &Config,
    ) -> Result<Arc<Relays>, StartError> {
        let deps = RelayDeps {
            store: self.store,
            sealing: self.keys.sealing.clone(),
            conferences: Arc::clone(self.conferences),
            hub: self.hub.clone(),
            sessions: self.sessions.clone(),
            policy: self.policy,
            tls: TlsClient::new(config.relay_ca_file.as_deref())?,
            settings: relay_settings(config),
            metrics: self.metrics.clone(),
            draining: self.draining.clone(),
        };
        Relays::open(table, deps).await.map_err(StartError::Relays)
    }
}

fn relay_settings(config: &Config) -> RelaySettings {
    RelaySettings {
        per_conference_max: config.relays_per_conference_max as usize,
        relays_max: config.relays_max as usize,
        times: LinkTimes {
            connect: Duration::from_millis(config.relay_connect_timeout_ms),
            stall: Duration::from_millis(config.viewer_stall_ms),
            idle: Duration::from_millis(config.relay_idle_ms),
        },
        retry: RetryTimes {
            min: Duration::from_millis(config.relay_retry_min_ms),
            max: Duration::from_millis(config.relay_retry_max_ms),
        },
    }
}
