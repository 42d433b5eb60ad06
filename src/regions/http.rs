//! `GET /regions`.

use crate::foundation::error::Result;
use crate::http::request::Req;
use crate::http::response::Reply;
use crate::tenant::context::Cx;

/// Every region of the brand, in `X-Language`.
pub async fn regions(cx: Cx, _: Req) -> Result<Reply> {
    let (regions, language) = super::list(&cx).await?;
    Reply::catalogue(&regions, language, Vec::new())
}
