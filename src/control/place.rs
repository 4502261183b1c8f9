//! What a path names.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::{IntoParams, PartialSchema};

use super::conference_not_found;
use super::problem::Problem;
use super::sessions::no_such_session;
use super::webhooks::is_dead_letter_id;
use crate::domain::conference::Stream;
use crate::domain::id::InvalidId;
use crate::domain::{Conference, ConferenceId, Reason, Refusal, RelayId, RoomName, StreamId, UserName};
use crate::events::schema;
use crate::hub::SessionId;

/// `{confrId}` of the path. What can be no id is not found, as an id that nobody has.
pub(super) struct InConference(pub(super) ConferenceId);

/// `{confrId}` and `{streamId}` of the path.
pub(super) struct AtStream {
    pub(super) conference: ConferenceId,
    /// `None` where the text can be no stream's id: not found, once the conference is.
    stream: Option<StreamId>,
}

/// `{confrId}` and `{relayId}` of the path.
pub(super) struct AtRelay {
    pub(super) conference: ConferenceId,
    /// `None` where the text can be no relay's id: not found, once the conference is.
    pub(super) relay: Option<RelayId>,
}

/// `{roomName}` of the path, or why it can be no room's.
pub(super) struct InRoom(pub(super) Result<RoomName, Refusal>);

/// `{groupId}` of the path, or why it can be no group's.
pub(super) struct InGroup(pub(super) Result<RoomName, Refusal>);

/// `{openid}` of the path, or why it can be no user's.
pub(super) struct AtOpenid(pub(super) Result<UserName, Refusal>);

/// `{sessionId}` of the path. What can be no number of a session is not found.
pub(super) struct AtSession(pub(super) SessionId);

/// `{deadLetterId}` of the path. What can be none is not found.
pub(super) struct AtDeadLetter(pub(super) String);

/// `{file}` of the path, empty where it is no text.
pub(super) struct AtFile(pub(super) String);

async fn parameter<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Option<String> {
    let parameters = RawPathParams::from_request_parts(parts, state).await.ok()?;
    parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

impl<S: Send + Sync> FromRequestParts<S> for InConference {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = parameter(parts, state, "confrId").await.and_then(|text| ConferenceId::parse(&text).ok());
        id.map(Self).ok_or_else(|| conference_not_found().into())
    }
}

/// The parameter `name` as `parse` takes it. What names something that need not exist yet is wrong, not unknown.
async fn named<S: Send + Sync, T>(
    parts: &mut Parts,
    state: &S,
    name: &str,
    parse: fn(&str) -> Result<T, InvalidId>,
) -> Result<T, Refusal> {
    let text = parameter(parts, state, name).await.unwrap_or_default();
    parse(&text).map_err(|error| Reason::InvalidRequest.because(format!("{name}: {error}")))
}

impl<S: Send + Sync> FromRequestParts<S> for InRoom {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(named(parts, state, "roomName", RoomName::parse).await))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InGroup {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(named(parts, state, "groupId", RoomName::parse).await))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AtOpenid {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(named(parts, state, "openid", UserName::parse).await))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AtStream {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let InConference(conference) = InConference::from_request_parts(parts, state).await?;
        let stream = parameter(parts, state, "streamId").await.and_then(|text| StreamId::parse(&text).ok());
        Ok(Self { conference, stream })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AtRelay {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let InConference(conference) = InConference::from_request_parts(parts, state).await?;
        let relay = parameter(parts, state, "relayId").await.and_then(|text| RelayId::parse(&text).ok());
        Ok(Self { conference, relay })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AtSession {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let number = parameter(parts, state, "sessionId").await.and_then(|text| text.parse().ok());
        number.map(|number| Self(SessionId(number))).ok_or_else(|| no_such_session().into())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AtFile {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(parameter(parts, state, "file").await.unwrap_or_default()))
    }
}

fn documented<T: PartialSchema>(name: &str, about: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .description(Some(about))
        .schema(Some(T::schema()))
        .build()
}

impl IntoParams for InConference {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![documented::<schema::ConfrId>("confrId", "The conference.")]
    }
}

impl IntoParams for AtStream {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = InConference::into_params(place);
        parameters.push(documented::<schema::StreamName>("streamId", "The stream."));
        parameters
    }
}

impl IntoParams for AtRelay {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = InConference::into_params(place);
        parameters.push(documented::<String>("relayId", "The relay, as the list of relays names it."));
        parameters
    }
}

impl IntoParams for InRoom {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![documented::<schema::Room>("roomName", "The room. It need not exist yet.")]
    }
}

impl IntoParams for InGroup {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![documented::<schema::Room>("groupId", "The group that talks. Its room need not exist yet.")]
    }
}

impl IntoParams for AtOpenid {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![documented::<schema::User>("openid", "The user, by the name that its user tokens carry.")]
    }
}

impl IntoParams for AtSession {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![documented::<u64>("sessionId", "The session, as the list of sessions names it.")]
    }
}

impl IntoParams for AtDeadLetter {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![documented::<String>("deadLetterId", "The dead letter, as the list of dead letters names it.")]
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AtDeadLetter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = parameter(parts, state, "deadLetterId").await.filter(|text| is_dead_letter_id(text));
        id.map(Self)
            .ok_or_else(|| Reason::NotFound.because("there is no such dead letter in this app").into())
    }
}

impl AtStream {
    /// The stream, if `conference` has it.
    pub(super) fn stream_of<'a>(&self, conference: &'a Conference) -> Result<&'a Stream, Refusal> {
        let stream = self.stream.as_ref().and_then(|stream| conference.streams.get(stream));
        stream.ok_or_else(|| {
            Reason::StreamNotFound
                .because("there is no such stream in this conference; it may have been deleted")
        })
    }
}
