//! Readers of the log.
//!
//! Each of them sees durable events only, in the order of their conference.

pub mod feed;
pub mod gatekeeper;
pub mod revoker;
pub mod schema;
pub mod views;
pub mod webhooks;

pub use feed::Feed;
pub use gatekeeper::Gatekeeper;
pub use revoker::Revoker;
pub use webhooks::Webhooks;
