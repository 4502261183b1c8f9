//! What a publisher sends of one kind, and whether it still does.

/// Silence of one kind, while the other kind flows, after which it counts as off: a camera that was switched off sends
/// nothing, and a desktop that stands still sends a picture every few seconds.
pub(super) const TRACK_SILENT_MS: u64 = 5_000;

/// Sound or pictures of one publisher.
#[derive(Debug)]
pub(super) struct Track<T> {
    info: Option<T>,
    seen_ms: Option<u64>,
}

impl<T> Default for Track<T> {
    fn default() -> Self {
        Self { info: None, seen_ms: None }
    }
}

impl<T: PartialEq> Track<T> {
    /// Takes note of what a header or frame told; true if that is news.
    pub(super) fn learn(&mut self, info: Option<T>) -> bool {
        let is_news = self.info != info;
        self.info = info;
        is_news
    }

    /// Takes note of a header or frame; true if there was none, or none for long.
    pub(super) fn see(&mut self, now_ms: u64) -> bool {
        self.seen_ms.replace(now_ms).is_none()
    }

    /// True if it fell silent just now.
    pub(super) fn fall_silent(&mut self, now_ms: u64) -> bool {
        let is_silent = |seen_ms: &mut u64| now_ms.saturating_sub(*seen_ms) > TRACK_SILENT_MS;
        self.seen_ms.take_if(is_silent).is_some()
    }

    /// What was learnt, silent or not.
    pub(super) fn known(&self) -> Option<&T> {
        self.info.as_ref()
    }

    /// What flows now.
    pub(super) fn flowing(&self) -> Option<&T> {
        self.info.as_ref().filter(|_| self.seen_ms.is_some())
    }
}
