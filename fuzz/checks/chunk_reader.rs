//! Input in pieces and byte by byte must give the same messages, none longer than its type may be, and no input may make the
//! reader hold or reserve more than it brought.

use tidegate::rtmp::proto::chunk::{
    ChunkError, ChunkLimits, ChunkMessage, ChunkReader, PARTIAL_MESSAGES_MAX, message_bytes_max,
};
use tidegate::rtmp::proto::message::Message;

use crate::pieces::{one_of, pieces};

/// So narrow that short inputs reach it.
const NARROW: ChunkLimits = ChunkLimits { partial_bytes_max: 512, reserve_ahead_bytes_max: 16 };

/// What `pieces` hold, up to the first fault.
fn read<'a>(
    limits: ChunkLimits,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<ChunkMessage>, Option<ChunkError>) {
    let mut reader = ChunkReader::new(0, limits);
    let mut messages = Vec::new();
    let (mut given, mut handed_out) = (0, 0);
    for mut piece in pieces {
        given += piece.len();
        loop {
            match reader.next_message(&mut piece) {
                Ok(Some(message)) => {
                    assert!(message.payload.len() <= message_bytes_max(message.type_id) as usize);
                    handed_out += message.payload.len();
                    messages.push(message);
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(error.position <= given as u64);
                    return (messages, Some(error));
                }
            }
        }
        assert!(piece.is_empty(), "what was given is taken");
        assert!(reader.position() <= given as u64);
        let partial = reader.partial_bytes();
        assert!(handed_out + partial <= given);
        assert!(partial <= limits.partial_bytes_max);
        let ahead = PARTIAL_MESSAGES_MAX * limits.reserve_ahead_bytes_max;
        assert!(reader.partial_capacity_bytes() <= 2 * partial + ahead);
    }
    (messages, None)
}

/// Fails where `input` breaks what holds for any input.
pub(crate) fn check(input: &[u8]) {
    let limits = [ChunkLimits::STRANGER, ChunkLimits::ADMITTED, NARROW][one_of(3, input)];
    let in_pieces = read(limits, pieces(input));
    let bytewise = read(limits, input.chunks(1));
    assert_eq!(in_pieces, bytewise);
    for message in in_pieces.0 {
        let _ = Message::parse(message.type_id, message.payload);
    }
}
