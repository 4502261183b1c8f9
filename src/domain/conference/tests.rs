//! The conference as a whole: single behaviours by name, then laws that hold for any sequence of commands.

mod change;
mod laws;
mod media;

use std::collections::BTreeMap;

use proptest::option::of as option;
use proptest::prelude::*;

use super::*;
use crate::domain::event::{ExitReason, StreamEnd};
use crate::domain::limits::LimitsChange;
use crate::domain::media_url::{Direction, MediaRight};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::ticket::TicketClaims;
use crate::domain::voip::{RoomType, VOIP_MEMBERS_MAX, VoipRoom};
use laws::{check_mutes, check_pairs, check_state};

const AT: Timestamp = Timestamp(1_800_000_000_000);

fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn limits() -> Limits {
    Limits { max_talker_count: 3, max_video_count: 2, max_audience_count: 2, max_pub_desktop_count: 1 }
}

fn created() -> Created {
    Created {
        limits: limits(),
        ..Created::new(
            ConferenceId::from_random([1; 10]),
            AppId::parse("app").unwrap(),
            ConferenceKind::Communication,
        )
    }
}

/// A conference together with its log, driven the way the service drives it.
struct Room {
    conference: Conference,
    log: Vec<Recorded>,
    next_id: u64,
}

impl Room {
    fn new() -> Self {
        let (conference, first) = Conference::create(created(), AT);
        Self { conference, log: vec![first], next_id: 0 }
    }

    /// A VoIP room, whose places are its own.
    fn voip(room_type: RoomType) -> Self {
        let voip = VoipRoom { group_id: RoomName::parse("group").unwrap(), room_type };
        let created = Created { limits: room_type.limits(limits()), voip: Some(voip), ..created() };
        let (conference, first) = Conference::create(created, AT);
        Self { conference, log: vec![first], next_id: 0 }
    }

    fn run(&mut self, command: &Command) -> Result<Vec<Event>, Refusal> {
        let events = decide(&self.conference, command)?;
        for event in events.clone() {
            self.log.push(self.conference.record(event, AT));
        }
        Ok(events)
    }

    fn random(&mut self) -> [u8; 10] {
        self.next_id += 1;
        let mut bits = [0; 10];
        bits[2..].copy_from_slice(&self.next_id.to_be_bytes());
        bits
    }

    fn ticket(&mut self, user: Option<&str>, role: Role) -> TicketClaims {
        TicketClaims {
            id: TicketId::from_random(self.random()),
            app: self.conference.settings.app.clone(),
            conference: self.conference.id().clone(),
            user: user.map(self::user),
            role,
            seq: self.conference.seq,
            expires_at: AT.plus_ms(1000),
        }
    }

    fn join_with(&mut self, admission: Admission) -> Result<MemberId, Refusal> {
        let member = MemberId::from_random(self.random());
        let join = Join {
            member: member.clone(),
            admission,
            nick_name: None,
            ext: Map::new(),
            mini_program: false,
            role: None,
        };
        self.run(&Command::Join(Box::new(join)))?;
        Ok(member)
    }

    fn show(&mut self, ticket: &TicketClaims) -> Result<MemberId, Refusal> {
        self.join_with(Admission::Ticket { ticket: ticket.clone(), shown_by: None })
    }

    fn join(&mut self, name: &str, role: Role) -> MemberId {
        let ticket = self.ticket(Some(name), role);
        self.show(&ticket).unwrap()
    }

    fn role(&self, member: &MemberId) -> Role {
        self.conference.members[member].role
    }

    fn kick(&mut self, name: &str) -> Vec<Event> {
        self.run(&Command::Kick { by: Actor::App, users: vec![user(name)] }).unwrap()
    }

    fn set_role(&mut self, name: &str, role: Role) -> Result<Vec<Event>, Refusal> {
        self.run(&Command::SetRoles { by: Actor::App, users: vec![user(name)], role })
    }

    fn declare(
        &mut self,
        name: &str,
        rtc_id: &str,
        kind: StreamKind,
        video_off: bool,
    ) -> Result<StreamId, Refusal> {
        let rtc_id = RtcId::parse(rtc_id).unwrap();
        let subject = Subject::User(user(name));
        self.run(&Command::DeclareStream {
            subject,
            rtc_id: rtc_id.clone(),
            kind,
            video_off,
            audio_off: false,
        })?;
        Ok(StreamId::new(&rtc_id, &self.conference.member_of(&user(name)).unwrap().id))
    }

    fn right(&self, name: &str, stream: &StreamId, direction: Direction) -> MediaRight {
        let member = self.conference.member_of(&user(name)).unwrap();
        MediaRight {
            conference: self.conference.id().clone(),
            member: member.id.clone(),
            epoch: member.epoch,
            direction,
            stream: stream.clone(),
            declared: self.conference.streams[stream].declared,
        }
    }
}

fn reason<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Reason {
    result.unwrap_err().reason
}

#[test]
fn the_creators_ticket_makes_an_admin_and_a_password_a_talker() {
    let mut room = Room::new();
    let admin = room.join("alice", Role::Admin);
    let by_password = Admission::Password { user: user("bob"), verified: None };
    let talker = room.join_with(by_password).unwrap();
    assert_eq!(room.role(&admin), Role::Admin);
    assert_eq!(room.role(&talker), Role::Talker);
}

#[test]
fn a_ticket_without_a_user_makes_guests_of_at_most_the_default_role() {
    let mut room = Room::new();
    let ticket = room.ticket(None, Role::Admin);
    let first = room.show(&ticket).unwrap();
    let second = room.show(&ticket).unwrap();
    assert_eq!(room.conference.members[&first].user, user("guest-1"));
    assert_eq!(room.conference.members[&second].user, user("guest-2"));
    assert_eq!(room.role(&first), Role::Talker);
}

#[test]
fn a_ticket_is_not_for_another_user() {
    let mut room = Room::new();
    let ticket = room.ticket(Some("alice"), Role::Talker);
    let shown = Admission::Ticket { ticket, shown_by: Some(user("mallory")) };
    assert_eq!(reason(room.join_with(shown)), Reason::TicketInvalid);
}

#[test]
fn joining_again_replaces_the_former_self_in_one_decision() {
    let mut room = Room::new();
    let ticket = room.ticket(Some("alice"), Role::Talker);
    let first = room.show(&ticket).unwrap();
    let second = room.show(&ticket).unwrap();
    assert_ne!(first, second);
    assert_eq!(room.conference.members.len(), 1);
    let exited = Event::MemberExited { member: first, reason: ExitReason::OtherDevice };
    assert!(room.log.iter().any(|recorded| recorded.event == exited));
}

#[test]
fn a_kick_voids_older_tickets_and_the_password_until_a_new_ticket_is_issued() {
    let mut room = Room::new();
    let old = room.ticket(Some("bob"), Role::Talker);
    room.show(&old).unwrap();
    room.kick("bob");
    assert_eq!(reason(room.show(&old)), Reason::MemberGone);
    let password = Admission::Password { user: user("bob"), verified: None };
    assert_eq!(reason(room.join_with(password.clone())), Reason::MemberGone);

    room.run(&Command::IssueTicket { by: Actor::App, user: Some(user("bob")) }).unwrap();
    let new = room.ticket(Some("bob"), Role::Talker);
    assert_eq!(reason(room.show(&old)), Reason::MemberGone);
    room.show(&new).unwrap();
    room.join_with(password).unwrap();
}

#[test]
fn a_kick_of_someone_who_is_out_for_a_moment_holds_as_well() {
    let mut room = Room::new();
    let old = room.ticket(Some("bob"), Role::Talker);
    room.kick("bob");
    assert_eq!(reason(room.show(&old)), Reason::MemberGone);
}

#[test]
fn a_kicked_guest_does_not_return_with_its_ticket() {
    let mut room = Room::new();
    let ticket = room.ticket(None, Role::Talker);
    room.show(&ticket).unwrap();
    room.kick("guest-1");
    assert_eq!(reason(room.show(&ticket)), Reason::MemberGone);
    let other = room.ticket(None, Role::Talker);
    room.show(&other).unwrap();
}

#[test]
fn a_kicked_or_demoted_user_does_not_return_as_a_guest_with_its_ticket() {
    let mut room = Room::new();
    let shared = room.ticket(None, Role::Talker);
    let by_bob = Admission::Ticket { ticket: shared.clone(), shown_by: Some(user("bob")) };
    room.join_with(by_bob).unwrap();
    room.set_role("bob", Role::Audience).unwrap();
    let guest = room.show(&shared).unwrap();
    assert_eq!(room.role(&guest), Role::Audience);
    room.kick("bob");
    assert_eq!(reason(room.show(&shared)), Reason::MemberGone);
    let by_carol = Admission::Ticket { ticket: shared, shown_by: Some(user("carol")) };
    room.join_with(by_carol).unwrap();
}

#[test]
fn an_app_that_lets_a_kicked_user_in_again_does_not_undo_its_demotion() {
    let mut room = Room::new();
    room.join("bob", Role::Talker);
    room.set_role("bob", Role::Audience).unwrap();
    room.kick("bob");
    let again = room.join_with(Admission::App { user: user("bob") }).unwrap();
    assert_eq!(room.role(&again), Role::Audience);
}

#[test]
fn a_role_once_granted_caps_every_later_join() {
    let mut room = Room::new();
    let ticket = room.ticket(Some("bob"), Role::Admin);
    room.show(&ticket).unwrap();
    room.set_role("bob", Role::Audience).unwrap();
    let again = room.show(&ticket).unwrap();
    assert_eq!(room.role(&again), Role::Audience);
    room.kick("bob");

    let guests = room.ticket(None, Role::Talker);
    let guest = room.show(&guests).unwrap();
    let name = room.conference.members[&guest].user.clone();
    room.set_role(name.as_str(), Role::Audience).unwrap();
    let next_guest = room.show(&guests).unwrap();
    assert_eq!(room.role(&next_guest), Role::Audience);
}

#[test]
fn an_admin_ticket_runs_the_conference_until_its_holder_is_kicked_or_demoted() {
    let mut room = Room::new();
    let ticket = room.ticket(Some("alice"), Role::Admin);
    let by = Actor::Ticket(ticket.clone());
    room.run(&Command::SetRoles { by: by.clone(), users: vec![user("bob")], role: Role::Talker }).unwrap();
    room.set_role("alice", Role::Talker).unwrap();
    assert_eq!(reason(room.run(&Command::End { by: by.clone() })), Reason::NotAllowed);
    room.kick("alice");
    assert_eq!(reason(room.run(&Command::End { by })), Reason::MemberGone);
}

#[test]
fn only_admins_and_the_app_run_the_conference() {
    let mut room = Room::new();
    room.join("alice", Role::Admin);
    room.join("bob", Role::Talker);
    let bob = Actor::Member(Subject::User(user("bob")));
    let kick = |by| Command::Kick { by, users: vec![user("alice")] };
    assert_eq!(reason(room.run(&kick(bob.clone()))), Reason::NotAllowed);
    assert_eq!(reason(room.run(&Command::End { by: bob })), Reason::NotAllowed);
    room.run(&Command::End { by: Actor::Member(Subject::User(user("alice"))) }).unwrap();
    assert!(room.conference.is_ended());
    assert_eq!(reason(room.run(&kick(Actor::App))), Reason::ConferenceClosed);
}

#[test]
fn a_member_token_of_an_earlier_stay_speaks_for_nobody() {
    let mut room = Room::new();
    let ticket = room.ticket(Some("bob"), Role::Talker);
    let member = room.show(&ticket).unwrap();
    let epoch = room.conference.members[&member].epoch;
    room.show(&ticket).unwrap();
    let leave = Command::Leave { subject: Subject::Member { id: member, epoch }, reason: ExitReason::Normal };
    assert_eq!(reason(room.run(&leave)), Reason::MemberGone);
}

#[test]
fn places_are_counted_at_join_and_at_promotion() {
    let mut room = Room::new();
    for name in ["a", "b", "c"] {
        room.join(name, Role::Talker);
    }
    let fourth = room.ticket(Some("d"), Role::Talker);
    assert_eq!(reason(room.show(&fourth)), Reason::TalkersFull);
    let again = room.ticket(Some("c"), Role::Talker);
    room.show(&again).unwrap();
    room.join("e", Role::Audience);
    assert_eq!(reason(room.set_role("e", Role::Talker)), Reason::TalkersFull);
    room.join("f", Role::Audience);
    let seventh = room.ticket(Some("g"), Role::Audience);
    assert_eq!(reason(room.show(&seventh)), Reason::MembersFull);
}

#[test]
fn streams_take_places_unless_they_carry_no_video() {
    let mut room = Room::new();
    room.join("a", Role::Talker);
    room.declare("a", "cam1", StreamKind::Camera, false).unwrap();
    room.declare("a", "desk", StreamKind::Desktop, false).unwrap();
    assert_eq!(reason(room.declare("a", "cam2", StreamKind::Camera, false)), Reason::VideosFull);
    assert_eq!(reason(room.declare("a", "desk2", StreamKind::Desktop, true)), Reason::DesktopsFull);
    room.declare("a", "mic", StreamKind::Camera, true).unwrap();
    let before = room.conference.seq;
    room.declare("a", "cam1", StreamKind::Camera, false).unwrap();
    assert_eq!(room.conference.seq, before, "declaring the same stream again changes nothing");
}

#[test]
fn media_rights_end_with_the_stay_the_role_the_stream_and_the_conference() {
    let mut room = Room::new();
    room.join("a", Role::Talker);
    room.join("b", Role::Audience);
    let stream = room.declare("a", "cam", StreamKind::Camera, false).unwrap();
    let publish = room.right("a", &stream, Direction::Publish);
    let play = room.right("b", &stream, Direction::Play);
    assert_eq!(room.conference.media_right(&publish), Ok(()));
    assert_eq!(room.conference.media_right(&play), Ok(()));
    let stolen = MediaRight { direction: Direction::Publish, ..play.clone() };
    assert_eq!(reason(room.conference.media_right(&stolen)), Reason::NotAllowed);

    room.set_role("a", Role::Audience).unwrap();
    assert_eq!(reason(room.conference.media_right(&publish)), Reason::NotAllowed);
    room.set_role("a", Role::Talker).unwrap();
    assert_eq!(
        reason(room.conference.media_right(&publish)),
        Reason::UrlInvalid,
        "the stream has to be declared again"
    );

    let stream = room.declare("a", "cam", StreamKind::Camera, false).unwrap();
    let publish = room.right("a", &stream, Direction::Publish);
    room.kick("b");
    assert_eq!(reason(room.conference.media_right(&play)), Reason::MemberGone);
    let undeclare =
        Command::UndeclareStream { by: Actor::Member(Subject::User(user("a"))), stream: stream.clone() };
    room.run(&undeclare).unwrap();
    assert_eq!(reason(room.conference.media_right(&publish)), Reason::UrlInvalid);
    room.run(&Command::End { by: Actor::App }).unwrap();
    assert_eq!(reason(room.conference.media_right(&publish)), Reason::ConferenceClosed);
}

#[test]
fn a_demotion_stops_the_stream_and_keeps_the_member() {
    let mut room = Room::new();
    let member = room.join("a", Role::Talker);
    let stream = room.declare("a", "cam", StreamKind::Camera, false).unwrap();
    let format = MediaFormat::default();
    room.run(&Command::MediaFlows { stream: stream.clone(), format, replaced: false }).unwrap();
    let events = room.set_role("a", Role::Audience).unwrap();
    let reason = StreamEnd::OwnerDemoted;
    assert_eq!(
        events,
        [
            Event::MediaStopped { stream: stream.clone(), reason },
            Event::StreamUndeclared { stream, reason },
            Event::RoleChanged { user: user("a"), guest_ticket: None, role: Role::Audience },
        ]
    );
    assert_eq!(room.role(&member), Role::Audience);
}

#[test]
fn reports_of_media_change_nothing_where_there_is_nothing_to_change() {
    let mut room = Room::new();
    room.join("a", Role::Talker);
    let stream = room.declare("a", "cam", StreamKind::Camera, false).unwrap();
    let flows =
        Command::MediaFlows { stream: stream.clone(), format: MediaFormat::default(), replaced: false };
    let ends = Command::MediaEnds { stream: stream.clone(), reason: StreamEnd::PublisherGone };
    assert_eq!(room.run(&ends), Ok(vec![]));
    assert_eq!(room.run(&flows).unwrap().len(), 1);
    assert_eq!(room.run(&flows), Ok(vec![]));
    room.kick("a");
    assert_eq!(room.run(&flows), Ok(vec![]));
    assert_eq!(room.run(&ends), Ok(vec![]));
}

#[test]
fn when_the_last_admin_goes_the_eldest_talker_takes_over() {
    let mut room = Room::new();
    room.join("alice", Role::Admin);
    room.join("watcher", Role::Audience);
    let eldest = room.join("bob", Role::Talker);
    let younger = room.join("carol", Role::Talker);
    let leave = Command::Leave { subject: Subject::User(user("alice")), reason: ExitReason::Normal };
    room.run(&leave).unwrap();
    assert_eq!((room.role(&eldest), room.role(&younger)), (Role::Admin, Role::Talker));
    room.join("dave", Role::Talker);
    room.kick("bob");
    assert_eq!(room.role(&younger), Role::Admin);
    room.join("erin", Role::Admin);
    room.kick("carol");
    let dave = room.conference.member_of(&user("dave")).unwrap().role;
    assert_eq!(dave, Role::Talker, "another ADMIN is still there");
}

#[test]
fn only_an_empty_conference_ends_for_being_empty() {
    let mut room = Room::new();
    room.join("alice", Role::Talker);
    assert_eq!(room.run(&Command::EndIfEmpty), Ok(vec![]));
    room.kick("alice");
    room.run(&Command::EndIfEmpty).unwrap();
    assert!(room.conference.is_ended());
}

#[test]
fn a_conference_made_without_mini_programs_refuses_them() {
    let mut room = Room::new();
    room.conference.settings.support_wechat_mini_program = false;
    let admission = Admission::App { user: user("a") };
    let member = MemberId::from_random(room.random());
    let join = Join { member, admission, nick_name: None, ext: Map::new(), mini_program: true, role: None };
    assert_eq!(reason(room.run(&Command::Join(Box::new(join)))), Reason::ClientNotSupported);
}

#[test]
fn a_role_that_is_asked_for_lowers_and_never_raises() {
    let mut room = Room::new();
    let mut join = |name: &str, asked: Role| {
        let member = MemberId::from_random(room.random());
        let admission = Admission::Password { user: user(name), verified: None };
        let (member_id, role) = (member.clone(), Some(asked));
        let join = Join { member, admission, nick_name: None, ext: Map::new(), mini_program: false, role };
        room.run(&Command::Join(Box::new(join))).unwrap();
        room.role(&member_id)
    };
    assert_eq!(join("a", Role::Admin), Role::Talker);
    assert_eq!(join("b", Role::Talker), Role::Talker);
    assert_eq!(join("c", Role::Audience), Role::Audience);
}

#[test]
fn a_voip_room_holds_ten_whatever_their_roles_and_its_places_are_fixed() {
    let mut room = Room::voip(RoomType::Voice);
    for number in 0..VOIP_MEMBERS_MAX {
        room.join(&format!("u{number}"), Role::Talker);
    }
    let late = |room: &mut Room| {
        let ticket = room.ticket(Some("late"), Role::Talker);
        room.show(&ticket)
    };
    assert_eq!(reason(late(&mut room)), Reason::MembersFull);
    room.set_role("u3", Role::Audience).unwrap();
    assert_eq!(reason(late(&mut room)), Reason::MembersFull);
    room.join("u4", Role::Talker);
    room.kick("u3");
    late(&mut room).unwrap();

    assert_eq!(reason(room.declare("u0", "cam", StreamKind::Camera, false)), Reason::VideosFull);
    room.declare("u0", "mic", StreamKind::Camera, true).unwrap();
    let limits = LimitsChange { max_video_count: Some(1), ..LimitsChange::default() };
    let configure = |limits| Command::Configure {
        by: Actor::App,
        password: None,
        limits,
        mem_default_role: None,
        metadata: Some(object(1)),
    };
    assert_eq!(reason(room.run(&configure(limits))), Reason::NotAllowed);
    room.run(&configure(LimitsChange::default())).unwrap();
}

#[test]
fn a_voip_room_ends_the_moment_the_last_member_leaves() {
    let mut room = Room::voip(RoomType::Video);
    room.join("a", Role::Admin);
    room.join("b", Role::Talker);
    let stream = room.declare("b", "cam", StreamKind::Camera, false).unwrap();
    let leave =
        |name: &str| Command::Leave { subject: Subject::User(user(name)), reason: ExitReason::NoAnswer };
    room.run(&leave("a")).unwrap();
    assert_eq!(room.conference.member_of(&user("b")).unwrap().role, Role::Admin);
    let member = room.conference.member_of(&user("b")).unwrap().id.clone();
    let reason = StreamEnd::OwnerGone;
    assert_eq!(
        room.run(&leave("b")).unwrap(),
        [
            Event::StreamUndeclared { stream, reason },
            Event::MemberExited { member, reason: ExitReason::NoAnswer },
            Event::ConferenceEnded { members: vec![] },
        ]
    );
    assert!(room.conference.is_ended());

    let mut room = Room::voip(RoomType::Video);
    room.kick("nobody");
    assert!(!room.conference.is_ended(), "nobody has left it yet");
    room.join("a", Role::Talker);
    room.join("a", Role::Talker);
    assert!(!room.conference.is_ended(), "whoever joins again does not leave");
    room.kick("a");
    assert!(room.conference.is_ended());
}

#[test]
fn the_oldest_decision_makes_room_when_too_many_are_remembered() {
    let mut room = Room::new();
    let places = crate::domain::limits::STANDINGS_MAX;
    for number in 0..=places {
        room.kick(&format!("u{number}"));
    }
    assert!(!room.conference.is_barred(&user("u0")));
    assert!(room.conference.is_barred(&user("u1")));
    assert!(room.conference.is_barred(&user(&format!("u{places}"))));
}

/// What the generator picks from: few names, so that commands meet.
#[derive(Debug, Clone)]
enum Step {
    Join {
        name: u8,
        role: Role,
        stale: bool,
    },
    Guest {
        role: Role,
    },
    Password {
        name: u8,
        password: u8,
    },
    AppJoin {
        name: u8,
        role: Option<Role>,
    },
    Leave {
        name: u8,
    },
    Kick {
        by: Option<u8>,
        name: u8,
    },
    SetRole {
        by: Option<u8>,
        name: u8,
        role: Role,
    },
    Mute {
        by: Option<u8>,
        name: u8,
        change: MuteChange,
    },
    Issue {
        name: u8,
    },
    Configure {
        by: Option<u8>,
        password: Option<u8>,
        limits: LimitsChange,
        role: Option<Role>,
        metadata: Option<u8>,
    },
    ChangeMember {
        name: u8,
        nick_name: Option<u8>,
        ext: Option<u8>,
    },
    Declare {
        name: u8,
        rtc: u8,
        kind: StreamKind,
        video_off: bool,
    },
    ChangeStream {
        name: u8,
        owner: u8,
        rtc: u8,
        video_off: Option<bool>,
        audio_off: Option<bool>,
    },
    Message {
        from: Option<u8>,
        to: Option<Vec<u8>>,
    },
    Undeclare {
        by: Option<u8>,
        owner: u8,
        rtc: u8,
    },
    Flows {
        owner: u8,
        rtc: u8,
        format: MediaFormat,
        replaced: bool,
    },
    Ends {
        owner: u8,
        rtc: u8,
    },
    End,
    EndIfEmpty,
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Audience), Just(Role::Talker), Just(Role::Admin)]
}

/// Some places, from none to one more than at first.
fn limits_change() -> impl Strategy<Value = LimitsChange> {
    let places = || option(0_u32..5);
    (places(), places(), places(), places()).prop_map(|(talkers, videos, audience, desktops)| LimitsChange {
        max_talker_count: talkers,
        max_video_count: videos,
        max_audience_count: audience,
        max_pub_desktop_count: desktops,
    })
}

/// Sound, pictures, both or nothing.
fn format() -> impl Strategy<Value = MediaFormat> {
    (any::<bool>(), any::<bool>()).prop_map(|(video, audio)| MediaFormat {
        video: video.then(Default::default),
        audio: audio.then(Default::default),
    })
}

/// One of a few passwords; number 0 is none. Not a real hash, which takes its time.
fn password(number: u8) -> Option<PasswordHash> {
    (number > 0).then(|| serde_json::from_value(format!("hash-{number}").into()).unwrap())
}

/// One of a few objects; number 0 is the empty one.
fn object(number: u8) -> Map<String, Value> {
    (0..number).map(|key| (key.to_string(), number.into())).collect()
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0_u8..6;
    let by = || option(0_u8..6);
    let few = || 0_u8..3;
    let rtc = || 0_u8..3;
    let kind = prop_oneof![Just(StreamKind::Camera), Just(StreamKind::Desktop)];
    prop_oneof![
        6 => (name(), role(), any::<bool>()).prop_map(|(name, role, stale)| Step::Join { name, role, stale }),
        1 => role().prop_map(|role| Step::Guest { role }),
        2 => (name(), few()).prop_map(|(name, password)| Step::Password { name, password }),
        2 => (name(), option(role())).prop_map(|(name, role)| Step::AppJoin { name, role }),
        2 => name().prop_map(|name| Step::Leave { name }),
        2 => (by(), name()).prop_map(|(by, name)| Step::Kick { by, name }),
        3 => (by(), name(), role()).prop_map(|(by, name, role)| Step::SetRole { by, name, role }),
        3 => (by(), name(), option(any::<bool>()), option(any::<bool>()))
            .prop_map(|(by, name, audio, video)| Step::Mute { by, name, change: MuteChange { audio, video } }),
        4 => (name(), name(), rtc(), option(any::<bool>()), option(any::<bool>()))
            .prop_map(|(name, owner, rtc, video_off, audio_off)| {
                Step::ChangeStream { name, owner, rtc, video_off, audio_off }
            }),
        1 => (by(), option(proptest::collection::vec(name(), 0..3)))
            .prop_map(|(from, to)| Step::Message { from, to }),
        1 => name().prop_map(|name| Step::Issue { name }),
        3 => (by(), option(few()), limits_change(), option(role()), option(few()))
            .prop_map(|(by, password, limits, role, metadata)| Step::Configure { by, password, limits, role, metadata }),
        1 => (name(), option(few()), option(few()))
            .prop_map(|(name, nick_name, ext)| Step::ChangeMember { name, nick_name, ext }),
        6 => (name(), rtc(), kind, any::<bool>())
            .prop_map(|(name, rtc, kind, video_off)| Step::Declare { name, rtc, kind, video_off }),
        2 => (by(), name(), rtc()).prop_map(|(by, owner, rtc)| Step::Undeclare { by, owner, rtc }),
        5 => (name(), rtc(), format(), any::<bool>())
            .prop_map(|(owner, rtc, format, replaced)| Step::Flows { owner, rtc, format, replaced }),
        3 => (name(), rtc()).prop_map(|(owner, rtc)| Step::Ends { owner, rtc }),
        1 => Just(Step::End),
        1 => Just(Step::EndIfEmpty),
    ]
}

impl Room {
    fn command(&mut self, step: &Step, first_tickets: &BTreeMap<u8, TicketClaims>) -> Command {
        let name = |number: &u8| user(&format!("u{number}"));
        let actor = |by: &Option<u8>| {
            by.as_ref().map_or(Actor::App, |number| Actor::Member(Subject::User(name(number))))
        };
        let stream = |room: &Self, owner: &u8, rtc: &u8| {
            let owner = room.conference.member_of(&name(owner)).map(|member| member.id.clone());
            let owner = owner.unwrap_or_else(|| MemberId::from_random([0; 10]));
            StreamId::new(&RtcId::parse(&format!("r{rtc}")).unwrap(), &owner)
        };
        let join_as = |room: &mut Self, admission, role| {
            let member = MemberId::from_random(room.random());
            let ext = Map::new();
            let join = Join { member, admission, nick_name: None, ext, mini_program: false, role };
            Command::Join(Box::new(join))
        };
        let join = |room: &mut Self, admission| join_as(room, admission, None);
        match step {
            Step::Join { name: number, role, stale } => {
                let ticket = match first_tickets.get(number).filter(|_| *stale) {
                    Some(first) => first.clone(),
                    None => self.ticket(Some(name(number).as_str()), *role),
                };
                join(self, Admission::Ticket { ticket, shown_by: None })
            }
            Step::Guest { role } => {
                let ticket = self.ticket(None, *role);
                join(self, Admission::Ticket { ticket, shown_by: None })
            }
            Step::Password { name: number, password } => {
                join(self, Admission::Password { user: name(number), verified: self::password(*password) })
            }
            Step::AppJoin { name: number, role } => {
                join_as(self, Admission::App { user: name(number) }, *role)
            }
            Step::Leave { name: number } => {
                Command::Leave { subject: Subject::User(name(number)), reason: ExitReason::Normal }
            }
            Step::Kick { by, name: number } => Command::Kick { by: actor(by), users: vec![name(number)] },
            Step::SetRole { by, name: number, role } => {
                Command::SetRoles { by: actor(by), users: vec![name(number)], role: *role }
            }
            Step::Mute { by, name: number, change } => {
                Command::SetMuted { by: actor(by), users: vec![name(number)], change: *change }
            }
            Step::ChangeStream { name: number, owner, rtc, video_off, audio_off } => {
                // Half of them by the owner itself.
                let number = if *rtc == 0 { number } else { owner };
                Command::ChangeStream {
                    subject: Subject::User(name(number)),
                    stream: stream(self, owner, rtc),
                    video_off: *video_off,
                    audio_off: *audio_off,
                }
            }
            Step::Message { from, to } => {
                let member = |number: &u8| {
                    let member = self.conference.member_of(&name(number));
                    member.map_or_else(|| MemberId::from_random([0; 10]), |member| member.id.clone())
                };
                Command::SendMessage {
                    from: from.as_ref().map(|number| Subject::User(name(number))),
                    to: to.as_ref().map(|to| to.iter().map(member).collect()),
                    body: "hello".into(),
                }
            }
            Step::Issue { name: number } => Command::IssueTicket { by: Actor::App, user: Some(name(number)) },
            Step::Configure { by, password, limits, role, metadata } => Command::Configure {
                by: actor(by),
                password: password.map(self::password),
                limits: *limits,
                mem_default_role: *role,
                metadata: metadata.map(object),
            },
            Step::ChangeMember { name: number, nick_name, ext } => Command::ChangeMember {
                subject: Subject::User(name(number)),
                nick_name: nick_name.map(|number| (number > 0).then(|| format!("nick {number}"))),
                ext: ext.map(object),
            },
            Step::Declare { name: number, rtc, kind, video_off } => Command::DeclareStream {
                subject: Subject::User(name(number)),
                rtc_id: RtcId::parse(&format!("r{rtc}")).unwrap(),
                kind: *kind,
                video_off: *video_off,
                audio_off: false,
            },
            Step::Undeclare { by, owner, rtc } => {
                Command::UndeclareStream { by: actor(by), stream: stream(self, owner, rtc) }
            }
            Step::Flows { owner, rtc, format, replaced } => Command::MediaFlows {
                stream: stream(self, owner, rtc),
                format: format.clone(),
                replaced: *replaced,
            },
            Step::Ends { owner, rtc } => {
                Command::MediaEnds { stream: stream(self, owner, rtc), reason: StreamEnd::PublisherGone }
            }
            Step::End => Command::End { by: Actor::App },
            Step::EndIfEmpty => Command::EndIfEmpty,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_sequence_of_commands_keeps_the_laws(
        is_voip in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut room = if is_voip { Room::voip(RoomType::Video) } else { Room::new() };
        let first_tickets: BTreeMap<_, _> =
            (0..6).map(|number| (number, room.ticket(Some(&format!("u{number}")), Role::Admin))).collect();
        let mut muted = BTreeMap::new();
        for step in &steps {
            let command = room.command(step, &first_tickets);
            let before = room.conference.clone();
            let logged = room.log.len();
            if room.run(&command).is_err() {
                prop_assert_eq!(&room.conference, &before);
                prop_assert_eq!(room.log.len(), logged);
            } else if let Command::SetMuted { users, change, .. } = &command {
                for user in users {
                    let muted: &mut Muted = muted.entry(user.clone()).or_default();
                    muted.audio = change.audio.unwrap_or(muted.audio);
                    muted.video = change.video.unwrap_or(muted.video);
                }
            }
            check_mutes(&room.conference, &muted);
            check_state(&before, &room.conference, &command);
        }
        check_pairs(&room.log);

        let mut replayed = Conference::found(&room.log[0]).unwrap();
        for recorded in &room.log[1..] {
            replayed.replay(recorded);
        }
        prop_assert_eq!(&replayed, &room.conference);
        let text = serde_json::to_string(&room.log).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Vec<Recorded>>(&text).unwrap(), &room.log);
        let snapshot = serde_json::to_string(&room.conference).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Conference>(&snapshot).unwrap(), &room.conference);
    }
}
