//! Every fuzz target on the stable toolchain: what its corpus holds, crashes that were found among it, and changed copies
//! of that. `make fuzz` is the long form.
//!
//! Every run is the same: `TIDEGATE_FUZZ_SEED` chooses another one, `TIDEGATE_FUZZ_ITERATIONS` a longer one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use mutation::Random;

#[path = "support/mutation.rs"]
mod mutation;
#[path = "../fuzz/pieces.rs"]
mod pieces;

/// A few seconds at most for each target in a debug build.
const ITERATIONS: u64 = 1_000;
const SEED: u64 = 0x7D1E_6A7E;
/// What an RTMP session takes at once, so that what it may hold can be reached. The fuzzers stay below, where they run faster.
const INPUT_BYTES_MAX: usize = 64 * 1024;

macro_rules! targets {
    ($($name:ident in $file:literal),+ $(,)?) => {
        $(
            #[path = $file]
            mod $name;

            #[test]
            fn $name() {
                fuzz(stringify!($name), $name::check);
            }
        )+

        /// The targets by name.
        const TARGETS: &[&str] = &[$(stringify!($name)),+];
    };
}

targets!(
    amf0 in "../fuzz/checks/amf0.rs",
    chunk_reader in "../fuzz/checks/chunk_reader.rs",
    client_session in "../fuzz/checks/client_session.rs",
    conference in "../fuzz/checks/conference.rs",
    far_url in "../fuzz/checks/far_url.rs",
    flv in "../fuzz/checks/flv.rs",
    media in "../fuzz/checks/media.rs",
    proxy_header in "../fuzz/checks/proxy_header.rs",
    server_session in "../fuzz/checks/server_session.rs",
    tokens in "../fuzz/checks/tokens.rs",
    url_parameters in "../fuzz/checks/url_parameters.rs",
);

fn folder(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(path)
}

fn names(path: &str) -> Vec<String> {
    let entries = fs::read_dir(folder(path)).unwrap_or_else(|error| panic!("fuzz/{path}: {error}"));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The corpus as it is, and changed copies of it.
fn fuzz(target: &str, check: fn(&[u8])) {
    let corpus = format!("corpus/{target}");
    let inputs: Vec<(String, Vec<u8>)> = names(&corpus)
        .into_iter()
        .map(|name| (name.clone(), fs::read(folder(&corpus).join(name)).unwrap()))
        .collect();
    assert!(!inputs.is_empty(), "{target} has no corpus");
    for (name, input) in &inputs {
        run(check, input, &format!("fuzz/{corpus}/{name}"));
    }
    let recordings: Vec<&[u8]> = inputs.iter().map(|(_, input)| &input[..]).collect();
    let seed = setting("TIDEGATE_FUZZ_SEED", SEED);
    for iteration in 0..setting("TIDEGATE_FUZZ_ITERATIONS", ITERATIONS) {
        let mut random = Random::new(seed, iteration);
        let recorded = recordings[random.below(recordings.len())];
        let input = random.mutate(recorded, &recordings, INPUT_BYTES_MAX);
        run(check, &input, &format!("TIDEGATE_FUZZ_SEED={seed}, iteration {iteration}"));
    }
}

fn run(check: fn(&[u8]), input: &[u8], what: &str) {
    let outcome = catch_unwind(AssertUnwindSafe(|| check(input)));
    assert!(outcome.is_ok(), "{what}: {}", input.escape_ascii());
}

#[test]
fn every_target_is_run_here_and_by_make_fuzz() {
    let targets: Vec<String> = TARGETS.iter().map(|name| (*name).to_owned()).collect();
    let files: Vec<String> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names("checks"), files);
    assert_eq!(names("fuzz_targets"), files);
    assert_eq!(names("corpus"), targets);
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for target in &targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target} is no binary");
    }
}
