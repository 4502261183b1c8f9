//! Members: who gives a sign of life, and who counts as gone. Conferences: which are empty for too long.
//!
//! A sign of life is an open media session or event socket, or a heartbeat. Times are measured by the monotonic clock in steps of a second,
//! which is finer than any network hiccup that they are to forgive. Nothing of this is in the log: after a restart everybody gets the
//! time of a newcomer again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::conferences::{Conferences, Watcher};
use crate::domain::conference::Subject;
use crate::domain::event::ExitReason;
use crate::domain::{Command, Conference, ConferenceId, Event, MemberId, Reason, Recorded, Seq};
use crate::hub::{Protocol, SessionStart, SessionTable};

/// How often it is looked who is there.
const TICK: Duration = Duration::from_secs(1);
/// A gap between two looks after which the gateway itself was away (suspended, stopped), and not its members.
const OWN_ABSENCE: Duration = Duration::from_secs(5);
/// How long a command that found the store down waits before it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Commands under way at once: they share the store's commits and leave room for the members' own.
const COMMANDS_MAX: usize = 64;
/// Sessions looked at in one go, so that the table is not locked for long.
const SESSIONS_PER_PAGE: usize = 1000;

/// How long what may be silent.
#[derive(Debug, Clone, Copy)]
pub struct ContactTimes {
    /// A member from its join to its first sign of life.
    pub first_contact: Duration,
    /// A member between two signs of life.
    pub member_timeout: Duration,
    /// A conference from its creation to its first member.
    pub unused_conference: Duration,
    /// A conference after its last member left.
    pub empty_conference: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Contact {
    epoch: Seq,
    until: Instant,
}

#[derive(Debug, Default)]
struct Table {
    members: BTreeMap<(ConferenceId, MemberId), Contact>,
    /// Conferences without a member, and when they end for it.
    empty: BTreeMap<ConferenceId, Instant>,
}

/// Who is to be heard of until when.
pub struct Contacts {
    times: ContactTimes,
    table: Mutex<Table>,
    present: Mutex<Vec<Arc<dyn Present>>>,
}

/// Knows members that are there by what they hold open, such as event sockets.
pub trait Present: Send + Sync {
    /// Names each of them, with the stay that it holds open.
    fn each_present(&self, tell: &mut dyn FnMut(&ConferenceId, &MemberId, Seq));
}

impl Contacts {
    /// Nobody yet. To be registered as a watcher before conferences are opened.
    pub fn new(times: ContactTimes) -> Self {
        Self { times, table: Mutex::default(), present: Mutex::default() }
    }

    /// Whoever `present` names counts as there, from now on.
    pub fn count_as_present(&self, present: Arc<dyn Present>) {
        self.present.lock().push(present);
    }

    /// Gives everybody who is in a conference after a restart the time of a newcomer.
    pub fn expect_everyone(&self, conferences: &Conferences) {
        let now = Instant::now();
        let mut table = self.table.lock();
        for conference in conferences.all() {
            if conference.members.is_empty() {
                let until = now + self.times.unused_conference.max(self.times.empty_conference);
                table.empty.insert(conference.id().clone(), until);
            }
            for member in conference.members.values() {
                let key = (conference.id().clone(), member.id.clone());
                table
                    .members
                    .insert(key, Contact { epoch: member.epoch, until: now + self.times.first_contact });
            }
        }
    }

    /// A sign of life. Of a member that is not expected, or of an earlier stay, it means nothing.
    pub fn heard_of(&self, conference: &ConferenceId, member: &MemberId, epoch: Seq) {
        let until = Instant::now() + self.times.member_timeout;
        let key = (conference.clone(), member.clone());
        if let Some(contact) =
            self.table.lock().members.get_mut(&key).filter(|contact| contact.epoch == epoch)
        {
            contact.until = until;
        }
    }

    /// Looks every second until `stop`, and lets go of whoever is overdue.
    pub async fn run(
        self: Arc<Self>,
        conferences: Arc<Conferences>,
        sessions: SessionTable,
        stop: CancellationToken,
    ) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut commands = JoinSet::new();
        let mut last_look = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let now = Instant::now();
            let away = now.saturating_duration_since(last_look);
            last_look = now;
            if away > OWN_ABSENCE {
                tracing::warn!(?away, "the gateway itself was away; everybody gets that time again");
                self.forgive(away);
            }
            self.note_sessions(&sessions);
            let presents = self.present.lock().clone();
            for present in presents {
                present
                    .each_present(&mut |conference, member, epoch| self.heard_of(conference, member, epoch));
            }
            while commands.try_join_next().is_some() {}
            for (conference, command) in self.take_overdue(now, COMMANDS_MAX.saturating_sub(commands.len())) {
                let conferences = Arc::clone(&conferences);
                commands.spawn(async move { carry_out(&conferences, &conference, command).await });
            }
        }
        while commands.join_next().await.is_some() {}
    }

    fn forgive(&self, away: Duration) {
        let mut table = self.table.lock();
        table.members.values_mut().for_each(|contact| contact.until += away);
        table.empty.values_mut().for_each(|until| *until += away);
    }

    fn note_sessions(&self, sessions: &SessionTable) {
        let mut after = None;
        loop {
            let page = sessions.page(None, after, SESSIONS_PER_PAGE);
            let Some(last) = page.last() else { return };
            after = Some(last.id());
            for session in page {
                let SessionStart { protocol, is_observer, .. } = session.start();
                // Who looks on for the app says nothing of the member by whose right it does, and the table of relays tells
                // whom it keeps.
                if *is_observer || *protocol == Protocol::Relay {
                    continue;
                }
                let right = session.right();
                self.heard_of(&right.conference, &right.member, right.epoch);
            }
        }
    }

    /// What is to be done about whoever is overdue: at most `count` commands. Each is given again later unless its event
    /// takes it off the table.
    fn take_overdue(&self, now: Instant, count: usize) -> Vec<(ConferenceId, Command)> {
        let mut table = self.table.lock();
        let mut commands = Vec::new();
        for ((conference, member), contact) in &mut table.members {
            if contact.until <= now && commands.len() < count {
                contact.until = now + RETRY;
                let subject = Subject::Member { id: member.clone(), epoch: contact.epoch };
                let command = Command::Leave { subject, reason: ExitReason::NoAnswer };
                commands.push((conference.clone(), command));
            }
        }
        for (conference, until) in &mut table.empty {
            if *until <= now && commands.len() < count {
                *until = now + RETRY;
                commands.push((conference.clone(), Command::EndIfEmpty));
            }
        }
        commands
    }
}

async fn carry_out(conferences: &Conferences, conference: &ConferenceId, command: Command) {
    match conferences.execute(conference, command, clock::now()).await {
        Ok(done) => {
            for recorded in &done.events {
                match &recorded.event {
                    Event::MemberExited { member, .. } => {
                        tracing::info!(%conference, %member, "no sign of life; the member counts as gone");
                    }
                    Event::ConferenceEnded { .. } => tracing::info!(%conference, "ended: nobody was in it"),
                    _ => {}
                }
            }
        }
        Err(refusal) if matches!(refusal.reason, Reason::StoreUnavailable | Reason::Overloaded) => {
            tracing::warn!(%conference, %refusal, "a silent member or an empty conference stays for now");
        }
        // It has ended or left meanwhile, which is as good.
        Err(_) => {}
    }
}

impl Watcher for Contacts {
    fn recorded(&self, conference: &Conference, events: &[Recorded]) {
        let now = Instant::now();
        let id = conference.id();
        let mut table = self.table.lock();
        for recorded in events {
            match &recorded.event {
                Event::ConferenceCreated(_) => {
                    table.empty.insert(id.clone(), now + self.times.unused_conference);
                }
                Event::MemberJoined { member, .. } => {
                    let contact = Contact { epoch: recorded.seq, until: now + self.times.first_contact };
                    table.members.insert((id.clone(), member.clone()), contact);
                    table.empty.remove(id);
                }
                Event::MemberExited { member, .. } => {
                    table.members.remove(&(id.clone(), member.clone()));
                }
                Event::ConferenceEnded { members } => {
                    for member in members {
                        table.members.remove(&(id.clone(), member.clone()));
                    }
                }
                _ => {}
            }
        }
        if conference.is_ended() {
            table.empty.remove(id);
        } else if conference.members.is_empty() {
            table.empty.entry(id.clone()).or_insert(now + self.times.empty_conference);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::domain::conference::{Admission, ConferenceKind, Join};
    use crate::domain::{AppId, Created, Direction, MediaRight, RtcId, StreamId, Timestamp, UserName};
    use crate::store::{AppendFault, MemoryStore};

    const TIMES: ContactTimes = ContactTimes {
        first_contact: Duration::from_secs(120),
        member_timeout: Duration::from_secs(20),
        unused_conference: Duration::from_secs(100),
        empty_conference: Duration::from_secs(60),
    };

    struct Scene {
        store: Arc<MemoryStore>,
        contacts: Arc<Contacts>,
        conferences: Arc<Conferences>,
        sessions: SessionTable,
        conference: ConferenceId,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    impl Scene {
        async fn new() -> Self {
            let store = Arc::new(MemoryStore::new());
            let contacts = Arc::new(Contacts::new(TIMES));
            let conferences = Conferences::open(store.clone(), vec![contacts.clone()]).await.unwrap();
            let created = Created::new(
                ConferenceId::from_random([1; 10]),
                AppId::parse("app").unwrap(),
                ConferenceKind::Communication,
            );
            let conference = conferences.create(created, Timestamp(0)).await.unwrap().id().clone();
            let (sessions, stop) = (SessionTable::new(4), CancellationToken::new());
            let run = contacts.clone().run(conferences.clone(), sessions.clone(), stop.clone());
            let task = tokio::spawn(run);
            Self { store, contacts, conferences, sessions, conference, stop, task }
        }

        async fn join(&self, number: u8) -> Seq {
            let admission = Admission::App { user: UserName::parse(&format!("u{number}")).unwrap() };
            let member = MemberId::from_random([number; 10]);
            let join =
                Join { member, admission, nick_name: None, ext: Map::new(), mini_program: false, role: None };
            let command = Command::Join(Box::new(join));
            self.conferences.execute(&self.conference, command, Timestamp(0)).await.unwrap().seq
        }

        fn beat(&self, number: u8, epoch: Seq) {
            self.contacts.heard_of(&self.conference, &MemberId::from_random([number; 10]), epoch);
        }

        /// The numbers of those inside, or `None` once the conference has ended.
        fn inside(&self) -> Option<Vec<u8>> {
            let conference = self.conferences.all().into_iter().next()?;
            let is_inside =
                |number: &u8| conference.members.contains_key(&MemberId::from_random([*number; 10]));
            Some((1..10).filter(is_inside).collect())
        }

        /// Lets time pass second by second, so that every look happens in its own second.
        async fn pass(&self, seconds: u64) {
            for _ in 0..seconds {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }

        async fn end(self) {
            self.stop.cancel();
            self.task.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_has_two_minutes_and_a_known_member_twenty_seconds() {
        let scene = Scene::new().await;
        scene.join(1).await;
        let heard = scene.join(2).await;
        scene.pass(100).await;
        scene.beat(2, heard);
        scene.pass(18).await;
        assert_eq!(scene.inside(), Some(vec![1, 2]));
        scene.pass(5).await;
        assert_eq!(scene.inside(), Some(vec![]), "both are overdue, each by its own time");
        scene.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeats_and_media_keep_a_member_and_a_beat_of_an_earlier_stay_does_not() {
        let scene = Scene::new().await;
        let beating = scene.join(1).await;
        let playing = scene.join(2).await;
        let stale = scene.join(3).await;
        let owner = MemberId::from_random([1; 10]);
        let right = MediaRight {
            conference: scene.conference.clone(),
            member: MemberId::from_random([2; 10]),
            epoch: playing,
            direction: Direction::Play,
            stream: StreamId::new(&RtcId::parse("cam").unwrap(), &owner),
            declared: Seq(9),
        };
        let peer = "127.0.0.1:9".parse().unwrap();
        let start = SessionStart {
            right,
            protocol: Protocol::Rtmp,
            peer,
            url_key: [0; 4],
            at: Timestamp(0),
            is_observer: false,
        };
        let session = scene.sessions.enter(start);
        for _ in 0..20 {
            scene.pass(10).await;
            scene.beat(1, beating);
            scene.beat(3, Seq(stale.0 - 1));
        }
        assert_eq!(scene.inside(), Some(vec![1, 2]));
        drop(session);
        scene.pass(15).await;
        scene.beat(1, beating);
        assert_eq!(scene.inside(), Some(vec![1, 2]), "the time runs from the end of the session");
        scene.pass(10).await;
        assert_eq!(scene.inside(), Some(vec![1]));
        scene.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_conference_ends_when_nobody_comes_and_when_everybody_has_left() {
        let scene = Scene::new().await;
        scene.pass(98).await;
        assert_eq!(scene.inside(), Some(vec![]));
        scene.pass(5).await;
        assert_eq!(scene.inside(), None, "nobody came");
        scene.end().await;

        let scene = Scene::new().await;
        scene.join(1).await;
        scene.pass(119).await;
        assert_eq!(
            scene.inside(),
            Some(vec![1]),
            "somebody is in, so the time of an unused conference is void"
        );
        scene.pass(3).await;
        assert_eq!(scene.inside(), Some(vec![]));
        scene.pass(50).await;
        let late = scene.join(2).await;
        scene.pass(15).await;
        scene.beat(2, late);
        assert_eq!(scene.inside(), Some(vec![2]), "it came in time");
        scene.pass(30 + 65).await;
        assert_eq!(scene.inside(), None);
        scene.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_restart_everybody_has_the_time_of_a_newcomer() {
        let scene = Scene::new().await;
        let epoch = scene.join(1).await;
        scene.beat(1, epoch);
        let contacts = Arc::new(Contacts::new(TIMES));
        let conferences = Conferences::open(scene.store.clone(), vec![contacts.clone()]).await.unwrap();
        contacts.expect_everyone(&conferences);
        assert!(contacts.take_overdue(Instant::now() + Duration::from_secs(119), 9).is_empty());
        assert_eq!(contacts.take_overdue(Instant::now() + Duration::from_secs(121), 9).len(), 1);
        scene.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_down_postpones_and_the_gateways_own_absence_is_forgiven() {
        let scene = Scene::new().await;
        scene.join(1).await;
        scene.store.faults().next_appends(3, AppendFault::NotKept);
        scene.pass(122).await;
        assert_eq!(scene.inside(), Some(vec![1]), "the first attempt found the store down");
        scene.pass(6).await;
        assert_eq!(scene.inside(), Some(vec![]));

        let epoch = scene.join(2).await;
        scene.beat(2, epoch);
        tokio::time::advance(Duration::from_secs(3600)).await;
        scene.pass(2).await;
        assert_eq!(
            scene.inside(),
            Some(vec![2]),
            "an hour in which the process stood still is not the member's"
        );
        scene.end().await;
    }
}
