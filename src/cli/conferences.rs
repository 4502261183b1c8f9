//! What goes on in the conferences of an app, and what its key may do about it.

use reqwest::Method;
use serde_json::{Value, json};

use super::CliError;
use super::gateway::Api;
use super::output::{cell, items, printable, say, say_json, table};
use crate::command_line::{
    ConferenceShowArguments, ConferencesArguments, EndArguments, KickArguments, SessionsArguments,
    TokenArguments,
};
use crate::domain::ConferenceId;

pub(super) async fn list(arguments: &ConferencesArguments) -> Result<(), CliError> {
    let api = Api::of(&arguments.api).await?;
    let answer = api.all("/v1/conferences?", "conferences").await?;
    if arguments.api.json {
        return say_json(&answer);
    }
    let row = |conference: &Value| {
        vec![
            cell(conference, "/confrId"),
            kind(conference).to_owned(),
            cell(conference, "/roomName"),
            items(conference, "/members").len().to_string(),
            live_streams(conference),
            cell(conference, "/createdAt"),
        ]
    };
    let rows: Vec<_> = items(&answer, "/conferences").iter().map(row).collect();
    let titles = ["CONFERENCE", "TYPE", "ROOM", "MEMBERS", "STREAMS", "CREATED"];
    say(&table(&titles, &rows, "no conference is open"))
}

pub(super) async fn show(arguments: &ConferenceShowArguments) -> Result<(), CliError> {
    let path = path(&arguments.conference)?;
    let answer = Api::of(&arguments.api).await?.get(&path).await?;
    if arguments.api.json {
        return say_json(&answer);
    }
    let member = |member: &Value| {
        vec![
            cell(member, "/name"),
            role(member).to_owned(),
            cell(member, "/id"),
            cell(member, "/nickName"),
            muted(member),
            cell(member, "/joinedAt"),
        ]
    };
    let stream = |stream: &Value| {
        let is_live = stream.get("live") == Some(&Value::Bool(true));
        let (video, audio) = (cell(stream, "/video/codec"), cell(stream, "/audio/codec"));
        let size = format!("{}x{}", cell(stream, "/video/width"), cell(stream, "/video/height"));
        vec![
            cell(stream, "/owner/name"),
            if is_live { "live" } else { "silent" }.to_owned(),
            if video == "-" { video } else { format!("{video} {size}") },
            audio,
            cell(stream, "/id"),
        ]
    };
    let members: Vec<_> = items(&answer, "/members").iter().map(member).collect();
    let streams: Vec<_> = items(&answer, "/streams").iter().map(stream).collect();
    let head = format!(
        "{} ({}), room {}, created {}, event {}\n",
        cell(&answer, "/confrId"),
        kind(&answer),
        printable(&cell(&answer, "/roomName")),
        cell(&answer, "/createdAt"),
        cell(&answer, "/seq"),
    );
    let members =
        table(&["MEMBER", "ROLE", "ID", "NICK NAME", "MUTED", "JOINED"], &members, "nobody is in it");
    let streams = table(&["STREAM OF", "STATE", "VIDEO", "AUDIO", "ID"], &streams, "no streams");
    say(&format!("{head}\n{members}\n{streams}"))
}

pub(super) async fn kick(arguments: &KickArguments) -> Result<(), CliError> {
    let path = format!("{}/kick", path(&arguments.conference)?);
    let body = json!({ "memberNames": arguments.names });
    let answer = Api::of(&arguments.api).await?.call(Method::POST, &path, Some(body)).await?;
    if arguments.api.json {
        return say_json(&answer);
    }
    let kicked: Vec<String> =
        items(&answer, "/kicked").iter().map(|name| printable(&cell(name, ""))).collect();
    match kicked.as_slice() {
        [] => say("nobody of these was inside\n"),
        kicked => say(&format!("kicked {}\n", kicked.join(", "))),
    }
}

pub(super) async fn end(arguments: &EndArguments) -> Result<(), CliError> {
    let path = path(&arguments.conference)?;
    Api::of(&arguments.api).await?.call(Method::DELETE, &path, None).await?;
    if arguments.api.json {
        return say_json(&json!({ "confrId": arguments.conference, "ended": true }));
    }
    say(&format!("{} has ended\n", arguments.conference))
}

pub(super) async fn sessions(arguments: &SessionsArguments) -> Result<(), CliError> {
    let query = match &arguments.conference {
        Some(conference) => format!("/v1/sessions?confrId={}&", id(conference)?),
        None => "/v1/sessions?".to_owned(),
    };
    let answer = Api::of(&arguments.api).await?.all(&query, "sessions").await?;
    if arguments.api.json {
        return say_json(&answer);
    }
    let fields = [
        "/id",
        "/user",
        "/direction",
        "/protocol",
        "/peer",
        "/bytes",
        "/skips",
        "/since",
        "/confrId",
        "/streamId",
    ];
    let row = |session: &Value| fields.iter().map(|field| cell(session, field)).collect::<Vec<_>>();
    let rows: Vec<_> = items(&answer, "/sessions").iter().map(row).collect();
    let titles =
        ["ID", "USER", "DIRECTION", "OVER", "PEER", "BYTES", "SKIPS", "SINCE", "CONFERENCE", "STREAM"];
    say(&table(&titles, &rows, "nobody publishes or plays"))
}

pub(super) async fn token(arguments: &TokenArguments) -> Result<(), CliError> {
    let mut body = json!({ "user": arguments.user });
    if let (Some(fields), Some(ttl)) = (body.as_object_mut(), arguments.ttl) {
        fields.insert("ttlSeconds".to_owned(), ttl.into());
    }
    if let (Some(fields), true) = (body.as_object_mut(), arguments.can_create) {
        fields.insert("can".to_owned(), json!(["create"]));
    }
    let answer = Api::of(&arguments.api).await?.call(Method::POST, "/v1/user-tokens", Some(body)).await?;
    if arguments.api.json { say_json(&answer) } else { say(&format!("{}\n", cell(&answer, "/token"))) }
}

fn id(text: &str) -> Result<ConferenceId, CliError> {
    ConferenceId::parse(text).map_err(|error| {
        CliError::Told(format!("{text:?}: {error}; `tidegate conferences` shows the open ones"))
    })
}

/// Where the conference stands in the API.
pub(super) fn path(conference: &str) -> Result<String, CliError> {
    Ok(format!("/v1/conferences/{}", id(conference)?))
}

fn kind(conference: &Value) -> &'static str {
    match conference.get("type").and_then(Value::as_u64) {
        Some(10) => "communication",
        Some(11) => "communication mix",
        Some(12) => "live",
        _ => "unknown",
    }
}

fn role(member: &Value) -> &'static str {
    match member.get("role").and_then(Value::as_u64) {
        Some(7) => "admin",
        Some(3) => "talker",
        Some(1) => "audience",
        _ => "unknown",
    }
}

fn muted(member: &Value) -> String {
    let is = |part: &str| member.pointer(part) == Some(&Value::Bool(true));
    match (is("/muted/audio"), is("/muted/video")) {
        (true, true) => "audio, video",
        (true, false) => "audio",
        (false, true) => "video",
        (false, false) => "-",
    }
    .to_owned()
}

fn live_streams(conference: &Value) -> String {
    let streams = items(conference, "/streams");
    let live = streams.iter().filter(|stream| stream.get("live") == Some(&Value::Bool(true))).count();
    format!("{live} live of {}", streams.len())
}
