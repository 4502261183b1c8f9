//! Every secret that passed through a test, and the search for them in what a gateway says.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

/// Secrets shorter than this are not looked for: they would be found by chance.
const SHORTEST_SECRET: usize = 8;
/// Letters at the edges of a secret in base64 that share bits with what stands beside it.
const SHARED_LETTERS: usize = 2;

/// What stands in the place of a secret that is not shown again.
const MASK: &str = "****";

/// What was learnt, in every form in which it is looked for.
#[derive(Default)]
struct Known {
    secrets: BTreeSet<String>,
    /// Forms by their first bytes, so that a text is read once however many there are. With each the secret itself.
    forms: HashMap<[u8; SHORTEST_SECRET], Vec<(String, String)>>,
}

impl Known {
    fn learn(&mut self, secret: &str) {
        if secret.len() < SHORTEST_SECRET || !self.secrets.insert(secret.to_owned()) {
            return;
        }
        for form in forms(secret) {
            let Some(first) = form.as_bytes().first_chunk::<SHORTEST_SECRET>() else { continue };
            self.forms.entry(*first).or_default().push((form, secret.to_owned()));
        }
    }

    fn found_in(&self, text: &str) -> Option<&str> {
        let bytes = text.as_bytes();
        bytes.windows(SHORTEST_SECRET).enumerate().find_map(|(at, window)| {
            let forms = self.forms.get(window)?;
            let found = forms.iter().find(|(form, _)| bytes[at..].starts_with(form.as_bytes()));
            found.map(|(_, secret)| secret.as_str())
        })
    }
}

/// The text itself, and as it stands in a URL, in hexadecimal digits, in JSON, and inside of base64.
fn forms(secret: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::from([secret.to_owned()]);
    let (mut percent, mut hex) = (String::new(), String::new());
    for byte in secret.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        let _ = if plain { write!(percent, "{}", char::from(byte)) } else { write!(percent, "%{byte:02X}") };
        let _ = write!(hex, "{byte:02x}");
    }
    forms.extend([hex.to_uppercase(), hex, percent.to_lowercase(), percent]);
    forms.insert(Value::from(secret).to_string().trim_matches('"').to_owned());
    forms.insert(format!("{secret:?}").trim_matches('"').to_owned());
    // Wherever it begins among the three bytes that make four letters.
    for before in 0..3 {
        let padded = [&vec![0; before], secret.as_bytes()].concat();
        for encoded in [URL_SAFE_NO_PAD.encode(&padded), STANDARD_NO_PAD.encode(&padded)] {
            let first = if before == 0 { 0 } else { before + 1 };
            let last = encoded.len().saturating_sub(SHARED_LETTERS);
            forms.extend(encoded.get(first..last).map(str::to_owned));
        }
    }
    forms
}

/// Every secret that passed through the test, so that logs, metrics and error bodies can be searched for them.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Mutex<Known>>);

impl Secrets {
    pub fn learn(&self, secret: &str) {
        // The last segment of a token is its signature: a log line that cuts the token must not keep it either.
        let segment = secret.rsplit('.').next().unwrap_or(secret);
        let mut known = self.0.lock();
        known.learn(secret);
        known.learn(segment);
    }

    /// What a call shows as its credential, true or false: a false one may be a true one elsewhere.
    pub fn learn_bearer(&self, bearer: &str) {
        self.0.lock().learn(bearer);
    }

    /// Everything in a request or an answer whose name says that it is a secret.
    pub fn learn_from(&self, answer: &Value) {
        match answer {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), value) {
                        (
                            "ticket" | "token" | "roleToken" | "password" | "secret" | "newSecret"
                            | "sessionKey",
                            Value::String(secret),
                        ) if !secret.starts_with(MASK) => self.learn(secret),
                        ("rtmp" | "flv" | "wsFlv", Value::String(url)) => {
                            if let Some((_, token)) = url.split_once("?t=") {
                                self.learn(token);
                            }
                        }
                        _ => self.learn_from(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn_from(item)),
            _ => {}
        }
    }

    #[track_caller]
    pub fn assert_absent(&self, place: &str, text: &str) {
        let known = self.0.lock();
        let found: Vec<_> = text
            .lines()
            .filter_map(|line| Some(format!("{}: {line}", known.found_in(line)?)))
            .take(5)
            .collect();
        assert!(found.is_empty(), "{place} tells secrets:\n{}", found.join("\n"));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().secrets.len()
    }

    /// Each of them.
    pub fn each(&self) -> Vec<String> {
        self.0.lock().secrets.iter().cloned().collect()
    }

    /// Whether one of them stands in these bytes, in any of its forms.
    pub fn found_in(&self, bytes: &[u8]) -> Option<String> {
        self.0.lock().found_in(&String::from_utf8_lossy(bytes)).map(str::to_owned)
    }
}
