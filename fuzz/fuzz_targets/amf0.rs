#![no_main]

#[path = "../checks/amf0.rs"]
mod amf0;

libfuzzer_sys::fuzz_target!(|input: &[u8]| amf0::check(input));
