//! Clients of external systems: PostgreSQL, Redis and HTTP.

pub mod http_client;
pub mod migrations;
pub mod postgres;
pub mod postgres_shared;
pub mod redis;
