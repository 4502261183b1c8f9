//! Readers of the log.
//!
//! Each of them sees durable events only, in the order of their conference.

pub mod revoker;

pub use revoker::Revoker;
