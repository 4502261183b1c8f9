use serde_json::{Map, Value};

use super::ring::{ENTRIES_MAX, Next, Ring};
use super::*;
use crate::domain::conference::ConferenceKind;
use crate::domain::{Created, Event, Limits, Role, Timestamp, UserName};

fn live() -> Conference {
    let created = Created {
        id: ConferenceId::parse("TS_a").unwrap(),
        app: AppId::parse("app1").unwrap(),
        kind: ConferenceKind::Live,
        password: None,
        rec: false,
        rec_merge: false,
        limits: Limits::default(),
        mem_default_role: Role::Audience,
        support_wechat_mini_program: true,
        metadata: Map::new(),
        creator: None,
        room_name: None,
        voip: None,
        mark: None,
    };
    Conference::create(created, Timestamp(0)).0
}

fn id(name: &str) -> MemberId {
    MemberId::parse(&format!("MS_{name}")).unwrap()
}

/// The entry of `event` as the next one of `conference`.
fn entry(conference: &mut Conference, event: Event) -> Option<Entry> {
    let recorded = Recorded { seq: conference.seq.next(), at: Timestamp(0), event };
    fold(conference, &recorded)
}

fn joined(name: &str, role: Role) -> Event {
    let user = UserName::parse(name).unwrap();
    Event::MemberJoined { member: id(name), user, role, nick_name: None, ext: Map::new(), guest_ticket: None }
}

fn role(name: &str, role: Role) -> Event {
    Event::RoleChanged { user: UserName::parse(name).unwrap(), guest_ticket: None, role }
}

fn kind(entry: &Entry, who: &Who) -> Option<String> {
    let frame = entry.frame(&ConferenceId::parse("TS_a").unwrap(), who, Seq(1))?;
    Some(frame.value["type"].as_str().unwrap().to_owned())
}

#[test]
fn the_audience_of_a_live_conference_is_silent_for_members_until_it_speaks() {
    let mut conference = live();
    let anna = Who::Member { member: id("anna"), epoch: Seq(2) };
    let seen = |conference: &mut Conference, event| {
        let entry = entry(conference, event).unwrap();
        (kind(&entry, &anna), kind(&entry, &Who::App).unwrap())
    };
    let told = |word: &str| (Some(word.to_owned()), word.to_owned());
    let silent = |word: &str| (None, word.to_owned());
    assert_eq!(seen(&mut conference, joined("anna", Role::Talker)), told("memberJoined"));
    assert_eq!(seen(&mut conference, joined("boris", Role::Audience)), silent("memberJoined"));
    assert_eq!(seen(&mut conference, role("boris", Role::Talker)), told("roleChanged"));
    assert_eq!(seen(&mut conference, role("boris", Role::Audience)), told("roleChanged"));
    let exit = Event::MemberExited { member: id("boris"), reason: ExitReason::Normal };
    assert_eq!(seen(&mut conference, exit), silent("memberExited"));
    assert_eq!(entry(&mut conference, role("nobody", Role::Talker)), None);
}

#[test]
fn who_leaves_is_told_so_last_and_a_new_role_is_its_owners() {
    let mut conference = live();
    entry(&mut conference, joined("boris", Role::Audience));
    let boris = Who::Member { member: id("boris"), epoch: Seq(2) };
    let confr = ConferenceId::parse("TS_a").unwrap();
    let promoted = entry(&mut conference, role("boris", Role::Talker)).unwrap();
    assert!(promoted.frame(&confr, &boris, Seq(2)).unwrap().is_own_role);
    assert!(!promoted.frame(&confr, &Who::App, Seq(2)).unwrap().is_own_role);
    let exit = Event::MemberExited { member: id("boris"), reason: ExitReason::Kicked };
    let exit = entry(&mut conference, exit).unwrap();
    let own = exit.frame(&confr, &boris, Seq(3)).unwrap();
    assert!(own.is_last);
    let other = exit.frame(&confr, &Who::App, Seq(3)).unwrap();
    assert!(!other.is_last);
    assert_eq!((&own.value["type"], &own.value["reason"]), (&"conferenceExit".into(), &12.into()));
    assert_eq!((&own.value["seq"], &own.value["prev"]), (&Value::from(4), &Value::from(3)));
    assert_eq!(other.value["member"]["name"], "boris");
    let end = entry(&mut conference, Event::ConferenceEnded { members: vec![] }).unwrap();
    let last = end.frame(&confr, &Who::App, Seq(4)).unwrap();
    assert!(last.is_last);
    assert_eq!(last.value["reason"], 11);
}

#[test]
fn a_cursor_that_falls_behind_the_ring_is_told() {
    let mut conference = live();
    let mut ring = Ring::default();
    ring.reset(Seq(1));
    assert_eq!(ring.after(Seq(1)), Next::UpToDate);
    assert_eq!(ring.after(Seq(0)), Next::Gone);
    for number in 0..=ENTRIES_MAX {
        ring.push(entry(&mut conference, joined(&format!("u{number}"), Role::Audience)).unwrap());
    }
    assert_eq!(ring.after(Seq(1)), Next::Gone);
    assert!(matches!(ring.after(Seq(2)), Next::Entry(entry) if entry.seq == Seq(3)));
    assert_eq!(ring.after(conference.seq), Next::UpToDate);
}
