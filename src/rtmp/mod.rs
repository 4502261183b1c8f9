//! The RTMP door.

pub mod proto;
