//! Viewers and readers that keep nothing of what they are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};
use tokio_tungstenite::{client_async, tungstenite::http::Uri};

use crate::support::peer::Seen;
use crate::support::{EVENT, Member, Peer, within};

/// Somebody who takes what comes until it is dropped or its connection ends.
pub struct Taker {
    task: JoinHandle<()>,
    taken: Arc<AtomicU64>,
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Taker {
    fn spawn<F: Future<Output = ()> + Send + 'static>(run: impl FnOnce(Arc<AtomicU64>) -> F) -> Self {
        let taken = Arc::<AtomicU64>::default();
        Self { task: tokio::spawn(run(Arc::clone(&taken))), taken }
    }

    /// Messages, chunks or frames so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub fn is_open(&self) -> bool {
        !self.task.is_finished()
    }

    /// Over RTMP.
    pub fn rtmp(mut peer: Peer) -> Self {
        Self::spawn(async move |taken| {
            while let seen = peer.next().await
                && !matches!(seen, Seen::Closed)
            {
                taken.fetch_add(u64::from(matches!(seen, Seen::Media(_))), Ordering::Relaxed);
            }
        })
    }

    /// FLV over HTTP.
    pub async fn http(url: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let mut answer = within(EVENT, "an FLV answer", client.get(url).send()).await.expect("an answer");
        Self::spawn(async move |taken| {
            while let Ok(Some(_)) = answer.chunk().await {
                taken.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// FLV over a WebSocket.
    pub async fn web_socket(url: &str) -> Self {
        let uri: Uri = url.parse().expect("a URL");
        let host = uri.authority().expect("a host").to_string();
        Self::over_web_socket(&host, ClientRequestBuilder::new(uri)).await
    }

    /// The events of the member's conference.
    pub async fn events(member: &Member) -> Self {
        let host = member.api.address.to_string();
        let uri: Uri = format!("ws://{host}{}", member.path("/events")).parse().expect("a URL");
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(format!("tidegate.{}", member.token));
        Self::over_web_socket(&host, request).await
    }

    async fn over_web_socket(host: &str, request: ClientRequestBuilder) -> Self {
        let request = request.into_client_request().expect("a request");
        let stream = TcpStream::connect(host).await.expect("connects");
        let upgraded = within(EVENT, "an upgrade", client_async(request, stream)).await;
        Self::spawn(async move |taken| {
            // Whoever was sent away meanwhile is refused.
            let Ok((mut socket, _)) = upgraded else { return };
            while let Some(Ok(message)) = socket.next().await {
                let is_news = matches!(message, Message::Text(_) | Message::Binary(_));
                taken.fetch_add(u64::from(is_news), Ordering::Relaxed);
            }
        })
    }
}
