//! An event socket as any WebSocket client has it.

use super::api::{App, Member};
use super::wait::{EVENT, within};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Where the token stands.
#[derive(Debug, Clone, Copy)]
pub enum Shown {
    Bearer,
    Query,
    Protocol,
}

/// What a socket asks for.
#[derive(Debug, Clone)]
pub struct Ask {
    pub address: SocketAddr,
    pub path: String,
    pub token: Option<(Shown, String)>,
    pub after: Option<u64>,
    pub forwarded_for: Option<String>,
    /// The socket's receive buffer, where it is to be small.
    pub receive_buffer: Option<u32>,
}

impl Ask {
    pub fn member(member: &Member) -> Self {
        Self {
            address: member.api.address,
            path: member.path("/events"),
            token: Some((Shown::Protocol, member.token.clone())),
            after: None,
            forwarded_for: None,
            receive_buffer: None,
        }
    }

    pub fn app(app: &App, confr_id: &str) -> Self {
        Self {
            address: app.api.address,
            path: format!("/v1/conferences/{confr_id}/events"),
            token: Some((Shown::Bearer, app.key.clone())),
            after: None,
            forwarded_for: None,
            receive_buffer: None,
        }
    }

    pub fn shown(self, shown: Shown, token: &str) -> Self {
        Self { token: Some((shown, token.to_owned())), ..self }
    }

    pub fn after(self, seq: u64) -> Self {
        Self { after: Some(seq), ..self }
    }

    /// As the proxy says that would stand before the gateway.
    pub fn forwarded_for(self, address: &str) -> Self {
        Self { forwarded_for: Some(address.to_owned()), ..self }
    }

    /// The socket, or the status with which it was refused.
    pub async fn open(self) -> Result<Feed, u16> {
        let mut query: Vec<String> = self.after.map(|after| format!("after={after}")).into_iter().collect();
        if let Some((Shown::Query, token)) = &self.token {
            query.push(format!("access_token={token}"));
        }
        let url = format!("ws://{}{}?{}", self.address, self.path, query.join("&"));
        let mut request = url.into_client_request().expect("a request");
        let headers = request.headers_mut();
        match &self.token {
            Some((Shown::Bearer, token)) => {
                headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
            }
            Some((Shown::Protocol, token)) => {
                let protocol = format!("tidegate.{token}").parse().expect("a header");
                headers.insert("sec-websocket-protocol", protocol);
            }
            _ => {}
        }
        if let Some(address) = &self.forwarded_for {
            headers.insert("x-forwarded-for", address.parse().expect("a header"));
        }
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes).expect("a buffer");
        }
        let stream = socket.connect(self.address).await.expect("connects");
        match within(EVENT, "an upgrade", client_async(request, stream)).await {
            Ok((socket, _)) => Ok(Feed(socket)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("no upgrade: {error}"),
        }
    }
}

/// How a socket ended: the code of its close, or none where it broke off.
pub type Closed = Option<u16>;

pub struct Feed(WebSocketStream<TcpStream>);

impl Feed {
    pub async fn next(&mut self) -> Result<Value, Closed> {
        within(EVENT, "a frame", async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => break Ok(serde_json::from_str(&text).expect("JSON")),
                    Some(Ok(Message::Close(frame))) => break Err(frame.map(|frame| frame.code.into())),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break Err(None),
                }
            }
        })
        .await
    }

    /// The next frame, which must be of this type.
    #[track_caller]
    pub fn expect(&mut self, kind: &'static str) -> impl Future<Output = Value> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            match self.next().await {
                Ok(frame) if frame["type"] == kind => frame,
                other => panic!("{caller}: {other:?} instead of {kind}"),
            }
        }
    }

    /// The end, which must come next.
    pub async fn closed(&mut self) -> Closed {
        match self.next().await {
            Err(closed) => closed,
            Ok(frame) => panic!("{frame} instead of the end"),
        }
    }

    pub async fn close(mut self) {
        let _ = self.0.send(Message::Close(None)).await;
        while let Some(Ok(_)) = self.0.next().await {}
    }
}

pub fn seq(frame: &Value) -> u64 {
    frame["seq"].as_u64().expect("a seq")
}
