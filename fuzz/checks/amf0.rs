//! What was read must survive the way out and back, and no nesting may exhaust the stack.

use tidegate::rtmp::proto::amf0::{Reader, string_prefix, within_depth};
use tidegate::rtmp::proto::message::Command;

/// Fails where `body` breaks what holds for any input.
pub(crate) fn check(body: &[u8]) {
    let _ = (string_prefix(body), within_depth(body));
    let mut reader = Reader::new(body);
    while let Ok(Some(_)) = reader.next_value() {}
    if let Some(command) = Command::parse(body) {
        let encoded = command.encode();
        let again = Command::parse(&encoded).expect("what we write can be read");
        // NaN differs from itself, so the encoded forms are compared.
        assert_eq!(again.encode(), encoded);
    }
}
