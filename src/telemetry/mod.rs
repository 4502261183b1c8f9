//! What the gateway tells its operators: log lines and metrics.
//!
//! # What the levels mean
//!
//! | level | meaning | who acts |
//! |---|---|---|
//! | `error` | the gateway cannot do what it promises (a store that fails, a panic in a task) | somebody, now |
//! | `warn` | it does what it promises, but something is wrong or will be (a setting without effect, a limit that bites) | somebody, this week |
//! | `info` | what an operator wants to read of a healthy day: start, stop, conferences and media sessions that begin and end | nobody |
//! | `debug` | one connection's story: handshakes, refusals, addresses of peers | who looks for a fault |
//! | `trace` | single messages and packets | who develops |
//!
//! A peer's mistake is never above `debug`: whoever can connect could fill the log otherwise. Addresses of peers stand
//! at `debug` and below. Tickets, keys, tokens, passwords and whole media URLs stand at no level.

mod labels;
mod logging;
mod metrics;
mod readings;

pub use logging::{FilterError, LogControl, LogFormat, LoggingError, check_filter, start_logging};
pub use prometheus_client::metrics::counter::Counter;

pub use labels::{Protocol, StatusClass};
pub use metrics::{Metrics, OPENMETRICS_CONTENT_TYPE, OpenGuard};
pub use readings::{Readings, Times};
