#![no_main]

#[path = "../checks/conference.rs"]
mod conference;

libfuzzer_sys::fuzz_target!(|input: &[u8]| conference::check(input));
