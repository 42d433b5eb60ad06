//! Test harness: private services, installations, the programs under test, and TLS clients.

pub mod api_document;
mod brand_file;
mod browser;
mod client;
mod directory;
mod gateway;
mod golden;
pub mod login;
mod process;
mod round_trip_proxy;
mod sandbox;
mod services;
pub mod shop;
mod site;
mod table_lock;

use std::sync::LazyLock;

pub use brand_file::{free_port, password_of};
pub use browser::BrowserClient;
pub use client::{Client, TestRequest, TestResponse, connect_tls, request, send_raw, trusting_client_config};
pub use gateway::{Gateway, plain_http_get};
pub use golden::assert_golden;
pub use process::Process;
pub use round_trip_proxy::RoundTripProxy;
pub use sandbox::{Sandbox, TelegramUser, bank_key_of, bot_token_of, buttons, mail_section, merchant_of};
pub use services::{Services, certificates, eventually, eventually_async, psql};
pub use site::{CommandOutput, Site, data, demo};
pub use table_lock::TableLock;

/// Both brands with the demonstration catalogue, shared by all read-only tests.
pub struct Demo {
    pub site: Site,
    pub gateway: Gateway,
}

static DEMO: LazyLock<Demo> = LazyLock::new(|| {
    let site = Site::new(&["dexar", "novo"]);
    site.import_demo("dexar");
    site.import_demo("novo");
    let gateway = site.start();
    Demo { site, gateway }
});

pub fn demo_shops() -> &'static Demo {
    &DEMO
}
