//! Whether anybody new is let in: not while the gateway is drained, and not while it is overloaded.

use crate::domain::Refusal;
use crate::drain::Drain;
use crate::overload::Overload;

/// What every newcomer asks. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Intake {
    /// The operator's word, and that of a stop.
    pub drain: Drain,
    /// What the gateway can carry.
    pub overload: Overload,
}

impl Intake {
    /// Refuses whoever is new, while one of them stands.
    pub fn admit(&self) -> Result<(), Refusal> {
        self.drain.admit()?;
        self.overload.admit()
    }
}
