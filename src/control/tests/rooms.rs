//! Rooms, joined by name.

use super::*;

async fn enter(gateway: &Gateway, room: &str, bearer: &str, body: Value) -> Answered {
    gateway.post(&format!("/v1/rooms/{room}/members"), bearer, body).await
}

#[tokio::test]
async fn the_first_makes_the_room_and_its_config_wins() {
    let gateway = gateway().await;
    let anna = user_token("anna", true);
    let config = json!({
        "nickName": "A", "rec": true, "recMerge": true, "maxTalkerCount": 2, "maxVideoCount": 1, "maxAudienceCount": 1,
        "maxPubDesktopCount": 0, "ext": {"seat": 4},
    });
    let made = enter(&gateway, "daily", &anna, json!({ "role": 1, "config": config })).await.ok(201);
    assert_eq!(made["isCreator"], true);
    assert_eq!(made["member"]["role"], 7, "whoever makes a room is ADMIN");
    assert_eq!(
        (made["member"]["nickName"].as_str(), &made["member"]["ext"]),
        (Some("A"), &json!({"seat": 4}))
    );
    let confr = &made["confr"];
    assert_eq!(
        (confr["roomName"].as_str(), &confr["rec"], &confr["recMerge"]),
        (Some("daily"), &json!(true), &json!(true))
    );
    let places =
        json!({"maxTalkerCount": 2, "maxVideoCount": 1, "maxAudienceCount": 1, "maxPubDesktopCount": 0});
    assert_eq!(confr["limits"], places);

    let boris = json!({ "role": 7, "config": { "maxTalkerCount": 50 } });
    let joined = enter(&gateway, "daily", &user_token("boris", false), boris).await.ok(201);
    assert_eq!((&joined["isCreator"], &joined["member"]["role"]), (&json!(false), &json!(3)));
    assert_eq!((&joined["confr"]["limits"], &joined["confr"]["confrId"]), (&places, &confr["confrId"]));
    enter(&gateway, "daily", &user_token("carol", true), json!({})).await.refused(409, "talkers_full");
    let carol = enter(&gateway, "daily", &user_token("carol", true), json!({ "role": 1 })).await.ok(201);
    assert_eq!(carol["member"]["role"], 1, "a lower role is given");
    let dave = enter(&gateway, "daily", &user_token("dave", true), json!({ "role": 1 })).await;
    dave.refused(409, "members_full");

    let conference = format!("/v1/conferences/{}", text(confr, "/confrId"));
    assert_eq!(gateway.get(&conference, APP_KEY).await.ok(200)["roomName"], "daily");
    let own = text(&made, "/roleToken");
    gateway.delete(&format!("{conference}/members/me"), &own).await.ok(204);
    let again = enter(&gateway, "daily", &anna, Value::Null).await.ok(201);
    assert_eq!((&again["isCreator"], &again["member"]["role"]), (&json!(false), &json!(7)));
}

#[tokio::test]
async fn who_may_make_a_room_and_for_whom() {
    let gateway = gateway().await;
    enter(&gateway, "r", &user_token("anna", false), json!({})).await.refused(403, "not_allowed");
    enter(&gateway, "r", APP_KEY, json!({})).await.refused(422, "invalid_request");
    let for_another = json!({ "user": "boris" });
    enter(&gateway, "r", &user_token("anna", true), for_another.clone())
        .await
        .refused(422, "invalid_request");
    gateway.call("POST", "/v1/rooms/r/members", None, json!({})).await.refused(401, "unauthenticated");
    let made = enter(&gateway, "r", APP_KEY, for_another).await.ok(201);
    assert_eq!((&made["isCreator"], &made["member"]["name"]), (&json!(true), &json!("boris")));
    let anna = enter(&gateway, "r", &user_token("anna", false), json!({})).await.ok(201);
    assert_eq!(anna["isCreator"], false);
    let elsewhere = enter(&gateway, "r", OTHER_APP_KEY, json!({ "user": "zoe" })).await.ok(201);
    assert_eq!(elsewhere["isCreator"], true, "names are each app's own");
}

#[tokio::test]
async fn the_password_of_the_first_opens_to_the_others() {
    let gateway = gateway().await;
    let (anna, boris) = (user_token("anna", true), user_token("boris", true));
    enter(&gateway, "locked", &anna, json!({ "password": "sesame" })).await.ok(201);
    for wrong in [json!({}), json!({ "password": "" }), json!({ "password": "other" })] {
        enter(&gateway, "locked", &boris, wrong).await.refused(403, "wrong_password");
    }
    enter(&gateway, "locked", &boris, json!({ "password": "sesame" })).await.ok(201);
    let app = |password: Value| json!({ "user": "carol", "password": password });
    enter(&gateway, "locked", APP_KEY, app(Value::Null)).await.ok(201);
    enter(&gateway, "locked", APP_KEY, app(json!("other"))).await.refused(403, "wrong_password");

    for (room, password) in [("open", Value::Null), ("empty", json!(""))] {
        enter(&gateway, room, &anna, json!({ "password": password })).await.ok(201);
        enter(&gateway, room, &boris, json!({ "password": "anything" })).await.ok(201);
    }
}

#[tokio::test]
async fn a_room_can_keep_mini_programs_out_and_remembers_who_was_kicked() {
    let gateway = gateway().await;
    let (anna, boris) = (user_token("anna", true), user_token("boris", true));
    let web_only = json!({ "client": "web", "config": { "supportWechatMiniProgram": false } });
    let mini = json!({ "client": "miniProgram", "config": { "supportWechatMiniProgram": false } });
    enter(&gateway, "web", &anna, mini).await.refused(403, "client_not_supported");
    let made = enter(&gateway, "web", &anna, web_only).await.ok(201);
    let mini = enter(&gateway, "web", &boris, json!({ "client": "miniProgram" })).await;
    mini.refused(403, "client_not_supported");
    enter(&gateway, "web", &boris, json!({})).await.ok(201);
    let conference = format!("/v1/conferences/{}", text(&made, "/confr/confrId"));
    gateway.post(&format!("{conference}/kick"), APP_KEY, json!({ "memberNames": ["boris"] })).await.ok(200);
    enter(&gateway, "web", &boris, json!({})).await.refused(410, "member_gone");

    gateway.delete(&conference, APP_KEY).await.ok(204);
    let again = enter(&gateway, "web", &boris, json!({ "confrType": 12 })).await.ok(201);
    assert_eq!((&again["isCreator"], &again["confr"]["type"]), (&json!(true), &json!(12)));
    assert_ne!(again["confr"]["confrId"], made["confr"]["confrId"]);
    let listener = enter(&gateway, "web", &anna, json!({ "role": 3 })).await.ok(201);
    assert_eq!(listener["member"]["role"], 1, "a LIVE room gives AUDIENCE");
}

#[tokio::test]
async fn what_is_wrong_with_a_join_by_name_is_named() {
    let gateway = gateway().await;
    let anna = user_token("anna", true);
    for (body, field) in [
        (json!({ "config": { "maxTalkers": 1 } }), "config.maxTalkers: no such field"),
        (json!({ "config": { "maxVideoCount": 100_000 } }), "config.maxVideoCount: 0 to 1000"),
        (json!({ "config": { "nickName": "x".repeat(129) } }), "config.nickName: a nick name"),
        (json!({ "config": [] }), "config: expected an object"),
        (json!({ "role": 5 }), "role: "),
        (json!({ "roomName": "r" }), "roomName: no such field"),
    ] {
        let detail = enter(&gateway, "r", &anna, body).await.refused(422, "invalid_request");
        assert!(detail.starts_with(field), "{detail}");
    }
    for bad in ["a%2Fb", "a%0Ab", &"x".repeat(129)] {
        let detail = enter(&gateway, bad, &anna, json!({})).await.refused(422, "invalid_request");
        assert!(detail.starts_with("roomName: "), "{detail}");
    }
    let named = enter(&gateway, "%E6%97%A9%E4%BC%9A", &anna, json!({})).await.ok(201);
    assert_eq!(named["confr"]["roomName"], "早会");
    enter(&gateway, &"%F0%9F%98%80".repeat(128), &anna, json!({})).await.ok(201);
}
