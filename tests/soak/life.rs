//! The life of one conference: people come, publish, watch, are sent away and come back, until it ends in one of its ways.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::players::Taker;
use crate::support::api::{Answer, PublishAnswer, text};
use crate::support::peer::Feed;
use crate::support::{Conference, EVENT, Member, Peer, flv, wait};
use crate::town::{Random, Square};

/// Between two things that happen in a conference.
const PACE: Duration = Duration::from_millis(150);
/// What a viewer takes before it counts as watching.
const WATCHED: u64 = 5;

struct Person {
    member: Member,
    stream: Option<(PublishAnswer, Option<Feed>)>,
    takers: Vec<Taker>,
}

struct Life<'town> {
    square: &'town Square,
    random: &'town mut Random,
    conference: Conference,
    people: Vec<Person>,
    /// Connections that go no further than half a handshake.
    strays: Vec<TcpStream>,
}

pub async fn live_one_conference(square: &Square, random: &mut Random) {
    let app = square.app();
    let kind = if random.below(2) == 0 { 10 } else { 12 };
    let mut request = json!({ "confrType": kind, "metadata": { "n": square.number() } });
    if random.below(2) == 0 {
        // None; else one is made up.
        request["password"] = json!("");
    }
    let conference = app.create(request).await.expect("a conference");
    square.count("created");
    let mut life = Life { square, random, conference, people: Vec::new(), strays: Vec::new() };
    life.begin().await;
    for _ in 0..6 + life.random.below(10) {
        tokio::time::sleep(PACE).await;
        life.something_happens().await;
    }
    life.end().await;
}

impl Life<'_> {
    async fn begin(&mut self) {
        for _ in 0..1 + self.random.below(2) {
            self.arrive(3).await;
            let last = self.people.len() - 1;
            self.publish(last).await;
        }
        for _ in 0..2 + self.random.below(3) {
            let role = if self.random.below(3) == 0 { 3 } else { 1 };
            self.arrive(role).await;
            let last = self.people.len() - 1;
            self.watch(last).await;
        }
        for person in &self.people {
            for taker in &person.takers {
                wait::until(EVENT, "a viewer watches", async || {
                    (taker.taken() >= 1 || !taker.is_open()).then_some(())
                })
                .await;
            }
        }
    }

    async fn arrive(&mut self, role: i64) {
        let name = format!("guest-{}", self.square.number());
        let member = self.conference.member(&name, role).await;
        self.square.count("joined");
        let takers = if self.random.below(2) == 0 {
            self.square.count("event socket");
            vec![Taker::events(&member).await]
        } else {
            Vec::new()
        };
        self.people.push(Person { member, stream: None, takers });
    }

    async fn publish(&mut self, who: usize) {
        let person = &mut self.people[who];
        let rtc_id = format!("cam{}", self.square.number());
        let Ok(answer) = person.member.publish(&rtc_id).await else {
            self.square.count("publish refused");
            return;
        };
        let feed = Peer::publish(&answer.url).await.ok().map(|peer| peer.feed(flv::clip()));
        self.square.count("published");
        person.stream = Some((answer, feed));
    }

    async fn watch(&mut self, who: usize) {
        let streams: Vec<String> = self
            .people
            .iter()
            .filter_map(|person| person.stream.as_ref())
            .filter(|(_, feed)| feed.as_ref().is_some_and(Feed::is_open))
            .map(|(answer, _)| answer.stream_id.clone())
            .collect();
        if streams.is_empty() {
            return;
        }
        let stream = &streams[self.random.below(streams.len() as u64) as usize];
        let profile = if self.random.below(2) == 0 { "rtc" } else { "live" };
        let person = &mut self.people[who];
        let Ok(urls) = person.member.subscribe_as(stream, json!({ "profile": profile })).await else {
            self.square.count("watch refused");
            return;
        };
        let taker = match self.random.below(4) {
            0 => Taker::http(&urls.flv).await,
            1 => Taker::web_socket(&urls.ws_flv).await,
            _ => match Peer::play(&urls.url).await {
                Ok(peer) => Taker::rtmp(peer),
                Err(status) => return self.square.count(&format!("watch refused: {}", status.code)),
            },
        };
        self.square.count("watched");
        person.takers.push(taker);
    }

    async fn something_happens(&mut self) {
        let Some(who) = self.somebody() else { return self.arrive(3).await };
        match self.random.below(14) {
            0 => {
                let name = self.people[who].member.name.clone();
                let kicked = self.conference.kick(&[&name]).await;
                self.note("kicked", kicked);
                // Its ticket is of no use any more, nor is its token.
                let member = self.people.swap_remove(who).member;
                let heartbeat = member.heartbeat().await;
                assert!(heartbeat.is_err(), "a kicked member is heard: {heartbeat:?}");
            }
            1 => {
                let role = if self.random.below(2) == 0 { 1 } else { 3 };
                let changed = self.conference.set_role(&[&self.people[who].member.name], role).await;
                self.note("role changed", changed);
            }
            2 => {
                let person = self.people.swap_remove(who);
                let exited = person.member.exit().await;
                self.note("exited", exited);
            }
            // It is gone without a word.
            3 => {
                self.people.swap_remove(who);
                self.square.count("vanished");
            }
            4 => self.publish_again(who).await,
            5 => {
                self.people[who].takers.clear();
                self.square.count("watches ended");
                self.watch(who).await;
            }
            6 => {
                let request = json!({ "memberNames": [self.people[who].member.name], "audio": true });
                let muted = self.app_posts("/mute", request).await;
                self.note("muted", muted);
            }
            7 => {
                let said =
                    self.app_posts("/messages", json!({ "body": { "n": self.square.number() } })).await;
                self.note("message", said);
            }
            8 => self.relay(who).await,
            9 => self.stray().await,
            10 => {
                let unpublished = match self.people[who].stream.take() {
                    Some((answer, _feed)) => self.people[who].member.unpublish(&answer.stream_id).await,
                    None => return self.publish(who).await,
                };
                self.note("unpublished", unpublished);
            }
            11 => {
                let ticket = format!("{}x", self.conference.ticket);
                let joined = self.conference.app.api.join(&self.conference.id, &ticket).await;
                assert!(joined.is_err(), "a forged ticket: {joined:?}");
                self.square.count("forged ticket");
            }
            _ => {
                self.arrive(1).await;
                let last = self.people.len() - 1;
                self.watch(last).await;
            }
        }
    }

    fn somebody(&mut self) -> Option<usize> {
        (!self.people.is_empty()).then(|| self.random.below(self.people.len() as u64) as usize)
    }

    /// The old connection is cut, or stands and is replaced.
    async fn publish_again(&mut self, who: usize) {
        let Some((answer, feed)) = &mut self.people[who].stream else { return self.publish(who).await };
        let old = feed.take();
        if self.random.below(2) == 0 {
            drop(old);
        }
        match Peer::publish(&answer.url).await {
            Ok(peer) => *feed = Some(peer.feed(flv::clip())),
            Err(status) => {
                return self.square.count(&format!("publish again refused: {}", status.description));
            }
        }
        self.square.count("published again");
    }

    /// Pushes the stream to another stream of the same gateway.
    async fn relay(&mut self, who: usize) {
        let Some((from, _)) = &self.people[who].stream else { return };
        let from = from.stream_id.clone();
        let rtc_id = format!("relay{}", self.square.number());
        let Ok(to) = self.people[who].member.publish(&rtc_id).await else { return };
        let request = json!({ "direction": "push", "streamId": from, "url": to.url.text() });
        let made = self.app_posts("/relays", request).await;
        if let Ok(relay) = &made
            && self.random.below(2) == 0
        {
            tokio::time::sleep(PACE).await;
            let path = self.conference.path(&format!("/relays/{}", text(relay, "/id")));
            let _ = self.conference.app.api.delete(&path, &self.conference.app.key).await;
        }
        self.note("relayed", made);
    }

    /// A connection that begins and goes no further.
    async fn stray(&mut self) {
        let url = self
            .people
            .iter()
            .find_map(|person| person.stream.as_ref())
            .map(|(answer, _)| answer.url.address);
        let Some(address) = url else { return };
        let mut stray = TcpStream::connect(address).await.expect("connects");
        let bytes = vec![3; 1 + self.random.below(1500) as usize];
        stray.write_all(&bytes).await.expect("sent");
        self.strays.push(stray);
        self.square.count("stray");
    }

    async fn app_posts(&self, path: &str, request: Value) -> Answer {
        self.conference.app.api.post(&self.conference.path(path), &self.conference.app.key, request).await
    }

    fn note(&self, what: &str, answer: Answer) {
        match answer {
            Ok(_) => self.square.count(what),
            Err(refusal) => self.square.count(&format!("{what} refused: {}", refusal.reason)),
        }
    }

    async fn end(mut self) {
        let flowing =
            self.people.iter().flat_map(|person| &person.takers).filter(|taker| taker.taken() >= WATCHED);
        if flowing.count() > 0 {
            self.square.count("flowed at its end");
        }
        match self.random.below(4) {
            0 | 1 => {
                let deleted = self.conference.delete().await;
                self.note("ended", deleted);
            }
            2 => {
                for person in std::mem::take(&mut self.people) {
                    let exited = person.member.exit().await;
                    self.note("exited", exited);
                }
                self.square.count("left by all");
            }
            _ => self.square.count("abandoned"),
        }
    }
}
