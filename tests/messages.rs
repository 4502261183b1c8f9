//! Messages: to everybody, to some alone, and not too many.

#![allow(clippy::expect_used, reason = "test code")]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::api::{Answer, Refused as _};
use support::{Conference, EventSocket, Gateway, Member};

async fn say(member: &Member, request: Value) -> Answer {
    member.api.post(&member.path("/messages"), &member.token, request).await
}

async fn app_says(conference: &Conference, request: Value) -> Answer {
    conference.app.api.post(&conference.path("/messages"), &conference.app.key, request).await
}

fn is_message(frame: &Value) -> bool {
    frame["type"] == "message"
}

#[tokio::test]
async fn a_private_message_is_for_its_sender_its_recipients_and_the_app() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 1).await;
    let clara = conference.member("clara", 3).await;
    let mut sockets = Vec::new();
    for reader in [&anna, &boris, &clara] {
        sockets.push(EventSocket::of(reader).await);
    }
    sockets.push(EventSocket::of_app(&app, &anna).await);

    let secret = json!({ "text": "psst", "n": [1, 2.5, null] });
    let sent = say(&boris, json!({ "to": [anna.id], "body": secret })).await.expect("sent");
    let announced = app_says(&conference, json!({ "body": "for all" })).await.expect("sent");
    assert!(announced["seq"].as_u64() > sent["seq"].as_u64());
    for (index, reads_it) in [true, true, false, true].into_iter().enumerate() {
        let first = sockets[index].find("a message", is_message).await;
        let last = if reads_it {
            assert_eq!((&first["seq"], &first["body"]), (&sent["seq"], &secret));
            assert_eq!(first["from"]["name"], "boris");
            // The others are not told who they are.
            let told = if index == 0 { Value::Null } else { json!([anna.id]) };
            assert_eq!(first["to"], told);
            sockets[index].find("a message", is_message).await
        } else {
            first
        };
        assert_eq!((&last["seq"], &last["body"]), (&announced["seq"], &json!("for all")));
        assert_eq!((&last["from"], last.get("to")), (&Value::Null, None));
    }
    for (bearer, count) in [(&anna.token, 2), (&boris.token, 2), (&clara.token, 1), (&app.key, 2)] {
        let page = anna.api.get(&anna.path("/events"), bearer).await.expect("a page");
        let messages = page["events"].as_array().expect("events").iter().filter(|event| is_message(event));
        assert_eq!(messages.count(), count);
    }
    let late = conference.member("late", 3).await;
    let page = late.api.get(&late.path("/events?after=0"), &late.token).await.expect("a page");
    assert!(!page["events"].as_array().expect("events").iter().any(is_message), "said before it came");
    gateway.stop().await;
}

#[tokio::test]
async fn a_message_is_refused_where_it_reaches_nobody_or_is_too_much() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let stranger = app_says(&conference, json!({ "to": [anna.id, "MS_nobody"], "body": 1 })).await.refused();
    stranger.assert_is(404, "not_found", -301);
    assert!(stranger.detail.contains("MS_nobody"));
    for wrong in [json!({}), json!({ "to": [], "body": 1 }), json!({ "to": "MS_x", "body": 1 })] {
        app_says(&conference, wrong).await.refused().assert_is(422, "invalid_request", -200);
    }
    let large = json!({ "body": "x".repeat(4095) });
    app_says(&conference, large).await.refused().assert_is(413, "payload_too_large", -200);
    app_says(&conference, json!({ "body": "x".repeat(4094) })).await.expect("as large as may be");
    app_says(&conference, json!({ "body": null })).await.expect("any JSON value");
    let mut deep = json!(0);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    app_says(&conference, json!({ "body": deep })).await.refused().assert_is(422, "invalid_request", -200);

    // The log can be read again with all of it.
    let gateway = gateway.kill().await.start().await;
    let conference = conference.at(gateway.api.clone());
    conference.get().await.expect("the conference is back");
    gateway.stop().await;
}

#[tokio::test]
async fn a_member_says_five_things_a_second_and_the_app_as_many_as_it_likes() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let all: Vec<_> =
        futures_util::future::join_all((0..40).map(|number| say(&anna, json!({ "body": number })))).await;
    let refused: Vec<_> = all.into_iter().filter_map(Result::err).collect();
    assert!(!refused.is_empty(), "forty at once are too many");
    refused[0].assert_is(429, "rate_limited", -429);
    say(&boris, json!({ "body": "another member" })).await.expect("has its own budget");
    for number in 0..10 {
        app_says(&conference, json!({ "body": number })).await.expect("the app is not limited");
    }

    // Nor does it help to leave and come again.
    let mut refused = 0;
    for _ in 0..8 {
        let clara = conference.member("clara", 3).await;
        for number in 0..5 {
            refused += u32::from(say(&clara, json!({ "body": number })).await.is_err());
        }
        clara.exit().await.expect("left");
    }
    assert!(refused > 0, "forty in a row are too many");

    // Nor a guest, who has another name each time.
    let answer = conference.ticket_with(json!({ "role": 3 })).await.expect("a ticket for guests");
    let (ticket, mut refused) = (answer["ticket"].as_str().expect("a ticket"), 0);
    let mut names = BTreeSet::new();
    for _ in 0..8 {
        let guest = conference.app.api.join(&conference.id, ticket).await.expect("a guest");
        names.insert(guest.name.clone());
        for number in 0..5 {
            refused += u32::from(say(&guest, json!({ "body": number })).await.is_err());
        }
        guest.exit().await.expect("left");
    }
    assert_eq!(names.len(), 8);
    assert!(refused > 0, "forty in a row are too many for a guest");
    let other = conference.ticket_with(json!({ "role": 3 })).await.expect("another ticket");
    let other = other["ticket"].as_str().expect("a ticket");
    let guest = conference.app.api.join(&conference.id, other).await.expect("a guest");
    say(&guest, json!({ "body": "hello" }))
        .await
        .expect("who came with another ticket has a budget of its own");
    gateway.stop().await;
}
