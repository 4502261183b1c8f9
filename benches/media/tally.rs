//! What viewers saw, added up over one window.

use super::figures::Durations;
use super::roles::Part;
use super::stamps::Seen;

/// A viewer that sees no frame for so long has stalled.
pub const STALL_NS: u64 = 500_000_000;

#[derive(Debug, Default)]
pub struct Tally {
    measuring: bool,
    pub from_ns: u64,
    pub until_ns: u64,
    /// A publisher's send to the viewer's read of the whole frame; frames of before the window do not count.
    pub delay: Durations,
    /// How late publishers were by their own clocks: whether the load itself kept up.
    pub late: Durations,
    /// From the play command to the whole first keyframe.
    pub keyframe_after_play: Durations,
    /// The same from the call of connect.
    pub keyframe_after_connect: Durations,
    /// Bytes that viewers who watch or come and go received.
    pub bytes: u64,
    /// Bytes that crawling viewers received.
    pub slow_bytes: u64,
    pub frames: u64,
    /// Numbers that are missing between two frames.
    pub lost: u64,
    /// Frames with a number that is not above that of the frame before.
    pub disordered: u64,
    pub stalls: u64,
    /// Frames that a publisher could not even queue.
    pub unsent: u64,
    /// How often a publisher's clock was set back, because the load itself could not keep up.
    pub slips: u64,
    /// Viewers that came and went as they wished.
    pub joined: u64,
    pub cut: u64,
    pub slow_cut: u64,
    pub failures: u64,
    /// The first thing that went wrong.
    pub failure: Option<String>,
}

impl Tally {
    pub fn begin(&mut self, now_ns: u64) {
        let (failures, failure, cut, slow_cut) =
            (self.failures, self.failure.take(), self.cut, self.slow_cut);
        *self =
            Self { measuring: true, from_ns: now_ns, failures, failure, cut, slow_cut, ..Self::default() };
    }

    pub fn end(&mut self, now_ns: u64) {
        self.measuring = false;
        self.until_ns = now_ns;
    }

    pub fn seconds(&self) -> f64 {
        (self.until_ns - self.from_ns) as f64 / 1e9
    }

    pub fn received(&mut self, bytes: u64, part: Option<Part>) {
        match part {
            Some(Part::Crawl(_)) if self.measuring => self.slow_bytes += bytes,
            Some(_) if self.measuring => self.bytes += bytes,
            _ => {}
        }
    }

    pub fn cut(&mut self, part: Part, why: &str) {
        if let Part::Crawl(_) = part {
            self.slow_cut += 1;
        } else {
            self.cut += 1;
            self.fail(&format!("a viewer was cut off: {why}"));
        }
    }

    pub fn fail(&mut self, why: &str) {
        self.failures += 1;
        self.failure.get_or_insert_with(|| why.to_owned());
    }
}

/// What one viewer has seen.
#[derive(Debug)]
pub struct Viewing {
    opened_ns: u64,
    asked_ns: u64,
    last_ns: Option<u64>,
    picture: Option<u32>,
    sound: Option<u32>,
    has_keyframe: bool,
}

impl Viewing {
    pub fn new(now_ns: u64) -> Self {
        let (last_ns, picture, sound) = (None, None, None);
        Self { opened_ns: now_ns, asked_ns: now_ns, last_ns, picture, sound, has_keyframe: false }
    }

    pub fn asked(&mut self, now_ns: u64) {
        self.asked_ns = now_ns;
    }

    pub fn has_seen(&self) -> bool {
        self.last_ns.is_some()
    }

    pub fn has_keyframe(&self) -> bool {
        self.has_keyframe
    }

    /// The measured time begins: silence before it does not count.
    pub fn begin(&mut self, now_ns: u64) {
        if let Some(last_ns) = &mut self.last_ns {
            *last_ns = now_ns;
        }
    }

    pub fn check_stall(&mut self, now_ns: u64, tally: &mut Tally) {
        if let Some(last_ns) = self.last_ns
            && now_ns.saturating_sub(last_ns) > STALL_NS
        {
            tally.stalls += 1;
        }
    }

    pub fn see(&mut self, seen: Seen, now_ns: u64, part: Part, tally: &mut Tally) {
        if seen.is_keyframe && !self.has_keyframe {
            self.has_keyframe = true;
            tally.keyframe_after_play.add_ns(now_ns - self.asked_ns);
            tally.keyframe_after_connect.add_ns(now_ns - self.opened_ns);
        }
        let last = if seen.is_video { &mut self.picture } else { &mut self.sound };
        let before = last.replace(seen.stamp.number);
        if !matches!(part, Part::Crawl(_)) && tally.measuring {
            tally.frames += 1;
            match before {
                Some(before) if seen.stamp.number > before => {
                    tally.lost += u64::from(seen.stamp.number - before - 1);
                }
                Some(_) => tally.disordered += 1,
                None => {}
            }
            // What a joiner is given of the past is not late.
            if part == Part::Watch && seen.stamp.sent_ns >= tally.from_ns {
                tally.delay.add_ns(now_ns - seen.stamp.sent_ns);
            }
            if part == Part::Watch {
                self.check_stall(now_ns, tally);
            }
        }
        self.last_ns = Some(now_ns);
    }
}
