//! Who takes part in a load.

use super::link::Link;
use super::stamps::{AUDIO_FRAME_NS, Encoding};
use super::tally::Viewing;

/// What a viewer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Watch,
    /// Reads so many bytes a second and no more.
    Crawl(usize),
    /// Leaves at its first keyframe.
    Join,
    /// Leaves at its first frame, and another comes at once.
    Churn,
}

/// A publisher's clock.
#[derive(Debug)]
pub struct Publisher {
    pub encoding: Encoding,
    /// Which of the prepared frames are its own.
    pub frames: usize,
    pub pictures: u32,
    pub sounds: u32,
    /// When its first frame was due.
    pub from_ns: u64,
}

impl Publisher {
    /// When the next picture is due.
    pub fn picture_ns(&self) -> u64 {
        self.from_ns + u64::from(self.pictures) * 1_000_000_000 / self.encoding.pictures_per_second as u64
    }

    /// When the next sound is due.
    pub fn sound_ns(&self) -> u64 {
        self.from_ns + u64::from(self.sounds) * AUDIO_FRAME_NS
    }
}

#[derive(Debug)]
pub enum Role {
    Publisher(Publisher),
    Viewer(Viewing, Part),
}

/// A connection and what it is for.
#[derive(Debug)]
pub struct Seat {
    pub link: Link,
    pub role: Role,
    /// The number of its place among all targets.
    pub target: usize,
}

impl Role {
    pub fn part(&self) -> Option<Part> {
        match self {
            Self::Viewer(_, part) => Some(*part),
            Self::Publisher(_) => None,
        }
    }
}
