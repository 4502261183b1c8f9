//! From a publisher's clock to a stream's time line.
//!
//! A publisher stamps packets with a 32-bit millisecond counter that wraps after 49.7 days, that a phone may set
//! back or forward, and that starts anew with each connection. A stream's time line is 64 bits wide, outlives its
//! publishers, and never goes back within audio or within video. A well-behaved publisher's stamps stand on it
//! unchanged.

use super::packet::PacketKind;

/// How far a stamp may lie behind the newest of its own kind and still count as disorder; it is then lifted to the
/// newest. Farther back, the clock was set anew. Encoders' own disorder stays under a tenth of a second.
pub const REORDER_TOLERANCE_MS: u64 = 300;
/// How far audio may lie behind video, or video behind audio, without being taken for another clock. Farther than
/// the longest delay that an encoder puts between microphone and camera.
pub const TRACK_SKEW_MAX_MS: u64 = 5_000;
/// How far a stamp may run ahead of the time that really went by. Room for a publisher that sends what it held
/// back; farther ahead, the clock was set anew.
pub const JUMP_MAX_MS: u64 = 10_000;
/// Longest silence that shows as a gap of its own length. A wall clock that is set forward must not push the time
/// line by hours.
pub const GAP_MAX_MS: u64 = 300_000;

/// Maps stamps to one stream's time line.
///
/// The one contract: call [`Timeline::begin`] when another publisher takes over, and [`Timeline::place`] for each
/// packet in the order of arrival.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    audio: Track,
    video: Track,
    data_ms: u64,
    newest: Option<Newest>,
    /// Where this session took over from another: nothing of it stands earlier.
    floor_ms: u64,
}

/// The latest time given to a frame.
#[derive(Debug, Clone, Copy)]
struct Newest {
    at_ms: u64,
    arrived_ms: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Track {
    /// The latest frame of this session, as stamped and as mapped before it was held to its limits.
    anchor: Option<Anchor>,
    /// The latest time given to a frame of this kind.
    at_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    stamp: u32,
    mapped_ms: i64,
}

impl Anchor {
    /// Where `stamp` lies if this clock ran on, by the shorter way around its 32 bits.
    fn follow(self, stamp: u32) -> i64 {
        self.mapped_ms.saturating_add(i64::from(stamp.wrapping_sub(self.stamp).cast_signed()))
    }
}

impl Timeline {
    /// Another publisher begins. Its stamps have nothing to do with those before; its first frame is placed behind
    /// the newest one by the time that went by, and at least one millisecond.
    pub fn begin(&mut self) {
        self.audio.anchor = None;
        self.video.anchor = None;
    }

    /// The time of the newest frame; 0 before the first.
    pub fn newest_ms(&self) -> u64 {
        self.newest.map_or(0, |newest| newest.at_ms)
    }

    /// Places a packet that was stamped `stamp` and arrived at `now_ms`, on any clock that counts milliseconds.
    ///
    /// Only frames move time on. Anything else keeps its stamp's place if that is near the newest frame, and takes
    /// the newest frame's place if not: encoders stamp headers and metadata with zero.
    pub fn place(&mut self, kind: PacketKind, is_frame: bool, stamp: u32, now_ms: u64) -> u64 {
        match kind {
            PacketKind::Audio | PacketKind::Video if is_frame => self.place_frame(kind, stamp, now_ms),
            PacketKind::Audio => self.place_other(stamp).max(self.audio.at_ms),
            PacketKind::Video => self.place_other(stamp).max(self.video.at_ms),
            PacketKind::Data => {
                self.data_ms = self.place_other(stamp).max(self.data_ms);
                self.data_ms
            }
        }
    }

    fn place_frame(&mut self, kind: PacketKind, stamp: u32, now_ms: u64) -> u64 {
        let (own, other) = match kind {
            PacketKind::Video => (self.video, self.audio),
            _ => (self.audio, self.video),
        };
        let is_first_of_session = own.anchor.is_none() && other.anchor.is_none();
        let mapped_ms = match self.newest {
            None => i64::from(stamp),
            Some(newest) => {
                let gap_ms = now_ms.saturating_sub(newest.arrived_ms).min(GAP_MAX_MS);
                let earliest_ms = own
                    .at_ms
                    .saturating_sub(REORDER_TOLERANCE_MS)
                    .max(newest.at_ms.saturating_sub(TRACK_SKEW_MAX_MS));
                let latest_ms = newest.at_ms.saturating_add(gap_ms).saturating_add(JUMP_MAX_MS);
                let believed = signed(earliest_ms)..=signed(latest_ms);
                [own.anchor, other.anchor]
                    .into_iter()
                    .flatten()
                    .map(|anchor| anchor.follow(stamp))
                    .find(|mapped_ms| believed.contains(mapped_ms))
                    .unwrap_or_else(|| signed(newest.at_ms.saturating_add(gap_ms.max(1))))
            }
        };
        let lifted_ms = u64::try_from(mapped_ms).unwrap_or(0).max(own.at_ms);
        if is_first_of_session && self.newest.is_some() {
            self.floor_ms = lifted_ms;
        }
        let at_ms = lifted_ms.max(self.floor_ms);
        let track = Track { anchor: Some(Anchor { stamp, mapped_ms }), at_ms };
        match kind {
            PacketKind::Video => self.video = track,
            _ => self.audio = track,
        }
        self.newest = Some(Newest { at_ms: at_ms.max(self.newest_ms()), arrived_ms: now_ms });
        at_ms
    }

    fn place_other(&self, stamp: u32) -> u64 {
        let newest_ms = self.newest_ms();
        let near =
            signed(newest_ms.saturating_sub(REORDER_TOLERANCE_MS))..=signed(newest_ms + REORDER_TOLERANCE_MS);
        [self.video.anchor, self.audio.anchor]
            .into_iter()
            .flatten()
            .map(|anchor| anchor.follow(stamp))
            .find(|mapped_ms| near.contains(mapped_ms))
            .and_then(|mapped_ms| u64::try_from(mapped_ms).ok())
            .unwrap_or(newest_ms)
            .max(self.floor_ms)
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
