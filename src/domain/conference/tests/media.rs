//! Mute, what owners turn on and off, video places, and messages.

use serde_json::json;

use super::*;
use crate::domain::event::VideoFormat;

const SOUND: MuteChange = MuteChange { audio: Some(true), video: None };
const PICTURES: MuteChange = MuteChange { audio: None, video: Some(true) };
const NEITHER: MuteChange = MuteChange { audio: Some(false), video: Some(false) };

fn mute(room: &mut Room, name: &str, change: MuteChange) -> Vec<Event> {
    room.run(&Command::SetMuted { by: Actor::App, users: vec![user(name)], change }).unwrap()
}

fn change(name: &str, stream: &StreamId, voff: Option<bool>, aoff: Option<bool>) -> Command {
    Command::ChangeStream {
        subject: Subject::User(user(name)),
        stream: stream.clone(),
        video_off: voff,
        audio_off: aoff,
    }
}

fn flows(room: &mut Room, stream: &StreamId, video: bool) -> Vec<Event> {
    let format = MediaFormat { video: video.then(VideoFormat::default), audio: Some(Default::default()) };
    room.run(&Command::MediaFlows { stream: stream.clone(), format, replaced: false }).unwrap()
}

fn gate(room: &Room, stream: &StreamId) -> (bool, bool) {
    let gate = room.conference.media_gate(stream);
    (gate.audio, gate.video)
}

#[test]
fn a_mute_holds_for_all_streams_and_stays_until_it_is_lifted() {
    let mut room = Room::new();
    let ticket = room.ticket(Some("a"), Role::Talker);
    room.show(&ticket).unwrap();
    let camera = room.declare("a", "cam", StreamKind::Camera, false).unwrap();
    let muted = Muted { audio: true, video: false };
    let told = Event::MemberMuted { user: user("a"), guest_ticket: None, muted };
    assert_eq!(mute(&mut room, "a", SOUND), [told, Event::StreamMuteChanged { stream: camera.clone() }]);
    assert_eq!(mute(&mut room, "a", SOUND), [], "the second time nothing changes");
    assert_eq!(gate(&room, &camera), (false, true));
    let desktop = room.declare("a", "desk", StreamKind::Desktop, false).unwrap();
    assert_eq!(gate(&room, &desktop), (false, true), "a later stream");
    mute(&mut room, "a", PICTURES);
    let again = room.show(&ticket).unwrap();
    assert_eq!(room.conference.members[&again].muted, Muted { audio: true, video: true });
    let camera = room.declare("a", "cam", StreamKind::Camera, false).unwrap();
    assert_eq!(gate(&room, &camera), (false, false), "a later stay");
    mute(&mut room, "a", NEITHER);
    assert_eq!(gate(&room, &camera), (true, true));
    room.show(&ticket).unwrap();
    assert_eq!(room.conference.member_of(&user("a")).unwrap().muted, Muted::default());
}

#[test]
fn a_mute_of_a_guest_holds_for_its_ticket_and_of_the_absent_for_their_join() {
    let mut room = Room::new();
    let ticket = room.ticket(None, Role::Talker);
    room.show(&ticket).unwrap();
    mute(&mut room, "guest-1", SOUND);
    let leave = Command::Leave { subject: Subject::User(user("guest-1")), reason: ExitReason::Normal };
    room.run(&leave).unwrap();
    let again = room.show(&ticket).unwrap();
    assert!(room.conference.members[&again].muted.audio);
    mute(&mut room, "guest-2", NEITHER);
    assert!(!room.conference.members[&again].muted.audio);
    let other = room.show(&ticket).unwrap();
    assert!(!room.conference.members[&other].muted.audio);
    mute(&mut room, "late", PICTURES);
    let late = room.join("late", Role::Talker);
    assert!(room.conference.members[&late].muted.video);
}

#[test]
fn what_is_lifted_for_one_guest_holds_for_another_with_the_same_ticket() {
    let mut room = Room::new();
    let ticket = room.ticket(None, Role::Talker);
    room.show(&ticket).unwrap();
    room.show(&ticket).unwrap();
    mute(&mut room, "guest-1", SOUND);
    mute(&mut room, "guest-2", PICTURES);
    mute(&mut room, "guest-2", NEITHER);
    let leave = Command::Leave { subject: Subject::User(user("guest-1")), reason: ExitReason::Normal };
    room.run(&leave).unwrap();
    let again = room.show(&ticket).unwrap();
    assert_eq!(room.conference.members[&again].muted, Muted { audio: true, video: false });
}

#[test]
fn a_snapshot_that_tells_only_of_pictures_declared_off_is_read() {
    let mut room = Room::new();
    room.join("a", Role::Talker);
    let camera = room.declare("a", "cam", StreamKind::Camera, false).unwrap();
    let now = serde_json::to_value(&room.conference).unwrap();
    for (kept, means) in
        [(Some(json!(false)), Pictures::On), (Some(json!(true)), Pictures::Unannounced), (None, Pictures::On)]
    {
        let mut earlier = now.clone();
        let stream = earlier["streams"][camera.as_str()].as_object_mut().unwrap();
        stream.remove("pictures").unwrap();
        stream.extend(kept.map(|kept| ("videoOff".to_owned(), kept)));
        let read: Conference = serde_json::from_value(earlier).unwrap();
        assert_eq!(read.streams[&camera].pictures, means);
    }
    for kept in [Pictures::Refused, Pictures::Off] {
        let mut state = room.conference.clone();
        state.streams.get_mut(&camera).unwrap().pictures = kept;
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<Conference>(&text).unwrap(), state);
    }
}

#[test]
fn only_admins_and_the_app_mute_and_lift() {
    let mut room = Room::new();
    room.join("boss", Role::Admin);
    room.join("a", Role::Talker);
    let by = |name: &str, change| Command::SetMuted {
        by: Actor::Member(Subject::User(user(name))),
        users: vec![user("a")],
        change,
    };
    room.run(&by("boss", SOUND)).unwrap();
    assert_eq!(reason(room.run(&by("a", NEITHER))), Reason::NotAllowed);
    room.run(&by("boss", NEITHER)).unwrap();
    assert!(!room.conference.member_of(&user("a")).unwrap().muted.audio);
}

#[test]
fn pictures_turned_off_give_their_place_back_and_need_one_to_return() {
    let mut room = Room::new();
    room.join("a", Role::Talker);
    let first = room.declare("a", "one", StreamKind::Camera, false).unwrap();
    let second = room.declare("a", "two", StreamKind::Camera, false).unwrap();
    assert_eq!(room.run(&change("a", &first, Some(false), Some(false))), Ok(vec![]));
    room.run(&change("a", &first, Some(true), None)).unwrap();
    assert_eq!((gate(&room, &first), room.conference.video_count()), ((true, false), 1));
    flows(&mut room, &first, true);
    assert_eq!(gate(&room, &first), (true, false), "what the owner turned off stays off, whatever flows");
    room.declare("a", "three", StreamKind::Camera, false).unwrap();
    assert_eq!(reason(room.run(&change("a", &first, Some(false), Some(true)))), Reason::VideosFull);
    assert_eq!(gate(&room, &first), (true, false), "all of it was refused");
    room.run(&change("a", &second, Some(true), Some(true))).unwrap();
    assert_eq!(gate(&room, &second), (false, false));
    room.run(&change("a", &first, Some(false), None)).unwrap();
    assert_eq!(gate(&room, &first), (true, true));
    room.join("b", Role::Talker);
    assert_eq!(reason(room.run(&change("b", &first, Some(true), None))), Reason::NotAllowed);
    let unknown = StreamId::parse("x__Of_MS_x").unwrap();
    assert_eq!(reason(room.run(&change("a", &unknown, None, None))), Reason::StreamNotFound);
}

#[test]
fn pictures_that_nobody_announced_take_a_place_or_wait_for_one() {
    let mut room = Room::new();
    room.join("a", Role::Talker);
    room.join("b", Role::Talker);
    let voice = room.declare("a", "voice", StreamKind::Camera, true).unwrap();
    assert_eq!((gate(&room, &voice), room.conference.video_count()), ((true, false), 0));
    flows(&mut room, &voice, false);
    assert_eq!(gate(&room, &voice), (true, false));
    let events = flows(&mut room, &voice, true);
    assert_eq!(events.last(), Some(&Event::VideoGranted { stream: voice.clone() }));
    assert_eq!((gate(&room, &voice), room.conference.video_count()), ((true, true), 1));

    let full = room.declare("b", "cam", StreamKind::Camera, false).unwrap();
    let early = room.declare("b", "early", StreamKind::Camera, true).unwrap();
    let late = room.declare("a", "late", StreamKind::Camera, true).unwrap();
    let refused = |stream: &StreamId| Event::VideoRefused { stream: stream.clone() };
    assert_eq!(flows(&mut room, &late, true).last(), Some(&refused(&late)));
    assert_eq!(flows(&mut room, &early, true).last(), Some(&refused(&early)));
    assert_eq!(flows(&mut room, &early, true), [], "told once");
    assert_eq!((gate(&room, &late), gate(&room, &early)), ((true, false), (true, false)));
    assert_eq!(reason(room.run(&change("a", &late, Some(false), None))), Reason::VideosFull);

    let granted = |stream: &StreamId| Event::VideoGranted { stream: stream.clone() };
    let undeclare = Command::UndeclareStream { by: Actor::App, stream: full };
    assert_eq!(room.run(&undeclare).unwrap().last(), Some(&granted(&early)), "declared first");
    assert_eq!((gate(&room, &early), gate(&room, &late)), ((true, true), (true, false)));
    let more = LimitsChange { max_video_count: Some(3), ..LimitsChange::default() };
    let more = Command::Configure {
        by: Actor::App,
        password: None,
        limits: more,
        mem_default_role: None,
        metadata: None,
    };
    assert_eq!(room.run(&more).unwrap().last(), Some(&granted(&late)));
}

#[test]
fn who_stops_sending_pictures_no_longer_waits() {
    let mut room = Room::new();
    room.join("a", Role::Talker);
    let taken = room.declare("a", "one", StreamKind::Camera, false).unwrap();
    room.declare("a", "two", StreamKind::Camera, false).unwrap();
    let voice = room.declare("a", "voice", StreamKind::Camera, true).unwrap();
    flows(&mut room, &voice, true);
    flows(&mut room, &voice, false);
    room.run(&change("a", &taken, Some(true), None)).unwrap();
    assert_eq!(gate(&room, &voice), (true, false), "nothing asks for the place");
    assert_eq!(flows(&mut room, &voice, true).last(), Some(&Event::VideoGranted { stream: voice }));
}

#[test]
fn messages_reach_those_who_are_inside() {
    let mut room = Room::new();
    let a = room.join("a", Role::Talker);
    let b = room.join("b", Role::Audience);
    let send = |from: Option<&str>, to: Option<Vec<MemberId>>, body: Value| Command::SendMessage {
        from: from.map(|name| Subject::User(user(name))),
        to,
        body,
    };
    let to = Some(vec![a.clone(), b.clone(), a.clone()]);
    let sent = room.run(&send(Some("b"), to, json!(null))).unwrap();
    let mut once = vec![a, b.clone()];
    once.sort();
    assert_eq!(sent, [Event::MessageSent { from: Some(b), to: Some(once), body: json!(null) }]);
    room.run(&send(None, None, json!({ "text": "hi" }))).unwrap();
    let stranger = MemberId::parse("MS_nobody").unwrap();
    let refusal = room.run(&send(None, Some(vec![stranger]), json!(1))).unwrap_err();
    assert_eq!(refusal.reason, Reason::NotFound);
    assert!(refusal.detail.contains("MS_nobody"));
    assert_eq!(reason(room.run(&send(None, Some(vec![]), json!(1)))), Reason::InvalidRequest);
    room.run(&send(None, None, json!("x".repeat(4094)))).unwrap();
    assert_eq!(reason(room.run(&send(None, None, json!("x".repeat(4095))))), Reason::PayloadTooLarge);
    let mut deep = json!(1);
    for _ in 0..=32 {
        deep = json!([deep]);
    }
    assert_eq!(reason(room.run(&send(None, None, deep))), Reason::InvalidRequest);
}

#[test]
fn the_url_of_a_stream_that_is_gone_says_why() {
    let mut room = Room::new();
    room.join("a", Role::Talker);
    room.join("b", Role::Audience);
    let stream = room.declare("a", "cam", StreamKind::Camera, false).unwrap();
    let play = room.right("b", &stream, Direction::Play);
    room.run(&Command::UndeclareStream { by: Actor::App, stream: stream.clone() }).unwrap();
    let refusal = room.conference.media_right(&play).unwrap_err();
    assert_eq!(refusal.reason, Reason::UrlInvalid);
    assert!(refusal.detail.starts_with("this stream was deleted"), "{refusal}");
    room.kick("a");
    let refusal = room.conference.media_right(&play).unwrap_err();
    assert_eq!(refusal.reason, Reason::UrlInvalid);
    assert!(refusal.detail.starts_with("the publisher of this stream is no longer"), "{refusal}");
}
