//! How often somebody may do something: token buckets by key, within bounded memory.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::InMemoryState;
use governor::state::direct::NotKeyed;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

/// Buckets of one limiter: each takes about a hundred bytes, so that all of them take some megabytes. Who finds no
/// bucket of its own shares one with all others who found none.
const BUCKETS_MAX: usize = 50_000;
/// Between two looks for buckets that are full again and so need not be kept: a look at all of them takes milliseconds.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// Between two looks where there is no room left.
const SWEEP_CROWDED_EVERY: Duration = Duration::from_millis(500);

/// So many at once, and so many in a time from then on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// How many may come at once; they come back evenly over `per`.
    pub(super) burst: NonZeroU32,
    /// In what time an empty bucket is full again.
    pub(super) per: Duration,
}

impl Rate {
    /// `count` a second, and so many at once as come in `seconds`.
    pub(super) fn per_second(count: u32, seconds: u32) -> Self {
        let seconds = seconds.max(1);
        Self { burst: at_least_one(count.saturating_mul(seconds)), per: Duration::from_secs(seconds.into()) }
    }

    /// `count` a minute, all of them at once if need be.
    pub(super) fn per_minute(count: u32) -> Self {
        Self { burst: at_least_one(count), per: Duration::from_secs(60) }
    }

    fn quota(self) -> Quota {
        let each = self.per / self.burst.get();
        Quota::with_period(each.max(Duration::from_nanos(1)))
            .unwrap_or_else(|| Quota::per_second(self.burst))
            .allow_burst(self.burst)
    }
}

fn at_least_one(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}

type Buckets<K, C> = RateLimiter<K, DashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;
type Bucket<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// A bucket for each key.
pub(super) struct Limiter<K: Hash + Eq + Clone, C: Clock = DefaultClock> {
    clock: C,
    buckets: Buckets<K, C>,
    /// For those who find no bucket of their own.
    shared: Bucket<C>,
    buckets_max: usize,
    swept: Mutex<Instant>,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// Every bucket full.
    pub(super) fn new(rate: Rate) -> Self {
        Self::with_clock(rate, BUCKETS_MAX, DefaultClock::default())
    }
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Limiter<K, C> {
    fn with_clock(rate: Rate, buckets_max: usize, clock: C) -> Self {
        Self {
            buckets: RateLimiter::new(rate.quota(), DashMapStateStore::default(), clock.clone()),
            shared: RateLimiter::direct_with_clock(rate.quota(), clock.clone()),
            clock,
            buckets_max,
            swept: Mutex::new(Instant::now()),
        }
    }

    /// Takes one from the bucket of `key`, or tells how long it takes until there is one.
    pub(super) fn take(&self, key: &K) -> Result<(), Duration> {
        self.sweep();
        let taken = if self.buckets.len() < self.buckets_max {
            self.buckets.check_key(key)
        } else {
            self.shared.check()
        };
        taken.map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// Forgets buckets that are full again.
    fn sweep(&self) {
        let crowded = self.buckets.len() >= self.buckets_max;
        let every = if crowded { SWEEP_CROWDED_EVERY } else { SWEEP_EVERY };
        let due = {
            let mut swept = self.swept.lock();
            let due = swept.elapsed() >= every;
            if due {
                *swept = Instant::now();
            }
            due
        };
        if due {
            self.buckets.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limiter(rate: Rate, buckets_max: usize) -> (Limiter<u32, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limiter::with_clock(rate, buckets_max, clock.clone()), clock)
    }

    #[test]
    fn a_bucket_is_empty_after_its_burst_and_fills_evenly() {
        let (limiter, clock) = limiter(Rate::per_minute(6), 10);
        for _ in 0..6 {
            assert_eq!(limiter.take(&1), Ok(()));
        }
        assert_eq!(limiter.take(&1), Err(Duration::from_secs(10)));
        assert_eq!(limiter.take(&2), Ok(()), "another key has another bucket");
        clock.advance(Duration::from_secs(9));
        assert_eq!(limiter.take(&1), Err(Duration::from_secs(1)), "a refused one costs nothing");
        clock.advance(Duration::from_secs(1));
        assert_eq!(limiter.take(&1), Ok(()));
        assert!(limiter.take(&1).is_err());
    }

    #[test]
    fn so_many_a_second_with_a_burst_of_seconds() {
        let (limiter, clock) = limiter(Rate::per_second(10, 2), 10);
        assert_eq!((0..100).filter(|_| limiter.take(&1).is_ok()).count(), 20);
        clock.advance(Duration::from_secs(1));
        assert_eq!((0..100).filter(|_| limiter.take(&1).is_ok()).count(), 10);
    }

    #[test]
    fn keys_without_end_take_bounded_memory_and_stay_limited() {
        let (limiter, clock) = limiter(Rate::per_minute(2), 100);
        let passed = (0..10_000).filter(|key| limiter.take(key).is_ok()).count();
        assert_eq!(limiter.buckets.len(), 100);
        assert_eq!(passed, 102, "those without a bucket share one");
        clock.advance(Duration::from_secs(60));
        *limiter.swept.lock() -= SWEEP_CROWDED_EVERY;
        assert_eq!(limiter.take(&20_000), Ok(()));
        assert_eq!(limiter.buckets.len(), 1, "full buckets were forgotten");
    }
}
