//! Turns under way for all apps, shared out so that no number of apps with hanging receivers holds back another: each has
//! some places of its own, beside those that are there for all.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::AppId;

/// One app holds at most one of so many common places.
const APP_PART: usize = 4;
/// Places that an app always finds, whatever the others hold: one target that hangs leaves another one of the same app in
/// motion, and a thousand apps that all hang hold two thousand sockets.
const OWN_PLACES: usize = 2;
/// Apps whose places are counted before those that hold none are looked for.
const APPS_KNOWN_MAX: usize = 1024;

/// The places of all apps.
pub(super) struct Calls {
    common: Arc<Semaphore>,
    per_app: usize,
    apps: Mutex<BTreeMap<AppId, Arc<Share>>>,
}

/// What one app may hold.
#[derive(Debug)]
struct Share {
    own: Arc<Semaphore>,
    /// How much of the common places.
    common: Arc<Semaphore>,
}

/// A place, free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// Keeps the app's share from being forgotten, and counted anew, while a place of it is held.
    _share: Arc<Share>,
    _permits: [Option<OwnedSemaphorePermit>; 2],
}

impl Calls {
    /// `max` common places for turns at once.
    pub(super) fn new(max: usize) -> Self {
        let per_app = (max / APP_PART).max(1);
        Self { common: Arc::new(Semaphore::new(max)), per_app, apps: Mutex::default() }
    }

    /// Waits for a place: one of the app's own, or one of those for all.
    pub(super) async fn place(&self, app: &AppId) -> Place {
        let share = self.of(app);
        let own = Arc::clone(&share.own).acquire_owned();
        let common = async {
            // The app's part first: what waits for its own app takes nothing from the others.
            let part = Arc::clone(&share.common).acquire_owned().await.ok();
            (part, Arc::clone(&self.common).acquire_owned().await.ok())
        };
        // None of them is ever closed.
        let permits = tokio::select! {
            biased;
            own = own => [own.ok(), None],
            (part, common) = common => [part, common],
        };
        Place { _share: share, _permits: permits }
    }

    fn of(&self, app: &AppId) -> Arc<Share> {
        let mut apps = self.apps.lock();
        if apps.len() >= APPS_KNOWN_MAX {
            // Whoever holds a place or waits for one holds the share too.
            apps.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let fresh = || {
            let [own, common] = [OWN_PLACES, self.per_app].map(|places| Arc::new(Semaphore::new(places)));
            Arc::new(Share { own, common })
        };
        Arc::clone(apps.entry(app.clone()).or_insert_with(fresh))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn app(number: usize) -> AppId {
        AppId::parse(&format!("app{number}")).unwrap()
    }

    #[test]
    fn however_many_apps_hang_another_finds_a_place() {
        let calls = Calls::new(8);
        let place = |number| calls.place(&app(number)).now_or_never();
        let fill = |number| std::iter::from_fn(|| place(number)).collect::<Vec<_>>();
        let mut held: Vec<_> = (1..=4).map(fill).collect();
        assert_eq!(
            held.iter().map(Vec::len).collect::<Vec<_>>(),
            [4; 4],
            "its own, and a part of the common"
        );
        let late = fill(5);
        assert_eq!(late.len(), OWN_PLACES, "its own alone: all common ones are taken");
        held.pop();
        assert!(place(1).is_none(), "the part of an app is bounded though others are free");
        assert!(place(5).is_some());
        drop((held, late));
        assert_eq!(fill(5).len(), 4);
    }

    #[test]
    fn who_waits_is_next_and_who_gives_up_takes_nothing_along() {
        let calls = Calls::new(4);
        let place = |number| calls.place(&app(number)).now_or_never();
        let mut held: Vec<_> = std::iter::from_fn(|| place(1)).collect();
        drop(calls.place(&app(1)));
        let (one, other) = (app(1), app(1));
        let (mut first, mut second) = (Box::pin(calls.place(&one)), Box::pin(calls.place(&other)));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        held.pop();
        assert!((&mut second).now_or_never().is_none() && (&mut first).now_or_never().is_some());
    }

    #[test]
    fn apps_without_a_place_are_not_remembered_for_good() {
        let calls = Calls::new(8);
        let held = calls.place(&app(0)).now_or_never();
        for number in 1..=APPS_KNOWN_MAX {
            drop(calls.place(&app(number)).now_or_never());
        }
        assert_eq!(calls.apps.lock().len(), 2);
        drop(held);
    }
}
