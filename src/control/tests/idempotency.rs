//! A request that is sent again with its key takes effect once.

use super::*;

async fn seq(gateway: &Gateway, conference: &str) -> u64 {
    gateway.get(conference, APP_KEY).await.ok(200)["seq"].as_u64().unwrap()
}

#[tokio::test]
async fn a_creation_is_answered_again_with_the_same_conference_and_password() {
    let gateway = gateway().await;
    let create = async |key: &str, body: Value| gateway.keyed("/v1/conferences", APP_KEY, key, body).await;
    let first = create("k1", json!({ "metadata": { "a": 1, "b": 2 } })).await.ok(201);
    let again = create("k1", json!({ "metadata": { "b": 2, "a": 1 } })).await.ok(201);
    assert_eq!((&again["confrId"], &again["password"]), (&first["confrId"], &first["password"]));
    assert_ne!(again["ticket"], first["ticket"], "the ticket is made anew");
    let path = format!("/v1/conferences/{}", text(&first, "/confrId"));
    let ticket = text(&again, "/ticket");
    gateway.post(&format!("{path}/members"), &ticket, Value::Null).await.ok(201);

    let detail = create("k1", json!({})).await.refused(422, "invalid_request");
    assert!(detail.starts_with("Idempotency-Key: "), "{detail}");
    create("k1", json!({ "metadata": { "a": 1, "b": 2 }, "password": "other" }))
        .await
        .refused(422, "invalid_request");
    let other = create("k2", json!({ "metadata": { "a": 1, "b": 2 } })).await.ok(201);
    assert_ne!((&other["confrId"], &other["password"]), (&first["confrId"], &first["password"]));
    let anna = user_token("anna", true);
    let hers = gateway.keyed("/v1/conferences", &anna, "k1", json!({})).await.ok(201);
    assert_ne!(hers["confrId"], first["confrId"], "a key is its caller's own");
    let theirs = gateway.keyed("/v1/conferences", OTHER_APP_KEY, "k1", json!({})).await.ok(201);
    assert_ne!(theirs["confrId"], first["confrId"], "a key is its app's own");

    let with_password = create("k3", json!({ "password": "open" })).await.ok(201);
    let path = format!("/v1/conferences/{}", text(&with_password, "/confrId"));
    gateway.patch(&path, APP_KEY, json!({ "password": "changed" })).await.ok(200);
    assert_eq!(create("k3", json!({ "password": "open" })).await.ok(201)["password"], "open");
    gateway.delete(&path, APP_KEY).await.ok(204);
    create("k3", json!({ "password": "open" })).await.refused(410, "conference_closed");
}

#[tokio::test]
async fn a_join_is_answered_again_as_long_as_the_member_is_inside() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let ticket = gateway.ticket(&conference, "anna", 3).await;
    let members = format!("{conference}/members");
    let join = async |key: &str, body: Value| gateway.keyed(&members, &ticket, key, body).await;
    let first = join("k", json!({ "nickName": "A" })).await.ok(201);
    let before = seq(&gateway, &conference).await;
    let again = join("k", json!({ "nickName": "A" })).await.ok(201);
    assert_eq!(again["member"], first["member"]);
    assert_eq!(seq(&gateway, &conference).await, before, "nothing was appended");
    gateway.get(&conference, &text(&first, "/roleToken")).await.ok(200);
    gateway.get(&conference, &text(&again, "/roleToken")).await.ok(200);
    join("k", json!({ "nickName": "B" })).await.refused(422, "invalid_request");

    let boris = gateway.ticket(&conference, "boris", 3).await;
    let other = gateway.keyed(&members, &boris, "k", json!({ "nickName": "A" })).await.ok(201);
    assert_ne!(other["member"]["id"], first["member"]["id"], "another caller's key is another");
    let elsewhere = gateway.conference(json!({})).await;
    let joined =
        gateway.keyed(&format!("{elsewhere}/members"), APP_KEY, "k", json!({ "user": "anna" })).await;
    assert_ne!(joined.ok(201)["member"]["id"], first["member"]["id"], "another conference's key is another");

    gateway.delete(&format!("{conference}/members/me"), &text(&first, "/roleToken")).await.ok(204);
    join("k", json!({ "nickName": "A" })).await.refused(410, "member_gone");
    join("k2", json!({ "nickName": "A" })).await.ok(201);
}

#[tokio::test]
async fn a_refused_request_leaves_no_mark() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({ "password": "open" })).await;
    let members = format!("{conference}/members");
    let anna = user_token("anna", false);
    let wrong = gateway.keyed(&members, &anna, "k", json!({ "password": "shut" })).await;
    wrong.refused(403, "wrong_password");
    gateway.keyed(&members, &anna, "k", json!({ "password": "open" })).await.ok(201);
    gateway.keyed(&members, &anna, "k", json!({ "password": "shut" })).await.refused(403, "wrong_password");
}

#[tokio::test]
async fn a_stream_and_a_ticket_are_answered_again_and_no_decision_is_undone() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 7).await;
    let streams = format!("{conference}/streams");
    let first = gateway.keyed(&streams, &anna, "k", json!({ "rtcId": "R" })).await.ok(201);
    let again = gateway.keyed(&streams, &anna, "k", json!({ "rtcId": "R" })).await.ok(201);
    assert_eq!(again["stream"], first["stream"]);
    assert_ne!(again["data"]["rtmp"], first["data"]["rtmp"], "the URL is made anew");
    gateway.keyed(&streams, &anna, "k", json!({ "rtcId": "S" })).await.refused(422, "invalid_request");
    gateway.delete(&format!("{streams}/{}", text(&first, "/stream/id")), &anna).await.ok(204);
    gateway.keyed(&streams, &anna, "k", json!({ "rtcId": "R" })).await.refused(404, "stream_not_found");

    let tickets = format!("{conference}/tickets");
    let issue = async |body: Value| gateway.keyed(&tickets, &anna, "k", body).await;
    let first = issue(json!({ "user": "boris", "role": 3 })).await.ok(200);
    assert_ne!(issue(json!({ "user": "boris", "role": 3 })).await.ok(200)["ticket"], first["ticket"]);
    issue(json!({ "user": "boris", "role": 1 })).await.refused(422, "invalid_request");
    let kick = json!({ "memberNames": ["boris"] });
    gateway.post(&format!("{conference}/kick"), APP_KEY, kick).await.ok(200);
    issue(json!({ "user": "boris", "role": 3 })).await.refused(410, "member_gone");
    let demote = json!({ "memberNames": ["anna"], "role": 3 });
    gateway.post(&format!("{conference}/roles"), APP_KEY, demote).await.ok(200);
    issue(json!({ "user": "boris", "role": 3 })).await.refused(403, "not_allowed");

    let clara = user_token("clara", false);
    gateway.keyed(&tickets, &clara, "k", json!({})).await.ok(200);
    gateway.keyed(&tickets, &clara, "k", json!({})).await.ok(200);
    gateway.keyed(&tickets, &clara, "k", json!({ "role": 1 })).await.refused(422, "invalid_request");
}

#[tokio::test]
async fn a_bad_key_is_refused_by_its_name() {
    let gateway = gateway().await;
    for bad in ["", "a b", &"k".repeat(256)] {
        let detail =
            gateway.keyed("/v1/conferences", APP_KEY, bad, json!({})).await.refused(422, "invalid_request");
        assert!(detail.starts_with("Idempotency-Key: "), "{detail}");
    }
}

#[tokio::test]
async fn a_join_of_a_room_is_answered_again_and_makes_no_second_room() {
    let gateway = gateway().await;
    let join = async |key: &str, bearer: &str, body: Value| {
        gateway.keyed("/v1/rooms/daily/members", bearer, key, body).await
    };
    let (anna, boris) = (user_token("anna", true), user_token("boris", false));
    let first = join("k", &anna, json!({ "password": "open" })).await.ok(201);
    let again = join("k", &anna, json!({ "password": "open" })).await.ok(201);
    assert_eq!((&again["member"], &again["isCreator"]), (&first["member"], &json!(true)));
    assert_eq!(again["confr"]["confrId"], first["confr"]["confrId"]);
    join("k", &anna, json!({ "password": "open", "role": 1 })).await.refused(422, "invalid_request");
    let second = join("k", &boris, json!({ "password": "open" })).await.ok(201);
    let repeated = join("k", &boris, json!({ "password": "open" })).await.ok(201);
    assert_eq!((&repeated["member"], &repeated["isCreator"]), (&second["member"], &json!(false)));
    let path = format!("/v1/conferences/{}/members/me", text(&first, "/confr/confrId"));
    gateway.delete(&path, &text(&second, "/roleToken")).await.ok(204);
    join("k", &boris, json!({ "password": "open" })).await.refused(410, "member_gone");
}
