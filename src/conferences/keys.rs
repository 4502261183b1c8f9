//! The master key: given by the operator, or made at the first start and kept in the store.

use bytes::Bytes;

use crate::domain::ticket::TokenKeys;
use crate::store::{ClaimError, ClaimKey, Store, StoreError};

/// Bytes of a master key that is made here.
pub const MASTER_KEY_BYTES: usize = 32;
/// Where it stands among the claims.
const MASTER_KEY_CLAIM: &str = "master-key";

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The store holds something else under its name.
    #[error("the master key in the store is damaged; restore the store from a backup")]
    Damaged,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The token keys of the master key in the store. `fresh` becomes the master key of a store that has none.
pub async fn stored_token_keys(
    store: &dyn Store,
    fresh: [u8; MASTER_KEY_BYTES],
) -> Result<TokenKeys, MasterKeyError> {
    let key = ClaimKey::from_parts(&[MASTER_KEY_CLAIM]).map_err(|_| MasterKeyError::Damaged)?;
    let claim = match store.get(&key).await? {
        Some(claim) => Some(claim),
        None => match store.put(&key, None, Bytes::copy_from_slice(&fresh)).await {
            Ok(_) => return Ok(TokenKeys::derive(&fresh)),
            Err(ClaimError::Conflict) => store.get(&key).await?,
            Err(ClaimError::Unavailable(error)) => return Err(error.into()),
            Err(ClaimError::TooLarge(_)) => None,
        },
    };
    let master =
        claim.filter(|claim| claim.value.len() == MASTER_KEY_BYTES).ok_or(MasterKeyError::Damaged)?;
    Ok(TokenKeys::derive(&master.value))
}
