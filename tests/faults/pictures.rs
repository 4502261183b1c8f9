//! When pictures came.

use std::time::{Duration, Instant};

use crate::support::flv::Tag;
use crate::support::peer::Seen;
use crate::support::{EVENT, Peer, within};

/// A viewer that notes when each picture came.
pub struct Arrivals(Peer);

impl Arrivals {
    pub fn of(peer: Peer) -> Self {
        Self(peer)
    }

    /// The pictures up to the one that is `enough`, each with its moment.
    pub async fn until(&mut self, what: &str, mut enough: impl FnMut(&Tag) -> bool) -> Vec<(Instant, Tag)> {
        within(EVENT * 3, what, async {
            let mut came = Vec::new();
            loop {
                match self.0.next().await {
                    Seen::Media(tag) if tag.is_picture() => {
                        let is_last = enough(&tag);
                        came.push((Instant::now(), tag));
                        if is_last {
                            return came;
                        }
                    }
                    Seen::Closed => panic!("closed before {what}"),
                    _ => {}
                }
            }
        })
        .await
    }

    pub async fn take(&mut self, count: usize) -> Vec<(Instant, Tag)> {
        let mut left = count;
        self.until(&format!("{count} pictures"), |_| {
            left -= 1;
            left == 0
        })
        .await
    }
}

/// The greatest of the shortest 99 of a hundred gaps between two arrivals, and the greatest of all.
pub fn gaps(came: &[(Instant, Tag)]) -> (Duration, Duration) {
    let mut gaps: Vec<Duration> = came.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    gaps.sort();
    let p99 = gaps.len() * 99 / 100;
    (gaps[p99.min(gaps.len() - 1)], gaps[gaps.len() - 1])
}
