//! How settings are called in the environment.

/// What the environment names of settings begin with.
pub const PREFIX: &str = "TIDEGATE_";

/// The environment variable for the setting `key`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase())
}

/// Where the operators' commands look for the gateway.
pub const URL: &str = "TIDEGATE_URL";
/// The app key that the operators' commands use.
pub const APP_KEY: &str = "TIDEGATE_APP_KEY";
/// Names that are for the operators' commands, and mean nothing to a server.
pub const OF_COMMANDS: [&str; 2] = [URL, APP_KEY];
