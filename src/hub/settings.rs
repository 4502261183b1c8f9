//! The limits of the fan-out.

use crate::domain::media_url::Profile;

/// How much a stream keeps and how far a viewer may fall behind. Each stream has its own share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// Bytes of media that a stream keeps, each packet counted with half a KiB on top. The
    /// newest packet is kept whatever its size, so the real bound is this or one packet.
    pub ring_bytes_max: usize,
    /// Milliseconds of media that a stream keeps. A GOP that is longer has no joiners at its end: they wait for
    /// the next keyframe.
    pub ring_ms_max: u64,
    /// Packets that a stream keeps.
    pub ring_packets_max: usize,
    /// How long after it arrived a packet may still be handed to an `rtc` viewer; a viewer farther behind skips.
    /// The burst that a joiner begins with does not count against it.
    pub rtc_lag_max_ms: u64,
    /// The same for a `live` viewer.
    pub live_lag_max_ms: u64,
    /// How many milliseconds of its time an `rtc` viewer's opening burst takes up, at most: all of its pictures, and the sound
    /// of these milliseconds.
    pub burst_squeeze_ms: u64,
    /// Viewers of one stream.
    pub viewers_per_stream_max: usize,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            // 4 Mbit/s for as long as `ring_ms_max` says.
            ring_bytes_max: 8 << 20,
            // A keyframe interval of 10 s, which some encoders use, and half of it again.
            ring_ms_max: 15_000,
            // 60 pictures and 50 sounds a second for twice as long as `ring_ms_max` says.
            ring_packets_max: 4096,
            // One keyframe interval of the mini program's pusher: a shorter hiccup costs no pictures.
            rtc_lag_max_ms: 3_000,
            live_lag_max_ms: 8_000,
            // The delay that the mini program's player keeps in its RTC mode anyway.
            burst_squeeze_ms: 500,
            viewers_per_stream_max: 10_000,
        }
    }
}

impl HubSettings {
    pub(super) fn lag_max_ms(&self, profile: Profile) -> u64 {
        match profile {
            Profile::Rtc => self.rtc_lag_max_ms,
            Profile::Live => self.live_lag_max_ms,
        }
    }

    pub(super) fn squeeze_ms(&self, profile: Profile) -> Option<u64> {
        match profile {
            Profile::Rtc => Some(self.burst_squeeze_ms),
            Profile::Live => None,
        }
    }
}
