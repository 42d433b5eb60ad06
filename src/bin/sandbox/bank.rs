//! placeholder
use hyper::StatusCode;
use crate::settings::Settings;
use crate::web::{self, Answer, Asked};
pub struct Bank;
impl Bank {
    pub fn new(_: &Settings) -> Bank { Bank }
    pub async fn page(&self, _: Asked) -> Answer { web::text(StatusCode::NOT_FOUND, "") }
    pub async fn api(&self, _: Asked) -> Answer { web::text(StatusCode::NOT_FOUND, "") }
}
