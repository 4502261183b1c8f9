#![no_main]

#[path = "../checks/chunk_reader.rs"]
mod chunk_reader;
#[path = "../pieces.rs"]
mod pieces;

libfuzzer_sys::fuzz_target!(|input: &[u8]| chunk_reader::check(input));
