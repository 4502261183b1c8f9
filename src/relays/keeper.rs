//! What of relays is kept among the claims: `relays/<app>/<conference>/<relay>`, one for each.
//!
//! The URL holds keys of somebody else's server. It is sealed for the place where it stands.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{NewRelay, Relay, Status, Way};
use crate::domain::sealed::{SEAL_NONCE_BYTES, SealingKey};
use crate::domain::{AppId, ConferenceId, Mark, Reason, Refusal, RelayId, Seq, StreamId, Timestamp};
use crate::entropy;
use crate::rtmp::relay::FarUrl;
use crate::store::{Claim, ClaimError, ClaimKey, ClaimRevision, PAGE_ITEMS_MAX, Store, StoreError};

/// Below this name relays stand among the claims.
const ROOT: &str = "relays";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    direction: Way,
    stream: StreamId,
    declared: Seq,
    created: Timestamp,
    /// Sealed, in base64.
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<Mark>,
}

/// A relay that is to be kept.
pub(super) struct Wanted {
    pub(super) id: RelayId,
    pub(super) app: AppId,
    pub(super) conference: ConferenceId,
    pub(super) declared: Seq,
    pub(super) created: Timestamp,
    pub(super) new: NewRelay,
}

/// A relay that is kept.
pub(super) struct Kept {
    id: RelayId,
    app: AppId,
    conference: ConferenceId,
    pub(super) way: Way,
    stream: StreamId,
    declared: Seq,
    created: Timestamp,
    far: FarUrl,
    mark: Option<Mark>,
    key: ClaimKey,
    revision: ClaimRevision,
}

impl Kept {
    pub(super) fn into_relay(self, status: Status, stop: CancellationToken) -> Relay {
        Relay {
            id: self.id,
            app: self.app,
            conference: self.conference,
            way: self.way,
            stream: self.stream,
            declared: self.declared,
            far: self.far,
            created: self.created,
            mark: self.mark,
            key: self.key,
            revision: self.revision,
            status: Mutex::new(status),
            stop,
            ended: CancellationToken::new(),
            wake: Notify::new(),
        }
    }
}

/// Keeps relays.
pub(super) struct Keeper {
    store: Arc<dyn Store>,
    sealing: SealingKey,
}

impl Keeper {
    pub(super) fn new(store: Arc<dyn Store>, sealing: SealingKey) -> Self {
        Self { store, sealing }
    }

    pub(super) async fn keep(&self, wanted: Wanted) -> Result<Kept, Refusal> {
        let Wanted { id, app, conference, declared, created, new } = wanted;
        let key = ClaimKey::from_parts(&[ROOT, app.as_str(), conference.as_str(), id.as_str()])
            .map_err(|error| Reason::InvalidRequest.because(error.to_string()))?;
        let nonce: [u8; SEAL_NONCE_BYTES] =
            entropy::bytes().map_err(|error| Reason::Overloaded.because(error.to_string()))?;
        let sealed = self.sealing.seal(key.as_str(), new.far.expose().as_bytes(), nonce);
        let sealed = sealed.ok_or_else(|| Reason::InvalidRequest.because("url: it cannot be kept"))?;
        let stored = Stored {
            direction: new.way,
            stream: new.stream.clone(),
            declared,
            created,
            url: STANDARD_NO_PAD.encode(sealed),
            mark: new.mark,
        };
        // Texts and numbers: there is nothing in it that JSON could not hold.
        let value = serde_json::to_vec(&stored).unwrap_or_default().into();
        let revision = self.store.put(&key, None, value).await.map_err(|error| match error {
            ClaimError::Unavailable(error) => unavailable(&error),
            ClaimError::Conflict | ClaimError::TooLarge(_) => {
                Reason::Overloaded.because("the relay could not be kept; try again")
            }
        })?;
        let NewRelay { way, stream, far, mark } = new;
        Ok(Kept { id, app, conference, way, stream, declared, created, far, mark, key, revision })
    }

    /// Removes a relay for good; one that is gone already is none the less.
    pub(super) async fn forget(&self, relay: &Relay) -> Result<(), Refusal> {
        match self.store.delete(&relay.key, relay.revision).await {
            Ok(()) | Err(ClaimError::Conflict | ClaimError::TooLarge(_)) => Ok(()),
            Err(ClaimError::Unavailable(error)) => Err(unavailable(&error)),
        }
    }

    /// Every relay that is kept and can be read. What cannot is told and left alone.
    pub(super) async fn all(&self) -> Result<Vec<Kept>, Refusal> {
        let Ok(under) = ClaimKey::from_parts(&[ROOT]) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let page = self.store.list(&under, after.as_ref(), PAGE_ITEMS_MAX).await;
            let page = page.map_err(|error| unavailable(&error))?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = Some(last.clone());
            for (key, claim) in page {
                match self.read(&key, &claim) {
                    Some(kept) => all.push(kept),
                    None => tracing::warn!(
                        claim = %key,
                        "a relay cannot be read: it was sealed with another master key, or is damaged; make it anew"
                    ),
                }
            }
        }
    }

    fn read(&self, key: &ClaimKey, claim: &Claim) -> Option<Kept> {
        let stored: Stored = serde_json::from_slice(&claim.value).ok()?;
        let sealed = STANDARD_NO_PAD.decode(&stored.url).ok()?;
        let opened = self.sealing.open(key.as_str(), &sealed)?;
        let far = FarUrl::parse(std::str::from_utf8(&opened).ok()?).ok()?;
        Some(Kept {
            app: AppId::parse(&key.part(1)?).ok()?,
            conference: ConferenceId::parse(&key.part(2)?).ok()?,
            id: RelayId::parse(&key.part(3)?).ok()?,
            way: stored.direction,
            stream: stored.stream,
            declared: stored.declared,
            created: stored.created,
            far,
            mark: stored.mark,
            key: key.clone(),
            revision: claim.revision,
        })
    }
}

fn unavailable(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the store did not do what it was asked");
    error.refusal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Claims as _, MemoryStore};

    fn wanted(number: u8) -> Wanted {
        Wanted {
            id: RelayId::from_random([number; 10]),
            app: AppId::parse("app").unwrap(),
            conference: ConferenceId::from_random([1; 10]),
            declared: Seq(7),
            created: Timestamp(9),
            new: NewRelay {
                way: Way::Push,
                stream: StreamId::parse("cam__Of_MS_a").unwrap(),
                far: FarUrl::parse("rtmp://cdn.example/live/hidden-key?sign=hidden-sign").unwrap(),
                mark: None,
            },
        }
    }

    #[tokio::test]
    async fn a_relay_is_kept_sealed_and_read_back_with_the_same_key_alone() {
        let store = Arc::new(MemoryStore::new());
        let keeper = |key| Keeper::new(store.clone(), SealingKey::new([key; 32]));
        let kept = keeper(1).keep(wanted(1)).await.unwrap();
        let value = store.get(&kept.key).await.unwrap().unwrap().value;
        let text = String::from_utf8(value.to_vec()).unwrap();
        assert!(!text.contains("hidden") && !text.contains("cdn.example"), "{text}");
        let read = keeper(1).all().await.unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].far, kept.far);
        assert_eq!((&read[0].id, read[0].declared, read[0].created), (&kept.id, Seq(7), Timestamp(9)));
        assert!(keeper(2).all().await.unwrap().is_empty(), "another master key opens nothing");
        // What was sealed for one relay does not open in the place of another.
        let other = ClaimKey::from_parts(&[ROOT, "app", "TS_x", "RL_x"]).unwrap();
        store.put(&other, None, text.into_bytes().into()).await.unwrap();
        assert_eq!(keeper(1).all().await.unwrap().len(), 1);
    }
}
