//! Clients of external systems: PostgreSQL, Redis and HTTP, and how their failures are logged.

mod authorities;
pub(crate) mod failure_streak;
pub(crate) mod http_client;
pub mod migrations;
mod outage;
pub mod postgres;
pub(crate) mod postgres_shared;
pub(crate) mod redis;
