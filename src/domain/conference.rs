//! The conference itself.
use serde::{Deserialize, Serialize};

/// What a conference is created with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Created {}
/// A conference.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Conference {}
/// A command.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {}
