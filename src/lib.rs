//! Tidegate: conferences, tickets and roles directly on RTMP and FLV.

pub mod conferences;
pub mod domain;
pub mod hub;
pub mod media;
pub mod rtmp;
pub mod store;
