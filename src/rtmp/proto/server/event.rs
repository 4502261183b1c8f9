use bytes::Bytes;

use crate::rtmp::proto::amf0::{Value, string_prefix, within_depth};
use crate::rtmp::proto::message::{Command, Message};
use crate::rtmp::proto::{MediaKind, MessageStreamId, UrlText};

/// What [`ServerSession::poll_output`](super::ServerSession::poll_output) hands out.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Write these bytes to the peer.
    Send(Bytes),
    /// The peer did something that the application has to know.
    Event(SessionEvent),
}

/// What a peer did.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEvent {
    /// `connect` came and was answered. Nothing is decided by it: rights are checked at publish and play.
    Connected(Box<ConnectRequest>),
    /// Wants `accept_publish` or `refuse_publish`.
    PublishRequested {
        /// The stream to answer on.
        stream: MessageStreamId,
        /// The stream name as sent, query included.
        name: UrlText,
        /// What the peer wants done with the stream; only `Live` is common.
        mode: PublishMode,
    },
    /// Wants `accept_play` or `refuse_play`.
    PlayRequested {
        /// The stream to answer on.
        stream: MessageStreamId,
        /// The stream name as sent, query included.
        name: UrlText,
        /// The `start` argument in seconds: -2 live or recorded (the default), -1 live, from 0 on recorded.
        start: f64,
    },
    /// A message of an accepted publisher.
    Media(MediaMessage),
    /// The peer ended its publishing, or gave up the request for it.
    PublishEnded {
        /// The stream that it was on.
        stream: MessageStreamId,
    },
    /// The peer ended its playing, or gave up the request for it.
    PlayEnded {
        /// The stream that it was on.
        stream: MessageStreamId,
    },
    /// The player wants nothing for a while, or goes on.
    PlayPaused {
        /// The stream that plays.
        stream: MessageStreamId,
        /// True to stop sending.
        paused: bool,
    },
    /// The player wants audio, or none.
    ReceiveAudio {
        /// The stream that plays.
        stream: MessageStreamId,
        /// Whether audio is to be sent.
        enabled: bool,
    },
    /// The player wants video, or none.
    ReceiveVideo {
        /// The stream that plays.
        stream: MessageStreamId,
        /// Whether video is to be sent.
        enabled: bool,
    },
}

/// The type argument of `publish`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PublishMode {
    /// `live`, nothing, or a word that we do not know.
    #[default]
    Live,
    /// `record`: also keep a file.
    Record,
    /// `append`: add to the file.
    Append,
}

impl PublishMode {
    pub(super) fn parse(text: Option<&str>) -> Self {
        match text {
            Some(text) if text.eq_ignore_ascii_case("record") => Self::Record,
            Some(text) if text.eq_ignore_ascii_case("append") => Self::Append,
            _ => Self::Live,
        }
    }
}

/// One audio, video or data message of a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaMessage {
    /// The stream that it was published on.
    pub stream: MessageStreamId,
    /// What it carries.
    pub kind: MediaKind,
    /// Milliseconds, modulo 2^32, as the publisher counts them.
    pub timestamp: u32,
    /// The body, ready for [`MediaChunks`](crate::rtmp::proto::chunk::MediaChunks). Never empty. Data begins with
    /// its name; `@setDataFrame` is taken off, what follows it is unchanged.
    pub payload: Bytes,
}

impl MediaMessage {
    /// `None` for messages that carry no media, that are empty, or whose data viewers must not get.
    pub(in crate::rtmp::proto) fn from_message(
        stream: MessageStreamId,
        timestamp: u32,
        message: Message,
    ) -> Option<Self> {
        let (kind, payload) = match message {
            Message::Audio(payload) => (MediaKind::Audio, payload),
            Message::Video(payload) => (MediaKind::Video, payload),
            Message::Data(payload) => (MediaKind::Data, data_for_viewers(payload)?),
            _ => return None,
        };
        (!payload.is_empty()).then_some(Self { stream, kind, timestamp, payload })
    }
}

/// Data as viewers get it. `None` for data without a name, for instructions to the server, and for values that nest
/// deeper than a player's reader may survive.
fn data_for_viewers(body: Bytes) -> Option<Bytes> {
    let (name, rest) = string_prefix(&body)?;
    let for_viewers = match name {
        b"@setDataFrame" => body.slice(body.len() - rest.len()..),
        b"@clearDataFrame" => return None,
        _ => body,
    };
    string_prefix(&for_viewers)?;
    within_depth(&for_viewers).then_some(for_viewers)
}

/// `CanDecode` among the bits that Enhanced RTMP gives to a codec.
const CAN_DECODE: u32 = 1;
/// The FourCC that stands for any.
const ANY_FOUR_CC: &str = "*";

/// The command object of `connect`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConnectRequest {
    /// The app, query included.
    pub app: UrlText,
    /// The URL that the peer was given, up to the app or whole.
    pub tc_url: UrlText,
    /// The page that embeds the player.
    pub page_url: UrlText,
    /// The player that was loaded.
    pub swf_url: UrlText,
    /// Name and version of the peer's software.
    pub flash_ver: String,
    /// 0 or 3; we answer 0 to both.
    pub object_encoding: f64,
    /// `audioCodecs`: bits of the codecs that the peer plays.
    pub audio_codecs: f64,
    /// `videoCodecs`: bits of the codecs that the peer plays.
    pub video_codecs: f64,
    /// `fourCcList` of Enhanced RTMP: codecs by FourCC, or `*`.
    pub four_cc_list: Vec<String>,
    /// `videoFourCcInfoMap` of Enhanced RTMP: those of its codecs, or `*`, that the peer says it decodes.
    pub decoded_four_ccs: Vec<String>,
    /// `capsEx` of Enhanced RTMP: reconnect, multitrack and other abilities as bits.
    pub caps_ex: f64,
}

impl ConnectRequest {
    pub(super) fn parse(command: &Command) -> Self {
        let text = |name| command.object.property(name).and_then(Value::as_str).unwrap_or_default();
        let url = |name| UrlText::from(text(name));
        let number = |name| command.object.property(name).and_then(Value::as_number).unwrap_or_default();
        let four_cc_list = match command.object.property("fourCcList") {
            Some(Value::StrictArray(values)) => {
                values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let infos = command.object.property("videoFourCcInfoMap").map(Value::properties).unwrap_or_default();
        let decoded = infos.iter().filter(|(_, mask)| mask.as_number().is_some_and(can_decode));
        Self {
            app: url("app"),
            tc_url: url("tcUrl"),
            page_url: url("pageUrl"),
            swf_url: url("swfUrl"),
            flash_ver: text("flashVer").to_owned(),
            object_encoding: number("objectEncoding"),
            audio_codecs: number("audioCodecs"),
            video_codecs: number("videoCodecs"),
            four_cc_list,
            decoded_four_ccs: decoded.map(|(four_cc, _)| four_cc.clone()).collect(),
            caps_ex: number("capsEx"),
        }
    }

    /// Whether the peer says that it reads video of this codec in the form of Enhanced RTMP.
    pub fn reads_enhanced(&self, four_cc: &str) -> bool {
        let mut named = self.four_cc_list.iter().chain(&self.decoded_four_ccs);
        named.any(|named| named == four_cc || named == ANY_FOUR_CC)
    }

    /// Whether the peer knows of Enhanced RTMP.
    pub(super) fn is_enhanced(&self) -> bool {
        !self.four_cc_list.is_empty() || !self.decoded_four_ccs.is_empty() || self.caps_ex != 0.0
    }

    /// The longest of the texts, in bytes.
    pub(super) fn longest_text_bytes(&self) -> usize {
        let urls = [&self.app, &self.tc_url, &self.page_url, &self.swf_url];
        urls.map(|url| url.as_str().len()).into_iter().chain([self.flash_ver.len()]).max().unwrap_or_default()
    }
}

fn can_decode(mask: f64) -> bool {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of floats saturates")]
    let mask = mask as u32;
    mask & CAN_DECODE != 0
}
