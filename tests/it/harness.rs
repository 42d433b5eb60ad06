//! What the tests stand on: private servers, installations of their own, the real program, and clients over real TLS.

mod brand_file;
mod browser;
mod client;
mod counting_line;
mod directory;
mod gateway;
mod golden;
mod holding;
pub mod login;
mod outside;
mod process;
pub mod schema;
mod services;
pub mod shop;
mod site;

use std::sync::LazyLock;

pub use brand_file::{free_port, password_of};
pub use browser::Browser;
pub use client::{Answer, Ask, Client, ask, connect_tls, converse, trusting_client_config};
pub use counting_line::CountingLine;
pub use gateway::{Gateway, ask_plainly};
pub use golden::assert_golden;
pub use holding::Holding;
pub use outside::{Outside, Person, bank_key_of, bot_token_of, buttons, mail_section, merchant_of};
pub use process::Process;
pub use services::{Services, certificates, eventually, eventually_async, psql};
pub use site::{Ended, Site, data, demo};

/// Both brands with the demonstration catalogue, for all tests that only read.
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
