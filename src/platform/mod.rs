//! PostgreSQL, Redis and outgoing HTTP.

pub mod http_client;
pub mod migrations;
pub mod postgres;
pub mod postgres_shared;
pub mod redis;
