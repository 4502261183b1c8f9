//! The numbers that the gateway counts, as OpenMetrics.
//!
//! A label never names a stream, a conference, a member, an app or an address: the number of series is fixed by the
//! code, not by the load. Handles share their number when cloned; whoever counts often takes a handle once, at the
//! start of a connection, because finding one by its labels takes a lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{
    CREDENTIALS, LIMITS, OfCause, OfCommand, OfCredential, OfDirection, OfLimit, OfOutcome, OfProtocol,
    OfReason, OfRelay, OfRequest, Protocol, StatusClass, Word,
};
use super::readings::{Readings, ReadingsCollector};
use crate::domain::Direction;
use crate::domain::refusal::{Reason, Refusal};

/// The content type of [`Metrics::encode`].
pub const OPENMETRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the buckets for the time that a command or a revocation takes. An fsync on a good disk takes about a
/// millisecond, a revocation should stay below twenty; above a second it does not matter any more how much.
const LATENCY_BUCKETS_SECONDS: [f64; 11] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Everything that is counted. A clone counts into the same numbers.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    connections: Family<OfProtocol, Gauge>,
    connections_accepted: Family<OfProtocol, Counter>,
    connections_refused: Family<OfCause, Counter>,
    handshakes_failed: Family<OfCause, Counter>,
    sessions: Family<OfDirection, Gauge>,
    sessions_started: Family<OfDirection, Counter>,
    sessions_revoked: Family<OfDirection, Counter>,
    media_received_bytes: Family<OfProtocol, Counter>,
    media_sent_bytes: Family<OfProtocol, Counter>,
    media_received_packets: Family<OfProtocol, Counter>,
    media_sent_packets: Family<OfProtocol, Counter>,
    commands: Family<OfCommand, Counter>,
    refusals: Family<OfReason, Counter>,
    limits_reached: Family<OfLimit, Counter>,
    authentication_failures: Family<OfCredential, Counter>,
    http_requests: Family<OfRequest, Counter>,
    /// Viewers closed because their socket accepted nothing any more.
    pub viewers_stalled: Counter,
    /// Records of past events removed from their logs.
    pub records_trimmed: Counter,
    /// Logs of ended conferences removed for good.
    pub logs_forgotten: Counter,
    webhook_attempts: Family<OfOutcome, Counter>,
    /// Ranges of events that a webhook target was given up on.
    pub webhook_dead_letters: Counter,
    relays: Family<OfRelay, Gauge>,
    relay_failures: Family<OfReason, Counter>,
    /// Connections of relays that a far server took or gave a stream on.
    pub relays_live: Counter,
    /// Times that a far server took too little and a relay skipped to the newest keyframe.
    pub relay_skips: Counter,
    /// Bytes of media that relays handed to far servers.
    pub relay_sent_bytes: Counter,
    /// Bytes of media that far servers sent to relays.
    pub relay_received_bytes: Counter,
    certificate_not_after: Arc<AtomicI64>,
    certificate_reloads: Family<OfOutcome, Counter>,
    command_duration: Histogram,
    revocation_duration: Histogram,
}

impl Metrics {
    /// All numbers at zero, registered under their names, with nothing to read elsewhere.
    pub fn new() -> Self {
        Self::with_readings(Readings::default)
    }

    /// The same, and `readings` is asked at each scrape.
    pub fn with_readings(readings: impl Fn() -> Readings + Send + Sync + 'static) -> Self {
        let mut names = Names(Registry::with_prefix("tidegate"));
        names.0.register_collector(Box::new(ReadingsCollector::new(readings)));
        let certificate_not_after = Arc::<AtomicI64>::default();
        names.0.register_collector(Box::new(CertificateCollector(Arc::clone(&certificate_not_after))));
        names.0.register(
            "build",
            "The version that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let metrics = Self {
            connections: names.plain("connections", "Connections that are open"),
            connections_accepted: names.plain("connections_accepted", "Connections accepted"),
            connections_refused: names
                .plain("connections_refused", "Connections closed at once because a limit was reached"),
            handshakes_failed: names
                .plain("handshakes_failed", "Connections that ended before they published, played or asked"),
            sessions: names.plain("sessions", "Media sessions that are open"),
            sessions_started: names.plain("sessions_started", "Media sessions admitted"),
            sessions_revoked: names
                .plain("sessions_revoked", "Media sessions closed because their right had ended"),
            media_received_bytes: names.bytes("media_received", "Media payload received from publishers"),
            media_sent_bytes: names.bytes("media_sent", "Media bytes written to viewers"),
            media_received_packets: names
                .packets("media_received", "Audio, video and data packets received from publishers"),
            media_sent_packets: names
                .packets("media_sent", "Audio, video and data packets written to viewers"),
            commands: names.plain("commands", "Commands to conferences, by kind and outcome"),
            refusals: names.plain("refusals", "Requests, publishes and plays refused, by reason"),
            limits_reached: names.plain(
                "limits_reached",
                "Times that a limit of the gateway turned somebody away, by the setting that names it",
            ),
            authentication_failures: names
                .plain("authentication_failures", "Credentials that proved nothing, by kind"),
            http_requests: names.plain("http_requests", "HTTP requests answered, by route and status class"),
            viewers_stalled: names
                .plain("viewers_stalled", "Viewers closed because their socket took nothing"),
            records_trimmed: names.plain("records_trimmed", "Records of past events removed from their logs"),
            logs_forgotten: names.plain("logs_forgotten", "Logs of ended conferences removed for good"),
            webhook_attempts: names.plain("webhook_attempts", "Webhook messages sent, by outcome"),
            webhook_dead_letters: names
                .plain("webhook_dead_letters", "Ranges of events that a webhook target was given up on"),
            relays: names.plain("relays", "Relays that there are, by direction and state"),
            relay_failures: names
                .plain("relay_failures", "Connections of relays that failed or broke, by reason"),
            relays_live: names.plain(
                "relay_connections",
                "Connections of relays on which the far server took or gave the stream",
            ),
            relay_skips: names.plain(
                "relay_skips",
                "Times that a far server fell behind and a relay skipped to a keyframe",
            ),
            relay_sent_bytes: names.all_bytes("relay_sent", "Media handed to far servers"),
            relay_received_bytes: names.all_bytes("relay_received", "Media received from far servers"),
            certificate_not_after,
            certificate_reloads: names
                .plain("tls_certificate_reloads", "Changes of the TLS files, by outcome: loaded or failed"),
            command_duration: names
                .seconds("command_duration", "From a command's arrival until it is durable or refused"),
            revocation_duration: names
                .seconds("revocation_duration", "From the end of a right until its last socket is closed"),
            registry: Arc::new(names.0),
        };
        metrics.show_zeros();
        metrics
    }

    /// Brings into being what is known beforehand: a counter that is not there before its first event hides that event from
    /// whoever looks at its increase.
    fn show_zeros(&self) {
        for reason in Reason::ALL {
            self.refusals.get_or_create_owned(&OfReason { reason: Word(reason.word()) });
        }
        for limit in LIMITS {
            self.limits_reached.get_or_create_owned(&OfLimit { limit: Word(limit) });
        }
        let places = [
            "connections_max",
            "connections_per_address_max",
            "handshakes_max",
            "handshakes_per_address_max",
        ];
        for cause in places.into_iter().chain(["accept_failed"]) {
            self.connections_refused(cause);
        }
        for cause in ["timeout", "closed", "handshake", "protocol", "unfinished_bytes"] {
            self.handshakes_failed(cause);
        }
        for credential in CREDENTIALS {
            self.authentication_failures.get_or_create_owned(&OfCredential { credential: Word(credential) });
        }
        for outcome in ["loaded", "failed"] {
            self.certificate_reloads.get_or_create_owned(&OfOutcome { outcome: Word(outcome) });
        }
        for direction in ["push", "pull"] {
            for state in ["connecting", "live", "waiting", "backoff", "failed"] {
                self.relays.get_or_create_owned(&OfRelay { direction: Word(direction), state: Word(state) });
            }
        }
        for reason in ["unreachable", "timeout", "tls", "refused", "closed", "stalled", "silent", "protocol"]
        {
            self.relay_failures.get_or_create_owned(&OfReason { reason: Word(reason) });
        }
        for direction in [Direction::Publish, Direction::Play] {
            self.sessions_revoked(direction);
            let labels = OfDirection { direction: Word(direction.word()) };
            self.sessions.get_or_create_owned(&labels);
            self.sessions_started.get_or_create_owned(&labels);
        }
    }

    /// Counts a connection that was accepted; it counts as open until the guard is dropped.
    pub fn connection_opened(&self, protocol: Protocol) -> OpenGuard {
        let labels = OfProtocol { protocol: Word(protocol.word()) };
        self.connections_accepted.get_or_create(&labels).inc();
        OpenGuard::new(self.connections.get_or_create_owned(&labels))
    }

    /// Connections closed at once, by the limit that bit, such as `connections_max`.
    pub fn connections_refused(&self, cause: &'static str) -> Counter {
        self.connections_refused.get_or_create_owned(&OfCause { cause: Word(cause) })
    }

    /// Connections that came to nothing, by cause: `timeout`, `closed`, `version`, ….
    pub fn handshakes_failed(&self, cause: &'static str) -> Counter {
        self.handshakes_failed.get_or_create_owned(&OfCause { cause: Word(cause) })
    }

    /// Counts an admitted media session; it counts as open until the guard is dropped.
    pub fn session_opened(&self, direction: Direction) -> OpenGuard {
        let labels = OfDirection { direction: Word(direction.word()) };
        self.sessions_started.get_or_create(&labels).inc();
        OpenGuard::new(self.sessions.get_or_create_owned(&labels))
    }

    /// Media sessions closed by the revoker.
    pub fn sessions_revoked(&self, direction: Direction) -> Counter {
        self.sessions_revoked.get_or_create_owned(&OfDirection { direction: Word(direction.word()) })
    }

    /// Bytes of media received over `protocol`.
    pub fn media_received_bytes(&self, protocol: Protocol) -> Counter {
        self.media_received_bytes.get_or_create_owned(&OfProtocol { protocol: Word(protocol.word()) })
    }

    /// Bytes of media sent over `protocol`.
    pub fn media_sent_bytes(&self, protocol: Protocol) -> Counter {
        self.media_sent_bytes.get_or_create_owned(&OfProtocol { protocol: Word(protocol.word()) })
    }

    /// Packets of media received over `protocol`.
    pub fn media_received_packets(&self, protocol: Protocol) -> Counter {
        self.media_received_packets.get_or_create_owned(&OfProtocol { protocol: Word(protocol.word()) })
    }

    /// Packets of media sent over `protocol`.
    pub fn media_sent_packets(&self, protocol: Protocol) -> Counter {
        self.media_sent_packets.get_or_create_owned(&OfProtocol { protocol: Word(protocol.word()) })
    }

    /// Counts one command of a kind such as `join`, with its outcome (`done`, `refused`, `failed`) and the time it took.
    pub fn command_finished(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        self.commands.get_or_create(&OfCommand { kind: Word(kind), outcome: Word(outcome) }).inc();
        self.command_duration.observe(took.as_secs_f64());
    }

    /// Counts one refusal, on whatever door.
    pub fn refused(&self, reason: Reason) {
        self.refusals.get_or_create(&OfReason { reason: Word(reason.word()) }).inc();
    }

    /// Counts one refusal and, where a limit of the gateway's own is the cause, that.
    pub fn refused_for(&self, refusal: &Refusal) {
        self.refused(refusal.reason);
        if let Some(limit) = refusal.limit {
            self.limit_reached(limit);
        }
    }

    /// Counts one time that a limit turned somebody away.
    pub fn limit_reached(&self, limit: &'static str) {
        self.limits_reached.get_or_create(&OfLimit { limit: Word(limit) }).inc();
    }

    /// Counts one credential that proved nothing, by kind: `app_key`, `user_token`, `ticket`, `member_token`, `media_token`, `ops_token`.
    pub fn authentication_failed(&self, credential: &'static str) {
        self.authentication_failures.get_or_create(&OfCredential { credential: Word(credential) }).inc();
    }

    /// Counts one answer. `route` is the pattern that stands in the code, never the path that was asked for.
    pub fn http_answered(&self, route: &'static str, status: StatusClass) {
        self.http_requests
            .get_or_create(&OfRequest { route: Word(route), status: Word(status.word()) })
            .inc();
    }

    /// Counts one attempt to tell a webhook target, by outcome: `delivered`, `refused`, `timeout`, ….
    pub fn webhook_attempted(&self, outcome: &'static str) {
        self.webhook_attempts.get_or_create(&OfOutcome { outcome: Word(outcome) }).inc();
    }

    /// Counts a relay as being in a state until the guard is dropped.
    pub fn relay_is(&self, direction: &'static str, state: &'static str) -> OpenGuard {
        let labels = OfRelay { direction: Word(direction), state: Word(state) };
        OpenGuard::new(self.relays.get_or_create_owned(&labels))
    }

    /// Counts a connection of a relay that failed or broke, by reason.
    pub fn relay_failed(&self, reason: &'static str) {
        self.relay_failures.get_or_create(&OfReason { reason: Word(reason) }).inc();
    }

    /// Notes when the TLS certificate ends that is in use now, in seconds since 1970.
    pub fn certificate_ends(&self, not_after: i64) {
        self.certificate_not_after.store(not_after, Ordering::Relaxed);
    }

    /// Counts one change of the TLS files, by outcome: `loaded`, or `failed` where the pair before stays in use.
    pub fn certificate_reloaded(&self, outcome: &'static str) {
        self.certificate_reloads.get_or_create(&OfOutcome { outcome: Word(outcome) }).inc();
    }

    /// Notes the time from the end of a right until the last socket that used it was closed.
    pub fn revocation_finished(&self, took: Duration) {
        self.revocation_duration.observe(took.as_secs_f64());
    }

    /// All numbers as OpenMetrics text, of the type [`OPENMETRICS_CONTENT_TYPE`].
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The end of the certificate. Where there is none, nothing is told: zero would look like one that ended long ago.
#[derive(Debug)]
struct CertificateCollector(Arc<AtomicI64>);

impl Collector for CertificateCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let not_after = self.0.load(Ordering::Relaxed);
        if not_after == 0 {
            return Ok(());
        }
        let gauge = ConstGauge::new(not_after);
        let (name, help) =
            ("tls_certificate_not_after", "The end of the TLS certificate in use, in seconds since 1970");
        gauge.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), gauge.metric_type())?)
    }
}

/// Something counts as open as long as this lives.
#[derive(Debug)]
pub struct OpenGuard(Gauge);

impl OpenGuard {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Makes metrics and gives them their names.
struct Names(Registry);

impl Names {
    fn plain<M>(&mut self, name: &str, help: &str) -> M
    where
        M: prometheus_client::registry::Metric + Default + Clone,
    {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }

    fn with_unit<L>(&mut self, name: &str, help: &str, unit: Unit) -> Family<L, Counter>
    where
        Family<L, Counter>: prometheus_client::registry::Metric + Default,
    {
        let family = Family::default();
        self.0.register_with_unit(name, help, unit, family.clone());
        family
    }

    fn all_bytes(&mut self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.0.register_with_unit(name, help, Unit::Bytes, counter.clone());
        counter
    }

    fn bytes(&mut self, name: &str, help: &str) -> Family<OfProtocol, Counter> {
        self.with_unit(name, help, Unit::Bytes)
    }

    fn packets(&mut self, name: &str, help: &str) -> Family<OfProtocol, Counter> {
        self.with_unit(name, help, Unit::Other("packets".to_owned()))
    }

    fn seconds(&mut self, name: &str, help: &str) -> Histogram {
        let histogram = Histogram::new(LATENCY_BUCKETS_SECONDS);
        self.0.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(metrics: &Metrics, line: &str) -> bool {
        metrics.encode().unwrap().lines().any(|found| found == line)
    }

    #[test]
    fn clones_count_into_the_same_numbers() {
        let metrics = Metrics::new();
        let bytes = metrics.clone().media_sent_bytes(Protocol::Rtmp);
        bytes.inc_by(5);
        metrics.media_sent_bytes(Protocol::Rtmp).inc_by(2);
        assert!(has(&metrics, "tidegate_media_sent_bytes_total{protocol=\"rtmp\"} 7"));
    }

    #[test]
    fn what_is_open_counts_until_its_guard_is_dropped() {
        let metrics = Metrics::new();
        let guard = metrics.connection_opened(Protocol::HttpFlv);
        let session = metrics.session_opened(Direction::Play);
        assert!(has(&metrics, "tidegate_connections{protocol=\"http_flv\"} 1"));
        assert!(has(&metrics, "tidegate_sessions{direction=\"play\"} 1"));
        drop((guard, session));
        assert!(has(&metrics, "tidegate_connections{protocol=\"http_flv\"} 0"));
        assert!(has(&metrics, "tidegate_connections_accepted_total{protocol=\"http_flv\"} 1"));
        assert!(has(&metrics, "tidegate_sessions{direction=\"play\"} 0"));
        assert!(has(&metrics, "tidegate_sessions_started_total{direction=\"play\"} 1"));
    }

    #[test]
    fn commands_refusals_and_requests_are_told_apart() {
        let metrics = Metrics::new();
        metrics.command_finished("join", "done", Duration::from_micros(1500));
        metrics.refused(Reason::TalkersFull);
        metrics.http_answered("/v1/conferences", 201.into());
        metrics.authentication_failed("ticket");
        for line in [
            "tidegate_commands_total{kind=\"join\",outcome=\"done\"} 1",
            "tidegate_command_duration_seconds_bucket{le=\"0.001\"} 0",
            "tidegate_command_duration_seconds_bucket{le=\"0.0025\"} 1",
            "tidegate_refusals_total{reason=\"talkers_full\"} 1",
            "tidegate_http_requests_total{route=\"/v1/conferences\",status=\"2xx\"} 1",
            "tidegate_authentication_failures_total{credential=\"ticket\"} 1",
        ] {
            assert!(has(&metrics, line), "{line}\n{}", metrics.encode().unwrap());
        }
    }

    #[test]
    fn every_metric_has_our_prefix_and_a_help_text_and_the_text_is_complete() {
        let metrics = Metrics::new();
        // A family without any labels yet is left out of the text.
        drop((metrics.connection_opened(Protocol::Rtmp), metrics.session_opened(Direction::Publish)));
        metrics.connections_refused("connections_max").inc();
        metrics.handshakes_failed("timeout").inc();
        metrics.sessions_revoked(Direction::Play).inc();
        metrics.media_received_bytes(Protocol::Rtmp).inc();
        metrics.media_sent_bytes(Protocol::Rtmp).inc();
        metrics.media_received_packets(Protocol::Rtmp).inc();
        metrics.media_sent_packets(Protocol::Rtmp).inc();
        metrics.command_finished("join", "done", Duration::ZERO);
        metrics.refused_for(&Reason::RateLimited.because("").at("requests_per_address"));
        assert!(has(&metrics, "tidegate_limits_reached_total{limit=\"requests_per_address\"} 1"));
        metrics.authentication_failed("ticket");
        metrics.http_answered("/v1/conferences", 404.into());
        metrics.webhook_attempted("delivered");
        metrics.certificate_ends(2_524_608_000);
        metrics.certificate_reloaded("loaded");
        assert!(has(&metrics, "tidegate_tls_certificate_not_after_seconds 2524608000"));
        let text = metrics.encode().unwrap();
        assert!(text.ends_with("# EOF\n"));
        let names = |mark: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(mark));
            lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
        };
        let typed = names("# TYPE ");
        assert_eq!(typed.len(), 55, "one for each field and reading, and the build: {typed:?}");
        assert_eq!(typed, names("# HELP "));
        assert!(typed.iter().all(|name| name.starts_with("tidegate_")), "{typed:?}");
    }
}
