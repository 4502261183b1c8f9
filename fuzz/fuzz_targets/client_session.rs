#![no_main]

#[path = "../checks/client_session.rs"]
mod client_session;
#[path = "../pieces.rs"]
mod pieces;

libfuzzer_sys::fuzz_target!(|input: &[u8]| client_session::check(input));
