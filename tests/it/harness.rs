//! Test harness: private services, installations, the programs under test, and TLS clients.

pub(crate) mod api_document;
mod brand_file;
mod browser;
mod certificate_authority;
mod client;
mod database;
mod directory;
mod gateway;
mod golden;
pub(crate) mod login;
mod machine_clock;
mod process;
mod round_trip_proxy;
mod sandbox;
mod services;
pub(crate) mod shop;
mod site;
mod table_lock;

use std::sync::LazyLock;

pub(crate) use brand_file::{BrandFile, free_port, password_of};
pub(crate) use browser::BrowserClient;
pub(crate) use certificate_authority::{authority, issue_certificate};
pub(crate) use client::{
    Client, TestRequest, TestResponse, connect_tls, connect_tls_from, request, send_raw, trusting_client_config,
};
pub(crate) use gateway::{Gateway, plain_http_get, plain_http_get_accepting};
pub(crate) use golden::assert_golden;
pub(crate) use machine_clock::MachineClock;
pub(crate) use process::Process;
pub(crate) use round_trip_proxy::RoundTripProxy;
pub(crate) use sandbox::{Sandbox, TelegramUser, bank_key_of, bot_token_of, buttons, mail_section, merchant_of};
pub(crate) use services::{Services, certificates, eventually, eventually_async, psql};
pub(crate) use site::{CommandOutput, Site, data, demo, without_time};
pub(crate) use table_lock::TableLock;

/// Both brands with the demonstration catalogue, shared by all read-only tests.
pub(crate) struct Demo {
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

pub(crate) fn demo_shops() -> &'static Demo {
    &DEMO
}
