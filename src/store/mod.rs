//! The event log and the claims.
