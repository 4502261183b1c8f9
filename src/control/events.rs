//! Events: the live feed as a WebSocket, and past events as pages.

use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, State};
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Insider;
use super::body::{Query, json};
use super::client::SocketPlace;
use super::document::{IN_CONFERENCE, INSIDER, QUERY, Unupgradable, refusals};
use super::members::MEMBER_TOKEN_TTL_SECS;
use super::place::InConference;
use super::problem::Problem;
use super::{Answer, Control, expiry, path};
use crate::clock;
use crate::domain::conference::Subject;
use crate::domain::event::ExitReason;
use crate::domain::ticket::MemberClaims;
use crate::domain::{AppId, ConferenceId, Reason, Refusal, Seq};
use crate::events::feed::{EVENTS_READ_MAX, Follower, Frame, Past, Wanted, Who, head, snapshot};
use crate::events::schema;
use crate::events::views::{ConferenceView, MemberView, StreamView};

/// Clients have nothing to say but pongs; whatever is longer is not meant for us.
const INCOMING_BYTES_MAX: usize = 4 * 1024;
/// Read buffer of one socket: idle sockets are many, and what they read is short.
const READ_BUFFER_BYTES: usize = 1024;
/// Events in one page, where the request names no limit.
const PAGE_DEFAULT: usize = 100;
/// Most events in one page.
const PAGE_MAX: usize = 1000;
/// What a subprotocol that carries a token begins with.
const SUBPROTOCOL: &str = "tidegate.";

const NORMAL: u16 = 1000;
const SLOW: u16 = 4008;
const REPLACED: u16 = 4009;
const BAD_TOKEN: u16 = 4401;
const GONE: u16 = 4410;
const DRAINING: u16 = 4503;
/// The exit reason of who was not let in (contract, section Events).
const FAILED: u8 = 4;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(events))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// Only what happened after this event. The feed begins with the missed events instead of a snapshot, as far as they are kept.
    #[param(nullable = false)]
    after: Option<u64>,
    /// Events on the page; 100 where it is absent. Means nothing to the feed.
    #[param(minimum = 1, maximum = 1000, nullable = false)]
    limit: Option<usize>,
    /// For the feed alone: the member token of a client that cannot set headers.
    #[param(nullable = false)]
    #[serde(rename = "access_token")]
    _access_token: Option<String>,
}

/// A page of past events, as far as the reader may see them.
#[derive(Serialize, ToSchema)]
#[schema(as = EventPage)]
#[serde(rename_all = "camelCase")]
struct PageAnswer {
    /// It can be empty and the page not be the last.
    #[schema(value_type = Vec<EventView>)]
    events: Vec<Map<String, Value>>,
    /// `after` for the next page. The page was the last where it is the conference's `seq`.
    #[schema(value_type = schema::EventNumber)]
    next_after: u64,
    /// Events between the one asked for and the first of the page are no longer kept; the first `prev` names the last that is
    /// missing.
    truncated: bool,
}

/// One event. Which of the later fields there are depends on `type`.
#[derive(ToSchema)]
#[schema(as = Event, rename_all = "camelCase")]
#[expect(dead_code, reason = "tells the document what a frame looks like")]
struct EventView {
    #[schema(value_type = schema::EventNumber)]
    seq: u64,
    /// The `seq` of the event before that this reader was told. Where it is not the one that it saw last, something is missing.
    #[schema(value_type = schema::EventNumber)]
    prev: u64,
    #[schema(value_type = schema::ConfrId)]
    confr_id: String,
    #[schema(value_type = schema::Time)]
    at: String,
    /// `memberJoined`, `memberExited`, `memberChanged`, `streamAdded`, `streamRemoved`, `mediaChanged`, `roleChanged`, `conferenceChanged`,
    /// `message`, `conferenceExit`; in the feed also `snapshot`, `serverDraining` and `serverResumed`. More types can come: pass over those
    /// that you do not know.
    #[schema(rename = "type", example = "memberJoined")]
    kind: String,
    /// Of `memberJoined`, `memberExited`, `memberChanged`, `roleChanged`; of `snapshot` the own one.
    #[schema(nullable = false)]
    member: Option<MemberView<'static>>,
    /// Of `streamAdded`, `streamRemoved`, `mediaChanged`.
    #[schema(nullable = false)]
    stream: Option<StreamView<'static>>,
    /// Of `conferenceChanged` and `snapshot`.
    #[schema(nullable = false)]
    conference: Option<ConferenceView<'static>>,
    /// Of `memberExited` and `conferenceExit` a number: 0 left, 1 no sign of life, 4 failed, 10 joined again elsewhere, 11 the conference
    /// ended, 12 removed. Of `streamRemoved` a word.
    #[schema(value_type = Option<Value>, nullable = false)]
    reason: Option<Value>,
    /// Of `conferenceExit` with reason 4: the `code` of the refusal.
    #[schema(nullable = false, example = -504)]
    failed: Option<i32>,
    /// Of `mediaChanged` to the owner of a stream whose pictures find no place: `videos_full`.
    #[schema(nullable = false, example = "videos_full")]
    refused: Option<String>,
    /// Of `message`: the member that sent it; null where the app did.
    from: Option<MemberView<'static>>,
    /// Of `message`: to whom it went, where not to everybody.
    #[schema(nullable = false)]
    to: Option<Vec<String>>,
    /// Of `message`: what was sent, as it was sent.
    #[schema(value_type = Option<Value>, nullable = false)]
    body: Option<Value>,
    /// Of `roleChanged`, in the feed of the member itself: a fresh member token. The one before stays good.
    #[schema(nullable = false)]
    role_token: Option<String>,
    /// Of `snapshot`: who is inside.
    #[schema(nullable = false)]
    members: Option<Vec<MemberView<'static>>>,
    /// Of `snapshot`: the declared streams.
    #[schema(nullable = false)]
    streams: Option<Vec<StreamView<'static>>>,
    /// Of `serverDraining`: how long connections are still served.
    #[schema(nullable = false)]
    deadline_ms: Option<u64>,
}

refusals!(EventsRefusals: QUERY, INSIDER, IN_CONFERENCE);

/// Follow the events, or read past ones
///
/// **As a WebSocket** this is the live feed, one socket for each member; a newer one replaces the older. Each message is one `Event`. The
/// first is a `snapshot` with `conference`, `members`, `streams` and the own `member`; with `after=SEQ` it is the missed events instead, or a
/// snapshot where they are gone. The token comes as bearer, as `access_token`, or as the subprotocol `tidegate.<token>`. The gateway pings.
///
/// Close codes: 1000 after `conferenceExit`; 4008 too slow, resume with `after`; 4009 replaced by a newer socket; 4401 bad token; 4410 no
/// longer a member (both are upgraded, told `conferenceExit` and closed, since browsers cannot read a refused upgrade); 4503 shutting down.
///
/// **As a plain GET** it is a page of past events. They are kept for 24 h or 10 000 events. Where older ones were asked for, the page begins
/// at the oldest that is kept and says `truncated`. Of an ended conference the app key reads them as long as they are kept; members, and the
/// app key afterwards, are refused with `conference_closed`.
#[utoipa::path(
    get,
    path = path::EVENTS,
    operation_id = "followEvents",
    tag = "Events",
    params(InConference, EventsQuery),
    responses(
        (status = 101, description = "The feed, where the request asks for a WebSocket."),
        (status = 200, description = "A page of past events.", body = PageAnswer),
        EventsRefusals,
        Unupgradable,
    ),
    security(("memberToken" = []), ("appKey" = [])),
)]
async fn events(
    State(control): State<Control>,
    asker: Asker,
    conference: Result<InConference, Problem>,
    query: Result<Query<EventsQuery>, Problem>,
    socket_place: SocketPlace,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    let InConference(id) = asker.known_before(conference)?;
    let Query(query) = asker.known_before(query)?;
    let (caller, protocol) = match asker {
        Asker::Page(caller) => return page(&control, &caller, &id, &query).await,
        Asker::Socket { caller, protocol } => (caller, protocol),
    };
    let upgrade = upgrade.map_err(|_| Problem::malformed("this is no valid WebSocket upgrade"))?;
    if let Err(refusal) = &caller {
        socket_place.proved_nothing(&control, refusal)?;
    }
    // A drain leaves the feeds of those inside alone, and whoever comes for one is told of it there.
    control.intake.overload.admit()?;
    let place = (control.feed.place()?, socket_place.keep(&control)?);
    let upgrade = upgrade
        .max_message_size(INCOMING_BYTES_MAX)
        .max_frame_size(INCOMING_BYTES_MAX)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .protocols(protocol);
    let after = query.after.map(Seq);
    // What it tells the log belongs to this request.
    let span = Span::current();
    Ok(upgrade.on_upgrade(move |socket| async move {
        feed(control, socket, caller, id, after).instrument(span).await;
        drop(place);
    }))
}

/// Who asks, and for what.
enum Asker {
    /// For a page: a credential that is not good is refused at once.
    Page(Insider),
    /// For a socket: a credential that is not good is told so over the socket, which a browser can read.
    Socket {
        caller: Result<Insider, Refusal>,
        /// The subprotocol that carried the token.
        protocol: Option<String>,
    },
}

/// The part of the query that says who asks.
#[derive(Deserialize)]
struct TokenQuery {
    access_token: Option<String>,
}

impl FromRequestParts<Control> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Problem> {
        let upgrade = parts.headers.get(UPGRADE);
        if !upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket")) {
            return Ok(Self::Page(control.insider(&parts.headers)?));
        }
        let protocol = token_protocol(&parts.headers);
        let Query(TokenQuery { access_token }) = Query::from_request_parts(parts, control).await?;
        let caller = caller(control, parts.headers.clone(), protocol.as_deref(), access_token);
        Ok(Self::Socket { caller, protocol })
    }
}

impl Asker {
    /// What was `asked`. Who shows no good credential hears that, and not what is wrong in the request.
    fn known_before<T>(&self, asked: Result<T, Problem>) -> Result<T, Problem> {
        asked.map_err(|problem| match self {
            Self::Socket { caller: Err(refusal), .. } => refusal.clone().into(),
            _ => problem,
        })
    }
}

/// The subprotocol that carries a token, which must be echoed.
fn token_protocol(headers: &HeaderMap) -> Option<String> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut offered = offered.flat_map(|value| value.split(',')).map(str::trim);
    offered.find(|protocol| protocol.starts_with(SUBPROTOCOL)).map(str::to_owned)
}

/// Who asks for a socket: a browser cannot set headers, so its token comes as a subprotocol or in the query.
fn caller(
    control: &Control,
    mut headers: HeaderMap,
    protocol: Option<&str>,
    in_query: Option<String>,
) -> Result<Insider, Refusal> {
    let token = protocol.and_then(|protocol| protocol.strip_prefix(SUBPROTOCOL)).map(str::to_owned);
    if !headers.contains_key(AUTHORIZATION)
        && let Some(token) = token.or(in_query)
    {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let value = value.map_err(|_| Reason::Unauthenticated.because("the token is no token"))?;
        headers.insert(AUTHORIZATION, value);
    }
    control.insider(&headers)
}

async fn page(
    control: &Control,
    caller: &Insider,
    id: &ConferenceId,
    query: &EventsQuery,
) -> Answer<Response> {
    let conference = match control.reach(caller, id).await {
        Ok(conference) => Some(conference),
        // What an ended conference was stays readable for its app, as long as it is kept.
        Err(refusal) if refusal.reason == Reason::ConferenceClosed && matches!(caller, Insider::App(_)) => {
            None
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Reason::InvalidRequest.because(format!("limit: 1 to {PAGE_MAX}")).into());
    }
    let (_, who) = reader(caller);
    let mut after = Seq(query.after.unwrap_or_default());
    if let (Who::Member { member, epoch }, Some(conference)) = (&who, &conference) {
        conference.subject(&Subject::Member { id: member.clone(), epoch: *epoch })?;
        after = after.max(Seq(epoch.0.saturating_sub(1)));
    }
    let through = conference.as_ref().map_or(Seq(u64::MAX), |conference| conference.seq);
    let wanted = Wanted { after, through, entries_max: limit, events_max: EVENTS_READ_MAX };
    let past = match (control.feed.past(id, wanted).await?, conference) {
        (Some(past), _) => past,
        (None, Some(_)) => Past { from: through, entries: Vec::new(), told: through },
        (None, None) => {
            let gone = "the conference has ended, and its events are no longer kept";
            return Err(Reason::ConferenceClosed.because(gone).into());
        }
    };
    let (mut prev, mut events) = (past.from, Vec::new());
    for entry in past.entries {
        if let Some(frame) = entry.frame(id, &who, prev) {
            prev = frame.seq;
            events.push(frame.value);
        }
    }
    let truncated = past.from > after;
    Ok(json(StatusCode::OK, &PageAnswer { events, next_after: past.told.0, truncated }))
}

fn reader(caller: &Insider) -> (AppId, Who) {
    match caller {
        Insider::App(app) => (app.clone(), Who::App),
        Insider::Member(member) => {
            (member.app.clone(), Who::Member { member: member.member.clone(), epoch: member.epoch })
        }
    }
}

/// A socket that cannot be written to in time, or that the other end left.
struct Broken;

struct Wire {
    socket: WebSocket,
    /// How long one message may take to leave.
    stall: Duration,
    draining: CancellationToken,
}

impl Wire {
    /// A stop does not wait for who does not read: from its beginning on a message has as long as a close.
    async fn send(&mut self, message: Message) -> Result<(), Broken> {
        let draining = &self.draining;
        let given_up = async {
            let _ = timeout(self.stall, draining.cancelled()).await;
            if draining.is_cancelled() {
                sleep(CLOSE_WAIT).await;
            }
        };
        tokio::select! {
            biased;
            sent = self.socket.send(message) => sent.map_err(|_| Broken),
            () = given_up => Err(Broken),
        }
    }

    async fn tell(&mut self, value: Map<String, Value>) -> Result<(), Broken> {
        self.send(Message::Text(Value::Object(value).to_string().into())).await
    }

    /// Closes, and waits for the other end to agree.
    async fn close(mut self, code: u16, reason: &'static str) {
        if self.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await.is_ok() {
            let agreed = async { while let Some(Ok(_)) = self.socket.recv().await {} };
            // The kernel closes the socket of who does not answer.
            let _ = timeout(CLOSE_WAIT, agreed).await;
        }
    }
}

/// How long the other end may take to agree to a close: some round trips of a poor network.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

async fn feed(
    control: Control,
    socket: WebSocket,
    caller: Result<Insider, Refusal>,
    id: ConferenceId,
    after: Option<Seq>,
) {
    let mut wire =
        Wire { socket, stall: control.settings.answer_stall, draining: control.feed.draining().clone() };
    let follower = match &caller {
        Ok(caller) => enter(&control, caller, &id).await,
        Err(refusal) => Err(refusal.clone()),
    };
    let end = match follower {
        Ok(follower) => serve(&control, &mut wire, follower, &id, after).await,
        Err(refusal) => refuse(&control, &mut wire, caller.as_ref().ok(), &id, &refusal).await,
    };
    if let Ok((code, reason)) = end {
        wire.close(code, reason).await;
    }
}

async fn enter(control: &Control, caller: &Insider, id: &ConferenceId) -> Result<Follower, Refusal> {
    control.reach(caller, id).await?;
    let (app, who) = reader(caller);
    control.feed.follow(&control.conferences, &app, id, who).await
}

/// Tells who is not let in why, in a form that a browser can read.
async fn refuse(
    control: &Control,
    wire: &mut Wire,
    caller: Option<&Insider>,
    id: &ConferenceId,
    refusal: &Refusal,
) -> Result<(u16, &'static str), Broken> {
    let mut value = head(id, Seq(0), Seq(0), clock::now(), "conferenceExit");
    let (code, word) = match refusal.reason {
        Reason::MemberGone | Reason::ConferenceClosed | Reason::ConferenceNotFound => (GONE, "member gone"),
        Reason::Unauthenticated | Reason::NotAllowed => (BAD_TOKEN, "bad token"),
        _ => (DRAINING, "try again"),
    };
    let known = match (refusal.reason, caller) {
        (Reason::ConferenceClosed, _) => Some(ExitReason::ConferenceClosed),
        (Reason::MemberGone, Some(Insider::Member(member))) => {
            control.feed.exit_reason(id, &member.member, member.epoch).await
        }
        _ => None,
    };
    value.insert("reason".to_owned(), known.map_or(FAILED, u8::from).into());
    if known.is_none() {
        value.insert("failed".to_owned(), refusal.reason.code().into());
    }
    if code != DRAINING {
        wire.tell(value).await?;
    }
    Ok((code, word))
}

async fn serve(
    control: &Control,
    wire: &mut Wire,
    mut follower: Follower,
    id: &ConferenceId,
    after: Option<Seq>,
) -> Result<(u16, &'static str), Broken> {
    // However short its life: a socket is a sign of life, and the looks at those that are open may all miss it.
    if let Who::Member { member, epoch } = follower.who() {
        control.heartbeats.heartbeat(id, member, *epoch);
    }
    let missed = match after {
        Some(after) => match follower.resume(after).await {
            Ok(missed) => missed,
            Err(_) => return Ok((DRAINING, "try again")),
        },
        None => None,
    };
    let Some(start) = follower.start().cloned() else { return Err(Broken) };
    let app = start.settings.app.clone();
    // The last frame that was written, where not all that was missed was.
    let mut cut_after = None;
    match missed {
        None => wire.tell(snapshot(&start, follower.who(), clock::now())).await?,
        Some(frames) => {
            let mut written = after.unwrap_or_default();
            for frame in frames {
                if follower.replaced().is_cancelled() || control.feed.draining().is_cancelled() {
                    cut_after = Some(written);
                    break;
                }
                written = frame.seq;
                write(control, wire, &follower, &app, id, frame).await?;
            }
        }
    }
    drop(start);
    let (replaced, draining) = (follower.replaced(), control.feed.draining().clone());
    let mut drain = control.intake.drain.watch();
    let standing = *drain.borrow_and_update();
    let mut is_told = standing.is_some();
    if let Some(standing) = standing {
        let prev = cut_after.unwrap_or_else(|| follower.prev());
        tell_drain(wire, id, prev, Some(standing.left_ms(Instant::now()))).await?;
    }
    let ping = control.settings.event_ping;
    // As long as two pings take to go unanswered. They must have been sent, too: while the gateway itself was stopped, nobody
    // was asked.
    let silence_max = ping * 5 / 2;
    let mut unanswered = 0;
    let mut pings = interval(ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        loop {
            if replaced.is_cancelled() || draining.is_cancelled() {
                break;
            }
            match follower.next_frame() {
                Ok(Some(frame)) => {
                    let is_last = frame.is_last;
                    write(control, wire, &follower, &app, id, frame).await?;
                    if is_last {
                        return Ok((NORMAL, "the stay is over"));
                    }
                }
                Ok(None) => break,
                Err(_) => return Ok((SLOW, "too slow; resume with after")),
            }
        }
        tokio::select! {
            biased;
            () = replaced.cancelled() => return Ok((REPLACED, "a newer socket took over")),
            () = draining.cancelled() => {
                let standing = *drain.borrow();
                if let Some(standing) = standing && drain.has_changed().unwrap_or_default() {
                    let prev = cut_after.unwrap_or_else(|| follower.prev());
                    tell_drain(wire, id, prev, Some(standing.deadline_ms)).await?;
                }
                return Ok((DRAINING, "the gateway is shutting down"));
            }
            Ok(()) = drain.changed() => {
                let standing = *drain.borrow_and_update();
                // One that was taken back before this socket heard of it is not told.
                if is_told || standing.is_some() {
                    tell_drain(wire, id, follower.prev(), standing.map(|standing| standing.deadline_ms)).await?;
                }
                is_told = standing.is_some();
            }
            () = follower.news() => {}
            message = wire.socket.recv() => match message {
                Some(Ok(_)) => (heard, unanswered) = (Instant::now(), 0),
                Some(Err(_)) | None => return Err(Broken),
            },
            _ = pings.tick() => {
                if unanswered >= 2 && heard.elapsed() > silence_max {
                    return Err(Broken);
                }
                unanswered += 1;
                wire.send(Message::Ping(axum::body::Bytes::new())).await?;
            }
        }
    }
}

/// Tells that the gateway lets nobody new in and how long those inside have, or that all that is over. It is no event and
/// has no number of its own.
async fn tell_drain(
    wire: &mut Wire,
    id: &ConferenceId,
    prev: Seq,
    deadline_ms: Option<u64>,
) -> Result<(), Broken> {
    let kind = if deadline_ms.is_some() { "serverDraining" } else { "serverResumed" };
    let mut value = head(id, prev, prev, clock::now(), kind);
    if let Some(deadline_ms) = deadline_ms {
        value.insert("deadlineMs".to_owned(), deadline_ms.into());
    }
    wire.tell(value).await
}

/// Writes a frame; a member's own new role comes with a token that is made now and kept nowhere.
async fn write(
    control: &Control,
    wire: &mut Wire,
    follower: &Follower,
    app: &AppId,
    id: &ConferenceId,
    mut frame: Frame,
) -> Result<(), Broken> {
    if frame.is_own_role
        && let Who::Member { member, epoch } = follower.who()
    {
        let claims = MemberClaims {
            app: app.clone(),
            conference: id.clone(),
            member: member.clone(),
            epoch: *epoch,
            expires_at: expiry(clock::now(), MEMBER_TOKEN_TTL_SECS),
        };
        if let Some(token) = control.keys.mint_member_token(&claims) {
            frame.value.insert("roleToken".to_owned(), token.into());
        }
    }
    wire.tell(frame.value).await
}
