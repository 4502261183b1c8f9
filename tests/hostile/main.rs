//! Peers that mean harm, against a running gateway: each ends a connection of its own at most, what it costs is bounded, and a good
//! viewer beside it goes on seeing its stream.
//!
//! Memory, descriptors and processor time are bounds of slope: after a first run, a second one of the same size must not take more.
//! `TIDEGATE_HOSTILE_FULL=1` makes the runs as long as docs/reliability.md tells figures of.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "test code")]

#[path = "../support/mod.rs"]
mod support;

mod budgets;
mod bytes;
mod churn;
mod cost;
mod figures;
mod held;
mod overload;
mod slow;
mod viewers;

use figures::Figures;
use support::peer::{Feed, Watch};
use support::{EVENT, Gateway, Live, MediaUrl, Peer, Setup, raw, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A gateway with one publisher and one viewer whose pictures must not stop.
struct Scene {
    gateway: Gateway,
    conference: support::Conference,
    published: support::api::PublishAnswer,
    url: MediaUrl,
    feed: Feed,
    viewer: Watch,
}

impl Scene {
    async fn set() -> Self {
        Self::with(Setup::new()).await
    }

    async fn with(setup: Setup) -> Self {
        let gateway = setup.start().await;
        let conference = gateway.app().await.conference().await;
        let Live { published, url, feed, viewer, .. } = Live::of(&conference, "anna").await;
        Self { gateway, conference, published, url, feed, viewer }
    }

    /// The process lives, the publisher is connected, the viewer receives, and a newcomer is served.
    async fn assert_unharmed(&mut self, after: &str) {
        assert!(self.gateway.process.is_running(), "{after} ended the process");
        self.viewer.more_pictures(2).await;
        assert!(self.feed.is_open(), "{after} ended the good publisher");
        let newcomer = Peer::play(&self.url).await;
        newcomer.unwrap_or_else(|status| panic!("after {after}: {status:?}")).watch().more_pictures(1).await;
    }

    /// How often this limit turned somebody away.
    async fn reached(&self, limit: &str) -> f64 {
        let name = format!("tidegate_limits_reached_total{{limit=\"{limit}\"}}");
        self.gateway.metric(&name).await.unwrap_or_else(|| panic!("no {name}"))
    }

    fn figures(&self) -> Figures {
        Figures::of(self.gateway.process.id())
    }

    async fn end(self) {
        let Self { gateway, feed, viewer, .. } = self;
        drop((feed, viewer));
        gateway.stop().await;
    }
}

/// A connection behind its handshake, which has said `connect`.
async fn stranger(gateway: &Gateway) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.rtmp).await.expect("connects");
    raw::handshake(&mut stream).await.expect("the handshake");
    stream.write_all(&raw::connect("live", "rtmp://127.0.0.1/live")).await.expect("sent");
    within(EVENT, "an answer to connect", stream.readable()).await.expect("readable");
    stream
}

/// Waits until the gateway has closed, whatever it says before.
async fn closed(stream: &mut TcpStream, what: &str) -> Vec<u8> {
    let mut said = Vec::new();
    let _ = within(EVENT, what, stream.read_to_end(&mut said)).await;
    said
}

/// A long run where it is asked for by name, else the short form of `make test`.
fn count(short: usize, full: usize) -> usize {
    if std::env::var_os("TIDEGATE_HOSTILE_FULL").is_some() { full } else { short }
}
