//! `GET /searchitems`.

use serde::Serialize;

use crate::catalog::item::Item;
use crate::foundation::error::Result;
use crate::http::request::Req;
use crate::http::response::Reply;
use crate::tenant::context::Cx;

#[derive(Serialize)]
struct Answer {
    items: Vec<Item>,
    total: i64,
    count: i64,
    skip: i64,
}

/// `GET /searchitems?search=…&count=50&skip=0`.
pub async fn search_items(cx: Cx, req: Req) -> Result<Reply> {
    let page = req.page()?;
    let query = super::check_query(req.query("search")?)?;
    let hits = super::find(&cx, query, page).await?;
    let shows = hits.items.iter().map(|item| item.item_id).collect();
    let answer = Answer { items: hits.items, total: hits.total, count: page.count, skip: page.skip };
    Reply::catalogue(&answer, hits.language, shows)
}
