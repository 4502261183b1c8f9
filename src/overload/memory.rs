//! How much memory the process holds, and how much it may have. Known on Linux only.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel tells of processes and of the machine.
const PROC: &str = "/proc";
/// Where it tells of control groups.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Resident bytes of this process.
pub(super) fn resident() -> Option<u64> {
    bytes_of(&fs::read_to_string(Path::new(PROC).join("self/status")).ok()?, "VmRSS:")
}

/// What this process may have: the memory of the machine, or less where a control group says so.
pub(super) fn available() -> Option<u64> {
    let machine = bytes_of(&fs::read_to_string(Path::new(PROC).join("meminfo")).ok()?, "MemTotal:")?;
    let groups = fs::read_to_string(Path::new(PROC).join("self/cgroup")).unwrap_or_default();
    let limits = limit_files(&groups, Path::new(CGROUPS));
    // A file that is not there, or says "max", limits nothing.
    let limits = limits.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.chain([machine]).min()
}

/// The number of KiB behind `name`, in bytes.
fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let number = text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?;
    number.parse::<u64>().ok()?.checked_mul(1024)
}

/// The files that may hold a limit for the groups of `/proc/self/cgroup`: of each group and all above it.
fn limit_files(groups: &str, root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (base, file) = if controllers.is_empty() {
            (root.to_owned(), "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        let own = base.join(path.trim_start_matches('/'));
        files.extend(
            own.ancestors().take_while(|group| group.starts_with(&base)).map(|group| group.join(file)),
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_the_kernel_writes_them() {
        let status = "Name:\ttidegate\nVmPeak:\t  90000 kB\nVmRSS:\t   29312 kB\n";
        assert_eq!(bytes_of(status, "VmRSS:"), Some(29_312 * 1024));
        assert_eq!(bytes_of(status, "MemTotal:"), None);
    }

    #[test]
    fn limits_are_looked_for_in_the_group_and_above_it() {
        let root = Path::new("/sys/fs/cgroup");
        let paths = |groups: &str| -> Vec<String> {
            limit_files(groups, root).iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(
            paths("0::/system.slice/tidegate.service\n"),
            [
                "/sys/fs/cgroup/system.slice/tidegate.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            paths("5:cpu,cpuacct:/x\n4:memory:/docker/a\n"),
            [
                "/sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_holds_less_than_it_may_have() {
        let (held, available) = (resident().unwrap(), available().unwrap());
        assert!(held > 100_000 && held < available, "{held} of {available}");
    }
}
