//! What leaves one connection: its outbox and, while it plays, its place in the stream.
//!
//! Two tasks reach it. The connection's own waits for the socket; the crowd's hands new media to the sockets of many
//! viewers, one after another, and wakes none of their tasks while the sockets take it. Whoever holds the lock may
//! write: the outbox keeps the order.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::outbox::{Outbox, Wave};
use super::play::{Playing, Refill};
use super::transport::send_unasked;
use crate::domain::Timestamp;
use crate::hub::{Mark, Outgoing};

/// See the module.
pub(super) struct Port {
    /// The socket, where bytes can be handed to it as they are.
    pub(super) direct: Option<Arc<TcpStream>>,
    /// Wakes the connection's task: something waits that only it can see to.
    wake: Notify,
    outlet: Mutex<Outlet>,
}

/// What is behind the lock.
#[derive(Default)]
pub(super) struct Outlet {
    pub(super) outbox: Outbox,
    /// What the connection plays.
    pub(super) playing: Option<Box<Playing>>,
    /// Whether the transport has taken what the socket has not.
    pub(super) is_held_back: bool,
    /// Whether all that has to be said before media is in the outbox.
    is_open: bool,
    /// Since when the socket has taken nothing of what waits.
    stalled_since: Option<Instant>,
}

/// One time that a crowd is served.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    /// What it is to hand out.
    pub(super) until: Mark,
    /// When it began.
    pub(super) now: Instant,
    /// The same on the clock by which packets arrive.
    pub(super) now_ms: Timestamp,
}

impl Port {
    pub(super) fn new(direct: Option<Arc<TcpStream>>) -> Self {
        Self { direct, wake: Notify::new(), outlet: Mutex::default() }
    }

    /// Never held across an await.
    pub(super) fn outlet(&self) -> MutexGuard<'_, Outlet> {
        self.outlet.lock()
    }

    /// Resolves when the crowd has left something to the connection's task.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Hands the socket the wave that rolls over the whole crowd, if its viewer is to see just that, and tells how many
    /// bytes it took. None where the viewer has to be pumped.
    pub(super) fn roll(&self, wave: &Wave<'_>, now: Instant) -> Option<usize> {
        let socket = self.direct.as_ref()?;
        let mut outlet = self.outlet();
        if !outlet.is_open || !outlet.has_sent_all() {
            return None;
        }
        let playing = outlet.playing.as_mut().filter(|playing| playing.is_served_by(wave.batch()))?;
        // What the socket refuses as a whole is for the pump to try again and to wait for.
        let written = send_unasked(socket, wave.bytes()).ok().filter(|written| *written > 0)?;
        playing.pass(wave.batch());
        if written < wave.bytes().len() {
            outlet.outbox.push_rest(wave, written);
            outlet.note_progress(true, now);
            self.wake.notify_one();
        }
        Some(written)
    }

    /// Hands the socket what its viewer should see now, as far as it takes it at once, and tells how many bytes that
    /// were. What is left waits for the connection's task. `scratch` is empty before and after.
    pub(super) fn pump(&self, scratch: &mut Vec<Outgoing>, round: Round) -> usize {
        let mut outlet = self.outlet();
        let mut written = 0;
        loop {
            match outlet.refill(scratch, round.now_ms) {
                None => return written,
                Some(Refill::Current) if outlet.outbox.is_empty() => return written,
                Some(Refill::Current) => {}
                // The end is for the task to tell.
                Some(Refill::Ended) => break,
            }
            let wrote = self.direct.as_ref().map(|socket| outlet.outbox.try_write(socket));
            match wrote {
                Some(Ok(bytes)) if bytes > 0 => written += bytes,
                // So is an error to meet, and a full socket to wait for.
                _ => break,
            }
            if !outlet.outbox.is_empty() {
                break;
            }
            if outlet.playing.as_ref().is_none_or(|playing| playing.has_reached(round.until)) {
                outlet.stalled_since = None;
                return written;
            }
        }
        outlet.note_progress(written > 0, round.now);
        self.wake.notify_one();
        written
    }
}

impl Outlet {
    /// Lets media out: whatever was to be said before it is in the outbox.
    pub(super) fn open(&mut self) {
        self.is_open = self.playing.is_some();
    }

    /// Lets no media out until it is opened again, and gives back what was played.
    pub(super) fn shut(&mut self) -> Option<Box<Playing>> {
        self.is_open = false;
        self.playing.take()
    }

    /// Fills the outbox with media, if there is any for this connection. None where nothing is to leave now: nothing is
    /// played, its right has ended, or the socket has yet to take what was there before.
    pub(super) fn refill(&mut self, scratch: &mut Vec<Outgoing>, now: Timestamp) -> Option<Refill> {
        if !self.is_open || !self.has_sent_all() {
            return None;
        }
        let playing = self.playing.as_mut().filter(|playing| !playing.is_closed())?;
        Some(playing.refill(&mut self.outbox, scratch, now))
    }

    /// Whether the socket has taken all there is.
    fn has_sent_all(&self) -> bool {
        self.outbox.is_empty() && !self.is_held_back
    }

    /// Notes whether the socket moves on.
    pub(super) fn note_progress(&mut self, wrote: bool, now: Instant) {
        if self.has_sent_all() {
            self.stalled_since = None;
        } else if wrote || self.stalled_since.is_none() {
            self.stalled_since = Some(now);
        }
    }

    /// What the stream sends that is played here.
    pub(super) fn bits_per_second(&self, now: Timestamp) -> Option<u64> {
        let rates = self.playing.as_ref()?.viewer()?.rates(now);
        Some(rates.video_bits + rates.audio_bits)
    }

    /// Since when the socket has taken nothing of what waits.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }
}
