//! Which conferences are open, by id and by app.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;

use super::room::Room;
use crate::domain::{AppId, Conference, ConferenceId};

#[derive(Default)]
struct Index {
    by_id: BTreeMap<ConferenceId, Arc<Room>>,
    by_app: BTreeMap<AppId, BTreeMap<ConferenceId, Arc<Room>>>,
}

/// The open conferences of this process.
#[derive(Default)]
pub(super) struct Rooms {
    index: RwLock<Index>,
}

impl Rooms {
    pub(super) fn find(&self, id: &ConferenceId) -> Option<Arc<Room>> {
        self.index.read().by_id.get(id).cloned()
    }

    pub(super) fn list(
        &self,
        app: &AppId,
        after: Option<&ConferenceId>,
        limit: usize,
    ) -> Vec<Arc<Conference>> {
        let index = self.index.read();
        let Some(rooms) = index.by_app.get(app) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        rooms.range((from, Bound::Unbounded)).take(limit).map(|(_, room)| room.durable()).collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<Conference>> {
        self.index.read().by_id.values().map(|room| room.durable()).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.index.read().by_id.len()
    }

    pub(super) fn count_of(&self, app: &AppId) -> usize {
        self.index.read().by_app.get(app).map_or(0, BTreeMap::len)
    }

    pub(super) fn enter(&self, room: Arc<Room>) {
        let conference = room.durable();
        let (app, id) = (conference.settings.app.clone(), conference.id().clone());
        let mut index = self.index.write();
        index.by_app.entry(app).or_default().insert(id.clone(), Arc::clone(&room));
        index.by_id.insert(id, room);
    }

    pub(super) fn leave(&self, conference: &Conference) {
        let mut index = self.index.write();
        index.by_id.remove(conference.id());
        if let Some(rooms) = index.by_app.get_mut(&conference.settings.app) {
            rooms.remove(conference.id());
            if rooms.is_empty() {
                index.by_app.remove(&conference.settings.app);
            }
        }
    }
}
