//! `tidegate events`: what happened in a conference, and what happens.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::CliError;
use super::conferences::path;
use super::gateway::Api;
use super::output::{cell, items, note, printable, say};
use crate::command_line::EventsArguments;

/// Past events that are asked for at once: the most that a page holds.
const PAGE_EVENTS: usize = 1_000;
/// How long a connection may take to be made and upgraded.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a word for so long the gateway is gone: it pings every ten seconds.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Pause before the first new attempt after a cut.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// Longest pause between attempts; each is twice the one before.
const PAUSE_MAX: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

pub(super) async fn events(arguments: &EventsArguments) -> Result<(), CliError> {
    let path = path(&arguments.conference)?;
    let api = Api::of(&arguments.api).await?;
    if arguments.follow {
        // A conference that is not there is told in the words of the API, and no socket is opened.
        api.get(&path).await?;
        follow(arguments, &path, api).await
    } else {
        past(arguments, &path, &api).await
    }
}

async fn past(arguments: &EventsArguments, path: &str, api: &Api) -> Result<(), CliError> {
    let mut after = arguments.after.unwrap_or_default();
    loop {
        let page = api.get(&format!("{path}/events?after={after}&limit={PAGE_EVENTS}")).await?;
        for event in items(&page, "/events") {
            print(event, arguments.api.json)?;
        }
        match page.get("nextAfter").and_then(Value::as_u64) {
            // A page may hold nothing that is shown and still lead on.
            Some(next) if next > after => after = next,
            _ => return Ok(()),
        }
    }
}

/// How a connection ended.
enum End {
    /// Nothing more will come.
    Over,
    /// It broke, or the gateway asked to come again.
    Cut(String),
}

async fn follow(arguments: &EventsArguments, path: &str, api: Api) -> Result<(), CliError> {
    let mut after = arguments.after;
    let mut pause = PAUSE_FIRST;
    let mut api = Some(api);
    loop {
        let before = after;
        let end = match way(&mut api, arguments).await {
            Ok(way) => listen(&way, path, &mut after, arguments.api.json).await?,
            Err(why) => End::Cut(why),
        };
        let End::Cut(why) = end else { return Ok(()) };
        if after != before {
            pause = PAUSE_FIRST;
        }
        note(&format!("the feed was cut ({why}); trying again"));
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The way to the gateway, looked for anew each time: after a restart its port may be another.
async fn way(first: &mut Option<Api>, arguments: &EventsArguments) -> Result<Api, String> {
    match first.take() {
        Some(api) => Ok(api),
        None => Api::of(&arguments.api).await.map_err(|error| error.to_string()),
    }
}

async fn listen(api: &Api, path: &str, after: &mut Option<u64>, as_json: bool) -> Result<End, CliError> {
    let mut socket = match connect(api, path, *after).await {
        Ok(socket) => socket,
        Err(cut) => return cut,
    };
    loop {
        let message = match timeout(SILENCE_MAX, socket.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return Ok(End::Cut(error.to_string())),
            Ok(None) => return Ok(End::Cut("the connection ended".to_owned())),
            Err(_) => return Ok(End::Cut("the gateway is silent".to_owned())),
        };
        match message {
            Message::Text(text) => {
                let Ok(frame) = serde_json::from_str::<Value>(&text) else { continue };
                if let Some(failed) = frame.get("failed") {
                    let detail = format!("the gateway does not give this feed (code {failed})");
                    return Err(CliError::Told(format!("{detail}; `tidegate conference show` says why")));
                }
                print(&frame, as_json)?;
                let seq = frame.get("seq").and_then(Value::as_u64);
                *after = seq.max(*after);
                if frame.get("type").and_then(Value::as_str) == Some("conferenceExit") {
                    return Ok(End::Over);
                }
            }
            Message::Close(Some(close)) => return Ok(End::Cut(printable(&close.reason))),
            _ => {}
        }
    }
}

async fn connect(api: &Api, path: &str, after: Option<u64>) -> Result<Socket, Result<End, CliError>> {
    let scheme_and_rest = api.base().strip_prefix("http").unwrap_or_default();
    let query = after.map(|after| format!("?after={after}")).unwrap_or_default();
    let url = format!("ws{scheme_and_rest}{path}/events{query}");
    let told = |error: String| Err(CliError::Told(format!("{url}: {error}")));
    let mut request = url.as_str().into_client_request().map_err(|error| told(error.to_string()))?;
    let bearer = HeaderValue::from_str(&format!("Bearer {}", api.key().expose()));
    request.headers_mut().insert(AUTHORIZATION, bearer.map_err(|error| told(error.to_string()))?);
    match timeout(CONNECT_TIMEOUT, connect_async(request)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(SocketError::Http(answer))) if answer.status().is_client_error() => {
            Err(told(format!("the gateway refuses the feed (HTTP {})", answer.status().as_u16())))
        }
        Ok(Err(error)) => Err(Ok(End::Cut(error.to_string()))),
        Err(_) => Err(Ok(End::Cut("no answer".to_owned()))),
    }
}

fn print(event: &Value, as_json: bool) -> Result<(), CliError> {
    if as_json { say(&format!("{event}\n")) } else { say(&format!("{}\n", line(event))) }
}

/// An event in a line for people.
fn line(event: &Value) -> String {
    let about: Vec<String> = [
        ("", "/member/name"),
        ("role ", "/member/role"),
        ("", "/stream/owner/name"),
        ("", "/stream/id"),
        ("", "/from/name"),
        ("reason ", "/reason"),
        ("members ", "/conference/members"),
    ]
    .iter()
    .filter_map(|(word, pointer)| match event.pointer(pointer)? {
        Value::String(text) => Some(format!("{word}{text}")),
        Value::Array(list) => Some(format!("{word}{}", list.len())),
        Value::Null => None,
        other => Some(format!("{word}{other}")),
    })
    .collect();
    let line = format!(
        "{:>6}  {}  {:<18}  {}",
        cell(event, "/seq"),
        cell(event, "/at"),
        cell(event, "/type"),
        about.join("  ")
    );
    printable(line.trim_end())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_tells_who_and_why() {
        let event = json!({
            "seq": 7, "prev": 5, "at": "2026-01-31T00:00:00Z", "type": "memberExited",
            "member": { "name": "ali\u{7}ce", "role": 3 }, "reason": 12,
        });
        let line = line(&event);
        assert!(line.starts_with("     7  2026-01-31T00:00:00Z  memberExited"), "{line}");
        assert!(line.ends_with("ali\u{fffd}ce  role 3  reason 12"), "{line}");
    }
}
