//! A session that publishes or plays, fed by a far server: what it says is well formed and whole, what waits in it is bounded, it
//! holds no more than came, and after an error it takes nothing more.

use tidegate::rtmp::proto::chunk::{ChunkLimits, ChunkReader};
use tidegate::rtmp::proto::client::{
    ClientError, ClientOutput, ClientRequest, ClientSession, Purpose, QUEUED_BYTES_MAX, QUEUED_EVENTS_MAX,
};
use tidegate::rtmp::proto::message::AGGREGATED_MESSAGES_MAX;

use crate::pieces::{one_of, pieces};

/// The headers of the message that goes too far.
const HEADERS_BYTES_MAX: usize = 4096;

/// Fails where `input` breaks what holds for any input.
pub(crate) fn check(input: &[u8]) {
    let purpose = [Purpose::Play, Purpose::Publish][one_of(2, input)];
    let (app, tc_url, name) = ("live".into(), "rtmp://far/live".into(), "key".into());
    let mut session = ClientSession::new(ClientRequest { app, tc_url, name, purpose });
    let mut server = ChunkReader::new(0, ChunkLimits::ADMITTED);
    let mut given = 0;
    for piece in pieces(input) {
        given += piece.len();
        let handled = session.handle_input(piece);
        hear(&mut session, &mut server);
        assert!(session.partial_bytes() <= given);
        if handled.is_err() {
            assert_eq!(session.handle_input(&[]), Err(ClientError::Ended));
            break;
        }
    }
    session.finish();
    hear(&mut session, &mut server);
}

/// Reads what the session says as the far server does.
fn hear(session: &mut ClientSession, server: &mut ChunkReader) {
    let (mut events, mut sent) = (0, 0);
    while let Some(output) = session.poll_output() {
        match output {
            ClientOutput::Send(bytes) => {
                sent += bytes.len();
                let mut rest = &bytes[..];
                while server.next_message(&mut rest).expect("a request is well formed").is_some() {}
                assert_eq!(server.partial_bytes(), 0, "a request is whole");
            }
            ClientOutput::Event(_) => events += 1,
        }
    }
    // The message that goes too far may be an aggregate, whose parts are events.
    assert!(events <= QUEUED_EVENTS_MAX + AGGREGATED_MESSAGES_MAX);
    assert!(sent <= QUEUED_BYTES_MAX + HEADERS_BYTES_MAX);
}
