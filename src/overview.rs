//! What each app has going on, and had over the last hour: one sample at each look, in a ring of fixed length. An operator who comes
//! after the alarm finds what led to it. Nothing of this is durable: a restart begins a new hour.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::conferences::Conferences;
use crate::domain::{AppId, ConferenceId, Direction, Timestamp};
use crate::hub::{SessionId, SessionTable};

/// Samples of an app: at one in ten seconds an hour, about 25 KiB.
const SAMPLES_MAX: usize = 360;
/// Apps of which samples are kept. A gateway serves a handful; a thousand are 25 MiB.
const APPS_MAX: usize = 1000;
/// Sessions looked at in one go, so that the table is not locked for long.
const SESSIONS_PER_PAGE: usize = 1000;

/// What an app has going on at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Conferences that are open.
    pub conferences: u32,
    /// Members inside.
    pub members: u32,
    /// Streams whose media flows.
    pub streams: u32,
    /// Sessions of members that play. Who looks on for the app is none of them.
    pub viewers: u32,
}

/// What an app had going on at a look, and what moved since the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// When it was looked.
    pub at: Timestamp,
    /// What there was.
    pub counts: Counts,
    /// Bits a second from publishers.
    pub received_bps: u64,
    /// Bits a second handed out to viewers.
    pub sent_bps: u64,
    /// Requests with a credential of the app that were refused.
    pub refused: u32,
}

impl Sample {
    fn is_empty(&self) -> bool {
        *self == Self { at: self.at, ..Self::default() }
    }
}

#[derive(Debug, Default)]
struct Traffic {
    received_bytes: u64,
    sent_bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    histories: BTreeMap<AppId, VecDeque<Sample>>,
    /// Refusals since the last look.
    refused: BTreeMap<AppId, u32>,
    /// What each session had moved at the last look. What one moves after its last look is not told.
    moved: BTreeMap<SessionId, u64>,
    looked_at: Option<Timestamp>,
}

/// Remembers what each app had going on.
#[derive(Debug, Default)]
pub struct Overview {
    state: Mutex<State>,
}

impl Overview {
    /// Counts a request that was refused to a genuine credential of `app`.
    pub fn refused(&self, app: &AppId) {
        let refused = &mut self.state.lock().refused;
        if refused.contains_key(app) || refused.len() < APPS_MAX {
            let count = refused.entry(app.clone()).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// What `app` had going on, the oldest sample first.
    pub fn history(&self, app: &AppId) -> Vec<Sample> {
        self.state.lock().histories.get(app).into_iter().flatten().copied().collect()
    }

    /// Looks every `pause` until `stop`.
    pub async fn run(
        self: Arc<Self>,
        conferences: Arc<Conferences>,
        sessions: SessionTable,
        pause: Duration,
        stop: CancellationToken,
    ) {
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.look(&conferences, &sessions, clock::now(), clock::steady()),
            }
        }
    }

    /// Takes a sample of every app. `steady` measures the time since the last one.
    fn look(&self, conferences: &Conferences, sessions: &SessionTable, now: Timestamp, steady: Timestamp) {
        let (mut counts, apps) = count_conferences(conferences);
        let mut traffic = BTreeMap::<AppId, Traffic>::new();
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut moved = BTreeMap::new();
        each_session(sessions, |session| {
            let bytes = session.counters().bytes();
            moved.insert(session.id(), bytes);
            let Some(app) = apps.get(&session.right().conference) else { return };
            let since = bytes.saturating_sub(state.moved.get(&session.id()).copied().unwrap_or_default());
            let traffic = traffic.entry(app.clone()).or_default();
            match session.right().direction {
                Direction::Publish => traffic.received_bytes += since,
                Direction::Play => traffic.sent_bytes += since,
            }
            note_viewer(&mut counts, app, session);
        });
        state.moved = moved;
        let ms = state.looked_at.replace(steady).map_or(0, |before| steady.0.saturating_sub(before.0));
        let per_second = |bytes: u64| bytes.saturating_mul(8000).checked_div(ms).unwrap_or_default();
        let mut refused = std::mem::take(&mut state.refused);
        let known: Vec<_> =
            counts.keys().chain(refused.keys()).chain(state.histories.keys()).cloned().collect();
        for app in known {
            let sampled = |history: &VecDeque<Sample>| history.back().is_some_and(|last| last.at == now);
            if state.histories.get(&app).is_some_and(sampled) {
                continue;
            }
            let traffic = traffic.remove(&app).unwrap_or_default();
            let sample = Sample {
                at: now,
                counts: counts.remove(&app).unwrap_or_default(),
                received_bps: per_second(traffic.received_bytes),
                sent_bps: per_second(traffic.sent_bytes),
                refused: refused.remove(&app).unwrap_or_default(),
            };
            keep(&mut state.histories, app, sample);
        }
        // An app of which there is nothing to tell is not remembered.
        state.histories.retain(|_, history| !history.iter().all(Sample::is_empty));
    }
}

fn keep(histories: &mut BTreeMap<AppId, VecDeque<Sample>>, app: AppId, sample: Sample) {
    if !histories.contains_key(&app) && histories.len() >= APPS_MAX {
        return;
    }
    let history = histories.entry(app).or_default();
    if history.len() >= SAMPLES_MAX {
        history.pop_front();
    }
    history.push_back(sample);
}

/// What `app` has going on now.
pub fn counts_now(app: &AppId, conferences: &Conferences, sessions: &SessionTable) -> Counts {
    let (mut counts, apps) = count_conferences(conferences);
    each_session(sessions, |session| {
        if let Some(of) = apps.get(&session.right().conference) {
            note_viewer(&mut counts, of, session);
        }
    });
    counts.remove(app).unwrap_or_default()
}

fn count_conferences(conferences: &Conferences) -> (BTreeMap<AppId, Counts>, BTreeMap<ConferenceId, AppId>) {
    let (mut counts, mut apps) = (BTreeMap::<AppId, Counts>::new(), BTreeMap::new());
    for conference in conferences.all() {
        if conference.is_ended() {
            continue;
        }
        let app = &conference.settings.app;
        let of_app = counts.entry(app.clone()).or_default();
        let live = conference.streams.values().filter(|stream| stream.live.is_some()).count();
        of_app.conferences += 1;
        of_app.members += u32::try_from(conference.members.len()).unwrap_or(u32::MAX);
        of_app.streams += u32::try_from(live).unwrap_or(u32::MAX);
        apps.insert(conference.id().clone(), app.clone());
    }
    (counts, apps)
}

fn note_viewer(counts: &mut BTreeMap<AppId, Counts>, app: &AppId, session: &crate::hub::Session) {
    if session.right().direction == Direction::Play
        && !session.start().is_observer
        && let Some(counts) = counts.get_mut(app)
    {
        counts.viewers += 1;
    }
}

fn each_session(sessions: &SessionTable, mut look: impl FnMut(&crate::hub::Session)) {
    let mut after = None;
    loop {
        let page = sessions.page(None, after, SESSIONS_PER_PAGE);
        let Some(last) = page.last() else { return };
        after = Some(last.id());
        page.iter().for_each(|session| look(session));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppId {
        AppId::parse(name).unwrap()
    }

    async fn nothing() -> (Arc<Conferences>, SessionTable) {
        let store = Arc::new(crate::store::MemoryStore::new());
        (Conferences::open(store, vec![]).await.unwrap(), SessionTable::new(4))
    }

    #[tokio::test]
    async fn an_hour_is_kept_and_no_more_and_an_idle_app_is_forgotten() {
        let (conferences, sessions) = nothing().await;
        let overview = Overview::default();
        let look = |second: u64| {
            overview.look(&conferences, &sessions, Timestamp(second * 1000), Timestamp(second * 1000));
        };
        overview.refused(&app("one"));
        overview.refused(&app("one"));
        look(0);
        assert_eq!(overview.history(&app("one")).iter().map(|sample| sample.refused).sum::<u32>(), 2);
        assert!(overview.history(&app("two")).is_empty());
        (1..SAMPLES_MAX as u64).for_each(look);
        assert_eq!(overview.history(&app("one")).len(), SAMPLES_MAX);
        // The only sample with something in it leaves the ring.
        look(SAMPLES_MAX as u64);
        assert!(overview.history(&app("one")).is_empty());
        assert!(overview.state.lock().histories.is_empty());
    }

    #[tokio::test]
    async fn the_number_of_apps_is_bounded() {
        let (conferences, sessions) = nothing().await;
        let overview = Overview::default();
        (0..APPS_MAX + 10).for_each(|number| overview.refused(&app(&format!("app{number}"))));
        overview.look(&conferences, &sessions, Timestamp(1), Timestamp(1));
        (0..10).for_each(|number| overview.refused(&app(&format!("late{number}"))));
        overview.look(&conferences, &sessions, Timestamp(2), Timestamp(2));
        assert_eq!(overview.state.lock().histories.len(), APPS_MAX);
    }
}
