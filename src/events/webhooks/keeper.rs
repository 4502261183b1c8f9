//! What webhooks keep among the claims.
//!
//! | key below `webhooks` | value | written |
//! |---|---|---|
//! | `targets/<app>` | the app's list of [`Target`] | at each PUT |
//! | `cursors/<app>/<target>` | up to where everything was told, but for the lanes | at most once a second |
//! | `lanes/<app>/<target>/<conference>` | how far a conference is that lags behind the cursor | while it fails |
//! | `dead-letters/<app>/<id>` | a [`StoredDeadLetter`] | when a target is given up on |

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::lane::StoredLane;
use super::target::{Target, TargetId};
use crate::domain::{AppId, ConferenceId, Seq, Timestamp};
use crate::store::{
    ClaimError, ClaimKey, ClaimRevision, InvalidClaimKey, PAGE_ITEMS_MAX, Position, Store, StoreError,
};

/// Below this name everything of webhooks stands among the claims.
const ROOT: &str = "webhooks";
const TARGETS: &str = "targets";
const CURSORS: &str = "cursors";
const LANES: &str = "lanes";
const DEAD_LETTERS: &str = "dead-letters";

/// Why something was not kept or found.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error(transparent)]
    Key(#[from] InvalidClaimKey),
    #[error("the claim {0} cannot be read: {1}; restore the store from a backup")]
    Damaged(ClaimKey, serde_json::Error),
    #[error("cannot be written as JSON: {0}")]
    Json(serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct StoredCursor {
    position: Position,
}

/// A range of events that a target was given up on, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredDeadLetter {
    pub(super) target: TargetId,
    pub(super) conference: ConferenceId,
    pub(super) from: Seq,
    pub(super) to: Seq,
    pub(super) first_failure: Timestamp,
    pub(super) last_failure: Timestamp,
    pub(super) last_error: String,
    pub(super) attempts: u32,
    /// Whether it is on its way again.
    #[serde(default)]
    pub(super) replaying: bool,
}

fn parse<T: DeserializeOwned>(key: &ClaimKey, value: &[u8]) -> Result<T, KeepError> {
    serde_json::from_slice(value).map_err(|error| KeepError::Damaged(key.clone(), error))
}

fn text<T: Serialize>(value: &T) -> Result<Bytes, KeepError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(KeepError::Json)
}

/// The last part of a key, unescaped.
fn last_part(key: &ClaimKey) -> Option<String> {
    key.part(key.as_str().matches('/').count())
}

/// Everything below `under`, page by page.
async fn list<T: DeserializeOwned>(
    store: &dyn Store,
    under: &ClaimKey,
) -> Result<Vec<(ClaimKey, ClaimRevision, T)>, KeepError> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(under, after.as_ref(), PAGE_ITEMS_MAX).await?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(last.clone());
        for (key, claim) in page {
            let value = parse(&key, &claim.value)?;
            found.push((key, claim.revision, value));
        }
    }
}

/// Puts a value that only this process writes, whatever stands there.
async fn put_over(
    store: &dyn Store,
    key: &ClaimKey,
    known: Option<ClaimRevision>,
    value: Bytes,
) -> Result<ClaimRevision, KeepError> {
    match store.put(key, known, value.clone()).await {
        Ok(revision) => Ok(revision),
        Err(ClaimError::Conflict) => {
            let present = store.get(key).await?.map(|claim| claim.revision);
            Ok(store.put(key, present, value).await?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn delete_below(store: &dyn Store, under: &ClaimKey) -> Result<(), KeepError> {
    loop {
        let page = store.list(under, None, PAGE_ITEMS_MAX).await?;
        if page.is_empty() {
            return Ok(());
        }
        for (key, claim) in page {
            store.delete(&key, claim.revision).await?;
        }
    }
}

/// The targets of every app.
pub(super) async fn all_targets(store: &dyn Store) -> Result<Vec<(AppId, Vec<Target>)>, KeepError> {
    let lists = list(store, &ClaimKey::from_parts(&[ROOT, TARGETS])?).await?;
    let app = |key: &ClaimKey| last_part(key).and_then(|text| AppId::parse(&text).ok());
    Ok(lists.into_iter().filter_map(|(key, _, targets)| Some((app(&key)?, targets))).collect())
}

/// The targets of one app, and the revision that whoever replaces them names.
pub(super) async fn targets(
    store: &dyn Store,
    app: &AppId,
) -> Result<(Option<ClaimRevision>, Vec<Target>), KeepError> {
    let key = ClaimKey::from_parts(&[ROOT, TARGETS, app.as_str()])?;
    match store.get(&key).await? {
        Some(claim) => Ok((Some(claim.revision), parse(&key, &claim.value)?)),
        None => Ok((None, Vec::new())),
    }
}

/// Replaces the targets of one app; refused if somebody else did since `expected`.
pub(super) async fn put_targets(
    store: &dyn Store,
    app: &AppId,
    expected: Option<ClaimRevision>,
    targets: &[Target],
) -> Result<(), KeepError> {
    let key = ClaimKey::from_parts(&[ROOT, TARGETS, app.as_str()])?;
    store.put(&key, expected, text(&targets)?).await?;
    Ok(())
}

/// What is kept of one target's progress.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    pub(super) app: AppId,
    pub(super) target: TargetId,
}

impl Keeper {
    fn key(&self, kind: &str, more: &[&str]) -> Result<ClaimKey, KeepError> {
        let mut parts = vec![ROOT, kind, self.app.as_str(), self.target.as_str()];
        parts.extend(more);
        Ok(ClaimKey::from_parts(&parts)?)
    }

    pub(super) async fn cursor(
        &self,
        store: &dyn Store,
    ) -> Result<Option<(Position, ClaimRevision)>, KeepError> {
        let key = self.key(CURSORS, &[])?;
        let Some(claim) = store.get(&key).await? else { return Ok(None) };
        let cursor: StoredCursor = parse(&key, &claim.value)?;
        Ok(Some((cursor.position, claim.revision)))
    }

    pub(super) async fn put_cursor(
        &self,
        store: &dyn Store,
        known: Option<ClaimRevision>,
        position: Position,
    ) -> Result<ClaimRevision, KeepError> {
        put_over(store, &self.key(CURSORS, &[])?, known, text(&StoredCursor { position })?).await
    }

    pub(super) async fn lanes(
        &self,
        store: &dyn Store,
    ) -> Result<Vec<(ConferenceId, ClaimRevision, StoredLane)>, KeepError> {
        let lanes = list(store, &self.key(LANES, &[])?).await?;
        let conference = |key: &ClaimKey| last_part(key).and_then(|text| ConferenceId::parse(&text).ok());
        Ok(lanes
            .into_iter()
            .filter_map(|(key, revision, lane)| Some((conference(&key)?, revision, lane)))
            .collect())
    }

    pub(super) async fn put_lane(
        &self,
        store: &dyn Store,
        conference: &ConferenceId,
        known: Option<ClaimRevision>,
        lane: &StoredLane,
    ) -> Result<ClaimRevision, KeepError> {
        put_over(store, &self.key(LANES, &[conference.as_str()])?, known, text(lane)?).await
    }

    /// A lane that was kept anew meanwhile stays.
    pub(super) async fn delete_lane(
        &self,
        store: &dyn Store,
        conference: &ConferenceId,
        known: ClaimRevision,
    ) -> Result<(), KeepError> {
        match store.delete(&self.key(LANES, &[conference.as_str()])?, known).await {
            Ok(()) | Err(ClaimError::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The dead letters of the target.
    pub(super) async fn dead_letters(
        &self,
        store: &dyn Store,
    ) -> Result<Vec<(String, StoredDeadLetter)>, KeepError> {
        let under = ClaimKey::from_parts(&[ROOT, DEAD_LETTERS, self.app.as_str()])?;
        let letters = list::<StoredDeadLetter>(store, &under).await?;
        let own = letters.into_iter().filter(|(_, _, letter)| letter.target == self.target);
        Ok(own.filter_map(|(key, _, letter)| Some((last_part(&key)?, letter))).collect())
    }

    /// Forgets how far the target is: when it comes back, it begins at the head.
    pub(super) async fn forget(&self, store: &dyn Store) -> Result<(), KeepError> {
        delete_below(store, &self.key(LANES, &[])?).await?;
        let key = self.key(CURSORS, &[])?;
        if let Some(claim) = store.get(&key).await? {
            store.delete(&key, claim.revision).await?;
        }
        Ok(())
    }
}

/// Every target whose progress is kept.
pub(super) async fn keepers(store: &dyn Store) -> Result<Vec<Keeper>, KeepError> {
    let cursors = list::<StoredCursor>(store, &ClaimKey::from_parts(&[ROOT, CURSORS])?).await?;
    let keeper = |key: &ClaimKey| {
        let app = AppId::parse(&key.part(2)?).ok()?;
        Some(Keeper { app, target: TargetId::parse(&key.part(3)?).ok()? })
    };
    Ok(cursors.iter().filter_map(|(key, _, _)| keeper(key)).collect())
}

fn dead_letter_key(app: &AppId, id: &str) -> Result<ClaimKey, KeepError> {
    Ok(ClaimKey::from_parts(&[ROOT, DEAD_LETTERS, app.as_str(), id])?)
}

pub(super) async fn dead_letter(
    store: &dyn Store,
    app: &AppId,
    id: &str,
) -> Result<Option<(ClaimRevision, StoredDeadLetter)>, KeepError> {
    let key = dead_letter_key(app, id)?;
    let Some(claim) = store.get(&key).await? else { return Ok(None) };
    Ok(Some((claim.revision, parse(&key, &claim.value)?)))
}

pub(super) async fn put_dead_letter(
    store: &dyn Store,
    app: &AppId,
    id: &str,
    letter: &StoredDeadLetter,
) -> Result<(), KeepError> {
    put_over(store, &dead_letter_key(app, id)?, None, text(letter)?).await?;
    Ok(())
}

/// Puts a dead letter that was read as `revision`; refused if it changed or went since.
pub(super) async fn put_dead_letter_as_read(
    store: &dyn Store,
    app: &AppId,
    id: &str,
    revision: ClaimRevision,
    letter: &StoredDeadLetter,
) -> Result<(), KeepError> {
    store.put(&dead_letter_key(app, id)?, Some(revision), text(letter)?).await?;
    Ok(())
}

pub(super) async fn delete_dead_letter(store: &dyn Store, app: &AppId, id: &str) -> Result<(), KeepError> {
    let key = dead_letter_key(app, id)?;
    let Some(claim) = store.get(&key).await? else { return Ok(()) };
    Ok(store.delete(&key, claim.revision).await?)
}

/// A page of an app's dead letters after `after`, the oldest first.
pub(super) async fn dead_letters(
    store: &dyn Store,
    app: &AppId,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, StoredDeadLetter)>, KeepError> {
    let under = ClaimKey::from_parts(&[ROOT, DEAD_LETTERS, app.as_str()])?;
    let after = after.map(|id| dead_letter_key(app, id)).transpose()?;
    let page = store.list(&under, after.as_ref(), limit).await?;
    let mut letters = Vec::new();
    for (key, claim) in page {
        if let Some(id) = last_part(&key) {
            letters.push((id, parse(&key, &claim.value)?));
        }
    }
    Ok(letters)
}

/// Every dead letter that is being replayed.
pub(super) async fn replays(store: &dyn Store) -> Result<Vec<(AppId, String, StoredDeadLetter)>, KeepError> {
    let all = list::<StoredDeadLetter>(store, &ClaimKey::from_parts(&[ROOT, DEAD_LETTERS])?).await?;
    let replays = all.into_iter().filter(|(_, _, letter)| letter.replaying);
    let named = replays
        .filter_map(|(key, _, letter)| Some((AppId::parse(&key.part(2)?).ok()?, key.part(3)?, letter)));
    Ok(named.collect())
}

/// Deletes dead letters that first failed before `before`, unless they are being replayed.
pub(super) async fn sweep_dead_letters(store: &dyn Store, before: Timestamp) -> Result<usize, KeepError> {
    let under = ClaimKey::from_parts(&[ROOT, DEAD_LETTERS])?;
    let mut deleted = 0;
    let mut after = None;
    loop {
        let page = store.list(&under, after.as_ref(), PAGE_ITEMS_MAX).await?;
        let Some((last, _)) = page.last() else { return Ok(deleted) };
        after = Some(last.clone());
        for (key, claim) in page {
            let letter: StoredDeadLetter = parse(&key, &claim.value)?;
            if letter.first_failure < before && !letter.replaying {
                match store.delete(&key, claim.revision).await {
                    Ok(()) => deleted += 1,
                    Err(ClaimError::Conflict) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}
