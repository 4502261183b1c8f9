//! Changing settings and members.

use serde_json::json;

use super::*;

fn configure(password: Option<Option<PasswordHash>>, limits: LimitsChange) -> Command {
    Command::Configure { by: Actor::App, password, limits, mem_default_role: None, metadata: None }
}

fn set_limits(limits: LimitsChange) -> Command {
    configure(None, limits)
}

fn set_password(room: &mut Room, password: Option<PasswordHash>) -> Vec<Event> {
    room.run(&configure(Some(password), LimitsChange::default())).unwrap()
}

fn change_member(name: &str, nick_name: Option<Option<&str>>, ext: Option<Value>) -> Command {
    Command::ChangeMember {
        subject: Subject::User(user(name)),
        nick_name: nick_name.map(|nick_name| nick_name.map(str::to_owned)),
        ext: ext.map(|ext| ext.as_object().unwrap().clone()),
    }
}

#[test]
fn a_change_tells_what_changed_and_nothing_else() {
    let mut room = Room::new();
    let change = Command::Configure {
        by: Actor::App,
        password: Some(None),
        limits: LimitsChange { max_talker_count: Some(5), ..LimitsChange::default() },
        mem_default_role: Some(Role::Talker),
        metadata: Some(object(2)),
    };
    let changed = Event::ConferenceChanged {
        password: None,
        limits: Some(Limits { max_talker_count: 5, ..limits() }),
        mem_default_role: None,
        metadata: Some(object(2)),
    };
    assert_eq!(room.run(&change), Ok(vec![changed]));
    assert_eq!(room.conference.settings.limits.max_talker_count, 5);
    assert_eq!(room.conference.settings.metadata, object(2));
    assert_eq!(room.run(&change), Ok(vec![]), "the second time nothing changes");
    assert_eq!(room.run(&configure(None, LimitsChange::default())), Ok(vec![]));
}

#[test]
fn changes_of_different_places_add_up_in_any_order() {
    let mut room = Room::new();
    room.run(&set_limits(LimitsChange { max_talker_count: Some(7), ..LimitsChange::default() })).unwrap();
    room.run(&set_limits(LimitsChange { max_audience_count: Some(8), ..LimitsChange::default() })).unwrap();
    let both = Limits { max_talker_count: 7, max_audience_count: 8, ..limits() };
    assert_eq!(room.conference.settings.limits, both);
}

#[test]
fn settings_are_changed_by_admins_and_the_app() {
    let mut room = Room::new();
    room.join("alice", Role::Admin);
    room.join("bob", Role::Talker);
    let change = |name: &str| Command::Configure {
        by: Actor::Member(Subject::User(user(name))),
        password: None,
        limits: LimitsChange::default(),
        mem_default_role: Some(Role::Audience),
        metadata: None,
    };
    assert_eq!(reason(room.run(&change("bob"))), Reason::NotAllowed);
    room.run(&change("alice")).unwrap();
    assert_eq!(room.conference.settings.mem_default_role, Role::Audience);
    room.run(&Command::End { by: Actor::App }).unwrap();
    assert_eq!(reason(room.run(&change("alice"))), Reason::ConferenceClosed);
}

#[test]
fn a_new_password_voids_joins_with_the_old_one() {
    let mut room = Room::new();
    set_password(&mut room, password(1));
    let by = |verified| Admission::Password { user: user("bob"), verified };
    assert_eq!(reason(room.join_with(by(None))), Reason::WrongPassword);
    room.join_with(by(password(1))).unwrap();
    set_password(&mut room, password(2));
    assert_eq!(reason(room.join_with(by(password(1)))), Reason::WrongPassword);
    room.join_with(by(password(2))).unwrap();
    set_password(&mut room, None);
    room.join_with(by(None)).unwrap();
    assert_eq!(set_password(&mut room, None), []);
}

#[test]
fn limits_below_what_is_inside_remove_nobody_and_let_nobody_in() {
    let mut room = Room::new();
    room.join("a", Role::Talker);
    room.join("b", Role::Talker);
    room.join("c", Role::Audience);
    let stream = room.declare("a", "cam", StreamKind::Camera, false).unwrap();
    let none = LimitsChange {
        max_talker_count: Some(1),
        max_video_count: Some(0),
        max_audience_count: Some(0),
        max_pub_desktop_count: Some(0),
    };
    room.run(&set_limits(none)).unwrap();
    assert_eq!(room.conference.members.len(), 3);
    let right = room.right("a", &stream, Direction::Publish);
    assert_eq!(room.conference.media_right(&right), Ok(()));

    for (name, role, full) in
        [("d", Role::Talker, Reason::TalkersFull), ("e", Role::Audience, Reason::MembersFull)]
    {
        let ticket = room.ticket(Some(name), role);
        assert_eq!(reason(room.show(&ticket)), full);
    }
    assert_eq!(reason(room.set_role("c", Role::Talker)), Reason::TalkersFull);
    assert_eq!(reason(room.declare("b", "cam", StreamKind::Camera, false)), Reason::VideosFull);

    // Those who come back come back into their own places.
    let (talker, listener) = (room.ticket(Some("b"), Role::Talker), room.ticket(Some("c"), Role::Audience));
    room.show(&talker).unwrap();
    room.show(&listener).unwrap();
    let into_another = room.ticket(Some("b"), Role::Audience);
    assert_eq!(reason(room.show(&into_another)), Reason::MembersFull);
}

#[test]
fn a_lower_default_role_holds_from_the_next_join_on() {
    let mut room = Room::new();
    let by = |name: &str| Admission::Password { user: user(name), verified: None };
    let inside = room.join_with(by("a")).unwrap();
    let lower = Command::Configure {
        by: Actor::App,
        password: None,
        limits: LimitsChange::default(),
        mem_default_role: Some(Role::Audience),
        metadata: None,
    };
    room.run(&lower).unwrap();
    assert_eq!(room.role(&inside), Role::Talker);
    let next = room.join_with(by("b")).unwrap();
    assert_eq!(room.role(&next), Role::Audience);
}

#[test]
fn a_member_changes_what_it_says_of_itself() {
    let mut room = Room::new();
    let member = room.join("a", Role::Audience);
    let named = change_member("a", Some(Some("Anna")), Some(json!({ "hat": "red" })));
    assert_eq!(room.run(&named).unwrap().len(), 1);
    assert_eq!(room.run(&named), Ok(vec![]), "the second time nothing changes");
    let cleared = Event::MemberChanged { member: member.clone(), nick_name: Some(None), ext: None };
    assert_eq!(room.run(&change_member("a", Some(None), None)), Ok(vec![cleared]));
    let now = &room.conference.members[&member];
    assert_eq!((&now.nick_name, &now.ext["hat"]), (&None, &json!("red")));
    room.run(&change_member("a", None, Some(json!({})))).unwrap();
    assert!(room.conference.members[&member].ext.is_empty());
    assert_eq!(reason(room.run(&change_member("nobody", None, None))), Reason::NotFound);
}

#[test]
fn a_log_tells_cleared_from_untouched() {
    let texts = [
        (
            Event::ConferenceChanged {
                password: Some(None),
                limits: None,
                mem_default_role: None,
                metadata: None,
            },
            json!({ "seq": 2, "at": AT, "type": "conferenceChanged", "password": null }),
        ),
        (
            Event::MemberChanged {
                member: MemberId::parse("MS_a").unwrap(),
                nick_name: None,
                ext: Some(Map::new()),
            },
            json!({ "seq": 2, "at": AT, "type": "memberChanged", "member": "MS_a", "ext": {} }),
        ),
    ];
    for (event, text) in texts {
        let recorded = Recorded { seq: Seq(2), at: AT, event };
        assert_eq!(serde_json::to_value(&recorded).unwrap(), text);
        assert_eq!(serde_json::from_value::<Recorded>(text).unwrap(), recorded);
    }
}
