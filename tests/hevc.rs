//! HEVC and the other codecs of Enhanced RTMP: whoever publishes in whichever form, each player gets the form that it reads.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use futures_util::StreamExt as _;
use rml_rtmp::chunk_io::ChunkDeserializer;
use support::flv::{self, Kind, Tag};
use support::peer::Notes;
use support::process::run;
use support::raw::{self, amf};
use support::{EVENT, MediaUrl, Peer, Scene, Viewer, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// What a player decodes of a tag, whatever its form. Written here once more, so that the gateway's own is held to it.
#[derive(Debug, Clone, PartialEq)]
enum Content {
    Header(Vec<u8>),
    Picture { decoded_ms: u32, composition_ms: i32, is_key: bool, units: Vec<u8> },
}

fn composition(bytes: &[u8]) -> i32 {
    i32::from_be_bytes([bytes[0], bytes[1], bytes[2], 0]) >> 8
}

/// The contents of the video tags, each of which must stand in this form.
fn contents(tags: &[Tag], is_enhanced: bool) -> Vec<Content> {
    let videos = tags.iter().filter(|tag| tag.kind == Kind::Video);
    videos
        .map(|tag| {
            let body = &tag.payload;
            assert_eq!(body[0] & 0x80 != 0, is_enhanced, "the form of {:?}", &body[..8]);
            let is_key = body[0] >> 4 & 7 == 1;
            let (composition_ms, units) = if is_enhanced {
                assert_eq!(&body[1..5], b"hvc1");
                match body[0] & 0x0F {
                    0 => return Content::Header(body[5..].to_vec()),
                    1 => (composition(&body[5..]), &body[8..]),
                    3 => (0, &body[5..]),
                    other => panic!("packet type {other}"),
                }
            } else {
                assert_eq!(body[0] & 0x0F, 12);
                match body[1] {
                    0 => return Content::Header(body[5..].to_vec()),
                    1 => (composition(&body[2..]), &body[5..]),
                    other => panic!("packet type {other}"),
                }
            };
            Content::Picture { decoded_ms: tag.timestamp_ms, composition_ms, is_key, units: units.to_vec() }
        })
        .collect()
}

/// The clip as an encoder of Enhanced RTMP sends it.
fn enhanced_clip() -> Vec<Tag> {
    let enhanced = |tag: Tag| {
        let Tag { kind, timestamp_ms, payload } = tag;
        let head = 0x80 | payload[0] & 0x70;
        let body = match (payload[1], composition(&payload[2..])) {
            (0, _) => [&[head], &b"hvc1"[..], &payload[5..]].concat(),
            (_, 0) => [&[head | 3], &b"hvc1"[..], &payload[5..]].concat(),
            _ => [&[head | 1], &b"hvc1"[..], &payload[2..]].concat(),
        };
        Tag { kind, timestamp_ms, payload: body }
    };
    flv::hevc_clip().into_iter().map(enhanced).collect()
}

/// The pictures that ffmpeg decodes of these, in the order in which they are shown.
async fn decode(contents: &[Content]) -> Vec<String> {
    let mut stream = Vec::new();
    let mut unit = |unit: &[u8]| stream.extend([&[0, 0, 0, 1], unit].concat());
    for content in contents {
        match content {
            Content::Header(record) => {
                let mut rest = &record[23..];
                for _ in 0..record[22] {
                    let count = u16::from_be_bytes([rest[1], rest[2]]);
                    rest = &rest[3..];
                    for _ in 0..count {
                        let (length, after) = rest.split_first_chunk::<2>().expect("a length");
                        let (parameters, after) = after.split_at(u16::from_be_bytes(*length).into());
                        unit(parameters);
                        rest = after;
                    }
                }
            }
            Content::Picture { units, .. } => {
                let mut rest = &units[..];
                while let Some((length, after)) = rest.split_first_chunk::<4>() {
                    let (slice, after) = after.split_at(u32::from_be_bytes(*length) as usize);
                    unit(slice);
                    rest = after;
                }
            }
        }
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &stream).expect("written");
    let mut command = Command::new("ffmpeg");
    command.args("-hide_banner -nostdin -loglevel error -f hevc -i".split(' ')).arg(file.path());
    command.args("-fps_mode passthrough -f framemd5 -".split(' '));
    let ended = run("ffmpeg (decode)", command, EVENT).await;
    assert!(ended.status.success() && ended.stderr.is_empty(), "not decodable: {ended:?}");
    let lines = ended.stdout.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(',').nth(5).expect("a fingerprint").trim().to_owned()).collect()
}

fn asking(url: &MediaUrl, form: &str) -> MediaUrl {
    MediaUrl { token: format!("{}&hevc={form}", url.token), ..url.clone() }
}

/// A player that says in its connect what it reads, and collects so many pictures.
async fn player_that_lists(url: &MediaUrl, four_ccs: &[&str], pictures: usize) -> Vec<Tag> {
    let to = url.in_name();
    let mut list = vec![10];
    list.extend(u32::try_from(four_ccs.len()).expect("a few").to_be_bytes());
    four_ccs.iter().for_each(|four_cc| list.extend(amf::string(four_cc)));
    let mut object = amf::object(&[("app", &to.app), ("tcUrl", &to.tc_url)]);
    object.truncate(object.len() - 3);
    object.extend([&[0, 10], &b"fourCcList"[..], &list, &[0, 0, 9]].concat());
    let mut stream = TcpStream::connect(to.address).await.expect("a socket");
    raw::handshake(&mut stream).await.expect("a handshake");
    let connect = raw::command(0, &[amf::string("connect"), amf::number(1.0), object]);
    let asked = [connect, raw::create_stream(2.0), raw::play(1, &to.name)].concat();
    stream.write_all(&asked).await.expect("sent");
    within(EVENT, "pictures for a player that lists its codecs", async {
        let (mut reader, mut seen, mut buffer) = (ChunkDeserializer::new(), Vec::new(), vec![0; 64 * 1024]);
        let mut answer = Vec::new();
        loop {
            let read = stream.read(&mut buffer).await.expect("bytes");
            assert!(read > 0, "the gateway closed");
            let mut rest = &buffer[..read];
            while let Some(message) = reader.get_next_message(rest).expect("chunks") {
                rest = &[];
                match message.type_id {
                    1 => {
                        let size = u32::from_be_bytes(message.data[..4].try_into().expect("four bytes"));
                        reader.set_max_chunk_size(size as usize).expect("a size");
                    }
                    20 if answer.is_empty() => answer = message.data.to_vec(),
                    9 => seen.push(Tag {
                        kind: Kind::Video,
                        timestamp_ms: message.timestamp.value,
                        payload: message.data.to_vec(),
                    }),
                    _ => {}
                }
            }
            if seen.iter().filter(|tag| tag.is_picture()).count() >= pictures {
                let told = |name: &[u8]| answer.windows(name.len()).any(|window| window == name);
                assert!(
                    told(b"fourCcList") && told(b"capsEx") && told(b"hvc1"),
                    "connect was answered in kind"
                );
                return seen;
            }
        }
    })
    .await
}

async fn over_websocket(url: &str, pictures: usize) -> Vec<Tag> {
    let (mut socket, _) = connect_async(url).await.expect("the upgrade");
    let mut bytes = Vec::new();
    within(EVENT, "pictures in WebSocket messages", async {
        loop {
            if let Message::Binary(piece) = socket.next().await.expect("open").expect("a message") {
                bytes.extend_from_slice(&piece);
            }
            let (tags, _) = flv::tags(&bytes);
            if tags.iter().filter(|tag| tag.is_picture()).count() >= pictures {
                return tags;
            }
        }
    })
    .await
}

#[tokio::test]
async fn each_player_gets_hevc_in_the_form_that_it_reads_and_decodes_every_picture() {
    const PICTURES: usize = 30;
    let clip = contents(&flv::hevc_clip(), false);
    let decoded = decode(&clip).await;
    assert_eq!(decoded.len(), PICTURES);
    assert!(clip.iter().any(|content| matches!(content, Content::Picture { composition_ms: 1.., .. })));
    for published in [flv::hevc_clip(), enhanced_clip()] {
        let scene = Scene::new().await;
        let mut publisher = scene.publisher().await;
        for tag in &published {
            publisher.send(tag, tag.timestamp_ms).await.expect("sent");
        }
        let all = |notes: &Notes| notes.pictures() >= PICTURES - 15;
        let urls = scene.urls("live").await;
        // Whoever comes in the middle begins at the second keyframe.
        let url = || async { scene.urls("live").await.url };
        let plain = Peer::play(&url().await).await.expect("play").watch();
        let asks = Peer::play(&asking(&url().await, "enhanced")).await.expect("play").watch();
        let seen = [
            (plain.until("the last GOP", all).await.tags, false),
            (asks.until("the last GOP", all).await.tags, true),
            (player_that_lists(&url().await, &["av01", "hvc1"], 15).await, true),
            (player_that_lists(&url().await, &["*"], 15).await, true),
            (player_that_lists(&url().await, &["av01", "vp09"], 15).await, false),
            (player_that_lists(&asking(&url().await, "legacy"), &["hvc1"], 15).await, false),
            (over_http(&urls.flv, "").await, false),
            (over_http(&urls.flv, "&hevc=legacy").await, false),
            (over_http(&urls.flv, "&hevc=enhanced").await, true),
            (over_websocket(&format!("{}&hevc=enhanced", urls.ws_flv), 15).await, true),
        ];
        let last_gop: Vec<_> = clip[..1].iter().chain(&clip[16..]).cloned().collect();
        for (tags, is_enhanced) in seen {
            let seen = contents(&tags, is_enhanced);
            assert_eq!(seen, last_gop);
            assert_eq!(decode(&seen).await, decoded[15..]);
        }
        let (stream, stats) = (scene.stream().await, scene.stats().await);
        assert_eq!(stream["video"], serde_json::json!({"codec": "h265", "width": 192, "height": 336}));
        assert!(stats["bFrames"].as_u64().expect("a number") >= 8, "{stats}");
        let refused = reqwest::get(format!("{}&hevc=other", urls.flv)).await.expect("an answer");
        assert_eq!(refused.status(), 400);
        let counted = scene.gateway.metric("tidegate_b_frames_total").await;
        assert_eq!(counted, stats["bFrames"].as_f64());
        scene.gateway.stop().await;
    }
}

async fn over_http(url: &str, parameter: &str) -> Vec<Tag> {
    let viewer = Viewer::curl(&[], &format!("{url}{parameter}"));
    viewer.received("the last GOP", |tags| tags.iter().filter(|tag| tag.is_picture()).count() >= 15).await
}

#[tokio::test]
async fn what_is_no_hevc_passes_unread_and_joiners_begin_at_its_keyframes() {
    let scene = Scene::new().await;
    let mut publisher = scene.publisher().await;
    let tag = |kind, payload: &[u8]| Tag { kind, timestamp_ms: 0, payload: payload.to_vec() };
    let opus = b"\x90OpusOpusHead\x01\x02\x38\x01\x80\xBB\0\0\0\0\0";
    for (four_cc, codec) in [(b"av01", "av1"), (b"vp09", "vp9"), (b"vvc1", "vvc1")] {
        let body = |head: u8, rest: &[u8]| tag(Kind::Video, &[&[head], &four_cc[..], rest].concat());
        let sent = [
            body(0x90, b"configuration"),
            tag(Kind::Audio, opus),
            body(0x93, b"first keyframe"),
            tag(Kind::Audio, b"\x91Opussound"),
            body(0xA1, b"picture"),
            body(0x91, b"second keyframe"),
            body(0x94, b"colour"),
            tag(Kind::Audio, b"\x91Opussound"),
            body(0xA3, b"picture"),
            body(0x96, b"\x01track"),
        ];
        for (number, tag) in (0..).zip(&sent) {
            publisher.send(tag, number * 10).await.expect("sent");
        }
        let expected: Vec<&[u8]> =
            [0, 1, 5, 6, 7, 8, 9].map(|number: usize| &sent[number].payload[..]).to_vec();
        let is_all = |tags: &[Tag]| tags.last().is_some_and(|tag| tag.payload == sent[9].payload);
        let joiner = scene.watch("live").await.until("the last", |notes| is_all(&notes.tags)).await.tags;
        let http = scene.watch_flv("live").await.received("the last", is_all).await;
        for seen in [joiner, http] {
            let media = seen.iter().filter(|tag| tag.kind != Kind::Script);
            assert_eq!(media.map(|tag| &tag.payload[..]).collect::<Vec<_>>(), expected);
        }
        let shown = support::wait::until(EVENT, "the codecs are told", async || {
            let stream = scene.stream().await;
            (stream["video"]["codec"] == codec).then_some(stream)
        })
        .await;
        let audio = serde_json::json!({"codec": "opus", "sampleRate": 48_000, "channels": 2});
        assert_eq!(shown["audio"], audio);
    }
    scene.gateway.stop().await;
}
