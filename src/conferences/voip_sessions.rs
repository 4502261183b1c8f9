//! What VoIP rooms need to know of WeChat's users: their session keys, and which nonces were used.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::sealed::{SEAL_NONCE_BYTES, SealingKey};
use crate::domain::{AppId, Mark, Reason, Refusal, Timestamp, UserName};
use crate::store::{ClaimError, ClaimKey, Store, StoreError};

/// Below this name the sessions stand among the claims.
const SESSIONS_CLAIM: &str = "voip-sessions";
/// Below this name the used nonces stand among the claims.
const NONCES_CLAIM: &str = "voip-nonces";
/// How often a write is tried while others write the same claim.
const ATTEMPTS_MAX: u32 = 8;
/// Nonces that each use looks at for ones that have run out. Each use adds one, so that what has run out stays a small
/// part of what has not.
const SWEPT_PER_USE: usize = 8;

/// A session key that was neither handed in anew nor used for so long is thrown away: WeChat's own is void long before,
/// and a user that comes back logs in again.
const SESSION_UNUSED_DAYS: u64 = 30;
const DAY_MS: u64 = 24 * 3600 * 1000;
/// Sessions that one step of the sweep looks at: as many deletions share a commit without anybody waiting for it.
const SWEPT_PER_STEP: usize = 64;
/// What a kept session begins with. One of an older version, which knew no days, is the sealed text alone.
const KEPT_BEGINS: &[u8] = b"used:";

/// A session of WeChat's login, as the app's backend handed it in.
#[derive(Clone)]
pub struct VoipSession {
    /// WeChat's `session_key`, as text.
    pub session_key: Zeroizing<String>,
    /// The mini program's id, where it is not the app's.
    pub mini_app_id: Option<String>,
}

/// The same before it is sealed.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unsealed<'a> {
    session_key: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mini_app_id: Option<Cow<'a, str>>,
}

/// A use of a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NonceUse {
    /// Until then it counts as used.
    pub until: Timestamp,
    /// The request that used it, where it can be told from others: the same one again finds it as it left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Mark>,
}

impl NonceUse {
    /// What a claim says. One of an older version is the bare time.
    fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let bare = text.parse().ok().map(|until| Self { until: Timestamp(until), by: None });
        bare.or_else(|| serde_json::from_str(text).ok())
    }

    fn bytes(self) -> Bytes {
        // A number and two texts: there is nothing in it that JSON could not hold.
        serde_json::to_vec(&self).unwrap_or_default().into()
    }

    /// Whether another request, or the same without a mark, is refused at `now`.
    fn holds_off(self, other: Option<Mark>, now: Timestamp) -> bool {
        let is_same = self.by.is_some() && self.by == other;
        !is_same && self.until >= now
    }
}

/// Sessions and nonces.
pub struct VoipSessions {
    store: Arc<dyn Store>,
    key: SealingKey,
    /// How far the sweep of nonces has come.
    swept: Mutex<Option<ClaimKey>>,
    /// How far the sweep of sessions has come.
    swept_sessions: Mutex<Option<ClaimKey>>,
}

/// What the store keeps of a session: the day on which it was used last, and the sealed text.
struct Kept<'a> {
    /// `None` in one of an older version.
    day: Option<u64>,
    sealed: &'a [u8],
}

impl<'a> Kept<'a> {
    fn read(value: &'a [u8]) -> Self {
        let parse = || {
            let (day, sealed) = value.strip_prefix(KEPT_BEGINS)?.split_at_checked(size_of::<u64>())?;
            Some(Self { day: Some(u64::from_be_bytes(day.try_into().ok()?)), sealed })
        };
        parse().unwrap_or(Self { day: None, sealed: value })
    }

    /// The same as used at `now`.
    fn used(&self, now: Timestamp) -> Bytes {
        [KEPT_BEGINS, &today(now).to_be_bytes(), self.sealed].concat().into()
    }
}

fn today(now: Timestamp) -> u64 {
    now.0 / DAY_MS
}

impl VoipSessions {
    /// Keeps them in `store`, session keys sealed with `key`.
    pub fn new(store: Arc<dyn Store>, key: SealingKey) -> Self {
        Self { store, key, swept: Mutex::default(), swept_sessions: Mutex::default() }
    }

    /// Keeps the newest session of `openid` in the stead of an earlier one. `nonce` is random.
    pub async fn put(
        &self,
        app: &AppId,
        openid: &UserName,
        session: &VoipSession,
        nonce: [u8; SEAL_NONCE_BYTES],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let key = claim_key(SESSIONS_CLAIM, app, openid.as_str())?;
        let unsealed = Unsealed {
            session_key: session.session_key.as_str().into(),
            mini_app_id: session.mini_app_id.as_deref().map(Cow::from),
        };
        let text = Zeroizing::new(serde_json::to_vec(&unsealed).unwrap_or_default());
        let sealed = self.key.seal(key.as_str(), &text, nonce);
        let sealed = sealed.ok_or_else(|| not_kept("the session key cannot be sealed"))?;
        let value = Kept { day: None, sealed: &sealed }.used(now);
        for _ in 0..ATTEMPTS_MAX {
            let kept = self.store.get(&key).await.map_err(|error| unavailable(&error))?;
            match self.store.put(&key, kept.map(|claim| claim.revision), value.clone()).await {
                Ok(_) => return Ok(()),
                Err(ClaimError::Conflict) => {}
                Err(ClaimError::Unavailable(error)) => return Err(unavailable(&error)),
                Err(ClaimError::TooLarge(_)) => return Err(not_kept("the session key is too long")),
            }
        }
        Err(Reason::Overloaded.because("this session is being replaced again and again; try again"))
    }

    /// The session of `openid`, if there is one that this gateway can read. It counts as used on this day.
    pub async fn get(
        &self,
        app: &AppId,
        openid: &UserName,
        now: Timestamp,
    ) -> Result<Option<VoipSession>, Refusal> {
        let key = claim_key(SESSIONS_CLAIM, app, openid.as_str())?;
        let Some(claim) = self.store.get(&key).await.map_err(|error| unavailable(&error))? else {
            return Ok(None);
        };
        let kept = Kept::read(&claim.value);
        let opened = self.key.open(key.as_str(), kept.sealed);
        if opened.is_some() && kept.day != Some(today(now)) {
            // One write a day. Where it fails, a later use or the next login makes up for it.
            let _ = self.store.put(&key, Some(claim.revision), kept.used(now)).await;
        }
        if opened.is_none() {
            tracing::warn!(%app, "a session key was sealed with another master key; the next login replaces it");
        }
        let unsealed = opened.as_ref().and_then(|text| serde_json::from_slice::<Unsealed<'_>>(text).ok());
        Ok(unsealed.map(|unsealed| VoipSession {
            session_key: Zeroizing::new(unsealed.session_key.into_owned()),
            mini_app_id: unsealed.mini_app_id.map(Cow::into_owned),
        }))
    }

    /// Throws away some of the sessions that were not used for long, and tells whether there are more to look at. One of
    /// an older version counts as used when it is seen here first.
    pub async fn sweep_unused(&self, now: Timestamp) -> Result<bool, StoreError> {
        let Ok(under) = ClaimKey::from_parts(&[SESSIONS_CLAIM]) else { return Ok(false) };
        let after = self.swept_sessions.lock().clone();
        let page = self.store.list(&under, after.as_ref(), SWEPT_PER_STEP).await?;
        let is_end = page.len() < SWEPT_PER_STEP;
        let steps = page.iter().map(|(key, claim)| async move {
            let kept = Kept::read(&claim.value);
            match kept.day {
                None => self.store.put(key, Some(claim.revision), kept.used(now)).await.map(drop),
                Some(day) if day + SESSION_UNUSED_DAYS < today(now) => {
                    self.store.delete(key, claim.revision).await
                }
                Some(_) => Ok(()),
            }
        });
        for step in futures_util::future::join_all(steps).await {
            match step {
                Err(ClaimError::Unavailable(error)) => return Err(error),
                // Somebody uses it right now.
                Ok(()) | Err(ClaimError::Conflict | ClaimError::TooLarge(_)) => {}
            }
        }
        *self.swept_sessions.lock() = page.last().filter(|_| !is_end).map(|(key, _)| key.clone());
        Ok(!is_end)
    }

    /// Throws away all sessions and nonces of `app`.
    pub async fn forget_app(&self, app: &AppId) -> Result<(), Refusal> {
        for kind in [SESSIONS_CLAIM, NONCES_CLAIM] {
            let Ok(under) = ClaimKey::from_parts(&[kind, app.as_str()]) else { continue };
            let mut after = None;
            loop {
                let page = self.store.list(&under, after.as_ref(), SWEPT_PER_STEP).await;
                let page = page.map_err(|error| unavailable(&error))?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                let deletions = page.iter().map(|(key, claim)| self.store.delete(key, claim.revision));
                for deleted in futures_util::future::join_all(deletions).await {
                    if let Err(ClaimError::Unavailable(error)) = deleted {
                        return Err(unavailable(&error));
                    }
                }
            }
        }
        Ok(())
    }

    /// Uses `nonce` up. Refused where another request has used it, and that use has not run out at `now`.
    pub async fn use_nonce(
        &self,
        app: &AppId,
        nonce: &str,
        now: Timestamp,
        usage: NonceUse,
    ) -> Result<(), Refusal> {
        let key = claim_key(NONCES_CLAIM, app, nonce)?;
        let value = usage.bytes();
        let mut expected = None;
        for _ in 0..ATTEMPTS_MAX {
            match self.store.put(&key, expected, value.clone()).await {
                Ok(_) => {
                    self.sweep(now).await;
                    return Ok(());
                }
                Err(ClaimError::Conflict) => {}
                Err(ClaimError::Unavailable(error)) => return Err(unavailable(&error)),
                Err(ClaimError::TooLarge(_)) => break,
            }
            let used = self.store.get(&key).await.map_err(|error| unavailable(&error))?;
            let former = used.as_ref().and_then(|claim| NonceUse::read(&claim.value));
            if former.is_some_and(|former| former.holds_off(usage.by, now)) {
                return Err(Reason::Unauthenticated
                    .because("nonceStr: it was used before; each signature takes a new one"));
            }
            expected = used.map(|claim| claim.revision);
        }
        Err(Reason::Overloaded.because("this nonce is being used again and again; take another"))
    }

    /// Removes some of the nonces that have run out. What fails stays for the next time.
    async fn sweep(&self, now: Timestamp) {
        let Ok(under) = ClaimKey::from_parts(&[NONCES_CLAIM]) else { return };
        let after = self.swept.lock().clone();
        let Ok(page) = self.store.list(&under, after.as_ref(), SWEPT_PER_USE).await else { return };
        // From the beginning again after a short page: nonces that grow would lead the sweep on for ever.
        let is_end = page.len() < SWEPT_PER_USE;
        *self.swept.lock() = page.last().filter(|_| !is_end).map(|(key, _)| key.clone());
        let old = page.iter().filter(|(_, claim)| has_run_out(&claim.value, now));
        let deletions = old.map(|(key, claim)| self.store.delete(key, claim.revision));
        for deleted in futures_util::future::join_all(deletions).await {
            if let Err(error @ ClaimError::Unavailable(_)) = deleted {
                tracing::warn!(%error, "a used nonce stays for now");
            }
        }
    }
}

fn has_run_out(value: &[u8], now: Timestamp) -> bool {
    NonceUse::read(value).is_none_or(|usage| usage.until < now)
}

fn claim_key(kind: &str, app: &AppId, name: &str) -> Result<ClaimKey, Refusal> {
    ClaimKey::from_parts(&[kind, app.as_str(), name])
        .map_err(|error| Reason::InvalidRequest.because(format!("this text cannot be kept: {error}")))
}

fn not_kept(detail: &'static str) -> Refusal {
    Reason::InvalidRequest.because(detail)
}

fn unavailable(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the store did not do what it was asked");
    error.refusal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Claims as _, MemoryStore};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const UNTIL: NonceUse = NonceUse { until: Timestamp(1_800_000_300_000), by: None };

    fn until(at: Timestamp) -> NonceUse {
        NonceUse { until: at, by: None }
    }

    fn app() -> AppId {
        AppId::parse("app").unwrap()
    }

    fn open(store: &Arc<MemoryStore>, key: u8) -> VoipSessions {
        VoipSessions::new(store.clone(), SealingKey::new([key; 32]))
    }

    async fn nonces(store: &MemoryStore) -> usize {
        store.list(&ClaimKey::from_parts(&[NONCES_CLAIM]).unwrap(), None, 1000).await.unwrap().len()
    }

    #[tokio::test]
    async fn the_newest_session_is_kept_sealed_and_outlives_a_restart() {
        let store = Arc::new(MemoryStore::new());
        let openid = UserName::parse("openid-1").unwrap();
        let session = |text: &str| VoipSession {
            session_key: Zeroizing::new(text.to_owned()),
            mini_app_id: Some("wx1".to_owned()),
        };
        let sessions = open(&store, 1);
        for (number, text) in ["first-key", "second-key"].into_iter().enumerate() {
            let nonce = [u8::try_from(number).unwrap(); SEAL_NONCE_BYTES];
            sessions.put(&app(), &openid, &session(text), nonce, NOW).await.unwrap();
        }
        let kept = open(&store, 1).get(&app(), &openid, NOW).await.unwrap().unwrap();
        assert_eq!((kept.session_key.as_str(), kept.mini_app_id.as_deref()), ("second-key", Some("wx1")));
        let key = claim_key(SESSIONS_CLAIM, &app(), openid.as_str()).unwrap();
        let value = store.get(&key).await.unwrap().unwrap().value;
        assert!(!value.windows(10).any(|window| window == b"second-key"));
        assert!(
            open(&store, 2).get(&app(), &openid, NOW).await.unwrap().is_none(),
            "another master key opens nothing"
        );
        let stranger = AppId::parse("other").unwrap();
        assert!(sessions.get(&stranger, &openid, NOW).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_session_is_thrown_away_when_nobody_used_it_for_thirty_days() {
        let store = Arc::new(MemoryStore::new());
        let sessions = open(&store, 1);
        let session = VoipSession { session_key: "key".to_owned().into(), mini_app_id: None };
        let name = |number: u64| UserName::parse(&format!("openid-{number:03}")).unwrap();
        let days = |days: u64| NOW.plus_ms(days * DAY_MS);
        for number in 0..150 {
            sessions.put(&app(), &name(number), &session, [1; SEAL_NONCE_BYTES], NOW).await.unwrap();
        }
        // One as an older version kept it.
        let old = claim_key(SESSIONS_CLAIM, &app(), name(7).as_str()).unwrap();
        let claim = store.get(&old).await.unwrap().unwrap();
        let sealed = Bytes::copy_from_slice(Kept::read(&claim.value).sealed);
        store.put(&old, Some(claim.revision), sealed).await.unwrap();
        let round = async |now| {
            let mut steps = 1;
            while sessions.sweep_unused(now).await.unwrap() {
                steps += 1;
            }
            let under = ClaimKey::from_parts(&[SESSIONS_CLAIM]).unwrap();
            (steps, store.list(&under, None, 1000).await.unwrap().len())
        };
        assert!(sessions.get(&app(), &name(9), days(3)).await.unwrap().is_some());
        assert_eq!(round(days(2)).await, (3, 150));
        assert_eq!(round(days(30)).await, (3, 150));
        assert_eq!(round(days(31)).await.1, 2, "the one that was used, and the one of unknown age");
        assert_eq!(round(days(33)).await.1, 1);
        assert!(sessions.get(&app(), &name(9), days(33)).await.unwrap().is_some());
        assert_eq!(round(days(63)).await.1, 1, "each use counts");
        assert_eq!(round(days(64)).await.1, 0);
    }

    #[tokio::test]
    async fn a_nonce_is_used_once_until_its_time_is_over_even_over_a_restart() {
        let store = Arc::new(MemoryStore::new());
        open(&store, 1).use_nonce(&app(), "n1", NOW, UNTIL).await.unwrap();
        for now in [NOW, UNTIL.until] {
            let refused = open(&store, 1).use_nonce(&app(), "n1", now, until(UNTIL.until.plus_ms(9))).await;
            assert_eq!(refused.unwrap_err().reason, Reason::Unauthenticated);
        }
        open(&store, 1).use_nonce(&app(), "n2", NOW, UNTIL).await.unwrap();
        open(&store, 1).use_nonce(&AppId::parse("other").unwrap(), "n1", NOW, UNTIL).await.unwrap();
        let (later, end) = (UNTIL.until.plus_ms(1), UNTIL.until.plus_ms(300_000));
        open(&store, 1).use_nonce(&app(), "n1", later, until(end)).await.unwrap();
    }

    #[tokio::test]
    async fn a_nonce_is_used_again_by_the_same_request_alone() {
        let store = Arc::new(MemoryStore::new());
        let marks = crate::domain::ticket::TokenKeys::derive(&[1; 32]).marks;
        let mark = |key: &str, body: &[u8]| Some(marks.mark("user:u", "/", key, marks.body(body)));
        let by = |by| NonceUse { by, ..UNTIL };
        let sessions = open(&store, 1);
        sessions.use_nonce(&app(), "n", NOW, by(mark("k", b"1"))).await.unwrap();
        sessions.use_nonce(&app(), "n", NOW, by(mark("k", b"1"))).await.unwrap();
        for other in [mark("k", b"2"), mark("l", b"1"), None] {
            let refused = sessions.use_nonce(&app(), "n", NOW, by(other)).await;
            assert_eq!(refused.unwrap_err().reason, Reason::Unauthenticated);
        }
        sessions.use_nonce(&app(), "m", NOW, by(None)).await.unwrap();
        let refused = sessions.use_nonce(&app(), "m", NOW, by(None)).await;
        assert_eq!(refused.unwrap_err().reason, Reason::Unauthenticated);
    }

    #[test]
    fn a_nonce_that_an_older_version_kept_counts_as_used() {
        assert_eq!(NonceUse::read(b"1800000300000"), Some(UNTIL));
        assert_eq!(NonceUse::read(&UNTIL.bytes()), Some(UNTIL));
        assert_eq!(NonceUse::read(b"?"), None);
    }

    #[tokio::test]
    async fn of_many_that_show_one_nonce_at_once_one_gets_in() {
        let store = Arc::new(MemoryStore::new());
        let sessions = Arc::new(open(&store, 1));
        let app = app();
        let uses = (0..20).map(|_| sessions.use_nonce(&app, "n", NOW, UNTIL));
        let outcomes = futures_util::future::join_all(uses).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    }

    #[tokio::test]
    async fn nonces_that_have_run_out_are_swept_by_those_that_come() {
        let store = Arc::new(MemoryStore::new());
        let sessions = open(&store, 1);
        for number in 0..2000_u64 {
            let now = NOW.plus_ms(number * 1000);
            sessions
                .use_nonce(&app(), &format!("n{number}"), now, until(now.plus_ms(300_000)))
                .await
                .unwrap();
        }
        let kept = nonces(&store).await;
        assert!((300..=360).contains(&kept), "{kept} nonces are kept of 301 that count");
    }
}
