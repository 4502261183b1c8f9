//! What every outside test needs: the real binary, a client of its API, and media peers that are not ours.
//!
//! Each test file compiles its own copy and uses a part of it. Nothing here sleeps: every wait is for an event and
//! has a deadline that ends the test with a sentence about what did not happen.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "test code")]

pub mod api;
pub mod events;
pub mod feed_client;
pub mod ffmpeg;
pub mod flv;
pub mod gateway;
pub mod media_url;
pub mod peer;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod receiver;
pub mod scene;
pub mod secrets;
pub mod socket;
pub mod tls;
pub mod token;
pub mod wait;

pub use api::{Api, App, Conference, Member, Refusal};
pub use ffmpeg::{Pusher, Viewer};
pub use gateway::{Gateway, Setup};
pub use media_url::MediaUrl;
pub use peer::{Feed, Peer, Seen};
pub use proxy::{Proxy, Way};
pub use receiver::{Hook, Receiver, Reply};
pub use scene::{Live, Scene, Solo};
pub use socket::EventSocket;
pub use tls::Authority;
pub use wait::{EVENT, within};
