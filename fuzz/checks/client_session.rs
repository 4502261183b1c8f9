//! A session that publishes or plays, fed by a far server in pieces whose size the first byte chooses.

use tidegate::rtmp::proto::chunk::{ChunkLimits, ChunkReader};
use tidegate::rtmp::proto::client::{ClientOutput, ClientRequest, ClientSession, Purpose};

/// Fails where `input` breaks what holds for any input.
pub(crate) fn check(input: &[u8]) {
    let first = input.first().copied().unwrap_or_default();
    let purpose = if first % 2 == 0 { Purpose::Play } else { Purpose::Publish };
    let (app, tc_url, name) = ("live".into(), "rtmp://far/live".into(), "key".into());
    let mut session = ClientSession::new(ClientRequest { app, tc_url, name, purpose });
    let mut server = ChunkReader::new(0, ChunkLimits::ADMITTED);
    for piece in input.chunks(1 + 16 * usize::from(first)) {
        let handled = session.handle_input(piece);
        while let Some(output) = session.poll_output() {
            if let ClientOutput::Send(bytes) = output {
                let mut rest = &bytes[..];
                while server.next_message(&mut rest).expect("a request is well formed").is_some() {}
            }
        }
        assert!(session.partial_bytes() <= input.len());
        if handled.is_err() {
            return;
        }
    }
}
