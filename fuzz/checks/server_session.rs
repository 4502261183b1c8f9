//! A session that admits everybody, fed in pieces whose size the first byte chooses.

use tidegate::rtmp::proto::chunk::{ChunkLimits, ChunkReader};
use tidegate::rtmp::proto::server::{Output, ServerSession, SessionEvent};

/// Fails where `input` breaks what holds for any input.
pub(crate) fn check(input: &[u8]) {
    let piece_bytes = 1 + 16 * usize::from(input.first().copied().unwrap_or_default());
    let mut session = ServerSession::new();
    let mut viewer = ChunkReader::new(0, ChunkLimits::ADMITTED);
    for piece in input.chunks(piece_bytes) {
        let handled = session.handle_input(piece);
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(bytes) => {
                    let mut rest = &bytes[..];
                    while viewer.next_message(&mut rest).expect("an answer is well formed").is_some() {}
                }
                Output::Event(SessionEvent::PublishRequested { stream, .. }) => {
                    let _ = session.accept_publish(stream);
                }
                Output::Event(SessionEvent::PlayRequested { stream, .. }) => {
                    let _ = session.accept_play(stream);
                }
                Output::Event(_) => {}
            }
        }
        assert!(session.partial_bytes() <= input.len());
        if handled.is_err() {
            return;
        }
    }
}
