//! An RTMP peer that is not ours: the client session of rml_rtmp over a TCP socket. It shows the exact status that
//! the gateway sent and the moment of the last byte.

use super::flv::{Kind, Tag};
use super::media_url::{MediaUrl, Placement};
use super::scene::{Time, chunks};
use super::wait::{EVENT, within};
use bytes::Bytes;
use parking_lot::Mutex;
use rml_rtmp::chunk_io::ChunkDeserializer;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::messages::RtmpMessage;
use rml_rtmp::rml_amf0::Amf0Value;
use rml_rtmp::sessions::{ClientSession, ClientSessionConfig, ClientSessionResult, PublishRequestType};
use rml_rtmp::time::RtmpTimestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// An `onStatus` of the gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    pub level: String,
    pub code: String,
    pub description: String,
}

impl Status {
    /// Fails unless it is an error with this code, whose description begins with the reason word.
    #[track_caller]
    pub fn assert_refuses(&self, code: &str, reason: &str) {
        let word =
            self.description.split(|letter: char| !letter.is_ascii_lowercase() && letter != '_').next();
        let seen = (self.level.as_str(), self.code.as_str(), word);
        assert_eq!(seen, ("error", code, Some(reason)), "{}", self.description);
    }
}

pub const PUBLISH_REFUSED: &str = "NetStream.Publish.BadName";
pub const PLAY_REFUSED: &str = "NetStream.Play.Failed";

/// What a peer sees.
#[derive(Debug, Clone)]
pub enum Seen {
    Connected,
    Status(Status),
    Media(Tag),
    Closed,
}

/// What a peer speaks over: TCP, or TLS over it.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

pub struct Peer {
    stream: Box<dyn Duplex>,
    session: ClientSession,
    observer: ChunkDeserializer,
    pending: VecDeque<Seen>,
    /// When the newest byte arrived.
    pub last_byte: Instant,
    /// How the connection broke, where it did not end in order.
    pub broke: Option<std::io::ErrorKind>,
    chunk: Vec<u8>,
}

impl Peer {
    /// Handshake and `connect`.
    pub async fn connect(to: &Placement) -> Self {
        within(EVENT, "RTMP connect", Self::try_connect(to)).await.expect("RTMP connect")
    }

    async fn try_connect(to: &Placement) -> std::io::Result<Self> {
        let stream = TcpStream::connect(to.address).await?;
        stream.set_nodelay(true)?;
        Self::try_connect_over(Box::new(stream), to).await
    }

    /// As `connect`, over a stream that is there already.
    pub async fn connect_over(stream: impl Duplex + 'static, to: &Placement) -> Self {
        let connected = Self::try_connect_over(Box::new(stream), to);
        within(EVENT, "RTMP connect", connected).await.expect("RTMP connect")
    }

    async fn try_connect_over(mut stream: Box<dyn Duplex>, to: &Placement) -> std::io::Result<Self> {
        let remaining = handshake(&mut stream).await?;
        let mut config = ClientSessionConfig::new();
        config.tc_url = Some(to.tc_url.clone());
        let (mut session, results) = ClientSession::new(config).expect("a client session");
        assert!(results.is_empty(), "the peer says nothing before connect");
        let request = session.request_connection(to.app.clone()).expect("connect");
        let mut peer = Self {
            stream,
            session,
            observer: ChunkDeserializer::new(),
            pending: VecDeque::new(),
            last_byte: Instant::now(),
            broke: None,
            chunk: vec![0; 64 * 1024],
        };
        peer.send_result(request).await;
        peer.digest(&remaining).await;
        match peer.next().await {
            Seen::Connected => Ok(peer),
            other => Err(std::io::Error::other(format!("connect was answered by {other:?}"))),
        }
    }

    /// Publishes at this URL, or the status that refused it.
    pub async fn publish(url: &MediaUrl) -> Result<Self, Status> {
        Self::publish_placed(&url.in_name()).await
    }

    pub async fn publish_placed(to: &Placement) -> Result<Self, Status> {
        Self::connect(to).await.publishing(to).await
    }

    /// As `publish`, over a stream that is there already.
    pub async fn publish_over(stream: impl Duplex + 'static, url: &MediaUrl) -> Result<Self, Status> {
        let to = url.in_name();
        Self::connect_over(stream, &to).await.publishing(&to).await
    }

    async fn publishing(self, to: &Placement) -> Result<Self, Status> {
        let mut peer = self;
        let request = peer.session.request_publishing(to.name.clone(), PublishRequestType::Live);
        peer.send_result(request.expect("publish")).await;
        peer.accepted("NetStream.Publish.Start").await
    }

    /// Plays this URL, or the status that refused it.
    pub async fn play(url: &MediaUrl) -> Result<Self, Status> {
        Self::play_placed(&url.in_name()).await
    }

    pub async fn play_placed(to: &Placement) -> Result<Self, Status> {
        Self::ask_to_play(to).await.accepted("NetStream.Play.Start").await
    }

    /// As `play`, over a stream that is there already.
    pub async fn play_over(stream: impl Duplex + 'static, url: &MediaUrl) -> Result<Self, Status> {
        let to = url.in_name();
        Self::connect_over(stream, &to).await.asking_to_play(&to).await.accepted("NetStream.Play.Start").await
    }

    /// Asks to play and does not wait for the answer: a play may wait for its publisher.
    pub async fn ask_to_play(to: &Placement) -> Self {
        Self::connect(to).await.asking_to_play(to).await
    }

    async fn asking_to_play(self, to: &Placement) -> Self {
        let mut peer = self;
        let request = peer.session.request_playback(to.name.clone()).expect("play");
        peer.send_result(request).await;
        peer
    }

    async fn accepted(mut self, code: &str) -> Result<Self, Status> {
        within(EVENT, code, async {
            loop {
                match self.next().await {
                    Seen::Status(status) if status.code == code => return Ok(self),
                    Seen::Status(status) if status.level == "error" => {
                        self.expect_close().await;
                        return Err(status);
                    }
                    Seen::Closed => panic!("closed without a status, awaiting {code}"),
                    Seen::Connected | Seen::Status(_) | Seen::Media(_) => {}
                }
            }
        })
        .await
    }

    async fn expect_close(&mut self) {
        within(EVENT, "a refused session is closed", async {
            while !matches!(self.next().await, Seen::Closed) {}
        })
        .await;
    }

    /// The next thing seen. May be cancelled while nothing arrives.
    pub async fn next(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.pending.pop_front() {
                return seen;
            }
            match self.stream.read(&mut self.chunk).await {
                Ok(0) => return Seen::Closed,
                Err(error) => {
                    self.broke = Some(error.kind());
                    return Seen::Closed;
                }
                Ok(read) => {
                    self.last_byte = Instant::now();
                    let bytes = self.chunk[..read].to_vec();
                    self.digest(&bytes).await;
                }
            }
        }
    }

    /// Sends one tag of a clip at this time.
    pub async fn send(&mut self, tag: &Tag, timestamp_ms: u32) -> std::io::Result<()> {
        let (data, timestamp) = (Bytes::copy_from_slice(&tag.payload), RtmpTimestamp::new(timestamp_ms));
        let result = match tag.kind {
            Kind::Video => self.session.publish_video_data(data, timestamp, false),
            Kind::Audio => self.session.publish_audio_data(data, timestamp, false),
            Kind::Script => {
                let bytes = chunks(tag.kind, Time::Absolute(timestamp_ms), true, &tag.payload);
                return self.send_raw(&bytes).await;
            }
        };
        match result.expect("a publishing session") {
            ClientSessionResult::OutboundResponse(packet) => self.stream.write_all(&packet.bytes).await,
            _ => Ok(()),
        }
    }

    /// Sends chunks that were made by hand.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Leaves politely: `deleteStream`, then the end of the socket.
    pub async fn leave(mut self) {
        let results = self.session.stop_publishing().expect("deleteStream");
        for result in results {
            self.send_result(result).await;
        }
        let _ = self.stream.shutdown().await;
    }

    /// Goes on by itself as a publisher of these tags, at their own pace, again and again.
    pub fn feed(self, tags: Vec<Tag>) -> Feed {
        self.feed_from(tags, 0)
    }

    /// As `feed`, with the first tag at `start_ms`.
    pub fn feed_from(self, tags: Vec<Tag>, start_ms: u32) -> Feed {
        let (tell, ended) = watch::channel(None);
        let task = tokio::spawn(async move {
            let end = feed_until_closed(self, &tags, start_ms).await;
            tell.send_replace(Some(end));
        });
        Feed { task, ended }
    }

    /// Goes on by itself as a viewer that notes what it receives.
    pub fn watch(mut self) -> Watch {
        let notes = Arc::new(Mutex::new(Notes::default()));
        let (tell, changed) = watch::channel(0_u64);
        let written = Arc::clone(&notes);
        let task = tokio::spawn(async move {
            loop {
                let seen = self.next().await;
                let closed = matches!(seen, Seen::Closed);
                {
                    let mut notes = written.lock();
                    notes.last_byte = Some(self.last_byte);
                    match seen {
                        Seen::Media(tag) => notes.tags.push(tag),
                        Seen::Status(status) => notes.statuses.push(status),
                        Seen::Closed => notes.closed = Some(Instant::now()),
                        Seen::Connected => {}
                    }
                }
                tell.send_modify(|version| *version += 1);
                if closed {
                    return;
                }
            }
        });
        Watch { task, notes, changed }
    }

    async fn send_result(&mut self, result: ClientSessionResult) {
        if let ClientSessionResult::OutboundResponse(packet) = result {
            // A gateway that has closed shows itself at the next read.
            let _ = self.stream.write_all(&packet.bytes).await;
        }
    }

    async fn digest(&mut self, bytes: &[u8]) {
        let results = self
            .session
            .handle_input(bytes)
            .unwrap_or_else(|error| panic!("an independent client cannot read the gateway: {error}"));
        for result in results {
            self.send_result(result).await;
        }
        let mut rest = bytes;
        while let Some(payload) = self.observer.get_next_message(rest).expect("chunks were read once already")
        {
            rest = &[];
            let timestamp_ms = payload.timestamp.value;
            if payload.type_id == 18 {
                let tag = Tag { kind: Kind::Script, timestamp_ms, payload: payload.data.to_vec() };
                self.pending.push_back(Seen::Media(tag));
            }
            match payload.to_rtmp_message().expect("messages were read once already") {
                RtmpMessage::SetChunkSize { size } => {
                    self.observer.set_max_chunk_size(size as usize).expect("a chunk size");
                }
                RtmpMessage::Amf0Command { command_name, additional_arguments, .. } => {
                    if let Some(seen) = read_command(&command_name, additional_arguments) {
                        self.pending.push_back(seen);
                    }
                }
                RtmpMessage::VideoData { data } => {
                    let tag = Tag { kind: Kind::Video, timestamp_ms, payload: data.to_vec() };
                    self.pending.push_back(Seen::Media(tag));
                }
                RtmpMessage::AudioData { data } => {
                    let tag = Tag { kind: Kind::Audio, timestamp_ms, payload: data.to_vec() };
                    self.pending.push_back(Seen::Media(tag));
                }
                _ => {}
            }
        }
    }
}

async fn handshake(stream: &mut Box<dyn Duplex>) -> std::io::Result<Vec<u8>> {
    let mut handshake = Handshake::new(PeerType::Client);
    let hello = handshake.generate_outbound_p0_and_p1().expect("a handshake");
    stream.write_all(&hello).await?;
    let mut chunk = [0_u8; 4096];
    loop {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Err(std::io::Error::other("closed in the handshake"));
        }
        match handshake.process_bytes(&chunk[..read]).expect("a handshake answer") {
            HandshakeProcessResult::InProgress { response_bytes } => {
                stream.write_all(&response_bytes).await?;
            }
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                stream.write_all(&response_bytes).await?;
                return Ok(remaining_bytes);
            }
        }
    }
}

fn read_command(name: &str, arguments: Vec<Amf0Value>) -> Option<Seen> {
    let mut properties = arguments.into_iter().find_map(|value| match value {
        Amf0Value::Object(properties) => Some(properties),
        _ => None,
    });
    let mut text = |field: &str| match properties.as_mut()?.remove(field)? {
        Amf0Value::Utf8String(text) => Some(text),
        _ => None,
    };
    let status = Status {
        level: text("level").unwrap_or_default(),
        code: text("code").unwrap_or_default(),
        description: text("description").unwrap_or_default(),
    };
    match name {
        "onStatus" => Some(Seen::Status(status)),
        "_result" if status.code == "NetConnection.Connect.Success" => Some(Seen::Connected),
        "_error" => Some(Seen::Status(status)),
        _ => None,
    }
}

/// Writes tags at their pace while reading what the gateway says; gives what it said until the socket closed.
async fn feed_until_closed(mut peer: Peer, tags: &[Tag], start_ms: u32) -> FeedEnd {
    let length_ms = tags.iter().map(|tag| tag.timestamp_ms).max().unwrap_or(0) + 66;
    let began = tokio::time::Instant::now();
    let mut statuses = Vec::new();
    for round in 0_u32.. {
        for tag in tags.iter().filter(|tag| round == 0 || !tag.is_sequence_header()) {
            let at_ms = round * length_ms + tag.timestamp_ms;
            let due = tokio::time::sleep_until(began + Duration::from_millis(u64::from(at_ms)));
            tokio::pin!(due);
            loop {
                tokio::select! {
                    biased;
                    seen = peer.next() => match seen {
                        Seen::Closed => return FeedEnd { statuses, closed: Instant::now() },
                        Seen::Status(status) => statuses.push(status),
                        Seen::Connected | Seen::Media(_) => {}
                    },
                    () = &mut due => break,
                }
            }
            if peer.send(tag, start_ms.wrapping_add(at_ms)).await.is_err() {
                return FeedEnd { statuses, closed: Instant::now() };
            }
        }
    }
    unreachable!("the clip is sent for as long as the socket holds")
}

/// How a publisher's session ended.
#[derive(Debug, Clone)]
pub struct FeedEnd {
    pub statuses: Vec<Status>,
    pub closed: Instant,
}

/// A publisher that goes on by itself. Dropping it cuts the socket without a word.
pub struct Feed {
    task: JoinHandle<()>,
    ended: watch::Receiver<Option<FeedEnd>>,
}

impl Feed {
    pub fn is_open(&self) -> bool {
        self.ended.borrow().is_none()
    }

    /// Waits until the gateway closes the session.
    pub async fn closed(&self) -> FeedEnd {
        let mut ended = self.ended.clone();
        let state = within(EVENT, "the publisher's socket closes", ended.wait_for(Option::is_some)).await;
        state.expect("the feed runs").clone().expect("it ended")
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Clone, Default)]
pub struct Notes {
    pub tags: Vec<Tag>,
    pub statuses: Vec<Status>,
    pub last_byte: Option<Instant>,
    pub closed: Option<Instant>,
}

impl Notes {
    pub fn pictures(&self) -> usize {
        self.tags.iter().filter(|tag| tag.is_picture()).count()
    }
}

/// A viewer that goes on by itself. Dropping it cuts the socket.
pub struct Watch {
    task: JoinHandle<()>,
    notes: Arc<Mutex<Notes>>,
    changed: watch::Receiver<u64>,
}

impl Watch {
    pub fn notes(&self) -> Notes {
        self.notes.lock().clone()
    }

    pub fn is_open(&self) -> bool {
        self.notes.lock().closed.is_none()
    }

    /// Waits until the notes satisfy `enough`. A session that closes before that fails the test.
    pub async fn until(&self, what: &str, mut enough: impl FnMut(&Notes) -> bool) -> Notes {
        let mut changed = self.changed.clone();
        within(EVENT, &format!("a viewer sees {what}"), async {
            loop {
                changed.borrow_and_update();
                {
                    let notes = self.notes.lock();
                    if enough(&notes) {
                        return notes.clone();
                    }
                    assert!(notes.closed.is_none(), "closed before {what}: {:?}", notes.statuses);
                }
                assert!(changed.changed().await.is_ok(), "the viewer's task ended before {what}");
            }
        })
        .await
    }

    /// Waits for so many more pictures than there are now.
    pub async fn more_pictures(&self, count: usize) -> Notes {
        let before = self.notes.lock().pictures();
        self.until(&format!("{count} more pictures"), |notes| notes.pictures() >= before + count).await
    }

    /// Waits until so much of the other kind came in a row that some of `gone` would be among it if it still came.
    pub async fn without(&self, gone: Kind) -> Notes {
        self.until(&format!("no {gone:?} any more"), |notes| {
            notes.tags.iter().rev().take_while(|tag| tag.kind != gone).count() >= 30
        })
        .await
    }

    /// Waits until the gateway closes the session.
    pub async fn closed(&self) -> Notes {
        self.until("the end", |notes| notes.closed.is_some()).await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The tags with a filler NAL unit behind each picture that ends in `mark`: decoders skip it, tests find it.
pub fn marked(mut tags: Vec<Tag>, mark: u8) -> Vec<Tag> {
    for tag in tags.iter_mut().filter(|tag| tag.is_picture()) {
        tag.payload.extend([0, 0, 0, 2, 0x0C, mark]);
    }
    tags
}

/// The mark of a picture, if it carries one.
pub fn mark_of(tag: &Tag) -> Option<u8> {
    match tag.payload.as_slice() {
        [.., 0, 0, 0, 2, 0x0C, mark] if tag.is_picture() => Some(*mark),
        _ => None,
    }
}
