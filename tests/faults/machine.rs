//! A gateway on a machine whose disk and clock the test holds in its hands (`shim.c`).

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::support::Setup;

/// The numbers of `struct faults`, in its order.
#[derive(Debug, Clone, Copy)]
enum Number {
    WallClockOffset,
    SyncDelay,
    DiskFull,
    SyncsBegun,
    SyncsEnded,
}

const NUMBER_BYTES: u64 = 8;

/// The faults of one gateway. It takes them up at once, while it runs.
pub struct Machine {
    file: File,
}

impl Machine {
    /// The machine of what is started by this setup.
    pub fn under(setup: Setup) -> (Self, Setup) {
        let path = setup.home().join("faults");
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("a new file");
        file.set_len(NUMBER_BYTES * (Number::SyncsEnded as u64 + 1)).expect("its length");
        let setup = setup.env("LD_PRELOAD", shim().display()).env("FAULTS_FILE", path.display());
        (Self { file }, setup)
    }

    pub fn set_wall_clock_ahead_ms(&self, ms: i64) {
        self.write(Number::WallClockOffset, ms);
    }

    /// How long each sync takes from now on, at least.
    pub fn slow_syncs_ms(&self, ms: i64) {
        self.write(Number::SyncDelay, ms);
    }

    /// Nothing may grow any more, or it may again.
    pub fn fill_disk(&self, full: bool) {
        self.write(Number::DiskFull, i64::from(full));
    }

    /// Syncs that have begun, and those that have ended.
    pub fn syncs(&self) -> (i64, i64) {
        // What has ended was begun before: read in this order, the second is never more than the first.
        let ended = self.read(Number::SyncsEnded);
        (self.read(Number::SyncsBegun), ended)
    }

    fn write(&self, number: Number, value: i64) {
        self.file.write_all_at(&value.to_ne_bytes(), number as u64 * NUMBER_BYTES).expect("written");
    }

    fn read(&self, number: Number) -> i64 {
        let mut bytes = 0_i64.to_ne_bytes();
        self.file.read_exact_at(&mut bytes, number as u64 * NUMBER_BYTES).expect("read");
        i64::from_ne_bytes(bytes)
    }
}

/// The shared library, compiled once by the compiler that also links Rust.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        // Kept for as long as the test process runs: other gateways of it may still be started.
        let folder = tempfile::tempdir().expect("a temporary directory").keep();
        let library = folder.join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let mut compiler = std::process::Command::new("cc");
        compiler
            .args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl");
        let compiled = compiler.status().expect("cc, which also links Rust");
        assert!(compiled.success(), "tests/faults/shim.c does not compile");
        library
    })
}
