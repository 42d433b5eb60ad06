//! `GET /searchitems`.

use serde::Serialize;

use crate::catalog::item::Item;
use crate::foundation::error::Result;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::tenant::context::RequestContext;

#[derive(Serialize)]
struct Answer {
    items: Vec<Item>,
    total: i64,
    count: i64,
    skip: i64,
}

/// `GET /searchitems?search=…&count=50&skip=0`.
pub async fn search_items(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let page = req.page()?;
    let query = super::check_query(req.query("search")?)?;
    let hits = super::find(&cx, query, page).await?;
    let shows = hits.items.iter().map(|item| item.item_id).collect();
    let answer = Answer { items: hits.items, total: hits.total, count: page.count, skip: page.skip };
    ApiResponse::catalogue(&answer, hits.language, shows)
}
