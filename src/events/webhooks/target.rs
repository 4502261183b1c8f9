//! Where an app wants to be told, what of, and with which secret.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{Reason, Refusal, Timestamp};
use crate::outbound::{Policy, Url};
use crate::secret::Secret;

/// Targets of one app: production, staging and a few integrations.
pub const TARGETS_PER_APP_MAX: usize = 16;
/// Longest id of a target, in bytes.
const ID_BYTES_MAX: usize = 64;
/// Shortest secret that an app may choose: as many random characters as cannot be guessed.
const SECRET_CHARS_MIN: usize = 16;
/// Longest secret; all targets of an app have to fit into one claim.
const SECRET_CHARS_MAX: usize = 128;
/// What a generated secret begins with, so that a scanner for leaked secrets knows it.
pub(super) const SECRET_PREFIX: &str = "whsec_";
/// How long the former secret goes on signing after a new one was set: a day, so that receivers can be changed one by
/// one.
pub const SECRET_OVERLAP_MS: u64 = 24 * 3_600_000;
/// Characters at the end of a secret that are shown, so that a person knows which it is.
const SECRET_CHARS_SHOWN: usize = 4;
/// Stands for the rest, and cannot be in a secret.
const MASK: &str = "****";

/// Every type of message, and so every word of a filter.
pub const TYPES: [&str; 12] = [
    "conferenceStarted",
    "memberJoined",
    "memberExited",
    "memberChanged",
    "streamAdded",
    "streamRemoved",
    "mediaChanged",
    "roleChanged",
    "conferenceChanged",
    "conferenceExit",
    "message",
    "webhookGap",
];

/// The name of a target in its app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct TargetId(String);

impl TargetId {
    /// Takes 1 to 64 letters, digits, `-` or `_`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err("is 1 to 64 letters, digits, '-' or '_'".to_owned())
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TargetId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A secret as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredSecret(pub(super) Secret);

impl Serialize for StoredSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for StoredSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

/// A URL as its text.
mod url_text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::outbound::Url;

    pub(super) fn serialize<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(url.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
        Url::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The secret before the present one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FormerSecret {
    pub(super) secret: StoredSecret,
    /// When it stops to sign.
    pub(super) until: Timestamp,
}

/// A target as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Its name in the app.
    pub id: TargetId,
    /// Where messages go.
    #[serde(with = "url_text")]
    pub url: Url,
    /// The types it is told of; `None` is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<BTreeSet<String>>,
    /// Whether it is told anything.
    pub enabled: bool,
    pub(super) secret: StoredSecret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) former: Option<FormerSecret>,
}

impl Target {
    /// Whether it is told of messages of this type. Of gaps it always is.
    pub(super) fn wants(&self, kind: &str) -> bool {
        kind == "webhookGap" || self.events.as_ref().is_none_or(|events| events.contains(kind))
    }

    /// The secrets that sign at `now`, the newest first.
    pub(super) fn secrets(&self, now: Timestamp) -> impl Iterator<Item = &Secret> {
        let former = self.former.as_ref().filter(|former| now < former.until);
        std::iter::once(&self.secret.0).chain(former.map(|former| &former.secret.0))
    }

    /// The secret with all but its end hidden.
    pub fn masked_secret(&self) -> String {
        mask(self.secret.0.expose())
    }

    /// When the former secret stops to sign, if one still does at `now`.
    pub fn former_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.former.as_ref().map(|former| former.until).filter(|until| now < *until)
    }

    /// The host and port for log lines: paths and queries may hold keys.
    pub(super) fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

fn mask(secret: &str) -> String {
    let shown = secret.len().saturating_sub(SECRET_CHARS_SHOWN);
    format!("{MASK}{}", secret.get(shown..).unwrap_or_default())
}

/// A target as it is asked for.
#[derive(Debug, Clone, Default)]
pub struct TargetRequest {
    /// Absent: that of the present target with this URL, or a new one.
    pub id: Option<TargetId>,
    /// Where messages go.
    pub url: String,
    /// Absent is all.
    pub events: Option<Vec<String>>,
    /// Absent, or the mask as it is shown: what is there stays, or one is made.
    pub secret: Option<String>,
    /// Absent is yes.
    pub enabled: Option<bool>,
}

/// A target as it was put, with its secret where the caller may see it.
#[derive(Debug, Clone)]
pub struct PutTarget {
    /// The target.
    pub target: Target,
    /// The secret, where this very request made or named it.
    pub shown: Option<Secret>,
}

/// Random names and secrets for what a request leaves open.
pub(super) struct Fresh<'a> {
    pub(super) id: &'a mut dyn FnMut() -> Result<String, Refusal>,
    pub(super) secret: &'a mut dyn FnMut() -> Result<Secret, Refusal>,
}

/// The list that `requests` ask for in the place of `present`.
pub(super) fn replace(
    present: &[Target],
    requests: Vec<TargetRequest>,
    policy: &Policy,
    now: Timestamp,
    mut fresh: Fresh<'_>,
) -> Result<Vec<PutTarget>, Refusal> {
    if requests.len() > TARGETS_PER_APP_MAX {
        let detail = format!("targets: at most {TARGETS_PER_APP_MAX} in one app");
        return Err(Reason::InvalidRequest.because(detail));
    }
    let named: BTreeSet<TargetId> = requests.iter().filter_map(|request| request.id.clone()).collect();
    let mut taken = BTreeSet::new();
    let mut put = Vec::new();
    for (index, request) in requests.into_iter().enumerate() {
        let refuse = |field: &str, rule: &str| {
            Reason::InvalidRequest.because(format!("targets[{index}].{field}: {rule}"))
        };
        let url = Url::parse(&request.url).map_err(|_| refuse("url", "is an absolute http or https URL"))?;
        policy.check_url(&url).map_err(|forbidden| refuse("url", &forbidden.to_string()))?;
        let events = request.events.map(|events| filter(events).map_err(|rule| refuse("events", &rule)));
        let events = events.transpose()?;
        let by_url = |target: &&Target| {
            target.url == url && !named.contains(&target.id) && !taken.contains(&target.id)
        };
        let before = match &request.id {
            Some(id) => present.iter().find(|target| target.id == *id),
            None => present.iter().find(by_url),
        };
        let id = match (request.id, before) {
            (Some(id), _) => id,
            (None, Some(before)) => before.id.clone(),
            (None, None) => TargetId((fresh.id)()?),
        };
        if !taken.insert(id.clone()) {
            return Err(refuse("id", "stands in the list twice"));
        }
        let (secret, former, shown) = secrets(before, request.secret, now, &mut fresh)
            .map_err(|wrong| wrong.unwrap_or_else(|rule| refuse("secret", rule)))?;
        let enabled = request.enabled.unwrap_or(true);
        put.push(PutTarget { target: Target { id, url, events, enabled, secret, former }, shown });
    }
    Ok(put)
}

fn filter(events: Vec<String>) -> Result<BTreeSet<String>, String> {
    if events.is_empty() {
        return Err("names one type or more; leave it out for all".to_owned());
    }
    if events.iter().any(|event| !TYPES.contains(&event.as_str())) {
        return Err(format!("may name {}", TYPES.join(", ")));
    }
    Ok(events.into_iter().collect())
}

type Secrets = (StoredSecret, Option<FormerSecret>, Option<Secret>);

/// The secrets after a request. A new one makes the present one the former; naming the present one again ends the former.
fn secrets(
    before: Option<&Target>,
    asked: Option<String>,
    now: Timestamp,
    fresh: &mut Fresh<'_>,
) -> Result<Secrets, Result<Refusal, &'static str>> {
    let former = before.and_then(|before| before.former.clone()).filter(|former| now < former.until);
    match (before, asked) {
        (Some(before), None) => Ok((before.secret.clone(), former, None)),
        (Some(before), Some(asked)) if asked == before.masked_secret() => {
            Ok((before.secret.clone(), former, None))
        }
        (None, None) => {
            let secret = (fresh.secret)().map_err(Ok)?;
            Ok((StoredSecret(secret.clone()), None, Some(secret)))
        }
        (before, Some(asked)) => {
            let good = asked.bytes().all(|byte| byte.is_ascii_graphic()) && !asked.contains(MASK);
            if !good || !(SECRET_CHARS_MIN..=SECRET_CHARS_MAX).contains(&asked.len()) {
                return Err(Err(
                    "is 16 to 128 visible ASCII characters without \"****\"; leave it out and one is made",
                ));
            }
            let secret = Secret::new(asked);
            let former =
                before.map(|before| &before.secret).filter(|present| present.0 != secret).map(|present| {
                    FormerSecret { secret: present.clone(), until: now.plus_ms(SECRET_OVERLAP_MS) }
                });
            Ok((StoredSecret(secret.clone()), former, Some(secret)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn put(
        present: &[Target],
        requests: Vec<TargetRequest>,
        now: Timestamp,
    ) -> Result<Vec<PutTarget>, String> {
        let mut count = 0;
        let fresh = Fresh {
            id: &mut || {
                count += 1;
                Ok(format!("wh_{count}"))
            },
            secret: &mut || Ok(Secret::new("whsec_generated-here".to_owned())),
        };
        replace(present, requests, &Policy::new(|_| false), now, fresh)
            .map_err(|refusal| refusal.detail.into())
    }

    fn request(url: &str) -> TargetRequest {
        TargetRequest { url: url.to_owned(), ..TargetRequest::default() }
    }

    fn targets(put: &[PutTarget]) -> Vec<Target> {
        put.iter().map(|put| put.target.clone()).collect()
    }

    fn signing(target: &Target, now: Timestamp) -> Vec<&str> {
        target.secrets(now).map(Secret::expose).collect()
    }

    #[test]
    fn the_same_list_put_twice_changes_nothing() {
        let requests = vec![request("https://a.example/1"), request("https://a.example/1")];
        let first = put(&[], requests.clone(), NOW).unwrap();
        let [one, two] = first.as_slice() else { panic!("{first:?}") };
        assert_ne!(one.target.id, two.target.id);
        assert_eq!(one.shown.as_ref().map(Secret::expose), Some("whsec_generated-here"));
        let second = put(&targets(&first), requests, NOW).unwrap();
        assert_eq!(targets(&second), targets(&first));
        assert!(second.iter().all(|put| put.shown.is_none()), "a secret is shown once");
    }

    #[test]
    fn a_new_secret_signs_beside_the_former_until_that_retires() {
        let with = |secret: &str| {
            let id = Some(TargetId::parse("a").unwrap());
            vec![TargetRequest { id, secret: Some(secret.to_owned()), ..request("https://a.example/") }]
        };
        let one = targets(&put(&[], with("the-first-secret"), NOW).unwrap());
        let two = targets(&put(&one, with("the-second-secret"), NOW).unwrap());
        let retired = NOW.plus_ms(SECRET_OVERLAP_MS);
        assert_eq!(signing(&two[0], NOW), ["the-second-secret", "the-first-secret"]);
        assert_eq!(signing(&two[0], retired), ["the-second-secret"]);
        assert_eq!((two[0].former_until(NOW), two[0].former_until(retired)), (Some(retired), None));

        // What a GET shows can be put back.
        let mask = two[0].masked_secret();
        assert_eq!(mask, "****cret");
        let kept = targets(&put(&two, with(&mask), NOW).unwrap());
        assert_eq!(kept, two);
        let named = targets(&put(&two, with("the-second-secret"), NOW).unwrap());
        assert_eq!(signing(&named[0], NOW), ["the-second-secret"]);
        let three = targets(&put(&two, with("the-third-secret"), NOW).unwrap());
        assert_eq!(signing(&three[0], NOW), ["the-third-secret", "the-second-secret"]);
    }

    #[test]
    fn what_a_target_cannot_be_is_refused_with_its_field() {
        let good = request("https://a.example/");
        let id = |id: &str| Some(TargetId::parse(id).unwrap());
        let secret = |secret: &str| TargetRequest { secret: Some(secret.to_owned()), ..good.clone() };
        let events = |events: &[&str]| TargetRequest {
            events: Some(events.iter().map(|event| (*event).to_owned()).collect()),
            ..good.clone()
        };
        let long = "x".repeat(129);
        for (requests, field) in [
            (vec![request("/relative")], "targets[0].url"),
            (vec![good.clone(), request("http://10.0.0.1/")], "targets[1].url"),
            (vec![request("https://user:pass@a.example/")], "targets[0].url"),
            (vec![secret("short")], "targets[0].secret"),
            (vec![secret(&long)], "targets[0].secret"),
            (vec![secret("with a space in it")], "targets[0].secret"),
            (vec![secret("****-not-the-mask-of-any")], "targets[0].secret"),
            (vec![events(&[])], "targets[0].events"),
            (vec![events(&["memberJoined", "memberjoined"])], "targets[0].events"),
            (
                vec![
                    TargetRequest { id: id("a"), ..good.clone() },
                    TargetRequest { id: id("a"), ..good.clone() },
                ],
                "targets[1].id",
            ),
            (vec![good.clone(); TARGETS_PER_APP_MAX + 1], "targets: at most 16"),
        ] {
            let refused = put(&[], requests, NOW).unwrap_err();
            assert!(refused.starts_with(field), "{refused}");
        }
        assert!(put(&[], vec![events(&["memberJoined"])], NOW).is_ok());
    }

    #[test]
    fn the_largest_list_fits_into_one_claim_and_comes_back() {
        let request = |index: usize| TargetRequest {
            id: Some(TargetId::parse(&format!("{index:x>64}")).unwrap()),
            url: format!("https://a.example/{}", "u".repeat(2000)),
            events: Some(TYPES.iter().map(|kind| (*kind).to_owned()).collect()),
            secret: Some("s".repeat(SECRET_CHARS_MAX)),
            enabled: None,
        };
        let list = targets(&put(&[], (0..TARGETS_PER_APP_MAX).map(request).collect(), NOW).unwrap());
        let bytes = serde_json::to_vec(&list).unwrap();
        assert!(bytes.len() < crate::store::CLAIM_VALUE_BYTES_MAX, "{}", bytes.len());
        assert_eq!(serde_json::from_slice::<Vec<Target>>(&bytes).unwrap(), list);
        assert!(!format!("{list:?}").contains("ssss"));
    }

    #[test]
    fn a_filter_lets_its_types_through_and_every_gap() {
        let events = Some(vec!["memberJoined".to_owned()]);
        let list = put(&[], vec![TargetRequest { events, ..request("https://a.example/") }], NOW).unwrap();
        let target = &list[0].target;
        assert!(target.wants("memberJoined") && target.wants("webhookGap") && !target.wants("memberExited"));
    }
}
