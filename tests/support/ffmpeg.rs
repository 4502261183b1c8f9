//! Real clients as children: ffmpeg that pushes, ffmpeg and rtmpdump that pull, ffmpeg that decodes.

use super::flv::{self, Tag};
use super::media_url::{MediaUrl, Placement};
use super::process::{Ended, Running, run};
use super::wait::EVENT;
use std::collections::BTreeSet;
use tokio::process::Command;

/// The certificates of the tests are signed by nobody whom the machine knows.
const GSTREAMER_TRUST: [&str; 1] = ["tls-validation-flags=no-flags"];

/// ffmpeg that sends the clip again and again in real time, without encoding.
pub struct Pusher {
    pub process: Running,
}

impl Pusher {
    pub fn start(url: &MediaUrl) -> Self {
        Self::start_with(&[], &url.text())
    }

    /// With the token where the placement puts it.
    pub fn start_placed(placement: &Placement) -> Self {
        Self::start_with(&rtmp_options(placement), &format!("rtmp://{}/", placement.address))
    }

    /// With options of ffmpeg's own for the way there.
    pub fn start_with_options(options: &[&str], url: &MediaUrl) -> Self {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        Self::start_with(&options, &url.text())
    }

    /// GStreamer that sends the clip once, in real time and without encoding.
    pub fn gstreamer(url: &MediaUrl) -> Self {
        let mut command = Command::new("gst-launch-1.0");
        command
            .args("-q flvmux name=mux streamable=true ! rtmp2sink name=sink".split(' '))
            .arg(format!("location={}", url.text()))
            .args(GSTREAMER_TRUST)
            .arg("filesrc")
            .arg(format!("location={}", flv::clip_path().display()))
            .args("! flvdemux name=clip clip.video ! queue ! h264parse ! mux. clip.audio ! queue ! aacparse ! mux.".split(' '));
        Self { process: Running::start("GStreamer (push)", command) }
    }

    fn start_with(options: &[String], url: &str) -> Self {
        let mut command = Command::new("ffmpeg");
        command
            .args("-hide_banner -nostdin -loglevel warning -progress pipe:1 -stats_period 0.1".split(' '))
            .args("-re -stream_loop -1 -i".split(' '))
            .arg(flv::clip_path())
            .args("-c copy -f flv".split(' '))
            .args(options)
            .arg(url);
        Self { process: Running::start("ffmpeg (push)", command) }
    }

    /// Waits until pictures left.
    pub async fn sending(&self) {
        let sent = self.process.stdout.wait_line(EVENT, "ffmpeg sends pictures", |line| {
            let frames: u32 = line.strip_prefix("frame=")?.trim().parse().ok()?;
            (frames > 0).then_some(())
        });
        if let Err(error) = sent.await {
            panic!("{error}; ffmpeg says: {}", self.process.stderr.text());
        }
    }

    /// Waits until the server ends it; gives ffmpeg's words.
    pub async fn refused(self) -> String {
        let ended = self.process.ended(EVENT).await;
        assert!(!ended.status.success(), "the push ought to fail: {ended:?}");
        ended.stderr
    }
}

/// A client that writes what it received as FLV to its stdout.
pub struct Viewer {
    pub process: Running,
}

impl Viewer {
    pub fn ffmpeg(url: &MediaUrl) -> Self {
        Self::ffmpeg_with(&[], &url.text())
    }

    pub fn ffmpeg_placed(placement: &Placement) -> Self {
        Self::ffmpeg_with(&rtmp_options(placement), &format!("rtmp://{}/", placement.address))
    }

    /// Any URL that ffmpeg knows, with options of its own for the way there.
    pub fn ffmpeg_at(options: &[&str], url: &str) -> Self {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        Self::ffmpeg_with(&options, url)
    }

    pub fn gstreamer(url: &MediaUrl) -> Self {
        let mut command = Command::new("gst-launch-1.0");
        command
            .args(["-q", "rtmp2src", &format!("location={}", url.text())])
            .args(GSTREAMER_TRUST)
            .args(["!", "fdsink", "fd=1"]);
        Self { process: Running::start("GStreamer (pull)", command) }
    }

    /// What comes at an HTTP URL.
    pub fn curl(options: &[&str], url: &str) -> Self {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--no-buffer"]).args(options).arg(url);
        Self { process: Running::start("curl", command) }
    }

    fn ffmpeg_with(options: &[String], url: &str) -> Self {
        let mut command = Command::new("ffmpeg");
        command
            .args("-hide_banner -nostdin -loglevel warning".split(' '))
            .args(options)
            .args(["-i", url])
            .args("-map 0:v -map 0:a -c copy -flush_packets 1 -f flv pipe:1".split(' '));
        Self { process: Running::start("ffmpeg (pull)", command) }
    }

    pub fn rtmpdump(url: &MediaUrl) -> Self {
        Self::rtmpdump_with(&["-r".to_owned(), url.text()])
    }

    pub fn rtmpdump_placed(placement: &Placement) -> Self {
        Self::rtmpdump_with(&[
            "-r".to_owned(),
            format!("rtmp://{}/", placement.address),
            "--app".to_owned(),
            placement.app.clone(),
            "--tcUrl".to_owned(),
            placement.tc_url.clone(),
            "--playpath".to_owned(),
            placement.name.clone(),
        ])
    }

    fn rtmpdump_with(arguments: &[String]) -> Self {
        let mut command = Command::new("rtmpdump");
        command.args(["--live", "--timeout", "60", "-o", "-"]).args(arguments);
        Self { process: Running::start("rtmpdump", command) }
    }

    /// Waits until the tags received satisfy `enough`.
    pub async fn received(&self, what: &str, enough: impl Fn(&[Tag]) -> bool) -> Vec<Tag> {
        let what = format!("{} received {what}", self.process.name);
        let found = self.process.stdout.wait(EVENT, &what, |bytes| {
            let (tags, _) = flv::tags(bytes);
            enough(&tags).then_some(tags)
        });
        match found.await {
            Ok(tags) => tags,
            Err(error) => {
                let (tags, _) = flv::tags(&self.process.stdout.bytes());
                let pictures = tags.iter().filter(|tag| tag.is_picture()).count();
                let until_ms = tags.last().map(|tag| tag.timestamp_ms);
                let words = self.process.stderr.text();
                panic!(
                    "{error}, but {pictures} pictures in {} tags until {until_ms:?} ms; it says: {words}",
                    tags.len()
                )
            }
        }
    }

    /// Waits for so many pictures and at least one piece of sound.
    pub async fn pictures(&self, count: usize) -> Vec<Tag> {
        self.received(&format!("{count} pictures and sound"), |tags| {
            tags.iter().filter(|tag| tag.is_picture()).count() >= count && tags.iter().any(Tag::is_sound)
        })
        .await
    }

    /// How many pictures arrived so far.
    pub fn picture_count(&self) -> usize {
        flv::tags(&self.process.stdout.bytes()).0.iter().filter(|tag| tag.is_picture()).count()
    }

    /// The whole tags received so far, as an FLV file.
    pub fn body(&self) -> Vec<u8> {
        let mut bytes = self.process.stdout.bytes();
        let (_, whole) = flv::tags(&bytes);
        bytes.truncate(whole);
        bytes
    }

    /// Waits until the client ends because the server closed; gives its words.
    pub async fn closed(self) -> Ended {
        self.process.ended(EVENT).await
    }
}

fn rtmp_options(placement: &Placement) -> Vec<String> {
    let pairs = [
        ("-rtmp_app", &placement.app),
        ("-rtmp_tcurl", &placement.tc_url),
        ("-rtmp_playpath", &placement.name),
    ];
    pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value.clone()]).collect()
}

/// The fingerprints of what is in an FLV body.
#[derive(Debug, Default)]
pub struct Fingerprints {
    pub video: Vec<String>,
    pub audio: Vec<String>,
    /// What ffmpeg found wrong with it.
    pub complaints: String,
}

impl Fingerprints {
    pub fn video_set(&self) -> BTreeSet<String> {
        self.video.iter().cloned().collect()
    }

    pub fn audio_set(&self) -> BTreeSet<String> {
        self.audio.iter().cloned().collect()
    }
}

/// Decodes the body: one fingerprint per decoded picture and per decoded piece of sound.
pub async fn decode(body: &[u8]) -> Fingerprints {
    fingerprints(body, &["-fps_mode", "passthrough"]).await
}

/// The fingerprints of the packets as they are, undecoded.
pub async fn packets(body: &[u8]) -> Fingerprints {
    fingerprints(body, &["-c", "copy"]).await
}

async fn fingerprints(body: &[u8], options: &[&str]) -> Fingerprints {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), body).expect("the body is written");
    let mut command = Command::new("ffmpeg");
    command
        .args("-hide_banner -nostdin -loglevel error -i".split(' '))
        .arg(file.path())
        .args("-map 0:v -map 0:a".split(' '))
        .args(options)
        .args("-f framemd5 -".split(' '));
    let ended = run("ffmpeg (decode)", command, EVENT).await;
    assert!(ended.status.success(), "not decodable: {}", ended.stderr);
    let mut found = Fingerprints { complaints: ended.stderr, ..Fingerprints::default() };
    for line in ended.stdout.lines().filter(|line| !line.starts_with('#')) {
        // stream, dts, pts, duration, size, fingerprint; what may follow describes side data.
        let fingerprint = line.split(',').nth(5).unwrap_or("").trim().to_owned();
        if line.starts_with('0') {
            found.video.push(fingerprint);
        } else {
            found.audio.push(fingerprint);
        }
    }
    found
}

/// Fails unless the body decodes without complaint, every picture is bit for bit one of the clip's, the picture moves,
/// and the packets of picture and sound are the clip's own: nothing was re-encoded, cut or mixed up.
pub async fn assert_is_clip(body: &[u8]) {
    let clip = std::fs::read(flv::clip_path()).expect("the clip");
    let (original, seen) = (decode(&clip).await, decode(body).await);
    assert_eq!(seen.complaints, "", "ffmpeg complains about the received stream");
    let known = original.video_set();
    let strange = seen.video.iter().filter(|picture| !known.contains(*picture)).count();
    assert_eq!(strange, 0, "{strange} of {} decoded pictures are not of the clip", seen.video.len());
    assert!(seen.video_set().len() > 1, "the picture does not move");
    assert!(!seen.audio.is_empty(), "no sound was decoded");
    let (original, seen) = (packets(&clip).await, packets(body).await);
    assert!(seen.video_set().is_subset(&original.video_set()), "a video packet was changed on the way");
    assert!(seen.audio_set().is_subset(&original.audio_set()), "an audio packet was changed on the way");
}
