//! A stream of a far server, into the hub.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::{Pin, pin};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::link::{Link, ended};
use super::{FarError, LinkTimes};
use crate::clock;
use crate::hub::{CloseReason, Publisher, SessionGuard};
use crate::media::packet::PacketKind;
use crate::rtmp::proto::MediaKind;
use crate::rtmp::proto::client::ClientEvent;
use crate::rtmp::proto::server::MediaMessage;
use crate::telemetry::{Counter, OpenGuard};

/// A stream that was taken over, to be written to.
pub struct Claimed {
    /// The place in the session table.
    pub session: SessionGuard,
    /// The claim.
    pub publisher: Publisher,
    /// Counts it among the open sessions.
    pub open: OpenGuard,
}

/// How a pull ended.
#[derive(Debug)]
pub enum PullEnd {
    /// It was asked to stop.
    Stopped,
    /// The session was closed, or the stream could not be taken over.
    Closed(CloseReason),
    /// The far server is gone, or sends nothing any more.
    Lost(FarError),
}

/// Pulls until one of the ends. `claim` takes the stream over when the first media comes: a far server that has nothing
/// to give replaces nobody.
pub async fn pull(
    mut link: Link,
    claim: impl Fn(SocketAddr) -> Result<Claimed, CloseReason>,
    stop: &CancellationToken,
    times: LinkTimes,
    received_bytes: &Counter,
) -> PullEnd {
    let mut claimed: Option<Claimed> = None;
    // The newest data message before the first sound or picture: `onMetaData`.
    let mut early: Option<MediaMessage> = None;
    let mut closed: Pin<Box<dyn Future<Output = CloseReason> + Send>> = Box::pin(pending());
    let mut idle = pin!(sleep(times.idle));
    loop {
        while let Some(event) = link.next_event() {
            let ClientEvent::Media(message) = event else { return PullEnd::Lost(ended(event)) };
            idle.as_mut().reset(Instant::now() + times.idle);
            received_bytes.inc_by(message.payload.len() as u64);
            if claimed.is_none() && message.kind == MediaKind::Data {
                early = Some(message);
                continue;
            }
            if claimed.is_none() {
                match claim(link.peer()) {
                    Ok(new) => {
                        closed = Box::pin(new.session.closed());
                        claimed = Some(new);
                    }
                    Err(reason) => {
                        link.cut_off();
                        return PullEnd::Closed(reason);
                    }
                }
            }
            for message in early.take().into_iter().chain([message]) {
                write(claimed.as_mut(), message);
            }
        }
        let turned = tokio::select! {
            biased;
            reason = closed.as_mut() => {
                link.cut_off();
                return PullEnd::Closed(reason);
            }
            () = stop.cancelled() => {
                link.finish().await;
                return PullEnd::Stopped;
            }
            turned = link.turn() => turned,
            () = idle.as_mut() => {
                link.finish().await;
                return PullEnd::Lost(FarError::Silent(times.idle));
            }
        };
        if let Err(error) = turned {
            return PullEnd::Lost(error);
        }
    }
}

/// A publisher that was replaced writes to nobody; its session tells.
fn write(claimed: Option<&mut Claimed>, message: MediaMessage) {
    let Some(claimed) = claimed else { return };
    let kind = match message.kind {
        MediaKind::Audio => PacketKind::Audio,
        MediaKind::Video => PacketKind::Video,
        MediaKind::Data => PacketKind::Data,
    };
    let _ = claimed.publisher.write(kind, message.timestamp, message.payload, clock::steady());
}
