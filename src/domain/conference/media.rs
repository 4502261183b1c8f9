//! Streams: how their events change the conference, and who may publish or play them.

use super::{Conference, Stream};
use crate::domain::event::{Event, Recorded, StreamKind};
use crate::domain::media_url::{Direction, MediaRight};
use crate::domain::refusal::{Reason, Refusal};

impl Conference {
    pub(super) fn replay_stream(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::StreamDeclared { stream, member, rtc_id, kind, video_off, audio_off } => {
                self.streams.insert(
                    stream.clone(),
                    Stream {
                        id: stream.clone(),
                        rtc_id: rtc_id.clone(),
                        owner: member.clone(),
                        kind: *kind,
                        video_off: *video_off,
                        audio_off: *audio_off,
                        declared: recorded.seq,
                        live: None,
                    },
                );
            }
            Event::StreamUndeclared { stream, .. } => {
                self.streams.remove(stream);
            }
            Event::MediaStarted { stream, format } | Event::MediaChanged { stream, format } => {
                if let Some(stream) = self.streams.get_mut(stream) {
                    stream.live = Some(format.clone());
                }
            }
            Event::MediaStopped { stream, .. } => {
                if let Some(stream) = self.streams.get_mut(stream) {
                    stream.live = None;
                }
            }
            _ => {}
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
            .ok_or_else(|| Reason::UrlInvalid.because("this stream was deleted; ask for a new URL"))?;
        if right.direction == Direction::Publish && stream.owner != right.member {
            return Err(Reason::NotAllowed.because("only its owner publishes a stream"));
        }
        Ok(())
    }

    /// Declared streams that may carry pictures.
    pub fn video_count(&self) -> u32 {
        self.count_streams(|stream| !stream.video_off)
    }

    /// Declared desktops.
    pub fn desktop_count(&self) -> u32 {
        self.count_streams(|stream| stream.kind == StreamKind::Desktop)
    }

    fn count_streams(&self, counts: impl Fn(&Stream) -> bool) -> u32 {
        u32::try_from(self.streams.values().filter(|stream| counts(stream)).count()).unwrap_or(u32::MAX)
    }
}
