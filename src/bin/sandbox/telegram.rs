//! placeholder
use crate::settings::Settings;
use crate::web::{self, Answer, Asked};
use hyper::StatusCode;
pub struct Telegram;
impl Telegram {
    pub fn new(_: &Settings) -> Telegram {
        Telegram
    }
    pub async fn page(&self, _: Asked) -> Answer {
        web::text(StatusCode::NOT_FOUND, "")
    }
    pub async fn api(&self, _: Asked) -> Answer {
        web::text(StatusCode::NOT_FOUND, "")
    }
}
