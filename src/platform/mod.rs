//! Clients of external systems: PostgreSQL, Redis and HTTP.

pub(crate) mod http_client;
pub mod migrations;
mod outage;
pub mod postgres;
pub(crate) mod postgres_shared;
pub(crate) mod redis;
