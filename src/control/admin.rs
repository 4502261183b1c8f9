//! What operators ask of the running gateway over its control socket: where it listens, its apps, a drain, a reload.
//!
//! Nobody is authenticated here: whoever reaches the socket in the data directory could read the store as well. These
//! routes are no part of the public API, and no other listener has them.

use std::convert::Infallible;
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::Answer;
use super::body::{Json, Query, json};
use super::problem::Problem;
use crate::clock;
use crate::conferences::Conferences;
use crate::conferences::apps::{AppEntry, AppLimits, Apps};
use crate::conferences::voip_sessions::VoipSessions;
use crate::domain::conference::Actor;
use crate::domain::{AppId, Command, Reason, Refusal};
use crate::drain::Drain;
use crate::entropy;
use crate::events::{Feed, Webhooks};
use crate::hub::SessionTable;
use crate::listen::Listening;

/// Pause after an accept that failed, such as for lack of file descriptors: some may have come free by then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Conferences that are looked up at once while those of an app are ended.
const PAGE: usize = 100;

/// What the operators' routes work with.
pub struct AdminDeps {
    /// The running conferences.
    pub conferences: Arc<Conferences>,
    /// The apps.
    pub apps: Arc<Apps>,
    /// What is kept for VoIP rooms.
    pub voip_sessions: Arc<VoipSessions>,
    /// Tells the apps' servers of events; nobody is told for an app that is gone.
    pub webhooks: Arc<Webhooks>,
    /// Where the gateway listens.
    pub listening: Listening,
    /// Carries out what changes something.
    pub changes: Changes,
    /// Who is inside: event sockets and media sessions.
    pub inside: (Arc<Feed>, SessionTable),
    /// Whether anybody new is let in.
    pub drain: Drain,
    /// What those inside are given where the operator says nothing, in milliseconds.
    pub drain_ms: u64,
    /// Takes the settings anew.
    pub reload: Reload,
}

/// Takes the settings anew: the keys of those that changed, or why none has.
pub type Reload = Arc<dyn Fn() -> Result<Vec<&'static str>, String> + Send + Sync>;

/// The changes under way. One goes on where the command that asked for it goes away: what the store was told, memory must
/// follow. Clones share everything.
#[derive(Clone, Default)]
pub struct Changes {
    tasks: TaskTracker,
    given_up: CancellationToken,
}

impl Changes {
    async fn carry_out(
        &self,
        change: impl Future<Output = Answer<Response>> + Send + 'static,
    ) -> Answer<Response> {
        let change = self.given_up.clone().run_until_cancelled_owned(change);
        let carried_out = self.tasks.spawn(change).await.ok().flatten();
        carried_out.unwrap_or_else(|| Err(Problem::internal()))
    }

    /// Returns when no change is under way any more.
    pub(super) async fn settled(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

type Admin = State<Arc<AdminDeps>>;

/// The operators' routes.
pub fn router(deps: AdminDeps) -> Router {
    Router::new()
        .route("/v1/gateway", get(gateway))
        .route("/v1/apps", get(list).post(add))
        .route("/v1/apps/{app}", delete(remove))
        .route("/v1/apps/{app}/limits", put(limit))
        .route("/v1/apps/{app}/rotation", post(rotate).put(finish).delete(cancel))
        .route("/v1/drain", put(drain).delete(undrain))
        .route("/v1/reload", post(reload))
        .fallback(no_such_route)
        .with_state(Arc::new(deps))
}

#[derive(Serialize)]
struct GatewayAnswer {
    version: &'static str,
    #[serde(flatten)]
    listening: Listening,
}

async fn gateway(State(admin): Admin) -> Response {
    let answer = GatewayAnswer { version: env!("CARGO_PKG_VERSION"), listening: admin.listening };
    json(StatusCode::OK, &answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DrainRequest {
    deadline_ms: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DrainAnswer {
    /// Whether nobody new is let in now.
    draining: bool,
    /// Whether this call changed that.
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    event_sockets: usize,
    publishers: usize,
    viewers: usize,
}

impl DrainAnswer {
    fn new(admin: &AdminDeps, changed: bool) -> Self {
        let (feed, sessions) = &admin.inside;
        let (standing, counts) = (admin.drain.standing(), sessions.counts());
        Self {
            draining: standing.is_some(),
            changed,
            deadline_ms: standing.map(|standing| standing.deadline_ms),
            event_sockets: feed.socket_count(),
            publishers: counts.publishers,
            viewers: counts.viewers,
        }
    }
}

/// Lets nobody new in and tells those inside. Asked again, it gives them the new deadline.
async fn drain(State(admin): Admin, Json(request): Json<DrainRequest>) -> Answer<Response> {
    let deadline_ms = request.deadline_ms.unwrap_or(admin.drain_ms);
    if !admin.drain.begin(deadline_ms, Instant::now()) {
        return Err(Reason::Draining.because("the gateway is shutting down").into());
    }
    tracing::info!(deadline_ms, "an operator drains the gateway: nobody new is let in");
    Ok(json(StatusCode::OK, &DrainAnswer::new(&admin, true)))
}

async fn undrain(State(admin): Admin) -> Answer<Response> {
    let ended = admin.drain.end();
    if ended {
        tracing::info!("an operator ended the drain: everybody is let in again");
    } else if admin.drain.standing().is_some() {
        return Err(Reason::Draining.because("the gateway is shutting down; start it again").into());
    }
    Ok(json(StatusCode::OK, &DrainAnswer::new(&admin, ended)))
}

#[derive(Serialize)]
struct ReloadAnswer {
    changed: Vec<&'static str>,
}

async fn reload(State(admin): Admin) -> Answer<Response> {
    let changes = admin.changes.clone();
    changes
        .carry_out(async move {
            let changed = (admin.reload)().map_err(|why| Reason::InvalidRequest.because(why))?;
            Ok(json(StatusCode::OK, &ReloadAnswer { changed }))
        })
        .await
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AppView {
    app_id: AppId,
    /// Whether its key is the one in the data directory.
    first: bool,
    /// Valid secrets; two during a rotation.
    secrets: usize,
    limits: AppLimits,
    conferences: usize,
    /// `<appId>.<secret>`, in the answer that made the secret and nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    app_key: Option<String>,
}

impl AppView {
    fn new(admin: &AdminDeps, entry: AppEntry) -> Self {
        Self {
            conferences: admin.conferences.list(&entry.id, None, usize::MAX).len(),
            app_id: entry.id,
            first: entry.is_first,
            secrets: entry.secret_count,
            limits: entry.limits,
            app_key: None,
        }
    }
}

#[derive(Serialize)]
struct ListAnswer {
    apps: Vec<AppView>,
}

async fn list(State(admin): Admin) -> Response {
    let apps = admin.apps.list().into_iter().map(|entry| AppView::new(&admin, entry)).collect();
    json(StatusCode::OK, &ListAnswer { apps })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AddRequest {
    app_id: AppId,
    #[serde(default)]
    limits: AppLimits,
}

async fn add(State(admin): Admin, Json(request): Json<AddRequest>) -> Answer<Response> {
    let changes = admin.changes.clone();
    changes
        .carry_out(async move {
            let secret = entropy::secret().map_err(|error| Reason::Overloaded.because(error.to_string()))?;
            let entry = admin.apps.add(&request.app_id, secret.expose(), request.limits).await?;
            tracing::info!(app = %entry.id, "an app was added");
            let app_key = format!("{}.{}", entry.id, secret.expose());
            Ok(json(StatusCode::CREATED, &AppView { app_key: Some(app_key), ..AppView::new(&admin, entry) }))
        })
        .await
}

async fn rotate(State(admin): Admin, Path(app): Path<String>) -> Answer<Response> {
    let changes = admin.changes.clone();
    changes
        .carry_out(async move {
            let secret = entropy::secret().map_err(|error| Reason::Overloaded.because(error.to_string()))?;
            let entry = admin.apps.rotate(&app_id(&app)?, secret.expose()).await?;
            tracing::info!(app = %entry.id, "an app has a second secret");
            let app_key = format!("{}.{}", entry.id, secret.expose());
            Ok(json(StatusCode::CREATED, &AppView { app_key: Some(app_key), ..AppView::new(&admin, entry) }))
        })
        .await
}

async fn finish(State(admin): Admin, Path(app): Path<String>) -> Answer<Response> {
    let changes = admin.changes.clone();
    changes
        .carry_out(async move {
            let entry = admin.apps.finish_rotation(&app_id(&app)?).await?;
            tracing::info!(app = %entry.id, "the older secret of an app was ended");
            Ok(json(StatusCode::OK, &AppView::new(&admin, entry)))
        })
        .await
}

async fn cancel(State(admin): Admin, Path(app): Path<String>) -> Answer<Response> {
    let changes = admin.changes.clone();
    changes
        .carry_out(async move {
            let entry = admin.apps.cancel_rotation(&app_id(&app)?).await?;
            tracing::info!(app = %entry.id, "the newer secret of an app was ended");
            Ok(json(StatusCode::OK, &AppView::new(&admin, entry)))
        })
        .await
}

async fn limit(
    State(admin): Admin,
    Path(app): Path<String>,
    Json(limits): Json<AppLimits>,
) -> Answer<Response> {
    let changes = admin.changes.clone();
    changes
        .carry_out(async move {
            let entry = admin.apps.set_limits(&app_id(&app)?, limits).await?;
            tracing::info!(app = %entry.id, ?limits, "the limits of an app were set");
            Ok(json(StatusCode::OK, &AppView::new(&admin, entry)))
        })
        .await
}

#[derive(Deserialize)]
struct RemoveQuery {
    #[serde(default)]
    force: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RemoveAnswer {
    app_id: AppId,
    conferences_ended: usize,
}

async fn remove(
    State(admin): Admin,
    Path(app): Path<String>,
    Query(query): Query<RemoveQuery>,
) -> Answer<Response> {
    let changes = admin.changes.clone();
    changes
        .carry_out(async move {
            let app_id = app_id(&app)?;
            let removal = admin.apps.begin_removal(&app_id).await?;
            let open = admin.conferences.list(&app_id, None, usize::MAX).len();
            if open > 0 && !query.force {
                let detail = format!(
                    "{app_id} has {open} open conferences; wait for their end, or end them with --force"
                );
                return Err(Reason::InvalidRequest.because(detail).into());
            }
            let conferences_ended = end_all(&admin.conferences, &app_id).await?;
            admin.webhooks.put_targets(&app_id, Vec::new()).await?;
            admin.voip_sessions.forget_app(&app_id).await?;
            removal.finish().await?;
            tracing::info!(app = %app_id, conferences_ended, "an app was removed");
            Ok(json(StatusCode::OK, &RemoveAnswer { app_id, conferences_ended }))
        })
        .await
}

/// Ends the conferences of `app`, which may make no more, as its own backend would, and tells how many.
async fn end_all(conferences: &Conferences, app: &AppId) -> Result<usize, Refusal> {
    conferences.creations_settled(app).await;
    let mut ended = 0;
    let mut after = None;
    loop {
        let page = conferences.list(app, after.as_ref(), PAGE);
        let Some(last) = page.last() else { return Ok(ended) };
        after = Some(last.id().clone());
        for conference in &page {
            let end = Command::End { by: Actor::App };
            match conferences.execute(conference.id(), end, clock::now()).await {
                Ok(_) => ended += 1,
                Err(refusal) if refusal.reason == Reason::ConferenceClosed => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }
}

fn app_id(text: &str) -> Result<AppId, Refusal> {
    AppId::parse(text).map_err(|error| Reason::InvalidRequest.because(error.to_string()))
}

async fn no_such_route() -> Problem {
    Reason::NotFound
        .because("the running gateway does not know this command; it may be another release")
        .into()
}

/// Serves `router` on the control socket until `stop`, then lets requests and their `changes` finish for `grace`. No task
/// is left when this returns.
pub async fn serve(
    listener: UnixListener,
    router: Router,
    changes: Changes,
    grace: Duration,
    stop: CancellationToken,
) {
    let listener = match tokio::net::UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "the control socket cannot be served");
            return;
        }
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a command could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let finish = async {
        while connections.join_next().await.is_some() {}
        changes.settled().await;
    };
    let _ = timeout(grace, finish).await;
    connections.shutdown().await;
    changes.given_up.cancel();
    changes.settled().await;
}

async fn connection(stream: UnixStream, router: Router, stop: CancellationToken) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            Ok::<_, Infallible>(router.oneshot(request.map(Body::new)).await.unwrap_or_else(|e| match e {}))
        }
    });
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        biased;
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a command broke off");
    }
}
