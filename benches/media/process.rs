//! What the kernel says of a server's processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// `/proc` counts time in these, a second.
const TICKS: f64 = 100.0;

struct Stat {
    parent: u32,
    own_ticks: f64,
    ended_children_ticks: f64,
}

fn stat(process: u32) -> Option<Stat> {
    let line = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may hold spaces and brackets; what follows the last bracket is field 3 and on.
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some(Stat {
        parent: number(4)? as u32,
        own_ticks: number(14)? + number(15)?,
        ended_children_ticks: number(16)? + number(17)?,
    })
}

/// A process and all that descend from it.
pub fn tree(root: u32) -> Vec<u32> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("Linux").flatten() {
        if let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            && let Some(stat) = stat(process)
        {
            parents.insert(process, stat.parent);
        }
    }
    let mut tree = BTreeSet::from([root]);
    while parents.iter().any(|(process, parent)| tree.contains(parent) && tree.insert(*process)) {}
    tree.into_iter().collect()
}

/// Processor time of these processes, and of their children that have ended, in seconds.
pub fn seconds(processes: &[u32]) -> f64 {
    let all = processes.iter().filter_map(|process| stat(*process));
    all.map(|stat| stat.own_ticks + stat.ended_children_ticks).sum::<f64>() / TICKS
}

/// Processor time of this process, in seconds.
pub fn own_seconds() -> f64 {
    stat(std::process::id()).map_or(0.0, |stat| stat.own_ticks) / TICKS
}

/// Memory of these processes, shared pages by their share, in KiB.
pub fn memory_kib(processes: &[u32]) -> f64 {
    let pss = |process: &u32| -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse().ok()
    };
    processes.iter().filter_map(pss).sum()
}

/// Times that the threads of these processes went to sleep of their own will, and that they were put off a processor.
pub fn switches(processes: &[u32]) -> (u64, u64) {
    let mut sums = (0, 0);
    for process in processes {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let text = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let count = |name: &str| -> u64 {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
            };
            sums.0 += count("voluntary_ctxt_switches:");
            sums.1 += count("nonvoluntary_ctxt_switches:");
        }
    }
    sums
}

/// The most bytes that wait in the kernel on one server socket whose peer has one of these ports.
pub fn most_unsent(peers: &BTreeSet<u16>) -> u64 {
    let mut most = 0;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, _, remote, _, queues, ..] = fields.as_slice() else { continue };
            let port = remote.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            let unsent =
                queues.split_once(':').and_then(|(sending, _)| u64::from_str_radix(sending, 16).ok());
            if let (Some(port), Some(unsent)) = (port, unsent)
                && peers.contains(&port)
            {
                most = most.max(unsent);
            }
        }
    }
    most
}

/// The load of the whole machine over the last minute.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or_default()
}
