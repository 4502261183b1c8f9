//! What a member may do, by the numbers that emedia clients know.

use serde::{Deserialize, Serialize};

/// A member's role. Roles are ordered: a higher one may do all that a lower one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Role {
    /// Watches only.
    Audience = 1,
    /// Publishes and watches.
    Talker = 3,
    /// Publishes, watches and runs the conference.
    Admin = 7,
}

impl Role {
    /// Whether a member of this role may publish.
    pub fn may_publish(self) -> bool {
        self >= Self::Talker
    }
}

impl From<Role> for u8 {
    fn from(role: Role) -> Self {
        role as Self
    }
}

impl TryFrom<u8> for Role {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            1 => Ok(Self::Audience),
            3 => Ok(Self::Talker),
            7 => Ok(Self::Admin),
            _ => Err("a role is 7 (ADMIN), 3 (TALKER) or 1 (AUDIENCE)"),
        }
    }
}
