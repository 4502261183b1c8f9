//! What the clients of the storm know: conferences, and the credentials that they were given in them.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::commands::Call;
use crate::ledger::Ledger;
use crate::reader::{Eyes, Reader};
use crate::support::api::text;
use crate::support::{
    App, MediaUrl, Peer, Refusal, flv,
    peer::{Feed, Watch},
};

/// Credentials of one kind that are remembered in one conference. Old ones are dropped, so that most calls are made
/// with something that may still hold.
const REMEMBERED: usize = 24;
/// Publishers with a socket at the same time: enough for media events among the others, and cheap.
const PUBLISHERS_MAX: usize = 4;
/// Viewers at once: enough that a kill finds media on its way out too.
const VIEWERS_MAX: usize = 4;
/// Members with an event socket in one conference, beside the two sockets of the app.
const MEMBER_READERS_MAX: usize = 5;

/// Names of rooms.
pub const ROOMS: usize = 2;

/// A fixed sequence of numbers (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    pub fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub fn one_of<T: Copy, const COUNT: usize>(&mut self, of: [T; COUNT]) -> T {
        of[self.below(COUNT)]
    }

    pub fn pick<T: Clone>(&mut self, of: &VecDeque<T>) -> Option<T> {
        if of.is_empty() { None } else { of.get(self.below(of.len())).cloned() }
    }
}

/// A gateway process: each restart has its own ports.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub generation: u64,
    pub http: SocketAddr,
    pub rtmp: SocketAddr,
}

#[derive(Debug, Clone)]
pub struct KnownMember {
    pub id: String,
    pub name: String,
    pub token: String,
}

#[derive(Debug, Clone)]
pub struct KnownStream {
    pub id: String,
    pub owner_token: String,
    pub url: MediaUrl,
}

/// A media URL, and whose stay it is bound to.
#[derive(Debug, Clone)]
pub struct Right {
    pub member: String,
    pub is_publish: bool,
    pub url: MediaUrl,
}

/// What clients know of one conference.
#[derive(Default)]
pub struct Known {
    pub tickets: VecDeque<String>,
    pub passwords: VecDeque<String>,
    pub members: VecDeque<KnownMember>,
    pub streams: VecDeque<KnownStream>,
    pub rights: VecDeque<Right>,
    pub end_asked: bool,
}

impl Known {
    /// What a refusal showed to be of no use any more.
    pub fn forget(&mut self, call: &Call, refusal: &Refusal) {
        match refusal.reason.as_str() {
            "member_gone" => {
                let shown = |secret: &String| call.shows(secret);
                self.members.retain(|member| !shown(&member.token));
                self.streams.retain(|stream| !shown(&stream.owner_token));
                self.tickets.retain(|ticket| !shown(ticket));
            }
            "stream_not_found" => self.streams.retain(|stream| !call.path.contains(&stream.id)),
            _ => {}
        }
    }
}

pub fn remember<T>(list: &mut VecDeque<T>, news: T) {
    list.push_back(news);
    if list.len() > REMEMBERED {
        list.pop_front();
    }
}

/// One conference.
pub struct Venue {
    pub id: String,
    pub is_live: bool,
    /// The number of its creation, which stands in its metadata for ever; a room is given one by its first change.
    pub made: u64,
    /// The creator's ADMIN ticket; absent where the answer to the creation was lost.
    pub creator_ticket: Option<String>,
    /// Clients do not end it.
    pub lasting: bool,
    pub known: Mutex<Known>,
    pub ledger: Mutex<Ledger>,
    /// The app's uncut reader, which was there from the first event on.
    pub witness: Arc<Reader>,
    pub readers: Mutex<Vec<Arc<Reader>>>,
}

impl Venue {
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/conferences/{}{rest}", self.id)
    }
}

/// Everything that the clients share.
pub struct World {
    pub seed: u64,
    pub app: App,
    pub place: watch::Receiver<Place>,
    venues: Mutex<Vec<Arc<Venue>>>,
    /// Every conference that was ever told of; `None` is one that was checked to its end.
    known: Mutex<BTreeMap<String, Option<Arc<Venue>>>>,
    /// Creations, and joins of rooms, of which nobody knows beforehand which conference they lead to.
    pub ledger: Mutex<Ledger>,
    number: AtomicU64,
    publishers: Mutex<VecDeque<JoinHandle<Option<Feed>>>>,
    viewers: Mutex<VecDeque<JoinHandle<Option<Watch>>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl World {
    pub fn new(seed: u64, app: App, place: watch::Receiver<Place>) -> Self {
        Self {
            seed,
            app,
            place,
            venues: Mutex::default(),
            known: Mutex::default(),
            ledger: Mutex::default(),
            number: AtomicU64::new(1),
            publishers: Mutex::default(),
            viewers: Mutex::default(),
            tasks: Mutex::default(),
        }
    }

    /// A number that nothing else in this run has.
    pub fn number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    pub fn venues(&self) -> Vec<Arc<Venue>> {
        self.venues.lock().clone()
    }

    pub fn forget(&self, venue: &Venue) {
        self.venues.lock().retain(|known| known.id != venue.id);
        self.known.lock().insert(venue.id.clone(), None);
    }

    /// Takes in a conference as an answer shows it. Clients get to know it when the app's reader is there, so that this
    /// reader misses nothing. `None` where it was known, and is over.
    pub fn open(self: &Arc<Self>, conference: &Value, lasting: bool) -> Option<Arc<Venue>> {
        let id = text(conference, "/confrId");
        let mut known = self.known.lock();
        if let Some(venue) = known.get(&id) {
            return venue.clone();
        }
        let room = conference["roomName"].as_str().map(str::to_owned);
        let witness = Reader::new(&id, "the app", Eyes::App, self.app.key.clone(), None, self.seed);
        if room.is_some() {
            // Others may have joined before anybody knew of it: its feed is read from its first event on.
            witness.begin_with(before_everybody(conference));
        }
        let again =
            Reader::new(&id, "the app, cut", Eyes::App, self.app.key.clone(), Some(40), self.number());
        let secret = |field: &str| conference[field].as_str().map(str::to_owned);
        let venue = Arc::new(Venue {
            id,
            is_live: conference["type"] == 12,
            made: match (&room, conference["metadata"]["made"].as_u64()) {
                (_, Some(made)) => made,
                (Some(_), None) => self.number(),
                (None, None) => panic!("every conference is made with a number: {conference}"),
            },
            creator_ticket: secret("ticket"),
            lasting,
            known: Mutex::new(Known {
                passwords: secret("password").into_iter().collect(),
                ..Known::default()
            }),
            ledger: Mutex::default(),
            witness: Arc::clone(&witness),
            readers: Mutex::new(vec![Arc::clone(&witness), Arc::clone(&again)]),
        });
        self.spawn(Arc::clone(&witness).run(self.place.clone()));
        self.spawn(again.run(self.place.clone()));
        known.insert(venue.id.clone(), Some(Arc::clone(&venue)));
        let (world, begun) = (Arc::clone(self), Arc::clone(&venue));
        self.spawn(async move {
            witness.began().await;
            world.venues.lock().push(begun);
        });
        Some(venue)
    }

    /// Gives a member an event socket, if the conference has not enough of them.
    pub fn watch(self: &Arc<Self>, venue: &Arc<Venue>, member: &KnownMember, random: &mut Random) {
        let mut readers = venue.readers.lock();
        if readers.iter().filter(|reader| !reader.is_over()).count() >= 2 + MEMBER_READERS_MAX {
            return;
        }
        let eyes = Eyes::Member { id: member.id.clone(), hides_audience: venue.is_live };
        let cut = random.one_in(2).then_some(25);
        let reader = Reader::new(&venue.id, &member.name, eyes, member.token.clone(), cut, random.next());
        readers.push(Arc::clone(&reader));
        self.spawn(reader.run(self.place.clone()));
    }

    /// Publishes for a while. Media is no concern of this test but for its events, so nobody asks how it went.
    pub fn publish(&self, url: &MediaUrl) {
        let url = url.at(self.place.borrow().rtmp);
        let publisher = tokio::spawn(async move {
            let peer = Peer::publish(&url).await.ok()?;
            Some(peer.feed(flv::clip()))
        });
        let mut publishers = self.publishers.lock();
        publishers.push_back(publisher);
        if publishers.len() > PUBLISHERS_MAX {
            publishers.pop_front();
        }
    }

    /// Watches for a while.
    pub fn view(&self, url: &MediaUrl) {
        let url = url.at(self.place.borrow().rtmp);
        let viewer = tokio::spawn(async move { Peer::play(&url).await.ok().map(Peer::watch) });
        let mut viewers = self.viewers.lock();
        viewers.push_back(viewer);
        if viewers.len() > VIEWERS_MAX {
            viewers.pop_front();
        }
    }

    /// Fails if a reader did.
    pub async fn join_finished(&self) {
        for task in self.take_finished() {
            task.await.expect("a reader");
        }
    }

    fn take_finished(&self) -> Vec<JoinHandle<()>> {
        let mut tasks = self.tasks.lock();
        let (finished, running) = std::mem::take(&mut *tasks).into_iter().partition(JoinHandle::is_finished);
        *tasks = running;
        finished
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().push(tokio::spawn(task));
    }

    /// What a conference is made of: its number in `metadata`, and places few enough to run out of.
    pub fn creation(&self, kind: i64, random: &mut Random) -> (u64, Value) {
        let made = self.number();
        let mut request = json!({
            "confrType": kind, "metadata": { "made": made, "n": 0 },
            "limits": self.limits(random),
        });
        if random.one_in(2) {
            request["password"] = json!("");
        }
        (made, request)
    }

    pub fn limits(&self, random: &mut Random) -> Value {
        json!({
            "maxTalkerCount": 4 + random.below(4), "maxAudienceCount": 3 + random.below(6),
            "maxVideoCount": 2 + random.below(5),
        })
    }
}

/// A conference as it was when it began, with nobody inside.
fn before_everybody(conference: &Value) -> Value {
    let mut conference = conference.clone();
    conference["members"] = json!([]);
    conference["streams"] = json!([]);
    conference["audienceCount"] = 0.into();
    conference["seq"] = 0.into();
    json!({ "seq": 0, "conference": conference })
}
