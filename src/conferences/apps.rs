//! The apps that may use this gateway, their secrets and their limits.
//!
//! An app's secret is kept as text, because it is the key of its users' JWTs. It stands in the store, and that of the
//! first app in the key file of the data directory too. A rotation gives an app a second secret beside the first:
//! both are valid until the operator ends one of them.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio::sync::{Mutex, MutexGuard};

use crate::domain::{AppId, Reason, Refusal};
use crate::store::{Claim, ClaimError, ClaimKey, ClaimRevision, PAGE_ITEMS_MAX, Store, StoreError};

/// Below this name the apps stand among the claims.
const APPS_CLAIM: &str = "apps";
/// Holds the id of the app whose key is in the key file, so that the file can be written anew from a backup.
const FIRST_APP_CLAIM: &str = "first-app";
/// Most apps, with those that were removed: all of them are in memory, and one gateway serves a few products.
const APPS_MAX: usize = 1_000;
/// Valid secrets of an app while it changes from one to the other.
const SECRETS_MAX: usize = 2;

/// What an app may use of the gateway. `None` sets no limit of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppLimits {
    /// Rooms that it may begin in one day of UTC.
    #[serde(default)]
    pub rooms_per_day_max: Option<u32>,
    /// Conferences that it may have open at the same time.
    #[serde(default)]
    pub conferences_max: Option<u32>,
}

/// An app as the store keeps it.
#[derive(Clone, Default, Serialize, Deserialize)]
struct StoredApp {
    /// Valid secrets, newest first: two while a rotation goes on.
    secrets: Vec<String>,
    #[serde(default)]
    limits: AppLimits,
    /// A removed app stays under its name without secrets: who took the name next would see what is left of it.
    #[serde(default)]
    removed: bool,
}

/// An app and where its claim stands.
struct Kept {
    app: StoredApp,
    revision: ClaimRevision,
    /// Its conferences are being ended: nobody acts for it any more.
    leaving: bool,
}

impl Kept {
    fn is_there(&self) -> bool {
        !self.app.removed && !self.leaving
    }
}

/// What an operator sees of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppEntry {
    /// Its id.
    pub id: AppId,
    /// Whether its key is the one in the data directory.
    pub is_first: bool,
    /// Valid secrets: one, or two during a rotation.
    pub secret_count: usize,
    /// What it may use.
    pub limits: AppLimits,
}

/// Where the first app's key stands outside of the store, for the operator to read.
pub trait KeyFile: Send + Sync + 'static {
    /// Replaces the key. It is on disk when this returns. Blocks.
    fn keep(&self, app: &AppId, secret: &str) -> io::Result<()>;
}

/// Why the apps could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AppsError {
    /// An entry that cannot be read.
    #[error("the app {app} in the store is damaged; restore the store from a backup")]
    Damaged {
        /// Which.
        app: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody else wrote at the same time.
    #[error("the apps were changed by another process; start again")]
    Raced,
}

impl From<ClaimError> for AppsError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Unavailable(error) => Self::Store(error),
            ClaimError::Conflict | ClaimError::TooLarge(_) => Self::Raced,
        }
    }
}

/// All apps, in memory. One change goes on at a time.
pub struct Apps {
    store: Arc<dyn Store>,
    key_file: Option<Arc<dyn KeyFile>>,
    first: AppId,
    apps: RwLock<BTreeMap<AppId, Kept>>,
    changing: Mutex<()>,
}

/// The key of the first app as the store has it: the newest secret. `None` in a store that knows no first app.
pub async fn first_key(store: &dyn Store) -> Result<Option<(AppId, String)>, AppsError> {
    let Some(claim) = store.get(&first_app_claim()?).await? else { return Ok(None) };
    let name = String::from_utf8_lossy(&claim.value).into_owned();
    let id = AppId::parse(&name).map_err(|_| damaged(FIRST_APP_CLAIM))?;
    let Some(claim) = store.get(&app_claim(&id)?).await? else { return Ok(None) };
    let app = parse(id.as_str(), &claim)?;
    Ok(app.secrets.into_iter().next().map(|secret| (id, secret)))
}

/// The secrets of an app; where there is none, one of their usual length that opens nothing.
fn secrets_of(kept: Option<&Kept>) -> impl Iterator<Item = &str> {
    const NOBODYS: &str = "-------------------------------------------";
    let own = kept.map(|kept| kept.app.secrets.iter().map(String::as_str));
    own.into_iter().flatten().chain(kept.is_none().then_some(NOBODYS))
}

impl Apps {
    /// Reads all apps, after making sure that `first` is one of them with its secret.
    pub async fn open(store: Arc<dyn Store>, first: &AppId, first_secret: &str) -> Result<Self, AppsError> {
        keep_first(&*store, first, first_secret).await?;
        let under = ClaimKey::from_parts(&[APPS_CLAIM]).map_err(|_| damaged(APPS_CLAIM))?;
        let mut apps = BTreeMap::new();
        let mut after = None;
        loop {
            let page = store.list(&under, after.as_ref(), PAGE_ITEMS_MAX).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, claim) in &page {
                let name = key.as_str().rsplit('/').next().unwrap_or_default();
                let id = AppId::parse(name).map_err(|_| damaged(name))?;
                let kept = Kept { app: parse(name, claim)?, revision: claim.revision, leaving: false };
                apps.insert(id, kept);
            }
        }
        Ok(Self {
            store,
            key_file: None,
            first: first.clone(),
            apps: RwLock::new(apps),
            changing: Mutex::new(()),
        })
    }

    /// Has the key file follow the rotations of the first app.
    pub fn with_key_file(self, key_file: Arc<dyn KeyFile>) -> Self {
        Self { key_file: Some(key_file), ..self }
    }

    /// Whether somebody may act for `app`: it is there, and is not being removed.
    pub fn is_there(&self, app: &AppId) -> bool {
        self.apps.read().get(app).is_some_and(Kept::is_there)
    }

    /// The app whose key this is: `<appId>.<secret>`. Takes as long for a wrong secret as for a right one.
    pub fn authenticate(&self, app_key: &str) -> Option<AppId> {
        let (app, secret) = app_key.split_once('.')?;
        let app = AppId::parse(app).ok()?;
        let apps = self.apps.read();
        let kept = apps.get(&app).filter(|kept| kept.is_there());
        let right = secrets_of(kept)
            .fold(0, |right, kept| right | kept.as_bytes().ct_eq(secret.as_bytes()).unwrap_u8());
        (right == 1 && kept.is_some()).then_some(app)
    }

    /// Tries each valid secret of `app`, the newest first, until one gives something. Where there is no such app, one is
    /// tried that gives nothing: how long a refusal takes does not tell which apps there are.
    pub fn with_secrets<T>(&self, app: &AppId, mut attempt: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let apps = self.apps.read();
        let kept = apps.get(app).filter(|kept| kept.is_there());
        let found = secrets_of(kept).find_map(&mut attempt);
        found.filter(|_| kept.is_some())
    }

    /// What `app` may use; no limits for an app that is not there.
    pub fn limits(&self, app: &AppId) -> AppLimits {
        self.apps.read().get(app).map(|kept| kept.app.limits).unwrap_or_default()
    }

    /// Every app, in the order of their ids.
    pub fn list(&self) -> Vec<AppEntry> {
        let apps = self.apps.read();
        let there = apps.iter().filter(|(_, kept)| kept.is_there());
        there.map(|(id, kept)| self.entry(id, &kept.app)).collect()
    }

    fn entry(&self, id: &AppId, app: &StoredApp) -> AppEntry {
        AppEntry {
            id: id.clone(),
            is_first: *id == self.first,
            secret_count: app.secrets.len(),
            limits: app.limits,
        }
    }

    /// Makes a new app with this secret.
    pub async fn add(&self, id: &AppId, secret: &str, limits: AppLimits) -> Result<AppEntry, Refusal> {
        let changing = self.changing.lock().await;
        let (count, known) = {
            let apps = self.apps.read();
            (apps.len(), apps.get(id).map(|kept| kept.app.removed))
        };
        match known {
            Some(false) => return Err(refused(format!("there is an app {id} already; choose another name"))),
            Some(true) => {
                return Err(refused(format!(
                    "an app {id} was removed, and what is left of it must not come into other hands; \
                     choose another name"
                )));
            }
            None if count >= APPS_MAX => {
                return Err(refused(format!(
                    "a gateway holds at most {APPS_MAX} apps, removed ones counted"
                )));
            }
            None => {}
        }
        let app = StoredApp { secrets: vec![secret.to_owned()], limits, removed: false };
        self.keep(&changing, id, app).await
    }

    /// Gives `id` a newer secret beside the one that it has.
    pub async fn rotate(&self, id: &AppId, secret: &str) -> Result<AppEntry, Refusal> {
        let changing = self.changing.lock().await;
        let mut app = self.find(id)?;
        if app.secrets.len() >= SECRETS_MAX {
            return Err(refused(format!(
                "a rotation of {id} is under way: --finish ends its older secret, --cancel its newer one"
            )));
        }
        app.secrets.insert(0, secret.to_owned());
        let entry = self.keep(&changing, id, app).await?;
        // The key file names a valid secret at every moment: the new one only once it is valid.
        self.tell_key_file(id, secret).await?;
        Ok(entry)
    }

    /// Ends a rotation: the newer secret stays, and the older one is worth nothing any more.
    pub async fn finish_rotation(&self, id: &AppId) -> Result<AppEntry, Refusal> {
        self.settle(id, |secrets| secrets.truncate(1)).await
    }

    /// Takes a rotation back: the older secret stays, and the newer one is worth nothing any more.
    pub async fn cancel_rotation(&self, id: &AppId) -> Result<AppEntry, Refusal> {
        self.settle(id, |secrets| drop(secrets.drain(..1))).await
    }

    async fn settle(&self, id: &AppId, end_one: impl FnOnce(&mut Vec<String>)) -> Result<AppEntry, Refusal> {
        let changing = self.changing.lock().await;
        let mut app = self.find(id)?;
        if app.secrets.len() < SECRETS_MAX {
            return Err(refused(format!("no rotation of {id} is under way")));
        }
        end_one(&mut app.secrets);
        if let Some(staying) = app.secrets.first() {
            self.tell_key_file(id, staying).await?;
        }
        self.keep(&changing, id, app).await
    }

    /// Replaces the limits of `id`.
    pub async fn set_limits(&self, id: &AppId, limits: AppLimits) -> Result<AppEntry, Refusal> {
        let changing = self.changing.lock().await;
        let app = StoredApp { limits, ..self.find(id)? };
        self.keep(&changing, id, app).await
    }

    /// Begins to remove `id`: from now on nobody acts for it, until the removal is carried out or dropped.
    pub async fn begin_removal(&self, id: &AppId) -> Result<Removal<'_>, Refusal> {
        let changing = self.changing.lock().await;
        self.find(id)?;
        if *id == self.first {
            return Err(refused(format!(
                "{id} is the first app, whose key is the data directory's; rotate it, and leave it unused"
            )));
        }
        if let Some(kept) = self.apps.write().get_mut(id) {
            kept.leaving = true;
        }
        Ok(Removal { apps: self, id: id.clone(), changing })
    }

    fn find(&self, id: &AppId) -> Result<StoredApp, Refusal> {
        let apps = self.apps.read();
        let kept = apps.get(id).filter(|kept| kept.is_there());
        kept.map(|kept| kept.app.clone()).ok_or_else(|| {
            Reason::NotFound.because(format!("there is no app {id}; `tidegate app list` shows them"))
        })
    }

    /// Stores `app` and lets it hold from then on.
    async fn keep(
        &self,
        _changing: &MutexGuard<'_, ()>,
        id: &AppId,
        app: StoredApp,
    ) -> Result<AppEntry, Refusal> {
        let before = self.apps.read().get(id).map(|kept| kept.revision);
        let key = app_claim(id).map_err(|error| unavailable(&error))?;
        let put = self.store.put(&key, before, text(id, &app).map_err(|error| unavailable(&error))?);
        let revision = match put.await {
            Ok(revision) => revision,
            Err(error) => {
                // It may have been kept nonetheless: the next change must not stumble over a revision of before.
                self.reread(id, &key).await;
                return Err(unavailable(&error.into()));
            }
        };
        let entry = self.entry(id, &app);
        self.apps.write().insert(id.clone(), Kept { app, revision, leaving: false });
        Ok(entry)
    }

    async fn reread(&self, id: &AppId, key: &ClaimKey) {
        if let Ok(Some(claim)) = self.store.get(key).await
            && let Ok(app) = parse(id.as_str(), &claim)
        {
            self.apps.write().insert(id.clone(), Kept { app, revision: claim.revision, leaving: false });
        }
    }

    async fn tell_key_file(&self, id: &AppId, secret: &str) -> Result<(), Refusal> {
        let Some(key_file) = self.key_file.clone().filter(|_| *id == self.first) else { return Ok(()) };
        let (app, secret) = (id.clone(), secret.to_owned());
        let written = tokio::task::spawn_blocking(move || key_file.keep(&app, &secret)).await;
        written.map_err(io::Error::from).flatten().map_err(|error| {
            Reason::StoreUnavailable.because(format!("the key file cannot be written: {error}"))
        })
    }
}

/// An app that is about to go. Dropped without [`Removal::finish`], it stays.
pub struct Removal<'a> {
    apps: &'a Apps,
    id: AppId,
    changing: MutexGuard<'a, ()>,
}

impl Removal<'_> {
    /// Removes the app for good; its name is not given again.
    pub async fn finish(self) -> Result<(), Refusal> {
        let removed = StoredApp { removed: true, ..StoredApp::default() };
        self.apps.keep(&self.changing, &self.id, removed).await.map(drop)
    }
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        if let Some(kept) = self.apps.apps.write().get_mut(&self.id) {
            kept.leaving = false;
        }
    }
}

/// Makes sure that the store knows the first app with this secret, and as the first.
async fn keep_first(store: &dyn Store, first: &AppId, secret: &str) -> Result<(), AppsError> {
    let key = app_claim(first)?;
    let kept = store.get(&key).await?;
    let mut app = match &kept {
        Some(claim) => parse(first.as_str(), claim)?,
        None => StoredApp::default(),
    };
    if app.removed || !app.secrets.iter().any(|known| known == secret) {
        app = StoredApp { secrets: vec![secret.to_owned()], removed: false, ..app };
        store.put(&key, kept.map(|claim| claim.revision), text(first, &app)?).await?;
    }
    let key = first_app_claim()?;
    let kept = store.get(&key).await?;
    if kept.as_ref().is_none_or(|claim| claim.value != first.as_str().as_bytes()) {
        let value = Bytes::copy_from_slice(first.as_str().as_bytes());
        store.put(&key, kept.map(|claim| claim.revision), value).await?;
    }
    Ok(())
}

fn app_claim(id: &AppId) -> Result<ClaimKey, AppsError> {
    ClaimKey::from_parts(&[APPS_CLAIM, id.as_str()]).map_err(|_| damaged(id.as_str()))
}

fn first_app_claim() -> Result<ClaimKey, AppsError> {
    ClaimKey::from_parts(&[FIRST_APP_CLAIM]).map_err(|_| damaged(FIRST_APP_CLAIM))
}

fn text(id: &AppId, app: &StoredApp) -> Result<Bytes, AppsError> {
    serde_json::to_vec(app).map(Bytes::from).map_err(|_| damaged(id.as_str()))
}

fn parse(app: &str, claim: &Claim) -> Result<StoredApp, AppsError> {
    serde_json::from_slice(&claim.value).map_err(|_| damaged(app))
}

fn damaged(app: &str) -> AppsError {
    AppsError::Damaged { app: app.to_owned() }
}

fn refused(detail: String) -> Refusal {
    Reason::InvalidRequest.because(detail)
}

fn unavailable(error: &AppsError) -> Refusal {
    tracing::error!(%error, "an app could not be changed");
    Reason::StoreUnavailable.because(error.to_string())
}
