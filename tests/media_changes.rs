//! Encoders that change in the middle of a stream, begin late, or say more than we read: viewers follow, and nothing is touched.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::path::Path;

use support::flv::{self, Kind, Tag};
use support::process::run;
use support::{EVENT, Peer, Scene};
use tokio::process::Command;

/// A clip that ffmpeg makes: one second of pictures and sound.
async fn made(arguments: &str) -> Vec<Tag> {
    let file = tempfile::NamedTempFile::with_suffix(".flv").expect("a temporary file");
    let mut command = Command::new("ffmpeg");
    command.args("-y -hide_banner -nostdin -loglevel error".split(' '));
    command.args(arguments.split(' ')).args(["-f", "flv"]).arg(file.path());
    let ended = run("ffmpeg (encode)", command, EVENT).await;
    assert!(ended.status.success(), "{ended:?}");
    let bytes = std::fs::read(file.path()).expect("the clip");
    let (tags, _) = flv::tags(&bytes);
    // The end of the sequence that a file has, and a stream that goes on has not.
    let is_end = |tag: &Tag| tag.kind == Kind::Video && tag.payload[1] == 2;
    tags.into_iter().filter(|tag| tag.kind != Kind::Script && !is_end(tag)).collect()
}

/// The first second of the clip.
fn upright() -> Vec<Tag> {
    flv::clip().into_iter().filter(|tag| tag.kind != Kind::Script && tag.timestamp_ms < 1000).collect()
}

/// As a phone sends that was turned to the side, with another microphone.
async fn turned() -> Vec<Tag> {
    made(
        "-f lavfi -i testsrc2=size=640x360:rate=15 -f lavfi -i sine=frequency=880:sample_rate=44100 -t 1 -c:v libx264 \
         -profile:v baseline -preset ultrafast -g 15 -pix_fmt yuv420p -c:a aac -ac 2 -ar 44100",
    )
    .await
}

/// Sends tags one behind another, each from its own start.
async fn send(publisher: &mut Peer, tags: &[Tag], start_ms: u32) {
    for tag in tags {
        publisher.send(tag, start_ms + tag.timestamp_ms).await.expect("sent");
    }
}

/// What ffmpeg decodes of these: the size of each picture, and rate and channels of each sound.
async fn decoded(tags: &[Tag]) -> (Vec<String>, Vec<String>) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), flv::file(tags)).expect("written");
    (entries(file.path(), "v", "width,height").await, entries(file.path(), "a", "channels").await)
}

async fn entries(file: &Path, kind: &str, names: &str) -> Vec<String> {
    let mut command = Command::new("ffprobe");
    command.args(["-loglevel", "error", "-select_streams", kind, "-show_entries"]);
    command.arg(format!("frame={names}")).args(["-of", "csv=p=0"]).arg(file);
    let ended = run("ffprobe", command, EVENT).await;
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    ended
        .stdout
        .lines()
        .map(|line| line.trim_end_matches(',').to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

fn media(tags: &[Tag]) -> Vec<Tag> {
    tags.iter().filter(|tag| tag.kind != Kind::Script).cloned().collect()
}

fn count(tags: &[Tag]) -> usize {
    tags.iter().filter(|tag| tag.is_picture()).count()
}

#[tokio::test]
async fn pictures_and_sound_decode_behind_a_turn_of_the_phone() {
    let scene = Scene::new().await;
    let turned = turned().await;
    let mut publisher = scene.publisher().await;
    let (rtmp, http) = (scene.watch("live").await, scene.watch_flv("live").await);
    scene.attached(2).await;
    send(&mut publisher, &upright(), 0).await;
    send(&mut publisher, &turned, 1000).await;
    send(&mut publisher, &upright(), 2000).await;
    let seen = rtmp.until("all pictures", |notes| notes.pictures() == 45).await;
    for tags in [seen.tags, http.received("all pictures", |tags| count(tags) == 45).await] {
        let sent = [upright(), turned.clone(), upright()].concat();
        // Headers that say nothing new are sent again as well: what an encoder says, viewers hear.
        let payloads = |tags: &[Tag], kind| -> Vec<Vec<u8>> {
            tags.iter().filter(|tag| tag.kind == kind).map(|tag| tag.payload.clone()).collect()
        };
        assert_eq!(payloads(&media(&tags), Kind::Video), payloads(&sent, Kind::Video));
        let (sizes, channels) = decoded(&media(&tags)).await;
        let expected = [["360,640"; 15], ["640,360"; 15], ["360,640"; 15]].concat();
        assert_eq!(sizes, expected, "every picture decodes, in the size that it has");
        assert!(channels.iter().filter(|channels| *channels == "2").count() > 30, "{channels:?}");
        assert_eq!((channels.first(), channels.last()), (Some(&"1".to_owned()), Some(&"1".to_owned())));
    }
    // Whoever comes now gets the headers of now.
    send(&mut publisher, &turned, 3000).await;
    rtmp.until("the last turn", |notes| notes.pictures() == 60).await;
    let joiner = scene.watch("rtc").await.until("the last turn", |notes| notes.pictures() == 15).await;
    assert_eq!(decoded(&media(&joiner.tags)).await.0, ["640,360"; 15]);
    let shown = support::wait::until(EVENT, "the size is told", async || {
        let stream = scene.stream().await;
        (stream["video"]["width"] == 640).then_some(stream)
    })
    .await;
    assert_eq!(shown["audio"], serde_json::json!({"codec": "aac", "sampleRate": 44_100, "channels": 2}));
    scene.gateway.stop().await;
}

#[tokio::test]
async fn an_encoder_that_goes_over_to_hevc_takes_its_viewers_along() {
    let scene = Scene::new().await;
    let mut publisher = scene.publisher().await;
    let rtmp = scene.watch("live").await;
    let sent = [upright(), flv::hevc_clip()].concat();
    send(&mut publisher, &upright(), 0).await;
    send(&mut publisher, &flv::hevc_clip(), 1000).await;
    let seen = rtmp.until("all pictures", |notes| notes.pictures() == 45).await;
    let videos = |tags: &[Tag]| -> Vec<Vec<u8>> {
        tags.iter().filter(|tag| tag.kind == Kind::Video).map(|tag| tag.payload.clone()).collect()
    };
    assert_eq!(videos(&seen.tags), videos(&sent));
    let joiner = scene.watch("live").await.until("the last GOP", |notes| notes.pictures() == 15).await;
    assert_eq!(videos(&joiner.tags)[0], flv::hevc_clip()[0].payload, "the header of HEVC, and no other");
    support::wait::until(EVENT, "the codec is told", async || {
        (scene.stream().await["video"]["codec"] == "h265").then_some(())
    })
    .await;
    scene.gateway.stop().await;
}

#[tokio::test]
async fn what_begins_ten_seconds_late_joins_the_other_at_its_time() {
    for late in [Kind::Audio, Kind::Video] {
        let scene = Scene::new().await;
        let mut publisher = scene.publisher().await;
        let (rtmp, http) = (scene.watch("live").await, scene.watch_flv("live").await);
        scene.attached(2).await;
        let of = |kind| move |tag: &Tag| tag.kind == kind;
        let other = if late == Kind::Audio { Kind::Video } else { Kind::Audio };
        for second in 0..10 {
            let tags: Vec<_> = upright().into_iter().filter(of(other)).collect();
            let skipped = usize::from(second > 0);
            send(&mut publisher, &tags[skipped..], second * 1000).await;
        }
        send(&mut publisher, &upright().into_iter().filter(of(late)).collect::<Vec<_>>(), 10_000).await;
        send(&mut publisher, &upright().into_iter().filter(of(other)).skip(1).collect::<Vec<_>>(), 10_000)
            .await;
        let first_ms = upright()
            .iter()
            .find(|tag| of(late)(tag) && !tag.is_sequence_header())
            .expect("frames")
            .timestamp_ms;
        let began_ms = 10_000 + first_ms;
        let is_all = |tags: &[Tag]| {
            let sounds = tags.iter().filter(|tag| tag.is_sound()).count();
            if late == Kind::Audio {
                sounds >= 40 && count(tags) == 165
            } else {
                count(tags) == 15 && sounds > 450
            }
        };
        let seen = rtmp.until("all of it", |notes| is_all(&notes.tags)).await;
        for tags in [seen.tags, http.received("all of it", is_all).await] {
            let first = tags.iter().position(of(late)).expect("it came");
            assert!(tags[first].is_sequence_header(), "its header comes first");
            assert_eq!(
                tags[first + 1..].iter().find(|tag| of(late)(tag)).expect("frames").timestamp_ms,
                began_ms
            );
            let (sizes, sounds) = decoded(&media(&tags)).await;
            let pictures = if late == Kind::Audio { 165 } else { 15 };
            assert!(sizes.len() == pictures && !sounds.is_empty(), "{} {}", sizes.len(), sounds.len());
        }
        scene.gateway.stop().await;
    }
}

#[tokio::test]
async fn metadata_and_supplemental_information_arrive_byte_for_byte() {
    let scene = Scene::new().await;
    let mut publisher = scene.publisher().await;
    let (rtmp, http) = (scene.watch("live").await, scene.watch_flv("live").await);
    scene.attached(2).await;
    let name = b"\x02\x00\x0aonMetaData";
    // A number, a key that nobody knows with an array, a string behind it, an object.
    let values = b"\x08\0\0\0\x04\0\x05width\0\x40\x76\x80\0\0\0\0\0\0\x09x-unknown\x0A\0\0\0\x01\x05\
        \0\x07encoder\x02\0\x03abc\0\x05extra\x03\0\x01a\x01\x01\0\0\x09\0\0\x09";
    let metadata = [&name[..], values].concat();
    let addressed = [b"\x02\0\x0d@setDataFrame", &metadata[..]].concat();
    let text = b"\x02\0\x0aonTextData\x08\0\0\0\0\0\0\x09".to_vec();
    // A number in front of the array, as one encoder family sends it.
    let odd = [&name[..], b"\0\x3F\xF0\0\0\0\0\0\0", values].concat();
    let script = |payload: Vec<u8>| Tag { kind: Kind::Script, timestamp_ms: 0, payload };
    let mut pictures = upright();
    for tag in pictures.iter_mut().filter(|tag| tag.is_picture()) {
        // SEI with user data, in front of the picture.
        let sei = b"\0\0\0\x1a\x06\x05\x16\xdc\x45\xe9\xbd\xe6\xd9\x48\xb7\x96\x2c\xd8\x20\xd9\x23\xee\xefSEI!!!\x80";
        tag.payload.splice(5..5, sei.iter().copied());
    }
    publisher.send(&script(addressed), 0).await.expect("sent");
    send(&mut publisher, &pictures, 0).await;
    for payload in [text.clone(), odd.clone(), metadata.clone()] {
        publisher.send(&script(payload), 1000).await.expect("sent");
    }
    let is_all = |tags: &[Tag]| tags.iter().filter(|tag| tag.payload == metadata).count() == 2;
    let seen = rtmp.until("all of it", |notes| is_all(&notes.tags)).await;
    for tags in [seen.tags, http.received("all of it", is_all).await] {
        let own = |tag: &&Tag| tag.kind == Kind::Script && tag.payload.windows(4).all(|word| word != b"|Rtm");
        let scripts: Vec<_> = tags.iter().filter(own).map(|tag| tag.payload.clone()).collect();
        let scripts: Vec<_> =
            scripts.into_iter().filter(|payload| !payload.starts_with(b"\x02\0\x08onStatus")).collect();
        assert_eq!(scripts, [metadata.clone(), text.clone(), odd.clone(), metadata.clone()]);
        let videos = |tags: &[Tag]| -> Vec<Vec<u8>> {
            tags.iter().filter(|tag| tag.kind == Kind::Video).map(|tag| tag.payload.clone()).collect()
        };
        assert_eq!(videos(&tags), videos(&pictures));
    }
    // The newest metadata is what a joiner begins with.
    send(&mut publisher, &upright(), 2000).await;
    rtmp.until("the next GOP", |notes| notes.pictures() == 30).await;
    let joiner = scene.watch("live").await.until("the next GOP", |notes| notes.pictures() == 15).await;
    let told = joiner.tags.iter().filter(|tag| tag.payload.starts_with(name)).map(|tag| tag.payload.clone());
    assert_eq!(told.collect::<Vec<_>>(), [metadata], "and none that was replaced");
    scene.gateway.stop().await;
}
