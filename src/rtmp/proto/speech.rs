//! What a session says, whichever side it is of: messages in chunks that wait to be polled, and the control messages that both
//! sides of RTMP owe each other (RTMP 1.0, section 5.4).

use bytes::{Bytes, BytesMut};

use super::MessageStreamId;
use super::chunk::{
    CHUNK_SIZE_INITIAL, ChunkStreamId, MessageHead, OUTBOUND_CHUNK_SIZE, message_type, write_message,
};
use super::message::user_control;

/// C0, C1 and C2, or S0, S1 and S2 (section 5.2): the bytes that either side received before the session's first.
pub(super) const HANDSHAKE_BYTES: u64 = 1 + 1536 + 1536;

/// The largest piece of input that is certain to fit the bounds on output.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// The events that may wait for `poll_output`: 64 KiB of the shortest real audio messages make some 4 000.
pub const QUEUED_EVENTS_MAX: usize = 8192;

/// The bytes that may wait for `poll_output`. An input full of pings is answered by less.
pub const QUEUED_BYTES_MAX: usize = 256 * 1024;

/// The acknowledgement window that we ask for, and assume of a peer that names none: about a second of 20 Mbit/s.
pub const WINDOW_ACKNOWLEDGEMENT_SIZE: u32 = 2_500_000;

/// What one side of a connection says to its peer.
#[derive(Debug)]
pub(super) struct Speech {
    pending: BytesMut,
    chunk_size: u32,
    /// How many bytes the peer lets pass between acknowledgements; never 0.
    peer_window: u32,
    /// The position that the last acknowledgement named.
    acknowledged: u64,
    overflow: bool,
}

impl Speech {
    /// Nothing said yet, behind a handshake.
    pub(super) fn new() -> Self {
        Self {
            pending: BytesMut::new(),
            chunk_size: CHUNK_SIZE_INITIAL,
            peer_window: WINDOW_ACKNOWLEDGEMENT_SIZE,
            acknowledged: HANDSHAKE_BYTES,
            overflow: false,
        }
    }

    /// All that was said since the last call.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        (!self.pending.is_empty()).then(|| self.pending.split().freeze())
    }

    /// Whether something was left unsaid, since more than [`QUEUED_BYTES_MAX`] would wait.
    pub(super) fn has_overflowed(&self) -> bool {
        self.overflow
    }

    /// The peer names its window (section 5.4.4), once or anew. With 0 it names none.
    pub(super) fn set_peer_window(&mut self, size: u32) {
        self.peer_window = if size == 0 { WINDOW_ACKNOWLEDGEMENT_SIZE } else { size };
    }

    /// Tells the peer how much was received, well before its window is used up: the position, which begins with the handshake,
    /// in the 32 bits that the message has (section 5.4.3).
    pub(super) fn acknowledge(&mut self, position: u64) {
        if position - self.acknowledged >= u64::from(self.peer_window.div_ceil(2)) {
            self.acknowledged = position;
            let [.., b0, b1, b2, b3] = position.to_be_bytes();
            self.send_control(message_type::ACKNOWLEDGEMENT, &[b0, b1, b2, b3]);
        }
    }

    /// Announces [`OUTBOUND_CHUNK_SIZE`], which holds for all that follows (section 5.4.1).
    pub(super) fn announce_chunk_size(&mut self) {
        self.send_control(message_type::SET_CHUNK_SIZE, &OUTBOUND_CHUNK_SIZE.to_be_bytes());
        self.chunk_size = OUTBOUND_CHUNK_SIZE;
    }

    /// Asks the peer to acknowledge (section 5.4.4).
    pub(super) fn announce_window(&mut self) {
        let window = WINDOW_ACKNOWLEDGEMENT_SIZE.to_be_bytes();
        self.send_control(message_type::WINDOW_ACKNOWLEDGEMENT_SIZE, &window);
    }

    /// A user control message with one number: a stream or a time (section 7.1.7).
    pub(super) fn send_user_control(&mut self, event: u16, value: u32) {
        self.send_control(message_type::USER_CONTROL, &user_control::body(event, value));
    }

    /// A control message: on chunk stream 2 and message stream 0, its time ignored (section 5.4).
    pub(super) fn send_control(&mut self, type_id: u8, body: &[u8]) {
        self.send(ChunkStreamId::CONTROL, MessageStreamId::CONNECTION, type_id, body);
    }

    /// A message of any type, at time 0. One that does not fit is left out, which ends the session.
    pub(super) fn send(
        &mut self,
        chunk_stream_id: ChunkStreamId,
        stream: MessageStreamId,
        type_id: u8,
        body: &[u8],
    ) {
        let head = MessageHead { chunk_stream_id, message_stream_id: stream, type_id, timestamp: 0 };
        let fits = self.pending.len() + body.len() <= QUEUED_BYTES_MAX;
        if !fits || write_message(&mut self.pending, self.chunk_size, &head, body).is_err() {
            self.overflow = true;
        }
    }
}
