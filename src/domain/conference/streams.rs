//! Decisions about streams: declaring, changing and taking back, what the media plane reports, and video places.
//!
//! Places follow one rule: a stream whose pictures are [`Pictures::On`] has one, whatever flows. Pictures that come
//! without having been announced take a place, or are refused and wait for one. Whenever a place becomes free, the
//! stream that was declared first among those that wait gets it in the same decision, so none waits beside a free place.

use super::command::{Actor, Subject};
use super::decide::Decision;
use super::media::{count_videos, fold_stream};
use super::{Conference, Member, Pictures, Stream};
use crate::domain::event::{Event, MediaFormat, StreamEnd, StreamKind};
use crate::domain::id::{RtcId, Seq, StreamId};
use crate::domain::limits::{STREAMS_MAX, STREAMS_PER_MEMBER_MAX};
use crate::domain::refusal::{Reason, Refusal};

impl Conference {
    pub(super) fn decide_declare(
        &self,
        subject: &Subject,
        rtc_id: &RtcId,
        kind: StreamKind,
        video_off: bool,
        audio_off: bool,
    ) -> Decision {
        let member = self.subject(subject)?;
        let stream = StreamId::new(rtc_id, &member.id);
        if self.streams.contains_key(&stream) && member.role.may_publish() {
            return Ok(Vec::new());
        }
        self.check_stream_place(member, kind, video_off)?;
        Ok(vec![Event::StreamDeclared {
            stream,
            member: member.id.clone(),
            rtc_id: rtc_id.clone(),
            kind,
            video_off,
            audio_off,
        }])
    }

    fn check_stream_place(&self, member: &Member, kind: StreamKind, video_off: bool) -> Result<(), Refusal> {
        if !member.role.may_publish() {
            return Err(Reason::NotAllowed
                .because("an AUDIENCE member does not publish; an ADMIN can raise its role"));
        }
        if self.streams.values().filter(|stream| stream.owner == member.id).count() >= STREAMS_PER_MEMBER_MAX
        {
            let full = format!("a member has at most {STREAMS_PER_MEMBER_MAX} streams; delete one first");
            return Err(Reason::InvalidRequest.because(full).at("streams_per_member_max"));
        }
        if self.streams.len() >= STREAMS_MAX {
            let full = format!("a conference has at most {STREAMS_MAX} streams");
            return Err(Reason::Overloaded.because(full).at("streams_per_conference_max"));
        }
        let limits = self.settings.limits;
        if kind == StreamKind::Desktop && self.desktop_count() >= limits.max_pub_desktop_count {
            return Err(Reason::DesktopsFull
                .because(format!("all {} places for desktops are taken", limits.max_pub_desktop_count)));
        }
        if video_off { Ok(()) } else { self.check_video_place() }
    }

    fn has_video_place(&self) -> bool {
        self.video_count() < self.settings.limits.max_video_count
    }

    fn check_video_place(&self) -> Result<(), Refusal> {
        if self.has_video_place() {
            return Ok(());
        }
        Err(Reason::VideosFull.because(format!(
            "all {} places for video are taken; voff 1 declares a stream without video",
            self.settings.limits.max_video_count
        )))
    }

    /// Turns pictures or sound of a stream on or off for its owner.
    pub(super) fn decide_change_stream(
        &self,
        subject: &Subject,
        stream: &StreamId,
        video_off: Option<bool>,
        audio_off: Option<bool>,
    ) -> Decision {
        let member = self.subject(subject)?;
        let stream = self.streams.get(stream).ok_or_else(|| stream_not_found(stream))?;
        if stream.owner != member.id {
            return Err(Reason::NotAllowed.because("only its owner changes a stream"));
        }
        let settled = |off: &bool| stream.pictures == if *off { Pictures::Off } else { Pictures::On };
        let video_off = video_off.filter(|off| !settled(off));
        let audio_off = audio_off.filter(|off| *off != stream.audio_off);
        if video_off == Some(false) {
            self.check_video_place()?;
        }
        if video_off.is_none() && audio_off.is_none() {
            return Ok(Vec::new());
        }
        Ok(vec![Event::StreamChanged { stream: stream.id.clone(), video_off, audio_off }])
    }

    pub(super) fn decide_undeclare(&self, by: &Actor, stream: &StreamId) -> Decision {
        let known = self.streams.get(stream);
        let owner = match by {
            Actor::Member(subject) => {
                let member = self.subject(subject)?;
                known.is_some_and(|stream| stream.owner == member.id)
            }
            Actor::App | Actor::Ticket(_) => false,
        };
        if !owner {
            self.require_admin(by)?;
        }
        let stream = known.ok_or_else(|| stream_not_found(stream))?;
        Ok(end_stream(stream, StreamEnd::Deleted))
    }

    /// What the media plane saw flow. Pictures that nobody announced ask for a place here.
    pub(super) fn decide_flows(&self, stream: &StreamId, format: &MediaFormat, replaced: bool) -> Vec<Event> {
        let Some(declared) = self.streams.get(stream) else { return Vec::new() };
        let stream = || stream.clone();
        let mut events = Vec::new();
        match &declared.live {
            None => events.push(Event::MediaStarted { stream: stream(), format: format.clone() }),
            Some(live) => {
                if replaced {
                    events.push(Event::PublisherReplaced { stream: stream() });
                }
                if live != format {
                    events.push(Event::MediaChanged { stream: stream(), format: format.clone() });
                }
            }
        }
        if declared.pictures == Pictures::Unannounced && format.video.is_some() {
            events.push(if self.has_video_place() {
                Event::VideoGranted { stream: stream() }
            } else {
                Event::VideoRefused { stream: stream() }
            });
        }
        events
    }

    /// Gives the places that are free after `events` to the streams that wait for one.
    pub(super) fn grant_free_places(&self, events: &[Event]) -> Vec<Event> {
        if events.is_empty() || !self.streams.values().any(|stream| stream.pictures == Pictures::Refused) {
            return Vec::new();
        }
        let mut streams = self.streams.clone();
        let mut limits = self.settings.limits;
        for event in events {
            fold_stream(&mut streams, Seq::default(), event);
            if let Event::ConferenceChanged { limits: Some(changed), .. } = event {
                limits = *changed;
            }
        }
        let free = limits.max_video_count.saturating_sub(count_videos(&streams));
        let mut waiting: Vec<_> =
            streams.values().filter(|stream| stream.pictures == Pictures::Refused).collect();
        waiting.sort_by_key(|stream| stream.declared);
        let granted = waiting.into_iter().take(free as usize);
        granted.map(|stream| Event::VideoGranted { stream: stream.id.clone() }).collect()
    }
}

fn stream_not_found(stream: &StreamId) -> Refusal {
    Reason::StreamNotFound.because(format!("there is no stream {stream} here"))
}

pub(super) fn end_stream(stream: &Stream, reason: StreamEnd) -> Vec<Event> {
    let mut events = Vec::new();
    if stream.live.is_some() {
        events.push(Event::MediaStopped { stream: stream.id.clone(), reason });
    }
    events.push(Event::StreamUndeclared { stream: stream.id.clone(), reason });
    events
}
