//! Live streams as FLV: chunked over HTTP, and as binary messages of a WebSocket on the same path.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, FromRequestParts, Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use futures_util::{FutureExt as _, stream};
use tokio::time::timeout;
use tracing::{Instrument as _, Span};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::client::SocketPlace;
use super::document::{Unupgradable, refusals};
use super::problem::Problem;
use super::server::Peer;
use super::socket::Cutter;
use super::{Answer, Control, path};
use crate::admission::{TOKEN_PARAMETER, query_parameter};
use crate::domain::{Reason, Refusal};
use crate::flv::{FlvEnd, FlvViewer, HevcForm};
use crate::hub::{CloseReason, Protocol};

/// What the name of every FLV stream ends with.
const SUFFIX: &str = ".flv";
/// Says which form of HEVC a player reads.
const HEVC_PARAMETER: &str = "hevc";
/// Viewers have nothing to say but pongs.
const INCOMING_BYTES_MAX: usize = 1024;
/// Read buffer of one viewer: viewers are many, and what they say is short.
const READ_BUFFER_BYTES: usize = 512;
/// Close codes of the event sockets (contract, section Events), for the same things.
const NORMAL: u16 = 1000;
const NOT_FOUND: u16 = 4404;
const GONE: u16 = 4410;
const DRAINING: u16 = 4503;
/// Bytes of the reason in a close frame.
const CLOSE_REASON_BYTES_MAX: usize = 123;
/// How long the other end may take to agree to a close: some round trips of a poor network.
const GOODBYE: Duration = Duration::from_secs(2);
/// Asks proxies of the nginx family not to hold the picture back until a buffer is full.
const NO_BUFFERING: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(play))
}

/// Where a live stream is.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "stands for the path in the document")]
struct FilePath {
    /// The stream's id and `.flv`.
    #[param(example = "RTC1__Of_MS_4nfhqe2m3k5c6v7b.flv")]
    file: String,
}

/// What a media URL carries.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "stands for the query in the document")]
struct TokenQuery {
    /// The token. Use the whole URL as `POST …/subscriptions` gave it.
    t: Option<String>,
    /// The form in which HEVC comes, whatever form is published; may be added to the URL. `legacy`, the default, is codec id 12: WeChat,
    /// flv.js and its kin, mpegts.js, ffmpeg from 8.0 on. `enhanced` is Enhanced RTMP (`hvc1`): mpegts.js, VLC, ffmpeg from 6.1 on.
    #[param(inline, example = "enhanced")]
    hevc: Option<HevcWord>,
}

#[derive(utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "stands for the words in the document")]
enum HevcWord {
    Legacy,
    Enhanced,
}

refusals!(PlayRefusals: &[
    Reason::NotFound,
    Reason::StreamNotFound,
    Reason::UrlInvalid,
    Reason::UrlExpired,
    Reason::MemberGone,
    Reason::ConferenceClosed,
    Reason::NotAllowed,
]);

/// Watch a stream as FLV
///
/// Answers when the first picture or sound is there, and goes on until the stream ends. Asked for a WebSocket, it sends the same
/// bytes as binary messages, and closes with 1000 at the end of the stream, 4404 where nobody came to publish, 4410 when the right
/// to watch has ended, and 4503 when the gateway stops. `flv` and `wsFlv` of a subscription are URLs of this kind.
#[utoipa::path(
    get,
    path = path::LIVE,
    operation_id = "watchFlv",
    tag = "Streams",
    params(FilePath, TokenQuery),
    responses(
        (status = 101, description = "The stream as binary messages, where the request asks for a WebSocket."),
        (status = 200, description = "An FLV file without an end.", content_type = "video/x-flv", body = Vec<u8>),
        PlayRefusals,
        Unupgradable,
    ),
)]
async fn play(
    State(control): State<Control>,
    shown: Shown,
    Extension(peer): Extension<Peer>,
    Extension(cutter): Extension<Cutter>,
    socket_place: SocketPlace,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    let stream = shown.stream()?;
    let token = shown.query.as_deref().and_then(|query| query_parameter(query, TOKEN_PARAMETER));
    let hevc = shown.hevc()?;
    if !shown.asks_for_socket {
        let viewer = control.flv.view(stream, token, Protocol::Flv, peer.remote, hevc)?;
        return over_http(viewer, cutter, socket_place.keep(&control)?).await;
    }
    let upgrade = upgrade.map_err(|_| Problem::malformed("this is no valid WebSocket upgrade"))?;
    let viewer = control.flv.view(stream, token, Protocol::WsFlv, peer.remote, hevc)?;
    let upgrade = upgrade
        .max_message_size(INCOMING_BYTES_MAX)
        .max_frame_size(INCOMING_BYTES_MAX)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0);
    let place = socket_place.keep(&control)?;
    // What it tells the log belongs to this request.
    let span = Span::current();
    Ok(upgrade.on_upgrade(move |socket| async move {
        over_websocket(viewer, socket, cutter).instrument(span).await;
        drop(place);
    }))
}

/// What the request says of itself.
struct Shown {
    file: String,
    query: Option<String>,
    asks_for_socket: bool,
}

impl FromRequestParts<Control> for Shown {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Problem> {
        if parts.method != Method::GET {
            // A play takes a viewer's place, which whoever asks for the head alone does not want.
            return Err(Problem::method_not_allowed(&parts.method));
        }
        let file = Path::<String>::from_request_parts(parts, control).await;
        let Path(file) = file.map_err(|_| Problem::malformed("the name of the stream is not UTF-8"))?;
        let asks = parts.headers.get(UPGRADE);
        Ok(Self {
            file,
            query: parts.uri.query().map(str::to_owned),
            asks_for_socket: asks.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket")),
        })
    }
}

impl Shown {
    fn stream(&self) -> Result<&str, Refusal> {
        let stream = self.file.strip_suffix(SUFFIX);
        stream.ok_or_else(|| Reason::NotFound.because("the name of a live stream ends with .flv"))
    }

    /// Nothing is negotiated here, and the players of mini programs, like most that read FLV, know the older form.
    fn hevc(&self) -> Result<HevcForm, Problem> {
        let word = self.query.as_deref().and_then(|query| query_parameter(query, HEVC_PARAMETER));
        let form = word.map_or(Some(HevcForm::Legacy), HevcForm::parse);
        form.ok_or_else(|| Problem::malformed("hevc: legacy or enhanced"))
    }
}

/// Answers when the first picture or sound is there, so that a stream without a publisher is not found.
async fn over_http(mut viewer: FlvViewer, cutter: Cutter, place: impl Send + 'static) -> Answer<Response> {
    let first = viewer.next_portion().await.map_err(refusal)?;
    let cut = viewer.cut();
    let own_cutter = cutter.clone();
    cutter.cut_off_when(async move {
        cut.await;
    });
    let playing = (viewer, first.into_iter(), own_cutter, place);
    let rest = stream::unfold(playing, |(mut viewer, mut pieces, cutter, place)| async move {
        loop {
            if let Some(piece) = pieces.next() {
                return Some((Ok::<_, Ended>(piece), (viewer, pieces, cutter, place)));
            }
            match viewer.next_portion().await {
                Ok(portion) => pieces = portion.into_iter(),
                Err(FlvEnd::Cut(_)) => {
                    // The connection may not look at its socket before it drops it.
                    cutter.cut_off();
                    return Some((Err(Ended), (viewer, pieces, cutter, place)));
                }
                Err(FlvEnd::Over(_) | FlvEnd::Draining) => return None,
            }
        }
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("video/x-flv")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        NO_BUFFERING,
    ];
    Ok((headers, Body::from_stream(rest)).into_response())
}

/// A body that must not look complete.
#[derive(Debug, thiserror::Error)]
#[error("the right to this stream has ended")]
struct Ended;

fn refusal(end: FlvEnd) -> Refusal {
    match end {
        FlvEnd::Over(refusal) | FlvEnd::Cut(CloseReason::Revoked(refusal)) => refusal,
        FlvEnd::Cut(reason) => Reason::UrlInvalid.because(reason.to_string()),
        FlvEnd::Draining => Reason::Draining.because("the gateway is shutting down; connect again"),
    }
}

async fn over_websocket(mut viewer: FlvViewer, mut socket: WebSocket, cutter: Cutter) {
    let _task = viewer.task();
    let draining = viewer.draining();
    let mut has_begun = false;
    let end = loop {
        let portion = tokio::select! {
            biased;
            portion = viewer.next_portion() => portion,
            message = socket.recv() => match message {
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
        };
        let pieces = match portion {
            Ok(pieces) => pieces,
            Err(end) => break end,
        };
        has_begun = true;
        let message = Message::Binary(Bytes::from(pieces.concat()));
        // The socket itself gives up on a peer that takes nothing.
        tokio::select! {
            biased;
            _ = viewer.cut() => return cutter.cut_off(),
            () = draining.cancelled() => break FlvEnd::Draining,
            sent = socket.send(message) => if sent.is_err() { return },
        }
    };
    // Whoever the viewer made room for need not wait until it has read its farewell.
    drop(viewer);
    let (code, reason) = match &end {
        FlvEnd::Over(_) if has_begun => (NORMAL, "the stream is over".to_owned()),
        FlvEnd::Over(refusal) => (NOT_FOUND, refusal.to_string()),
        FlvEnd::Cut(reason) => (GONE, reason.to_string()),
        FlvEnd::Draining => (DRAINING, "the gateway is shutting down".to_owned()),
    };
    let frame = CloseFrame { code, reason: shortened(reason).into() };
    let farewell = socket.send(Message::Close(Some(frame)));
    if let FlvEnd::Cut(_) = end {
        // One attempt, and nothing more reaches the peer.
        let _ = farewell.now_or_never();
        return cutter.cut_off();
    }
    if farewell.await.is_ok() {
        let agreed = async { while let Some(Ok(_)) = socket.recv().await {} };
        let _ = timeout(GOODBYE, agreed).await;
    }
}

/// At most as many bytes as a close frame takes beside its code (RFC 6455 section 5.5).
fn shortened(mut reason: String) -> String {
    let end = reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX);
    reason.truncate(end);
    reason
}
