//! The API as a client sees it, over the real conferences and the memory store.

mod admin;
mod answers;
mod credentials;
mod document;
mod guard;
mod idempotency;
mod media;
mod members;
mod patch;
mod relays;
mod rooms;
mod sessions;
mod voip;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::urls::{Endpoints, RtmpScheme};
use super::{Control, ControlDeps, CorsOrigins, Guard, GuardSettings, Heartbeats, Settings, router};
use crate::admission::Admission;
use crate::clock;
use crate::conferences::apps::Apps;
use crate::conferences::passwords::Passwords;
use crate::conferences::voip_sessions::VoipSessions;
use crate::conferences::{Conferences, Watcher};
use crate::domain::ticket::{TicketClaims, TokenKeys, UserClaims, mint_user_token};
use crate::domain::{AppId, ConferenceId, Limits, MemberId, Role, Seq, TicketId, Timestamp, UserName};
use crate::events::webhooks::WebhookSettings;
use crate::events::{Feed, Webhooks};
use crate::flv::FlvDoor;
use crate::hub::{Hub, HubSettings, SessionTable};
use crate::intake::Intake;
use crate::outbound::{Outbound, Policy};
use crate::places::{Limit, PlaceLimits, Places};
use crate::relays::{RelayDeps, RelaySettings, RelayTable, Relays, RetryTimes};
use crate::rtmp::relay::LinkTimes;
use crate::store::MemoryStore;
use crate::telemetry::Metrics;
use crate::tls::TlsClient;

const APP_KEY: &str = "app1.the-secret-of-app1";
const OTHER_APP_KEY: &str = "app2.the-secret-of-app2";

/// Heartbeats as they came.
#[derive(Default)]
struct Beats(Mutex<Vec<(MemberId, Seq)>>);

impl Heartbeats for Beats {
    fn heartbeat(&self, _: &ConferenceId, member: &MemberId, epoch: Seq) {
        self.0.lock().push((member.clone(), epoch));
    }
}

/// A gateway with two apps and nothing in it.
struct Gateway {
    router: Router,
    keys: TokenKeys,
    metrics: Metrics,
    beats: Arc<Beats>,
    sessions: SessionTable,
}

/// What was answered.
#[derive(Debug)]
struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answered {
    /// The answer of a call that ought to succeed with `status`.
    #[track_caller]
    fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// Fails unless the call was refused like this.
    #[track_caller]
    fn refused(self, status: u16, reason: &str) -> String {
        assert_eq!((self.status, self.body["reason"].as_str()), (status, Some(reason)), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        self.body["detail"].as_str().expect("a detail").to_owned()
    }

    /// `ok`, or the reason of the refusal.
    fn outcome(&self) -> &str {
        if self.status < 300 { "ok" } else { self.body["reason"].as_str().expect("a reason") }
    }
}

#[track_caller]
fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text at {pointer} in {value}")).to_owned()
}

async fn gateway() -> Gateway {
    guarded(GuardSettings::default()).await
}

async fn guarded(guard_settings: GuardSettings) -> Gateway {
    let store = Arc::new(MemoryStore::new());
    let mut apps = None;
    for key in [APP_KEY, OTHER_APP_KEY] {
        let (app, secret) = key.split_once('.').unwrap();
        apps = Some(Apps::open(store.clone(), &AppId::parse(app).unwrap(), secret).await.unwrap());
    }
    let keys = TokenKeys::derive(&[5; 32]);
    let (metrics, beats) = (Metrics::new(), Arc::new(Beats::default()));
    let sessions = SessionTable::new(4);
    let feed = Arc::new(Feed::new(store.clone(), 100, CancellationToken::new()));
    let relay_table = Arc::<RelayTable>::default();
    let watchers = vec![feed.clone() as Arc<dyn Watcher>, relay_table.clone()];
    let conferences = Conferences::open(store.clone(), watchers).await.unwrap();
    let admission = Arc::new(Admission::new(keys.media.clone(), sessions.clone(), Arc::clone(&conferences)));
    let hub = Hub::new(HubSettings::default());
    let flv = FlvDoor::new(hub, admission, metrics.clone(), CancellationToken::new(), Duration::ZERO);
    let minute = Duration::from_secs(60);
    let webhook_settings =
        WebhookSettings { retry_min: minute, retry_max: minute, give_up_ms: 60_000, conferences_at_once: 1 };
    let outbound = Outbound::new(Policy::new(|_| false), minute);
    let webhooks =
        Webhooks::open(store.clone(), Arc::clone(&conferences), outbound, webhook_settings, metrics.clone());
    let relays = RelayDeps {
        store: store.clone(),
        sealing: keys.sealing.clone(),
        conferences: Arc::clone(&conferences),
        hub: Hub::new(HubSettings::default()),
        sessions: sessions.clone(),
        policy: Policy::new(|_| false),
        tls: TlsClient::new(None).unwrap(),
        settings: RelaySettings {
            per_conference_max: 2,
            relays_max: 3,
            times: LinkTimes { connect: minute, stall: minute, idle: minute },
            retry: RetryTimes { min: minute, max: minute },
        },
        metrics: metrics.clone(),
        draining: CancellationToken::new(),
    };
    let relays = Relays::open(relay_table, relays).await.unwrap();
    let control = Control::new(ControlDeps {
        relays,
        conferences,
        webhooks: webhooks.await.unwrap(),
        sessions: sessions.clone(),
        hub: Hub::new(HubSettings::default()),
        feed,
        flv: Arc::new(flv),
        apps: Arc::new(apps.unwrap()),
        voip_sessions: Arc::new(VoipSessions::new(store.clone(), keys.sealing.clone())),
        passwords: Arc::new(Passwords::new([6; 32])),
        heartbeats: Arc::clone(&beats) as Arc<dyn Heartbeats>,
        keys: keys.clone(),
        settings: Settings {
            limits: Limits::default(),
            user_token_ttl_secs: 3600,
            ticket_ttl_secs: 86_400,
            media_url_ttl_secs: 86_400,
            answer_stall: std::time::Duration::from_secs(30),
            event_ping: std::time::Duration::from_secs(10),
            console: true,
            join_page: true,
            overview_sample_ms: 10_000,
        },
        endpoints: Endpoints {
            public_rtmp_url: None,
            public_http_url: None,
            rtmp: (RtmpScheme::Rtmp, 40001),
            trusted_proxy: Arc::new(|_| false),
        },
        guard: Guard::new(guard_settings),
        cors: CorsOrigins::Any,
        intake: Intake::default(),
        places: Places::new(PlaceLimits {
            in_all: Limit { setting: "connections_max", max: 100 },
            per_address: Limit { setting: "connections_per_address_max", max: 100 },
        }),
        metrics: metrics.clone(),
        overview: Arc::default(),
    });
    Gateway { router: router(control), keys, metrics, beats, sessions }
}

/// A user token of app1 as its backend mints it.
fn user_token(user: &str, can_create: bool) -> String {
    let (app, secret) = APP_KEY.split_once('.').unwrap();
    let app = AppId::parse(app).unwrap();
    let claims = UserClaims { app, user: UserName::parse(user).unwrap(), can_create };
    mint_user_token(secret, &claims, clock::now().plus_ms(60_000)).unwrap()
}

impl Gateway {
    async fn send(&self, request: Request<Body>) -> Answered {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body =
            if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("a JSON body") };
        Answered { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// A call with any bytes for a body.
    async fn raw(&self, method: &str, path: &str, bearer: Option<&str>, body: Vec<u8>) -> Answered {
        let mut request = Request::builder().method(method).uri(path).header("host", "gw.example:8080");
        if let Some(bearer) = bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// A call; no body where `body` is null.
    async fn call(&self, method: &str, path: &str, bearer: Option<&str>, body: Value) -> Answered {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.raw(method, path, bearer, body).await
    }

    /// A POST with an idempotency key.
    async fn keyed(&self, path: &str, bearer: &str, key: &str, body: Value) -> Answered {
        let request = Request::post(path)
            .header("host", "gw.example:8080")
            .header("authorization", format!("Bearer {bearer}"))
            .header("idempotency-key", key);
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn get(&self, path: &str, bearer: &str) -> Answered {
        self.call("GET", path, Some(bearer), Value::Null).await
    }

    async fn delete(&self, path: &str, bearer: &str) -> Answered {
        self.call("DELETE", path, Some(bearer), Value::Null).await
    }

    async fn patch(&self, path: &str, bearer: &str, body: Value) -> Answered {
        self.call("PATCH", path, Some(bearer), body).await
    }

    async fn post(&self, path: &str, bearer: &str, body: Value) -> Answered {
        self.call("POST", path, Some(bearer), body).await
    }

    /// The path of a new conference without a password, or as `request` says.
    async fn conference(&self, request: Value) -> String {
        let mut request = request;
        if request.get("password").is_none() {
            request["password"] = json!("");
        }
        let created = self.post("/v1/conferences", APP_KEY, request).await.ok(201);
        format!("/v1/conferences/{}", text(&created, "/confrId"))
    }

    async fn ticket(&self, conference: &str, user: &str, role: u8) -> String {
        let request = json!({ "user": user, "role": role });
        let answer = self.post(&format!("{conference}/tickets"), APP_KEY, request).await.ok(200);
        text(&answer, "/ticket")
    }

    /// A join with a new ticket: the member token.
    async fn member(&self, conference: &str, user: &str, role: u8) -> String {
        let ticket = self.ticket(conference, user, role).await;
        let answer = self.post(&format!("{conference}/members"), &ticket, Value::Null).await.ok(201);
        text(&answer, "/roleToken")
    }

    /// A declared stream of the member: its id.
    async fn stream(&self, conference: &str, member: &str, rtc_id: &str) -> String {
        let answer = self.post(&format!("{conference}/streams"), member, json!({ "rtcId": rtc_id })).await;
        text(&answer.ok(201), "/stream/id")
    }

    /// An ADMIN ticket that has run out.
    fn expired_ticket(&self, conference: &str) -> String {
        let claims = TicketClaims {
            id: TicketId::from_random([1; 10]),
            app: AppId::parse("app1").unwrap(),
            conference: ConferenceId::parse(conference.rsplit('/').next().unwrap()).unwrap(),
            user: Some(UserName::parse("late").unwrap()),
            role: Role::Admin,
            seq: Seq(1),
            expires_at: Timestamp(1000),
        };
        self.keys.mint_ticket(&claims).unwrap()
    }
}
