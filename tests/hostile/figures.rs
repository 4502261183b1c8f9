//! What a process holds and has used, as Linux tells it.

use std::fs;
use std::time::Duration;

use crate::support::EVENT;
use crate::support::wait::until;

/// Descriptors that come and go by themselves: the test's own idle HTTP connections.
const DESCRIPTORS_SPARE: usize = 16;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) process: u32,
    pub(crate) resident_kib: u64,
    /// Memory that it has asked for, touched or not.
    pub(crate) asked_kib: u64,
    pub(crate) descriptors: usize,
    /// Processor time of all of its threads.
    pub(crate) cpu: Duration,
}

impl Figures {
    pub(crate) fn of(process: u32) -> Self {
        let root = format!("/proc/{process}");
        let status = fs::read_to_string(format!("{root}/status")).expect("its status");
        let kib = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of it");
            line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number of KiB")
        };
        let threads = fs::read_dir(format!("{root}/task")).expect("its threads");
        // A thread that ended meanwhile has no file any more.
        let nanos = threads.filter_map(|thread| {
            let spent = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            spent.split_whitespace().next()?.parse::<u64>().ok()
        });
        Self {
            process,
            resident_kib: kib("VmRSS:"),
            asked_kib: kib("VmData:"),
            descriptors: fs::read_dir(format!("{root}/fd")).expect("its descriptors").count(),
            cpu: Duration::from_nanos(nanos.sum()),
        }
    }

    /// The same process now.
    pub(crate) fn now(&self) -> Self {
        Self::of(self.process)
    }

    /// What it holds more than at `before`, in KiB.
    pub(crate) fn grown_kib(&self, before: &Self) -> u64 {
        self.resident_kib.saturating_sub(before.resident_kib)
    }

    /// Processor time since this moment.
    pub(crate) fn spent(&self) -> Duration {
        self.now().cpu.saturating_sub(self.cpu)
    }

    /// Waits until as few descriptors are open as at this moment.
    pub(crate) async fn descriptors_are_back(&self) -> Self {
        until(EVENT, &format!("descriptors are back at {}", self.descriptors), || async {
            let now = self.now();
            (now.descriptors <= self.descriptors + DESCRIPTORS_SPARE).then_some(now)
        })
        .await
    }
}

/// The growth of each of several runs of the same size, of which the first made an allocator keep what it keeps. A leak shows in
/// every one of the others.
pub(crate) fn leaked_kib(runs: &[Figures]) -> u64 {
    let growth = runs.windows(2).skip(1).map(|pair| pair[1].grown_kib(&pair[0]));
    growth.min().expect("three runs")
}
