//! Tidegate: conferences, tickets and roles directly on RTMP and FLV.

pub mod app;
pub mod clock;
pub mod command_line;
pub mod conferences;
pub mod config;
pub mod control;
pub mod data_dir;
pub mod domain;
pub mod entropy;
pub mod environment;
pub mod events;
pub mod healthcheck;
pub mod hub;
pub mod listen;
pub mod media;
pub mod open_files;
pub mod places;
pub mod presence;
pub mod rtmp;
pub mod secret;
pub mod store;
pub mod telemetry;
