#![no_main]

#[path = "../checks/media.rs"]
mod media;

libfuzzer_sys::fuzz_target!(|input: &[u8]| media::check(input));
