//! Commands by chance, and what holds whatever they are.

use std::collections::BTreeMap;

use proptest::option::of as option;
use proptest::prelude::*;

use super::laws::{check_mutes, check_pairs, check_state};
use super::*;

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
