//! An app's server that takes webhooks: a real HTTP server in the test's process.

use super::wait::{EVENT, within};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::Sha256;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Hook {
    pub path: String,
    pub headers: HeaderMap,
    pub raw: Vec<u8>,
    pub body: Value,
    /// What it was answered.
    pub status: u16,
}

impl Hook {
    pub fn kind(&self) -> &str {
        self.body["type"].as_str().expect("a type")
    }

    pub fn id(&self) -> &str {
        self.body["id"].as_str().expect("an id")
    }

    /// The time and the signatures of the header.
    pub fn signature(&self) -> (String, Vec<String>) {
        let header = self.headers["tidegate-signature"].to_str().expect("text");
        let mut time = String::new();
        let mut signatures = Vec::new();
        for part in header.split(',') {
            match part.split_once('=').expect("key=value") {
                ("t", value) => time = value.to_owned(),
                ("v1", value) => signatures.push(value.to_owned()),
                other => panic!("{other:?} in {header}"),
            }
        }
        (time, signatures)
    }

    /// Whether one of its signatures was made with `secret`.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let (time, signatures) = self.signature();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(&self.raw);
        let wanted: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        signatures.contains(&wanted)
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub enum Reply {
    Status(u16),
    /// Nothing, for as long as the test lasts.
    Never,
    RedirectTo(String),
    /// 200 and more bytes than anybody wants.
    Endless,
}

type Decide = dyn Fn(&Hook) -> Reply + Send + Sync;

struct Desk {
    decide: Mutex<Arc<Decide>>,
    hooks: Mutex<Vec<Hook>>,
    count: watch::Sender<usize>,
}

/// A running receiver; its server ends with it.
pub struct Receiver {
    pub address: SocketAddr,
    desk: Arc<Desk>,
    server: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    /// One that takes everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        Self::on(listener)
    }

    pub fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("an address");
        let desk = Arc::new(Desk {
            decide: Mutex::new(Arc::new(|_| Reply::Status(200))),
            hooks: Mutex::default(),
            count: watch::Sender::new(0),
        });
        let router = Router::new().fallback(take).with_state(Arc::clone(&desk));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serves");
        });
        Self { address, desk, server }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers as `decide` says from now on.
    pub fn answer(&self, decide: impl Fn(&Hook) -> Reply + Send + Sync + 'static) {
        *self.desk.decide.lock() = Arc::new(decide);
    }

    pub fn hooks(&self) -> Vec<Hook> {
        self.desk.hooks.lock().clone()
    }

    /// Drops what came so far.
    pub fn forget(&self) {
        self.desk.hooks.lock().clear();
    }

    /// What was taken, without repeats.
    pub fn taken(&self) -> Vec<Hook> {
        let mut seen = std::collections::BTreeSet::new();
        let taken = self.hooks().into_iter().filter(|hook| hook.status == 200);
        taken.filter(|hook| seen.insert(hook.id().to_owned())).collect()
    }

    /// Waits until `found` is content with everything that came.
    pub async fn until<T>(&self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        let mut count = self.desk.count.subscribe();
        within(EVENT, what, async {
            loop {
                count.borrow_and_update();
                if let Some(found) = found(self) {
                    return found;
                }
                count.changed().await.expect("the desk lives");
            }
        })
        .await
    }

    /// Waits until a message of this type was taken from `confr_id`; gives all that was taken of it.
    pub async fn taken_until(&self, confr_id: &str, kind: &str) -> Vec<Hook> {
        self.until(&format!("{kind} of {confr_id}"), |receiver| {
            let mut taken = receiver.taken();
            taken.retain(|hook| hook.body["confrId"] == confr_id);
            taken.iter().any(|hook| hook.kind() == kind).then_some(taken)
        })
        .await
    }
}

async fn take(State(desk): State<Arc<Desk>>, uri: Uri, headers: HeaderMap, raw: Bytes) -> Response {
    let body = serde_json::from_slice(&raw).expect("a JSON body");
    let mut hook = Hook { path: uri.to_string(), headers, raw: raw.to_vec(), body, status: 0 };
    let decide = Arc::clone(&desk.decide.lock());
    let reply = decide(&hook);
    hook.status = match &reply {
        Reply::Status(status) => *status,
        Reply::Never => 0,
        Reply::RedirectTo(_) => 307,
        Reply::Endless => 299,
    };
    desk.hooks.lock().push(hook);
    desk.count.send_modify(|count| *count += 1);
    match reply {
        Reply::Status(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Reply::Never => std::future::pending().await,
        Reply::RedirectTo(url) => {
            let location = HeaderValue::from_str(&url).expect("a header");
            let headers = [(HeaderName::from_static("location"), location)];
            (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
        }
        Reply::Endless => vec![b'x'; 1 << 20].into_response(),
    }
}
