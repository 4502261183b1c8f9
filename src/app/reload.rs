//! Settings that change while the gateway runs: read anew as a whole, checked as a whole, taken as a whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::doors::DoorCounts;
use super::meaning::overload_marks;
use crate::conferences::apps::Apps;
use crate::conferences::quota::{AppLimits, LimitLookup};
use crate::config::{Config, ConfigError, Loaded, NeedsRestart};
use crate::control::admin::Reload;
use crate::control::{Control, CorsOrigins, GuardSettings};
use crate::open_files;
use crate::outbound::{Outbound, Policy};
use crate::overload::Overload;
use crate::places::{Limit, PlaceLimits};
use crate::telemetry::{FilterError, LogControl};

/// Where settings are read again, and the log that follows them.
pub struct Source {
    /// Reads the file and the environment as the start did.
    pub read: Box<dyn Fn() -> Result<Loaded, ConfigError> + Send + Sync>,
    /// The log of the process.
    pub log: LogControl,
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The settings are wrong.
    #[error("{0}; nothing was changed")]
    Wrong(#[from] ConfigError),
    /// They ask for more than a running gateway can do.
    #[error(transparent)]
    NeedsRestart(#[from] NeedsRestart),
    /// The log does not take its filter.
    #[error("`log`: {0}; nothing was changed")]
    Log(#[from] FilterError),
}

/// The settings as they are now, for what looks at each use.
#[derive(Clone)]
pub(super) struct Current(Arc<RwLock<Arc<Config>>>);

impl Current {
    pub(super) fn new(config: &Config) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config.clone()))))
    }

    fn get(&self) -> Arc<Config> {
        Arc::clone(&self.0.read())
    }
}

/// Carries changes out.
pub struct Reloader {
    pub(super) source: Source,
    pub(super) current: Current,
    pub(super) counts: DoorCounts,
    pub(super) overload: Overload,
    pub(super) control: Control,
    pub(super) outbound: Outbound,
    /// One reload at a time.
    pub(super) turn: Mutex<()>,
}

impl Reloader {
    /// Reads the settings anew and takes them over, all or none; answers with the keys that changed.
    pub fn reload(&self) -> Result<Vec<&'static str>, ReloadError> {
        let outcome = self.take_over();
        match &outcome {
            Ok(changed) if changed.is_empty() => tracing::info!("settings were read again; none has changed"),
            Ok(changed) => tracing::info!(changed = changed.join(", "), "settings were changed"),
            Err(error) => tracing::warn!(%error, "settings were not changed"),
        }
        outcome
    }

    fn take_over(&self) -> Result<Vec<&'static str>, ReloadError> {
        let _turn = self.turn.lock();
        let Loaded { config, warnings } = (self.source.read)()?;
        let before = self.current.get();
        let changed = before.live_changes(&config)?;
        // The only step that can fail, although the filter was checked: the others follow or nothing does.
        if before.log != config.log {
            self.source.log.set(config.log.as_str())?;
        }
        self.apply(&before, &config);
        *self.current.0.write() = Arc::new(config);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(changed)
    }

    fn apply(&self, before: &Config, config: &Config) {
        self.counts.connections.set_limits(connection_limits(config));
        self.counts.handshakes.set_limits(handshake_limits(config));
        if before.connections_max != config.connections_max
            && let Some(warning) = open_files::raise_limit(config.connections_max, config.relays_max)
        {
            tracing::warn!("{warning}");
        }
        self.overload.set_marks(overload_marks(config));
        self.control.guard.apply(guard_settings(config));
        self.control.set_cors(&cors_origins(config));
        if before.outbound_allow != config.outbound_allow {
            self.outbound.forget_connections();
        }
    }
}

/// Places for all connections.
pub(super) fn connection_limits(config: &Config) -> PlaceLimits {
    PlaceLimits {
        in_all: Limit { setting: "connections_max", max: config.connections_max as usize },
        per_address: Limit {
            setting: "connections_per_address_max",
            max: config.connections_per_address_max as usize,
        },
    }
}

/// Places for those that have not shown yet what they are here for.
pub(super) fn handshake_limits(config: &Config) -> PlaceLimits {
    PlaceLimits {
        in_all: Limit { setting: "handshakes_max", max: config.handshakes_max as usize },
        per_address: Limit {
            setting: "handshakes_per_address_max",
            max: config.handshakes_per_address_max as usize,
        },
    }
}

pub(super) fn cors_origins(config: &Config) -> CorsOrigins {
    config.cors_origins.0.clone().map_or(CorsOrigins::Any, CorsOrigins::Only)
}

/// Calls to addresses outside, and to those inside that the operator allows.
pub(super) fn outbound(current: &Current) -> Outbound {
    let timeout = Duration::from_millis(current.get().webhook_timeout_ms);
    let current = current.clone();
    Outbound::new(Policy::new(move |address| current.get().outbound_allow.contains(address)), timeout)
}

/// An app's own limits, and those of the settings where it has none.
pub(super) fn app_limits(current: &Current, apps: &Arc<Apps>) -> LimitLookup {
    let (current, apps) = (current.clone(), Arc::clone(apps));
    Arc::new(move |app| {
        let own = apps.is_there(app).then(|| apps.limits(app))?;
        let config = current.get();
        Some(AppLimits {
            rooms_per_day_max: own.rooms_per_day_max.unwrap_or(config.rooms_per_day_max),
            conferences_max: own.conferences_max.unwrap_or(config.conferences_per_app_max),
        })
    })
}

pub(super) fn guard_settings(config: &Config) -> GuardSettings {
    GuardSettings {
        requests_in_flight_max: config.requests_in_flight_max,
        requests_per_address: config.requests_per_address,
        requests_per_credential: config.requests_per_credential,
        failed_authentications_per_address: config.failed_authentications_per_address,
        wrong_passwords_per_user: config.wrong_passwords_per_user,
    }
}

/// A reload for whoever names neither settings nor the parts of the gateway.
pub(super) fn as_asked(reloader: &Arc<Reloader>) -> Reload {
    let reloader = Arc::clone(reloader);
    Arc::new(move || reloader.reload().map_err(|error| error.to_string()))
}
