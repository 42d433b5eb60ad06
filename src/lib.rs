//! brandgate: the HTTPS back end of several shops in one process, each brand on its own listeners.
//!
//! # The path of a request
//!
//! 1. [`server::accept`] accepts a connection on an address of one brand; the [`server::brand_listener`] determines the brand.
//! 2. [`server::connection`] completes the TLS handshake ([`server::tls`]) and serves HTTP/2 or HTTP/1.1.
//! 3. [`server::service`] handles every request: request id, Origin check, cache lookup, rate limit, deadline, access log.
//! 4. [`routes`] lists the whole API on one page; [`http::router`] finds the handler.
//! 5. The handler, in a domain's `http` module, receives a [`tenant::context`] (brand, region, language) and calls one operation.
//! 6. The operation, in the domain's `mod.rs`, applies the rules; the domain's `store` runs the SQL.
//! 7. [`http::response`] turns the result, or the [`foundation::error`], into status, headers and bytes.
//!
//! # Layers
//!
//! [`foundation`] < [`config`] < [`platform`] < [`telemetry`], [`http`] < [`tenant`] < domains < [`openapi`] < [`routes`],
//! [`workers`], [`collector`] < [`server`] < [`check`] < the binaries. Domains: [`regions`] < [`catalog`] < [`search`], [`session`],
//! [`reviews`], [`mail`], [`cart`] < [`payments`] < [`auth`] < [`telegram`], [`person`], [`books`]. A test (`tests/it/layering.rs`) fails on an import that
//! goes up, and on a cycle between files. `src/README.md` describes the architecture in detail.

pub(crate) mod auth;
pub mod books;
pub(crate) mod cart;
pub mod catalog;
pub mod check;
pub(crate) mod collector;
pub mod config;
pub mod foundation;
pub(crate) mod http;
pub mod mail;
pub(crate) mod openapi;
pub mod payments;
pub mod person;
pub mod platform;
pub(crate) mod regions;
pub mod reviews;
pub mod routes;
pub mod search;
pub mod server;
pub mod session;
pub mod telegram;
pub mod telemetry;
pub mod tenant;
pub mod workers;
