//! What a publisher sends per second, over a window that slides.

use crate::media::PacketKind;

/// One step of the window: short enough that a change shows within a second.
const STEP_MS: u64 = 500;
/// Whole steps in the window. Five seconds hold a keyframe of most encoders, so that the rate does not swing with each.
const STEPS: usize = 10;

/// What a publisher sends, per second. Counted as it arrives, whether or not it may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamRates {
    /// Bits of payload of pictures.
    pub video_bits: u64,
    /// Bits of payload of sound.
    pub audio_bits: u64,
    /// Pictures, in thousandths.
    pub millipictures: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Step {
    number: u64,
    video_bytes: u64,
    audio_bytes: u64,
    pictures: u64,
}

/// Counts packets in steps. One addition per packet, under the lock that the packet's writer holds anyway.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// The step under way and the whole ones before it, each at its number modulo their count.
    steps: [Step; STEPS + 1],
    began_ms: Option<u64>,
}

impl Meter {
    /// Another publisher begins: what came before is not its own.
    pub(super) fn begin(&mut self) {
        *self = Self::default();
    }

    pub(super) fn count(&mut self, kind: PacketKind, is_frame: bool, bytes: usize, now_ms: u64) {
        self.began_ms.get_or_insert(now_ms);
        let number = now_ms / STEP_MS;
        let Some(step) = self.steps.get_mut(place(number)) else { return };
        if step.number != number {
            *step = Step { number, ..Step::default() };
        }
        match kind {
            PacketKind::Audio => step.audio_bytes += bytes as u64,
            PacketKind::Video => {
                step.video_bytes += bytes as u64;
                step.pictures += u64::from(is_frame);
            }
            PacketKind::Data => {}
        }
    }

    /// The rates at `now_ms`: over the whole steps of the window, or over what there is of a publisher that just began.
    pub(super) fn rates(&self, now_ms: u64) -> StreamRates {
        let Some(began_ms) = self.began_ms else { return StreamRates::default() };
        let current = now_ms / STEP_MS;
        let first_whole = (began_ms / STEP_MS + 1).max(current.saturating_sub(STEPS as u64));
        let (range, span_ms) = if first_whole < current {
            (first_whole..current, (current - first_whole) * STEP_MS)
        } else {
            (began_ms / STEP_MS..current + 1, (now_ms.saturating_sub(began_ms)).max(STEP_MS))
        };
        let mut sum = Step::default();
        for step in self.steps.iter().filter(|step| range.contains(&step.number)) {
            sum.video_bytes += step.video_bytes;
            sum.audio_bytes += step.audio_bytes;
            sum.pictures += step.pictures;
        }
        StreamRates {
            video_bits: sum.video_bytes * 8 * 1000 / span_ms,
            audio_bits: sum.audio_bytes * 8 * 1000 / span_ms,
            millipictures: sum.pictures * 1000 * 1000 / span_ms,
        }
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number % (STEPS as u64 + 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 25 pictures of 1000 bytes and 50 sounds of 100 bytes a second.
    fn feed(meter: &mut Meter, from_ms: u64, to_ms: u64) {
        for now_ms in (from_ms..to_ms).step_by(20) {
            meter.count(PacketKind::Audio, true, 100, now_ms);
            if now_ms % 40 == 0 {
                meter.count(PacketKind::Video, true, 1000, now_ms);
            }
        }
    }

    const FULL: StreamRates = StreamRates { video_bits: 200_000, audio_bits: 40_000, millipictures: 25_000 };

    #[test]
    fn a_steady_publisher_has_its_rate_from_the_first_second_on_and_for_ever() {
        let mut meter = Meter::default();
        assert_eq!(meter.rates(7), StreamRates::default());
        feed(&mut meter, 120_000, 200_000);
        assert_eq!(meter.rates(200_000), FULL);
        let mut young = Meter::default();
        feed(&mut young, 120_200, 121_700);
        let rates = young.rates(121_700);
        assert!((190_000..=210_000).contains(&rates.video_bits), "{rates:?}");
        assert!((24_000..=26_000).contains(&rates.millipictures), "{rates:?}");
    }

    #[test]
    fn a_publisher_that_stops_sinks_to_nothing_within_the_window() {
        let mut meter = Meter::default();
        feed(&mut meter, 0, 10_000);
        let half = meter.rates(12_500).video_bits;
        assert!((98_000..=102_000).contains(&half), "half of the window is empty: {half}");
        assert_eq!(meter.rates(15_500), StreamRates::default());
        feed(&mut meter, 60_000, 70_000);
        assert_eq!(meter.rates(70_000), FULL);
        meter.begin();
        assert_eq!(meter.rates(70_000), StreamRates::default());
    }
}
