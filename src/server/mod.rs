//! Listeners, connections and the service behind them.

pub mod accept;
pub mod admin_listener;
mod admission;
pub mod brand_listener;
pub(crate) mod clients;
pub(crate) mod connection;
mod connection_handle;
mod connection_snapshot;
pub(crate) mod connection_state;
mod connection_timeouts;
pub(crate) mod h1_io;
pub(crate) mod h2_executor;
pub(crate) mod h2_io;
mod handler_call;
pub(crate) mod proxy_protocol;
mod refusals;
pub(crate) mod response_body;
mod send_window;
pub(crate) mod service;
pub mod shutdown;
pub(crate) mod tls;
pub(crate) mod tls_tickets;
pub mod unavailable_listener;
