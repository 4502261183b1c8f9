//! Who may publish or play: from a URL's stream name and token to an entered session, or a refusal.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::conferences::Conferences;
use crate::domain::media_url::{MediaGrant, MediaKey};
use crate::domain::{Direction, Reason, Refusal, Timestamp};
use crate::hub::{Protocol, SessionGuard, SessionStart, SessionTable};
use crate::intake::Intake;

/// The query parameter that holds the media token.
pub const TOKEN_PARAMETER: &str = "t";

/// A parameter in the query of a media URL over HTTP, as it stands there: a token is base64url, so it is never escaped.
pub fn query_parameter<'a>(query: &'a str, wanted: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == wanted)
        .map(|(_, value)| value)
}

/// Lets media requests in. Asks memory only.
pub struct Admission {
    key: MediaKey,
    sessions: SessionTable,
    conferences: Arc<Conferences>,
    intake: Intake,
}

/// What a URL asks for, and who shows it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The stream's name in the URL.
    pub stream: &'a str,
    /// The token, where the URL holds one.
    pub token: Option<&'a str>,
    /// What it is to admit to.
    pub direction: Direction,
    /// What the peer speaks.
    pub protocol: Protocol,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The present.
    pub now: Timestamp,
}

/// A request that was let in.
pub struct Admitted {
    /// What its token says.
    pub grant: MediaGrant,
    /// Its place in the session table.
    pub session: SessionGuard,
}

impl Admission {
    /// Admits by tokens of `key` into `sessions`, where `conferences` say that the right holds.
    pub fn new(key: MediaKey, sessions: SessionTable, conferences: Arc<Conferences>) -> Self {
        Self { key, sessions, conferences, intake: Intake::default() }
    }

    /// The same, which lets in whom `intake` lets in.
    #[must_use]
    pub fn through(self, intake: Intake) -> Self {
        Self { intake, ..self }
    }

    /// Lets a request in or says why not. The session stands in the table before the right is read: whoever takes the
    /// right away meanwhile finds the session there.
    pub fn admit(&self, asked: Asked<'_>) -> Result<Admitted, Refusal> {
        let token = asked.token.ok_or_else(|| {
            Reason::UrlInvalid.because("the URL carries no token: use the URL exactly as the gateway gave it")
        })?;
        let grant = self.key.verify(asked.stream, token, asked.direction, asked.now)?;
        self.intake.admit()?;
        let session = self.sessions.enter_if_room(SessionStart {
            right: grant.right.clone(),
            protocol: asked.protocol,
            peer: asked.peer,
            url_key: grant.nonce,
            at: asked.now,
            is_observer: grant.is_observer,
        })?;
        self.conferences.media_right(&grant.right)?;
        Ok(Admitted { grant, session })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_read_from_the_query() {
        assert_eq!(query_parameter("t=AB-_9", "t"), Some("AB-_9"));
        assert_eq!(query_parameter("x=1&t=AB&y", "t"), Some("AB"));
        assert_eq!(query_parameter("tt=1&at=2", "t"), None);
    }
}
