//! Whoever is not let in is told why, in one form, by a stable word and the number that emedia clients know.

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use support::api::{Refused as _, text};
use support::peer::{PLAY_REFUSED, PUBLISH_REFUSED};
use support::{Conference, EVENT, Gateway, Peer, token, wait};

async fn join(conference: &Conference, ticket: &str) -> support::Refusal {
    conference.app.api.join(&conference.id, ticket).await.refused()
}

#[tokio::test]
async fn who_is_not_known_is_unauthenticated() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let api = &app.api;
    let other_secret = format!("{}.{}", app.id, "x".repeat(app.secret.len()));
    let other_app = format!("other.{}", app.secret);
    let member = conference.member("anna", 3).await;
    let bearers = [
        None,
        Some(other_secret.as_str()),
        Some(other_app.as_str()),
        Some(app.id.as_str()),
        Some(""),
        Some("."),
        // Credentials of other kinds are none here.
        Some(conference.ticket.as_str()),
        Some(member.token.as_str()),
    ];
    for bearer in bearers {
        let call = api.call(Method::POST, "/v1/conferences", bearer, Some(json!({}))).await;
        call.refused().assert_is(401, "unauthenticated", -100);
        let call = api.call(Method::GET, "/v1/conferences", bearer, None).await;
        call.refused().assert_is(401, "unauthenticated", -100);
    }
    let call = api.call(Method::GET, &conference.path(""), None, None).await;
    call.refused().assert_is(401, "unauthenticated", -100);
    gateway.stop().await;
}

#[tokio::test]
async fn user_tokens_are_held_to_their_rules() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let (now, secret) = (token::now(), app.secret.as_bytes());
    let good = json!({ "iss": app.id, "sub": "eve", "exp": now + 600, "can": ["create"] });
    let changed = |field: &str, value: Value| {
        let mut claims = good.clone();
        claims[field] = value;
        claims
    };
    let without = |field: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().expect("an object").remove(field);
        claims
    };
    let create = |bearer: String| {
        let api = app.api.clone();
        async move { api.post("/v1/conferences", &bearer, json!({})).await }
    };
    create(token::hs256(&good, secret)).await.expect("the good token is good");
    create(token::hs256(&changed("typ", json!("user")), secret)).await.expect("its typ may be said");

    let forged = [
        ("another secret", token::hs256(&good, b"not the secret")),
        ("an empty secret", token::hs256(&good, b"")),
        ("no signature", token::unsigned(&good)),
        ("HS384 in the header", token::with_header(&json!({ "alg": "HS384" }), &good, secret)),
        ("none in the header", token::with_header(&json!({ "alg": "none" }), &good, secret)),
        ("another app", token::hs256(&changed("iss", json!("other")), secret)),
        ("no app", token::hs256(&without("iss"), secret)),
        ("no user", token::hs256(&without("sub"), secret)),
        ("no expiry", token::hs256(&without("exp"), secret)),
        ("expired", token::hs256(&changed("exp", json!(now - 600)), secret)),
        ("too long a life", token::hs256(&changed("exp", json!(now + 48 * 3600)), secret)),
        ("a ticket's typ", token::hs256(&changed("typ", json!("ticket")), secret)),
        ("a member's typ", token::hs256(&changed("typ", json!("member")), secret)),
        ("a name with a slash", token::hs256(&changed("sub", json!("a/b")), secret)),
        ("a name with a control", token::hs256(&changed("sub", json!("a\u{7}b")), secret)),
        ("an empty name", token::hs256(&changed("sub", json!("")), secret)),
        ("too long a name", token::hs256(&changed("sub", json!("n".repeat(129))), secret)),
        ("a ticket", conference.ticket.clone()),
    ];
    for (what, bearer) in forged {
        let refusal = create(bearer).await.refused();
        assert_eq!((refusal.status, refusal.code), (401, -100), "{what}: {refusal:?}");
    }
    let plain = token::hs256(&without("can"), secret);
    create(plain.clone()).await.refused().assert_is(403, "not_allowed", -101);
    let leeway = token::hs256(&changed("exp", json!(now - 30)), secret);
    create(leeway).await.expect("half a minute of clock skew is forgiven");
    let kick = app.api.post(&conference.path("/kick"), &plain, json!({ "memberNames": ["anna"] })).await;
    assert!(matches!(kick.refused().status, 401 | 403));
    gateway.stop().await;
}

#[tokio::test]
async fn user_tokens_from_the_gateway_are_the_same_thing() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let request = json!({ "user": "eve", "ttlSeconds": 600, "can": ["create"] });
    let minted = text(&app.api.post("/v1/user-tokens", &app.key, request).await.expect("minted"), "/token");
    let claims = token::claims(&minted);
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!(app.id), &json!("eve")));
    app.api.post("/v1/conferences", &minted, json!({})).await.expect("it may create");
    // Whoever holds the app's secret can make the very same token.
    let own = token::hs256(&claims, app.secret.as_bytes());
    app.api.post("/v1/conferences", &own, json!({})).await.expect("so may ours");
    gateway.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let api = &conference.app.api;
    let user_token = conference.app.user_token("eve", false);
    for password in ["", "wrong", &format!("{} ", conference.password)] {
        let body = json!({ "password": password });
        let by_join = api.join_with(&conference.id, Some(&user_token), body.clone()).await;
        by_join.refused().assert_is(403, "wrong_password", -508);
        let by_ticket = api.post(&conference.path("/tickets"), &user_token, body).await;
        by_ticket.refused().assert_is(403, "wrong_password", -508);
    }
    let right = json!({ "password": conference.password });
    api.join_with(&conference.id, Some(&user_token), right.clone()).await.expect("the right one admits");
    api.join_with(&conference.id, None, right).await.refused().assert_is(401, "unauthenticated", -100);
    gateway.stop().await;
}

#[tokio::test]
async fn a_ticket_expires() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let request = json!({ "user": "anna", "role": 3, "ttlSeconds": 1 });
    let ticket = text(&conference.ticket_with(request).await.expect("a ticket"), "/ticket");
    let refusal = wait::until(EVENT, "the ticket expires", || async {
        conference.app.api.join(&conference.id, &ticket).await.err()
    })
    .await;
    refusal.assert_is(401, "ticket_expired", -502);
    gateway.stop().await;
}

#[tokio::test]
async fn forged_and_foreign_tickets_are_invalid() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let elsewhere = app.conference().await;
    let ticket = conference.ticket("anna", 3).await;
    let anna = app.api.join(&conference.id, &ticket).await.expect("the ticket is good");
    let claims = token::claims(&ticket);
    let (body, signature) = ticket.rsplit_once('.').expect("a JWT");
    let mut forged = vec![
        String::new(),
        "ticket".to_owned(),
        "..".to_owned(),
        body.to_owned(),
        format!("{body}."),
        format!("{body}.{}", &signature[..signature.len() - 4]),
        format!("{ticket}A"),
        format!("{ticket}.x"),
        // Signed with what the app knows, or with nothing.
        token::hs256(&claims, app.secret.as_bytes()),
        token::hs256(&claims, b""),
        token::unsigned(&claims),
        // Good credentials of the wrong kind.
        anna.token.clone(),
        app.user_token("anna", true),
        app.key.clone(),
    ];
    for eighth in 1..8 {
        forged.push(ticket[..ticket.len() * eighth / 8].to_owned());
        forged.push(token::flipped(&ticket, ticket.len() * eighth / 8));
    }
    forged.retain(|candidate| *candidate != ticket);
    for candidate in forged {
        let refusal = join(&conference, &candidate).await;
        assert!(matches!(refusal.status, 400..=422), "{candidate}: {refusal:?}");
        if !candidate.is_empty() {
            refusal.assert_is(401, "ticket_invalid", -500);
        }
    }
    join(&elsewhere, &ticket).await.assert_is(401, "ticket_invalid", -500);
    anna.heartbeat().await.expect("the attempts changed nothing");
    gateway.stop().await;
}

#[tokio::test]
async fn member_tokens_cannot_be_forged_or_swapped() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let ticket = conference.ticket("anna", 3).await;
    let anna = app.api.join(&conference.id, &ticket).await.expect("joins");
    let claims = token::claims(&anna.token);
    let elsewhere = app.conference().await;
    let forged = [
        ticket,
        app.user_token("anna", true),
        token::hs256(&claims, app.secret.as_bytes()),
        token::unsigned(&claims),
        token::flipped(&anna.token, anna.token.len() - 8),
        anna.token[..anna.token.len() - 8].to_owned(),
    ];
    for bearer in forged {
        let call = app.api.post(&conference.path("/streams"), &bearer, json!({ "rtcId": "RTC1" })).await;
        call.refused().assert_is(401, "unauthenticated", -100);
    }
    let other = app.api.post(&elsewhere.path("/streams"), &anna.token, json!({ "rtcId": "RTC1" })).await;
    assert!(matches!(other.refused().status, 401 | 403 | 404 | 410), "a member of another conference");
    anna.exit().await.expect("exit");
    anna.publish("RTC1").await.refused().assert_is(410, "member_gone", -504);
    anna.look().await.refused().assert_is(410, "member_gone", -504);
    gateway.stop().await;
}

#[tokio::test]
async fn media_tokens_cannot_be_forged_or_swapped() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let second = anna.publish("RTC2").await.expect("a second stream");
    let play = anna.subscribe(&published.stream_id).await.expect("subStream").url;

    // The right token for the wrong direction.
    let refusal = Peer::play(&published.url).await.err().expect("a publish URL does not play");
    refusal.assert_refuses(PLAY_REFUSED, "url_invalid");
    let refusal = Peer::publish(&play).await.err().expect("a play URL does not publish");
    refusal.assert_refuses(PUBLISH_REFUSED, "url_invalid");
    // The right token for the wrong stream, and tokens of other kinds.
    let token = &published.url.token;
    let mut forged = vec![
        second.url.token.clone(),
        play.token.clone(),
        anna.token.clone(),
        conference.ticket.clone(),
        String::new(),
        "x".to_owned(),
        "%00".to_owned(),
        format!("{token}A"),
        token[..token.len() - 1].to_owned(),
        token[..token.len() / 2].to_owned(),
    ];
    forged.extend((1..8).map(|eighth| token::flipped(token, token.len() * eighth / 8)));
    forged.retain(|candidate| candidate != token);
    for candidate in forged {
        let refusal = Peer::publish(&published.url.with_token(&candidate)).await.err();
        refusal.expect(&candidate).assert_refuses(PUBLISH_REFUSED, "url_invalid");
        if candidate != play.token {
            let refusal = Peer::play(&play.with_token(&candidate)).await.err();
            refusal.expect(&candidate).assert_refuses(PLAY_REFUSED, "url_invalid");
        }
    }
    let mut bare = published.url.in_name();
    bare.name = published.url.stream.clone();
    let refusal = Peer::publish_placed(&bare).await.err().expect("no token at all");
    refusal.assert_refuses(PUBLISH_REFUSED, "url_invalid");
    Peer::publish(&published.url).await.expect("the good one is still good");
    gateway.stop().await;
}

#[tokio::test]
async fn unknown_things_are_not_found() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let anna = conference.member("anna", 3).await;
    for unknown in ["TS_unknown", "x", "..", "%00", &"T".repeat(300)] {
        let path = format!("/v1/conferences/{unknown}");
        let refusal = app.api.get(&path, &app.key).await.refused();
        assert_eq!((refusal.status, refusal.code), (404, -301), "{unknown}: {refusal:?}");
    }
    let refusal = app.api.get("/v1/conferences/TS_unknown", &app.key).await.refused();
    refusal.assert_is(404, "conference_not_found", -301);
    anna.subscribe("RTC1__Of_MS_unknown").await.refused().assert_is(404, "stream_not_found", -301);
    anna.unpublish("RTC1__Of_MS_unknown").await.refused().assert_is(404, "stream_not_found", -301);
    let refusal = app.api.get("/v1/nothing", &app.key).await.refused();
    refusal.assert_is(404, "not_found", -301);
    gateway.stop().await;
}

#[tokio::test]
async fn a_deleted_conference_is_closed() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let ticket = conference.ticket("anna", 3).await;
    let anna = conference.app.api.join(&conference.id, &ticket).await.expect("joins");
    assert_eq!(conference.delete().await.expect("deleted"), Value::Null);
    join(&conference, &ticket).await.assert_is(410, "conference_closed", -302);
    conference.get().await.refused().assert_is(410, "conference_closed", -302);
    conference.delete().await.refused().assert_is(410, "conference_closed", -302);
    conference.ticket_with(json!({ "user": "x" })).await.refused().assert_is(410, "conference_closed", -302);
    let refusal = anna.publish("RTC1").await.refused();
    assert!(matches!(refusal.reason.as_str(), "conference_closed" | "member_gone"), "{refusal:?}");
    assert_eq!(refusal.status, 410);
    gateway.stop().await;
}

#[tokio::test]
async fn bad_bodies_are_named() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let anna = conference.member("anna", 3).await;
    let (create, tickets) = ("/v1/conferences".to_owned(), conference.path("/tickets"));
    let (kick, roles, streams) =
        (conference.path("/kick"), conference.path("/roles"), conference.path("/streams"));
    let cases = [
        (&create, "surprise", json!({ "surprise": 1 })),
        (&create, "confrType", json!({ "confrType": "ten" })),
        (&create, "confrType", json!({ "confrType": 99 })),
        (&create, "memDefaultRole", json!({ "memDefaultRole": 5 })),
        (&create, "maxTalkerCount", json!({ "limits": { "maxTalkerCount": "many" } })),
        (&create, "password", json!({ "password": "p".repeat(129) })),
        (&create, "metadata", json!({ "metadata": { "long": "m".repeat(4096) } })),
        (&tickets, "user", json!({ "user": 7 })),
        (&tickets, "user", json!({ "user": "a/b" })),
        (&tickets, "role", json!({ "user": "a", "role": 2 })),
        (&tickets, "ttlSeconds", json!({ "user": "a", "ttlSeconds": -1 })),
        (&kick, "memberNames", json!({})),
        (&kick, "memberNames", json!({ "memberNames": "anna" })),
        (&roles, "role", json!({ "memberNames": ["anna"], "role": 4 })),
        (&streams, "rtcId", json!({ "rtcId": "no spaces", "user": "anna" })),
        (&streams, "rtcId", json!({ "rtcId": "", "user": "anna" })),
        (&streams, "rtcId", json!({ "rtcId": "r".repeat(33), "user": "anna" })),
    ];
    for (path, field, body) in cases {
        let refusal = app.api.post(path, &app.key, body.clone()).await.refused();
        assert!(matches!(refusal.status, 400 | 422), "{path} {body}: {refusal:?}");
        assert_eq!((refusal.reason.as_str(), refusal.code), ("invalid_request", -200), "{path} {body}");
        assert!(
            refusal.detail.contains(field),
            "{path} {body}: the detail names no {field}: {}",
            refusal.detail
        );
    }
    for body in ["", "{", "[]", "null", "{\"password\":\"\\ud800\"}", "\u{0}"] {
        let refusal = app.api.call_raw(Method::POST, &create, Some(&app.key), body.into()).await.refused();
        assert!(matches!(refusal.status, 400 | 415 | 422), "{body:?}: {refusal:?}");
    }
    let nested = format!("{{\"metadata\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let refusal = app.api.call_raw(Method::POST, &create, Some(&app.key), nested.into()).await.refused();
    assert!(matches!(refusal.status, 400 | 422), "{refusal:?}");
    anna.heartbeat().await.expect("all is well");
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let conference = app.conference().await;
    let body = json!({ "metadata": { "x": "y".repeat(70 * 1024) } });
    let refusal = app.api.post("/v1/conferences", &app.key, body.clone()).await.refused();
    refusal.assert_is(413, "payload_too_large", -200);
    let ticket = json!({ "ticket": "t".repeat(70 * 1024) });
    let path = conference.path("/members");
    let refusal = app.api.call(Method::POST, &path, None, Some(ticket)).await.refused();
    refusal.assert_is(413, "payload_too_large", -200);
    gateway.stop().await;
}
