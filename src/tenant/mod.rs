//! A brand at run time: its dependencies, request context, response cache, leases and configuration reload.

pub(crate) mod account;
pub mod brand;
pub mod brands;
pub(crate) mod cache;
pub(crate) mod components;
pub(crate) mod context;
pub(crate) mod lease;
pub mod reload;
