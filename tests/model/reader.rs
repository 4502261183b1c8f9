//! One reader of one conference's feed: reads, is cut off, and resumes.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::fold::Fold;
use crate::support::{EVENT, within};
use crate::world::{Place, Random};

/// Events that may be missed before a snapshot is a fair answer to a resume.
const RESUMABLE: u64 = 1000;

const NORMAL: u16 = 1000;
const SLOW: u16 = 4008;
const GONE: u16 = 4410;
const DRAINING: u16 = 4503;

/// Whose feed it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Eyes {
    App,
    Member {
        id: String,
        /// It is shown no AUDIENCE.
        hides_audience: bool,
    },
}

impl Eyes {
    pub fn see_audience(&self) -> bool {
        !matches!(self, Self::Member { hides_audience: true, .. })
    }

    fn are(&self, member: &Value) -> bool {
        matches!(self, Self::Member { id, .. } if *member == id.as_str())
    }
}

/// How a feed ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// With its last frame.
    Told,
    /// It came back and was told that its stay is over, and why.
    Gone { reason: i64 },
    /// The gateway shut down.
    Drained,
}

#[derive(Default)]
pub struct Log {
    pub snapshot: Option<Value>,
    pub frames: Vec<Value>,
    pub end: Option<End>,
    pub cuts: usize,
}

impl Log {
    pub fn last_seq(&self) -> Option<u64> {
        self.frames.last().or(self.snapshot.as_ref()).map(seq)
    }

    /// What was told up to and with `through`.
    pub fn fold(&self, eyes: &Eyes, through: u64) -> Fold {
        let snapshot = self.snapshot.as_ref().expect("a snapshot");
        let mut fold = Fold::of(&snapshot["conference"], eyes.see_audience());
        for frame in self.frames.iter().take_while(|frame| seq(frame) <= through) {
            fold.apply(frame);
        }
        fold
    }
}

pub fn seq(frame: &Value) -> u64 {
    frame["seq"].as_u64().unwrap_or_else(|| panic!("no seq: {frame}"))
}

pub struct Reader {
    conference: String,
    pub name: String,
    pub eyes: Eyes,
    token: Mutex<String>,
    /// About how many frames it reads before it cuts its socket.
    cut: Option<usize>,
    random: Mutex<Random>,
    pub log: Mutex<Log>,
    /// The newest `n` of the conference's metadata that it saw; the greatest of all numbers when nothing follows.
    marker: watch::Sender<u64>,
    started: watch::Sender<bool>,
}

type Socket = WebSocketStream<TcpStream>;

enum Stop {
    /// By this reader.
    Cut,
    /// By the gateway, which says to resume.
    Resume,
    /// Without a word.
    Broken,
    Over(End),
}

impl Reader {
    pub fn new(
        conference: &str,
        name: &str,
        eyes: Eyes,
        token: String,
        cut: Option<usize>,
        seed: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            conference: conference.to_owned(),
            name: name.to_owned(),
            eyes,
            token: Mutex::new(token),
            cut,
            random: Mutex::new(Random::new(seed)),
            log: Mutex::default(),
            marker: watch::Sender::new(0),
            started: watch::Sender::new(false),
        })
    }

    /// Is told everything that happened since `snapshot`, from its first frame on.
    pub fn begin_with(&self, snapshot: Value) {
        self.log.lock().snapshot = Some(snapshot);
    }

    pub fn is_over(&self) -> bool {
        self.log.lock().end.is_some()
    }

    pub fn token(&self) -> String {
        self.token.lock().clone()
    }

    pub fn describe(&self) -> String {
        format!("{} in {}", self.name, self.conference)
    }

    /// Waits for the first frame.
    pub async fn began(&self) {
        let mut started = self.started.subscribe();
        let _ = within(EVENT * 3, "a snapshot", started.wait_for(|started| *started)).await;
    }

    /// Waits until it saw the change of the conference's metadata to `n`, or its end.
    pub async fn reached(&self, n: u64) {
        let mut marker = self.marker.subscribe();
        let what = format!("{} sees the last change", self.describe());
        let _ = within(EVENT * 2, &what, marker.wait_for(|seen| *seen >= n)).await;
    }

    /// Reads until nothing follows, wherever the gateway is.
    pub async fn run(self: Arc<Self>, mut places: watch::Receiver<Place>) {
        let mut place = *places.borrow();
        loop {
            let after = self.log.lock().last_seq();
            let stop = match self.connect(place.http, after).await {
                Some(mut socket) => self.read(&mut socket, after).await,
                None => Stop::Broken,
            };
            match stop {
                Stop::Cut => self.log.lock().cuts += 1,
                Stop::Resume => {}
                Stop::Broken => {
                    let newer = places.wait_for(|newer| newer.generation > place.generation);
                    let what = format!("the gateway comes back for {}", self.describe());
                    match within(EVENT * 3, &what, newer).await {
                        Ok(newer) => place = *newer,
                        Err(_) => return,
                    }
                }
                Stop::Over(end) => {
                    self.log.lock().end = Some(end);
                    self.marker.send_replace(u64::MAX);
                    return;
                }
            }
        }
    }

    async fn connect(&self, address: SocketAddr, after: Option<u64>) -> Option<Socket> {
        let query = after.map(|after| format!("?after={after}")).unwrap_or_default();
        let url = format!("ws://{address}/v1/conferences/{}/events{query}", self.conference);
        let mut request = url.into_client_request().expect("a request");
        let bearer = format!("Bearer {}", self.token()).parse().expect("a header");
        request.headers_mut().insert("authorization", bearer);
        let stream = TcpStream::connect(address).await.ok()?;
        let (socket, _) = client_async(request, stream).await.ok()?;
        Some(socket)
    }

    async fn read(&self, socket: &mut Socket, after: Option<u64>) -> Stop {
        let mut left = self.cut.map(|cut| 1 + self.random.lock().below(2 * cut));
        let mut is_first = true;
        let mut end = None;
        loop {
            let frame = match socket.next().await {
                Some(Ok(Message::Text(text))) => serde_json::from_str::<Value>(&text).expect("JSON"),
                Some(Ok(Message::Close(frame))) => {
                    return self.closed(frame.map(|frame| u16::from(frame.code)), end);
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return end.map_or(Stop::Broken, Stop::Over),
            };
            end = self.take(frame, is_first, after);
            is_first = false;
            if let Some(left) = &mut left {
                *left -= 1;
                if *left == 0 && end.is_none() {
                    return Stop::Cut;
                }
            }
        }
    }

    fn closed(&self, code: Option<u16>, end: Option<End>) -> Stop {
        match (code, end) {
            (Some(NORMAL), Some(End::Told)) => Stop::Over(End::Told),
            (Some(GONE), Some(gone @ End::Gone { .. })) => Stop::Over(gone),
            (Some(SLOW), None) => Stop::Resume,
            (Some(DRAINING), _) => Stop::Over(End::Drained),
            other => panic!("{}: closed with {other:?}", self.describe()),
        }
    }

    /// Notes a frame, which must follow on the one before; says so if it is the last.
    fn take(&self, frame: Value, is_first: bool, after: Option<u64>) -> Option<End> {
        let who = self.describe();
        let mut log = self.log.lock();
        match frame["type"].as_str().expect("a type") {
            "snapshot" => {
                assert!(is_first, "{who}: a snapshot in the middle: {frame}");
                if let Some(after) = after {
                    let missed = seq(&frame).saturating_sub(after);
                    assert!(
                        missed >= RESUMABLE,
                        "{who}: a snapshot instead of {missed} events after {after}"
                    );
                }
                assert_eq!(frame["prev"], frame["seq"], "{who}: {frame}");
                assert_eq!(frame["conference"]["seq"], frame["seq"], "{who}: {frame}");
                self.note_marker(&frame["conference"]);
                log.frames.clear();
                log.snapshot = Some(frame);
                self.started.send_replace(true);
            }
            "serverDraining" => {}
            "conferenceExit" if frame["seq"] == 0 => {
                self.started.send_replace(true);
                return Some(End::Gone { reason: frame["reason"].as_i64().expect("a reason") });
            }
            kind => {
                let last = log.last_seq().unwrap_or_else(|| panic!("{who}: {frame} before a snapshot"));
                assert_eq!(frame["prev"].as_u64(), Some(last), "{who}: a gap or a repeat: {frame}");
                assert!(seq(&frame) > last, "{who}: backwards after {last}: {frame}");
                assert_eq!(frame["confrId"], self.conference.as_str(), "{who}");
                let is_last = kind == "conferenceExit";
                self.note_marker(&frame["conference"]);
                let fresh = frame["roleToken"].as_str();
                assert_eq!(
                    fresh.is_some(),
                    kind == "roleChanged" && self.eyes.are(&frame["member"]["id"]),
                    "{who}: {frame}"
                );
                if let Some(fresh) = fresh.filter(|_| self.random.lock().one_in(2)) {
                    fresh.clone_into(&mut self.token.lock());
                }
                log.frames.push(frame);
                self.started.send_replace(true);
                return is_last.then_some(End::Told);
            }
        }
        None
    }

    fn note_marker(&self, conference: &Value) {
        if let Some(n) = conference["metadata"]["n"].as_u64() {
            self.marker.send_if_modified(|seen| {
                let newer = n > *seen;
                *seen = n.max(*seen);
                newer
            });
        }
    }
}
