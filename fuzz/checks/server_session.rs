//! A session whose application lets in and ends, or lets nobody in: what it says is well formed and whole, what waits in it is
//! bounded, it holds no more than came, and after an error it takes nothing more.

use tidegate::rtmp::proto::chunk::{ChunkLimits, ChunkReader};
use tidegate::rtmp::proto::message::AGGREGATED_MESSAGES_MAX;
use tidegate::rtmp::proto::server::{
    Output, ProtocolError, QUEUED_BYTES_MAX, QUEUED_EVENTS_MAX, ServerSession, SessionEvent,
};

use crate::pieces::{one_of, pieces};

/// The answers to the requests of one input, which come on top of what the input itself was answered.
const ANSWERS_BYTES_MAX: usize = 4096;

/// Fails where `input` breaks what holds for any input.
pub(crate) fn check(input: &[u8]) {
    let admits = one_of(4, input) > 0;
    let mut session = ServerSession::new();
    let mut viewer = ChunkReader::new(0, ChunkLimits::ADMITTED);
    let mut given = 0;
    for piece in pieces(input) {
        given += piece.len();
        let handled = session.handle_input(piece);
        let (mut events, mut sent) = (0, 0);
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(bytes) => {
                    sent += bytes.len();
                    let mut rest = &bytes[..];
                    while viewer.next_message(&mut rest).expect("an answer is well formed").is_some() {}
                    assert_eq!(viewer.partial_bytes(), 0, "an answer is whole");
                }
                Output::Event(event) => {
                    events += 1;
                    decide(&mut session, &event, admits);
                }
            }
        }
        // The message that goes too far may be an aggregate, whose parts are events.
        assert!(events <= QUEUED_EVENTS_MAX + AGGREGATED_MESSAGES_MAX);
        assert!(sent <= QUEUED_BYTES_MAX + ANSWERS_BYTES_MAX);
        assert!(session.partial_bytes() <= given);
        if handled.is_err() {
            assert_eq!(session.handle_input(&[]), Err(ProtocolError::Ended));
            return;
        }
    }
}

/// Answers like an application; a request that the peer has given up meanwhile is refused by the session.
fn decide(session: &mut ServerSession, event: &SessionEvent, admits: bool) {
    let _ = match event {
        SessionEvent::PublishRequested { stream, .. } if admits => session.accept_publish(*stream),
        SessionEvent::PublishRequested { stream, .. } => session.refuse_publish(*stream, "not_allowed"),
        SessionEvent::PlayRequested { stream, .. } if admits => session.accept_play(*stream),
        SessionEvent::PlayRequested { stream, .. } => session.refuse_play(*stream, "not_allowed"),
        SessionEvent::PlayPaused { stream, .. } => session.end_play(*stream),
        SessionEvent::ReceiveAudio { stream, .. } => session.revoke(*stream, "member_gone"),
        _ => Ok(()),
    };
}
