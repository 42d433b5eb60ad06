//! A brand at run time: its dependencies, request context, response cache, leases and configuration reload.

pub mod brand;
pub mod cache;
pub mod context;
pub mod lease;
pub mod reload;
