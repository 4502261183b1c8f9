//! Settings: one flat TOML file, the environment above it, the defaults below.
//!
//! [`settings`] is the table that everything else here is driven by. An unknown key in the file refuses the start; an
//! unknown `TIDEGATE_` name in the environment is a warning, because orchestrators put names of their own there.

mod print;
mod settings;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use crate::domain::Limits;
use crate::environment::{OF_COMMANDS, PREFIX, variable};

pub use print::annotated_defaults;
pub use settings::Config;
pub use value::{AddressRanges, CorsOriginList, LogFilter, OpsToken, PublicHttpUrl, PublicRtmpUrl};

use settings::SETTINGS;
use value::Reader;

/// A name this like a known one is worth suggesting (1.0 is the same, 0.0 has nothing in common).
const SUGGESTION_SIMILARITY: f64 = 0.75;
/// Names the metadata of the layer that came from the environment.
const ENVIRONMENT: &str = "environment";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The file at this path.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(String),
    /// The table.
    Default,
}

impl Origin {
    fn of(layer: Option<&Metadata>, key: &str) -> Self {
        match layer.and_then(|layer| layer.source.as_ref()?.file_path()) {
            Some(path) => Self::File(path.to_owned()),
            None => Self::Environment(variable(key)),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Default => f.write_str("the built-in defaults"),
        }
    }
}

/// Why the settings cannot be used. Each message is one line that says what is wrong, where, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config file {}: {error}; check the path given to --config", path.display())]
    Unreadable {
        /// As given.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the config file {} is not valid TOML{at}: {message}; mend that line", path.display())]
    NotToml {
        /// As given.
        path: PathBuf,
        /// " in line 3", where known.
        at: String,
        /// What the parser says, without the text of the line: it may hold a secret.
        message: String,
    },
    /// The file has a key that is no setting.
    #[error(
        "unknown key `{key}` in the file {}; {suggestion}, or see all keys with `tidegate serve --print-config`",
        path.display()
    )]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The file.
        path: PathBuf,
        /// "did you mean `x`", or "remove it".
        suggestion: String,
    },
    /// An environment variable that is not text.
    #[error("the environment variable {name} is not valid UTF-8; set it to a text or unset it")]
    NotText {
        /// Its name.
        name: String,
    },
    /// A value of a wrong type, form or range.
    #[error("`{key}` is {shown} in {origin}, which is not {rule}; correct it there or remove it")]
    WrongValue {
        /// The setting.
        key: &'static str,
        /// The value, cut to a readable length; never a secret.
        shown: String,
        /// Where it stands.
        origin: Origin,
        /// What it should be.
        rule: String,
    },
    /// Two settings that contradict each other.
    #[error(
        "`{smaller}` ({smaller_value}) is greater than `{greater}` ({greater_value}), {because}; lower the first or raise the second"
    )]
    Contradiction {
        /// The setting that must not be greater.
        smaller: &'static str,
        /// Its value.
        smaller_value: u64,
        /// The setting that bounds it.
        greater: &'static str,
        /// Its value.
        greater_value: u64,
        /// Why.
        because: &'static str,
    },
    /// A setting that does nothing without another one.
    #[error("`{given}` is set and `{missing}` is not, {because}; set {}", variable(.missing))]
    Incomplete {
        /// What is set.
        given: &'static str,
        /// What is not.
        missing: &'static str,
        /// Why it is needed.
        because: &'static str,
    },
    /// Nobody could publish or play.
    #[error(
        "`rtmp_listen` and `rtmps_listen` are both empty, so that nobody could publish or play; set one of them"
    )]
    NoRtmp,
}

/// Settings were changed that a running gateway cannot change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} cannot change while the gateway runs, so that nothing was changed; take the change back, or restart the gateway",
    .0.join(", ")
)]
pub struct NeedsRestart(pub Vec<&'static str>);

/// The settings, and what is odd about them without being wrong.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// One line each, for the log.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the settings from `file`, where one is given, and from the variables of `environment`.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, ConfigError> {
        let mut layers = Figment::new();
        if let Some(path) = file {
            layers = layers.merge(file_layer(path)?);
        }
        let (variables, mut warnings) = environment_layer(environment)?;
        layers = layers.merge(variables);
        let config = Self::read(&Reader { layers: &layers })?;
        config.refuse_contradictions()?;
        config.refuse_half_tls()?;
        warnings.extend(config.oddities());
        Ok(Loaded { config, warnings })
    }

    /// What a change to `next` changes: the keys of the settings that differ, if a running gateway can take all of them.
    pub fn live_changes(&self, next: &Self) -> Result<Vec<&'static str>, NeedsRestart> {
        let differing = self.differences(next);
        let fixed: Vec<_> = differing.iter().filter(|setting| !setting.is_live).collect();
        if fixed.is_empty() {
            return Ok(differing.iter().map(|setting| setting.key).collect());
        }
        Err(NeedsRestart(fixed.iter().map(|setting| setting.key).collect()))
    }

    /// How long a stop leaves those inside alone.
    pub fn stop_notice_ms(&self) -> u64 {
        self.drain_notice_ms.min(self.drain_ms / 2)
    }

    /// The places in a conference that names no limits of its own.
    pub fn conference_limits(&self) -> Limits {
        Limits {
            max_talker_count: self.max_talker_count,
            max_video_count: self.max_video_count,
            max_audience_count: self.max_audience_count,
            max_pub_desktop_count: self.max_pub_desktop_count,
        }
    }

    fn refuse_contradictions(&self) -> Result<(), ConfigError> {
        let ring = "because a viewer cannot be further behind than the ring reaches back";
        let burst = "because a viewer would skip the burst that it has just been given";
        let ms = u64::from;
        for (smaller, smaller_value, greater, greater_value, because) in [
            ("rtc_lag_max_ms", ms(self.rtc_lag_max_ms), "ring_ms_max", ms(self.ring_ms_max), ring),
            ("live_lag_max_ms", ms(self.live_lag_max_ms), "ring_ms_max", ms(self.ring_ms_max), ring),
            (
                "webhook_retry_min_ms",
                self.webhook_retry_min_ms,
                "webhook_retry_max_ms",
                self.webhook_retry_max_ms,
                "because the waits between attempts grow",
            ),
            ("rtc_burst_ms", ms(self.rtc_burst_ms), "rtc_lag_max_ms", ms(self.rtc_lag_max_ms), burst),
        ] {
            if smaller_value > greater_value {
                return Err(ConfigError::Contradiction {
                    smaller,
                    smaller_value,
                    greater,
                    greater_value,
                    because,
                });
            }
        }
        Ok(())
    }

    /// TLS takes a listener and both files, and media takes a listener.
    fn refuse_half_tls(&self) -> Result<(), ConfigError> {
        if self.rtmp_listen.is_none() && self.rtmps_listen.is_none() {
            return Err(ConfigError::NoRtmp);
        }
        let rtmps = ("rtmps_listen", self.rtmps_listen.is_some());
        let https = ("https_listen", self.https_listen.is_some());
        let certificate = ("tls_cert", self.tls_cert.is_some());
        let key = ("tls_key", self.tls_key.is_some());
        let pair = "and TLS takes a certificate and its key";
        for (given, missing) in [
            (rtmps, certificate),
            (https, certificate),
            (rtmps, key),
            (https, key),
            (certificate, key),
            (key, certificate),
        ] {
            if given.1 && !missing.1 {
                return Err(ConfigError::Incomplete { given: given.0, missing: missing.0, because: pair });
            }
        }
        Ok(())
    }

    /// The files of certificate and key, where something listens that needs them.
    pub fn tls_files(&self) -> Option<(PathBuf, PathBuf)> {
        self.rtmps_listen.as_ref().or(self.https_listen.as_ref())?;
        Some((self.tls_cert.clone()?, self.tls_key.clone()?))
    }

    fn oddities(&self) -> Vec<String> {
        let mut oddities = Vec::new();
        if self.tls_cert.is_some() && self.tls_files().is_none() {
            oddities.push(
                "tls_cert and tls_key are set and have no effect: set rtmps_listen or https_listen, or remove them"
                    .to_owned(),
            );
        }
        if self.ops_token.is_none() && !self.ops_listen.is_loopback() {
            oddities.push(format!(
                "ops_listen ({}) is open to other hosts and ops_token is not set: /metrics refuses them until it is",
                self.ops_listen
            ));
        }
        oddities
    }
}

/// Values of one origin.
struct Layer {
    metadata: Metadata,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn file_layer(path: &Path) -> Result<Layer, ConfigError> {
    let text =
        fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    let values: Dict = Toml::from_str(&text).map_err(|error| ConfigError::NotToml {
        path: path.to_owned(),
        at: error.span().map(|span| in_line(&text, span.start)).unwrap_or_default(),
        message: error.message().replace('\n', ", "),
    })?;
    if let Some(key) = values.keys().find(|key| SETTINGS.iter().all(|setting| setting.key != *key)) {
        let suggestion = match nearest(key, SETTINGS.iter().map(|setting| setting.key.to_owned())) {
            Some(known) => format!("did you mean `{known}`? Correct it"),
            None => "remove it".to_owned(),
        };
        return Err(ConfigError::UnknownKey { key: key.clone(), path: path.to_owned(), suggestion });
    }
    Ok(Layer { metadata: Metadata::from("TOML file", path), values })
}

fn in_line(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    format!(" in line {}", before.matches('\n').count() + 1)
}

/// The layer of known names, and a warning for each unknown one.
fn environment_layer(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Layer, Vec<String>), ConfigError> {
    let known: BTreeMap<String, &str> =
        SETTINGS.iter().map(|setting| (variable(setting.key), setting.key)).collect();
    let mut values = Dict::new();
    let mut unknown = Vec::new();
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        if OF_COMMANDS.contains(&name) {
            continue;
        }
        let Some(key) = known.get(name) else {
            unknown.push(name.to_owned());
            continue;
        };
        let value = value.into_string().map_err(|_| ConfigError::NotText { name: name.to_owned() })?;
        values.insert((*key).to_owned(), Value::from(value));
    }
    unknown.sort();
    let warnings = unknown
        .into_iter()
        .map(|name| match nearest(&name, known.keys().cloned()) {
            Some(known) => format!("{name} is not a setting and has no effect; did you mean {known}?"),
            None => format!("{name} is not a setting and has no effect"),
        })
        .collect();
    Ok((Layer { metadata: Metadata::named(ENVIRONMENT), values }, warnings))
}

/// The known name most like `name`, if it is like it at all.
fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let name = name.to_ascii_lowercase();
    known
        .map(|known| (strsim::jaro_winkler(&name, &known.to_ascii_lowercase()), known))
        .filter(|(similarity, _)| *similarity >= SUGGESTION_SIMILARITY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests;
