//! Who is calling.
//!
//! A bearer is an app key (one dot) or a JWT (two dots) whose claimed kind picks the verifier. Each kind of call has an
//! extractor of its own that names the kinds it takes; a credential of another kind is none there, however genuine.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Control;
use super::problem::Problem;
use crate::clock;
use crate::domain::conference::{Actor, Subject};
use crate::domain::ticket::{
    ClaimedKind, MemberClaims, NO_USER_TOKEN, TOKEN_CHARS_MAX, TicketClaims, UserClaims, claimed_kind,
    verify_user_token,
};
use crate::domain::{AppId, Conference, ConferenceId, Reason, Refusal, UserName};
use crate::events::views::Reader;

/// The app's backend, and nobody else.
pub(super) struct AppCaller(pub(super) AppId);

/// A user of the app, and nobody for it.
pub(super) struct UserCaller(pub(super) UserClaims);

/// Who may ask for a new conference.
pub(super) enum Creator {
    /// The app's backend.
    App(AppId),
    /// A user, who needs the right to create.
    User(UserClaims),
}

/// A member, or the backend that may act for one.
pub(super) enum Insider {
    /// The app's backend.
    App(AppId),
    /// A member.
    Member(MemberClaims),
}

/// Who may run a conference, if its role allows.
pub(super) enum Runner {
    /// The app's backend.
    App(AppId),
    /// A member.
    Member(MemberClaims),
    /// The holder of a ticket, who need not be inside.
    Ticket(TicketClaims),
}

/// Who may ask for a ticket.
pub(super) enum Issuer {
    /// Who runs the conference.
    Runner(Runner),
    /// A user, who needs the password.
    User(UserClaims),
}

/// Who may ask to be let in. A ticket in the body is a credential as well.
pub(super) enum Joiner {
    /// The app's backend, for a user.
    App(AppId),
    /// A user.
    User(UserClaims),
    /// The holder of a ticket.
    Ticket(TicketClaims),
    /// No bearer at all.
    Nobody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    App,
    User,
    Ticket,
    Member,
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Self::App => "an app key",
            Self::User => "a user token",
            Self::Ticket => "a ticket",
            Self::Member => "a member token",
        }
    }

    /// The word in metrics.
    fn label(self) -> &'static str {
        match self {
            Self::App => "app_key",
            Self::User => "user_token",
            Self::Ticket => "ticket",
            Self::Member => "member_token",
        }
    }
}

/// What a bearer looks like, before anything is proven.
enum Claim {
    AppKey,
    Jwt(ClaimedKind),
}

impl Claim {
    fn of(token: &str) -> Option<Self> {
        match token.bytes().filter(|byte| *byte == b'.').count() {
            1 => Some(Self::AppKey),
            2 => claimed_kind(token).map(Self::Jwt),
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::AppKey => Kind::App,
            Self::Jwt(ClaimedKind::User(_)) => Kind::User,
            Self::Jwt(ClaimedKind::Ticket) => Kind::Ticket,
            Self::Jwt(ClaimedKind::Member) => Kind::Member,
        }
    }
}

enum Caller {
    App(AppId),
    User(UserClaims),
    Ticket(TicketClaims),
    Member(MemberClaims),
}

fn unauthenticated(takes: &[Kind]) -> Refusal {
    let nouns: Vec<_> = takes.iter().map(|kind| kind.noun()).collect();
    Reason::Unauthenticated
        .because(format!("this call takes {} as Authorization: Bearer", nouns.join(" or ")))
}

fn invalid_app_key() -> Refusal {
    Reason::Unauthenticated.because("the app key is not valid")
}

/// The bearer of the request; `None` without an Authorization header. Anything else in that header is an error.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    match (token, values.next()) {
        (Some(token), None) if !token.is_empty() && token.len() <= TOKEN_CHARS_MAX => Ok(Some(token)),
        _ => Err(Reason::Unauthenticated.because("the Authorization header is not one Bearer credential")),
    }
}

impl Control {
    /// Whether the bearer is the key of an app.
    pub(super) fn shows_app_key(&self, headers: &HeaderMap) -> bool {
        let token = bearer(headers).ok().flatten();
        let token = token.filter(|token| matches!(Claim::of(token), Some(Claim::AppKey)));
        token.is_some_and(|token| self.apps.authenticate(token).is_some())
    }

    /// Who the bearer speaks for; `None` without one.
    fn authenticate(&self, headers: &HeaderMap, takes: &[Kind]) -> Result<Option<Caller>, Refusal> {
        let Some(token) = bearer(headers)? else { return Ok(None) };
        let claimed = Claim::of(token).filter(|claim| takes.contains(&claim.kind()));
        let claim = claimed.ok_or_else(|| unauthenticated(takes))?;
        let kind = claim.kind();
        let caller = match claim {
            Claim::AppKey => self.apps.authenticate(token).map(Caller::App).ok_or_else(invalid_app_key),
            Claim::Jwt(ClaimedKind::User(app)) => self.verify_user(&app, token).map(Caller::User),
            Claim::Jwt(ClaimedKind::Ticket) => {
                self.keys.verify_ticket(token, clock::now()).map(Caller::Ticket)
            }
            Claim::Jwt(ClaimedKind::Member) => {
                self.keys.verify_member_token(token, clock::now()).map(Caller::Member)
            }
        };
        let caller = caller.inspect_err(|_| self.metrics.authentication_failed(kind.label()))?;
        match &caller {
            Caller::App(_) => {}
            Caller::User(user) => self.guard.user(user)?,
            Caller::Ticket(ticket) => self.guard.ticket(ticket)?,
            Caller::Member(member) => self.guard.member(member)?,
        }
        Ok(Some(caller))
    }

    /// The app that a genuine bearer speaks for, whatever it is refused for. Counts nothing.
    pub(super) fn app_of(&self, headers: &HeaderMap) -> Option<AppId> {
        let token = bearer(headers).ok().flatten()?;
        match Claim::of(token)? {
            Claim::AppKey => self.apps.authenticate(token),
            Claim::Jwt(ClaimedKind::User(app)) => self.verify_user(&app, token).ok().map(|user| user.app),
            Claim::Jwt(ClaimedKind::Ticket) => {
                self.keys.verify_ticket(token, clock::now()).ok().map(|ticket| ticket.app)
            }
            Claim::Jwt(ClaimedKind::Member) => {
                self.keys.verify_member_token(token, clock::now()).ok().map(|member| member.app)
            }
        }
    }

    /// What a ticket in a body says, if it is genuine and in time.
    pub(super) fn verify_ticket(&self, ticket: &str) -> Result<TicketClaims, Refusal> {
        let claims = self.keys.verify_ticket(ticket, clock::now());
        claims.inspect_err(|_| self.metrics.authentication_failed(Kind::Ticket.label()))
    }

    /// Tries each valid secret of the app that the token names, and one that fits nothing where there is no such app. The last refusal stands, which tells an expired token
    /// from a forged one where the app has one secret.
    fn verify_user(&self, app: &AppId, token: &str) -> Result<UserClaims, Refusal> {
        let now = clock::now();
        let mut refusal = None;
        let claims = self.apps.with_secrets(app, |secret| match verify_user_token(secret, token, now) {
            Ok(claims) => Some(claims),
            Err(why) => {
                refusal = Some(why);
                None
            }
        });
        claims
            .filter(|claims| claims.app == *app)
            .ok_or_else(|| refusal.unwrap_or_else(|| Reason::Unauthenticated.because(NO_USER_TOKEN)))
    }

    /// The member or backend that the headers speak for.
    pub(super) fn insider(&self, headers: &HeaderMap) -> Result<Insider, Refusal> {
        let takes = [Kind::App, Kind::Member];
        match self.authenticate(headers, &takes)? {
            Some(Caller::App(app)) => Ok(Insider::App(app)),
            Some(Caller::Member(member)) => Ok(Insider::Member(member)),
            _ => Err(unauthenticated(&takes)),
        }
    }

    fn required(&self, parts: &Parts, takes: &[Kind]) -> Result<Caller, Refusal> {
        self.authenticate(&parts.headers, takes)?.ok_or_else(|| unauthenticated(takes))
    }

    /// The conference at `id`, if it is in the caller's reach.
    pub(super) async fn reach(
        &self,
        caller: &Insider,
        id: &ConferenceId,
    ) -> Result<Arc<Conference>, Refusal> {
        match caller {
            Insider::App(app) => self.conferences.find(app, id).await,
            Insider::Member(member) => {
                same_conference(member, id)?;
                self.conferences.find(&member.app, id).await
            }
        }
    }

    /// The authority with which `caller` runs the conference at `id`. What its role allows is for `decide` to say.
    pub(super) async fn actor(&self, caller: Runner, id: &ConferenceId) -> Result<Actor, Refusal> {
        match caller {
            Runner::App(app) => {
                self.conferences.find(&app, id).await?;
                Ok(Actor::App)
            }
            Runner::Member(member) => {
                same_conference(&member, id)?;
                Ok(Actor::Member(Subject::Member { id: member.member, epoch: member.epoch }))
            }
            Runner::Ticket(ticket) => {
                opens(&ticket, id)?;
                Ok(Actor::Ticket(ticket))
            }
        }
    }
}

fn same_conference(member: &MemberClaims, id: &ConferenceId) -> Result<(), Refusal> {
    if member.conference == *id {
        Ok(())
    } else {
        Err(Reason::NotAllowed.because("this member token is for another conference"))
    }
}

/// Refuses a ticket that is for another conference than `id`.
pub(super) fn opens(ticket: &TicketClaims, id: &ConferenceId) -> Result<(), Refusal> {
    if ticket.conference == *id {
        Ok(())
    } else {
        Err(Reason::TicketInvalid.because("this ticket is for another conference"))
    }
}

impl Insider {
    /// With whose eyes the caller looks.
    pub(super) fn reader(&self) -> Reader {
        match self {
            Self::App(_) => Reader::App,
            Self::Member(_) => Reader::Member,
        }
    }

    /// As [`Self::subject`], where both the body and the query may name the user.
    pub(super) fn subject_named(
        &self,
        in_body: Option<UserName>,
        in_query: Option<UserName>,
    ) -> Result<Subject, Refusal> {
        if let (Some(body), Some(query)) = (&in_body, &in_query)
            && body != query
        {
            return Err(Reason::InvalidRequest.because("user: the body and the query name different users"));
        }
        self.subject(in_body.or(in_query))
    }

    /// The member that the call is about: the token's own, or the one that the app key names by `user`.
    pub(super) fn subject(&self, user: Option<UserName>) -> Result<Subject, Refusal> {
        match (self, user) {
            (Self::Member(member), None) => {
                Ok(Subject::Member { id: member.member.clone(), epoch: member.epoch })
            }
            (Self::App(_), Some(user)) => Ok(Subject::User(user)),
            (Self::Member(_), Some(_)) => Err(Reason::InvalidRequest
                .because("user: a member token speaks for its own member; only the app key names a user")),
            (Self::App(_), None) => {
                Err(Reason::InvalidRequest.because("user: the app key names the user that it acts for"))
            }
        }
    }
}

impl Runner {
    /// Who asks, as the scope of an idempotency key.
    pub(super) fn scope(&self) -> String {
        match self {
            Self::App(_) => "app".to_owned(),
            Self::Member(member) => format!("member:{}", member.member),
            Self::Ticket(ticket) => format!("ticket:{}", ticket.id),
        }
    }
}

impl FromRequestParts<Control> for AppCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Problem> {
        let takes = [Kind::App];
        match control.required(parts, &takes)? {
            Caller::App(app) => Ok(Self(app)),
            _ => Err(unauthenticated(&takes).into()),
        }
    }
}

impl FromRequestParts<Control> for UserCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Problem> {
        let takes = [Kind::User];
        match control.required(parts, &takes)? {
            Caller::User(user) => Ok(Self(user)),
            _ => Err(unauthenticated(&takes).into()),
        }
    }
}

impl FromRequestParts<Control> for Creator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Problem> {
        let takes = [Kind::App, Kind::User];
        match control.required(parts, &takes)? {
            Caller::App(app) => Ok(Self::App(app)),
            Caller::User(user) => Ok(Self::User(user)),
            _ => Err(unauthenticated(&takes).into()),
        }
    }
}

impl FromRequestParts<Control> for Insider {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Problem> {
        Ok(control.insider(&parts.headers)?)
    }
}

impl FromRequestParts<Control> for Runner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Problem> {
        let takes = [Kind::App, Kind::Member, Kind::Ticket];
        match control.required(parts, &takes)? {
            Caller::App(app) => Ok(Self::App(app)),
            Caller::Member(member) => Ok(Self::Member(member)),
            Caller::Ticket(ticket) => Ok(Self::Ticket(ticket)),
            Caller::User(_) => Err(unauthenticated(&takes).into()),
        }
    }
}

impl FromRequestParts<Control> for Issuer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Problem> {
        let takes = [Kind::App, Kind::Member, Kind::Ticket, Kind::User];
        Ok(match control.required(parts, &takes)? {
            Caller::App(app) => Self::Runner(Runner::App(app)),
            Caller::Member(member) => Self::Runner(Runner::Member(member)),
            Caller::Ticket(ticket) => Self::Runner(Runner::Ticket(ticket)),
            Caller::User(user) => Self::User(user),
        })
    }
}

impl FromRequestParts<Control> for Joiner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Problem> {
        let takes = [Kind::Ticket, Kind::User, Kind::App];
        match control.authenticate(&parts.headers, &takes)? {
            None => Ok(Self::Nobody),
            Some(Caller::App(app)) => Ok(Self::App(app)),
            Some(Caller::User(user)) => Ok(Self::User(user)),
            Some(Caller::Ticket(ticket)) => Ok(Self::Ticket(ticket)),
            Some(Caller::Member(_)) => Err(unauthenticated(&takes).into()),
        }
    }
}

impl Joiner {
    /// The refusal for who shows nothing at all.
    pub(super) fn nothing_shown() -> Refusal {
        Reason::Unauthenticated
            .because("a join takes a ticket, in the body or as Authorization: Bearer, or a user token with the password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[test]
    fn a_bearer_is_one_credential_of_sane_length() {
        assert_eq!(bearer(&headers(&[])), Ok(None));
        assert_eq!(bearer(&headers(&["Bearer a.b"])), Ok(Some("a.b")));
        assert_eq!(bearer(&headers(&["bearer  a.b "])), Ok(Some("a.b")));
        let long = format!("Bearer {}", "x".repeat(TOKEN_CHARS_MAX + 1));
        for bad in [
            &["Basic YTpi"][..],
            &["Bearer"],
            &["Bearer "],
            &["Bearer a.b", "Bearer a.b"],
            &["a.b"],
            &[&long],
        ] {
            assert_eq!(bearer(&headers(bad)).unwrap_err().reason, Reason::Unauthenticated, "{bad:?}");
        }
    }
}
