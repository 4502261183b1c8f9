//! How settings are called in the environment.

/// What the environment names of settings begin with.
pub const PREFIX: &str = "TIDEGATE_";

/// The environment variable for the setting `key`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase())
}
