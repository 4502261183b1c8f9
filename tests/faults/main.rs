//! What the gateway does while the machine or the network below it fails: a disk that is full or slow, a clock that is set, no
//! more descriptors, a process that is stopped for a while, connections that break without a word.
//!
//! The short forms run everywhere. What takes long, or needs root and a network namespace, is run by `make chaos`.

#![allow(unreachable_pub, reason = "the modules of this test are its own")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod descriptors;
mod disk;
mod machine;
mod namespace;
mod network;
mod pictures;
mod power;
mod sleep;
