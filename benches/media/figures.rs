//! What is counted: durations in buckets, so that a frame costs no memory, and medians over runs.

/// Buckets per doubling: a percentile is off by at most 1/64 of its value.
const STEPS: u64 = 64;
/// Doublings beyond the first [`STEPS`] microseconds: the last bucket begins at about 19 hours.
const DOUBLINGS: u64 = 30;

/// Durations, in buckets of microseconds.
#[derive(Debug, Clone)]
pub struct Durations {
    buckets: Vec<u64>,
    count: u64,
    max_us: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self { buckets: vec![0; (STEPS * (DOUBLINGS + 1)) as usize], count: 0, max_us: 0 }
    }
}

fn bucket(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    // The highest bit says which doubling, the bits below it which step.
    let doubling = u64::from(us.ilog2() - STEPS.ilog2());
    let step = (us >> doubling) - STEPS;
    (STEPS * (doubling.min(DOUBLINGS - 1) + 1) + step) as usize
}

/// The middle of a bucket, in microseconds.
fn middle(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket as f64;
    }
    let doubling = bucket / STEPS - 1;
    let start = (STEPS + bucket % STEPS) << doubling;
    start as f64 + ((1_u64 << doubling) - 1) as f64 / 2.0
}

impl Durations {
    pub fn add_ns(&mut self, ns: u64) {
        let us = ns / 1000;
        self.buckets[bucket(us)] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// The duration in milliseconds that this share of all did not exceed; nothing where there are none.
    pub fn percentile_ms(&self, percent: f64) -> Option<f64> {
        let rank = ((self.count as f64 * percent / 100.0).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(middle(bucket) / 1000.0);
            }
        }
        None
    }

    pub fn max_ms(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max_us as f64 / 1000.0)
    }
}

/// The middle value, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let (below, above) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(values[below], values[above]))
}
