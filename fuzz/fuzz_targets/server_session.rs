#![no_main]

#[path = "../pieces.rs"]
mod pieces;
#[path = "../checks/server_session.rs"]
mod server_session;

libfuzzer_sys::fuzz_target!(|input: &[u8]| server_session::check(input));
