//! All streams of this gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::domain::conference::MediaGate;
use crate::domain::media_url::Profile;
use crate::domain::{Reason, Refusal, StreamId, Timestamp};

use super::changes::{Changes, StreamStatus};
use super::cursor::Cursor;
use super::delay::StreamDelay;
use super::meter::StreamRates;
use super::publisher::Publisher;
use super::session::{CloseReason, Session};
use super::settings::HubSettings;
use super::stream::{Stream, StreamSerial, StreamStats};
use super::totals::{HubTotals, Totals};
use super::viewer::Viewer;

/// The fan-out of all streams. Cheap to clone; all clones are the same hub.
///
/// A stream is known as long as somebody holds it: a publisher, a viewer, or, once it was live, whoever has yet to
/// [end](Hub::end_if_held) it.
#[derive(Debug, Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    settings: HubSettings,
    streams: Mutex<BTreeMap<StreamId, Arc<Stream>>>,
    /// The gates that are not open, of streams that are known here or will be. Locked under the map of streams.
    gates: Mutex<BTreeMap<StreamId, MediaGate>>,
    /// The streams whose pictures wait for a place. Locked under the map of streams.
    placeless: Mutex<BTreeSet<StreamId>>,
    newest_claim: AtomicU64,
    newest_serial: AtomicU64,
    sums: Arc<Totals>,
    pub(super) changes: Changes,
}

impl Hub {
    /// An empty hub.
    pub fn new(settings: HubSettings) -> Self {
        let shared = Shared {
            settings,
            streams: Mutex::default(),
            gates: Mutex::default(),
            placeless: Mutex::default(),
            newest_claim: AtomicU64::new(0),
            newest_serial: AtomicU64::new(0),
            sums: Arc::default(),
            changes: Changes::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Makes `session` the publisher of `stream`, from now on and alone. One that was there before is closed as
    /// replaced and can write no more; its viewers stay. A session that was closed meanwhile takes nothing over: the
    /// error is why.
    pub fn publish(
        &self,
        stream: &StreamId,
        session: Arc<Session>,
        now: Timestamp,
    ) -> Result<Publisher, CloseReason> {
        let (stream, claim, replaced) = {
            let mut streams = self.shared.streams.lock();
            if let Some(reason) = session.try_closed() {
                return Err(reason);
            }
            let stream = self.shared.stream(&mut streams, stream);
            let claim = self.shared.newest_claim.fetch_add(1, Relaxed) + 1;
            let replaced = stream.claim(claim, Arc::clone(&session));
            (stream, claim, replaced)
        };
        if let Some(replaced) = replaced {
            replaced.close(CloseReason::Replaced);
        }
        Ok(Publisher::new(Arc::clone(&self.shared), stream, session, claim, now))
    }

    /// Lets only that of `stream` pass which `gate` says, from now on and whoever publishes it. When this returns,
    /// nothing else is written any more, and no viewer takes anything else. Forget a stream by opening its gate.
    pub fn set_gate(&self, stream: &StreamId, gate: MediaGate) {
        let streams = self.shared.streams.lock();
        let mut gates = self.shared.gates.lock();
        if gate == MediaGate::OPEN {
            gates.remove(stream);
        } else {
            gates.insert(stream.clone(), gate);
        }
        drop(gates);
        if let Some(stream) = streams.get(stream) {
            stream.set_gate(gate);
        }
    }

    /// Tells whoever publishes `stream`, now or later, whether its pictures wait for a place.
    pub fn set_placeless(&self, stream: &StreamId, waits: bool) {
        let streams = self.shared.streams.lock();
        let mut placeless = self.shared.placeless.lock();
        if waits {
            placeless.insert(stream.clone());
        } else {
            placeless.remove(stream);
        }
        drop(placeless);
        if let Some(stream) = streams.get(stream) {
            stream.placeless.send_if_modified(|waited| std::mem::replace(waited, waits) != waits);
        }
    }

    /// Attaches a viewer to `stream`, whether or not it has a publisher yet. Refused as overloaded where the stream
    /// has as many viewers as it may.
    pub fn subscribe(
        &self,
        stream: &StreamId,
        profile: Profile,
        session: Arc<Session>,
    ) -> Result<Viewer, Refusal> {
        let settings = &self.shared.settings;
        let stream = {
            let mut streams = self.shared.streams.lock();
            let stream = self.shared.stream(&mut streams, stream);
            if stream.viewers.load(Relaxed) >= settings.viewers_per_stream_max {
                forget_if_abandoned(&mut streams, &stream);
                return Err(Reason::Overloaded
                    .because("this stream has as many viewers as it may; try again later")
                    .at("viewers_per_stream_max"));
            }
            stream.viewers.fetch_add(1, Relaxed);
            stream
        };
        let cursor = Cursor::join(&stream.state.read().ring, settings, profile);
        Ok(Viewer::new(Arc::clone(&self.shared), stream, session, cursor))
    }

    /// Ends `stream` for good: its publisher is closed with `reason`, its viewers get what is left and then the end.
    /// A later publisher of the same name begins a fresh stream. False if there is no such stream.
    pub fn end(&self, stream: &StreamId, reason: CloseReason) -> bool {
        self.shared.end_where(stream, reason, |_| true)
    }

    /// Ends `stream` if the publisher of `claim` left it and none has come since. For the end of the grace period.
    pub fn end_if_held(&self, stream: &StreamId, claim: u64) -> bool {
        self.shared.end_where(stream, CloseReason::StreamEnded, |stream| stream.is_held_since(claim))
    }

    /// Resolves when [`Hub::take_changes`] has something to give. Cancel-safe. For one supervisor.
    pub async fn changed(&self) {
        self.shared.changes.changed().await;
    }

    /// The latest state of each stream whose state has changed since the last call, ordered by name. A stream shows up
    /// once its first frame was written.
    pub fn take_changes(&self) -> Vec<StreamStatus> {
        self.shared.changes.take()
    }

    /// Figures of one stream, if it is known.
    pub fn stats(&self, stream: &StreamId) -> Option<StreamStats> {
        let stream = self.shared.streams.lock().get(stream).cloned();
        stream.map(|stream| stream.stats())
    }

    /// What the publisher of one stream sends, over the last seconds before `now`, if the stream is known.
    pub fn rates(&self, stream: &StreamId, now: Timestamp) -> Option<StreamRates> {
        let stream = self.shared.streams.lock().get(stream).cloned();
        stream.map(|stream| stream.rates(now))
    }

    /// How long packets of one stream waited for its viewers before `now`; `None` where nobody took any.
    pub fn delay(&self, stream: &StreamId, now: Timestamp) -> Option<StreamDelay> {
        let stream = self.shared.streams.lock().get(stream).cloned();
        stream.and_then(|stream| stream.delay.delay(now.0))
    }

    /// Sums over all streams, those that are gone among them.
    pub fn totals(&self) -> HubTotals {
        self.shared.sums.read()
    }

    /// Streams that are known, live or not.
    pub fn stream_count(&self) -> usize {
        self.shared.streams.lock().len()
    }
}

impl Shared {
    pub(super) fn release(&self, stream: &Arc<Stream>, claim: u64, since: Timestamp) {
        let mut streams = self.streams.lock();
        stream.release(claim, since, &self.changes);
        forget_if_abandoned(&mut streams, stream);
    }

    pub(super) fn unsubscribe(&self, stream: &Arc<Stream>) {
        let mut streams = self.streams.lock();
        stream.viewers.fetch_sub(1, Relaxed);
        forget_if_abandoned(&mut streams, stream);
    }

    fn stream(&self, streams: &mut BTreeMap<StreamId, Arc<Stream>>, id: &StreamId) -> Arc<Stream> {
        let fresh = || {
            let gate = self.gates.lock().get(id).copied().unwrap_or(MediaGate::OPEN);
            let waits = self.placeless.lock().contains(id);
            let serial = StreamSerial(self.newest_serial.fetch_add(1, Relaxed) + 1);
            Arc::new(Stream::new(id.clone(), serial, &self.settings, gate, waits, Arc::clone(&self.sums)))
        };
        Arc::clone(streams.entry(id.clone()).or_insert_with(fresh))
    }

    /// The change is told before the name is free again, so that a fresh stream's news cannot come first.
    fn end_where(&self, id: &StreamId, reason: CloseReason, applies: impl FnOnce(&Stream) -> bool) -> bool {
        let publisher = {
            let mut streams = self.streams.lock();
            let Some(stream) = streams.get(id).filter(|stream| applies(stream)).cloned() else {
                return false;
            };
            streams.remove(id);
            stream.end(reason.clone(), &self.changes)
        };
        if let Some(publisher) = publisher {
            publisher.close(reason);
        }
        true
    }
}

fn forget_if_abandoned(streams: &mut BTreeMap<StreamId, Arc<Stream>>, stream: &Arc<Stream>) {
    let is_known = streams.get(&stream.id).is_some_and(|known| Arc::ptr_eq(known, stream));
    if is_known && stream.is_abandoned() {
        streams.remove(&stream.id);
    }
}
