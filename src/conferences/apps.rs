//! The apps that may use this gateway, and their secrets.
//!
//! An app's secret is kept as text, because it is the key of its users' JWTs. It stands in the store, and that of the
//! first app in the key file of the data directory too.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::domain::AppId;
use crate::store::{ClaimError, ClaimKey, PAGE_ITEMS_MAX, Store, StoreError};

/// Below this name the apps stand among the claims.
const APPS_CLAIM: &str = "apps";

/// An app as the store keeps it.
#[derive(Clone, Serialize, Deserialize)]
struct StoredApp {
    /// Valid secrets, newest first: two while a rotation goes on.
    secrets: Vec<String>,
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

/// All apps, in memory.
pub struct Apps {
    apps: RwLock<BTreeMap<AppId, StoredApp>>,
}

impl Apps {
    /// Reads all apps, after making sure that `first` is one of them with its secret.
    pub async fn open(store: &dyn Store, first: &AppId, first_secret: &str) -> Result<Self, AppsError> {
        let damaged = |app: &str| AppsError::Damaged { app: app.to_owned() };
        let under = ClaimKey::from_parts(&[APPS_CLAIM]).map_err(|_| damaged(APPS_CLAIM))?;
        let key = ClaimKey::from_parts(&[APPS_CLAIM, first.as_str()]).map_err(|_| damaged(first.as_str()))?;
        let kept = store.get(&key).await?;
        let mut app = match &kept {
            Some(claim) => parse(first.as_str(), &claim.value)?,
            None => StoredApp { secrets: Vec::new() },
        };
        if !app.secrets.iter().any(|secret| secret == first_secret) {
            app.secrets = vec![first_secret.to_owned()];
            let value = serde_json::to_vec(&app).map_err(|_| damaged(first.as_str()))?;
            match store.put(&key, kept.map(|claim| claim.revision), Bytes::from(value)).await {
                Ok(_) => {}
                Err(ClaimError::Unavailable(error)) => return Err(error.into()),
                Err(ClaimError::Conflict | ClaimError::TooLarge(_)) => return Err(AppsError::Raced),
            }
        }
        let mut apps = BTreeMap::new();
        let mut after = None;
        loop {
            let page = store.list(&under, after.as_ref(), PAGE_ITEMS_MAX).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, claim) in &page {
                let name = key.as_str().rsplit('/').next().unwrap_or_default();
                let id = AppId::parse(name).map_err(|_| damaged(name))?;
                apps.insert(id, parse(name, &claim.value)?);
            }
        }
        Ok(Self { apps: RwLock::new(apps) })
    }

    /// The app whose key this is: `<appId>.<secret>`. Takes as long for a wrong secret as for a right one.
    pub fn authenticate(&self, app_key: &str) -> Option<AppId> {
        let (app, secret) = app_key.split_once('.')?;
        let app = AppId::parse(app).ok()?;
        let apps = self.apps.read();
        let secrets = &apps.get(&app)?.secrets;
        let right = secrets
            .iter()
            .fold(0, |right, kept| right | kept.as_bytes().ct_eq(secret.as_bytes()).unwrap_u8());
        (right == 1).then_some(app)
    }

    /// Tries each valid secret of `app` until one gives something.
    pub fn with_secrets<T>(&self, app: &AppId, mut attempt: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let apps = self.apps.read();
        apps.get(app)?.secrets.iter().find_map(|secret| attempt(secret))
    }
}

fn parse(app: &str, value: &[u8]) -> Result<StoredApp, AppsError> {
    serde_json::from_slice(value).map_err(|_| AppsError::Damaged { app: app.to_owned() })
}
