//! What waits to be written to one connection: whole messages, in order.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::proto::MediaKind;
use super::proto::chunk::{MediaChunks, write_media};
use crate::hub::{Batch, Frame, Image, Outgoing, WireFormat};
use crate::media::packet::{Packet, PacketKind};

/// Slices in one vectored write. Linux takes 1024; a header and a payload per message make this some thirty messages,
/// which is more than waits for a viewer that keeps up.
const SLICES_PER_WRITE: usize = 64;

/// Answers that may wait for a peer that does not read them. Beyond it nothing more is read from that peer, so that its
/// own sending comes to a halt.
const CONTROL_BYTES_MAX: usize = 256 * 1024;

/// One whole message, or several that were encoded together.
#[derive(Debug)]
enum Piece {
    /// What this peer alone is told.
    Control(Bytes),
    /// A message as every viewer gets it.
    Shared(Arc<Frame>),
    /// A message at a time of this viewer's own.
    Retimed(Box<MediaChunks>),
}

fn kind(packet: &Packet) -> MediaKind {
    match packet.kind {
        PacketKind::Audio => MediaKind::Audio,
        PacketKind::Video => MediaKind::Video,
        PacketKind::Data => MediaKind::Data,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "RTMP counts milliseconds modulo 2^32")]
fn timestamp(timestamp_ms: u64) -> u32 {
    timestamp_ms as u32
}

/// The wire image of `packet` for a player that is to show it at `timestamp_ms`.
fn chunks(packet: &Packet, timestamp_ms: u64) -> Option<MediaChunks> {
    MediaChunks::new(kind(packet), timestamp(timestamp_ms), packet.payload.clone()).ok()
}

/// The same as slices that all viewers share. Empty for a payload that RTMP cannot carry, which no publisher can send.
fn image(packet: &Packet) -> Image {
    let Some(chunks) = chunks(packet, packet.timestamp_ms) else { return Image::new(Vec::new()) };
    let payload = packet.payload.as_ptr_range();
    let share = |slice: &[u8]| {
        if payload.contains(&slice.as_ptr()) {
            packet.payload.slice_ref(slice)
        } else {
            Bytes::copy_from_slice(slice)
        }
    };
    Image::new(chunks.slices().map(share).collect())
}

impl Piece {
    fn control_bytes(&self) -> usize {
        match self {
            Self::Control(bytes) => bytes.len(),
            Self::Shared(_) | Self::Retimed(_) => 0,
        }
    }

    fn wire_bytes(&self) -> usize {
        match self {
            Self::Control(bytes) => bytes.len(),
            Self::Shared(frame) => frame.image(WireFormat::Rtmp, image).byte_count(),
            Self::Retimed(chunks) => chunks.wire_bytes(),
        }
    }
}

/// What many viewers are handed at one time, as it stands on the wire. Copied together once for all of them: a plain
/// write costs the kernel less than a vectored one, for each viewer.
pub(super) struct Wave<'a> {
    batch: &'a Batch,
    bytes: &'a [u8],
}

impl<'a> Wave<'a> {
    /// Lays `batch` out in `space`. None where RTMP carries nothing of it.
    pub(super) fn new(batch: &'a Batch, space: &'a mut BytesMut) -> Option<Self> {
        space.clear();
        for packet in batch.frames().iter().map(|frame| frame.packet()) {
            // What is too long for RTMP is left out, as it is from the shared images; no publisher can send it.
            let _ = write_media(space, kind(packet), timestamp(packet.timestamp_ms), &packet.payload);
        }
        (!space.is_empty()).then_some(Self { batch, bytes: space })
    }

    pub(super) fn batch(&self) -> &'a Batch {
        self.batch
    }

    /// All of it.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// The queue of one connection. Its owner takes media from the hub only while little waits here.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that have gone out.
    written: usize,
    /// Bytes of all [`Piece::Control`].
    control_bytes: usize,
}

impl Outbox {
    pub(super) fn push_control(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.control_bytes += bytes.len();
            self.pieces.push_back(Piece::Control(bytes));
        }
    }

    pub(super) fn push_media(&mut self, Outgoing { frame, timestamp_ms }: Outgoing) {
        let piece = if timestamp_ms == frame.packet().timestamp_ms {
            Piece::Shared(frame)
        } else {
            let Some(chunks) = chunks(frame.packet(), timestamp_ms) else { return };
            Piece::Retimed(Box::new(chunks))
        };
        if piece.wire_bytes() > 0 {
            self.pieces.push_back(piece);
        }
    }

    /// Takes the messages of a wave of which the socket has taken the first `written` bytes. Nothing may wait here.
    pub(super) fn push_rest(&mut self, wave: &Wave<'_>, written: usize) {
        self.pieces.extend(wave.batch.frames().iter().cloned().map(Piece::Shared));
        self.advance(written);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether so many answers wait that the peer is to be asked nothing more.
    pub(super) fn is_full(&self) -> bool {
        self.control_bytes >= CONTROL_BYTES_MAX
    }

    /// Drops what has not begun to go out, so that the next message comes as soon as the peer can read it.
    pub(super) fn drop_unbegun(&mut self) {
        let begun = usize::from(self.written > 0);
        self.pieces.truncate(begun);
        self.control_bytes = self.pieces.iter().map(Piece::control_bytes).sum();
    }

    /// Writes as much as the socket takes in one call, and tells how much that was.
    pub(super) fn poll_write(
        &mut self,
        socket: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.write_by(|slices| socket.poll_write_vectored(cx, slices))
    }

    /// The same where the socket is not waited for.
    pub(super) fn try_write(&mut self, socket: &TcpStream) -> io::Result<usize> {
        match self.write_by(|slices| Poll::Ready(socket.try_write_vectored(slices))) {
            Poll::Ready(wrote) => wrote,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn write_by(
        &mut self,
        write: impl FnOnce(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let count = self.fill(&mut slices);
        let wrote = ready!(write(slices.get(..count).unwrap_or_default()))?;
        self.advance(wrote);
        Poll::Ready(Ok(wrote))
    }

    /// Puts what is left into `slices`, and tells how many it took.
    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_PER_WRITE]) -> usize {
        let mut skip = self.written;
        let mut count = 0;
        for piece in &self.pieces {
            let mut places = slices.iter_mut().skip(count);
            let taken = match piece {
                Piece::Control(bytes) => place(&mut places, std::iter::once(bytes.as_ref()), skip),
                Piece::Shared(frame) => {
                    let image = frame.image(WireFormat::Rtmp, image);
                    place(&mut places, image.slices().iter().map(AsRef::as_ref), skip)
                }
                Piece::Retimed(chunks) => place(&mut places, chunks.slices(), skip),
            };
            skip = 0;
            count += taken;
            if count >= SLICES_PER_WRITE {
                break;
            }
        }
        count
    }

    fn advance(&mut self, wrote: usize) {
        self.written += wrote;
        while let Some(first) = self.pieces.front() {
            let whole = first.wire_bytes();
            if self.written < whole {
                break;
            }
            self.written -= whole;
            self.control_bytes -= first.control_bytes();
            self.pieces.pop_front();
        }
    }
}

/// Fills `places` with `slices` less their first `skip` bytes, and tells how many it filled.
fn place<'s, 'a: 's>(
    places: &mut impl Iterator<Item = &'s mut IoSlice<'a>>,
    slices: impl Iterator<Item = &'a [u8]>,
    mut skip: usize,
) -> usize {
    let mut count = 0;
    for slice in slices {
        let skipped = skip.min(slice.len());
        skip -= skipped;
        let rest = slice.get(skipped..).unwrap_or_default();
        if rest.is_empty() {
            continue;
        }
        let Some(place) = places.next() else { break };
        *place = IoSlice::new(rest);
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes at most so many bytes in one call.
    struct Narrow {
        taken: Vec<u8>,
        at_once: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let take = buf.len().min(self.at_once);
            self.taken.extend_from_slice(&buf[..take]);
            Poll::Ready(Ok(take))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut left = self.at_once;
            for buf in bufs {
                let take = buf.len().min(left);
                self.taken.extend_from_slice(&buf[..take]);
                left -= take;
            }
            Poll::Ready(Ok(self.at_once - left))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn filled() -> Outbox {
        let mut outbox = Outbox::default();
        for number in 0..50_u8 {
            outbox.push_control(Bytes::from(vec![number; 3]));
            let packet = Packet::new(PacketKind::Video, u64::from(number), Bytes::from(vec![number; 70_000]));
            let timestamp_ms = packet.timestamp_ms + u64::from(number % 2);
            outbox.push_media(Outgoing { frame: Arc::new(Frame::new(packet)), timestamp_ms });
        }
        outbox
    }

    fn drain(outbox: &mut Outbox, at_once: usize) -> Vec<u8> {
        let mut socket = Narrow { taken: Vec::new(), at_once };
        let mut cx = Context::from_waker(Waker::noop());
        while !outbox.is_empty() {
            assert!(outbox.poll_write(Pin::new(&mut socket), &mut cx).is_ready());
        }
        assert_eq!((outbox.written, outbox.control_bytes), (0, 0));
        socket.taken
    }

    #[test]
    fn the_bytes_are_the_same_however_little_the_socket_takes() {
        let whole = drain(&mut filled(), usize::MAX / 2);
        assert_eq!(whole.len(), 50 * (3 + 12 + 1 + 70_000));
        for at_once in [1_usize, 2, 11, 60_001, 70_016] {
            if at_once > 2 || cfg!(not(debug_assertions)) {
                assert!(drain(&mut filled(), at_once) == whole, "{at_once} at once");
            }
        }
    }

    #[test]
    fn a_message_that_has_begun_is_finished_and_the_rest_can_be_dropped() {
        let mut outbox = filled();
        let whole = drain(&mut filled(), usize::MAX / 2);
        let mut socket = Narrow { taken: Vec::new(), at_once: 1000 };
        let mut cx = Context::from_waker(Waker::noop());
        assert!(outbox.poll_write(Pin::new(&mut socket), &mut cx).is_ready());
        outbox.drop_unbegun();
        let mut sent = socket.taken;
        sent.extend(drain(&mut outbox, 4096));
        let first_two = 3 + 70_000 + 12 + 1;
        assert!(sent == whole[..first_two]);
        let mut untouched = filled();
        untouched.drop_unbegun();
        assert!(untouched.is_empty());
    }
}
