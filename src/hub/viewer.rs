//! One viewer's reading of a stream.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::watch;

use crate::domain::{StreamId, Timestamp};
use crate::media::{HevcForm, PacketClass};

use super::batch::Batch;
use super::cursor::{Cursor, Outgoing};
use super::meter::StreamRates;
use super::reading::{HevcCarried, HevcReader};
use super::session::{CloseReason, Session};
use super::stream::{Stream, StreamSerial, Tail};
use super::streams::Shared;

/// What [`Viewer::take`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Something was added to the caller's list; there may be more.
    Some,
    /// Nothing to send now: await [`Viewer::ready`].
    Idle,
    /// Nothing is left and nothing will come.
    Ended(CloseReason),
}

/// A viewer of a stream. Loop: await [`Viewer::ready`], then [`Viewer::take`] until it is idle.
#[derive(Debug)]
pub struct Viewer {
    shared: Arc<Shared>,
    stream: Arc<Stream>,
    session: Arc<Session>,
    cursor: Cursor,
    tail: watch::Receiver<Tail>,
    /// For a viewer that reads HEVC in one form only.
    hevc: Option<HevcReader>,
    first_frame: FirstFrame,
}

/// How long a viewer waits for its first picture, or for sound where there are no pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstFrame {
    /// Nothing has flowed since it came.
    NoStream,
    /// It came, or media began to flow, at this time.
    Awaited {
        since_ms: u64,
    },
    Seen,
}

/// What the stream was like when something was taken.
#[derive(Debug, Clone, Copy)]
struct Scene {
    hevc: HevcCarried,
    is_live: bool,
    has_pictures: bool,
}

/// Tells when a stream has grown or ended, for whoever serves several of its viewers.
#[derive(Debug)]
pub struct Tide {
    stream: Arc<Stream>,
    tail: watch::Receiver<Tail>,
}

impl Tide {
    /// Resolves when packets came, or the stream ended, since this resolved before. Cancel-safe.
    pub async fn rises(&mut self) {
        // The sender lives in the stream, which this keeps.
        let _ = self.tail.changed().await;
    }

    /// What came between two marks, to be handed to all viewers that stand at the first. None where there is nothing,
    /// or more than `packets_max` packets or `bytes_max` bytes of payload, or something that each viewer has to look at for itself.
    pub fn gather(&self, since: Mark, until: Mark, packets_max: usize, bytes_max: usize) -> Option<Batch> {
        Batch::gather(&self.stream, since, until, packets_max, bytes_max)
    }

    /// Notes that `viewers` of them were handed `batch` now.
    pub fn count(&self, batch: &Batch, viewers: u64, now: Timestamp) {
        let waited_ms = batch.waited_ms(now);
        self.stream.delay.count(waited_ms, viewers, now.0);
        self.stream.sums.add_delay(waited_ms, viewers);
    }

    /// How far the stream has come by now; [`Tide::rises`] resolves for what comes after this.
    pub fn settle(&mut self) -> Mark {
        let tail = *self.tail.borrow_and_update();
        Mark { next_number: tail.next_number, has_ended: tail.has_ended }
    }
}

/// How far a stream had come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    pub(super) next_number: u64,
    has_ended: bool,
}

impl Viewer {
    pub(super) fn new(
        shared: Arc<Shared>,
        stream: Arc<Stream>,
        session: Arc<Session>,
        cursor: Cursor,
    ) -> Self {
        let tail = stream.tail.subscribe();
        Self { shared, stream, session, cursor, tail, hevc: None, first_frame: FirstFrame::NoStream }
    }

    /// From now on HEVC comes in `form`, whatever form is published. To be said before the first take.
    pub fn read_hevc_as(&mut self, form: HevcForm) {
        self.hevc = Some(HevcReader::new(form));
    }

    /// The stream.
    pub fn stream(&self) -> &StreamId {
        &self.stream.id
    }

    /// Which of all the streams that had this name.
    pub fn serial(&self) -> StreamSerial {
        self.stream.serial
    }

    /// Tells of all that comes from now on.
    pub fn tide(&self) -> Tide {
        Tide { stream: Arc::clone(&self.stream), tail: self.stream.tail.subscribe() }
    }

    /// Whether the stream has a publisher, or is held for one: there is something to wait for, even where all of it is
    /// held back.
    pub fn is_alive(&self) -> bool {
        self.stream.state.read().is_alive()
    }

    /// What the publisher sends, over the last seconds before `now`.
    pub fn rates(&self, now: Timestamp) -> StreamRates {
        self.stream.rates(now)
    }

    /// Whether all that came until `mark` was taken.
    pub fn has_reached(&self, mark: Mark) -> bool {
        !mark.has_ended && !self.cursor.is_behind(mark.next_number)
    }

    /// Resolves when there may be something to take, or the stream has ended. Cancel-safe. A take that follows may
    /// still be idle, where all that came was not for this viewer.
    pub async fn ready(&mut self) {
        let cursor = &self.cursor;
        // The sender lives in the stream, which this viewer keeps.
        let _ = self.tail.wait_for(|tail| tail.has_ended || cursor.is_behind(tail.next_number)).await;
    }

    /// Whether `batch` is what this viewer is to see next, as it is.
    pub fn is_served_by(&self, batch: &Batch) -> bool {
        let reads_it = self.hevc.as_ref().is_none_or(|reader| !reader.is_needed_for(batch.hevc));
        reads_it
            && self.first_frame == FirstFrame::Seen
            && self.cursor.is_current_at(batch)
            && batch.is_let_through(&self.stream)
    }

    /// Takes all of a batch that it is served by.
    pub fn pass(&mut self, batch: &Batch) {
        self.cursor.pass(batch.until, batch.span_ms);
        self.session.counters().add(batch.frames().len(), batch.payload_bytes());
    }

    /// Adds to `out` what comes next: at most `packets_max` packets with `bytes_max` bytes of payload, but at least
    /// one packet if there is one. Up to three repeated headers come on top. Never waits. `now` is of the clock by
    /// which packets arrive.
    ///
    /// A viewer that is too far behind is moved here: to the newest keyframe, or to the end of the stream with
    /// sound only until the next keyframe. Its session and the stream count that as a skip.
    pub fn take(
        &mut self,
        out: &mut Vec<Outgoing>,
        packets_max: usize,
        bytes_max: usize,
        now: Timestamp,
    ) -> Taken {
        loop {
            let (taken, scene) = self.take_published(out, packets_max, bytes_max, now);
            if self.first_frame != FirstFrame::Seen {
                self.look_for_first_frame(out, scene, now);
            }
            if taken == Taken::Some
                && let Some(reader) = &mut self.hevc
                && reader.is_needed_for(scene.hevc)
            {
                reader.read(out);
                if out.is_empty() {
                    continue;
                }
            }
            return taken;
        }
    }

    fn look_for_first_frame(&mut self, out: &[Outgoing], scene: Scene, now: Timestamp) {
        if self.first_frame == FirstFrame::NoStream && scene.is_live {
            self.first_frame = FirstFrame::Awaited { since_ms: now.0 };
        }
        let FirstFrame::Awaited { since_ms } = self.first_frame else { return };
        let is_first = |outgoing: &Outgoing| match outgoing.frame.packet().class {
            PacketClass::Keyframe => true,
            PacketClass::AudioFrame => !scene.has_pictures,
            _ => false,
        };
        if out.iter().any(is_first) {
            self.first_frame = FirstFrame::Seen;
            let waited_ms = now.0.saturating_sub(since_ms);
            self.stream.first_frames.count(waited_ms);
            self.stream.sums.add_first_frame(waited_ms);
        }
    }

    /// As it was published, and what the stream is like.
    fn take_published(
        &mut self,
        out: &mut Vec<Outgoing>,
        packets_max: usize,
        bytes_max: usize,
        now: Timestamp,
    ) -> (Taken, Scene) {
        let (portion, end, scene) = {
            let state = self.stream.state.read();
            let portion = self.cursor.take(&state.ring, state.gate.open(), out, packets_max, bytes_max);
            let end = if portion.packets == 0 { state.end_reason() } else { None };
            let scene =
                Scene { hevc: state.hevc, is_live: state.is_live(), has_pictures: state.has_pictures() };
            (portion, end, scene)
        };
        if let Some(packets) = portion.skipped {
            self.session.counters().add_skip();
            self.stream.skips.fetch_add(1, Relaxed);
            self.stream.dropped_packets.fetch_add(packets, Relaxed);
            self.stream.sums.add_skip(packets);
        }
        if portion.packets == 0 {
            return (end.map_or(Taken::Idle, Taken::Ended), scene);
        }
        if let Some(oldest_ms) = portion.oldest_ms {
            let waited_ms = now.0.saturating_sub(oldest_ms);
            self.stream.delay.count(waited_ms, 1, now.0);
            self.stream.sums.add_delay(waited_ms, 1);
        }
        self.session.counters().add(portion.packets, portion.bytes);
        (Taken::Some, scene)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.shared.unsubscribe(&self.stream);
    }
}
