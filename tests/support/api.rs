//! A client of the control API that knows the contract's words, and remembers every secret it is told.

use super::media_url::MediaUrl;
use super::token;
use super::wait::{EVENT, within};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;

pub use super::secrets::Secrets;

/// A refusal as the outside sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub status: u16,
    pub reason: String,
    pub code: i64,
    pub detail: String,
}

impl Refusal {
    /// Fails unless this is the refusal that the contract names.
    #[track_caller]
    pub fn assert_is(&self, status: u16, reason: &str, code: i64) {
        assert_eq!((self.status, self.reason.as_str(), self.code), (status, reason, code), "{}", self.detail);
    }
}

pub type Answer = Result<Value, Refusal>;

/// Calls that ought to be refused.
pub trait Refused {
    fn refused(self) -> Refusal;
}

impl<T: std::fmt::Debug> Refused for Result<T, Refusal> {
    #[track_caller]
    fn refused(self) -> Refusal {
        match self {
            Err(refusal) => refusal,
            Ok(answer) => panic!("ought to be refused, but was answered: {answer:?}"),
        }
    }
}

#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    scheme: &'static str,
    pub address: SocketAddr,
    pub secrets: Secrets,
}

impl Api {
    pub fn new(address: SocketAddr, secrets: Secrets) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        Self { client, scheme: "http", address, secrets }
    }

    /// Over TLS, to a gateway whose certificate this authority signed.
    pub fn over_tls(address: SocketAddr, secrets: Secrets, authority: &[u8]) -> Self {
        let authority = reqwest::Certificate::from_pem(authority).expect("a certificate");
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]);
        Self { client: client.build().expect("an HTTP client"), scheme: "https", address, secrets }
    }

    /// The client that calls are made with.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// One call. Connection trouble is a failure of the test; see `try_call` where it is expected.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let what = format!("{method} {path}");
        let answer = self.try_call(method, path, bearer, body);
        within(EVENT, &what, answer).await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// As `call`, but a gateway that went away is an error, not a failure.
    pub async fn try_call(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Option<Value>,
    ) -> Result<Answer, reqwest::Error> {
        let body = body.map(|body| body.to_string().into_bytes());
        let (status, body) = self.try_send(method, path, bearer, &[], body).await?;
        Ok(self.read(path, status, &body))
    }

    /// A call with headers of its own.
    pub async fn call_with(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let what = format!("{method} {path}");
        let body = body.map(|body| body.to_string().into_bytes());
        let sent = within(EVENT, &what, self.try_send(method, path, bearer, headers, body)).await;
        let (status, body) = sent.unwrap_or_else(|error| panic!("{what}: {error}"));
        self.read(path, status, &body)
    }

    /// A call with any bytes for a body.
    pub async fn call_raw(&self, method: Method, path: &str, bearer: Option<&str>, body: Vec<u8>) -> Answer {
        let what = format!("{method} {path}");
        let sent = within(EVENT, &what, self.try_send(method, path, bearer, &[], Some(body))).await;
        let (status, body) = sent.unwrap_or_else(|error| panic!("{what}: {error}"));
        self.read(path, status, &body)
    }

    async fn try_send(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, String), reqwest::Error> {
        if let Some(bearer) = bearer {
            self.secrets.learn_bearer(bearer);
        }
        if let Some(Ok(body)) = body.as_deref().map(serde_json::from_slice::<Value>) {
            self.secrets.learn_from(&body);
        }
        let mut request = self.client.request(method, self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        if !status.is_success() {
            let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("");
            assert!(kind.starts_with("application/problem+json"), "{status} with content type {kind:?}");
        }
        Ok((status, answer.text().await?))
    }

    fn read(&self, path: &str, status: StatusCode, body: &str) -> Answer {
        if status.is_success() {
            let answer = if body.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
            };
            self.secrets.learn_from(&answer);
            return Ok(answer);
        }
        let problem: Value = serde_json::from_str(body)
            .unwrap_or_else(|error| panic!("{path}: {status} without a problem document ({error}): {body}"));
        let text = |field: &str| match &problem[field] {
            Value::String(text) => text.clone(),
            other => panic!("{path}: {field} of the problem is {other}: {body}"),
        };
        for field in ["type", "title"] {
            text(field);
        }
        assert_eq!(problem["status"], status.as_u16(), "{path}: {body}");
        self.secrets.assert_absent("an error body", body);
        Err(Refusal {
            status: status.as_u16(),
            reason: text("reason"),
            code: problem["code"].as_i64().unwrap_or_else(|| panic!("{path}: no code: {body}")),
            detail: text("detail"),
        })
    }

    pub async fn get(&self, path: &str, bearer: &str) -> Answer {
        self.call(Method::GET, path, Some(bearer), None).await
    }

    pub async fn post(&self, path: &str, bearer: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(bearer), Some(body)).await
    }

    pub async fn patch(&self, path: &str, bearer: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, Some(bearer), Some(body)).await
    }

    pub async fn put(&self, path: &str, bearer: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(bearer), Some(body)).await
    }

    pub async fn delete(&self, path: &str, bearer: &str) -> Answer {
        self.call(Method::DELETE, path, Some(bearer), None).await
    }

    /// Joins with a ticket, which stands in the body: no bearer is needed.
    pub async fn join(&self, confr_id: &str, ticket: &str) -> Result<Member, Refusal> {
        self.join_with(confr_id, None, json!({ "ticket": ticket })).await
    }

    pub async fn join_with(
        &self,
        confr_id: &str,
        bearer: Option<&str>,
        body: Value,
    ) -> Result<Member, Refusal> {
        let path = format!("/v1/conferences/{confr_id}/members");
        let answer = self.call(Method::POST, &path, bearer, Some(body)).await?;
        Ok(Member::from_answer(self.clone(), confr_id, &answer))
    }
}

/// The field as text; a missing one fails the test with the whole answer.
#[track_caller]
pub fn text(answer: &Value, pointer: &str) -> String {
    match answer.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        other => panic!("{pointer} is {other:?} in {answer}"),
    }
}

/// The app's backend: all that its key may do.
#[derive(Clone)]
pub struct App {
    pub api: Api,
    pub key: String,
    pub id: String,
    pub secret: String,
}

impl App {
    pub fn new(api: Api, key: &str) -> Self {
        let (id, secret) = key.split_once('.').unwrap_or_else(|| panic!("no `<appId>.<secret>`: {key}"));
        api.secrets.learn(key);
        api.secrets.learn(secret);
        Self { id: id.to_owned(), secret: secret.to_owned(), key: key.to_owned(), api }
    }

    /// The same app on another gateway process.
    pub fn at(&self, api: Api) -> Self {
        Self { api, ..self.clone() }
    }

    /// A user token as the backend mints it itself: HS256 with the text of the app's secret.
    pub fn user_token(&self, user: &str, can_create: bool) -> String {
        let mut claims = json!({ "iss": self.id, "sub": user, "exp": token::now() + 3600 });
        if can_create {
            claims["can"] = json!(["create"]);
        }
        let token = token::hs256(&claims, self.secret.as_bytes());
        self.api.secrets.learn(&token);
        token
    }

    pub async fn create(&self, request: Value) -> Result<Conference, Refusal> {
        let answer = self.api.post("/v1/conferences", &self.key, request).await?;
        Ok(Conference {
            app: self.clone(),
            id: text(&answer, "/confrId"),
            password: text(&answer, "/password"),
            ticket: text(&answer, "/ticket"),
            answer,
        })
    }

    /// A conference with the defaults of type 10.
    pub async fn conference(&self) -> Conference {
        self.create(json!({})).await.expect("a conference")
    }
}

/// A conference in the hands of the app's backend.
#[derive(Clone)]
pub struct Conference {
    pub app: App,
    pub id: String,
    pub password: String,
    /// The creator's ADMIN ticket.
    pub ticket: String,
    pub answer: Value,
}

impl Conference {
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/conferences/{}{rest}", self.id)
    }

    /// The same conference on another gateway process.
    pub fn at(&self, api: Api) -> Self {
        Self { app: self.app.at(api), ..self.clone() }
    }

    pub async fn get(&self) -> Answer {
        self.app.api.get(&self.path(""), &self.app.key).await
    }

    pub async fn delete(&self) -> Answer {
        self.app.api.delete(&self.path(""), &self.app.key).await
    }

    pub async fn ticket_with(&self, request: Value) -> Answer {
        self.app.api.post(&self.path("/tickets"), &self.app.key, request).await
    }

    pub async fn ticket(&self, user: &str, role: i64) -> String {
        let answer = self.ticket_with(json!({ "user": user, "role": role })).await.expect("a ticket");
        text(&answer, "/ticket")
    }

    /// A new ticket for this user and a join with it.
    pub async fn member(&self, user: &str, role: i64) -> Member {
        let ticket = self.ticket(user, role).await;
        self.app.api.join(&self.id, &ticket).await.unwrap_or_else(|refusal| panic!("{user}: {refusal:?}"))
    }

    pub async fn kick(&self, names: &[&str]) -> Answer {
        self.app.api.post(&self.path("/kick"), &self.app.key, json!({ "memberNames": names })).await
    }

    pub async fn set_role(&self, names: &[&str], role: i64) -> Answer {
        let request = json!({ "memberNames": names, "role": role });
        self.app.api.post(&self.path("/roles"), &self.app.key, request).await
    }

    /// The names of those inside, as the app key sees them.
    pub async fn member_names(&self) -> BTreeSet<String> {
        let conference = self.get().await.expect("the conference");
        let members = conference["members"].as_array().expect("members").clone();
        members.iter().map(|member| text(member, "/name")).collect()
    }
}

/// A publish URL as pubStream gives it.
#[derive(Debug, Clone)]
pub struct PublishAnswer {
    pub stream_id: String,
    pub url: MediaUrl,
    pub server: String,
    pub key: String,
}

/// The play URLs as subStream gives them.
#[derive(Debug, Clone)]
pub struct PlayAnswer {
    pub url: MediaUrl,
    pub flv: String,
    pub ws_flv: String,
}

/// Somebody inside a conference, with its member token.
#[derive(Clone)]
pub struct Member {
    pub api: Api,
    pub confr_id: String,
    pub id: String,
    pub name: String,
    pub role: i64,
    pub token: String,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({}, role {})", self.name, self.id, self.role)
    }
}

impl Member {
    fn from_answer(api: Api, confr_id: &str, answer: &Value) -> Self {
        assert_eq!(text(answer, "/confr/confrId"), confr_id);
        Self {
            api,
            confr_id: confr_id.to_owned(),
            id: text(answer, "/member/id"),
            name: text(answer, "/member/name"),
            role: answer["member"]["role"].as_i64().expect("a role"),
            token: text(answer, "/roleToken"),
        }
    }

    /// The same member on another gateway process.
    pub fn at(&self, api: Api) -> Self {
        Self { api, ..self.clone() }
    }

    pub fn path(&self, rest: &str) -> String {
        format!("/v1/conferences/{}{rest}", self.confr_id)
    }

    /// pubStream.
    pub async fn publish(&self, rtc_id: &str) -> Result<PublishAnswer, Refusal> {
        let answer = self.api.post(&self.path("/streams"), &self.token, json!({ "rtcId": rtc_id })).await?;
        Ok(PublishAnswer {
            stream_id: text(&answer, "/stream/id"),
            url: MediaUrl::parse(&text(&answer, "/data/rtmp")),
            server: text(&answer, "/data/rtmpServer"),
            key: text(&answer, "/data/rtmpKey"),
        })
    }

    /// subStream.
    pub async fn subscribe(&self, stream_id: &str) -> Result<PlayAnswer, Refusal> {
        self.subscribe_as(stream_id, json!({})).await
    }

    pub async fn subscribe_as(&self, stream_id: &str, request: Value) -> Result<PlayAnswer, Refusal> {
        let path = self.path(&format!("/streams/{stream_id}/subscriptions"));
        let answer = self.api.post(&path, &self.token, request).await?;
        Ok(PlayAnswer {
            url: MediaUrl::parse(&text(&answer, "/data/rtmp")),
            flv: answer["data"]["flv"].as_str().unwrap_or_default().to_owned(),
            ws_flv: answer["data"]["wsFlv"].as_str().unwrap_or_default().to_owned(),
        })
    }

    pub async fn unpublish(&self, stream_id: &str) -> Answer {
        self.api.delete(&self.path(&format!("/streams/{stream_id}")), &self.token).await
    }

    pub async fn heartbeat(&self) -> Answer {
        self.api.call(Method::POST, &self.path("/heartbeat"), Some(&self.token), None).await
    }

    pub async fn exit(&self) -> Answer {
        self.api.delete(&self.path("/members/me"), &self.token).await
    }

    /// The conference as this member sees it: also the cheapest question whether the token still holds.
    pub async fn look(&self) -> Answer {
        self.api.get(&self.path(""), &self.token).await
    }
}
