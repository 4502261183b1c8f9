//! The machine: its disk, its limits, its kernel, its clock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::{Check, Verdict};
use crate::clock;
use crate::config::Config;
use crate::data_dir::{self, APP_KEY_FILE};
use crate::domain::Timestamp;
use crate::open_files as limit;

/// Below this much free space the store is about to stop: one day of events and its log need it.
const FREE_BYTES_FAIL: u64 = 100 << 20;
/// Below this somebody ought to look: what fills disks, fills this too.
const FREE_BYTES_WARN: u64 = 1 << 30;
/// Syncs that are timed; the middle one counts.
const SYNCS: usize = 5;
/// What one of them writes: a page of the store.
const SYNC_BYTES: usize = 4096;
/// A sync slower than this shows: every command waits for one.
const SYNC_SLOW: Duration = Duration::from_millis(50);
/// The gateway asks for this many connections that wait to be accepted (`listen.rs`).
const BACKLOG_WANTED: u64 = 4096;
/// With fewer, phones that come back together after a cut find the door shut.
const BACKLOG_WARN: u64 = 1024;
/// A clock before this is wrong, for this program is younger: 2026-01-01.
const TIME_MIN: Timestamp = Timestamp(1_767_225_600_000);
/// A clock after this is wrong as far as anybody can tell: 2100-01-01.
const TIME_MAX: Timestamp = Timestamp(4_102_444_800_000);
/// A store that was written so long after now was written by another clock.
const FUTURE_MAX: Duration = Duration::from_secs(60);
/// Where systemd notes that the clock was set by the network.
const CLOCK_IS_SET: &str = "/run/systemd/timesync/synchronized";

/// The data directory and the keys: whether they can be used, and by whom else.
pub(super) fn data(config: &Config) -> Vec<Check> {
    const NAME: &str = "data directory";
    let path = &config.data_dir;
    let mut checks = Vec::new();
    if let Err(error) = data_dir::check(path) {
        checks.push(Check::error(NAME, &error.to_string()));
    } else if !path.exists() {
        checks.push(Check::ok(NAME, format!("{} is made at the first start", path.display())));
    } else {
        checks.push(existing(NAME, path));
        checks.extend(data_dir::wide_rights(path).map(|line| Check::told(NAME, Verdict::Warn, &line)));
        checks.extend(open_to_others("app key", &path.join(APP_KEY_FILE)));
    }
    if let Some(file) = &config.master_key_file {
        checks.push(match data_dir::read_master_key(file) {
            Ok(_) => Check::ok("master key", format!("{} can be read", file.display())),
            Err(error) => Check::error("master key", &error.to_string()),
        });
        checks.extend(open_to_others("master key", file));
    }
    checks
}

fn existing(name: &'static str, path: &Path) -> Check {
    match (data_dir::check_whole(path), fs::metadata(path)) {
        (Err(error), _) => Check::error(name, &error.to_string()),
        (Ok(()), Ok(found)) if !data_dir::is_own(&found) => Check::warn(
            name,
            format!("{} belongs to another user than this one", path.display()),
            "run the doctor as the gateway's user, or give the folder to it",
        ),
        _ => Check::ok(name, format!("{} is there and whole", path.display())),
    }
}

/// A key that others than its owner may read or write.
fn open_to_others(name: &'static str, path: &Path) -> Option<Check> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        Check::fail(
            name,
            format!("{} is open to others (mode {mode:03o})", path.display()),
            format!("chmod 600 {}, and rotate the key if somebody may have read it", path.display()),
        )
    })
}

/// The disk under the data directory: room, and how long it takes to make something durable.
pub(super) fn disk(data_dir: &Path) -> Vec<Check> {
    let Some(folder) = nearest_folder(data_dir) else { return Vec::new() };
    vec![free_space(&folder), sync_time(&folder)]
}

fn nearest_folder(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned)
}

fn free_space(folder: &Path) -> Check {
    const NAME: &str = "disk space";
    match data_dir::free_bytes(folder) {
        Ok(bytes) => judge_space(bytes, folder),
        Err(error) => Check::warn(NAME, format!("it cannot be told: {error}"), "look at `df`"),
    }
}

fn judge_space(bytes: u64, folder: &Path) -> Check {
    const NAME: &str = "disk space";
    let says = format!("{} MiB are free at {}", bytes >> 20, folder.display());
    if bytes < FREE_BYTES_FAIL {
        Check::fail(NAME, says, "make room: a full disk refuses every command")
    } else if bytes < FREE_BYTES_WARN {
        Check::warn(NAME, says, "make room before it is full")
    } else {
        Check::ok(NAME, says)
    }
}

fn sync_time(folder: &Path) -> Check {
    const NAME: &str = "disk sync";
    match time_syncs(folder) {
        Ok(took) => judge_sync(took),
        Err(error) => Check::fail(
            NAME,
            format!("nothing can be written to {}: {error}", folder.display()),
            "give this user the right to write there, or run the doctor as the gateway's user",
        ),
    }
}

fn judge_sync(took: Duration) -> Check {
    const NAME: &str = "disk sync";
    let says = format!("a sync takes {:.1} ms", took.as_secs_f64() * 1000.0);
    if took >= SYNC_SLOW {
        Check::warn(NAME, says, "every command waits for one: put the data directory on a faster local disk")
    } else {
        Check::ok(NAME, says)
    }
}

/// The time of the middle one of some syncs of a probe file, which is removed again.
fn time_syncs(folder: &Path) -> io::Result<Duration> {
    struct Probe(PathBuf);
    impl Drop for Probe {
        fn drop(&mut self) {
            // Empty by name and tiny: what cannot be removed does no harm.
            let _ = fs::remove_file(&self.0);
        }
    }

    let path = folder.join(format!(".tidegate-doctor-{}", std::process::id()));
    let mut file: File = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let _probe = Probe(path);
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[0; SYNC_BYTES])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(SYNCS / 2).copied().unwrap_or_default())
}

/// Open files against the connections that the settings allow.
pub(super) fn open_files(connections_max: u32, relays_max: u32) -> Check {
    const NAME: &str = "open files";
    match limit::raise_limit(connections_max, relays_max) {
        Some(line) => Check::told(NAME, Verdict::Warn, &line),
        None => Check::ok(NAME, format!("enough for connections_max ({connections_max})")),
    }
}

/// What the kernel caps, from the files below `sys`.
pub(super) fn kernel(sys: &Path, connections_max: u32) -> Vec<Check> {
    let number = |file: &str| -> Option<u64> { fs::read_to_string(sys.join(file)).ok()?.trim().parse().ok() };
    let mut checks = Vec::new();
    for (file, key) in [
        ("net/core/somaxconn", "net.core.somaxconn"),
        ("net/ipv4/tcp_max_syn_backlog", "net.ipv4.tcp_max_syn_backlog"),
    ] {
        checks.push(match number(file) {
            Some(cap) if cap < BACKLOG_WARN => Check::warn(
                "kernel",
                format!("{key} is {cap}: a storm of reconnects finds the door shut"),
                format!("sysctl -w {key}={BACKLOG_WANTED}"),
            ),
            Some(cap) => Check::ok("kernel", format!("{key} is {cap}")),
            None => Check::ok("kernel", format!("{key} is not shown here")),
        });
    }
    if let Some(files) = number("fs/nr_open")
        && files < u64::from(connections_max)
    {
        checks.push(Check::fail(
            "kernel",
            format!("fs.nr_open is {files}, below connections_max ({connections_max})"),
            format!("sysctl -w fs.nr_open={}", u64::from(connections_max) * 2),
        ));
    }
    checks
}

/// Whether the clock can be right: tokens and certificates are judged by it.
pub(super) fn clock(data_dir: &Path) -> Vec<Check> {
    let is_set = Path::new(CLOCK_IS_SET).exists();
    vec![judge_clock(clock::now(), newest_write(data_dir), is_set)]
}

/// When the store was written last.
fn newest_write(data_dir: &Path) -> Option<Timestamp> {
    let times = ["tidegate.db", "tidegate.db-wal"].into_iter().filter_map(|file| {
        let written = fs::metadata(data_dir.join(file)).ok()?.modified().ok()?;
        let since_1970 = written.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since_1970.as_millis()).ok()
    });
    times.max().map(Timestamp)
}

fn judge_clock(now: Timestamp, newest_write: Option<Timestamp>, is_set: bool) -> Check {
    const NAME: &str = "clock";
    const MEND: &str = "set it, and keep it set by NTP: tokens and certificates are judged by it";
    if !(TIME_MIN..TIME_MAX).contains(&now) {
        return Check::fail(NAME, format!("{} s since 1970 cannot be now", now.as_secs()), MEND);
    }
    let ahead = newest_write.map_or(0, |written| written.0.saturating_sub(now.0));
    if u128::from(ahead) > FUTURE_MAX.as_millis() {
        let says = format!("the store was written {} s after now: the clock was set back", ahead / 1000);
        return Check::warn(NAME, says, MEND);
    }
    let says = if is_set {
        "it can be right, and is set by the network"
    } else {
        "it can be right; who sets it is not known here"
    };
    Check::ok(NAME, says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_syncs_and_the_clock_are_judged() {
        let folder = Path::new("/data");
        for (bytes, verdict) in [(5 << 20, Verdict::Fail), (500 << 20, Verdict::Warn), (5 << 30, Verdict::Ok)]
        {
            assert_eq!(judge_space(bytes, folder).verdict, verdict, "{bytes}");
        }
        assert_eq!(judge_sync(Duration::from_millis(2)).verdict, Verdict::Ok);
        assert_eq!(judge_sync(Duration::from_millis(80)).verdict, Verdict::Warn);
        let now = Timestamp(TIME_MIN.0 + 1_000_000);
        assert_eq!(judge_clock(now, None, false).verdict, Verdict::Ok);
        assert_eq!(judge_clock(now, Some(now), true).verdict, Verdict::Ok);
        assert_eq!(judge_clock(now, Some(now.plus_ms(3_600_000)), true).verdict, Verdict::Warn);
        for wrong in [Timestamp(0), Timestamp(TIME_MAX.0 + 1)] {
            assert_eq!(judge_clock(wrong, None, true).verdict, Verdict::Fail);
        }
    }

    #[test]
    fn the_kernels_caps_are_compared_with_the_settings() {
        let sys = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = sys.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let verdicts = || kernel(sys.path(), 15_000).iter().map(|check| check.verdict).collect::<Vec<_>>();
        assert_eq!(verdicts(), [Verdict::Ok, Verdict::Ok], "what is not shown is not judged");
        write("net/core/somaxconn", "4096\n");
        write("fs/nr_open", "1048576\n");
        assert_eq!(verdicts(), [Verdict::Ok, Verdict::Ok]);
        write("net/core/somaxconn", "128\n");
        write("fs/nr_open", "1024\n");
        assert_eq!(verdicts(), [Verdict::Warn, Verdict::Ok, Verdict::Fail]);
    }

    #[test]
    fn a_probe_is_timed_and_gone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(time_syncs(folder.path()).unwrap() > Duration::ZERO);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(time_syncs(&folder.path().join("none")).is_err());
    }
}
