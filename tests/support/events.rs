//! The event feed of a member, as a WebSocket of a client that is not ours.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::api::Member;
use super::wait::{EVENT, within};

pub struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub async fn open(member: &Member, after: Option<u64>) -> Self {
        Self::with_token(member, &member.token, after).await
    }

    pub async fn with_token(member: &Member, token: &str, after: Option<u64>) -> Self {
        let query = after.map(|after| format!("?after={after}")).unwrap_or_default();
        let url = format!("ws://{}{}{query}", member.api.address, member.path("/events"));
        let mut request = url.into_client_request().expect("a request");
        let protocol = format!("tidegate.{token}").parse().expect("a header");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let stream = TcpStream::connect(member.api.address).await.expect("connects");
        // The client refuses an answer that does not echo its subprotocol.
        let (socket, _) = client_async(request, stream).await.expect("upgraded");
        Self(socket)
    }

    /// The next frame, or the code of the close.
    pub async fn next(&mut self) -> Result<Value, u16> {
        self.next_within(EVENT).await
    }

    /// The same where nothing may be heard for longer.
    pub async fn next_within(&mut self, deadline: Duration) -> Result<Value, u16> {
        within(deadline, "a frame", async {
            loop {
                match self.0.next().await.expect("no end without a close").expect("a message") {
                    Message::Text(text) => break Ok(serde_json::from_str(&text).expect("JSON")),
                    Message::Close(frame) => break Err(frame.expect("a code").code.into()),
                    _ => {}
                }
            }
        })
        .await
    }

    #[track_caller]
    pub fn frame(next: Result<Value, u16>, kind: &str) -> Value {
        let frame = next.unwrap_or_else(|code| panic!("closed {code} instead of {kind}"));
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    pub async fn expect(&mut self, kind: &str) -> Value {
        Self::frame(self.next().await, kind)
    }

    /// All frames up to and with the one numbered `last`.
    pub async fn through(&mut self, last: u64) -> Vec<Value> {
        let mut frames = Vec::new();
        while frames.last().is_none_or(|frame| seq(frame) < last) {
            frames.push(self.next().await.unwrap_or_else(|code| panic!("closed {code} before {last}")));
        }
        frames
    }
}

pub fn seq(frame: &Value) -> u64 {
    frame["seq"].as_u64().expect("a seq")
}
