//! Tidegate: conferences, tickets and roles directly on RTMP and FLV.
//!
//! A conference is a fold over an ordered log of events ([`domain`]); [`conferences`] takes commands, decides, appends to the
//! [`store`], applies and answers; [`events`] reads the log, and [`presence`] tells it what the gateway sees for itself;
//! [`retention`] lets go of what is old.
//! Media comes in through [`rtmp`], means something in [`media`] and fans out in [`hub`]. [`control`] is the HTTP door. [`app`]
//! puts all of it together. The rest is the edge: settings, command line, data directory, sockets, clocks, telemetry.
//!
//! `ARCHITECTURE.md` holds the map, the rules between the modules and the invariants, each with the test that holds it.

pub mod admission;
pub mod app;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod command_line;
pub mod conferences;
pub mod config;
pub mod control;
pub mod data_dir;
pub mod doctor;
pub mod domain;
pub mod drain;
pub mod entrance;
pub mod entropy;
pub mod environment;
pub mod events;
pub mod flv;
pub mod healthcheck;
pub mod hub;
pub mod intake;
pub mod listen;
pub mod local_socket;
pub mod media;
pub mod open_files;
pub mod outbound;
pub mod overload;
pub mod overview;
pub mod places;
pub mod presence;
pub mod proxy_header;
pub mod relays;
pub mod retention;
pub mod rtmp;
pub mod secret;
pub mod store;
pub mod telemetry;
pub mod tls;
