#![no_main]

#[path = "../checks/flv.rs"]
mod flv;

libfuzzer_sys::fuzz_target!(|input: &[u8]| flv::check(input));
