//! The conference as a whole: single behaviours by name. `sequences` drives it by chance and holds the `laws` against it.

mod change;
mod laws;
mod media;
mod sequences;

use super::*;
use crate::domain::event::{ExitReason, StreamEnd};
use crate::domain::limits::LimitsChange;
use crate::domain::media_url::{Direction, MediaRight};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::ticket::TicketClaims;
use crate::domain::voip::{RoomType, VOIP_MEMBERS_MAX, VoipRoom};

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

/// One of a few passwords; number 0 is none. Not a real hash, which takes its time.
fn password(number: u8) -> Option<PasswordHash> {
    (number > 0).then(|| serde_json::from_value(format!("hash-{number}").into()).unwrap())
}

/// One of a few objects; number 0 is the empty one.
fn object(number: u8) -> Map<String, Value> {
    (0..number).map(|key| (key.to_string(), number.into())).collect()
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
