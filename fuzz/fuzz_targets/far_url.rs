#![no_main]

#[path = "../checks/far_url.rs"]
mod far_url;

libfuzzer_sys::fuzz_target!(|input: &[u8]| far_url::check(input));
