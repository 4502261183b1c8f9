//! Looks at the two files again and again, and shows the pair that they hold now.
//!
//! The files are looked at by what they hold: names that point elsewhere, as certbot and Kubernetes swap them, files that
//! were replaced and files that were written over are all the same to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Tls;
use super::pair::{Contents, Fingerprint, Pair, TlsError, TlsFiles};
use crate::domain::Timestamp;

/// Between two warnings of the same end.
const WARN_AGAIN_MS: u64 = 86_400_000;

/// What became of a change of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The new pair is shown, until this many seconds since 1970.
    Loaded {
        /// The last second in which it is good.
        not_after: i64,
    },
    /// The new pair is no good; the one before is still shown.
    Failed,
}

/// What a look at the files found: what they hold, or why they cannot be read.
type Look = Result<Fingerprint, String>;

/// Keeps what is shown in step with the files.
pub struct Renewal {
    /// What is shown.
    pub tls: Tls,
    /// Where the next pair comes from.
    pub files: TlsFiles,
    /// What is shown at the beginning.
    pub pair: Pair,
    /// Between two looks.
    pub pause: Duration,
    /// Told of each change.
    pub tell: Arc<dyn Fn(Outcome) + Send + Sync>,
    /// The wall clock.
    pub clock: fn() -> Timestamp,
}

impl Renewal {
    /// Looks until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = Looks::new(self.pair.fingerprint);
        // What is shown at the beginning was told of when it was loaded.
        let mut warned_at = (self.clock)();
        let mut pace = interval(self.pause);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = pace.tick() => {}
            }
            let files = self.files.clone();
            // Disks, above all those of a network, may take their time.
            let Ok(contents) = spawn_blocking(move || Contents::read(&files)).await else { continue };
            if looks.is_news(&look(&contents)) {
                self.take(contents);
                warned_at = (self.clock)();
            } else {
                self.warn(&mut warned_at);
            }
        }
    }

    fn take(&mut self, contents: Result<Contents, TlsError>) {
        let pair = contents.and_then(|contents| Pair::from_contents(&self.files, &contents));
        match pair {
            Ok(pair) => {
                self.tls.show(&pair);
                let not_after = pair.not_after();
                tracing::info!(not_after, "the certificate was taken anew from tls_cert and tls_key");
                for warning in pair.warnings((self.clock)()) {
                    tracing::warn!("{warning}");
                }
                self.pair = pair;
                (self.tell)(Outcome::Loaded { not_after });
            }
            Err(error) => {
                tracing::error!(%error, "the new certificate cannot be used; the one before stays in use");
                (self.tell)(Outcome::Failed);
            }
        }
    }

    /// Says once a day that the end is near.
    fn warn(&self, warned_at: &mut Timestamp) {
        let now = (self.clock)();
        if now < warned_at.plus_ms(WARN_AGAIN_MS) {
            return;
        }
        *warned_at = now;
        if let Some(warning) = self.pair.time_warning(now) {
            tracing::warn!("{warning}");
        }
    }
}

fn look(contents: &Result<Contents, TlsError>) -> Look {
    contents.as_ref().map(Contents::fingerprint).map_err(ToString::to_string)
}

/// Waits until a change is whole: two files never change at once, and a file that is written over is half written for a
/// moment. So a change counts when a second look finds the same.
struct Looks {
    /// What was acted upon last.
    known: Look,
    /// What the last look found.
    last: Look,
}

impl Looks {
    fn new(known: Fingerprint) -> Self {
        Self { known: Ok(known), last: Ok(known) }
    }

    /// Whether the files hold something new, and have come to rest.
    fn is_news(&mut self, found: &Look) -> bool {
        let rests = *found == self.last;
        if !rests {
            self.last.clone_from(found);
            return false;
        }
        if *found == self.known {
            return false;
        }
        self.known.clone_from(found);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_and_when_it_rests() {
        let holds = |text: &str| -> Look {
            let home = tempfile::tempdir().unwrap();
            let files = TlsFiles { certificate: home.path().join("a"), key: home.path().join("b") };
            std::fs::write(&files.certificate, text).unwrap();
            std::fs::write(&files.key, "key").unwrap();
            look(&Contents::read(&files))
        };
        let (old, half, new) = (holds("old"), holds("half"), holds("new"));
        let gone: Look = Err("gone".to_owned());
        let mut looks = Looks::new(old.clone().unwrap());
        for (found, counts) in [
            (&old, false),
            (&half, false),
            (&new, false),
            (&new, true),
            (&new, false),
            (&gone, false),
            (&new, false),
            (&gone, false),
            (&gone, true),
            (&gone, false),
            (&new, false),
            (&new, true),
            (&old, false),
            (&old, true),
        ] {
            assert_eq!(looks.is_news(found), counts, "{found:?}");
        }
    }
}
