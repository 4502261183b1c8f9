//! How long refusals take: whether whoever proves nothing could learn from it who or what there is. A measurement, not a check:
//! what the gateway does for each is asserted where it is done. `docs/reliability.md` says how to run it, and what was seen.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "test code")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};
use support::api::Refused as _;
use support::{App, Conference, Setup, token};

/// Of each refusal.
const REQUESTS: usize = 100;

#[tokio::main]
async fn main() {
    // Every guess has to be hashed, so none may be turned away for being one too many.
    let gateway = Setup::new().env("TIDEGATE_WRONG_PASSWORDS_PER_USER", 1_000_000).start().await;
    let app = gateway.app().await;
    let added = gateway.setup.run(&["app", "add", "second"]).await;
    let second = App::new(app.api.clone(), added.stdout.trim());
    let (conference, foreign) = (app.conference().await, second.conference().await);
    conference.member("inside", 1).await;
    conference.member("kicked", 1).await;
    conference.kick(&["kicked"]).await.expect("kick");
    let cases = cases(&app, &conference, &foreign);
    let mut figures = vec![Vec::new(); cases.len()];
    // In turn, so that what else the machine does falls on all of them.
    for _ in 0..REQUESTS {
        for (case, figures) in cases.iter().zip(&mut figures) {
            let method = if case.body.is_some() { Method::POST } else { Method::GET };
            let began = Instant::now();
            app.api.call(method, &case.path, Some(&case.bearer), case.body.clone()).await.refused();
            figures.push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    println!("{REQUESTS} requests each, one after the other, milliseconds:");
    for (case, figures) in cases.iter().zip(figures) {
        print_row(case.what, figures);
    }
    gateway.stop().await;
}

/// A request that is refused.
struct Case {
    what: &'static str,
    path: String,
    bearer: String,
    body: Option<Value>,
}

fn cases(app: &App, conference: &Conference, foreign: &Conference) -> Vec<Case> {
    let wrong = "x".repeat(app.secret.len());
    let forged = |iss: &str| {
        let claims = json!({ "iss": iss, "sub": "eve", "exp": token::now() + 600 });
        token::hs256(&claims, wrong.as_bytes())
    };
    let user = |name: &str| app.user_token(name, false);
    let own = conference.path("/members");
    let of_nobody = "/v1/conferences/TS_aaaaaaaaaaaaaaaa/members";
    let list = |what, app: &str| {
        let (path, bearer) = ("/v1/conferences".to_owned(), format!("{app}.{wrong}"));
        Case { what, path, bearer, body: None }
    };
    let guess = |what, path: &str, bearer| {
        let body = Some(json!({ "password": "wrong" }));
        Case { what, path: path.to_owned(), bearer, body }
    };
    vec![
        list("app key: known app", &app.id),
        list("app key: unknown app", "nobody"),
        guess("user token: known app", &own, forged(&app.id)),
        guess("user token: unknown app", &own, forged("nobody")),
        guess("wrong password: user inside", &own, user("inside")),
        guess("wrong password: user unknown", &own, user("nobody")),
        guess("wrong password: user kicked", &own, user("kicked")),
        Case { what: "no password shown", path: own.clone(), bearer: user("eve"), body: Some(json!({})) },
        guess("conference of another app", &foreign.path("/members"), user("eve")),
        guess("conference of nobody", of_nobody, user("eve")),
    ]
}

fn print_row(what: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    let at = |percent: usize| figures[(figures.len() - 1) * percent / 100];
    println!("{what:<32} p10 {:8.3}   p50 {:8.3}   p90 {:8.3}", at(10), at(50), at(90));
}
