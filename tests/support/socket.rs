//! An event socket that hands out frame after frame.

use super::api::{App, Member};
use super::wait::{EVENT, within};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

/// The live feed of one reader.
pub struct EventSocket(WebSocketStream<TcpStream>);

impl EventSocket {
    /// A member's feed, behind its snapshot.
    pub async fn of(member: &Member) -> Self {
        Self::open(member, &member.token).await
    }

    /// The app's feed of the conference that `member` is in, behind its snapshot.
    pub async fn of_app(app: &App, member: &Member) -> Self {
        Self::open(member, &app.key).await
    }

    async fn open(member: &Member, token: &str) -> Self {
        let url = format!("ws://{}{}", member.api.address, member.path("/events"));
        let mut request = url.into_client_request().expect("a request");
        let bearer = format!("Bearer {token}").parse().expect("a header");
        request.headers_mut().insert("authorization", bearer);
        let stream = TcpStream::connect(member.api.address).await.expect("connects");
        let (socket, _) = client_async(request, stream).await.expect("upgraded");
        let mut socket = Self(socket);
        assert_eq!(socket.next().await["type"], "snapshot");
        socket
    }

    /// The next frame. A close fails the test.
    pub async fn next(&mut self) -> Value {
        within(EVENT, "a frame", async {
            loop {
                match self.0.next().await.expect("no end").expect("a message") {
                    Message::Text(text) => break serde_json::from_str(&text).expect("JSON"),
                    Message::Close(frame) => panic!("closed: {frame:?}"),
                    _ => {}
                }
            }
        })
        .await
    }

    /// The frames up to the first that `is_it`, which is the last of them.
    pub async fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        within(EVENT, &format!("the frame: {what}"), async {
            let mut frames = Vec::new();
            loop {
                let frame = self.next().await;
                let found = is_it(&frame);
                frames.push(frame);
                if found {
                    break frames;
                }
            }
        })
        .await
    }

    /// The first frame that `is_it`.
    pub async fn find(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.until(what, is_it).await.pop().expect("at least one")
    }
}
