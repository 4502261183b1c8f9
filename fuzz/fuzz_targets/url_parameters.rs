#![no_main]

#[path = "../checks/url_parameters.rs"]
mod url_parameters;

libfuzzer_sys::fuzz_target!(|input: &[u8]| url_parameters::check(input));
