use bytes::Bytes;

/// How many messages one aggregate may hold. Senders pack a fraction of a second: tens of frames.
pub const AGGREGATED_MESSAGES_MAX: usize = 512;

/// An aggregate with more than [`AGGREGATED_MESSAGES_MAX`] messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("aggregate message holds more than {AGGREGATED_MESSAGES_MAX} messages; send several aggregates")]
pub struct AggregateError;

/// One message out of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregatedMessage {
    /// The message type.
    pub type_id: u8,
    /// Milliseconds on the time line of the aggregate, modulo 2^32.
    pub timestamp: u32,
    /// The body: a slice of the aggregate's own memory.
    pub payload: Bytes,
}

/// Type (1), length (3), timestamp (3 + 1), stream id (3): the header of an FLV tag.
const SUB_HEADER_BYTES: usize = 11;

/// The length of header and body once more, behind the body.
const BACK_POINTER_BYTES: usize = 4;

/// Takes an aggregate apart (section 7.1.6). The first message gets the timestamp of the aggregate, the others keep
/// their distance from the first. A message that is cut off ends the list.
pub fn unpack_aggregate(timestamp: u32, body: &Bytes) -> Result<Vec<AggregatedMessage>, AggregateError> {
    let mut messages = Vec::new();
    let mut first_timestamp = None;
    let mut at = 0;
    while let Some(&[type_id, l0, l1, l2, t0, t1, t2, t3, _, _, _]) =
        body.get(at..).and_then(|rest| rest.first_chunk::<SUB_HEADER_BYTES>())
    {
        let start = at + SUB_HEADER_BYTES;
        let end = start + u32::from_be_bytes([0, l0, l1, l2]) as usize;
        if end > body.len() {
            break;
        }
        if messages.len() >= AGGREGATED_MESSAGES_MAX {
            return Err(AggregateError);
        }
        let own = u32::from_be_bytes([t3, t0, t1, t2]);
        let offset = own.wrapping_sub(*first_timestamp.get_or_insert(own));
        messages.push(AggregatedMessage {
            type_id,
            timestamp: timestamp.wrapping_add(offset),
            payload: body.slice(start..end),
        });
        at = end + BACK_POINTER_BYTES;
    }
    Ok(messages)
}
