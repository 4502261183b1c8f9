//! Conferences that are asked for with an idempotency key.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::creation::{Whereabouts, create, find_or_adopt};
use super::quota;
use super::room::Shared;
use super::{closed, store_unavailable};
use crate::domain::conference::another_body;
use crate::domain::{Conference, ConferenceId, Created, Reason, Refusal, Timestamp};

/// Creations with a mark that are under way: one after the other for one id.
#[derive(Default)]
pub(super) struct MarkedCreations(Mutex<BTreeMap<ConferenceId, Asked>>);

#[derive(Default)]
struct Asked {
    by: usize,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Gives up its place when dropped.
struct Turn<'a> {
    turns: &'a MarkedCreations,
    id: &'a ConferenceId,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl MarkedCreations {
    fn of<'a>(&'a self, id: &'a ConferenceId) -> Turn<'a> {
        let mut turns = self.0.lock();
        let asked = turns.entry(id.clone()).or_default();
        asked.by += 1;
        Turn { turns: self, id, lock: Arc::clone(&asked.turn) }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.turns.0.lock();
        if let Some(asked) = turns.get_mut(self.id) {
            asked.by -= 1;
            if asked.by == 0 {
                turns.remove(self.id);
            }
        }
    }
}

/// The conference of that id with the same mark; made now if there is none.
pub(super) async fn repeated(
    shared: &Arc<Shared>,
    created: Created,
    now: Timestamp,
) -> Result<Arc<Conference>, Refusal> {
    let (id, mark) = (created.id.clone(), created.mark.clone());
    let turn = shared.marked_creations.of(&id);
    let _turn = turn.lock.lock().await;
    let known = async || {
        let found = find_or_adopt(shared, &id).await.map_err(|error| store_unavailable(&id, &error))?;
        match found {
            Whereabouts::Open(known) if known.settings.mark == mark => Ok(Some(known)),
            Whereabouts::Open(_) => Err(another_body()),
            Whereabouts::Ended => Err(closed()),
            Whereabouts::Absent => Ok(None),
        }
    };
    if let Some(known) = known().await? {
        return Ok(known);
    }
    let mut permit = quota::permit(shared, &created.app, now).await?;
    match create(&mut permit, created, None, now).await {
        Ok(done) => Ok(done.conference),
        // Another process was quicker, or the store kept the record and did not say so.
        Err(refusal) if refusal.reason == Reason::StoreUnavailable => known().await?.ok_or(refusal),
        Err(refusal) => Err(refusal),
    }
}
