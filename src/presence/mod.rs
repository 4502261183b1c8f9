//! What the gateway sees for itself, told to the conferences: media that flows or ended, members that went silent, and
//! conferences that nobody is in.

pub mod contacts;
pub mod media;

pub use contacts::{ContactTimes, Contacts, Present};
pub use media::MediaReporter;
