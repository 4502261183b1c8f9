//! Fan-out: one publisher's packets to many viewers, and the table of all media sessions.
//!
//! A stream is a ring of shared frames, bounded in bytes, milliseconds and packets. A viewer is a cursor into the
//! ring, so a publisher never waits for a viewer, and viewers never wait for each other: whoever falls too far behind
//! goes on at the newest keyframe. Nothing here does IO or reads a clock; the drivers around it own both.
//!
//! Locks are taken in the order: map of streams, one stream, changes. None is held across an await.

mod batch;
mod changes;
mod cursor;
mod delay;
mod frame;
mod gate;
mod meter;
mod publisher;
mod reading;
mod ring;
mod session;
mod settings;
mod stream;
mod streams;
mod totals;
mod track;
mod viewer;

pub use batch::Batch;
pub use changes::{Phase, StreamStatus};
pub use cursor::Outgoing;
pub use delay::StreamDelay;
pub use frame::{Frame, Image, WireFormat};
pub use meter::StreamRates;
pub use publisher::{Fenced, Publisher};
pub use ring::RingUsage;
pub use session::{
    CloseReason, Protocol, Session, SessionCounters, SessionCounts, SessionGuard, SessionId, SessionStart,
    SessionTable,
};
pub use settings::HubSettings;
pub use stream::{StreamSerial, StreamStats};
pub use streams::Hub;
pub use totals::{HubTotals, TIME_BOUNDS_MS, TimesSoFar};
pub use viewer::{Mark, Taken, Tide, Viewer};

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
