//! Every route with every credential.

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Credential {
    Nothing,
    WrongKey,
    Key,
    OtherAppsKey,
    User,
    ForgedUser,
    TalkerTicket,
    AdminTicket,
    ForeignTicket,
    ExpiredTicket,
    ForgedTicket,
    Talker,
    Admin,
    ForeignMember,
    ForgedMember,
}

use Credential::*;

const ALL: [Credential; 15] = [
    Nothing,
    WrongKey,
    Key,
    OtherAppsKey,
    User,
    ForgedUser,
    TalkerTicket,
    AdminTicket,
    ForeignTicket,
    ExpiredTicket,
    ForgedTicket,
    Talker,
    Admin,
    ForeignMember,
    ForgedMember,
];

/// Whom a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    App,
    Creator,
    Insider,
    /// The app key, and members who are ADMIN.
    InsideAdmin,
    Runner,
    Issuer,
    Joiner,
}

impl Takes {
    fn expected(self, credential: Credential) -> &'static str {
        match (self, credential) {
            (_, Nothing | WrongKey | ForgedUser | ForgedMember) => "unauthenticated",
            (_, Key) | (Self::App | Self::Creator, OtherAppsKey) => "ok",
            (_, OtherAppsKey) => "conference_not_found",
            (Self::Creator, User) => "not_allowed",
            (Self::Issuer | Self::Joiner, User) => "ok",
            (Self::Runner | Self::Issuer, TalkerTicket | Talker | ForeignMember) => "not_allowed",
            (Self::Runner | Self::Issuer, AdminTicket | Admin) => "ok",
            (Self::Joiner, TalkerTicket | AdminTicket) => "ok",
            (Self::Runner | Self::Issuer | Self::Joiner, ForeignTicket | ForgedTicket) => "ticket_invalid",
            (Self::Runner | Self::Issuer | Self::Joiner, ExpiredTicket) => "ticket_expired",
            (Self::Insider, Talker | Admin) | (Self::InsideAdmin, Admin) => "ok",
            (Self::Insider, ForeignMember) | (Self::InsideAdmin, ForeignMember | Talker) => "not_allowed",
            _ => "unauthenticated",
        }
    }
}

/// A conference with an ADMIN and a TALKER who has a stream, and the same elsewhere.
struct Scene {
    gateway: Gateway,
    conference: String,
    stream: String,
    bearers: Vec<(Credential, Option<String>)>,
}

/// The token with another last character but one: the last one may carry padding bits.
fn forged(token: &str) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let at = bytes.len() - 2;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

async fn scene() -> Scene {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let elsewhere = gateway.conference(json!({})).await;
    let talker = gateway.member(&conference, "anna", 3).await;
    let stream = gateway.stream(&conference, &talker, "RTC1").await;
    let ticket = gateway.ticket(&conference, "boss", 7).await;
    let bearers = ALL.map(|credential| (credential, None));
    let mut bearers = Vec::from(bearers);
    for (credential, bearer) in &mut bearers {
        *bearer = match credential {
            Nothing => None,
            WrongKey => Some(APP_KEY.replace("secret", "Secret")),
            Key => Some(APP_KEY.to_owned()),
            OtherAppsKey => Some(OTHER_APP_KEY.to_owned()),
            User => Some(user_token("eve", false)),
            ForgedUser => Some(forged(&user_token("eve", false))),
            TalkerTicket => Some(gateway.ticket(&conference, "clara", 3).await),
            AdminTicket => Some(ticket.clone()),
            ForeignTicket => Some(gateway.ticket(&elsewhere, "boss", 7).await),
            ExpiredTicket => Some(gateway.expired_ticket(&conference)),
            ForgedTicket => Some(forged(&ticket)),
            Talker => Some(talker.clone()),
            Admin => Some(gateway.member(&conference, "boris", 7).await),
            ForeignMember => Some(gateway.member(&elsewhere, "anna", 7).await),
            ForgedMember => Some(forged(&talker)),
        };
    }
    Scene { gateway, conference, stream, bearers }
}

/// Asks one route with every credential, each in a scene of its own.
async fn assert_route(takes: Takes, method: &str, path: impl Fn(&Scene) -> String, body: Value) {
    for credential in ALL {
        let scene = scene().await;
        let bearer = scene.bearers.iter().find(|(other, _)| *other == credential);
        let bearer = bearer.and_then(|(_, bearer)| bearer.as_deref());
        let mut path = path(&scene);
        // The app key acts for a member where a member is asked for.
        let app = matches!(credential, Key | OtherAppsKey | WrongKey);
        let mut body = body.clone();
        match (app, takes, method) {
            (true, Takes::Insider, "DELETE") if path.ends_with("/me") => path.push_str("?user=anna"),
            (true, Takes::Insider | Takes::Joiner, "POST" | "PATCH") => body["user"] = json!("anna"),
            _ => {}
        }
        let answered = scene.gateway.call(method, &path, bearer, body).await;
        let expected = takes.expected(credential);
        assert_eq!(answered.outcome(), expected, "{method} {path} with {credential:?}: {}", answered.body);
        if answered.status == 401 {
            assert_eq!(answered.headers["www-authenticate"], "Bearer realm=\"tidegate\"");
        }
    }
}

#[tokio::test]
async fn user_tokens_are_for_the_app_key() {
    assert_route(Takes::App, "POST", |_| "/v1/user-tokens".to_owned(), json!({ "user": "eve" })).await;
}

#[tokio::test]
async fn conferences_are_created_by_the_app_key_and_by_users_who_may() {
    let body = json!({ "password": "" });
    assert_route(Takes::Creator, "POST", |_| "/v1/conferences".to_owned(), body).await;
    let gateway = gateway().await;
    let created = gateway.post("/v1/conferences", &user_token("eve", true), json!({ "password": "" })).await;
    created.ok(201);
}

#[tokio::test]
async fn conferences_are_listed_by_the_app_key() {
    assert_route(Takes::App, "GET", |_| "/v1/conferences".to_owned(), Value::Null).await;
}

#[tokio::test]
async fn a_conference_is_looked_at_by_the_app_key_and_its_members() {
    assert_route(Takes::Insider, "GET", |scene| scene.conference.clone(), Value::Null).await;
}

#[tokio::test]
async fn a_conference_is_changed_by_the_app_key_and_its_admins() {
    let body = json!({ "memDefaultRole": 1 });
    assert_route(Takes::InsideAdmin, "PATCH", |scene| scene.conference.clone(), body).await;
}

#[tokio::test]
async fn members_change_themselves() {
    let body = json!({ "nickName": "Nick" });
    assert_route(Takes::Insider, "PATCH", |scene| format!("{}/members/me", scene.conference), body).await;
}

#[tokio::test]
async fn sessions_are_for_the_app_key() {
    assert_route(Takes::App, "GET", |_| "/v1/sessions".to_owned(), Value::Null).await;
    let scene = scene().await;
    for (credential, bearer) in &scene.bearers {
        let answered = scene.gateway.call("DELETE", "/v1/sessions/1", bearer.as_deref(), Value::Null).await;
        let expected = if matches!(credential, Key | OtherAppsKey) { "not_found" } else { "unauthenticated" };
        assert_eq!(answered.outcome(), expected, "{credential:?}");
    }
}

#[tokio::test]
async fn a_conference_is_ended_by_who_runs_it() {
    assert_route(Takes::Runner, "DELETE", |scene| scene.conference.clone(), Value::Null).await;
}

#[tokio::test]
async fn kicks_are_for_who_runs_the_conference() {
    let body = json!({ "memberNames": ["nobody"] });
    assert_route(Takes::Runner, "POST", |scene| format!("{}/kick", scene.conference), body).await;
}

#[tokio::test]
async fn roles_are_for_who_runs_the_conference() {
    let body = json!({ "memberNames": ["nobody"], "role": 1 });
    assert_route(Takes::Runner, "POST", |scene| format!("{}/roles", scene.conference), body).await;
}

#[tokio::test]
async fn tickets_are_issued_by_who_runs_the_conference_and_to_users() {
    assert_route(Takes::Issuer, "POST", |scene| format!("{}/tickets", scene.conference), json!({})).await;
}

#[tokio::test]
async fn joins_take_tickets_users_and_the_app_key() {
    assert_route(Takes::Joiner, "POST", |scene| format!("{}/members", scene.conference), json!({})).await;
}

#[tokio::test]
async fn leaving_is_for_members() {
    assert_route(Takes::Insider, "DELETE", |scene| format!("{}/members/me", scene.conference), Value::Null)
        .await;
}

#[tokio::test]
async fn heartbeats_are_for_members() {
    assert_route(Takes::Insider, "POST", |scene| format!("{}/heartbeat", scene.conference), json!({})).await;
}

#[tokio::test]
async fn streams_are_published_by_members() {
    let body = json!({ "rtcId": "RTC2" });
    assert_route(Takes::Insider, "POST", |scene| format!("{}/streams", scene.conference), body).await;
}

#[tokio::test]
async fn streams_are_deleted_by_their_owner_an_admin_and_the_app_key() {
    let path = |scene: &Scene| format!("{}/streams/{}", scene.conference, scene.stream);
    assert_route(Takes::Insider, "DELETE", path, Value::Null).await;
}

#[tokio::test]
async fn streams_are_subscribed_to_by_members() {
    let path = |scene: &Scene| format!("{}/streams/{}/subscriptions", scene.conference, scene.stream);
    assert_route(Takes::Insider, "POST", path, json!({})).await;
}

#[tokio::test]
async fn who_shows_nothing_learns_nothing() {
    let scene = scene().await;
    for id in ["TS_unknown", &scene.conference["/v1/conferences/".len()..]] {
        for (method, rest) in [
            ("GET", ""),
            ("DELETE", ""),
            ("PATCH", ""),
            ("PATCH", "/members/me"),
            ("POST", "/tickets"),
            ("POST", "/members"),
            ("DELETE", "/members/me"),
            ("POST", "/heartbeat"),
            ("POST", "/kick"),
            ("POST", "/roles"),
            ("POST", "/streams"),
            ("DELETE", "/streams/x"),
            ("POST", "/streams/x/subscriptions"),
        ] {
            let path = format!("/v1/conferences/{id}{rest}");
            scene.gateway.call(method, &path, None, Value::Null).await.refused(401, "unauthenticated");
        }
    }
}

#[tokio::test]
async fn odd_bearers_are_unauthenticated() {
    let gateway = gateway().await;
    for bearer in
        ["", ".", "..", "...", "app1", "app1.", "app3.the-secret-of-app1", "a.b.c", &"x".repeat(5000)]
    {
        gateway.get("/v1/conferences", bearer).await.refused(401, "unauthenticated");
    }
}
