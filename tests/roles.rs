//! Roles are read live: a demotion ends publishing and keeps playing, and no old ticket brings the role back.

mod support;

use support::api::Refused as _;
use support::peer::PUBLISH_REFUSED;
use support::{Gateway, Peer, flv};

const ADMIN: i64 = 7;
const TALKER: i64 = 3;
const AUDIENCE: i64 = 1;

#[tokio::test]
async fn audience_may_watch_and_not_publish() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", TALKER).await;
    let listener = conference.member("listener", AUDIENCE).await;
    listener.publish("RTC1").await.refused().assert_is(403, "not_allowed", -101);
    let published = anna.publish("RTC1").await.expect("pubStream");
    let _feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let url = listener.subscribe(&published.stream_id).await.expect("subStream").url;
    Peer::play(&url).await.expect("play").watch().more_pictures(5).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_demotion_ends_publishing_and_keeps_playing() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let ticket = conference.ticket("anna", TALKER).await;
    let anna = conference.app.api.join(&conference.id, &ticket).await.expect("joins");
    let boris = conference.member("boris", TALKER).await;
    let hers = anna.publish("RTC1").await.expect("pubStream");
    let his = boris.publish("RTC1").await.expect("pubStream");
    let her_feed = Peer::publish(&hers.url).await.expect("publish").feed(flv::clip());
    let his_feed = Peer::publish(&his.url).await.expect("publish").feed(flv::clip());
    let url = anna.subscribe(&his.stream_id).await.expect("subStream").url;
    let her_view = Peer::play(&url).await.expect("play").watch();
    her_view.more_pictures(3).await;

    let answer = conference.set_role(&["anna"], AUDIENCE).await.expect("roles");
    assert_eq!(answer["changed"], serde_json::json!(["anna"]));
    her_feed.closed().await;
    let retry = Peer::publish(&hers.url).await.err().expect("refused");
    // Role and declaration went together; either word is true.
    let reason = if retry.description.starts_with("url_invalid") { "url_invalid" } else { "not_allowed" };
    retry.assert_refuses(PUBLISH_REFUSED, reason);
    anna.publish("RTC1").await.refused().assert_is(403, "not_allowed", -101);
    her_view.more_pictures(10).await;
    assert!(his_feed.is_open(), "nobody else is touched");

    // The ticket still says TALKER; the decision stands.
    let rejoined = conference.app.api.join(&conference.id, &ticket).await.expect("the ticket still admits");
    assert_eq!(rejoined.role, AUDIENCE);
    rejoined.publish("RTC1").await.refused().assert_is(403, "not_allowed", -101);

    conference.set_role(&["anna"], TALKER).await.expect("roles");
    let again = rejoined.publish("RTC1").await.expect("promotion lets her publish with the same token");
    let feed = Peer::publish(&again.url).await.expect("publish").feed(flv::clip());
    let url = boris.subscribe(&again.stream_id).await.expect("subStream").url;
    Peer::play(&url).await.expect("play").watch().more_pictures(5).await;
    assert!(feed.is_open());
    gateway.stop().await;
}

#[tokio::test]
async fn only_admins_change_roles() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", TALKER).await;
    let boss = conference.member("boss", ADMIN).await;
    let request = serde_json::json!({ "memberNames": ["anna"], "role": ADMIN });
    let refusal = anna.api.post(&conference.path("/roles"), &anna.token, request.clone()).await.refused();
    refusal.assert_is(403, "not_allowed", -101);
    boss.api.post(&conference.path("/roles"), &boss.token, request).await.expect("an ADMIN may");
    // The role is live: the token from before the promotion now speaks for an ADMIN.
    let ticket = serde_json::json!({ "user": "guest", "role": AUDIENCE });
    anna.api.post(&conference.path("/tickets"), &anna.token, ticket).await.expect("an ADMIN issues tickets");
    gateway.stop().await;
}

#[tokio::test]
async fn talkers_and_members_are_counted() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let limits = serde_json::json!({ "limits": { "maxTalkerCount": 2, "maxAudienceCount": 1 } });
    let conference = app.create(limits).await.expect("created");
    conference.member("one", TALKER).await;
    conference.member("two", ADMIN).await;
    let third = conference.ticket("three", TALKER).await;
    app.api.join(&conference.id, &third).await.refused().assert_is(409, "talkers_full", -523);
    conference.member("listener", AUDIENCE).await;
    let late = conference.ticket("late", AUDIENCE).await;
    app.api.join(&conference.id, &late).await.refused().assert_is(409, "members_full", -522);
    let promotion = conference.set_role(&["listener"], TALKER).await;
    promotion.refused().assert_is(409, "talkers_full", -523);
    gateway.stop().await;
}

/// Flips in an ordinary run; `TIDEGATE_ROLE_FLIPS` in the environment of the test asks for another number.
const FLIPS: usize = 60;
/// Who watches meanwhile.
const WITNESSES: usize = 10;

#[tokio::test]
async fn a_role_that_is_flipped_again_and_again_holds_each_time_and_disturbs_nobody() {
    let flips = std::env::var("TIDEGATE_ROLE_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(FLIPS);
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", TALKER).await;
    let boris = conference.member("boris", TALKER).await;
    let his = boris.publish("RTC1").await.expect("pubStream");
    let his_feed = Peer::publish(&his.url).await.expect("publish").feed(flv::clip());
    let mut witnesses = Vec::new();
    for number in 0..WITNESSES {
        let witness = conference.member(&format!("witness-{number}"), AUDIENCE).await;
        let url = witness.subscribe(&his.stream_id).await.expect("subStream").url;
        witnesses.push(Peer::play(&url).await.expect("play").watch());
    }
    let url = anna.subscribe(&his.stream_id).await.expect("subStream").url;
    let her_view = Peer::play(&url).await.expect("play").watch();
    let mut urls = Vec::new();
    for flip in 0..flips {
        let hers = anna.publish("RTC1").await.expect("a TALKER declares");
        let feed = Peer::publish(&hers.url).await.expect("a TALKER publishes").feed(flv::clip());
        if flip % 10 == 0 {
            let url = boris.subscribe(&hers.stream_id).await.expect("subStream").url;
            Peer::play(&url).await.expect("play").watch().more_pictures(2).await;
        }
        urls.push(hers.url);
        conference.set_role(&["anna"], AUDIENCE).await.expect("roles");
        // Whatever begins after the answer is refused: the newest URL, an old one, and a new declaration.
        for url in [&urls[flip], &urls[flip / 2]] {
            let refusal = Peer::publish(url).await.err().expect("an AUDIENCE does not publish");
            assert_eq!(refusal.code, PUBLISH_REFUSED, "{refusal:?}");
        }
        anna.publish("RTC1").await.refused().assert_is(403, "not_allowed", -101);
        feed.closed().await;
        conference.set_role(&["anna"], TALKER).await.expect("roles");
        let refusal = Peer::publish(&urls[flip]).await.err().expect("its declaration is gone for good");
        refusal.assert_refuses(PUBLISH_REFUSED, "url_invalid");
    }
    assert!(his_feed.is_open() && her_view.is_open(), "who was not demoted publishes on; who was watches on");
    her_view.more_pictures(5).await;
    for witness in &witnesses {
        witness.more_pictures(5).await;
    }
    let members = conference.get().await.expect("the conference")["members"].clone();
    let anna = members.as_array().and_then(|members| members.iter().find(|member| member["name"] == "anna"));
    assert_eq!(anna.map(|anna| &anna["role"]), Some(&serde_json::json!(TALKER)));
    gateway.stop().await;
}
