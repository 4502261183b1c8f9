//! The loads that are measured.

use super::stamps::Encoding;
use super::targets::Kind;

/// What the viewers of a shape do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// All watch.
    Watch,
    /// Some of them read at a crawl: a quarter of what is sent.
    Crawl(usize),
    /// Nobody publishes: players wait.
    Idle,
    /// They watch, while others join in mid-GOP and leave at their first keyframe.
    Join,
    /// Nobody watches for long: each leaves at its first frame and another comes at once.
    Churn,
    /// All watch, and what they take is looked at.
    Memory,
}

/// One load.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    pub about: &'static str,
    pub plan: Plan,
    pub streams: usize,
    /// Of each stream.
    pub viewers: usize,
    pub encoding: Encoding,
}

impl Shape {
    /// Whether the shape says something about this target: the floor only writes to those who stay.
    pub fn suits(&self, target: &Kind) -> bool {
        matches!(self.plan, Plan::Watch) || !matches!(target, Kind::Floor(_))
    }
}

const fn encoding(kilobits: usize, audio_kilobits: usize, pictures_per_second: usize) -> Encoding {
    Encoding { kilobits, audio_kilobits, pictures_per_second, gop_seconds: 2 }
}

/// 2 Mbit/s, 30 pictures and 43 sounds a second.
const FAT: Encoding = encoding(2000, 64, 30);
/// 500 kbit/s, as mini programs send.
const CALL: Encoding = encoding(500, 48, 30);
/// 200 kbit/s, 15 pictures a second.
const THIN: Encoding = encoding(200, 32, 15);

const fn shape(
    name: &'static str,
    about: &'static str,
    plan: Plan,
    (streams, viewers): (usize, usize),
    encoding: Encoding,
) -> Shape {
    Shape { name, about, plan, streams, viewers, encoding }
}

pub const SHAPES: &[Shape] = &[
    shape("a100", "one stream of 2 Mbit/s to 100 viewers", Plan::Watch, (1, 100), FAT),
    shape("a300", "one stream of 2 Mbit/s to 300 viewers", Plan::Watch, (1, 300), FAT),
    shape("a500", "one stream of 2 Mbit/s to 500 viewers", Plan::Watch, (1, 500), FAT),
    shape("b", "100 streams of 500 kbit/s to 9 viewers each", Plan::Watch, (100, 9), CALL),
    shape("idle", "1000 players of a stream that nobody publishes", Plan::Idle, (1, 1000), FAT),
    shape("memory", "what 300 viewers of 2 Mbit/s take", Plan::Memory, (1, 300), FAT),
    shape("good", "90 viewers of 2 Mbit/s, to compare with slow", Plan::Watch, (1, 90), FAT),
    shape("slow", "the same 90, and 10 who read at a quarter of it", Plan::Crawl(10), (1, 100), FAT),
    shape(
        "join",
        "20 viewers of 2 Mbit/s, and a hundred joins a second in mid-GOP",
        Plan::Join,
        (1, 20),
        FAT,
    ),
    shape("churn", "256 at a time connect, play and leave at their first frame", Plan::Churn, (1, 256), CALL),
    shape("p1000", "1000 streams of 200 kbit/s to one viewer each", Plan::Watch, (1000, 1), THIN),
    shape("v5000", "one stream of 200 kbit/s to 5000 viewers", Plan::Watch, (1, 5000), THIN),
];

/// What is measured where no shape is named.
pub const DOCUMENTED: &[&str] = &["a300", "b", "idle", "memory", "good", "slow", "join", "churn"];
