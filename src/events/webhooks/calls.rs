//! Turns under way for all apps, shared out so that the hanging receivers of one app leave places to the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::AppId;

/// One app holds at most one of so many places.
const APP_PART: usize = 4;
/// Apps whose places are counted before those that hold none are looked for.
const APPS_KNOWN_MAX: usize = 1024;

/// The places of all apps.
pub(super) struct Calls {
    all: Arc<Semaphore>,
    per_app: usize,
    apps: Mutex<BTreeMap<AppId, Arc<Semaphore>>>,
}

/// A place, free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of_app: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Calls {
    /// Places for `max` turns at once.
    pub(super) fn new(max: usize) -> Self {
        let per_app = (max / APP_PART).max(1);
        Self { all: Arc::new(Semaphore::new(max)), per_app, apps: Mutex::default() }
    }

    /// Waits for a place. Fair: whoever of an app waits longest is next, and whichever app does.
    pub(super) async fn place(&self, app: &AppId) -> Place {
        let of_app = self.of(app);
        // The app's first: what waits for its own app takes nothing from the others. Neither is ever closed.
        let of_app = of_app.acquire_owned().await.ok();
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok();
        Place { _of_app: of_app, _of_all: of_all }
    }

    fn of(&self, app: &AppId) -> Arc<Semaphore> {
        let mut apps = self.apps.lock();
        if apps.len() >= APPS_KNOWN_MAX {
            // Whoever holds a place or waits for one holds the semaphore too.
            apps.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let places = apps.entry(app.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.per_app)));
        Arc::clone(places)
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
    fn one_app_holds_a_part_and_leaves_the_rest_to_others() {
        let calls = Calls::new(8);
        let place = |number| calls.place(&app(number)).now_or_never();
        let held: Vec<_> = (0..2).map(|_| place(1).unwrap()).collect();
        assert!(place(1).is_none(), "its part is taken");
        let others: Vec<_> =
            (2..5).flat_map(|number| [place(number).unwrap(), place(number).unwrap()]).collect();
        assert!(place(5).is_none(), "all are taken");
        drop(others);
        assert!(place(1).is_none());
        drop(held);
        assert!(place(1).is_some());
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
