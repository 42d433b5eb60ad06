//! What everything else stands on.

pub mod clock;
pub mod error;
pub mod hex;
pub mod language;
pub mod money;
pub mod secret;
