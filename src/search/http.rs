//! Search endpoint.

use serde::Serialize;

use crate::catalog::Page;
use crate::catalog::item::Item;
use crate::foundation::error::Result;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::tenant::context::RequestContext;

#[derive(Serialize)]
struct SearchPage {
    items: Vec<Item>,
    total: i64,
    count: i64,
    skip: i64,
}

/// `GET /searchitems?search=…&count=50&skip=0`: a page of matching items and the number of all.
pub(crate) async fn search_items(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let page = Page { count: req.count(Page::DEFAULT_COUNT)?, skip: req.skip()? };
    let query = super::check_query(req.query("search")?)?;
    let hits = super::find(&cx, query, page).await?;
    let item_ids = hits.items.iter().map(|item| item.item_id).collect();
    let found = SearchPage { items: hits.items, total: hits.total, count: page.count, skip: page.skip };
    ApiResponse::catalogue(&found, hits.language, item_ids)
}
