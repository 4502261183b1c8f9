//! Media sessions of the app's conferences: who publishes and plays now, and closing one of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{delete, get};
use serde::{Deserialize, Serialize};

use super::auth::AppCaller;
use super::body::{Query, json};
use super::place::AtSession;
use super::{Answer, Control, path};
use crate::domain::{AppId, ConferenceId, MemberId, Reason, Refusal, StreamId, UserName};
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

pub(super) fn routes() -> Router<Control> {
    Router::new().route(path::SESSIONS, get(list)).route(path::SESSION, delete(close))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListQuery {
    confr_id: Option<ConferenceId>,
    limit: Option<usize>,
    cursor: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListAnswer<'a> {
    /// In the order in which they began. Those that are being closed are left out.
    sessions: Vec<SessionView<'a>>,
    /// For the next page; null on the last one. A page can hold fewer than asked for and not be the last.
    next_cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionView<'a> {
    /// Counted anew when the gateway starts.
    id: String,
    confr_id: &'a ConferenceId,
    mem_id: &'a MemberId,
    user: Option<UserName>,
    stream_id: &'a StreamId,
    direction: &'static str,
    protocol: &'static str,
    /// Address and port that the connection came from.
    peer: String,
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
        let member = conference.as_ref().and_then(|conference| conference.members.get(&right.member));
        Self {
            id: session.id().to_string(),
            confr_id: &right.conference,
            mem_id: &right.member,
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

/// Closes the connection at once. That takes no right away: the URL stays good for as long as it was, and a client may
/// connect again with it. To keep somebody out there are kick, a lower role, and the deletion of the stream.
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
