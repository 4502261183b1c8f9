//! The operators' routes.

use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Waker};

use super::*;
use crate::conferences::voip_sessions::VoipSession;
use crate::control::admin::{self, AdminDeps, Changes};
use crate::drain::Drain;
use crate::events::webhooks::TargetRequest;
use crate::listen::Listening;

struct Operators {
    router: Router,
    apps: Arc<Apps>,
    webhooks: Arc<Webhooks>,
    voip_sessions: Arc<VoipSessions>,
    changes: Changes,
}

async fn operators() -> Operators {
    let store = Arc::new(MemoryStore::new());
    let apps = Apps::open(store.clone(), &app("first"), "the-secret-of-first").await.unwrap();
    let apps = Arc::new(apps);
    let conferences = Conferences::open(store.clone(), Vec::new()).await.unwrap();
    let minute = Duration::from_secs(60);
    let settings =
        WebhookSettings { retry_min: minute, retry_max: minute, give_up_ms: 60_000, conferences_at_once: 1 };
    let outbound = Outbound::new(Policy::new(|_| true), minute);
    let voip_sessions = Arc::new(VoipSessions::new(store.clone(), TokenKeys::derive(&[7; 32]).sealing));
    let feed = Arc::new(Feed::new(store.clone(), 100, CancellationToken::new()));
    let webhooks = Webhooks::open(store, Arc::clone(&conferences), outbound, settings, Metrics::new());
    let webhooks = webhooks.await.unwrap();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let changes = Changes::default();
    let router = admin::router(AdminDeps {
        conferences,
        apps: Arc::clone(&apps),
        voip_sessions: Arc::clone(&voip_sessions),
        webhooks: Arc::clone(&webhooks),
        listening: Listening { rtmp: Some(nowhere), rtmps: None, http: nowhere, https: None, ops: nowhere },
        changes: changes.clone(),
        inside: (feed, SessionTable::new(4)),
        drain: Drain::default(),
        drain_ms: 1000,
        reload: Arc::new(|| Ok(Vec::new())),
    });
    Operators { router, apps, webhooks, voip_sessions, changes }
}

fn app(name: &str) -> AppId {
    AppId::parse(name).unwrap()
}

fn request(method: &str, path: &str, body: Value) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    request.body(Body::from(body.to_string())).unwrap()
}

#[tokio::test]
async fn a_change_is_carried_out_though_nobody_waits_for_it() {
    let operators = operators().await;
    operators.apps.add(&app("other"), "the-secret-of-other", Default::default()).await.unwrap();
    // As long as this removal is not decided, no other change begins.
    let removal = operators.apps.begin_removal(&app("other")).await.unwrap();
    let add = operators.router.clone().oneshot(request("POST", "/v1/apps", json!({ "appId": "new" })));
    {
        let mut add = pin!(add);
        assert!(add.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    drop(removal);
    operators.changes.settled().await;
    assert!(operators.apps.list().iter().any(|entry| entry.id == app("new")));
}

#[tokio::test]
async fn nobody_is_told_of_an_app_that_was_removed() {
    let operators = operators().await;
    operators.apps.add(&app("other"), "the-secret-of-other", Default::default()).await.unwrap();
    let target = TargetRequest { url: "https://example.com/".to_owned(), ..TargetRequest::default() };
    operators.webhooks.put_targets(&app("other"), vec![target]).await.unwrap();
    assert_eq!(operators.webhooks.targets(&app("other")).await.unwrap().len(), 1);
    let removed = operators.router.clone().oneshot(request("DELETE", "/v1/apps/other", Value::Null)).await;
    assert_eq!(removed.unwrap().status(), 200);
    assert_eq!(operators.webhooks.targets(&app("other")).await.unwrap(), []);
}

#[tokio::test]
async fn session_keys_go_with_their_app() {
    let operators = operators().await;
    operators.apps.add(&app("other"), "the-secret-of-other", Default::default()).await.unwrap();
    let openid = UserName::parse("openid").unwrap();
    let session = VoipSession { session_key: "key".to_owned().into(), mini_app_id: None };
    for app in [app("first"), app("other")] {
        operators.voip_sessions.put(&app, &openid, &session, [1; 12], clock::now()).await.unwrap();
    }
    let removed = operators.router.clone().oneshot(request("DELETE", "/v1/apps/other", Value::Null)).await;
    assert_eq!(removed.unwrap().status(), 200);
    let kept = async |name: &str| {
        operators.voip_sessions.get(&app(name), &openid, clock::now()).await.unwrap().is_some()
    };
    assert_eq!((kept("first").await, kept("other").await), (true, false));
}
