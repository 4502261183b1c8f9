//! The RTMP door.

pub mod handshake;
pub mod proto;
