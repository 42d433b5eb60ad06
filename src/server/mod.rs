//! Listeners, connections and the service behind them.

pub mod accept;
pub mod admin;
mod admission;
pub mod brand_listener;
pub mod connection;
mod connection_phase;
mod connection_snapshot;
pub mod connection_state;
pub mod h1_io;
pub mod h2_body;
pub mod h2_executor;
pub mod h2_io;
pub mod proxy_protocol;
pub mod service;
pub mod shutdown;
pub mod tls;
pub mod tls_tickets;
