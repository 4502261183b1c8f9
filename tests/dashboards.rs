//! The dashboard, the alerts and the operators' page name only metrics and labels that a running gateway tells.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use support::wait::until;
use support::{Authority, EVENT, Gateway, Live, Setup};

/// Labels that the scraper adds.
const OF_THE_SCRAPER: [&str; 2] = ["instance", "job"];

/// The names of a scrape's samples, each with the names of its labels.
fn samples(scrape: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut samples = BTreeMap::<String, BTreeSet<String>>::new();
    for line in scrape.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().expect("a name").to_owned();
        let labels =
            line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
        let names =
            labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
        samples.entry(name).or_default().extend(names);
    }
    samples
}

/// The words of `text` that are names of our metrics, each with what stands behind it.
fn named(text: &str) -> Vec<(&str, &str)> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.match_indices("tidegate_")
        .filter(|(at, _)| !text[..*at].ends_with(is_part))
        .map(|(at, _)| {
            let rest = &text[at..];
            rest.split_at(rest.find(|letter| !is_part(letter)).unwrap_or(rest.len()))
        })
        .collect()
}

/// What is wrong with an expression.
fn faults(expression: &str, samples: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut known: BTreeSet<&str> = BTreeSet::from(OF_THE_SCRAPER);
    for (name, rest) in named(expression) {
        let Some(labels) = samples.get(name) else {
            faults.push(format!("{name} is no metric"));
            continue;
        };
        known.extend(labels.iter().map(String::as_str));
        let selector =
            rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
        for label in selector.split(',').filter_map(|label| label.split(['=', '!', '~']).next()) {
            let label = label.trim();
            if !label.is_empty() && !OF_THE_SCRAPER.contains(&label) && !labels.contains(label) {
                faults.push(format!("{name} has no label {label}"));
            }
        }
    }
    for group in expression.split("by (").skip(1).filter_map(|rest| rest.split_once(')')) {
        for label in group.0.split(',').map(str::trim).filter(|label| !known.contains(label)) {
            faults.push(format!("no metric has the label {label}"));
        }
    }
    faults
}

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A gateway on which everything has happened once that a dashboard shows.
async fn busy() -> (Gateway, String, Authority) {
    let authority = Authority::new();
    let issued = authority.issue("first");
    let setup = Setup::new().with_tls(&issued.certificate, &issued.key);
    let gateway = setup.env("TIDEGATE_OUTBOUND_ALLOW", "127.0.0.0/8").start().await;
    let app = gateway.app().await;
    let hook = json!({ "targets": [{ "url": "http://127.0.0.1:9/hook" }] });
    gateway.api.put("/v1/webhooks", &app.key, hook).await.expect("a target");
    let conference = app.conference().await;
    let _live = Live::of(&conference, "anna").await;
    let scrape = async || {
        let answer = reqwest::get(format!("http://{}/metrics", gateway.ops)).await.expect("an answer");
        answer.text().await.expect("a body")
    };
    let told = until(EVENT, "an attempt to tell the webhook", || async {
        Some(scrape().await).filter(|text| text.contains("tidegate_webhook_attempts_total{"))
    });
    let told = told.await;
    // The files of its certificate last as long as what made them.
    (gateway, told, authority)
}

#[tokio::test]
async fn dashboards_alerts_and_the_manual_name_metrics_that_there_are() {
    let (gateway, scrape, _authority) = busy().await;
    let samples = samples(&scrape);
    let dashboard: Value = serde_json::from_str(&file("deploy/grafana/tidegate.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let shown: Vec<&str> = targets.map(|target| target["expr"].as_str().expect("an expression")).collect();
    let alerts = file("deploy/prometheus/alerts.yml");
    let rules: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert!(shown.len() > 30 && rules.len() > 10, "{} panels, {} rules", shown.len(), rules.len());
    let wrong: Vec<String> =
        shown.iter().chain(&rules).flat_map(|expression| faults(expression, &samples)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");

    // The manual names families, and samples of them.
    let manual = file("docs/operations.md");
    let is_there =
        |name: &str| samples.keys().any(|sample| sample == name || sample.starts_with(&format!("{name}_")));
    let unknown: Vec<&str> =
        named(&manual).into_iter().map(|(name, _)| name).filter(|name| !is_there(name)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    gateway.stop().await;
}

#[tokio::test]
async fn media_is_counted_where_the_dashboard_looks() {
    let (gateway, _, _authority) = busy().await;
    for name in ["tidegate_first_frame_seconds_count", "tidegate_added_delay_seconds_count"] {
        assert!(gateway.metric(name).await.is_some_and(|count| count >= 1.0), "{name}");
    }
    // A counter that is not there before its first event hides that event from `increase`.
    for name in [
        "tidegate_refusals_total{reason=\"store_unavailable\"}",
        "tidegate_limits_reached_total{limit=\"connections_max\"}",
        "tidegate_tls_certificate_reloads_total{outcome=\"failed\"}",
        "tidegate_connections_refused_total{cause=\"connections_per_address_max\"}",
        "tidegate_viewer_skips_total",
    ] {
        assert_eq!(gateway.metric(name).await, Some(0.0), "{name}");
    }
    gateway.stop().await;
}

#[test]
fn a_wrong_name_would_be_found() {
    let samples =
        samples("# TYPE tidegate_a counter\ntidegate_a_total{b=\"1\",c=\"2\"} 5\ntidegate_d 1\n# EOF\n");
    for good in ["sum by (b) (rate(tidegate_a_total{c=\"2\",instance=~\"x\"}[5m]))", "tidegate_d - time()"] {
        assert_eq!(faults(good, &samples), [""; 0], "{good}");
    }
    for bad in
        ["tidegate_a", "tidegate_d{b=\"1\"}", "sum by (x) (tidegate_a_total)", "tidegate_a_total{e!=\"1\"}"]
    {
        assert_eq!(faults(bad, &samples).len(), 1, "{bad}: {:?}", faults(bad, &samples));
    }
}
