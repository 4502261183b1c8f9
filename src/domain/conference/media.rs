//! Streams: how their events change the conference, and who may publish or play them.

use std::collections::BTreeMap;

use super::{Conference, Muted, Pictures, Stream};
use crate::domain::event::{Event, StreamKind};
use crate::domain::id::{Seq, StreamId};
use crate::domain::media_url::{Direction, MediaRight};
use crate::domain::refusal::{Reason, Refusal};

/// Which of a stream's media reach its viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaGate {
    /// Sound passes.
    pub audio: bool,
    /// Pictures pass.
    pub video: bool,
}

impl MediaGate {
    /// Everything passes.
    pub const OPEN: Self = Self { audio: true, video: true };
}

/// Folds an event that is about a stream into `streams`; any other changes nothing.
pub(super) fn fold_stream(streams: &mut BTreeMap<StreamId, Stream>, seq: Seq, event: &Event) {
    match event {
        Event::StreamDeclared { stream, member, rtc_id, kind, video_off, audio_off } => {
            streams.insert(
                stream.clone(),
                Stream {
                    id: stream.clone(),
                    rtc_id: rtc_id.clone(),
                    owner: member.clone(),
                    kind: *kind,
                    pictures: if *video_off { Pictures::Unannounced } else { Pictures::On },
                    audio_off: *audio_off,
                    declared: seq,
                    live: None,
                },
            );
        }
        Event::StreamUndeclared { stream, .. } => {
            streams.remove(stream);
        }
        Event::StreamChanged { stream, video_off, audio_off } => {
            let Some(stream) = streams.get_mut(stream) else { return };
            if let Some(off) = video_off {
                stream.pictures = if *off { Pictures::Off } else { Pictures::On };
            }
            stream.audio_off = audio_off.unwrap_or(stream.audio_off);
        }
        Event::MediaStarted { stream, format } | Event::MediaChanged { stream, format } => {
            let Some(stream) = streams.get_mut(stream) else { return };
            stream.live = Some(format.clone());
            if format.video.is_none() {
                stream.forget_refusal();
            }
        }
        Event::MediaStopped { stream, .. } => {
            let Some(stream) = streams.get_mut(stream) else { return };
            stream.live = None;
            stream.forget_refusal();
        }
        Event::VideoGranted { stream } => {
            let Some(stream) = streams.get_mut(stream) else { return };
            stream.pictures = Pictures::On;
        }
        Event::VideoRefused { stream } => {
            let Some(stream) = streams.get_mut(stream) else { return };
            stream.pictures = Pictures::Refused;
        }
        _ => {}
    }
}

/// Streams that have a video place.
pub(super) fn count_videos(streams: &BTreeMap<StreamId, Stream>) -> u32 {
    count(streams, |stream| stream.pictures == Pictures::On)
}

fn count(streams: &BTreeMap<StreamId, Stream>, counts: impl Fn(&Stream) -> bool) -> u32 {
    u32::try_from(streams.values().filter(|stream| counts(stream)).count()).unwrap_or(u32::MAX)
}

impl Stream {
    /// Pictures that were refused have stopped: the next ones ask anew.
    fn forget_refusal(&mut self) {
        if self.pictures == Pictures::Refused {
            self.pictures = Pictures::Unannounced;
        }
    }

    /// Whether viewers see no pictures of it, apart from what an ADMIN holds back: they are off or have no place, or
    /// none flow.
    pub fn is_video_off(&self) -> bool {
        self.pictures != Pictures::On || self.live.as_ref().is_some_and(|format| format.video.is_none())
    }

    /// Whether viewers hear no sound of it, apart from what an ADMIN holds back.
    pub fn is_audio_off(&self) -> bool {
        self.audio_off || self.live.as_ref().is_some_and(|format| format.audio.is_none())
    }
}

impl Conference {
    /// Which media of `stream` reach its viewers now. All of it, where there is no such stream: nobody publishes it.
    pub fn media_gate(&self, stream: &StreamId) -> MediaGate {
        let Some(stream) = self.streams.get(stream) else { return MediaGate::OPEN };
        let muted = self.members.get(&stream.owner).map_or_else(Muted::default, |owner| owner.muted);
        MediaGate {
            audio: !muted.audio && !stream.audio_off,
            video: !muted.video && stream.pictures == Pictures::On,
        }
    }

    /// Whether `right` holds now. Asked at admission, and again after every event that may take it away.
    pub fn media_right(&self, right: &MediaRight) -> Result<(), Refusal> {
        if self.is_ended() {
            return Err(Reason::ConferenceClosed.because("the conference has ended"));
        }
        let member = self
            .members
            .get(&right.member)
            .filter(|member| member.epoch == right.epoch)
            .ok_or_else(|| Reason::MemberGone.because("this member is no longer in the conference"))?;
        if right.direction == Direction::Publish && !member.role.may_publish() {
            return Err(Reason::NotAllowed.because("an AUDIENCE member does not publish"));
        }
        let stream = self
            .streams
            .get(&right.stream)
            .filter(|stream| stream.declared == right.declared)
            .ok_or_else(|| self.stream_gone(&right.stream))?;
        if right.direction == Direction::Publish && stream.owner != right.member {
            return Err(Reason::NotAllowed.because("only its owner publishes a stream"));
        }
        Ok(())
    }

    /// Why the URL of a stream that was declared once is worth nothing now.
    fn stream_gone(&self, stream: &StreamId) -> Refusal {
        let owner_is_inside = self.members.keys().any(|member| stream.is_of(member));
        Reason::UrlInvalid.because(if owner_is_inside {
            "this stream was deleted; when it is declared again, ask for a new URL"
        } else {
            "the publisher of this stream is no longer in the conference; when it returns, ask for the URL of its new stream"
        })
    }

    /// Streams that have a video place.
    pub fn video_count(&self) -> u32 {
        count_videos(&self.streams)
    }

    /// Declared desktops.
    pub fn desktop_count(&self) -> u32 {
        count(&self.streams, |stream| stream.kind == StreamKind::Desktop)
    }
}
