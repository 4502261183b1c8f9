//! What clients do. A new command is one row of [`COMMANDS`], a function that makes its call, and, where its answer gives
//! something that others can use, a function that remembers it.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use crate::ledger::Look;
use crate::support::MediaUrl;
use crate::support::api::text;
use crate::world::{KnownMember, KnownStream, ROOMS, Random, Right, Venue, World, remember};

/// Users of one conference: few, so that they meet themselves again.
const USERS: usize = 10;

/// Where a command is given.
pub struct Scene {
    pub world: Arc<World>,
    pub venue: Arc<Venue>,
}

/// A request, and what it asks for.
pub struct Call {
    pub method: Method,
    pub path: String,
    pub bearer: Option<String>,
    pub body: Option<Value>,
    /// Effects on the feed, as `ledger` counts them.
    pub effects: Vec<String>,
}

pub struct Row {
    pub name: &'static str,
    pub weight: usize,
    /// `None` where there is nothing to do it with yet.
    pub call: fn(&Scene, &mut Random) -> Option<Call>,
    /// Remembers an answer, and gives the effects that it promises.
    pub told: fn(&Scene, &Call, &Value, &mut Random) -> Vec<String>,
    /// Why it may be refused, beside the end of its conference.
    pub refusals: &'static [&'static str],
}

const FULL: &[&str] = &["member_gone", "wrong_password", "talkers_full", "members_full"];
const OWN: &[&str] = &["member_gone"];
const RUN: &[&str] = &["member_gone", "not_allowed", "talkers_full"];
/// Makes a room where there is none, so it may also not be allowed to.
const ROOM: &[&str] = &["member_gone", "wrong_password", "talkers_full", "members_full", "not_allowed"];
/// The row that makes a conference, and the one that may.
pub const CREATE: &str = "create";
pub const JOIN_ROOM: &str = "join room";

#[rustfmt::skip]
pub const COMMANDS: &[Row] = &[
    Row { name: "ticket",           weight: 8,  call: ticket,           told: learn_ticket,  refusals: RUN },
    Row { name: "join by ticket",   weight: 14, call: join_by_ticket,   told: learn_member,  refusals: FULL },
    Row { name: "join by password", weight: 8,  call: join_by_password, told: learn_member,  refusals: FULL },
    Row { name: "join by the app",  weight: 8,  call: join_by_app,      told: learn_member,  refusals: FULL },
    Row { name: JOIN_ROOM,          weight: 8,  call: join_room,        told: learn_room,    refusals: ROOM },
    Row { name: "leave",            weight: 6,  call: leave,            told: all,           refusals: OWN },
    Row { name: "leave by the app", weight: 3,  call: leave_by_app,     told: all,           refusals: &["member_gone", "not_found"] },
    Row { name: "kick",             weight: 4,  call: kick,             told: kicked,        refusals: RUN },
    Row { name: "roles",            weight: 8,  call: roles,            told: roles_changed, refusals: RUN },
    Row { name: "mute",             weight: 6,  call: mute,             told: muted,         refusals: &["member_gone", "not_allowed"] },
    Row { name: "message",          weight: 6,  call: message,          told: said,          refusals: &["member_gone", "not_found", "rate_limited"] },
    Row { name: "pubStream",        weight: 9,  call: publish,          told: learn_stream,  refusals: &["member_gone", "not_allowed", "stream_not_found", "videos_full", "desktops_full"] },
    Row { name: "subStream",        weight: 4,  call: subscribe,        told: learn_play,          refusals: &["member_gone", "stream_not_found"] },
    Row { name: "delete stream",    weight: 4,  call: unpublish,        told: all,           refusals: &["member_gone", "not_allowed", "stream_not_found"] },
    Row { name: "PATCH stream",     weight: 6,  call: turn,             told: all,           refusals: &["member_gone", "stream_not_found", "videos_full"] },
    Row { name: "PATCH member",     weight: 6,  call: profile,          told: all,           refusals: OWN },
    Row { name: "PATCH conference", weight: 4,  call: configure,        told: learn_settings, refusals: RUN },
    Row { name: "heartbeat",        weight: 2,  call: heartbeat,        told: all,           refusals: OWN },
    Row { name: "look",             weight: 5,  call: look,             told: looked,        refusals: OWN },
    Row { name: CREATE,             weight: 1,  call: create,           told: learn_conference, refusals: &[] },
    Row { name: "end",              weight: 1,  call: end,              told: all,           refusals: &[] },
];

pub fn draw(random: &mut Random) -> &'static Row {
    let mut at = random.below(COMMANDS.iter().map(|row| row.weight).sum());
    let hit = |row: &&Row| match at.checked_sub(row.weight) {
        Some(rest) => {
            at = rest;
            false
        }
        None => true,
    };
    COMMANDS.iter().find(hit).expect("below the sum")
}

fn user(random: &mut Random) -> String {
    format!("u{}", random.below(USERS))
}

fn call(method: Method, path: String, bearer: &str) -> Call {
    Call { method, path, bearer: Some(bearer.to_owned()), body: None, effects: Vec::new() }
}

impl Call {
    pub fn shows(&self, credential: &str) -> bool {
        let ticket = self.body.as_ref().and_then(|body| body["ticket"].as_str());
        self.bearer.as_deref() == Some(credential) || ticket == Some(credential)
    }

    fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    fn asks(mut self, effect: String) -> Self {
        self.effects.push(effect);
        self
    }
}

impl Scene {
    fn app_key(&self) -> &str {
        &self.world.app.key
    }

    fn member(&self, random: &mut Random) -> Option<KnownMember> {
        random.pick(&self.venue.known.lock().members)
    }

    fn stream(&self, random: &mut Random) -> Option<KnownStream> {
        random.pick(&self.venue.known.lock().streams)
    }

    /// The app, a member, or whoever holds the creator's ticket.
    fn runner(&self, random: &mut Random) -> String {
        match random.below(4) {
            0 => self.member(random).map(|member| member.token),
            1 => self.venue.creator_ticket.clone(),
            _ => None,
        }
        .unwrap_or_else(|| self.app_key().to_owned())
    }

    fn names(random: &mut Random) -> Vec<String> {
        let names = (0..=random.below(2)).map(|_| user(random));
        names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }
}

/// Everything that was asked for.
fn all(_: &Scene, call: &Call, _: &Value, _: &mut Random) -> Vec<String> {
    call.effects.clone()
}

fn note_look(scene: &Scene, call: &Call, view: &Value) {
    let is_app = call.bearer.as_deref() == Some(scene.app_key());
    let who = format!("{} {}", call.method, call.path);
    scene.venue.ledger.lock().look(Look { view: view.clone(), is_app, who });
}

fn ticket(scene: &Scene, random: &mut Random) -> Option<Call> {
    let mut request = json!({ "role": random.one_of([7, 3, 3, 1]) });
    if !random.one_in(6) {
        request["user"] = user(random).into();
    }
    Some(call(Method::POST, scene.venue.path("/tickets"), &scene.runner(random)).body(request))
}

fn learn_ticket(scene: &Scene, _: &Call, answer: &Value, _: &mut Random) -> Vec<String> {
    remember(&mut scene.venue.known.lock().tickets, text(answer, "/ticket"));
    Vec::new()
}

/// A join of whoever `request` says. Its number stands in the member's `ext`.
fn join(scene: &Scene, bearer: Option<String>, mut request: Value) -> Call {
    let n = scene.world.number();
    request["ext"] = json!({ "n": n });
    let effects = vec![format!("joined:{n}")];
    Call { method: Method::POST, path: scene.venue.path("/members"), bearer, body: Some(request), effects }
}

fn join_by_ticket(scene: &Scene, random: &mut Random) -> Option<Call> {
    let ticket = random.pick(&scene.venue.known.lock().tickets)?;
    Some(join(scene, None, json!({ "ticket": ticket })))
}

fn join_by_password(scene: &Scene, random: &mut Random) -> Option<Call> {
    let password = random.pick(&scene.venue.known.lock().passwords)?;
    let token = scene.world.app.user_token(&user(random), false);
    Some(join(scene, Some(token), json!({ "password": password })))
}

fn join_by_app(scene: &Scene, random: &mut Random) -> Option<Call> {
    Some(join(scene, Some(scene.app_key().to_owned()), json!({ "user": user(random) })))
}

/// A room has one of few names, so that most meet in one, and some come when it has just ended.
fn join_room(scene: &Scene, random: &mut Random) -> Option<Call> {
    let n = scene.world.number();
    let room = format!("room{}", random.below(ROOMS));
    let limits = scene.world.limits(random);
    let mut config = json!({ "ext": { "n": n }, "confrType": random.one_of([10, 12]) });
    config.as_object_mut().expect("an object").extend(limits.as_object().expect("an object").clone());
    let mut request = json!({ "config": config });
    let user = user(random);
    let bearer = if random.one_in(4) {
        request["user"] = user.into();
        scene.app_key().to_owned()
    } else {
        scene.world.app.user_token(&user, random.one_in(2))
    };
    let call = call(Method::POST, format!("/v1/rooms/{room}/members"), &bearer).body(request);
    Some(call.asks(format!("room:{room}")).asks(format!("joined:{n}")))
}

/// Which conference it was is known by the answer alone, so that is where the promise belongs.
fn learn_room(scene: &Scene, call: &Call, answer: &Value, random: &mut Random) -> Vec<String> {
    let Some(venue) = scene.world.open(&answer["confr"], false) else { return Vec::new() };
    let is_creator = answer["isCreator"].as_bool().expect("whether it made the room");
    assert!(!is_creator || answer["member"]["role"] == 7, "whoever makes a room is its ADMIN: {answer}");
    let there = Scene { world: Arc::clone(&scene.world), venue };
    let mut promised = learn_member(&there, call, answer, random);
    promised.retain(|effect| effect.starts_with("joined:"));
    promised.extend(is_creator.then(|| "creator".to_owned()));
    there.venue.ledger.lock().promise(&promised);
    call.effects.iter().filter(|effect| effect.starts_with("room:")).cloned().collect()
}

fn learn_member(scene: &Scene, call: &Call, answer: &Value, random: &mut Random) -> Vec<String> {
    let member = KnownMember {
        id: text(answer, "/member/id"),
        name: text(answer, "/member/name"),
        token: text(answer, "/roleToken"),
    };
    note_look(scene, call, &answer["confr"]);
    if random.one_in(3) {
        scene.world.watch(&scene.venue, &member, random);
    }
    remember(&mut scene.venue.known.lock().members, member);
    call.effects.clone()
}

fn leave(scene: &Scene, random: &mut Random) -> Option<Call> {
    let member = scene.member(random)?;
    let call = call(Method::DELETE, scene.venue.path("/members/me"), &member.token);
    Some(call.asks(format!("exit:{}:0", member.name)))
}

fn leave_by_app(scene: &Scene, random: &mut Random) -> Option<Call> {
    let user = user(random);
    let path = scene.venue.path(&format!("/members/me?user={user}"));
    Some(call(Method::DELETE, path, scene.app_key()).asks(format!("exit:{user}:0")))
}

fn kick(scene: &Scene, random: &mut Random) -> Option<Call> {
    let names = Scene::names(random);
    let request = json!({ "memberNames": names });
    let call = call(Method::POST, scene.venue.path("/kick"), &scene.runner(random)).body(request);
    Some(names.iter().fold(call, |call, name| call.asks(format!("exit:{name}:12"))))
}

fn kicked(_: &Scene, _: &Call, answer: &Value, _: &mut Random) -> Vec<String> {
    listed(&answer["kicked"]).map(|name| format!("exit:{name}:12")).collect()
}

fn listed(names: &Value) -> impl Iterator<Item = &str> {
    names.as_array().expect("names").iter().map(|name| name.as_str().expect("a name"))
}

fn roles(scene: &Scene, random: &mut Random) -> Option<Call> {
    let names = Scene::names(random);
    let role = random.one_of([7, 3, 3, 3, 1]);
    let request = json!({ "memberNames": names, "role": role });
    let call = call(Method::POST, scene.venue.path("/roles"), &scene.runner(random)).body(request);
    Some(names.iter().fold(call, |call, name| call.asks(format!("role:{name}:{role}"))))
}

fn roles_changed(_: &Scene, call: &Call, answer: &Value, _: &mut Random) -> Vec<String> {
    let role = &call.body.as_ref().expect("a body")["role"];
    listed(&answer["changed"]).map(|name| format!("role:{name}:{role}")).collect()
}

/// One of sound and pictures at a time, so that what the feed tells is one effect.
fn mute(scene: &Scene, random: &mut Random) -> Option<Call> {
    let names = Scene::names(random);
    let what = random.one_of(["audio", "video"]);
    let on = random.one_in(2);
    let mut request = json!({ "memberNames": names });
    request[what] = on.into();
    let call = call(Method::POST, scene.venue.path("/mute"), &scene.runner(random)).body(request);
    Some(names.iter().fold(call, |call, name| call.asks(format!("muted:{name}:{what}:{on}"))))
}

fn muted(_: &Scene, call: &Call, answer: &Value, _: &mut Random) -> Vec<String> {
    let inside: Vec<_> = listed(&answer["muted"]).map(|name| format!("muted:{name}:")).collect();
    let of = |effect: &&String| inside.iter().any(|name| effect.starts_with(name.as_str()));
    call.effects.iter().filter(of).cloned().collect()
}

/// To everybody or to some, by a member, by the app, or by the app for a user.
fn message(scene: &Scene, random: &mut Random) -> Option<Call> {
    let n = scene.world.number();
    let mut request = json!({ "body": { "n": n } });
    if random.one_in(2) {
        let to: Option<Vec<_>> = (0..=random.below(2)).map(|_| Some(scene.member(random)?.id)).collect();
        request["to"] = to?.into();
    }
    let bearer = match random.below(4) {
        0 => scene.app_key().to_owned(),
        1 => {
            request["user"] = user(random).into();
            scene.app_key().to_owned()
        }
        _ => scene.member(random)?.token,
    };
    let call = call(Method::POST, scene.venue.path("/messages"), &bearer).body(request);
    Some(call.asks(format!("message:{n}")))
}

fn said(scene: &Scene, call: &Call, answer: &Value, _: &mut Random) -> Vec<String> {
    let seq = answer["seq"].as_u64().expect("a number");
    scene.venue.ledger.lock().place(&call.effects[0], seq);
    call.effects.clone()
}

fn publish(scene: &Scene, random: &mut Random) -> Option<Call> {
    let member = scene.member(random)?;
    let rtc_id = format!("RTC{}", random.below(4));
    let request = json!({ "rtcId": rtc_id, "type": usize::from(random.one_in(6)), "voff": usize::from(random.one_in(5)) });
    let effect = format!("stream:{rtc_id}__Of_{}", member.id);
    Some(call(Method::POST, scene.venue.path("/streams"), &member.token).body(request).asks(effect))
}

fn learn_stream(scene: &Scene, call: &Call, answer: &Value, random: &mut Random) -> Vec<String> {
    let stream = KnownStream {
        id: text(answer, "/stream/id"),
        owner_token: call.bearer.clone().expect("the owner's"),
        url: MediaUrl::parse(&text(answer, "/data/rtmp")),
    };
    if random.one_in(3) {
        scene.world.publish(&stream.url);
    }
    let mut known = scene.venue.known.lock();
    let (_, owner) = stream.id.split_once("__Of_").expect("a stream's id");
    let right = Right { member: owner.to_owned(), is_publish: true, url: stream.url.clone() };
    remember(&mut known.rights, right);
    remember(&mut known.streams, stream);
    call.effects.clone()
}

fn learn_play(scene: &Scene, call: &Call, answer: &Value, random: &mut Random) -> Vec<String> {
    let url = MediaUrl::parse(&text(answer, "/data/rtmp"));
    if random.one_in(3) {
        scene.world.view(&url);
    }
    let mut known = scene.venue.known.lock();
    let member = known.members.iter().find(|member| call.bearer.as_ref() == Some(&member.token));
    if let Some(member) = member.map(|member| member.id.clone()) {
        remember(&mut known.rights, Right { member, is_publish: false, url });
    }
    call.effects.clone()
}

fn turn(scene: &Scene, random: &mut Random) -> Option<Call> {
    let stream = scene.stream(random)?;
    let mut request = json!({});
    let mut effects = Vec::new();
    for what in ["voff", "aoff"] {
        if random.one_in(2) || (what == "aoff" && effects.is_empty()) {
            let off = usize::from(!random.one_in(4));
            request[what] = off.into();
            effects.push(format!("{what}:{}:{off}", stream.id));
        }
    }
    let path = scene.venue.path(&format!("/streams/{}", stream.id));
    let call = call(Method::PATCH, path, &stream.owner_token).body(request);
    Some(effects.into_iter().fold(call, Call::asks))
}

fn subscribe(scene: &Scene, random: &mut Random) -> Option<Call> {
    let (member, stream) = (scene.member(random)?, scene.stream(random)?);
    let path = scene.venue.path(&format!("/streams/{}/subscriptions", stream.id));
    Some(call(Method::POST, path, &member.token))
}

fn unpublish(scene: &Scene, random: &mut Random) -> Option<Call> {
    let stream = scene.stream(random)?;
    let bearer = if random.one_in(2) { stream.owner_token } else { scene.runner(random) };
    let is_ticket = scene.venue.creator_ticket.as_ref() == Some(&bearer);
    let bearer = if is_ticket { scene.app_key() } else { &bearer };
    let call = call(Method::DELETE, scene.venue.path(&format!("/streams/{}", stream.id)), bearer);
    Some(call.asks(format!("gone:{}", stream.id)))
}

fn profile(scene: &Scene, random: &mut Random) -> Option<Call> {
    let member = scene.member(random)?;
    let n = scene.world.number();
    let mut request = json!({ "nickName": format!("n{n}") });
    if random.one_in(3) {
        request["ext"] = json!({ "later": n });
    }
    let call = call(Method::PATCH, scene.venue.path("/members/me"), &member.token).body(request);
    Some(call.asks(format!("profile:n{n}")))
}

/// A change of the conference, with a number in its metadata.
pub fn configuration(world: &World, venue: &Venue, mut request: Value) -> (u64, Call) {
    let n = world.number();
    request["metadata"] = json!({ "made": venue.made, "n": n });
    let call = call(Method::PATCH, venue.path(""), &world.app.key).body(request);
    (n, call.asks(format!("configured:{n}")))
}

fn configure(scene: &Scene, random: &mut Random) -> Option<Call> {
    let mut request = json!({});
    match random.below(5) {
        0 => request["limits"] = json!({ "maxTalkerCount": 3 + random.below(6) }),
        4 => request["limits"] = json!({ "maxVideoCount": 1 + random.below(5) }),
        1 => request["memDefaultRole"] = random.one_of([3, 1]).into(),
        2 if random.one_in(3) => request["password"] = random.one_of(["", "sesame"]).into(),
        _ => {}
    }
    let (_, mut call) = configuration(&scene.world, &scene.venue, request);
    if random.one_in(3) {
        call.bearer = Some(scene.member(random)?.token);
    }
    Some(call)
}

fn learn_settings(scene: &Scene, call: &Call, answer: &Value, _: &mut Random) -> Vec<String> {
    note_look(scene, call, answer);
    if let Some(password) = call.body.as_ref().and_then(|body| body["password"].as_str()) {
        remember(&mut scene.venue.known.lock().passwords, password.to_owned());
    }
    call.effects.clone()
}

fn heartbeat(scene: &Scene, random: &mut Random) -> Option<Call> {
    Some(call(Method::POST, scene.venue.path("/heartbeat"), &scene.member(random)?.token))
}

fn look(scene: &Scene, random: &mut Random) -> Option<Call> {
    let member = scene.member(random).filter(|_| !random.one_in(3));
    let bearer = member.map_or_else(|| scene.app_key().to_owned(), |member| member.token);
    Some(call(Method::GET, scene.venue.path(""), &bearer))
}

fn looked(scene: &Scene, call: &Call, answer: &Value, _: &mut Random) -> Vec<String> {
    note_look(scene, call, answer);
    Vec::new()
}

/// A conference more, as long as there are few.
fn create(scene: &Scene, random: &mut Random) -> Option<Call> {
    if scene.world.venues().len() >= 6 {
        return None;
    }
    let (made, request) = scene.world.creation(random.one_of([10, 11, 12]), random);
    let call = call(Method::POST, "/v1/conferences".to_owned(), scene.app_key()).body(request);
    Some(call.asks(format!("made:{made}")))
}

fn learn_conference(scene: &Scene, call: &Call, answer: &Value, _: &mut Random) -> Vec<String> {
    scene.world.open(answer, false);
    call.effects.clone()
}

fn end(scene: &Scene, random: &mut Random) -> Option<Call> {
    if scene.venue.lasting || !random.one_in(3) {
        return None;
    }
    scene.venue.known.lock().end_asked = true;
    Some(call(Method::DELETE, scene.venue.path(""), scene.app_key()).asks("ended".to_owned()))
}
