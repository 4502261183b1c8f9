//! Changing a conference and a member.

use super::*;

#[tokio::test]
async fn what_is_named_changes_and_the_rest_stays() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({ "metadata": { "topic": "x" } })).await;
    let before = gateway.get(&conference, APP_KEY).await.ok(200);
    let change =
        json!({ "limits": { "maxTalkerCount": 2 }, "memDefaultRole": 1, "metadata": { "floor": 3 } });
    let changed = gateway.patch(&conference, APP_KEY, change.clone()).await.ok(200);
    let mut expected = before.clone();
    expected["limits"]["maxTalkerCount"] = json!(2);
    expected["memDefaultRole"] = json!(1);
    expected["metadata"] = json!({ "floor": 3 });
    expected["seq"] = json!(2);
    assert_eq!(changed, expected);
    assert_eq!(gateway.get(&conference, APP_KEY).await.ok(200), expected);
    // What changes nothing is no event.
    assert_eq!(gateway.patch(&conference, APP_KEY, change).await.ok(200), expected);
    assert_eq!(gateway.patch(&conference, APP_KEY, json!({})).await.ok(200), expected);
    let nulls = json!({ "password": null, "limits": null, "memDefaultRole": null, "metadata": null });
    assert_eq!(gateway.patch(&conference, APP_KEY, nulls).await.ok(200), expected);
}

#[tokio::test]
async fn a_password_is_changed_cleared_and_never_told() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({ "password": "first" })).await;
    let members = format!("{conference}/members");
    let eve = user_token("eve", false);
    let join = async |password: &str| gateway.post(&members, &eve, json!({ "password": password })).await;
    join("first").await.ok(201);
    let set = async |password: &str| {
        let changed = gateway.patch(&conference, APP_KEY, json!({ "password": password })).await;
        assert_eq!(changed.body.get("password"), None);
        changed.ok(200)["seq"].as_u64().unwrap()
    };
    let after_change = set("second").await;
    assert_eq!(set("second").await, after_change, "the same password again is no change");
    join("first").await.refused(403, "wrong_password");
    join("second").await.ok(201);
    set("").await;
    join("anything").await.ok(201);
    gateway.post(&members, &eve, json!({})).await.ok(201);
}

#[tokio::test]
async fn an_admin_sees_what_it_changed_as_a_member_does() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({ "confrType": 12 })).await;
    let boss = gateway.member(&conference, "boss", 7).await;
    gateway.member(&conference, "listener", 1).await;
    let changed = gateway.patch(&conference, &boss, json!({ "metadata": { "a": 1 } })).await.ok(200);
    assert_eq!(changed, gateway.get(&conference, &boss).await.ok(200));
    assert_eq!((changed["members"].as_array().unwrap().len(), &changed["audienceCount"]), (1, &json!(1)));
}

#[tokio::test]
async fn bad_changes_change_nothing_and_are_named() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let member = gateway.member(&conference, "anna", 3).await;
    let before = gateway.get(&conference, APP_KEY).await.ok(200);
    let many = Limits::CEILING.max_audience_count + 1;
    for (body, field) in [
        (json!({ "surprise": 1 }), "surprise"),
        (json!({ "memDefaultRole": 5 }), "memDefaultRole"),
        (json!({ "password": "p".repeat(129) }), "password"),
        (json!({ "memDefaultRole": 1, "limits": { "maxAudienceCount": many } }), "limits.maxAudienceCount"),
        (json!({ "limits": { "maxTalkerCount": -1 } }), "limits.maxTalkerCount"),
        (json!({ "metadata": { "x": "y".repeat(2048) } }), "metadata"),
        (json!({ "confrType": 12 }), "confrType"),
    ] {
        let detail = gateway.patch(&conference, APP_KEY, body).await.refused(422, "invalid_request");
        assert!(detail.starts_with(&format!("{field}: ")), "{detail}");
    }
    let own = format!("{conference}/members/me");
    for (body, field) in [
        (json!({ "nickName": "n".repeat(129) }), "nickName"),
        (json!({ "nickName": 1 }), "nickName"),
        (json!({ "ext": [] }), "ext"),
        (json!({ "role": 7 }), "role"),
        (json!({ "user": "boris" }), "user"),
    ] {
        let detail = gateway.patch(&own, &member, body).await.refused(422, "invalid_request");
        assert!(detail.starts_with(&format!("{field}: ")), "{detail}");
    }
    assert_eq!(gateway.get(&conference, APP_KEY).await.ok(200), before);
}

#[tokio::test]
async fn a_member_is_called_what_it_wants() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 1).await;
    let own = format!("{conference}/members/me");
    let named = json!({ "nickName": "Anna", "ext": { "hat": "red" } });
    let changed = gateway.patch(&own, &anna, named.clone()).await.ok(200);
    assert_eq!(changed["member"]["nickName"], "Anna");
    assert_eq!(changed["member"]["ext"], json!({ "hat": "red" }));
    let seq = async || gateway.get(&conference, APP_KEY).await.ok(200)["seq"].clone();
    let after_change = seq().await;
    assert_eq!(gateway.patch(&own, &anna, named).await.ok(200), changed);
    assert_eq!(seq().await, after_change, "what changes nothing is no event");

    // Null clears the nick name, and the app key acts for whom it names.
    let for_anna = json!({ "nickName": null, "user": "anna" });
    let changed = gateway.patch(&own, APP_KEY, for_anna).await.ok(200);
    assert_eq!(changed["member"]["nickName"], Value::Null);
    assert_eq!(changed["member"]["ext"], json!({ "hat": "red" }), "what is not named stays");
    let changed = gateway.patch(&format!("{own}?user=anna"), APP_KEY, json!({ "ext": {} })).await.ok(200);
    assert_eq!(changed["member"]["ext"], json!({}));
    gateway.patch(&own, APP_KEY, json!({})).await.refused(422, "invalid_request");
    gateway.patch(&own, APP_KEY, json!({ "user": "boris" })).await.refused(404, "not_found");
    gateway.delete(&own, &anna).await.ok(204);
    gateway.patch(&own, &anna, json!({ "nickName": "late" })).await.refused(410, "member_gone");
}
