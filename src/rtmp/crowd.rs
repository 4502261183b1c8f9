//! The viewers of one stream, served together.
//!
//! Waking the task of each viewer for each packet costs more than a frame of sound is worth. Here one task follows the
//! stream and hands what came to the viewers' sockets one after another, as one thread of a plain server would. A
//! viewer whose socket is full is left to its own task, and the crowd goes on with the next.
//!
//! What comes waits for the length of the merge window and leaves together with all that came meanwhile: a write costs
//! the same however much it carries.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::outbox::Wave;
use super::play::{BYTES_PER_TURN, PACKETS_PER_TURN};
use super::port::{Port, Round};
use crate::clock;
use crate::domain::media_url::Profile;
use crate::hub::{Mark, StreamSerial, Tide, Viewer};
use crate::telemetry::Counter;

/// Viewers that one task serves. A write takes some microseconds, so that a round stays within a millisecond; more
/// viewers get more tasks, which run on all cores.
const VIEWERS_PER_CROWD: usize = 128;
/// Viewers between two moments at which the thread may see to other tasks.
const VIEWERS_PER_TURN: usize = 32;

/// What the runtime's timers are late by at most: they go off at whole milliseconds.
const TIMER_STEP: Duration = Duration::from_millis(1);

/// How long what came waits for more, so that all of it leaves in one write. Zero is not at all.
#[derive(Debug, Clone, Copy)]
pub struct MergeWindows {
    /// For viewers that are to be close to now.
    pub rtc: Duration,
    /// For viewers that take their time.
    pub live: Duration,
}

impl MergeWindows {
    fn of(self, profile: Profile) -> Duration {
        match profile {
            Profile::Rtc => self.rtc,
            Profile::Live => self.live,
        }
    }
}

/// All crowds.
pub struct Crowds {
    windows: MergeWindows,
    sent_bytes: Counter,
    tasks: TaskTracker,
    by_stream: Mutex<BTreeMap<Key, Vec<Arc<Crowd>>>>,
}

type Key = (StreamSerial, Profile);
type Ports = Arc<Vec<Arc<Port>>>;

struct Crowd {
    /// Copied when it changes in the middle of a round.
    ports: Mutex<Ports>,
    /// Cancelled when the last viewer has left.
    over: CancellationToken,
}

/// A viewer's place in a crowd; dropping it leaves.
pub(super) struct Place {
    crowds: Arc<Crowds>,
    key: Key,
    crowd: Arc<Crowd>,
    port: Arc<Port>,
}

impl Crowds {
    /// None yet. Their tasks run among `tasks`, and what they write is counted by `sent_bytes`.
    pub fn new(windows: MergeWindows, sent_bytes: Counter, tasks: TaskTracker) -> Self {
        Self { windows, sent_bytes, tasks, by_stream: Mutex::default() }
    }

    /// Serves `port` from now on with what comes for `viewer`. What came before is for the port's own task.
    pub(super) fn join(self: &Arc<Self>, port: &Arc<Port>, viewer: &Viewer, profile: Profile) -> Place {
        let key = (viewer.serial(), profile);
        let mut by_stream = self.by_stream.lock();
        let crowds = by_stream.entry(key).or_default();
        let roomy = crowds.iter().find(|crowd| crowd.ports.lock().len() < VIEWERS_PER_CROWD);
        let crowd = roomy.cloned().unwrap_or_else(|| {
            let crowd = Arc::new(Crowd { ports: Mutex::default(), over: CancellationToken::new() });
            crowds.push(Arc::clone(&crowd));
            self.tasks.spawn(serve(
                Arc::clone(&crowd),
                viewer.tide(),
                self.windows.of(profile),
                self.sent_bytes.clone(),
            ));
            crowd
        });
        Arc::make_mut(&mut *crowd.ports.lock()).push(Arc::clone(port));
        Place { crowds: Arc::clone(self), key, crowd, port: Arc::clone(port) }
    }

    fn leave(&self, key: Key, crowd: &Arc<Crowd>, port: &Arc<Port>) {
        let mut by_stream = self.by_stream.lock();
        let is_empty = {
            let mut ports = crowd.ports.lock();
            let ports = Arc::make_mut(&mut *ports);
            ports.retain(|other| !Arc::ptr_eq(other, port));
            ports.is_empty()
        };
        if !is_empty {
            return;
        }
        crowd.over.cancel();
        if let Some(crowds) = by_stream.get_mut(&key) {
            crowds.retain(|other| !Arc::ptr_eq(other, crowd));
            if crowds.is_empty() {
                by_stream.remove(&key);
            }
        }
    }
}

impl Place {
    /// Of which stream the crowd is.
    pub(super) fn stream(&self) -> StreamSerial {
        self.key.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowds.leave(self.key, &self.crowd, &self.port);
    }
}

/// Serves a crowd until it is over.
async fn serve(crowd: Arc<Crowd>, mut tide: Tide, window: Duration, sent_bytes: Counter) {
    let mut over = pin!(crowd.over.cancelled());
    let (mut scratch, mut space) = (Vec::new(), BytesMut::new());
    let mut before = Mark::default();
    // Nothing is to wait for longer than the setting says.
    let window = window.saturating_sub(TIMER_STEP);
    loop {
        tokio::select! {
            biased;
            () = over.as_mut() => return,
            () = tide.rises() => {}
        }
        if !window.is_zero() {
            // Short enough for a crowd whose last viewer leaves meanwhile.
            sleep(window).await;
        }
        let round = Round { until: tide.settle(), now: Instant::now(), now_ms: clock::steady() };
        let batch = tide.gather(before, round.until, PACKETS_PER_TURN, BYTES_PER_TURN);
        let wave = batch.as_ref().and_then(|batch| Wave::new(batch, &mut space));
        before = round.until;
        let ports = Arc::clone(&crowd.ports.lock());
        let (mut written, mut rolled) = (0, 0);
        let mut turns = ports.chunks(VIEWERS_PER_TURN).peekable();
        while let Some(turn) = turns.next() {
            for port in turn {
                let took = wave.as_ref().and_then(|wave| port.roll(wave, round.now));
                rolled += u64::from(took.is_some());
                written += took.unwrap_or_else(|| port.pump(&mut scratch, round));
            }
            if turns.peek().is_some() {
                tokio::task::yield_now().await;
            }
        }
        if let Some(wave) = wave.filter(|_| rolled > 0) {
            tide.count(wave.batch(), rolled, round.now_ms);
        }
        sent_bytes.inc_by(written as u64);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::domain::{Direction, Timestamp};
    use crate::hub::fixtures::{Stage, keyframe, start};
    use crate::hub::{HubSettings, SessionGuard};
    use crate::listen;
    use crate::media::PacketKind;
    use crate::rtmp::play::Playing;

    const FRAME_BYTES: usize = 60_000;

    struct House {
        stage: Stage,
        crowds: Arc<Crowds>,
        tasks: TaskTracker,
    }

    /// A viewer that its crowd alone serves.
    struct Seat {
        port: Arc<Port>,
        peer: TcpStream,
        _place: Place,
        _session: SessionGuard,
    }

    impl House {
        fn new(window: Duration) -> Self {
            let tasks = TaskTracker::new();
            let windows = MergeWindows { rtc: window, live: window };
            let crowds = Arc::new(Crowds::new(windows, Counter::default(), tasks.clone()));
            Self { stage: Stage::new(HubSettings::default()), crowds, tasks }
        }

        fn join(&self, socket: Option<Arc<TcpStream>>) -> (Arc<Port>, Place, SessionGuard) {
            let session = self.stage.table.enter(start(Direction::Play, 1, [0; 4]));
            let wait = Duration::from_secs(60);
            let playing = Playing::new(&self.stage.hub, session.session(), Profile::Rtc, wait).unwrap();
            let port = Arc::new(Port::new(socket));
            let place = self.crowds.join(&port, playing.viewer().unwrap(), Profile::Rtc);
            let mut outlet = port.outlet();
            outlet.playing = Some(Box::new(playing));
            outlet.open();
            drop(outlet);
            (port, place, session)
        }

        async fn seat(&self) -> Seat {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (peer, _) = listener.accept().await.unwrap();
            listen::bound_unsent(&ours, 16 * 1024).unwrap();
            let (port, place, session) = self.join(Some(Arc::new(ours)));
            Seat { port, peer, _place: place, _session: session }
        }
    }

    #[tokio::test]
    async fn one_viewer_too_many_begins_another_crowd_and_the_last_to_leave_ends_it() {
        let house = House::new(Duration::ZERO);
        let mut seats: Vec<_> = (0..=VIEWERS_PER_CROWD).map(|_| house.join(None)).collect();
        assert_eq!(house.tasks.len(), 2);
        drop(seats.pop());
        house.tasks.close();
        assert_eq!(house.crowds.by_stream.lock().values().map(Vec::len).sum::<usize>(), 1);
        drop(seats);
        assert!(house.crowds.by_stream.lock().is_empty());
        house.tasks.wait().await;
    }

    #[tokio::test]
    async fn a_full_socket_is_left_to_its_own_task_and_the_crowd_goes_on() {
        let house = House::new(Duration::from_millis(1));
        let (mut full, mut reader) = (house.seat().await, house.seat().await);
        let mut source = house.stage.publisher(0);
        let (mut sent, mut read) = (0, Vec::new());
        let port = Arc::clone(&full.port);
        let mut woken = Box::pin(port.woken());
        let mut is_woken = false;
        // Nobody reads the other: what its kernel takes in all has an end.
        while !is_woken {
            let now = Timestamp(sent * 40);
            let stamp = u32::try_from(now.0).unwrap();
            source.publisher.write(PacketKind::Video, stamp, keyframe(FRAME_BYTES), now).unwrap();
            sent += 1;
            read_until(&mut reader.peer, &mut read, usize::try_from(sent).unwrap() * FRAME_BYTES).await;
            is_woken = tokio::select! {
                biased;
                () = woken.as_mut() => true,
                () = std::future::ready(()) => false,
            };
        }
        assert!(!full.port.outlet().outbox.is_empty(), "what its socket did not take waits for its task");
        {
            let outlet = reader.port.outlet();
            assert!(outlet.outbox.is_empty() && outlet.stalled_since().is_none());
        }
        assert_eq!(finish(&mut full).await, read, "what was cut off in the middle goes on there");
    }

    /// Adds to `read` until it has so many bytes and no more come at once.
    async fn read_until(peer: &mut TcpStream, read: &mut Vec<u8>, bytes: usize) {
        while read.len() < bytes {
            peer.read_buf(read).await.unwrap();
        }
    }

    /// All that its viewer was sent, once what waits has left by the hand of its own task.
    async fn finish(seat: &mut Seat) -> Vec<u8> {
        let socket = seat.port.direct.clone().unwrap();
        let mut read = Vec::new();
        while !seat.port.outlet().outbox.is_empty() {
            tokio::select! {
                writable = socket.writable() => {
                    writable.unwrap();
                    // It may turn out to be full after all.
                    let _ = seat.port.outlet().outbox.try_write(&socket);
                }
                bytes = seat.peer.read_buf(&mut read) => assert!(bytes.unwrap() > 0),
            }
        }
        listen::finish(&socket).unwrap();
        seat.peer.read_to_end(&mut read).await.unwrap();
        read
    }
}
