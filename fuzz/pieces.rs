//! What the last byte of an input chooses for the checks of RTMP: where the input is cut, and one thing more of a check's own.
//! The byte is a part of the input too.

use tidegate::rtmp::proto::server::INPUT_BYTES_MAX;

/// From single bytes to all that a session takes at once.
const FIRST_PIECE_BYTES: [usize; 5] = [1, 16, 512, 4096, INPUT_BYTES_MAX];

/// The input in pieces that are all as long as the first, or as long as can be after a first one that may hold a request.
pub(crate) fn pieces(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let choice = last(input);
    let first_bytes = FIRST_PIECE_BYTES[choice % FIRST_PIECE_BYTES.len()];
    let grows = choice / FIRST_PIECE_BYTES.len() % 2 == 1;
    let (first, rest) = input.split_at(first_bytes.min(input.len()));
    let rest = rest.chunks(if grows { INPUT_BYTES_MAX } else { first_bytes });
    std::iter::once(first).chain(rest)
}

/// One of so many, whatever the cut is.
pub(crate) fn one_of(count: usize, input: &[u8]) -> usize {
    last(input) / (2 * FIRST_PIECE_BYTES.len()) % count
}

fn last(input: &[u8]) -> usize {
    input.last().copied().unwrap_or_default().into()
}
