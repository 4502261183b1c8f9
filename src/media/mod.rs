//! Bytes with meaning, pure: what a packet is, how FLV and RTMP lay it out, and the time line it stands on.
//!
//! Nothing here re-encodes. A payload is read only as far as the fan-out needs it: where a GOP begins, which packets are
//! headers, and how large the pictures are. The one that is written anew is HEVC for a player that reads it in another form.

pub mod codec;
pub mod flv;
pub mod hevc;
pub mod packet;
pub mod timeline;

pub use codec::{AudioCodec, AudioInfo, VideoCodec, VideoInfo};
pub use hevc::HevcForm;
pub use packet::{Packet, PacketClass, PacketKind};
pub use timeline::Timeline;
