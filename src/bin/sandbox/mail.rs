//! placeholder
use hyper::StatusCode;
use tokio::net::TcpListener;
use crate::settings::Settings;
use crate::web::{self, Answer, Asked};
pub struct Mail;
impl Mail {
    pub fn new(_: &Settings, _: TcpListener) -> Mail { Mail }
    pub async fn page(&self, _: Asked) -> Answer { web::text(StatusCode::NOT_FOUND, "") }
}
