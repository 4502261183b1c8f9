//! Reads an RTMP chunk stream piece by piece, whatever chunk size the server announces. Only the beginning of each
//! message is looked at; the rest is counted.

/// Bytes of a message that are kept: the tag's head, the SEI's head and the stamp fit.
pub const HEAD_BYTES: usize = 64;
/// Bytes of a command or control message that are kept.
const COMMAND_BYTES_MAX: usize = 4096;
/// Basic header of 3 bytes, message header of 11, extended timestamp of 4.
const HEADER_BYTES_MAX: usize = 18;

pub const SET_CHUNK_SIZE: u8 = 1;
pub const ABORT: u8 = 2;
pub const USER_CONTROL: u8 = 4;
pub const AUDIO: u8 = 8;
pub const VIDEO: u8 = 9;
pub const COMMAND: u8 = 20;

/// A whole message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub kind: u8,
    pub length: usize,
    /// The first [`HEAD_BYTES`] of media, or a whole command.
    pub head: &'a [u8],
}

/// What is known of one chunk stream.
#[derive(Debug, Clone)]
struct Track {
    id: u32,
    kind: u8,
    length: usize,
    received: usize,
    is_extended: bool,
    head: [u8; HEAD_BYTES],
}

#[derive(Debug)]
pub struct ChunkReader {
    chunk_size: usize,
    tracks: Vec<Track>,
    /// The beginning of a header that ended with the input.
    partial: [u8; HEADER_BYTES_MAX],
    partial_length: usize,
    /// The track whose chunk is being read, and how much of that chunk is missing.
    open: Option<(usize, usize)>,
    command: Vec<u8>,
}

/// Why a stream cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable(pub &'static str);

struct Header {
    bytes: usize,
    track: usize,
}

impl ChunkReader {
    pub fn new(chunk_size: usize) -> Self {
        let partial = [0; HEADER_BYTES_MAX];
        Self { chunk_size, tracks: Vec::new(), partial, partial_length: 0, open: None, command: Vec::new() }
    }

    /// Takes the next bytes of the stream and tells of each message that they complete.
    pub fn read(&mut self, mut input: &[u8], mut told: impl FnMut(&Message<'_>)) -> Result<(), Unreadable> {
        loop {
            if let Some((track, missing)) = self.open {
                let taken = missing.min(input.len());
                self.take(track, &input[..taken]);
                input = &input[taken..];
                self.open = (taken < missing).then_some((track, missing - taken));
                if self.open.is_some() {
                    return Ok(());
                }
                self.finish(track, &mut told)?;
            }
            if input.is_empty() {
                return Ok(());
            }
            let Some(header) = self.header(&mut input)? else { return Ok(()) };
            let track = &self.tracks[header];
            self.open = Some((header, self.chunk_size.min(track.length - track.received)));
        }
    }

    /// Reads a header, over the ends of inputs if need be, and gives its track.
    fn header(&mut self, input: &mut &[u8]) -> Result<Option<usize>, Unreadable> {
        if self.partial_length == 0
            && let Some(header) = self.parse(input)?
        {
            *input = &input[header.bytes..];
            return Ok(Some(header.track));
        }
        while let Some((first, rest)) = input.split_first() {
            *input = rest;
            self.partial[self.partial_length] = *first;
            self.partial_length += 1;
            let partial = self.partial;
            if let Some(header) = self.parse(&partial[..self.partial_length])? {
                self.partial_length = 0;
                return Ok(Some(header.track));
            }
        }
        Ok(None)
    }

    /// Reads a header at the start of `bytes`; nothing where it is not whole.
    fn parse(&mut self, bytes: &[u8]) -> Result<Option<Header>, Unreadable> {
        let Some(first) = bytes.first() else { return Ok(None) };
        let (id, mut at) = match (first & 63, bytes) {
            (0, [_, low, ..]) => (64 + u32::from(*low), 2),
            (1, [_, low, high, ..]) => (64 + u32::from(*low) + 256 * u32::from(*high), 3),
            (0 | 1, _) => return Ok(None),
            (id, _) => (u32::from(id), 1),
        };
        let format = first >> 6;
        let known = self.tracks.iter().position(|track| track.id == id);
        let fields = [11, 7, 3, 0][usize::from(format)];
        let Some(header) = bytes.get(at..at + fields) else { return Ok(None) };
        at += fields;
        let is_extended = match (header, known) {
            ([high, middle, low, ..], _) => (*high, *middle, *low) == (255, 255, 255),
            (_, Some(known)) => self.tracks[known].is_extended,
            (_, None) => return Err(Unreadable("a chunk stream begins without a header")),
        };
        if is_extended {
            at += 4;
            if bytes.len() < at {
                return Ok(None);
            }
        }
        let track = match known {
            Some(known) => known,
            None if format == 0 => {
                let head = [0; HEAD_BYTES];
                self.tracks.push(Track { id, kind: 0, length: 0, received: 0, is_extended, head });
                self.tracks.len() - 1
            }
            None => return Err(Unreadable("a chunk stream begins with a shortened header")),
        };
        let state = &mut self.tracks[track];
        state.is_extended = is_extended;
        if let [_, _, _, high, middle, low, kind, ..] = header {
            state.length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
            state.kind = *kind;
            state.received = 0;
        }
        Ok(Some(Header { bytes: at, track }))
    }

    fn take(&mut self, track: usize, payload: &[u8]) {
        let track = &mut self.tracks[track];
        if matches!(track.kind, AUDIO | VIDEO) {
            if let Some(space) = track.head.get_mut(track.received..) {
                let kept = space.len().min(payload.len());
                space[..kept].copy_from_slice(&payload[..kept]);
            }
        } else {
            if track.received == 0 {
                self.command.clear();
            }
            let room = COMMAND_BYTES_MAX.saturating_sub(self.command.len());
            self.command.extend_from_slice(&payload[..room.min(payload.len())]);
        }
        track.received += payload.len();
    }

    /// Tells of the track's message if it is whole.
    fn finish(&mut self, track: usize, told: &mut impl FnMut(&Message<'_>)) -> Result<(), Unreadable> {
        let track = &mut self.tracks[track];
        if track.received < track.length {
            return Ok(());
        }
        let head = match track.kind {
            AUDIO | VIDEO => &track.head[..track.length.min(HEAD_BYTES)],
            _ => self.command.as_slice(),
        };
        match (track.kind, head) {
            (SET_CHUNK_SIZE, [a, b, c, d]) => {
                let size = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                if !(1..=0x7FFF_FFFF).contains(&size) {
                    return Err(Unreadable("an impossible chunk size"));
                }
                self.chunk_size = size;
            }
            (SET_CHUNK_SIZE | ABORT, _) => return Err(Unreadable("a control message that no server sends")),
            (kind, head) => told(&Message { kind, length: track.length, head }),
        }
        track.received = 0;
        Ok(())
    }
}
