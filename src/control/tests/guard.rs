//! What stands before every request: ids, limits, CORS.

use std::net::SocketAddr;

use super::*;
use crate::control::server::Peer;

/// A request from `address`, through no proxy.
fn from(address: &str, method: &str, path: &str, bearer: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "gw.example");
    if let Some(bearer) = bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    let remote = SocketAddr::new(address.parse().unwrap(), 4711);
    let peer = Peer { remote, local: SocketAddr::from(([192, 0, 2, 1], 80)), secure: false };
    request.extension(peer).body(Body::empty()).unwrap()
}

fn few() -> GuardSettings {
    GuardSettings {
        requests_in_flight_max: 10,
        requests_per_address: 3,
        requests_per_credential: 1,
        failed_authentications_per_address: 2,
        wrong_passwords_per_user: 2,
    }
}

#[track_caller]
fn told_to_wait(answered: &Answered, status: u16, reason: &str) -> u64 {
    assert_eq!(
        (answered.status, answered.body["reason"].as_str()),
        (status, Some(reason)),
        "{}",
        answered.body
    );
    answered.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

/// Calls until a limit says no, which it does within some calls however slow this machine is.
async fn until_limited(mut call: impl AsyncFnMut() -> Answered) -> Answered {
    for _ in 0..1000 {
        let answered = call().await;
        if answered.status == 429 {
            return answered;
        }
    }
    panic!("never limited");
}

#[tokio::test]
async fn an_address_is_limited_and_the_app_key_is_not() {
    let gateway = guarded(few()).await;
    let conference = gateway.conference(json!({})).await;
    let ask = async |address: &str, bearer: Option<&str>| {
        gateway.send(from(address, "GET", "/nowhere", bearer)).await
    };
    assert_eq!(ask("203.0.113.1", None).await.status, 404);
    let refused = until_limited(async || ask("203.0.113.1", None).await).await;
    assert_eq!(told_to_wait(&refused, 429, "rate_limited"), 1);
    until_limited(async || ask("203.0.113.3", Some("app1.guessed")).await).await;
    for _ in 0..20 {
        assert_eq!(gateway.send(from("203.0.113.1", "GET", &conference, Some(APP_KEY))).await.status, 200);
    }
    assert_eq!(ask("203.0.113.2", None).await.status, 404, "another address");
    for _ in 0..20 {
        assert_eq!(ask("127.0.0.1", None).await.status, 404, "loopback is exempt");
    }
}

#[tokio::test]
async fn credentials_that_prove_nothing_are_limited_by_address() {
    let gateway = guarded(GuardSettings { requests_per_address: 1000, ..few() }).await;
    let conference = gateway.conference(json!({})).await;
    let ask = async |address: &str, bearer: &str| {
        gateway.send(from(address, "GET", &conference, Some(bearer))).await
    };
    ask("203.0.113.1", "app1.guessed").await.refused(401, "unauthenticated");
    let refused = until_limited(async || ask("203.0.113.1", "app1.guessed").await).await;
    let wait = told_to_wait(&refused, 429, "rate_limited");
    assert!((2..=30).contains(&wait), "two a minute, and not the second that stands for anything: {wait}");
    ask("203.0.113.1", APP_KEY).await.ok(200);
    ask("203.0.113.2", "app1.guessed").await.refused(401, "unauthenticated");
    for _ in 0..10 {
        ask("127.0.0.1", "app1.guessed").await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_credential_is_limited_wherever_it_comes_from() {
    let gateway = guarded(few()).await;
    let conference = gateway.conference(json!({})).await;
    let (anna, boris) =
        (gateway.ticket(&conference, "anna", 3).await, gateway.ticket(&conference, "boris", 3).await);
    let end = async |ticket: &str| gateway.delete(&conference, ticket).await;
    end(&anna).await.refused(403, "not_allowed");
    let refused = until_limited(async || end(&anna).await).await;
    assert_eq!(told_to_wait(&refused, 429, "rate_limited"), 1);
    end(&boris).await.refused(403, "not_allowed");
    let guests = gateway.post(&format!("{conference}/tickets"), APP_KEY, json!({ "role": 1 })).await.ok(200);
    for _ in 0..20 {
        let joined =
            gateway.post(&format!("{conference}/members"), &text(&guests, "/ticket"), Value::Null).await;
        joined.ok(201);
    }
}

#[tokio::test]
async fn guessing_a_password_is_slowed_and_a_right_one_waits_too() {
    let gateway = guarded(GuardSettings { requests_per_credential: 1000, ..few() }).await;
    let conference = gateway.conference(json!({ "password": "open" })).await;
    let join = async |user: &str, password: &str| {
        let members = format!("{conference}/members");
        gateway.post(&members, &user_token(user, false), json!({ "password": password })).await
    };
    join("anna", "1").await.refused(403, "wrong_password");
    join("anna", "2").await.refused(403, "wrong_password");
    until_limited(async || join("anna", "3").await).await;
    let wait = told_to_wait(&join("anna", "open").await, 429, "rate_limited");
    assert!((1..=30).contains(&wait), "{wait}");
    for _ in 0..5 {
        join("boris", "open").await.ok(201);
    }
}

#[tokio::test]
async fn requests_under_way_are_bounded() {
    let gateway = guarded(GuardSettings { requests_in_flight_max: 1, ..few() }).await;
    let conference = gateway.conference(json!({})).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
    let body = Body::from_stream(futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|part| (part, receiver))
    }));
    let request = Request::post("/v1/conferences").header("authorization", format!("Bearer {APP_KEY}"));
    let slow = gateway.router.clone().oneshot(request.body(body).unwrap());
    let slow = tokio::spawn(slow);
    // Taken once the handler waits for the body.
    sender.reserve().await.unwrap().send(Ok("{".to_owned()));
    sender.reserve().await.unwrap().send(Ok("}".to_owned()));
    let refused = gateway.get(&conference, APP_KEY).await;
    assert_eq!(told_to_wait(&refused, 503, "overloaded"), 1);
    drop(sender);
    assert_eq!(slow.await.unwrap().unwrap().status(), 201);
    gateway.get(&conference, APP_KEY).await.ok(200);
}

#[tokio::test]
async fn a_preflight_needs_no_credential_and_is_never_counted() {
    let gateway = guarded(few()).await;
    let conference = gateway.conference(json!({})).await;
    for _ in 0..20 {
        let mut preflight = from("203.0.113.1", "OPTIONS", &format!("{conference}/streams"), None);
        let headers = preflight.headers_mut();
        headers.insert("origin", "https://app.example".parse().unwrap());
        headers.insert("access-control-request-method", "POST".parse().unwrap());
        headers.insert("access-control-request-headers", "authorization,idempotency-key".parse().unwrap());
        let answered = gateway.send(preflight).await;
        assert_eq!(answered.status, 200);
        assert_eq!(answered.headers["access-control-allow-origin"], "*");
        let allowed = answered.headers["access-control-allow-headers"].to_str().unwrap();
        assert!(
            ["authorization", "idempotency-key"].iter().all(|header| allowed.contains(header)),
            "{allowed}"
        );
        let methods = answered.headers["access-control-allow-methods"].to_str().unwrap();
        assert!(
            ["GET", "POST", "PATCH", "DELETE"].iter().all(|method| methods.contains(method)),
            "{methods}"
        );
    }
    for _ in 0..4 {
        let mut request = from("203.0.113.1", "GET", "/nowhere", None);
        request.headers_mut().insert("origin", "https://app.example".parse().unwrap());
        let answered = gateway.send(request).await;
        assert_eq!(
            answered.headers["access-control-allow-origin"], "*",
            "a page can read {}",
            answered.status
        );
        let exposed = answered.headers["access-control-expose-headers"].to_str().unwrap();
        assert!(["retry-after", "location", "x-request-id"].iter().all(|header| exposed.contains(header)));
    }
}

#[tokio::test]
async fn a_refusal_names_the_request() {
    let gateway = gateway().await;
    let mut request = from("127.0.0.1", "GET", "/nowhere", None);
    request.headers_mut().insert("x-request-id", "my-id.7".parse().unwrap());
    let answered = gateway.send(request).await;
    assert_eq!(answered.headers["x-request-id"], "my-id.7");
    assert_eq!(answered.body["requestId"], "my-id.7");
    let answered = gateway.get("/nowhere", APP_KEY).await;
    assert_eq!(answered.headers["x-request-id"].to_str().unwrap(), answered.body["requestId"]);
}
