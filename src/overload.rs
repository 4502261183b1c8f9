//! Whether the gateway has more on its hands than it can carry. While that stands, newcomers are refused and those inside are
//! left alone.
//!
//! Two marks are watched. **Memory**: what the process holds of what it may have. **Lateness**: how late a tick of the runtime
//! comes. Lateness rather than the share of the processor, because it is what members feel (every frame, heartbeat and command
//! waits as long), it sees a neighbour that takes the processor away, and a machine that is busy and still on time is no
//! trouble.
//!
//! [`Load`] decides: samples and the present in, the mark that is passed out. [`Overload`] takes the samples and is asked.

mod memory;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::domain::{Reason, Refusal};

/// Between two ticks.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between two looks at the memory: it takes a read of a small file.
const TICKS_PER_LOOK: u32 = 10;
/// Ticks whose middle lateness counts: one pause, such as of a machine that slept, is no overload, one that stays is told within a
/// second.
const TICKS_COUNTED: usize = 9;
/// How long all must have been well until newcomers are let in again: longer than most retries wait, so that it does not
/// flap with them.
const CALM: Duration = Duration::from_secs(2);
/// When whoever was refused may come again, for those that are told.
const RETRY: Duration = Duration::from_secs(5);
/// What counts as passed where the settings name no mark for memory, in percent of what the process may have: the rest is for
/// the kernel's buffers of its sockets, and for those inside.
const MEMORY_PERCENT: u64 = 80;

/// From where on it is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Resident bytes of the process; `None` where that is not watched.
    pub memory_bytes: Option<u64>,
    /// How late a tick may come.
    pub lateness: Duration,
}

impl Marks {
    /// Those of the settings. 0 bytes: most of what the machine or the control group lets the process have.
    pub fn new(memory_bytes: u64, lateness: Duration) -> Self {
        let share = || Some(memory::available()? / 100 * MEMORY_PERCENT);
        Self { memory_bytes: if memory_bytes == 0 { share() } else { Some(memory_bytes) }, lateness }
    }
}

/// A mark that is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// That of memory.
    Memory,
    /// That of lateness.
    Lateness,
}

impl Passed {
    /// The setting.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Memory => "overload_memory_bytes",
            Self::Lateness => "overload_lateness_ms",
        }
    }

    /// Why, for a person.
    pub fn why(self) -> &'static str {
        match self {
            Self::Memory => "it holds more memory than overload_memory_bytes; nobody new is let in",
            Self::Lateness => "it is late by more than overload_lateness_ms; nobody new is let in",
        }
    }
}

/// What was seen last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Resident bytes of the process, where they can be read.
    pub memory_bytes: Option<u64>,
    /// The middle lateness of the last ticks.
    pub lateness: Duration,
    /// The mark that is passed.
    pub passed: Option<Passed>,
}

/// Decides from samples.
#[derive(Debug, Default)]
struct Load {
    memory_bytes: Option<u64>,
    late: VecDeque<Duration>,
    passed: Option<Passed>,
    /// Since when all is below the marks by a margin, while one counts as passed.
    calm_since: Option<Instant>,
}

impl Load {
    fn note_memory(&mut self, bytes: Option<u64>) {
        self.memory_bytes = bytes;
    }

    fn note_tick(&mut self, late: Duration) {
        if self.late.len() == TICKS_COUNTED {
            self.late.pop_front();
        }
        self.late.push_back(late);
    }

    /// The middle one; as long as there are few ticks, those that are missing came in time.
    fn lateness(&self) -> Duration {
        let mut late = [Duration::ZERO; TICKS_COUNTED];
        for (slot, seen) in late.iter_mut().zip(&self.late) {
            *slot = *seen;
        }
        late.sort_unstable();
        late.get(TICKS_COUNTED / 2).copied().unwrap_or_default()
    }

    fn is_over(&self, marks: &Marks) -> Option<Passed> {
        let memory = self.memory_bytes.zip(marks.memory_bytes).is_some_and(|(held, mark)| held > mark);
        match (memory, self.lateness() > marks.lateness) {
            (true, _) => Some(Passed::Memory),
            (false, true) => Some(Passed::Lateness),
            (false, false) => None,
        }
    }

    /// Which mark counts as passed at `now`. Once one is, all has to be well by a margin (a tenth of the memory, half of the
    /// lateness) for [`CALM`].
    fn judge(&mut self, marks: &Marks, now: Instant) -> Option<Passed> {
        let below = Marks {
            memory_bytes: marks.memory_bytes.map(|mark| mark - mark / 10),
            lateness: marks.lateness / 2,
        };
        match (self.is_over(marks), self.passed) {
            (Some(over), _) => {
                self.passed = Some(over);
                self.calm_since = None;
            }
            (None, Some(_)) if self.is_over(&below).is_some() => self.calm_since = None,
            (None, Some(_)) => {
                let since = *self.calm_since.get_or_insert(now);
                if now.saturating_duration_since(since) >= CALM {
                    self.passed = None;
                    self.calm_since = None;
                }
            }
            (None, None) => {}
        }
        self.passed
    }
}

/// The gateway's load. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Overload(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    marks: Marks,
    load: Load,
}

impl Default for Overload {
    /// One that nothing is ever too much for.
    fn default() -> Self {
        Self::new(Marks { memory_bytes: None, lateness: Duration::MAX })
    }
}

impl Overload {
    /// Nothing seen yet.
    pub fn new(marks: Marks) -> Self {
        Self(Arc::new(Mutex::new(State { marks, load: Load::default() })))
    }

    /// These marks from now on.
    pub fn set_marks(&self, marks: Marks) {
        self.0.lock().marks = marks;
    }

    /// Refuses whoever is new, while a mark is passed.
    pub fn admit(&self) -> Result<(), Refusal> {
        match self.0.lock().load.passed {
            None => Ok(()),
            Some(passed) => Err(Reason::Overloaded
                .because("the gateway has more to do than it can; try again in some seconds, or another one")
                .after(RETRY)
                .at(passed.setting())),
        }
    }

    /// What was seen last.
    pub fn reading(&self) -> Reading {
        let State { load, .. } = &*self.0.lock();
        Reading { memory_bytes: load.memory_bytes, lateness: load.lateness(), passed: load.passed }
    }

    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = 0_u32;
        loop {
            let due = Instant::now() + TICK;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = sleep_until(due) => {}
            }
            let now = Instant::now();
            let memory = ticks.is_multiple_of(TICKS_PER_LOOK).then(memory::resident);
            ticks = ticks.wrapping_add(1);
            self.note(memory, now.saturating_duration_since(due), now);
        }
    }

    fn note(&self, memory: Option<Option<u64>>, late: Duration, now: Instant) {
        let mut state = self.0.lock();
        let State { marks, load } = &mut *state;
        if let Some(bytes) = memory {
            load.note_memory(bytes);
        }
        load.note_tick(late);
        let before = load.passed;
        let passed = load.judge(marks, now);
        let (bytes, lateness) = (load.memory_bytes, load.lateness());
        drop(state);
        match (before, passed) {
            (None, Some(mark)) => {
                tracing::warn!(mark = mark.setting(), bytes, ?lateness, "overloaded: nobody new is let in");
            }
            (Some(_), None) => tracing::warn!(bytes, ?lateness, "no longer overloaded"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks { memory_bytes: Some(1000), lateness: Duration::from_millis(500) };

    fn ticks(load: &mut Load, late_ms: u64, count: usize) {
        for _ in 0..count {
            load.note_tick(Duration::from_millis(late_ms));
        }
    }

    #[test]
    fn memory_past_its_mark_counts_until_it_was_well_below_for_a_while() {
        let (mut load, now) = (Load::default(), Instant::now());
        load.note_memory(Some(1000));
        assert_eq!(load.judge(&MARKS, now), None);
        load.note_memory(Some(1001));
        assert_eq!(load.judge(&MARKS, now), Some(Passed::Memory));
        load.note_memory(Some(950));
        assert_eq!(load.judge(&MARKS, now + 10 * CALM), Some(Passed::Memory), "too near to the mark");
        load.note_memory(Some(900));
        let below = now + 11 * CALM;
        assert_eq!(load.judge(&MARKS, below), Some(Passed::Memory));
        load.note_memory(Some(950));
        assert_eq!(load.judge(&MARKS, below + CALM), Some(Passed::Memory), "the calm was broken");
        load.note_memory(Some(900));
        assert_eq!(load.judge(&MARKS, below + 2 * CALM), Some(Passed::Memory));
        assert_eq!(load.judge(&MARKS, below + 3 * CALM), None);
        load.note_memory(Some(950));
        assert_eq!(load.judge(&MARKS, below + 4 * CALM), None, "below the mark from the other side");
        load.note_memory(None);
        assert_eq!(load.judge(&MARKS, below + 5 * CALM), None, "what cannot be read is not watched");
    }

    #[test]
    fn lateness_counts_when_it_lasts() {
        let (mut load, now) = (Load::default(), Instant::now());
        ticks(&mut load, 30_000, 1);
        assert_eq!(load.judge(&MARKS, now), None, "one long pause");
        ticks(&mut load, 501, TICKS_COUNTED / 2);
        assert_eq!(load.judge(&MARKS, now), Some(Passed::Lateness));
        ticks(&mut load, 300, TICKS_COUNTED);
        assert_eq!(load.judge(&MARKS, now + 10 * CALM), Some(Passed::Lateness), "more than half of it");
        ticks(&mut load, 1, TICKS_COUNTED);
        assert_eq!(load.judge(&MARKS, now + 11 * CALM), Some(Passed::Lateness));
        assert_eq!(load.judge(&MARKS, now + 12 * CALM), None);
    }

    #[test]
    fn who_comes_is_refused_with_the_mark_and_a_time() {
        let overload = Overload::new(MARKS);
        overload.admit().unwrap();
        overload.note(Some(Some(2000)), Duration::ZERO, Instant::now());
        let refusal = overload.admit().unwrap_err();
        assert_eq!((refusal.reason, refusal.limit), (Reason::Overloaded, Some("overload_memory_bytes")));
        assert_eq!(refusal.wait, Some(RETRY));
        assert_eq!(overload.reading().memory_bytes, Some(2000));
        overload.set_marks(Marks { memory_bytes: Some(10_000), ..MARKS });
        let later = Instant::now() + CALM;
        overload.note(None, Duration::ZERO, later);
        overload.note(None, Duration::ZERO, later + CALM);
        overload.admit().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_runtime_in_time_is_not_late_and_memory_is_seen() {
        let (overload, stop) = (Overload::new(MARKS), CancellationToken::new());
        let looking = tokio::spawn(overload.clone().run(stop.clone()));
        tokio::time::sleep(20 * TICK).await;
        let reading = overload.reading();
        assert!(reading.lateness < TICK, "{reading:?}");
        // More than a thousand bytes, wherever it can be read.
        assert_eq!(reading.passed, cfg!(target_os = "linux").then_some(Passed::Memory));
        stop.cancel();
        looking.await.unwrap();
    }
}
