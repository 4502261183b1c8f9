//! One stream with who publishes and who watches, and publishers that follow a script: each message says its time as the script wants.

use super::api::{Conference, Member, PlayAnswer, PublishAnswer};
use super::ffmpeg::Viewer;
use super::flv::{self, Kind, Tag};
use super::gateway::{Gateway, Setup};
use super::media_url::MediaUrl;
use super::peer::{Feed, Peer, Watch};
use super::wait::{EVENT, until};

/// The chunk size of a [`Peer`] once it is connected.
const CHUNK_BYTES: usize = 4096;
/// A time from which on it stands in the extended field.
const EXTENDED: u32 = 0x00FF_FFFF;

/// How a message says its time.
#[derive(Debug, Clone, Copy)]
pub enum Time {
    /// Type 0: as it is.
    Absolute(u32),
    /// Type 1: as the difference to the message before of the same kind.
    Delta(u32),
}

/// A whole message in chunks, on a chunk stream of its kind. `repeats`: the extended time stands in each type 3 chunk
/// again, as most encoders do it and librtmp does not.
pub fn chunks(kind: Kind, time: Time, repeats: bool, payload: &[u8]) -> Vec<u8> {
    let (csid, type_id) = match kind {
        Kind::Audio => (20_u8, 8),
        Kind::Video => (21, 9),
        Kind::Script => (22, 18),
    };
    let (format, value) = match time {
        Time::Absolute(value) => (0, value),
        Time::Delta(value) => (0x40, value),
    };
    let mut bytes = vec![format | csid];
    bytes.extend(&value.min(EXTENDED).to_be_bytes()[1..]);
    bytes.extend(&u32::try_from(payload.len()).expect("a length").to_be_bytes()[1..]);
    bytes.push(type_id);
    if format == 0 {
        bytes.extend(1_u32.to_le_bytes());
    }
    let extended = if value >= EXTENDED { value.to_be_bytes().to_vec() } else { Vec::new() };
    bytes.extend(&extended);
    for (number, part) in payload.chunks(CHUNK_BYTES).enumerate() {
        if number > 0 {
            bytes.push(0xC0 | csid);
            if repeats {
                bytes.extend(&extended);
            }
        }
        bytes.extend(part);
    }
    bytes
}

/// A conference whose only member has declared a stream.
pub struct Solo {
    pub gateway: Gateway,
    pub conference: Conference,
    pub anna: Member,
    pub published: PublishAnswer,
}

impl Solo {
    pub async fn with(setup: Setup) -> Self {
        let gateway = setup.start().await;
        let conference = gateway.app().await.conference().await;
        let anna = conference.member("anna", 3).await;
        let published = anna.publish("RTC1").await.expect("pubStream");
        Self { gateway, conference, anna, published }
    }

    /// Who is connected to the conference, as the app is told.
    pub async fn sessions(&self) -> Vec<serde_json::Value> {
        let app = &self.conference.app;
        let path = format!("/v1/sessions?confrId={}", self.conference.id);
        let page = app.api.get(&path, &app.key).await.expect("a page");
        page["sessions"].as_array().expect("sessions").clone()
    }
}

/// A member that publishes, and somebody who watches by its right and has seen pictures.
pub struct Live {
    pub member: Member,
    pub published: PublishAnswer,
    /// With which the viewer came.
    pub url: MediaUrl,
    pub feed: Feed,
    pub viewer: Watch,
}

impl Live {
    pub async fn of(conference: &Conference, name: &str) -> Self {
        let member = conference.member(name, 3).await;
        let published = member.publish("RTC1").await.expect("pubStream");
        let url = member.subscribe(&published.stream_id).await.expect("subStream").url;
        let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
        let viewer = Peer::play(&url).await.expect("play").watch();
        viewer.more_pictures(3).await;
        Self { member, published, url, feed, viewer }
    }
}

/// A conference with a stream that is declared, and somebody to watch it.
pub struct Scene {
    pub gateway: Gateway,
    pub conference: Conference,
    pub anna: Member,
    pub boris: Member,
    pub published: PublishAnswer,
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(Setup::new()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let Solo { gateway, conference, anna, published } = Solo::with(setup).await;
        let boris = conference.member("boris", 1).await;
        Self { gateway, conference, anna, boris, published }
    }

    pub async fn publisher(&self) -> Peer {
        Peer::publish(&self.published.url).await.expect("publish")
    }

    /// URLs for boris.
    pub async fn urls(&self, profile: &str) -> PlayAnswer {
        let request = serde_json::json!({ "profile": profile });
        self.boris.subscribe_as(&self.published.stream_id, request).await.expect("subStream")
    }

    /// Somebody who watches over RTMP.
    pub async fn watch(&self, profile: &str) -> Watch {
        Peer::play(&self.urls(profile).await.url).await.expect("play").watch()
    }

    /// Somebody who watches over HTTP.
    pub async fn watch_flv(&self, profile: &str) -> Viewer {
        Viewer::curl(&[], &self.urls(profile).await.flv)
    }

    /// Waits until so many watch.
    pub async fn attached(&self, viewers: u64) {
        until(EVENT, &format!("{viewers} viewers are there"), async || {
            (self.stats().await["viewers"] == viewers).then_some(())
        })
        .await;
    }

    /// What the stream tells of itself.
    pub async fn stats(&self) -> serde_json::Value {
        let path = self.anna.path(&format!("/streams/{}/stats", self.published.stream_id));
        self.anna.api.get(&path, &self.anna.token).await.expect("the figures")
    }

    /// The stream as the conference shows it.
    pub async fn stream(&self) -> serde_json::Value {
        self.conference.get().await.expect("the conference")["streams"][0].clone()
    }
}

/// Fails unless the pictures and sounds each have times that do not go back nor leap.
#[track_caller]
pub fn assert_flows(tags: &[Tag], step_max_ms: u32) {
    for kind in [Kind::Audio, Kind::Video] {
        let times: Vec<u32> = tags
            .iter()
            .filter(|tag| tag.kind == kind && !tag.is_sequence_header())
            .map(|tag| tag.timestamp_ms)
            .collect();
        for pair in times.windows(2) {
            let step = pair[1].wrapping_sub(pair[0]);
            assert!(step <= step_max_ms, "{kind:?} goes from {} to {}", pair[0], pair[1]);
        }
    }
}
