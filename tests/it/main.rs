//! The tests of the whole: the real program on a real PostgreSQL and Redis, through TLS, from the outside.

mod bad_input;
mod bot;
mod cart;
mod config;
mod cors;
mod faults;
mod harness;
mod house;
mod http;
mod import;
mod import_harm;
mod import_loss;
mod import_races;
mod import_yml;
mod listing;
mod login;
mod login_callback;
mod migrations;
mod payments;
mod rates;
mod regions;
mod routes;
mod session;
mod silence;
mod source;
mod tenancy;
