//! HTTP without any shop in it: sockets, TLS, connections, routing, what a request carries and how a reply leaves.

mod activity;
pub mod answer;
pub mod client;
pub mod connection;
pub mod cookie;
pub mod cors;
pub mod encode;
pub mod ending;
mod gathering;
mod leaving;
pub mod listen;
pub mod proxy;
pub mod reply;
pub mod request;
pub mod request_id;
pub mod router;
mod streams;
mod tickets;
pub mod tls;
mod wire;
