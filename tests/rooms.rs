//! Rooms from outside: many come at once, one makes the room, and the name means one conference for as long as it goes on.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use support::api::{Answer, Refused as _, text};
use support::{App, EVENT, Gateway, Setup, within};

async fn enter(app: &App, room: &str, bearer: &str, body: Value) -> Answer {
    app.api.post(&format!("/v1/rooms/{room}/members"), bearer, body).await
}

/// Runs all calls at once and gives their answers.
async fn all_at_once<T: Send + 'static>(calls: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(within(EVENT, "a call among many", call).await.expect("the call ends"));
    }
    answers
}

#[tokio::test]
async fn of_fifty_that_join_a_new_room_at_once_one_makes_it() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    for (room, password) in [("open", ""), ("locked", "sesame")] {
        let calls = (0..50).map(|number| {
            let (app, token) = (app.clone(), app.user_token(&format!("u{number}"), true));
            let body = json!({ "password": password, "config": { "maxTalkerCount": 50 } });
            async move { enter(&app, room, &token, body).await.expect("joins") }
        });
        let answers = all_at_once(calls.collect()).await;
        let creators: Vec<_> = answers.iter().filter(|answer| answer["isCreator"] == true).collect();
        let ids: BTreeSet<_> = answers.iter().map(|answer| text(answer, "/confr/confrId")).collect();
        assert_eq!((creators.len(), ids.len()), (1, 1), "{room}");
        let admins: Vec<_> = answers.iter().filter(|answer| answer["member"]["role"] == 7).collect();
        assert_eq!(admins.len(), 1, "{room}: the creator alone is ADMIN");
        assert_eq!(admins, creators, "{room}");
    }
    let page = app.api.get("/v1/conferences", &app.key).await.expect("a page");
    assert_eq!(page["conferences"].as_array().map(Vec::len), Some(2));
    let late = app.user_token("late", true);
    enter(&app, "locked", &late, json!({})).await.refused().assert_is(403, "wrong_password", -508);
    gateway.stop().await;
}

#[tokio::test]
async fn of_two_hundred_that_race_for_nine_places_nine_win() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let calls = (0..200).map(|number| {
        let (app, path) = (app.clone(), conference.path("/members"));
        let body = json!({ "user": format!("u{number}") });
        async move { app.api.post(&path, &app.key, body).await }
    });
    let mut outcomes = BTreeMap::new();
    for answer in all_at_once(calls.collect()).await {
        let outcome = match answer {
            Ok(_) => "joined".to_owned(),
            Err(refusal) => {
                refusal.assert_is(409, "talkers_full", -523);
                refusal.reason
            }
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    assert_eq!(outcomes, BTreeMap::from([("joined".to_owned(), 9), ("talkers_full".to_owned(), 191)]));
    assert_eq!(conference.member_names().await.len(), 9);
    gateway.stop().await;
}

#[tokio::test]
async fn a_room_outlives_a_kill_and_its_name_is_free_after_its_end() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let (anna, boris) = (app.user_token("anna", true), app.user_token("boris", false));
    let made = enter(&app, "%E6%97%A9%E4%BC%9A", &anna, json!({})).await.expect("makes the room");
    assert_eq!((&made["isCreator"], text(&made, "/confr/roomName")), (&json!(true), "早会".to_owned()));

    let gateway = gateway.kill().await.start().await;
    let app = app.at(gateway.api.clone());
    let joined = enter(&app, "%E6%97%A9%E4%BC%9A", &boris, json!({ "role": 7 })).await.expect("joins");
    assert_eq!((&joined["isCreator"], &joined["member"]["role"]), (&json!(false), &json!(3)));
    assert_eq!(joined["confr"]["confrId"], made["confr"]["confrId"]);

    let conference = format!("/v1/conferences/{}", text(&made, "/confr/confrId"));
    app.api.delete(&conference, &text(&made, "/roleToken")).await.expect("its ADMIN ends it");
    let refused = enter(&app, "%E6%97%A9%E4%BC%9A", &boris, json!({})).await.refused();
    refused.assert_is(403, "not_allowed", -101);
    let again = enter(&app, "%E6%97%A9%E4%BC%9A", &anna, json!({})).await.expect("makes it again");
    assert_eq!(again["isCreator"], true);
    assert_ne!(again["confr"]["confrId"], made["confr"]["confrId"]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_join_by_name_is_refused_for_the_reasons_of_the_contract() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let (anna, boris) = (app.user_token("anna", true), app.user_token("boris", false));
    let path = "/v1/rooms/daily/members";
    let nobody = app.api.call(Method::POST, path, None, Some(json!({}))).await;
    nobody.refused().assert_is(401, "unauthenticated", -100);
    enter(&app, "daily", &boris, json!({})).await.refused().assert_is(403, "not_allowed", -101);
    enter(&app, "daily", &app.key, json!({})).await.refused().assert_is(422, "invalid_request", -200);
    let unknown = json!({ "config": { "surprise": 1 } });
    let refused = enter(&app, "daily", &anna, unknown).await.refused();
    refused.assert_is(422, "invalid_request", -200);
    assert!(refused.detail.contains("config.surprise"), "{}", refused.detail);
    enter(&app, "a%2Fb", &anna, json!({})).await.refused().assert_is(422, "invalid_request", -200);

    let config = json!({ "maxTalkerCount": 2, "maxAudienceCount": 0, "supportWechatMiniProgram": false });
    enter(&app, "daily", &anna, json!({ "config": config })).await.expect("makes the room");
    let mini = enter(&app, "daily", &boris, json!({ "client": "miniProgram" })).await;
    mini.refused().assert_is(403, "client_not_supported", -510);
    enter(&app, "daily", &boris, json!({})).await.expect("joins");
    let carol = json!({ "user": "carol" });
    enter(&app, "daily", &app.key, carol).await.refused().assert_is(409, "talkers_full", -523);
    let carol = json!({ "user": "carol", "role": 1 });
    enter(&app, "daily", &app.key, carol).await.refused().assert_is(409, "members_full", -522);
    gateway.stop().await;
}

#[tokio::test]
async fn an_app_makes_so_many_in_a_day_and_has_so_many_at_once() {
    let gateway = Setup::new()
        .env("TIDEGATE_ROOMS_PER_DAY_MAX", 6)
        .env("TIDEGATE_CONFERENCES_PER_APP_MAX", 3)
        .start()
        .await;
    let app = gateway.app().await;
    // Both kinds are counted together, however many come at once.
    let calls = (0..20).map(|number| {
        let app = app.clone();
        async move {
            if number % 2 == 0 {
                app.create(json!({})).await.map(|conference| conference.id)
            } else {
                let body = json!({ "user": "anna" });
                let made = enter(&app, &format!("room-{number}"), &app.key, body).await;
                made.map(|made| text(&made, "/confr/confrId"))
            }
        }
    });
    let mut open = Vec::new();
    for answer in all_at_once(calls.collect()).await {
        match answer {
            Ok(id) => open.push(id),
            Err(refusal) => refusal.assert_is(503, "overloaded", -503),
        }
    }
    assert_eq!(open.len(), 3);
    for id in open {
        app.api.delete(&format!("/v1/conferences/{id}"), &app.key).await.expect("ends");
    }
    for _ in 0..2 {
        app.conference().await.delete().await.expect("ends");
    }

    let gateway = gateway.kill().await.start().await;
    let app = app.at(gateway.api.clone());
    let last = app.conference().await;
    last.delete().await.expect("ends");
    let url = app.api.url("/v1/rooms/late/members");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(url).bearer_auth(&app.key).json(&json!({ "user": "anna" }));
    let refused = within(EVENT, "the seventh", request.send()).await.expect("an answer");
    let seconds = refused.headers()["retry-after"].to_str().expect("text").parse::<u64>().expect("seconds");
    assert!(seconds <= 24 * 3600, "{seconds}");
    assert_eq!(refused.status(), 429);
    app.create(json!({})).await.map(|made| made.id).refused().assert_is(429, "rate_limited", -429);
    gateway.stop().await;
}
