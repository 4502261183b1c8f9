//! What a member may do, by the numbers that emedia clients know.

use serde::{Deserialize, Serialize};

use super::coded::coded;

/// A member's role. Roles are ordered: a higher one may do all that a lower one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Role {
    /// Watches only.
    Audience,
    /// Publishes and watches.
    Talker,
    /// Publishes, watches and runs the conference.
    Admin,
}

impl Role {
    /// Whether a member of this role may publish.
    pub fn may_publish(self) -> bool {
        self >= Self::Talker
    }
}

coded!(Role { Audience = 1, Talker = 3, Admin = 7 }, "a role is 7 (ADMIN), 3 (TALKER) or 1 (AUDIENCE)");
