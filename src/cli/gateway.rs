//! The way to the running gateway: its control socket, and its HTTP API.

use std::env;
use std::error::Error as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Map, Value, json};

use super::CliError;
use crate::command_line::{ApiArguments, DataDirArguments};
use crate::config::Config;
use crate::data_dir;
use crate::environment;
use crate::listen::reachable;
use crate::local_socket::SocketPath;
use crate::secret::Secret;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one answer of the API may take: a page of a hundred full conferences, over a poor network.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an answer on the control socket may take: the end of every conference of a large app.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(600);
/// Pages of one listing, at a hundred items each: more than a gateway holds.
const PAGES_MAX: usize = 10_000;
/// Items that are asked for at once.
const PAGE_ITEMS: usize = 100;
/// What a gateway is called that is asked over its control socket, which has no address.
const LOCAL_HOST: &str = "http://tidegate.local";

/// The data directory that is meant: named, or in the settings.
pub fn data_dir(arguments: &DataDirArguments) -> Result<PathBuf, CliError> {
    match &arguments.data_dir {
        Some(path) => Ok(path.clone()),
        None => Ok(Config::load(arguments.config.as_deref(), env::vars_os())?.config.data_dir),
    }
}

/// The control socket of the gateway on a data directory.
pub(super) struct Admin {
    client: Client,
    data_dir: PathBuf,
    _socket: SocketPath,
}

impl Admin {
    pub(super) fn of(arguments: &DataDirArguments) -> Result<Self, CliError> {
        Self::at(&data_dir(arguments)?)
    }

    fn at(data_dir: &Path) -> Result<Self, CliError> {
        let no_gateway = || CliError::NoGateway { data_dir: data_dir.to_owned() };
        let socket = SocketPath::of(data_dir).map_err(|_| no_gateway())?;
        let client =
            Client::builder().unix_socket(socket.as_path().to_owned()).timeout(ADMIN_TIMEOUT).no_proxy();
        let client = client.build().map_err(|error| CliError::Told(why(&error)))?;
        Ok(Self { client, data_dir: data_dir.to_owned(), _socket: socket })
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, CliError> {
        let request = self.client.request(method, format!("{LOCAL_HOST}{path}"));
        answer(request, body, |error| {
            if error.is_connect() {
                CliError::NoGateway { data_dir: self.data_dir.clone() }
            } else {
                CliError::Told(format!("the gateway did not answer: {}; its log says more", why(error)))
            }
        })
        .await
    }
}

/// The HTTP API of a gateway, in the name of one app.
pub(super) struct Api {
    client: Client,
    base: String,
    key: Secret,
}

impl Api {
    /// Finds address and key as the arguments, the environment and the data directory say, in this order.
    pub(super) async fn of(arguments: &ApiArguments) -> Result<Self, CliError> {
        let url = arguments.url.clone().or_else(|| env::var(environment::URL).ok());
        let is_local = url.is_none();
        let base = match url {
            Some(url) => checked(&url)?,
            None => running(&arguments.data_dir).await?,
        };
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            // The key must not follow a redirect to somewhere else.
            .redirect(reqwest::redirect::Policy::none());
        let client = if is_local { client.no_proxy() } else { client };
        let client = client.build().map_err(|error| CliError::Told(why(&error)))?;
        Ok(Self { client, base, key: app_key(arguments)? })
    }

    /// The address without a slash at its end.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The app key.
    pub(super) fn key(&self) -> &Secret {
        &self.key
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, CliError> {
        let request =
            self.client.request(method, format!("{}{path}", self.base)).bearer_auth(self.key.expose());
        answer(request, body, |error| CliError::NoAnswer { url: self.base.clone(), why: why(error) }).await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, CliError> {
        self.call(Method::GET, path, None).await
    }

    /// All pages of a listing at `path` (with its query begun), whose items stand in `field`, as one document.
    pub(super) async fn all(&self, path: &str, field: &str) -> Result<Value, CliError> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        for _ in 0..PAGES_MAX {
            let mut page = self.get(&format!("{path}limit={PAGE_ITEMS}{cursor}")).await?;
            if let Some(Value::Array(found)) = page.get_mut(field).map(Value::take) {
                items.extend(found);
            }
            match page.get("nextCursor").and_then(Value::as_str) {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        Ok(Value::Object(Map::from_iter([(field.to_owned(), Value::Array(items))])))
    }
}

/// The address of the gateway on the data directory, as it says itself: its port may be any free one.
async fn running(arguments: &DataDirArguments) -> Result<String, CliError> {
    let gateway = Admin::of(arguments)?.call(Method::GET, "/v1/gateway", None).await?;
    let address =
        gateway.get("http").and_then(Value::as_str).and_then(|text| text.parse::<SocketAddr>().ok());
    let address =
        address.ok_or_else(|| CliError::Told("the gateway does not say where it listens".to_owned()))?;
    Ok(format!("http://{}", reachable(address)))
}

fn checked(url: &str) -> Result<String, CliError> {
    let parsed = reqwest::Url::parse(url).ok();
    let parsed =
        parsed.filter(|parsed| matches!(parsed.scheme(), "http" | "https") && parsed.query().is_none());
    match parsed {
        Some(_) => Ok(url.trim_end_matches('/').to_owned()),
        None => Err(CliError::Told(format!(
            "{url:?} is not the address of a gateway; it looks like https://live.example.com"
        ))),
    }
}

fn app_key(arguments: &ApiArguments) -> Result<Secret, CliError> {
    let key = match (&arguments.app_key_file, env::var(environment::APP_KEY)) {
        (Some(file), _) => data_dir::read_key(file)?,
        (None, Ok(key)) => data_dir::AppKey::parse(&key).ok_or_else(|| {
            CliError::Told(format!(
                "{} is not <appId>.<secret>; `tidegate key show` prints one",
                environment::APP_KEY
            ))
        })?,
        (None, Err(_)) => data_dir::read_app_key(&data_dir(&arguments.data_dir)?)?,
    };
    Ok(key.bearer())
}

/// Sends the request and reads its answer; nothing at all counts as `null`.
async fn answer(
    request: RequestBuilder,
    body: Option<Value>,
    unanswered: impl Fn(&reqwest::Error) -> CliError,
) -> Result<Value, CliError> {
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let response = request.send().await.map_err(|error| unanswered(&error))?;
    let status = response.status();
    let bytes = response.bytes().await.map_err(|error| unanswered(&error))?;
    let parsed = if bytes.is_empty() { Some(Value::Null) } else { serde_json::from_slice(&bytes).ok() };
    if status.is_success() {
        return parsed
            .ok_or_else(|| CliError::Told("the answer is not JSON; is this a Tidegate gateway?".to_owned()));
    }
    let parsed = parsed.unwrap_or_default();
    let text = |field: &str| parsed.get(field).and_then(Value::as_str).map(super::output::printable);
    Err(CliError::Refused {
        detail: text("detail")
            .unwrap_or_else(|| "the server did not say why; is this a Tidegate gateway?".to_owned()),
        reason: text("reason").unwrap_or_else(|| "unknown".to_owned()),
        status: status.as_u16(),
    })
}

/// The innermost reason of an error: the outer ones only say that there was one.
fn why(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if error.source().is_none() && error.is_timeout() {
        "it took too long".to_owned()
    } else {
        innermost.to_string()
    }
}

/// Limits as the control socket takes them.
pub(super) fn limits(rooms_per_day: Option<u32>, conferences: Option<u32>) -> Value {
    json!({ "roomsPerDayMax": rooms_per_day, "conferencesMax": conferences })
}
