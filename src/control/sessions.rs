//! Media sessions of the app's conferences: who publishes and plays now, and closing one of them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::AppCaller;
use super::body::{Query, json};
use super::document::{CALLER, IN_CONFERENCE, QUERY, refusals};
use super::place::AtSession;
use super::{Answer, Control, path};
use crate::domain::{AppId, ConferenceId, MemberId, Reason, Refusal, StreamId, UserName};
use crate::events::schema;
use crate::events::views::rfc3339;
use crate::hub::{CloseReason, Session, SessionId};

/// Sessions on a page, where the request names no number.
const PAGE_DEFAULT: usize = 50;
/// Most sessions on a page: about 150 KiB of answer.
const PAGE_MAX: usize = 500;
/// Sessions that are taken from the table at once: its lock, which admission needs too, is held for microseconds.
const SCAN_MAX: usize = 1000;
/// Scans for one page. Where so many sessions in a row are other apps', the page ends early and its cursor goes on.
const SCANS_PER_PAGE_MAX: usize = 20;

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(close))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
struct ListQuery {
    /// Only the sessions of this conference.
    #[param(value_type = Option<String>, pattern = "^TS_[A-Za-z0-9_-]+$", max_length = 64, nullable = false)]
    confr_id: Option<ConferenceId>,
    /// Sessions on the page; 50 where it is absent.
    #[param(minimum = 1, maximum = 500, nullable = false)]
    limit: Option<usize>,
    /// `nextCursor` of the page before.
    #[param(nullable = false)]
    cursor: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SessionPage)]
#[serde(rename_all = "camelCase")]
struct ListAnswer<'a> {
    /// In the order in which they began. Those that are being closed are left out.
    sessions: Vec<SessionView<'a>>,
    /// For the next page; null on the last one. A page can hold fewer than asked for and not be the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A media connection.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
#[serde(rename_all = "camelCase")]
struct SessionView<'a> {
    /// Counted anew when the gateway starts.
    #[schema(example = "42")]
    id: String,
    #[schema(value_type = schema::ConfrId)]
    confr_id: &'a ConferenceId,
    /// The member by whose right it is open.
    #[schema(value_type = schema::MemId)]
    mem_id: &'a MemberId,
    /// Whether the app itself looks on, by the right of the stream's owner.
    observer: bool,
    /// Null where the member has just left, and for an observer.
    #[schema(required, value_type = Option<schema::User>)]
    user: Option<UserName>,
    #[schema(value_type = schema::StreamName)]
    stream_id: &'a StreamId,
    /// `publish` or `play`
    #[schema(example = "play")]
    direction: &'static str,
    /// `rtmp`, `flv` and others to come.
    #[schema(example = "rtmp")]
    protocol: &'static str,
    /// Address and port that the connection came from.
    #[schema(example = "203.0.113.7:50123")]
    peer: String,
    #[schema(value_type = schema::Time)]
    since: String,
    packets: u64,
    bytes: u64,
    /// How often a viewer went on at a newer keyframe because it was too far behind.
    skips: u64,
}

impl<'a> SessionView<'a> {
    fn new(control: &Control, session: &'a Session) -> Self {
        let (right, start, counters) = (session.right(), session.start(), session.counters());
        let conference = control.conferences.open_now(&right.conference);
        let member = conference
            .as_ref()
            .filter(|_| !start.is_observer)
            .and_then(|conference| conference.members.get(&right.member));
        Self {
            id: session.id().to_string(),
            confr_id: &right.conference,
            mem_id: &right.member,
            observer: start.is_observer,
            user: member.map(|member| member.user.clone()),
            stream_id: &right.stream,
            direction: right.direction.word(),
            protocol: start.protocol.word(),
            peer: start.peer.to_string(),
            since: rfc3339(start.at),
            packets: counters.packets(),
            bytes: counters.bytes(),
            skips: counters.skips(),
        }
    }
}

refusals!(ListRefusals: QUERY, CALLER, IN_CONFERENCE);

/// List media sessions
///
/// Who publishes and who plays in the app's conferences now, in the order in which the connections began.
#[utoipa::path(
    get,
    path = path::SESSIONS,
    operation_id = "listSessions",
    tag = "Sessions",
    params(ListQuery),
    responses((status = 200, description = "A page of sessions.", body = ListAnswer), ListRefusals),
    security(("appKey" = [])),
)]
async fn list(
    State(control): State<Control>,
    AppCaller(app): AppCaller,
    Query(query): Query<ListQuery>,
) -> Answer<Response> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        let detail = format!("limit: a page holds 1 to {PAGE_MAX} sessions");
        return Err(Reason::InvalidRequest.because(detail).into());
    }
    if let Some(id) = &query.confr_id {
        control.conferences.find(&app, id).await?;
    }
    let after = query.cursor.map(SessionId);
    let (sessions, next) = control.own_sessions(&app, query.confr_id.as_ref(), after, limit);
    let sessions = sessions.iter().map(|session| SessionView::new(&control, session)).collect();
    let next_cursor = next.map(|next| next.to_string());
    Ok(json(StatusCode::OK, &ListAnswer { sessions, next_cursor }))
}

refusals!(CloseRefusals: CALLER, &[Reason::NotFound]);

/// Close a media session
///
/// Closes the connection at once. That takes no right away: the URL stays good for as long as it was, and a client may
/// connect again with it. To keep somebody out there are kick, a lower role, and the deletion of the stream.
#[utoipa::path(
    delete,
    path = path::SESSION,
    operation_id = "closeSession",
    tag = "Sessions",
    params(AtSession),
    responses((status = 204, description = "Closed."), CloseRefusals),
    security(("appKey" = [])),
)]
async fn close(
    State(control): State<Control>,
    AppCaller(app): AppCaller,
    AtSession(id): AtSession,
) -> Answer<StatusCode> {
    let session = control.sessions.find(id).filter(|session| control.is_own_and_open(&app, session));
    // The first reason to close stands: a session that was closed in between is none any more.
    if session.is_some_and(|session| session.close(CloseReason::ClosedByApi)) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(no_such_session().into())
    }
}

pub(super) fn no_such_session() -> Refusal {
    Reason::NotFound.because("there is no such session in this app; it may have ended")
}

impl Control {
    fn is_own_and_open(&self, app: &AppId, session: &Session) -> bool {
        let conference = self.conferences.open_now(&session.right().conference);
        conference.is_some_and(|conference| conference.settings.app == *app) && session.try_closed().is_none()
    }

    /// At most `limit` sessions of `app` after `after`, and where to go on, unless that was all.
    fn own_sessions(
        &self,
        app: &AppId,
        conference: Option<&ConferenceId>,
        mut after: Option<SessionId>,
        limit: usize,
    ) -> (Vec<Arc<Session>>, Option<SessionId>) {
        let mut own = Vec::new();
        for _ in 0..SCANS_PER_PAGE_MAX {
            let scanned = self.sessions.page(conference, after, SCAN_MAX);
            let is_last = scanned.len() < SCAN_MAX;
            for session in scanned {
                let is_own = self.is_own_and_open(app, &session);
                if is_own && own.len() == limit {
                    return (own, after);
                }
                after = Some(session.id());
                if is_own {
                    own.push(session);
                }
            }
            if is_last {
                return (own, None);
            }
        }
        (own, after)
    }
}
