//! A packet as all viewers share it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::media::hevc::{self, Rewritten};
use crate::media::{HevcForm, Packet};

/// A way to put a packet on a wire that is the same for every viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WireFormat {
    /// RTMP chunks.
    Rtmp,
    /// An FLV tag with the size that follows it.
    Flv,
}

/// The bytes of a packet on a wire, in order. The payload's slices share the packet's memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    slices: Box<[Bytes]>,
    byte_count: usize,
}

impl Image {
    /// An image of these slices.
    pub fn new(slices: Vec<Bytes>) -> Self {
        let byte_count = slices.iter().map(Bytes::len).sum();
        Self { slices: slices.into(), byte_count }
    }

    /// The slices in the order of the wire.
    pub fn slices(&self) -> &[Bytes] {
        &self.slices
    }

    /// Bytes in all slices.
    pub fn byte_count(&self) -> usize {
        self.byte_count
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} slices, {} bytes)", self.slices.len(), self.byte_count)
    }
}

/// A packet and its images, each made at most once and then shared.
#[derive(Debug)]
pub struct Frame {
    packet: Packet,
    rtmp: OnceLock<Image>,
    flv: OnceLock<Image>,
    /// HEVC in the form that it was not published in; empty where that form has no words for it.
    other_form: OnceLock<Option<Arc<Self>>>,
}

impl Frame {
    /// Takes a packet whose time is final.
    pub fn new(packet: Packet) -> Self {
        Self { packet, rtmp: OnceLock::new(), flv: OnceLock::new(), other_form: OnceLock::new() }
    }

    /// The packet.
    pub fn packet(&self) -> &Packet {
        &self.packet
    }

    /// The packet on the wire, at the packet's own time. `make` runs for the first viewer that asks; it must give the
    /// same bytes whoever asks.
    pub fn image(&self, format: WireFormat, make: impl FnOnce(&Packet) -> Image) -> &Image {
        let slot = match format {
            WireFormat::Rtmp => &self.rtmp,
            WireFormat::Flv => &self.flv,
        };
        slot.get_or_init(|| make(&self.packet))
    }

    /// The packet for a viewer that reads HEVC in `form`: itself, or a copy that all such viewers share. `None` where that
    /// form has no words for it. A stream whose viewers read the form that is not published keeps each of its pictures twice.
    pub(super) fn in_form(self: &Arc<Self>, form: HevcForm) -> Option<Arc<Self>> {
        let payload = &self.packet.payload;
        if HevcForm::of(payload).is_none_or(|found| found == form) {
            return Some(Arc::clone(self));
        }
        let other = self.other_form.get_or_init(|| match hevc::rewrite(payload, form) {
            Rewritten::Anew(payload) => Some(Arc::new(Self::new(Packet { payload, ..self.packet.clone() }))),
            Rewritten::Same | Rewritten::Nothing => None,
        });
        other.clone()
    }
}
