//! Names under which people meet: whoever joins a name gets into the one conference that has it, and makes it where
//! there is none.
//!
//! Rooms and VoIP rooms are two kinds of names with one mechanism. A claim `rooms/<app>/<name>` says which conference has the name. The order is: claim, then append. So a claim may name
//! a conference that is not in the log: its maker is between the two, or went away there. Whoever finds that waits for a
//! while and then takes the claim over by compare-and-set. Both may act at once, in different processes, so that each
//! looks again after its own write: who took over looks for the former conference once more and gives the claim back if it
//! is there; who appended reads its claim once more and ends its own conference if the name is lost. Of two such writes
//! one comes first, and the other side's second look sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;
use tokio::time::sleep;

use super::creation::{Whereabouts, create, find_or_adopt};
use super::quota::{self, Permit};
use super::room::Shared;
use super::{Conferences, Done};
use crate::domain::conference::{Actor, Join};
use crate::domain::{
    AppId, Command, Conference, ConferenceId, Created, Mark, MemberId, Reason, Refusal, RoomName, Seq,
    Timestamp,
};
use crate::store::{ClaimError, ClaimKey, ClaimRevision, PAGE_ITEMS_MAX, Store, StoreError};

/// Below this name the rooms stand among the claims.
const ROOMS_CLAIM: &str = "rooms";
/// Below this name the VoIP rooms do.
const VOIP_ROOMS_CLAIM: &str = "voip-rooms";
/// Between two looks at a claim whose conference is not there yet.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Looks before the claim is taken over: two seconds, in which a store writes a first record many times over.
const LOOKS_MAX: u32 = 40;
/// After so long nobody is between claim and append any more, and nobody waits for that.
const MAKER_GONE_MS: u64 = 60_000;
/// How often a join begins anew because the conference ended, or the name went to somebody else, under its hands.
const ROUNDS_MAX: u32 = 16;
/// How often the first record is tried, where the store does not say whether it kept it.
const CREATE_ATTEMPTS_MAX: u32 = 3;

/// A name that at most one open conference has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(ClaimKey);

impl Name {
    /// The room `name` of `app`.
    pub fn of_room(app: &AppId, name: &RoomName) -> Result<Self, Refusal> {
        Self::under(ROOMS_CLAIM, app, name)
    }

    /// The VoIP room of the group `group_id` of `app`.
    pub fn of_voip_room(app: &AppId, group_id: &RoomName) -> Result<Self, Refusal> {
        Self::under(VOIP_ROOMS_CLAIM, app, group_id)
    }

    fn under(kind: &str, app: &AppId, name: &RoomName) -> Result<Self, Refusal> {
        ClaimKey::from_parts(&[kind, app.as_str(), name.as_str()])
            .map(Self)
            .map_err(|error| Reason::InvalidRequest.because(format!("this name cannot be kept: {error}")))
    }

    /// The name that a conference was made under, if it was.
    fn of(settings: &Created) -> Option<Self> {
        match &settings.voip {
            Some(voip) => Self::of_voip_room(&settings.app, &voip.group_id).ok(),
            None => Self::of_room(&settings.app, settings.room_name.as_ref()?).ok(),
        }
    }
}

/// Who joins a name.
#[async_trait]
pub trait Entrant: Send + Sync {
    /// What to make under the name, and the join of its creator; or why this one may not make it.
    async fn found(&self) -> Result<(Created, Join), Refusal>;

    /// How a repetition of the join is known.
    fn mark(&self) -> Option<Mark>;

    /// The join into the conference that has the name.
    async fn join(&self, conference: &Conference) -> Result<Join, Refusal>;
}

/// Who joined a name.
#[derive(Debug)]
pub struct Entered {
    /// The join.
    pub done: Done,
    /// The new member.
    pub member: MemberId,
    /// Its join made the conference.
    pub is_creator: bool,
}

/// What a claim says.
#[derive(Serialize, Deserialize)]
struct Holder {
    confr: ConferenceId,
    /// When the claim was made.
    at: Timestamp,
}

impl Holder {
    fn bytes(&self) -> Bytes {
        // A text and a number: there is nothing in it that JSON could not hold.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// What is found under a name.
enum Found {
    Open(Arc<Conference>),
    /// Nobody has it. `claim` is what is left of whoever had.
    Free {
        claim: Option<(ClaimRevision, Option<Holder>)>,
    },
    /// Somebody claimed it and has made nothing of it so far.
    Pending {
        claim: (ClaimRevision, Option<Holder>),
    },
}

impl Conferences {
    /// Lets `entrant` into the conference that has `name`, or makes that conference.
    pub async fn enter(
        &self,
        name: &Name,
        entrant: &dyn Entrant,
        now: Timestamp,
    ) -> Result<Entered, Refusal> {
        for _ in 0..ROUNDS_MAX {
            if let Found::Open(conference) = look(&self.shared, name, now).await? {
                match self.join_holder(&conference, entrant, now).await {
                    Some(entered) => return entered,
                    None => continue,
                }
            }
            // Of all that come to this process for a new name at once, one makes it and the others find it.
            let _turn = self.shared.turns.take(name).await;
            let Some(claim) = wait_until_free(&self.shared, name, now).await? else { continue };
            let (created, join) = entrant.found().await?;
            let (shared, name) = (Arc::clone(&self.shared), name.clone());
            let permit = quota::permit(&shared, &created.app, now).await?;
            let founding = Founding { shared, name, claim, mark: entrant.mark(), now, permit };
            // A caller that goes away leaves no claim without a conference.
            let made = self.shared.tasks.spawn(founding.make(created, join)).await;
            match made.unwrap_or_else(|_| Err(Reason::StoreUnavailable.because("the creation was given up")))
            {
                Ok(None) => {}
                Ok(Some(entered)) => return Ok(entered),
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Reason::Overloaded.because("this name changed hands again and again; try again"))
    }

    /// `None` where the conference is not what it was a moment ago, and the name must be looked up again.
    async fn join_holder(
        &self,
        conference: &Conference,
        entrant: &dyn Entrant,
        now: Timestamp,
    ) -> Option<Result<Entered, Refusal>> {
        let id = conference.id();
        let joined = async {
            let join = entrant.join(conference).await?;
            let member = join.member.clone();
            let command = Command::Join(Box::new(join));
            let done = self.execute_once(id, command, entrant.mark(), now).await?;
            let member = match done.repeats {
                None => member,
                Some(_) => done.joined().map(|joined| joined.id.clone()).ok_or_else(|| {
                    Reason::MemberGone.because("the member that this request let in has left; join anew")
                })?,
            };
            // The creator joins in the first record, right after the creation.
            let is_creator = done.repeats == Some(Seq(2));
            Ok::<_, Refusal>(Entered { done, member, is_creator })
        };
        let joined = joined.await;
        match joined.as_ref().map_err(|refusal| refusal.reason) {
            Err(Reason::ConferenceClosed | Reason::ConferenceNotFound) => None,
            Err(Reason::WrongPassword) => {
                let stands = self.open_now(id)?;
                (stands.settings.password == conference.settings.password).then_some(joined)
            }
            _ => Some(joined),
        }
    }
}

async fn look(shared: &Arc<Shared>, name: &Name, now: Timestamp) -> Result<Found, Refusal> {
    let failed = |error: StoreError| unavailable(name, &error);
    let Some(claim) = shared.store.get(&name.0).await.map_err(failed)? else {
        return Ok(Found::Free { claim: None });
    };
    let Ok(holder) = serde_json::from_slice::<Holder>(&claim.value) else {
        tracing::error!(claim = %name.0, "the claim of a name cannot be read; it counts as free");
        return Ok(Found::Free { claim: Some((claim.revision, None)) });
    };
    let whereabouts = find_or_adopt(shared, &holder.confr).await.map_err(failed)?;
    let is_old = now.0.saturating_sub(holder.at.0) > MAKER_GONE_MS;
    let claim = (claim.revision, Some(holder));
    Ok(match whereabouts {
        Whereabouts::Open(conference) => Found::Open(conference),
        Whereabouts::Absent if !is_old => Found::Pending { claim },
        Whereabouts::Absent | Whereabouts::Ended => Found::Free { claim: Some(claim) },
    })
}

/// The claim to be taken over; `None` where a conference has the name by now.
async fn wait_until_free(
    shared: &Arc<Shared>,
    name: &Name,
    now: Timestamp,
) -> Result<Option<Option<(ClaimRevision, Option<Holder>)>>, Refusal> {
    let mut looks = 0;
    loop {
        match look(shared, name, now).await? {
            Found::Open(_) => return Ok(None),
            Found::Free { claim } => return Ok(Some(claim)),
            Found::Pending { claim } if looks >= LOOKS_MAX => return Ok(Some(Some(claim))),
            Found::Pending { .. } => {
                looks += 1;
                sleep(LOOK_AGAIN).await;
            }
        }
    }
}

/// A conference that is to be made under a name.
struct Founding {
    shared: Arc<Shared>,
    name: Name,
    claim: Option<(ClaimRevision, Option<Holder>)>,
    mark: Option<Mark>,
    now: Timestamp,
    permit: Permit,
}

impl Founding {
    /// `None` where somebody else has the name.
    async fn make(mut self, created: Created, join: Join) -> Result<Option<Entered>, Refusal> {
        let (shared, key) = (Arc::clone(&self.shared), self.name.0.clone());
        let (id, member) = (created.id.clone(), join.member.clone());
        let (expected, former) = match &self.claim {
            Some((revision, former)) => (Some(*revision), former.as_ref()),
            None => (None, None),
        };
        let holder = Holder { confr: id.clone(), at: self.now };
        let revision = match shared.store.put(&key, expected, holder.bytes()).await {
            Ok(revision) => revision,
            Err(ClaimError::Conflict) => return Ok(None),
            Err(error) => return Err(self.claim_refused(&error)),
        };
        if let Some(former) = former {
            let found = find_or_adopt(&shared, &former.confr).await;
            if matches!(found.map_err(|error| unavailable(&self.name, &error))?, Whereabouts::Open(_)) {
                // It came to be after all, and its maker read its claim before it was taken.
                return match shared.store.put(&key, Some(revision), former.bytes()).await {
                    Ok(_) | Err(ClaimError::Conflict) => Ok(None),
                    Err(error) => Err(self.claim_refused(&error)),
                };
            }
        }
        let done = match self.append(created, join).await {
            Ok(done) => done,
            Err(refusal) => {
                // Others need not wait for what will not come.
                if let Err(error) = shared.store.delete(&key, revision).await {
                    tracing::warn!(claim = %key, %error, "a claim without a conference stays until it is taken over");
                }
                return Err(refusal);
            }
        };
        if self.has_name(&id).await? {
            return Ok(Some(Entered { done, member, is_creator: true }));
        }
        tracing::info!(conference = %id, "ended at once: its name went to another while it was made");
        self.end(&id).await?;
        Ok(None)
    }

    /// The first record. Where the store does not say whether it kept it, the log does.
    async fn append(&mut self, created: Created, join: Join) -> Result<Done, Refusal> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let first = Some((join.clone(), self.mark));
            let refusal = match create(&mut self.permit, created.clone(), first, self.now).await {
                Err(refusal) if refusal.reason == Reason::StoreUnavailable => refusal,
                done => return done,
            };
            match find_or_adopt(&self.shared, &created.id).await {
                Ok(Whereabouts::Open(conference)) => {
                    return Ok(Done { events: Vec::new(), seq: conference.seq, conference, repeats: None });
                }
                Ok(Whereabouts::Absent) if attempts < CREATE_ATTEMPTS_MAX => {}
                _ => return Err(refusal),
            }
        }
    }

    /// Whether the name is still this conference's. Whoever took the claim looks for the conference as well and may give
    /// the claim back; so it is lost for sure only when the other conference is there.
    async fn has_name(&self, id: &ConferenceId) -> Result<bool, Refusal> {
        for _ in 0..LOOKS_MAX {
            let found = look(&self.shared, &self.name, self.now).await?;
            if self.shared.rooms.find(id).is_none() {
                // It was made, and somebody has ended it since.
                return Ok(true);
            }
            match found {
                Found::Open(conference) => return Ok(conference.id() == id),
                Found::Free { claim: None } => {
                    let holder = Holder { confr: id.clone(), at: self.now };
                    match self.shared.store.put(&self.name.0, None, holder.bytes()).await {
                        Ok(_) | Err(ClaimError::Conflict) => {}
                        Err(error) => return Err(self.claim_refused(&error)),
                    }
                }
                Found::Free { .. } | Found::Pending { .. } => sleep(LOOK_AGAIN).await,
            }
        }
        Ok(false)
    }

    async fn end(&self, id: &ConferenceId) -> Result<(), Refusal> {
        let Some(room) = self.shared.rooms.find(id) else { return Ok(()) };
        match room.execute(&self.shared, Command::End { by: Actor::App }, None, self.now).await {
            Err(refusal) if refusal.reason != Reason::ConferenceClosed => Err(refusal),
            _ => Ok(()),
        }
    }

    fn claim_refused(&self, error: &ClaimError) -> Refusal {
        match error {
            ClaimError::Unavailable(error) => unavailable(&self.name, error),
            ClaimError::Conflict | ClaimError::TooLarge(_) => {
                Reason::StoreUnavailable.because("the store refused the claim of this name")
            }
        }
    }
}

fn unavailable(name: &Name, error: &StoreError) -> Refusal {
    tracing::error!(claim = %name.0, %error, "the store did not do what it was asked");
    error.refusal()
}

/// Gives the name of a conference that has ended back, so that no claim outlives its use. Until then, and where it fails,
/// the next who joins the name takes the claim over.
pub(super) async fn release(store: &dyn Store, ended: &Created) {
    let Some(Name(key)) = Name::of(ended) else { return };
    let released = match store.get(&key).await {
        Ok(Some(claim)) => match serde_json::from_slice::<Holder>(&claim.value) {
            Ok(holder) if holder.confr == ended.id => store.delete(&key, claim.revision).await,
            _ => Ok(()),
        },
        Ok(None) => Ok(()),
        Err(error) => Err(error.into()),
    };
    if let Err(error @ ClaimError::Unavailable(_)) = released {
        tracing::warn!(claim = %key, %error, "the name of an ended conference stays claimed until it is used again");
    }
}

/// Removes the claims of names whose conferences are not open, which a stop between an end and its release leaves behind.
pub(super) async fn sweep(shared: &Shared) -> Result<(), StoreError> {
    for kind in [ROOMS_CLAIM, VOIP_ROOMS_CLAIM] {
        let Ok(under) = ClaimKey::from_parts(&[kind]) else { continue };
        let mut after = None;
        loop {
            let page = shared.store.list(&under, after.as_ref(), PAGE_ITEMS_MAX).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let idle = page.iter().filter(|(_, claim)| {
                let holder = serde_json::from_slice::<Holder>(&claim.value);
                !holder.is_ok_and(|holder| shared.rooms.find(&holder.confr).is_some())
            });
            // Together, so that they share the store's commits.
            let deletions = idle.map(|(key, claim)| shared.store.delete(key, claim.revision));
            for deleted in futures_util::future::join_all(deletions).await {
                match deleted {
                    Err(ClaimError::Unavailable(error)) => return Err(error),
                    Ok(()) | Err(ClaimError::Conflict | ClaimError::TooLarge(_)) => {}
                }
            }
        }
    }
    Ok(())
}

type Gate = Arc<tokio::sync::Mutex<()>>;

/// Lets one caller of this process at a time make something of a name.
#[derive(Default)]
pub(super) struct Turns(Mutex<BTreeMap<ClaimKey, Gate>>);

struct Turn<'a> {
    turns: &'a Turns,
    key: ClaimKey,
    /// None once it is being dropped.
    gate: Option<Gate>,
    inside: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    async fn take(&self, name: &Name) -> Turn<'_> {
        let gate = Arc::clone(self.0.lock().entry(name.0.clone()).or_default());
        // Made before the wait, so that a caller that gives up waiting cleans up as well.
        let mut turn = Turn { turns: self, key: name.0.clone(), gate: Some(Arc::clone(&gate)), inside: None };
        turn.inside = Some(gate.lock_owned().await);
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut gates = self.turns.0.lock();
        self.inside = None;
        self.gate = None;
        if gates.get(&self.key).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            gates.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests;
