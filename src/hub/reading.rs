//! HEVC for a viewer that reads one form of it, whatever form is published.

use crate::media::{HevcForm, PacketClass, PacketKind, hevc};

use super::cursor::Outgoing;

/// The forms in which a stream has carried HEVC since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct HevcCarried {
    legacy: bool,
    enhanced: bool,
}

impl HevcCarried {
    pub(super) fn note(&mut self, form: Option<HevcForm>) {
        self.legacy |= form == Some(HevcForm::Legacy);
        self.enhanced |= form == Some(HevcForm::Enhanced);
    }
}

/// Puts what one viewer takes into the form that it reads. Frames follow their header: where that makes no sense to us, all
/// goes as it is.
#[derive(Debug)]
pub(super) struct HevcReader {
    form: HevcForm,
    /// The header that the viewer was handed last was one that we can write.
    has_header: bool,
}

impl HevcReader {
    pub(super) fn new(form: HevcForm) -> Self {
        Self { form, has_header: false }
    }

    /// Whether a stream that has carried these has something to be put into the form of this viewer.
    pub(super) fn is_needed_for(&self, carried: HevcCarried) -> bool {
        match self.form {
            HevcForm::Legacy => carried.enhanced,
            HevcForm::Enhanced => carried.legacy,
        }
    }

    /// Changes `taken` in place, and leaves out what the form has no words for.
    pub(super) fn read(&mut self, taken: &mut Vec<Outgoing>) {
        taken.retain_mut(|outgoing| {
            let packet = outgoing.frame.packet();
            if packet.kind != PacketKind::Video {
                return true;
            }
            if packet.class == PacketClass::VideoSequenceHeader {
                self.has_header = hevc::is_header(&packet.payload);
            }
            if !self.has_header {
                return true;
            }
            match outgoing.frame.in_form(self.form) {
                Some(frame) => outgoing.frame = frame,
                None => return false,
            }
            true
        });
    }
}
