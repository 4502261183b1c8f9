//! Commands of any kind in any order against one conference, three bytes and what they need for each. What holds is what
//! the model in the domain's own tests holds it to.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tidegate::domain::conference::{
    Actor, Admission, Command, Join, MuteChange, Muted, Pictures, Subject, decide,
};
use tidegate::domain::event::{AudioFormat, ExitReason, MediaFormat, StreamEnd, StreamKind, VideoFormat};
use tidegate::domain::limits::LimitsChange;
use tidegate::domain::password::PasswordHash;
use tidegate::domain::ticket::TicketClaims;
use tidegate::domain::voip::{RoomType, VoipRoom};
use tidegate::domain::{
    AppId, Conference, ConferenceId, Created, Event, Limits, MemberId, Recorded, Role, RoomName, RtcId, Seq, StreamId,
    TicketId, Timestamp, UserName,
};
use tidegate::domain::conference::ConferenceKind;

#[path = "../../src/domain/conference/tests/laws.rs"]
mod laws;

const AT: Timestamp = Timestamp(1_800_000_000_000);
/// Few names, so that commands meet.
const USERS: u8 = 6;
/// A sequence that is longer finds nothing that a shorter one does not.
const COMMANDS_MAX: usize = 200;

struct Room<'a> {
    input: &'a [u8],
    conference: Conference,
    log: Vec<Recorded>,
    tickets: Vec<TicketClaims>,
    next_id: u64,
}

/// Fails where `input` breaks what holds for any input.
pub(crate) fn check(input: &[u8]) {
    let mut room = Room::new(input);
    let mut muted = BTreeMap::new();
    for _ in 0..COMMANDS_MAX {
        if room.input.is_empty() {
            break;
        }
        let command = room.command();
        let before = room.conference.clone();
        match decide(&room.conference, &command) {
            Err(_) => {}
            Ok(events) => {
                for event in events {
                    room.log.push(room.conference.record(event, AT));
                }
                note_mutes(&mut muted, &command);
            }
        }
        laws::check_mutes(&room.conference, &muted);
        laws::check_state(&before, &room.conference, &command);
    }
    laws::check_pairs(&room.log);
    let mut replayed = Conference::found(&room.log[0]).expect("a log begins with a creation");
    room.log[1..].iter().for_each(|recorded| replayed.replay(recorded));
    assert_eq!(replayed, room.conference);
    let text = serde_json::to_string(&room.log).expect("JSON");
    assert_eq!(serde_json::from_str::<Vec<Recorded>>(&text).expect("JSON"), room.log);
    let text = serde_json::to_string(&room.conference).expect("JSON");
    assert_eq!(serde_json::from_str::<Conference>(&text).expect("JSON"), room.conference);
}

fn note_mutes(muted: &mut BTreeMap<UserName, Muted>, command: &Command) {
    let Command::SetMuted { users, change, .. } = command else { return };
    for user in users {
        let muted = muted.entry(user.clone()).or_default();
        muted.audio = change.audio.unwrap_or(muted.audio);
        muted.video = change.video.unwrap_or(muted.video);
    }
}

fn password(number: u8) -> Option<PasswordHash> {
    (number > 0).then(|| serde_json::from_value(format!("hash-{number}").into()).expect("a text"))
}

fn object(number: u8) -> Map<String, Value> {
    (0..number).map(|key| (key.to_string(), number.into())).collect()
}

impl<'a> Room<'a> {
    fn new(input: &'a [u8]) -> Self {
        let limits =
            Limits { max_talker_count: 3, max_video_count: 2, max_audience_count: 2, max_pub_desktop_count: 1 };
        let (id, app) = (ConferenceId::from_random([1; 10]), AppId::parse("app").expect("an id"));
        let mut created = Created { limits, ..Created::new(id, app, ConferenceKind::Communication) };
        let (first, input) = input.split_first().unwrap_or((&0, input));
        if first % 4 == 3 {
            let room_type = if first % 8 == 7 { RoomType::Voice } else { RoomType::Video };
            let group_id = RoomName::parse("group").expect("a name");
            created.limits = room_type.limits(limits);
            created.voip = Some(VoipRoom { group_id, room_type });
        }
        let (conference, first) = Conference::create(created, AT);
        Self { input, conference, log: vec![first], tickets: Vec::new(), next_id: 0 }
    }

    fn byte(&mut self) -> u8 {
        let (first, rest) = self.input.split_first().unwrap_or((&0, self.input));
        self.input = rest;
        *first
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn option<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.below(3) == 0 { None } else { Some(make(self)) }
    }

    fn random(&mut self) -> [u8; 10] {
        self.next_id += 1;
        let mut bits = [0; 10];
        bits[2..].copy_from_slice(&self.next_id.to_be_bytes());
        bits
    }

    fn user(&mut self) -> UserName {
        let number = self.below(USERS + 2);
        // A guest's name, as a client may say it.
        let name = if number < USERS { format!("u{number}") } else { format!("guest-{}", number - USERS + 1) };
        UserName::parse(&name).expect("a name")
    }

    fn users(&mut self) -> Vec<UserName> {
        (0..=self.below(3)).map(|_| self.user()).collect()
    }

    fn role(&mut self) -> Role {
        [Role::Audience, Role::Talker, Role::Admin][usize::from(self.below(3))]
    }

    /// A member that is inside, was, or never was, and one of its stays.
    fn subject(&mut self) -> Subject {
        if self.flag() {
            return Subject::User(self.user());
        }
        let id = self.member();
        let epoch = self.conference.members.get(&id).map_or(Seq(1), |member| member.epoch);
        let epoch = Seq(epoch.0.saturating_sub(u64::from(self.below(2))));
        Subject::Member { id, epoch }
    }

    fn member(&mut self) -> MemberId {
        let user = self.user();
        let inside = self.conference.member_of(&user).map(|member| member.id.clone());
        inside.unwrap_or_else(|| {
            let mut bits = [0; 10];
            bits[9] = self.byte();
            MemberId::from_random(bits)
        })
    }

    fn actor(&mut self) -> Actor {
        match self.below(3) {
            0 => Actor::App,
            1 => Actor::Member(self.subject()),
            _ => Actor::Ticket(self.ticket()),
        }
    }

    /// A new ticket, or one of those that were issued before.
    fn ticket(&mut self) -> TicketClaims {
        let pick = usize::from(self.byte());
        if pick % 2 == 1
            && let Some(ticket) = self.tickets.get(pick / 2 % self.tickets.len().max(1))
        {
            return ticket.clone();
        }
        let ticket = TicketClaims {
            id: TicketId::from_random(self.random()),
            app: self.conference.settings.app.clone(),
            conference: self.conference.id().clone(),
            user: self.option(Self::user).filter(|user| !user.is_guest()),
            role: self.role(),
            seq: self.conference.seq,
            expires_at: AT.plus_ms(1000),
        };
        self.tickets.push(ticket.clone());
        ticket
    }

    fn rtc(&mut self) -> RtcId {
        RtcId::parse(&format!("r{}", self.below(3))).expect("an id")
    }

    fn stream(&mut self) -> StreamId {
        let owner = self.member();
        StreamId::new(&self.rtc(), &owner)
    }

    fn format(&mut self) -> MediaFormat {
        let size = self.byte();
        MediaFormat {
            video: self.flag().then(|| VideoFormat {
                codec: "h264".to_owned(),
                width: (size > 99).then_some(u32::from(size)),
                height: None,
            }),
            audio: self.flag().then(AudioFormat::default),
        }
    }

    fn places(&mut self) -> Option<u32> {
        self.option(|room| u32::from(room.below(5)))
    }

    fn join(&mut self) -> Command {
        let admission = match self.below(4) {
            0 => Admission::Password { user: self.user(), verified: password(self.below(3)) },
            1 => Admission::App { user: self.user() },
            2 => Admission::Signature { user: self.user() },
            _ => Admission::Ticket { ticket: self.ticket(), shown_by: self.option(Self::user) },
        };
        Command::Join(Box::new(Join {
            member: MemberId::from_random(self.random()),
            admission,
            nick_name: None,
            ext: Map::new(),
            mini_program: self.flag(),
            role: self.option(Self::role),
        }))
    }

    fn configure(&mut self) -> Command {
        Command::Configure {
            by: self.actor(),
            password: self.option(|room| password(room.below(3))),
            limits: LimitsChange {
                max_talker_count: self.places(),
                max_video_count: self.places(),
                max_audience_count: self.places(),
                max_pub_desktop_count: self.places(),
            },
            mem_default_role: self.option(Self::role),
            metadata: self.option(|room| object(room.below(3))),
        }
    }

    fn command(&mut self) -> Command {
        match self.below(24) {
            0..=4 => self.join(),
            5 => Command::ChangeMember {
                subject: self.subject(),
                nick_name: self.option(|room| room.flag().then(|| "nick".to_owned())),
                ext: self.option(|room| object(room.below(3))),
            },
            6 => Command::Leave { subject: self.subject(), reason: ExitReason::Normal },
            7 => Command::Leave { subject: self.subject(), reason: ExitReason::NoAnswer },
            8 => Command::Kick { by: self.actor(), users: self.users() },
            9 | 10 => Command::SetRoles { by: self.actor(), users: self.users(), role: self.role() },
            11 => {
                let by = self.actor();
                let users = self.users();
                let change = MuteChange { audio: self.option(Self::flag), video: self.option(Self::flag) };
                Command::SetMuted { by, users, change }
            }
            12 => Command::IssueTicket { by: self.actor(), user: self.option(Self::user) },
            13 => Command::TakeTicket { user: self.user() },
            14..=16 => Command::DeclareStream {
                subject: self.subject(),
                rtc_id: self.rtc(),
                kind: if self.flag() { StreamKind::Desktop } else { StreamKind::Camera },
                video_off: self.flag(),
                audio_off: self.flag(),
            },
            17 => Command::ChangeStream {
                subject: self.subject(),
                stream: self.stream(),
                video_off: self.option(Self::flag),
                audio_off: self.option(Self::flag),
            },
            18 => Command::UndeclareStream { by: self.actor(), stream: self.stream() },
            19 | 20 => {
                Command::MediaFlows { stream: self.stream(), format: self.format(), replaced: self.flag() }
            }
            21 => Command::MediaEnds { stream: self.stream(), reason: StreamEnd::PublisherGone },
            22 => self.configure(),
            _ => match self.below(8) {
                0 => Command::End { by: self.actor() },
                1 => Command::EndIfEmpty,
                _ => Command::SendMessage {
                    from: self.option(Self::subject),
                    to: self.option(|room| (0..room.below(3)).map(|_| room.member()).collect()),
                    body: "hello".into(),
                },
            },
        }
    }
}
