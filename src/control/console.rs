//! The operators' console and the join page: files that stand in the binary, made from `web/console` and kept in its `dist`.
//!
//! They hold nothing worth guarding: whatever they show, they ask of the API with the key or the ticket that somebody typed in. What guards
//! them is that nobody can put anything else into them: they load their own files only, run no inline script, stand in no frame, and
//! tell no other site where they are.

use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, LOCATION,
    REFERRER_POLICY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::refusals;
use super::place::AtFile;
use super::problem::Problem;
use super::urls::Origin;
use super::{Answer, Control, path};
use crate::domain::Reason;

/// What Vite made.
#[derive(RustEmbed)]
#[folder = "web/console/dist"]
struct Built;

/// A file's name holds a digest of its content, so that it never changes under its name.
const FOREVER: &str = "public, max-age=31536000, immutable";
/// A page names the files of its version: it is asked for anew each time, and answered by its ETag where it is the same.
const ASK_AGAIN: &str = "no-cache";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new()
        .routes(routes!(console_door))
        .routes(routes!(console))
        .routes(routes!(join_page))
        .routes(routes!(asset))
}

/// What a page may load and do. Media comes through a `MediaSource`, whose URL is a blob; sockets and calls go to where the URLs of
/// answers lead, which is `origin`.
fn policy(origin: &Origin) -> String {
    let (http, ws) = origin.web();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
         connect-src 'self' {http} {ws}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// A file as it is answered: whole, or not at all where who asks has it.
fn answer(file: &EmbeddedFile, name: &str, caching: &'static str, asked: &HeaderMap) -> Response {
    let tag = tag(file);
    let fixed = [(CACHE_CONTROL, HeaderValue::from_static(caching)), (ETAG, tag.clone())];
    let held = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut held = held.flat_map(|value| value.split(',')).map(|one| one.trim().trim_start_matches("W/"));
    if held.any(|one| one == "*" || one.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    let kind = [
        (CONTENT_TYPE, HeaderValue::from_static(content_type(name))),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (fixed, kind, file.data.clone()).into_response()
}

/// A digest of what is in it, of which 128 bits are enough to tell versions apart.
fn tag(file: &EmbeddedFile) -> HeaderValue {
    let digest: String =
        file.metadata.sha256_hash().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

/// The page called `name`, where the operator lets it be served.
fn page(name: &str, is_on: bool, origin: &Origin, asked: &HeaderMap) -> Answer<Response> {
    let file = Built::get(name).filter(|_| is_on);
    let file = file.ok_or_else(|| Reason::NotFound.because("this gateway does not serve this page"))?;
    let mut response = answer(&file, name, ASK_AGAIN, asked);
    let headers = response.headers_mut();
    let policy = HeaderValue::from_str(&policy(origin)).map_err(|_| Problem::internal())?;
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    Ok(response)
}

refusals!(PageRefusals: &[Reason::NotFound]);

/// The way to the console
///
/// Leads to `/console/`.
#[utoipa::path(
    get,
    path = path::CONSOLE_DOOR,
    operation_id = "getConsoleDoor",
    tag = "Documentation",
    responses((status = 308, description = "To the page."))
)]
async fn console_door() -> Response {
    // Relative, so that it holds behind a proxy that adds a path.
    (StatusCode::PERMANENT_REDIRECT, [(LOCATION, HeaderValue::from_static("console/"))]).into_response()
}

/// The operators' console
///
/// A page that asks for the app key and shows what the app has going on. The operator can switch it off.
#[utoipa::path(
    get,
    path = path::CONSOLE,
    operation_id = "getConsole",
    tag = "Documentation",
    responses((status = 200, description = "A page.", body = String, content_type = "text/html"), PageRefusals)
)]
async fn console(State(control): State<Control>, origin: Origin, asked: HeaderMap) -> Answer<Response> {
    page("index.html", control.settings.console, &origin, &asked)
}

/// The page to watch a conference
///
/// With a ticket, in a browser: `/join#ticket=…`. The operator can switch it off.
#[utoipa::path(
    get,
    path = path::JOIN,
    operation_id = "getJoinPage",
    tag = "Documentation",
    responses((status = 200, description = "A page.", body = String, content_type = "text/html"), PageRefusals)
)]
async fn join_page(State(control): State<Control>, origin: Origin, asked: HeaderMap) -> Answer<Response> {
    page("join.html", control.settings.join_page, &origin, &asked)
}

/// What the path of an asset carries.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "stands for the path in the document")]
struct AssetPath {
    /// A file that the console or the join page loads.
    file: String,
}

/// A file of the console or of the join page
///
/// Its name holds a digest of its content: it never changes.
#[utoipa::path(
    get,
    path = path::ASSET,
    operation_id = "getAsset",
    tag = "Documentation",
    params(AssetPath),
    responses(
        (status = 200, description = "The file.", content((String = "text/css"), (String = "text/javascript"), (String = "image/svg+xml"), (String = "text/plain"))),
        PageRefusals,
    )
)]
async fn asset(State(control): State<Control>, AtFile(name): AtFile, asked: HeaderMap) -> Answer<Response> {
    let is_on = control.settings.console || control.settings.join_page;
    let file = Built::get(&format!("assets/{name}")).filter(|_| is_on);
    let file = file.ok_or_else(|| Reason::NotFound.because("the console has no such file"))?;
    Ok(answer(&file, &name, FOREVER, &asked))
}
