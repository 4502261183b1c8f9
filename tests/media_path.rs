//! The media path beside a store that does not answer, and revocation raced with admission, both in one process so
//! that the store can be held and the race can be run ten thousand times.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "test code")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use support::{EVENT, MediaUrl, Peer, flv, within};
use tidegate::admission::Admission as MediaAdmission;
use tidegate::clock;
use tidegate::conferences::Conferences;
use tidegate::domain::conference::{Actor, Admission, ConferenceKind, Join, Subject};
use tidegate::domain::event::{ExitReason, StreamKind};
use tidegate::domain::media_url::{MediaGrant, MediaKey, Profile};
use tidegate::domain::{
    AppId, Command, ConferenceId, Created, Direction, MediaRight, MemberId, RtcId, StreamId, Timestamp,
    UserName,
};
use tidegate::entrance::Entrance;
use tidegate::events::Revoker;
use tidegate::hub::{Hub, HubSettings, Protocol, SessionStart, SessionTable};
use tidegate::rtmp::crowd::{Crowds, MergeWindows};
use tidegate::rtmp::{Gateway, Meters, RtmpSettings, UnfinishedBudget, listener};
use tidegate::store::MemoryStore;
use tidegate::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

struct House {
    store: Arc<MemoryStore>,
    sessions: SessionTable,
    hub: Hub,
    conferences: Arc<Conferences>,
    conference: ConferenceId,
}

fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn random_bits() -> [u8; 10] {
    tidegate::entropy::bytes().unwrap()
}

impl House {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let hub = Hub::new(HubSettings::default());
        let sessions = SessionTable::new(4);
        let revoker = Arc::new(Revoker::new(hub.clone(), sessions.clone(), Metrics::new()));
        let conferences = Conferences::open(store.clone(), vec![revoker]).await.unwrap();
        let created = Created::new(
            ConferenceId::from_random(random_bits()),
            AppId::parse("app").unwrap(),
            ConferenceKind::Communication,
        );
        let conference = conferences.create(created, clock::now()).await.unwrap().id().clone();
        Self { store, sessions, hub, conferences, conference }
    }

    async fn join(&self, name: &str) -> MemberId {
        let member = MemberId::from_random(random_bits());
        let admission = Admission::App { user: user(name) };
        let ext = serde_json::Map::new();
        let join =
            Join { member: member.clone(), admission, nick_name: None, ext, mini_program: false, role: None };
        let done =
            self.conferences.execute(&self.conference, Command::Join(Box::new(join)), clock::now()).await;
        done.unwrap();
        member
    }

    async fn declare(&self, name: &str) -> StreamId {
        let rtc_id = RtcId::parse("cam").unwrap();
        let subject = Subject::User(user(name));
        let declare = Command::DeclareStream {
            subject,
            rtc_id,
            kind: StreamKind::Camera,
            video_off: false,
            audio_off: false,
        };
        let done = self.conferences.execute(&self.conference, declare, clock::now()).await.unwrap();
        let owner = &done.conference.member_of(&user(name)).unwrap().id;
        done.conference.streams.values().find(|stream| stream.owner == *owner).unwrap().id.clone()
    }

    async fn right(&self, name: &str, stream: &StreamId, direction: Direction) -> MediaRight {
        let app = AppId::parse("app").unwrap();
        let conference = self.conferences.find(&app, &self.conference).await.unwrap();
        let member = conference.member_of(&user(name)).unwrap();
        MediaRight {
            conference: self.conference.clone(),
            member: member.id.clone(),
            epoch: member.epoch,
            direction,
            stream: stream.clone(),
            declared: conference.streams[stream].declared,
        }
    }
}

fn url(key: &MediaKey, address: SocketAddr, right: MediaRight) -> MediaUrl {
    let stream = right.stream.clone();
    let expires_at = Timestamp(clock::now().0 + 60_000);
    let nonce = tidegate::entropy::bytes().unwrap();
    let token = key.mint(&MediaGrant { right, profile: Profile::Rtc, expires_at, nonce, is_observer: false });
    MediaUrl::parse(&format!("rtmp://{address}/live/{stream}?t={token}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_flows_while_the_store_is_held() {
    let house = House::new().await;
    house.join("anna").await;
    house.join("boris").await;
    let stream = house.declare("anna").await;
    let metrics = Metrics::new();
    let key = MediaKey::new([7; 32]);
    let draining = CancellationToken::new();
    let doors = TaskTracker::new();
    let meters = Meters::new(&metrics);
    let windows = MergeWindows { rtc: Duration::ZERO, live: Duration::ZERO };
    let gateway = Arc::new(Gateway {
        crowds: Arc::new(Crowds::new(windows, meters.sent_bytes(), doors.clone())),
        settings: RtmpSettings {
            handshake_timeout: EVENT,
            play_wait: EVENT,
            viewer_stall: EVENT,
            publisher_idle: EVENT,
            goodbye: EVENT,
        },
        hub: house.hub.clone(),
        admission: Arc::new(MediaAdmission::new(
            key.clone(),
            house.sessions.clone(),
            Arc::clone(&house.conferences),
        )),
        meters,
        metrics,
        draining: draining.clone(),
        unfinished: UnfinishedBudget::new(usize::MAX),
        connections: AtomicU64::new(0),
    });
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    doors.spawn(listener::listen(socket, Entrance::open(), gateway, doors.clone()));

    let publish = url(&key, address, house.right("anna", &stream, Direction::Publish).await);
    let play = url(&key, address, house.right("boris", &stream, Direction::Play).await);

    let held = house.store.faults().hold_appends();
    let leave = Command::Leave { subject: Subject::User(user("boris")), reason: ExitReason::Normal };
    let leaving = tokio::spawn({
        let (conferences, conference) = (Arc::clone(&house.conferences), house.conference.clone());
        async move { conferences.execute(&conference, leave, clock::now()).await }
    });
    within(EVENT, "the append waits", held.arrived(1)).await;

    let first = Peer::publish(&publish).await.expect("admitted without the store").feed(flv::clip());
    let watch = Peer::play(&play).await.expect("admitted without the store").watch();
    watch.more_pictures(5).await;
    let second = Peer::publish(&publish).await.expect("takes over without the store").feed(flv::clip());
    first.closed().await;
    watch.more_pictures(5).await;
    assert!(watch.is_open() && !leaving.is_finished());

    held.release();
    leaving.await.unwrap().expect("the leave is durable now");
    watch.closed().await;
    assert!(second.is_open());
    draining.cancel();
    doors.close();
    within(Duration::from_secs(20), "no task is left", doors.wait()).await;
}

/// Ten thousand times: sessions of a member are admitted on one task while the member is kicked on another. When the
/// kick is answered, whoever was let in has been told to close, and nobody is let in any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_kicks_raced_with_admissions_leave_no_survivor() {
    const KICKS: usize = 10_000;
    let house = Arc::new(House::new().await);
    house.join("star").await;
    let stream = house.declare("star").await;
    let (mut admitted, mut refused) = (0, 0);
    for _ in 0..KICKS {
        house.join("racer").await;
        let right = house.right("racer", &stream, Direction::Play).await;
        let start = SessionStart {
            right,
            protocol: Protocol::Rtmp,
            peer: "127.0.0.1:9".parse().unwrap(),
            url_key: [0; 4],
            at: Timestamp(0),
            is_observer: false,
        };
        let admitting = tokio::spawn({
            let (house, start) = (Arc::clone(&house), start.clone());
            async move {
                let mut let_in = Vec::new();
                loop {
                    let guard = house.sessions.enter(start.clone());
                    if house.conferences.media_right(&start.right).is_err() {
                        return let_in;
                    }
                    let_in.push(guard);
                    tokio::task::yield_now().await;
                }
            }
        });
        let kick = Command::Kick { by: Actor::App, users: vec![user("racer")] };
        house.conferences.execute(&house.conference, kick, clock::now()).await.unwrap();
        let late = house.conferences.media_right(&start.right);
        assert!(late.is_err(), "the kick is answered and the right still holds");
        for session in house.sessions.for_conference(&house.conference) {
            if house.conferences.media_right(session.right()).is_err() && session.try_closed().is_none() {
                // It entered after the scan: it reads its right now and leaves by itself.
                refused += 1;
            }
        }
        let let_in = admitting.await.unwrap();
        assert!(let_in.iter().all(|guard| guard.try_closed().is_some()), "a session survived its kick");
        admitted += let_in.len();
    }
    assert!(
        admitted > KICKS / 10,
        "the race was run: {admitted} sessions were let in, {refused} caught in between"
    );
}
