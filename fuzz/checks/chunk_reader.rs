//! Whole and split input must give the same messages, and no input may make the reader hold more than it brought.

use tidegate::rtmp::proto::chunk::{ChunkError, ChunkLimits, ChunkMessage, ChunkReader};

fn read(reader: &mut ChunkReader, mut input: &[u8]) -> (Vec<ChunkMessage>, Option<ChunkError>) {
    let mut messages = Vec::new();
    loop {
        match reader.next_message(&mut input) {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, None),
            Err(error) => return (messages, Some(error)),
        }
    }
}

/// Fails where `input` breaks what holds for any input.
pub(crate) fn check(input: &[u8]) {
    let mut reader = ChunkReader::new(0, ChunkLimits::STRANGER);
    let whole = read(&mut reader, input);
    assert!(reader.partial_bytes() <= input.len());

    let mut bytewise = ChunkReader::new(0, ChunkLimits::STRANGER);
    let mut split = (Vec::new(), None);
    for byte in input {
        let (messages, error) = read(&mut bytewise, std::slice::from_ref(byte));
        split.0.extend(messages);
        split.1 = error;
        if split.1.is_some() {
            break;
        }
    }
    assert_eq!(whole, split);
}
