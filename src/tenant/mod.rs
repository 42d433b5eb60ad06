//! A brand at run time.

pub mod brand;
pub mod cache;
pub mod context;
pub mod lease;
pub mod reload;
