//! brandgate: the HTTPS back end of several shops, one process, each brand behind its own listener.
//!
//! # The walk of a request, and the modules in reading order
//!
//! 1. [`net::listen`] accepts a connection on an address of one brand; the listener's [`door`] decides the brand.
//! 2. [`net::connection`] shakes hands ([`net::tls`]) and speaks HTTP/2 or HTTP/1.1.
//! 3. [`serve`] is the outer function: request id, Origin check, limits, deadline, log line. Everything ends here.
//!    What the catalogue answered before and nothing has touched since leaves at once, from [`cache`].
//! 4. [`routes`] is the whole API on one page; [`net::router`] finds the handler.
//! 5. The handler, in a domain's `http`, is given a [`app::Cx`] (the brand, the region, the language) and calls one operation.
//! 6. The operation, in the domain's `mod`, holds the rules; its `store` holds the SQL.
//! 7. [`net::reply`] turns the answer, or the [`error`], into status, headers and bytes.
//!
//! Domains: [`regions`] ← [`catalog`] ← [`search`]; [`session`] (who is asking) and [`catalog`] ← [`reviews`], [`cart`] ←
//! [`payments`] ← [`auth`] (logging in) ← [`telegram`] (the bot). Anyone may queue [`mail`]. What they stand on: [`config`] (the
//! brands' files), [`brand`] (a brand alive), [`db`], [`readers`], [`kv`], [`lease`], [`rates`], [`migrate`], and [`error`], [`secret`],
//! [`money`], [`language`], [`clock`], [`hexadecimal`]. What is done behind the requests is listed in [`workers`]. [`check`] looks at all of it
//! for a sysadmin, [`reload`] reads the brands' files again, [`systemd`] is told about it, [`admin`] answers machines that watch ([`metrics`] are counted,
//! [`figures`] asked for, [`trace`] sends spans), [`openapi`] describes the API for machines that build.

pub mod admin;
pub mod app;
pub mod auth;
pub mod brand;
pub mod cache;
pub mod cart;
pub mod catalog;
pub mod check;
pub mod clock;
pub mod config;
pub mod db;
pub mod door;
pub mod error;
pub mod figures;
pub mod hexadecimal;
pub mod kv;
pub mod language;
pub mod lease;
pub mod mail;
pub mod metrics;
pub mod migrate;
pub mod money;
pub mod net;
pub mod openapi;
pub mod payments;
pub mod rates;
pub mod readers;
pub mod regions;
pub mod reload;
pub mod reviews;
pub mod routes;
pub mod search;
pub mod secret;
pub mod serve;
pub mod session;
pub mod systemd;
pub mod telegram;
pub mod trace;
pub mod workers;
