//! People and rights, pure: conferences, members, roles, tickets, streams and refusals.
//!
//! A conference is a fold over an ordered log of events. [`conference::decide`] turns a command into events or a
//! [`Refusal`], [`Conference::apply`] folds an event in; neither does IO, reads a clock or draws a random number.

mod coded;
pub mod conference;
pub mod event;
pub mod id;
pub mod limits;
pub mod mark;
pub mod media_url;
pub mod password;
pub mod refusal;
pub mod role;
pub mod sealed;
pub mod ticket;
pub mod voip;

pub use conference::{Command, Conference, Created};
pub use event::{Event, Record, Recorded};
pub use id::{
    AppId, ConferenceId, MemberId, RelayId, RoomName, RtcId, Seq, StreamId, TicketId, Timestamp, UserName,
};
pub use limits::Limits;
pub use mark::Mark;
pub use media_url::{Direction, MediaRight};
pub use refusal::{Reason, Refusal};
pub use role::Role;
