//! The listeners: their sockets, and what a connection passes at each.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::clock;
use crate::config::{AddressRanges, Config};
use crate::control::urls::RtmpScheme;
use crate::entrance::{Admit, Entrance, Newcomer, Place};
use crate::listen::{self, Bound, ListenAddresses, ListenError, Listening};
use crate::places::{self, Full, Places};
use crate::telemetry::{Metrics, Protocol};
use crate::tls::{Outcome, Pair, Renewal, Tls, TlsDoor, TlsError, TlsFiles};

/// Sockets that listen, by what is spoken there.
pub(super) struct Listeners {
    pub(super) rtmp: Option<Bound>,
    pub(super) rtmps: Option<Bound>,
    pub(super) http: Bound,
    pub(super) https: Option<Bound>,
    pub(super) ops: Bound,
}

impl Listeners {
    /// Listens wherever the settings say.
    pub(super) fn bind(config: &Config) -> Result<Self, ListenError> {
        let bind = |setting, list: &ListenAddresses| {
            let bound = listen::bind(setting, list)?;
            for warning in &bound.warnings {
                tracing::warn!("{warning}");
            }
            Ok::<_, ListenError>(bound)
        };
        let maybe = |setting, list: &Option<ListenAddresses>| {
            list.as_ref().map(|list| bind(setting, list)).transpose()
        };
        Ok(Self {
            rtmp: maybe("rtmp_listen", &config.rtmp_listen)?,
            rtmps: maybe("rtmps_listen", &config.rtmps_listen)?,
            http: bind("http_listen", &config.http_listen)?,
            https: maybe("https_listen", &config.https_listen)?,
            ops: bind("ops_listen", &config.ops_listen)?,
        })
    }

    /// The first address of each.
    pub(super) fn listening(&self) -> Listening {
        let first = |bound: &Option<Bound>| bound.as_ref().map(|bound| bound.first);
        Listening {
            rtmp: first(&self.rtmp),
            rtmps: first(&self.rtmps),
            http: self.http.first,
            https: first(&self.https),
            ops: self.ops.first,
        }
    }
}

/// How RTMP is reached where no URL is set: in the clear, as every phone can, unless only TLS listens.
pub(super) fn rtmp_origin(listening: Listening) -> (RtmpScheme, u16) {
    match (listening.rtmp, listening.rtmps) {
        (None, Some(rtmps)) => (RtmpScheme::Rtmps, rtmps.port()),
        (rtmp, _) => (RtmpScheme::Rtmp, rtmp.map_or(0, |rtmp| rtmp.port())),
    }
}

/// Whether the files of certificate and key are good, and what is odd about them.
pub(super) fn check_tls(config: &Config) -> Result<Vec<String>, TlsError> {
    match files(config) {
        Some(files) => Ok(Pair::load(&files)?.warnings(clock::now())),
        None => Ok(Vec::new()),
    }
}

fn files(config: &Config) -> Option<TlsFiles> {
    let (certificate, key) = config.tls_files()?;
    Some(TlsFiles { certificate, key })
}

/// TLS, where something listens that needs it, and what keeps its certificate in step with the files.
pub(super) struct TlsParts {
    tls: Option<Tls>,
    pub(super) renewal: Option<Renewal>,
}

impl TlsParts {
    /// Loads certificate and key.
    pub(super) fn load(config: &Config) -> Result<Option<(TlsFiles, Pair)>, StartError> {
        let Some(files) = files(config) else { return Ok(None) };
        let pair = Pair::load(&files)?;
        for warning in pair.warnings(clock::now()) {
            tracing::warn!("{warning}");
        }
        Ok(Some((files, pair)))
    }

    /// Sets TLS up with what was loaded.
    pub(super) fn new(
        loaded: Option<(TlsFiles, Pair)>,
        config: &Config,
        metrics: &Metrics,
    ) -> Result<Self, StartError> {
        let Some((files, pair)) = loaded else { return Ok(Self { tls: None, renewal: None }) };
        let tls = Tls::new(&pair)?;
        metrics.certificate_ends(pair.not_after());
        let counted = metrics.clone();
        let renewal = Renewal {
            tls: tls.clone(),
            files,
            pair,
            pause: Duration::from_millis(config.tls_reload_ms),
            tell: Arc::new(move |outcome| match outcome {
                Outcome::Loaded { not_after } => {
                    counted.certificate_ends(not_after);
                    counted.certificate_reloaded("loaded");
                }
                Outcome::Failed => counted.certificate_reloaded("failed"),
            }),
            clock: clock::now,
        };
        Ok(Self { tls: Some(tls), renewal: Some(renewal) })
    }

    /// Looks after the certificate until `stop`; nothing where there is none.
    pub(super) async fn renew(renewal: Option<Renewal>, stop: CancellationToken) {
        if let Some(renewal) = renewal {
            renewal.run(stop).await;
        }
    }

    fn door(&self, of: fn(&Tls) -> TlsDoor) -> Option<TlsDoor> {
        self.tls.as_ref().map(of)
    }
}

/// The ways in at the listeners.
pub(super) struct Entrances {
    pub(super) rtmp: Entrance,
    pub(super) rtmps: Entrance,
    pub(super) http: Entrance,
    pub(super) https: Entrance,
}

impl Entrances {
    pub(super) fn new(config: &Config, places: &Arc<Places>, metrics: &Metrics, tls: &TlsParts) -> Self {
        let from = |ranges: &AddressRanges| {
            let ranges = ranges.clone();
            Arc::new(move |address| ranges.contains(address))
        };
        let rtmp = Entrance {
            admit: admit_rtmp(places, metrics),
            sends_proxy_header: from(&config.rtmp_proxy_protocol_from),
            tls: None,
        };
        let http = Entrance {
            admit: admit_http(config, places, metrics),
            sends_proxy_header: from(&config.http_proxy_protocol_from),
            tls: None,
        };
        Self {
            rtmps: Entrance { tls: tls.door(Tls::for_rtmp), ..rtmp.clone() },
            https: Entrance { tls: tls.door(Tls::for_http), ..http.clone() },
            rtmp,
            http,
        }
    }
}

fn admit_rtmp(places: &Arc<Places>, metrics: &Metrics) -> Admit {
    let (places, metrics) = (Arc::clone(places), metrics.clone());
    Arc::new(move |newcomer| match newcomer {
        Newcomer::Peer(address) => counted(places.take(address), &metrics, Protocol::Rtmp),
        Newcomer::Proxy => counted(places.take_for_proxy(), &metrics, Protocol::Rtmp),
        Newcomer::Behind(address) => brought(places.take_behind_proxy(address), &metrics),
    })
}

/// HTTP connections take their places beside the RTMP ones. Those of a trusted proxy are many people's.
fn admit_http(config: &Config, places: &Arc<Places>, metrics: &Metrics) -> Admit {
    let (places, metrics, proxies) = (Arc::clone(places), metrics.clone(), config.trusted_proxies.clone());
    Arc::new(move |newcomer| match newcomer {
        Newcomer::Peer(address) if !proxies.contains(address) => {
            counted(places.take(address), &metrics, Protocol::Http)
        }
        Newcomer::Peer(_) | Newcomer::Proxy => counted(places.take_for_proxy(), &metrics, Protocol::Http),
        Newcomer::Behind(address) if proxies.contains(address) => Some(Arc::new(())),
        Newcomer::Behind(address) => brought(places.take_behind_proxy(address), &metrics),
    })
}

fn counted(place: Result<places::Place, Full>, metrics: &Metrics, protocol: Protocol) -> Option<Place> {
    let place = brought(place, metrics)?;
    let open = metrics.connection_opened(protocol);
    Some(Arc::new((place, open)))
}

/// A place on a connection that is counted already.
fn brought(place: Result<places::Place, Full>, metrics: &Metrics) -> Option<Place> {
    match place {
        Ok(place) => Some(Arc::new(place)),
        Err(full) => {
            metrics.connections_refused(full.setting()).inc();
            metrics.limit_reached(full.setting());
            None
        }
    }
}
