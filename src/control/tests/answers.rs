//! Conferences, tickets, user tokens, and what every answer has in common.

use super::*;

#[tokio::test]
async fn a_new_conference_is_told_with_its_password_and_an_admin_ticket() {
    let gateway = gateway().await;
    let request = json!({
        "confrType": 12, "rec": true, "limits": {"maxAudienceCount": 20}, "metadata": {"topic": "x"},
        "supportWechatMiniProgram": false, "user": "boss",
    });
    let answered = gateway.post("/v1/conferences", APP_KEY, request).await;
    let location = answered.headers["location"].to_str().unwrap().to_owned();
    let created = answered.ok(201);
    assert_eq!(location, format!("/v1/conferences/{}", text(&created, "/confrId")));
    let password = text(&created, "/password");
    assert_eq!(password.len(), 8);
    assert_eq!(
        (&created["type"], &created["memDefaultRole"], &created["rec"]),
        (&json!(12), &json!(1), &json!(true))
    );
    assert_eq!(created["limits"]["maxAudienceCount"], 20);
    assert_eq!(created["limits"]["maxTalkerCount"], 9);
    assert_eq!(created["metadata"], json!({"topic": "x"}));
    assert_eq!(created["supportWechatMiniProgram"], false);
    let looked = gateway.get(&location, APP_KEY).await.ok(200);
    assert_eq!(looked.get("password"), None);
    assert_eq!(looked.get("ticket"), None);

    // The ticket is the creator's and makes an ADMIN of it.
    let members = format!("{location}/members");
    let joined = gateway.post(&members, &text(&created, "/ticket"), Value::Null).await.ok(201);
    assert_eq!((&joined["member"]["name"], &joined["member"]["role"]), (&json!("boss"), &json!(7)));
    // The password is the one that was told.
    let eve = user_token("eve", false);
    let joined = gateway.post(&members, &eve, json!({ "password": password })).await.ok(201);
    assert_eq!(joined["member"]["role"], 1);
    gateway.post(&members, &eve, json!({ "password": "wrong" })).await.refused(403, "wrong_password");
    gateway.post(&members, &eve, Value::Null).await.refused(403, "wrong_password");
}

#[tokio::test]
async fn a_user_creates_in_its_own_name_only() {
    let gateway = gateway().await;
    let token = user_token("eve", true);
    let created = gateway.post("/v1/conferences", &token, json!({ "password": "" })).await.ok(201);
    let path = format!("/v1/conferences/{}/members", text(&created, "/confrId"));
    let joined = gateway.post(&path, &text(&created, "/ticket"), Value::Null).await.ok(201);
    assert_eq!((&joined["member"]["name"], &joined["member"]["role"]), (&json!("eve"), &json!(7)));
    let other = gateway.post("/v1/conferences", &token, json!({ "user": "anna" })).await;
    other.refused(403, "not_allowed");
}

#[tokio::test]
async fn a_ticket_without_a_user_runs_the_conference_and_joins_as_a_guest() {
    let gateway = gateway().await;
    let created = gateway.post("/v1/conferences", APP_KEY, json!({ "password": "" })).await.ok(201);
    let (path, ticket) =
        (format!("/v1/conferences/{}", text(&created, "/confrId")), text(&created, "/ticket"));
    let joined = gateway.post(&format!("{path}/members"), &ticket, Value::Null).await.ok(201);
    assert_eq!((&joined["member"]["name"], &joined["member"]["role"]), (&json!("guest-1"), &json!(3)));
    let kick = json!({ "memberNames": ["guest-1"] });
    let kicked = gateway.post(&format!("{path}/kick"), &ticket, kick).await;
    assert_eq!(kicked.ok(200), json!({ "kicked": ["guest-1"] }));
}

#[tokio::test]
async fn tickets_give_no_more_than_may_be_given() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({ "password": "pw" })).await;
    let path = format!("{conference}/tickets");
    let role = async |bearer: &str, request: Value| {
        gateway.post(&path, bearer, request).await.ok(200)["role"].as_u64().unwrap()
    };
    assert_eq!(role(APP_KEY, json!({})).await, 3, "without a user, memDefaultRole");
    assert_eq!(role(APP_KEY, json!({ "role": 7 })).await, 3, "without a user, no more than that");
    assert_eq!(role(APP_KEY, json!({ "user": "anna" })).await, 3);
    assert_eq!(role(APP_KEY, json!({ "user": "anna", "role": 7 })).await, 7);
    let eve = user_token("eve", false);
    assert_eq!(role(&eve, json!({ "password": "pw", "role": 7 })).await, 3, "a password admits to no more");
    assert_eq!(role(&eve, json!({ "password": "pw", "role": 1 })).await, 1);
    gateway.post(&path, &eve, json!({ "password": "no" })).await.refused(403, "wrong_password");
    gateway.post(&path, &eve, json!({ "password": "pw", "user": "anna" })).await.refused(403, "not_allowed");

    let demote = json!({ "memberNames": ["eve"], "role": 1 });
    gateway.post(&format!("{conference}/roles"), APP_KEY, demote).await.ok(200);
    assert_eq!(role(&eve, json!({ "password": "pw" })).await, 1, "a decision stands");
    let kick = json!({ "memberNames": ["eve"] });
    gateway.post(&format!("{conference}/kick"), APP_KEY, kick).await.ok(200);
    gateway.post(&path, &eve, json!({ "password": "pw" })).await.refused(410, "member_gone");
    assert_eq!(role(APP_KEY, json!({ "user": "eve" })).await, 1, "readmitted, and still demoted");
    assert_eq!(role(&eve, json!({ "password": "pw" })).await, 1);
    for ttl in [0, 30 * 24 * 3600 + 1] {
        let detail = gateway.post(&path, APP_KEY, json!({ "ttlSeconds": ttl })).await;
        assert!(detail.refused(422, "invalid_request").starts_with("ttlSeconds: "));
    }
}

#[tokio::test]
async fn user_tokens_are_good_for_what_they_say() {
    let gateway = gateway().await;
    let mint = async |request: Value| gateway.post("/v1/user-tokens", APP_KEY, request).await;
    let plain = text(&mint(json!({ "user": "eve" })).await.ok(200), "/token");
    gateway.post("/v1/conferences", &plain, json!({ "password": "" })).await.refused(403, "not_allowed");
    let able = mint(json!({ "user": "eve", "can": ["create"], "ttlSeconds": 60 })).await.ok(200);
    assert!(text(&able, "/expiresAt").ends_with('Z'));
    gateway.post("/v1/conferences", &text(&able, "/token"), json!({ "password": "" })).await.ok(201);
    for bad in [
        json!({}),
        json!({ "user": "" }),
        json!({ "user": "eve", "can": ["fly"] }),
        json!({ "user": "eve", "ttlSeconds": 0 }),
        json!({ "user": "eve", "ttlSeconds": 86_401 }),
    ] {
        mint(bad).await.refused(422, "invalid_request");
    }
}

#[tokio::test]
async fn pages_hold_each_conference_of_the_app_once() {
    let gateway = gateway().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(gateway.conference(json!({})).await["/v1/conferences/".len()..].to_owned());
    }
    gateway.post("/v1/conferences", OTHER_APP_KEY, json!({ "password": "" })).await.ok(201);
    made.sort();
    let (mut seen, mut path) = (Vec::new(), "/v1/conferences?limit=2".to_owned());
    loop {
        let page = gateway.get(&path, APP_KEY).await.ok(200);
        let conferences = page["conferences"].as_array().unwrap();
        assert!((1..=2).contains(&conferences.len()));
        seen.extend(conferences.iter().map(|conference| text(conference, "/id")));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/v1/conferences?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, made);
    for bad in ["limit=0", "limit=101", "limit=x", "cursor=x"] {
        let answered = gateway.get(&format!("/v1/conferences?{bad}"), APP_KEY).await;
        let name = bad.split('=').next().unwrap();
        assert!(answered.refused(422, "invalid_request").contains(name), "{bad}");
    }
}

#[tokio::test]
async fn an_ended_conference_is_closed_for_its_app_and_unknown_to_others() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 7).await;
    let ticket = gateway.ticket(&conference, "anna", 7).await;
    assert_eq!(gateway.delete(&conference, APP_KEY).await.ok(204), Value::Null);
    for bearer in [APP_KEY, &anna, &ticket] {
        gateway.delete(&conference, bearer).await.refused(410, "conference_closed");
    }
    gateway.get(&conference, APP_KEY).await.refused(410, "conference_closed");
    gateway.get(&conference, &anna).await.refused(410, "conference_closed");
    gateway
        .post(&format!("{conference}/members"), &ticket, json!({}))
        .await
        .refused(410, "conference_closed");
    gateway.get(&conference, OTHER_APP_KEY).await.refused(404, "conference_not_found");
    for unknown in ["TS_unknown", "x", "%00", "%ff"] {
        let path = format!("/v1/conferences/{unknown}");
        gateway.get(&path, APP_KEY).await.refused(404, "conference_not_found");
    }
    assert_eq!(gateway.get("/v1/conferences", APP_KEY).await.ok(200)["conferences"], json!([]));
}

#[tokio::test]
async fn kick_and_roles_name_those_inside() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    gateway.stream(&conference, &anna, "RTC1").await;
    gateway.member(&conference, "boris", 3).await;
    let names = json!({ "memberNames": ["nobody", "boris", "anna", "anna"], "role": 1 });
    let changed = gateway.post(&format!("{conference}/roles"), APP_KEY, names).await.ok(200);
    assert_eq!(changed, json!({ "changed": ["anna", "boris"] }));
    let names = json!({ "memberNames": ["aaron", "nobody", "anna"] });
    let kicked = gateway.post(&format!("{conference}/kick"), APP_KEY, names).await.ok(200);
    assert_eq!(kicked, json!({ "kicked": ["anna"] }));
    gateway.get(&conference, &anna).await.refused(410, "member_gone");
    for bad in [json!({ "memberNames": [] }), json!({}), json!({ "memberNames": ["a/b"] })] {
        let refused = gateway.post(&format!("{conference}/kick"), APP_KEY, bad).await;
        assert!(refused.refused(422, "invalid_request").contains("memberNames"));
    }
}

#[tokio::test]
async fn bodies_are_held_to_their_form() {
    let gateway = gateway().await;
    let path = "/v1/conferences";
    let limits = |name: &str, count: u32| json!({ "limits": { name: count } });
    for (body, field) in [
        (json!({ "surprise": 1 }), "surprise"),
        (json!({ "confrType": 99 }), "confrType"),
        (json!({ "memDefaultRole": 5 }), "memDefaultRole"),
        (json!({ "metadata": { "long": "m".repeat(4096) } }), "metadata"),
        (json!({ "password": "p".repeat(129) }), "password"),
        (json!({ "limits": [] }), "limits"),
        (limits("maxTalkerCount", Limits::CEILING.max_talker_count + 1), "limits.maxTalkerCount"),
        (limits("maxVideoCount", Limits::CEILING.max_video_count + 1), "limits.maxVideoCount"),
        (limits("maxAudienceCount", Limits::CEILING.max_audience_count + 1), "limits.maxAudienceCount"),
        (
            limits("maxPubDesktopCount", Limits::CEILING.max_pub_desktop_count + 1),
            "limits.maxPubDesktopCount",
        ),
    ] {
        let detail = gateway.post(path, APP_KEY, body).await.refused(422, "invalid_request");
        assert!(detail.starts_with(&format!("{field}: ")), "{detail}");
    }
    for body in ["", "{", "\u{0}"] {
        gateway.raw("POST", path, Some(APP_KEY), body.into()).await.refused(400, "invalid_request");
    }
    let large = json!({ "metadata": { "x": "y".repeat(70 * 1024) } });
    gateway.post(path, APP_KEY, large.clone()).await.refused(413, "payload_too_large");
    // Whoever is nobody is told so before a byte of the body is read.
    gateway.call("POST", path, None, large).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn no_secret_stands_in_a_refusal() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({ "password": "open-sesame" })).await;
    let eve = user_token("eve", false);
    for body in [json!({ "password": "hunter2-guess" }), json!({ "password": {"hunter2-guess": 1} })] {
        let answered = gateway.post(&format!("{conference}/members"), &eve, body).await;
        let body = answered.body.to_string();
        assert!(answered.status >= 400);
        assert!(
            !body.contains("hunter2-guess") && !body.contains(&eve) && !body.contains("open-sesame"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let gateway = gateway().await;
    for path in ["/", "/v1/nothing", "/v1/conferences/", "/metrics", "/healthz"] {
        gateway.get(path, APP_KEY).await.refused(404, "not_found");
    }
    let answered = gateway.call("PUT", "/v1/conferences", Some(APP_KEY), Value::Null).await;
    let mut allow: Vec<_> = answered.headers["allow"].to_str().unwrap().split(',').collect();
    allow.sort_unstable();
    assert_eq!(allow, ["GET", "HEAD", "POST"]);
    answered.refused(405, "invalid_request");
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_stays_out_of_caches() {
    let gateway = gateway().await;
    let request =
        Request::get("/v1/nothing").header("x-request-id", "from-me.1").body(Body::empty()).unwrap();
    let answered = gateway.send(request).await;
    assert_eq!(answered.headers["x-request-id"], "from-me.1");
    assert_eq!(answered.headers["cache-control"], "no-store");
    assert_eq!(answered.headers["x-content-type-options"], "nosniff");
    let first = gateway.get("/v1/conferences", APP_KEY).await.headers["x-request-id"].clone();
    let second = gateway.get("/v1/conferences", APP_KEY).await.headers["x-request-id"].clone();
    assert_eq!(first.len(), 16);
    assert_ne!(first, second);
}

#[tokio::test]
async fn requests_refusals_commands_and_bad_credentials_are_counted() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    gateway.member(&conference, "anna", 3).await;
    gateway.get("/v1/conferences", "app1.wrong").await.refused(401, "unauthenticated");
    let metrics = gateway.metrics.encode().unwrap();
    for line in [
        "tidegate_http_requests_total{route=\"/v1/conferences/{confrId}/members\",status=\"2xx\"} 1",
        "tidegate_http_requests_total{route=\"/v1/conferences\",status=\"4xx\"} 1",
        "tidegate_refusals_total{reason=\"unauthenticated\"} 1",
        "tidegate_commands_total{kind=\"join\",outcome=\"done\"} 1",
        "tidegate_authentication_failures_total{credential=\"app_key\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
}
