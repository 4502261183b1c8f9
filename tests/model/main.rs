//! Everything at once, held against a small model of the feed.
//!
//! Many clients give random commands to a running gateway while readers with different rights collect the feed, some of
//! them cut off again and again. At moments that a seed decides the gateway is killed with -9 and comes back. After each
//! round: every reader was told one and the same order, as far as its rights go, without gap or repeat; a fold over the
//! feed is what GET shows; what was promised is there, and nothing that nobody asked for.
//!
//! `TIDEGATE_MODEL_SECONDS` makes it run longer, `TIDEGATE_MODEL_KILLS` until so many kills (`make chaos`: two hundred), in which every
//! round ends; `TIDEGATE_MODEL_SEED` repeats the draws of an earlier run (not its
//! interleaving).

#![allow(unreachable_pub, reason = "the modules of this test are its own")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod fold;
mod ledger;
mod reader;
mod webhook;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use commands::{COMMANDS, CREATE, Call, JOIN_ROOM, Row, Scene, configuration};
use ledger::{Look, Truth};
use reader::{Eyes, Reader, seq};
use support::api::Secrets;
use support::{Api, EVENT, Gateway, Peer, Refusal, Setup, within};
use webhook::Webhook;
use world::{Place, Random, Venue, World};

/// How long rounds are begun by default: the test has to be done within forty seconds beside others.
const SECONDS: u64 = 15;
/// However slow the machine is, so many rounds are run: one is killed and one is not.
const ROUNDS_MIN: usize = 2;
const CLIENTS: usize = 12;
/// A round ends after a number of commands between these.
const COMMANDS_PER_ROUND: Range<usize> = 100..700;
/// The same where kills are counted: fewer, so that two hundred kills do not take an hour.
const COMMANDS_PER_KILL: Range<usize> = 20..200;
/// Among so many commands each kind is done at least once, however rarely it is drawn or allowed.
const COMMANDS_FOR_ALL: usize = 1500;
/// Of the rights of those who are gone, so many are tried in each conference after each round.
const DEAD_RIGHTS_TRIED: usize = 3;
/// A conference with so many events is ended, so that checking it stays cheap.
const EVENTS_MAX: u64 = 4000;
/// Members stay until somebody sends them away: silence is another test's concern.
const STAY_MS: u64 = 3_600_000;

/// How often each command was done and refused, and how often nobody knows.
type Tally = BTreeMap<&'static str, [usize; 3]>;

/// One round.
struct Storm {
    world: Arc<World>,
    api: Api,
    tally: Mutex<Tally>,
    given: AtomicUsize,
    enough: usize,
    is_enough: Notify,
    /// The gateway is about to be killed, or is dead.
    dying: AtomicBool,
    ends_in_death: bool,
}

impl Storm {
    /// Gives commands until there were enough, or the gateway is gone.
    async fn client(self: Arc<Self>, mut random: Random) {
        loop {
            let given = self.given.fetch_add(1, Ordering::Relaxed);
            if given >= self.enough {
                self.is_enough.notify_one();
                if !self.ends_in_death {
                    return;
                }
            }
            let venues = self.world.venues();
            let venue = Arc::clone(&venues[random.below(venues.len())]);
            let scene = Scene { world: Arc::clone(&self.world), venue };
            let row = commands::draw(&mut random);
            let Some(call) = (row.call)(&scene, &mut random) else { continue };
            if !self.give(&scene, row, &call, &mut random).await {
                return;
            }
        }
    }

    /// Tells whether the gateway is still there.
    async fn give(&self, scene: &Scene, row: &'static Row, call: &Call, random: &mut Random) -> bool {
        let ledger =
            if matches!(row.name, CREATE | JOIN_ROOM) { &self.world.ledger } else { &scene.venue.ledger };
        ledger.lock().ask(&call.effects);
        let request =
            self.api.try_call(call.method.clone(), &call.path, call.bearer.as_deref(), call.body.clone());
        let outcome = match within(EVENT * 2, row.name, request).await {
            Ok(Ok(answer)) => {
                let promised = (row.told)(scene, call, &answer, random);
                ledger.lock().promise(&promised);
                0
            }
            Ok(Err(refusal)) => {
                self.expect(scene, row, call, &refusal);
                // These are also said of what was done and undone before the answer could be given.
                if !matches!(refusal.reason.as_str(), "member_gone" | "stream_not_found") {
                    ledger.lock().take_back(&call.effects);
                }
                if !random.one_in(4) {
                    scene.venue.known.lock().forget(call, &refusal);
                }
                1
            }
            Err(error) => {
                assert!(self.dying.load(Ordering::SeqCst), "{} {}: {error}", call.method, call.path);
                self.tally.lock().entry(row.name).or_default()[2] += 1;
                return false;
            }
        };
        self.tally.lock().entry(row.name).or_default()[outcome] += 1;
        true
    }

    fn expect(&self, scene: &Scene, row: &Row, call: &Call, refusal: &Refusal) {
        let reason = refusal.reason.as_str();
        let is_there = row.name != JOIN_ROOM;
        let ended = is_there && reason == "conference_closed" && scene.venue.known.lock().end_asked;
        let expected = ended || row.refusals.contains(&reason);
        assert!(expected, "{} {} {:?}: {refusal:?}", call.method, call.path, call.body);
    }
}

/// The gateway and what watches it.
struct Run {
    world: Arc<World>,
    places: watch::Sender<Place>,
    random: Random,
    tally: Tally,
    kills: usize,
    looks: usize,
    frames: usize,
    readers: usize,
    cuts: usize,
    dead_rights: usize,
    webhook: Webhook,
}

impl Run {
    async fn start(setup: Setup, seed: u64) -> (Self, Gateway) {
        let gateway = setup.start().await;
        let (places, place) = watch::channel(Place { generation: 0, http: gateway.http, rtmp: gateway.rtmp });
        let app = gateway.app().await;
        let webhook = Webhook::start(&app).await;
        let world = Arc::new(World::new(seed, app, place));
        let mut run = Self {
            world,
            places,
            random: Random::new(seed),
            tally: Tally::new(),
            kills: 0,
            looks: 0,
            frames: 0,
            readers: 0,
            cuts: 0,
            dead_rights: 0,
            webhook,
        };
        for kind in [10, 12] {
            run.create_lasting(&gateway.api, kind).await;
        }
        (run, gateway)
    }

    async fn create_lasting(&mut self, api: &Api, kind: i64) {
        let (made, request) = self.world.creation(kind, &mut self.random);
        let effect = [format!("made:{made}")];
        self.world.ledger.lock().ask(&effect);
        let answer = api.post("/v1/conferences", &self.world.app.key, request).await.expect("created");
        self.world.ledger.lock().promise(&effect);
        self.world.open(&answer, true);
        self.is_watched(&support::api::text(&answer, "/confrId")).await;
    }

    /// Waits until the readers of this conference are there.
    async fn is_watched(&self, id: &str) {
        support::wait::until(EVENT * 3, "a conference is watched", || async {
            self.world.venues().iter().any(|venue| venue.id == id).then_some(())
        })
        .await;
    }

    /// One round: a storm, that ends in a kill or not, and the checks.
    async fn round(&mut self, gateway: Gateway, commands: Range<usize>, ends_in_death: bool) -> Gateway {
        let storm = Arc::new(Storm {
            world: Arc::clone(&self.world),
            api: fresh_api(&gateway),
            tally: Mutex::default(),
            given: AtomicUsize::new(0),
            enough: commands.start + self.random.below(commands.len()),
            is_enough: Notify::new(),
            dying: AtomicBool::new(false),
            ends_in_death,
        });
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(Arc::clone(&storm).client(Random::new(self.random.next())));
        }
        let gateway = if ends_in_death {
            tokio::select! {
                () = storm.is_enough.notified() => {}
                Some(ended) = clients.join_next() => panic!("a client ended before the kill: {ended:?}"),
            }
            storm.dying.store(true, Ordering::SeqCst);
            let gateway = gateway.kill().await;
            all_end(clients).await;
            let gateway = gateway.start().await;
            self.kills += 1;
            let generation = self.places.borrow().generation + 1;
            self.places.send_replace(Place { generation, http: gateway.http, rtmp: gateway.rtmp });
            gateway
        } else {
            all_end(clients).await;
            gateway
        };
        for (name, counts) in storm.tally.lock().iter() {
            let sum = self.tally.entry(name).or_default();
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        self.check(&fresh_api(&gateway)).await;
        gateway
    }

    /// Nobody gives commands now. Media may still begin and end.
    async fn check(&mut self, api: &Api) {
        self.check_list(api).await;
        for venue in self.world.venues() {
            if self.has_ended(api, &venue).await {
                self.finish(&venue).await;
                continue;
            }
            let folds = own_looks(api, &self.world, &venue).await;
            let through = self.settle(api, &venue).await;
            self.webhook.check(&venue, through).await;
            for (reader, view) in folds {
                let log = reader.log.lock();
                log.fold(&reader.eyes, seq(&view)).assert_shown_as(&view, &reader.describe());
            }
            self.hold_against(&venue, through);
            check_streams(api, &self.world, &venue).await;
            self.dead_rights += check_dead_rights(api, &self.world, &venue).await;
            if through > EVENTS_MAX {
                let effect = ["ended".to_owned()];
                venue.ledger.lock().ask(&effect);
                venue.known.lock().end_asked = true;
                api.delete(&venue.path(""), &self.world.app.key).await.expect("ended");
                venue.ledger.lock().promise(&effect);
                self.finish(&venue).await;
                if venue.lasting {
                    self.create_lasting(api, if venue.is_live { 12 } else { 10 }).await;
                }
            }
        }
        self.world.join_finished().await;
    }

    /// Every conference that is listed was asked for, and every promised one that nobody ended is listed.
    async fn check_list(&mut self, api: &Api) {
        let list = api.get("/v1/conferences?limit=100", &self.world.app.key).await.expect("a list");
        let listed = list["conferences"].as_array().expect("conferences");
        let mut rooms = BTreeSet::new();
        for conference in listed {
            let asked = match conference["roomName"].as_str() {
                Some(room) => format!("room:{room}"),
                None => format!("made:{}", conference["metadata"]["made"]),
            };
            assert!(self.world.ledger.lock().is_asked(&asked), "nobody asked for {conference}");
            if let Some(room) = conference["roomName"].as_str() {
                assert!(rooms.insert(room), "{room} is the name of two conferences");
            }
        }
        for conference in listed {
            self.world.open(conference, false);
            self.is_watched(conference["confrId"].as_str().expect("an id")).await;
        }
        for venue in self.world.venues() {
            let is_listed = listed.iter().any(|conference| conference["confrId"] == venue.id.as_str());
            assert!(is_listed || venue.ledger.lock().is_asked("ended"), "{} is lost", venue.id);
        }
    }

    async fn has_ended(&self, api: &Api, venue: &Venue) -> bool {
        match api.get(&venue.path(""), &self.world.app.key).await {
            Ok(_) => {
                assert!(!venue.ledger.lock().is_promised("ended"), "{} goes on after its end", venue.id);
                false
            }
            Err(refusal) => {
                refusal.assert_is(410, "conference_closed", -302);
                assert!(venue.ledger.lock().is_asked("ended"), "nobody ended {}", venue.id);
                true
            }
        }
    }

    /// Waits until each reader has been told everything up to now; gives the number of the last event.
    async fn settle(&self, api: &Api, venue: &Venue) -> u64 {
        let (n, call) = configuration(&self.world, venue, json!({}));
        venue.ledger.lock().ask(&call.effects);
        let answer = api.patch(&call.path, &self.world.app.key, call.body.expect("a body")).await;
        let answer = answer.expect("configured");
        venue.ledger.lock().promise(&call.effects);
        venue.ledger.lock().look(Look { view: answer, is_app: true, who: "the last change".to_owned() });
        let readers = venue.readers.lock().clone();
        for reader in readers {
            reader.reached(n).await;
        }
        let log = venue.witness.log.lock();
        let marker = log.frames.iter().rfind(|frame| frame["conference"]["metadata"]["n"] == n);
        seq(marker.expect("the last change"))
    }

    async fn finish(&mut self, venue: &Arc<Venue>) {
        let readers = venue.readers.lock().clone();
        for reader in &readers {
            reader.reached(u64::MAX).await;
        }
        self.hold_against(venue, u64::MAX);
        let last = venue.witness.log.lock().last_seq().expect("a snapshot");
        self.webhook.check(venue, last).await;
        self.webhook.forget(venue);
        for reader in &readers {
            self.frames += reader.log.lock().frames.len();
        }
        self.readers += readers.len();
        self.world.forget(venue);
    }

    fn hold_against(&mut self, venue: &Venue, through: u64) {
        let truth = Truth::of(&venue.witness.log.lock());
        let mut ledger = venue.ledger.lock();
        truth.check(&mut ledger, &self.world.ledger.lock());
        self.looks += std::mem::take(&mut ledger.looks_checked);
        for reader in venue.readers.lock().iter() {
            truth.check_reader(reader, through);
            self.cuts += std::mem::take(&mut reader.log.lock().cuts);
        }
    }

    fn tell(&self) {
        println!("{:<18}{:>8}{:>10}{:>10}", "command", "done", "refused", "unknown");
        for (name, [done, refused, unknown]) in &self.tally {
            println!("{name:<18}{done:>8}{refused:>10}{unknown:>10}");
        }
        let Self { kills, looks, frames, readers, cuts, .. } = self;
        println!(
            "{kills} kills; {looks} answers with a conference checked; {readers} readers of ended conferences with {frames} \
             frames; {cuts} cuts"
        );
        println!("{} media URLs of stays that are over were refused", self.dead_rights);
        println!("{}", self.webhook.describe());
    }
}

fn fresh_api(gateway: &Gateway) -> Api {
    // What one round learns is searched for in that round's errors only: the search grows with the secrets known.
    Api::new(gateway.http, Secrets::default())
}

async fn all_end(mut clients: JoinSet<()>) {
    while let Some(ended) = within(EVENT * 3, "the clients end", clients.join_next()).await {
        ended.expect("a client");
    }
}

/// The conference as each reader that is still there sees it by GET.
async fn own_looks(api: &Api, world: &World, venue: &Venue) -> Vec<(Arc<Reader>, Value)> {
    let readers = venue.readers.lock().clone();
    let mut looks = Vec::new();
    for reader in readers.into_iter().filter(|reader| !reader.is_over()) {
        let bearer = if reader.eyes == Eyes::App { world.app.key.clone() } else { reader.token() };
        match api.get(&venue.path(""), &bearer).await {
            Ok(view) => looks.push((reader, view)),
            // Its last frame is on its way.
            Err(refusal) => refusal.assert_is(410, "member_gone", -504),
        }
    }
    for (reader, view) in &looks {
        let look = Look { view: view.clone(), is_app: reader.eyes == Eyes::App, who: reader.describe() };
        venue.ledger.lock().look(look);
    }
    looks
}

/// Streams are declared without a word on the feed: each was asked for, its owner is inside, and one that was promised
/// and that nothing has ended is there.
async fn check_streams(api: &Api, world: &World, venue: &Venue) {
    let view = api.get(&venue.path(""), &world.app.key).await.expect("the conference");
    let ids = |list: &str| -> BTreeMap<String, Value> {
        let list = view[list].as_array().expect("a list");
        list.iter().map(|item| (fold::field(item, "id"), item.clone())).collect()
    };
    let (members, streams) = (ids("members"), ids("streams"));
    let ledger = venue.ledger.lock();
    for (id, stream) in &streams {
        assert!(ledger.is_asked(&format!("stream:{id}")), "nobody asked for {stream}");
        assert!(members.contains_key(stream["memId"].as_str().expect("an owner")), "{stream}");
    }
    let log = venue.witness.log.lock();
    let demoted = |owner: &str| {
        log.frames.iter().any(|frame| {
            frame["type"] == "roleChanged" && frame["member"]["id"] == owner && frame["member"]["role"] == 1
        })
    };
    for id in ledger.promised_streams() {
        let (_, owner) = id.split_once("__Of_").expect("a stream's id");
        let ended = ledger.is_asked(&format!("gone:{id}")) || !members.contains_key(owner) || demoted(owner);
        assert!(ended || streams.contains_key(id), "{id} was promised and is lost");
        for what in ["voff", "aoff"].into_iter().filter(|what| !ended && ledger.is_off_for_good(what, id)) {
            assert_eq!(streams[id][what], 1, "{id}: {what} was promised and is lost");
        }
    }
}

/// A URL admits nobody once the stay that it is bound to is over, whatever was killed meanwhile; tells how many were tried.
async fn check_dead_rights(api: &Api, world: &World, venue: &Venue) -> usize {
    let view = api.get(&venue.path(""), &world.app.key).await.expect("the conference");
    let inside =
        |id: &str| view["members"].as_array().expect("members").iter().any(|member| member["id"] == id);
    let rtmp = world.place.borrow().rtmp;
    let rights = venue.known.lock().rights.clone();
    let dead = rights.into_iter().rev().filter(|right| !inside(&right.member)).take(DEAD_RIGHTS_TRIED);
    let mut tried = 0;
    for right in dead {
        let url = right.url.at(rtmp);
        let answer = if right.is_publish { Peer::publish(&url).await } else { Peer::play(&url).await };
        let refusal =
            answer.err().unwrap_or_else(|| panic!("a right of a stay that is over holds: {right:?}"));
        assert!(refusal.description.starts_with("member_gone"), "{right:?}: {refusal:?}");
        tried += 1;
    }
    tried
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_tells_what_was_done_and_nothing_else_through_cuts_and_kills() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let budget = Duration::from_secs(number("TIDEGATE_MODEL_SECONDS").unwrap_or(SECONDS));
    let seed = number("TIDEGATE_MODEL_SEED").unwrap_or(0x006d_6f64_656c);
    println!("seed {seed}");
    let setup = Setup::new()
        .env("TIDEGATE_FIRST_CONTACT_MS", STAY_MS)
        .env("TIDEGATE_MEMBER_TIMEOUT_MS", STAY_MS)
        .env("TIDEGATE_UNUSED_CONFERENCE_MS", STAY_MS)
        .env("TIDEGATE_EMPTY_CONFERENCE_MS", STAY_MS)
        .env("TIDEGATE_PUBLISHER_GRACE_MS", 200)
        .env("TIDEGATE_OUTBOUND_ALLOW", "127.0.0.0/8")
        .env("TIDEGATE_WEBHOOK_RETRY_MIN_MS", 20)
        .env("TIDEGATE_WEBHOOK_RETRY_MAX_MS", 100);
    let (mut run, mut gateway) = Run::start(setup, seed).await;
    let began = Instant::now();
    let mut rounds = 0;
    let kills = number("TIDEGATE_MODEL_KILLS");
    let is_enough = |run: &Run, rounds| match kills {
        Some(kills) => run.kills as u64 >= kills,
        None => rounds >= ROUNDS_MIN && began.elapsed() >= budget,
    };
    while !is_enough(&run, rounds) {
        let commands = if kills.is_some() { COMMANDS_PER_KILL } else { COMMANDS_PER_ROUND };
        gateway = run.round(gateway, commands, kills.is_some() || rounds % 3 != 1).await;
        rounds += 1;
        if kills.is_some() {
            println!("{} kills after {:?}", run.kills, began.elapsed());
        }
    }
    run.tell();
    let given = run.tally.values().flatten().sum::<usize>();
    for row in COMMANDS.iter().filter(|_| given >= COMMANDS_FOR_ALL) {
        assert!(run.tally.get(row.name).is_some_and(|counts| counts[0] > 0), "{} was never done", row.name);
    }
    gateway.stop().await;
}
