//! The bank behind the payments.

pub mod raiffeisen;
pub mod raiffeisen_webhook;
