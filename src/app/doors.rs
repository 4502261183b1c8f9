//! The listeners: their sockets, and what a connection passes at each.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::clock;
use crate::config::{AddressRanges, Config};
use crate::control::urls::RtmpScheme;
use crate::entrance::{Admit, Entered, Entrance, Newcomer, Place};
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
    pub(super) fn new(config: &Config, counts: &DoorCounts, metrics: &Metrics, tls: &TlsParts) -> Self {
        let from = |ranges: &AddressRanges| {
            let ranges = ranges.clone();
            Arc::new(move |address| ranges.contains(address))
        };
        let rtmp = Entrance {
            admit: admit_rtmp(counts, metrics),
            sends_proxy_header: from(&config.rtmp_proxy_protocol_from),
            tls: None,
        };
        let http = Entrance {
            admit: admit_http(config, counts, metrics),
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

/// Where connections are counted.
#[derive(Clone)]
pub(super) struct DoorCounts {
    /// All that are open.
    pub(super) connections: Arc<Places>,
    /// Those that have not shown yet what they are here for.
    pub(super) handshakes: Arc<Places>,
}

impl DoorCounts {
    /// Both places of whoever `take` takes them for.
    fn enter(
        &self,
        metrics: &Metrics,
        take: impl Fn(&Arc<Places>) -> Result<places::Place, Full>,
    ) -> Option<Entered> {
        let entered = take(&self.connections).and_then(|place| Ok((place, take(&self.handshakes)?)));
        match entered {
            Ok((place, handshake)) => {
                Some(Entered { place: Arc::new(place), handshake: Arc::new(handshake) })
            }
            Err(full) => {
                metrics.connections_refused(full.setting()).inc();
                metrics.limit_reached(full.setting());
                None
            }
        }
    }
}

fn admit_rtmp(counts: &DoorCounts, metrics: &Metrics) -> Admit {
    let (counts, metrics) = (counts.clone(), metrics.clone());
    Arc::new(move |newcomer| match newcomer {
        Newcomer::Peer(address) => {
            opened(counts.enter(&metrics, |places| places.take(address)), &metrics, Protocol::Rtmp)
        }
        Newcomer::Proxy => opened(counts.enter(&metrics, Places::take_for_proxy), &metrics, Protocol::Rtmp),
        Newcomer::Behind(address) => counts.enter(&metrics, |places| places.take_behind_proxy(address)),
    })
}

/// HTTP connections take their places beside the RTMP ones. Those of a trusted proxy are many people's.
fn admit_http(config: &Config, counts: &DoorCounts, metrics: &Metrics) -> Admit {
    let (counts, metrics, proxies) = (counts.clone(), metrics.clone(), config.trusted_proxies.clone());
    Arc::new(move |newcomer| match newcomer {
        Newcomer::Peer(address) if !proxies.contains(address) => {
            opened(counts.enter(&metrics, |places| places.take(address)), &metrics, Protocol::Http)
        }
        Newcomer::Peer(_) | Newcomer::Proxy => {
            opened(counts.enter(&metrics, Places::take_for_proxy), &metrics, Protocol::Http)
        }
        Newcomer::Behind(address) if proxies.contains(address) => Some(Entered::uncounted()),
        Newcomer::Behind(address) => counts.enter(&metrics, |places| places.take_behind_proxy(address)),
    })
}

/// The same, counted as an open connection.
fn opened(entered: Option<Entered>, metrics: &Metrics, protocol: Protocol) -> Option<Entered> {
    let Entered { place, handshake } = entered?;
    let place: Place = Arc::new((place, metrics.connection_opened(protocol)));
    Some(Entered { place, handshake })
}
