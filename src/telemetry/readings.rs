//! Numbers that other parts keep for themselves, and how they become metrics.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Numbers that others keep for themselves, read when somebody looks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Readings {
    /// 1 while nobody new is let in.
    pub draining: bool,
    /// 1 while nobody new is let in because there is too much to do.
    pub overloaded: bool,
    /// Resident bytes of the process; 0 where they cannot be read.
    pub memory_bytes: u64,
    /// How late the runtime's ticks come.
    pub lateness: Duration,
    /// Tasks of the runtime that have not ended.
    pub tasks: usize,
    /// Event sockets that are open.
    pub event_sockets: usize,
    /// Times that a viewer fell behind and skipped to a keyframe.
    pub viewer_skips: u64,
    /// Packets that viewers passed over when they skipped.
    pub viewer_dropped_packets: u64,
    /// How long packets waited here for viewers.
    pub added_delay: Times,
    /// How long viewers of a stream that flows waited for their first picture, or sound where there are no pictures.
    pub first_frame: Times,
    /// Conferences that are open.
    pub conferences: usize,
    /// Streams that somebody publishes, plays or waits for.
    pub streams: usize,
    /// Pictures shown before one that was sent earlier.
    pub b_frames: u64,
    /// Times that another publisher went on with a stream.
    pub publisher_changes: u64,
    /// How long the streams stood still at these, added up, in milliseconds.
    pub publisher_gap_ms: u64,
    /// Bytes of the database file; space that was freed in it is used again.
    pub store_bytes: u64,
    /// Bytes of its write-ahead log.
    pub store_wal_bytes: u64,
    /// Operations that the store has made durable.
    pub store_operations: u64,
    /// Transactions that they took: many operations share one.
    pub store_commits: u64,
    /// Transactions that failed, with all their operations.
    pub store_failed_commits: u64,
    /// Operations refused because too many waited.
    pub store_refused: u64,
    /// Conferences that webhook targets have still to be told of, counted per target.
    pub webhook_lanes: usize,
    /// How long ago the oldest event happened that a webhook target was not told, in milliseconds.
    pub webhook_lag_ms: u64,
}

/// Times counted in classes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Times {
    /// The upper bound of each class in seconds, and how many are in it alone; the last bound is infinite.
    pub classes: Vec<(f64, u64)>,
    /// All of them added up, in seconds.
    pub sum_secs: f64,
}

impl Times {
    /// From classes with bounds in milliseconds, and one more beyond the last bound.
    pub fn of_ms(bounds_ms: &[u64], counts: &[u64], sum_ms: u64) -> Self {
        let seconds = |ms: &u64| Duration::from_millis(*ms).as_secs_f64();
        // The library takes the greatest number for an infinite one.
        let bounds = bounds_ms.iter().map(seconds).chain([f64::MAX]);
        Self { classes: bounds.zip(counts.iter().copied()).collect(), sum_secs: seconds(&sum_ms) }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result {
        let count = self.classes.iter().map(|(_, count)| count).sum();
        let none = [(f64::MAX, 0)];
        let classes = if self.classes.is_empty() { &none[..] } else { &self.classes };
        let mut metric =
            encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(self.sum_secs, count, classes, None)
    }
}

/// Writes them at each scrape.
pub(super) struct ReadingsCollector(Box<dyn Fn() -> Readings + Send + Sync>);

impl ReadingsCollector {
    pub(super) fn new(readings: impl Fn() -> Readings + Send + Sync + 'static) -> Self {
        Self(Box::new(readings))
    }
}

impl fmt::Debug for ReadingsCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadingsCollector")
    }
}

impl Collector for ReadingsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let readings = (self.0)();
        let gauges = [
            ("conferences", "Conferences that are open", readings.conferences),
            ("streams", "Streams that somebody publishes, plays or waits for", readings.streams),
            (
                "webhook_lanes",
                "Conferences with events that a webhook target was not told",
                readings.webhook_lanes,
            ),
            ("event_sockets", "Event sockets that are open", readings.event_sockets),
            ("tasks", "Tasks of the runtime that have not ended; they follow what is open", readings.tasks),
            ("draining", "1 while nobody new is let in", usize::from(readings.draining)),
            (
                "overloaded",
                "1 while nobody new is let in because a mark of overload is passed",
                usize::from(readings.overloaded),
            ),
        ];
        let gauges = gauges.map(|(name, help, number)| (name, help, number as u64)).into_iter();
        let files = [
            (
                "store_bytes",
                "Size of the database file; freed space in it is used again",
                readings.store_bytes,
            ),
            ("store_wal_bytes", "Size of the database's write-ahead log", readings.store_wal_bytes),
            ("memory_bytes", "Resident memory of the process", readings.memory_bytes),
        ];
        for (name, help, number) in gauges.chain(files) {
            let gauge = ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let lag = Duration::from_millis(readings.webhook_lag_ms).as_secs_f64();
        let gauge = ConstGauge::new(lag);
        let (name, help) = ("webhook_lag", "Age of the oldest event that a webhook target was not told");
        gauge.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), gauge.metric_type())?)?;
        let gauge = ConstGauge::new(readings.lateness.as_secs_f64());
        let (name, help) =
            ("lateness", "How late ticks of the runtime come; frames and commands wait as long");
        gauge.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), gauge.metric_type())?)?;
        let counters = [
            (
                "viewer_skips",
                "Times that a viewer fell behind and skipped to a keyframe",
                readings.viewer_skips,
            ),
            ("b_frames", "Pictures received that are shown before one sent earlier", readings.b_frames),
            (
                "publisher_changes",
                "Times that another publisher went on with a stream",
                readings.publisher_changes,
            ),
            ("store_operations", "Operations that the store has made durable", readings.store_operations),
            ("store_commits", "Transactions of the store; operations share them", readings.store_commits),
            ("store_failed_commits", "Transactions of the store that failed", readings.store_failed_commits),
            ("store_refused", "Operations refused because too many waited", readings.store_refused),
            (
                "viewer_dropped_packets",
                "Packets that viewers passed over when they skipped",
                readings.viewer_dropped_packets,
            ),
        ];
        for (name, help, number) in counters {
            let counter = ConstCounter::new(number);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let gap = Duration::from_millis(readings.publisher_gap_ms).as_secs_f64();
        let counter = ConstCounter::new(gap);
        let (name, help) = ("publisher_gap", "How long streams stood still until another publisher went on");
        counter.encode(encoder.encode_descriptor(
            name,
            help,
            Some(&Unit::Seconds),
            counter.metric_type(),
        )?)?;
        let help = "How long packets waited in the gateway for viewers, what a viewer begins with left aside";
        readings.added_delay.encode(&mut encoder, "added_delay", help)?;
        let help = "How long viewers of a stream that flows waited for their first picture, or sound";
        readings.first_frame.encode(&mut encoder, "first_frame", help)
    }
}
