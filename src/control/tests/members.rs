//! Joining, leaving, heartbeats, and whom a member sees.

use super::*;

async fn join(gateway: &Gateway, conference: &str, bearer: Option<&str>, body: Value) -> Answered {
    gateway.call("POST", &format!("{conference}/members"), bearer, body).await
}

#[tokio::test]
async fn a_join_is_answered_with_all_that_a_member_needs() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let ticket = gateway.ticket(&conference, "anna", 3).await;
    let body =
        json!({ "ticket": ticket, "nickName": "Anna", "ext": {"hat": "red"}, "client": "miniProgram" });
    let answer = join(&gateway, &conference, None, body).await.ok(201);
    assert_eq!(answer["member"]["nickName"], "Anna");
    assert_eq!(answer["member"]["ext"], json!({ "hat": "red" }));
    assert_eq!(answer["member"]["globalName"], "app1#anna");
    assert_eq!(answer["confr"]["members"], json!([answer["member"]]));
    assert_eq!(text(&answer, "/eventsUrl"), format!("ws://gw.example:8080{conference}/events"));
    let token = text(&answer, "/roleToken");
    assert_eq!(gateway.get(&conference, &token).await.ok(200), answer["confr"]);
}

#[tokio::test]
async fn a_user_token_names_whom_a_ticket_leaves_open() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let answer = gateway.post(&format!("{conference}/tickets"), APP_KEY, json!({})).await.ok(200);
    let open = json!({ "ticket": text(&answer, "/ticket") });
    let named = async |bearer: Option<&str>, body: Value| {
        text(&join(&gateway, &conference, bearer, body).await.ok(201), "/member/name")
    };
    assert_eq!(named(Some(&user_token("eve", false)), open.clone()).await, "eve");
    assert_eq!(named(None, open.clone()).await, "guest-1");
    let mut for_clara = open.clone();
    for_clara["user"] = json!("clara");
    assert_eq!(named(Some(APP_KEY), for_clara).await, "clara");
    let annas = json!({ "ticket": gateway.ticket(&conference, "anna", 3).await });
    let refused = join(&gateway, &conference, Some(&user_token("eve", false)), annas.clone()).await;
    refused.refused(401, "ticket_invalid");
    // The ticket of another app's conference is no ticket for this app's user.
    let refused = join(&gateway, &conference, Some(OTHER_APP_KEY), annas).await;
    refused.refused(401, "ticket_invalid");
}

#[tokio::test]
async fn the_app_key_lets_in_whom_it_names() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({ "password": "pw" })).await;
    let answer = join(&gateway, &conference, Some(APP_KEY), json!({ "user": "anna" })).await.ok(201);
    assert_eq!((&answer["member"]["name"], &answer["member"]["role"]), (&json!("anna"), &json!(3)));
    join(&gateway, &conference, Some(APP_KEY), json!({})).await.refused(422, "invalid_request");
    let ticket = gateway.ticket(&conference, "boris", 3).await;
    let named = json!({ "user": "clara" });
    join(&gateway, &conference, Some(&ticket), named).await.refused(422, "invalid_request");
}

#[tokio::test]
async fn bad_tickets_in_the_body_are_told_as_such() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let elsewhere = gateway.conference(json!({})).await;
    let foreign = gateway.ticket(&elsewhere, "anna", 3).await;
    let member = gateway.member(&conference, "anna", 3).await;
    for ticket in ["", "ticket", "..", APP_KEY, &foreign, &member, &user_token("anna", true)] {
        let refused = join(&gateway, &conference, None, json!({ "ticket": ticket })).await;
        refused.refused(401, "ticket_invalid");
    }
    let expired = json!({ "ticket": gateway.expired_ticket(&conference) });
    join(&gateway, &conference, None, expired).await.refused(401, "ticket_expired");
    let (one, other) = (gateway.ticket(&conference, "a", 3).await, gateway.ticket(&conference, "b", 3).await);
    let refused = join(&gateway, &conference, Some(&one), json!({ "ticket": other })).await;
    refused.refused(422, "invalid_request");
    join(&gateway, &conference, Some(&one), json!({ "ticket": one })).await.ok(201);
}

#[tokio::test]
async fn a_conference_can_keep_mini_programs_out() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({ "supportWechatMiniProgram": false })).await;
    let ticket = gateway.ticket(&conference, "anna", 3).await;
    let mini = join(&gateway, &conference, Some(&ticket), json!({ "client": "miniProgram" })).await;
    mini.refused(403, "client_not_supported");
    join(&gateway, &conference, Some(&ticket), json!({ "client": "web" })).await.ok(201);
}

#[tokio::test]
async fn joining_again_and_leaving_end_the_earlier_stay() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let ticket = gateway.ticket(&conference, "anna", 3).await;
    let first = text(&join(&gateway, &conference, Some(&ticket), json!({})).await.ok(201), "/roleToken");
    let second = text(&join(&gateway, &conference, Some(&ticket), json!({})).await.ok(201), "/roleToken");
    gateway.get(&conference, &first).await.refused(410, "member_gone");
    let own = format!("{conference}/members/me");
    gateway.delete(&own, &first).await.refused(410, "member_gone");
    assert_eq!(gateway.delete(&own, &second).await.ok(204), Value::Null);
    gateway.delete(&own, &second).await.refused(410, "member_gone");
    assert_eq!(gateway.get(&conference, APP_KEY).await.ok(200)["members"], json!([]));

    join(&gateway, &conference, Some(&ticket), json!({})).await.ok(201);
    gateway.delete(&own, APP_KEY).await.refused(422, "invalid_request");
    gateway.delete(&format!("{own}?user=anna"), APP_KEY).await.ok(204);
    gateway.delete(&format!("{own}?user=anna"), APP_KEY).await.refused(404, "not_found");
    gateway.delete(&format!("{own}?user=a%2Fb"), APP_KEY).await.refused(422, "invalid_request");
}

#[tokio::test]
async fn heartbeats_are_passed_on_for_members_who_are_inside() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    let path = format!("{conference}/heartbeat");
    assert_eq!(gateway.post(&path, &anna, Value::Null).await.ok(204), Value::Null);
    gateway.post(&path, APP_KEY, json!({ "user": "anna" })).await.ok(204);
    gateway.post(&format!("{path}?user=anna"), APP_KEY, Value::Null).await.ok(204);
    gateway.delete(&format!("{conference}/members/me"), &anna).await.ok(204);
    gateway.post(&path, &anna, Value::Null).await.refused(410, "member_gone");
    let beats = gateway.beats.0.lock();
    assert_eq!(beats.len(), 3);
    assert!(beats.iter().all(|beat| *beat == beats[0]));
}

#[tokio::test]
async fn a_live_audience_is_counted_and_shown_to_the_app_key_only() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({ "confrType": 12 })).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    gateway.member(&conference, "listener", 1).await;
    let seen = async |bearer: &str| {
        let conference = gateway.get(&conference, bearer).await.ok(200);
        assert_eq!(conference["audienceCount"], 1);
        let members = conference["members"].as_array().unwrap().clone();
        members.iter().map(|member| text(member, "/name")).collect::<Vec<_>>()
    };
    assert_eq!(seen(&anna).await, ["anna"]);
    assert_eq!(seen(APP_KEY).await, ["anna", "listener"]);
    let ticket = gateway.ticket(&conference, "late", 1).await;
    let answer = join(&gateway, &conference, Some(&ticket), json!({})).await.ok(201);
    assert_eq!(answer["confr"]["members"].as_array().unwrap().len(), 1);
    let answer = join(&gateway, &conference, Some(APP_KEY), json!({ "user": "later" })).await.ok(201);
    assert_eq!(answer["confr"]["members"].as_array().unwrap().len(), 4);
}
