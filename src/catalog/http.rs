//! The catalogue's endpoints (contract section 3).

use crate::foundation::error::{Result, ResultExt};
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::tenant::context::RequestContext;

/// `GET /category`: the tree.
pub async fn categories(cx: RequestContext, _: ApiRequest) -> Result<ApiResponse> {
    let (categories, language) = super::categories(&cx).await?;
    ApiResponse::catalogue(&categories, language, Vec::new())
}

/// `GET /category/{id}?count=50&skip=0`: items of the category and of all below it.
pub async fn category_items(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let page = req.page()?;
    let (items, language) = super::category_items(&cx, req.param("id"), page).await?;
    let shows = items.iter().map(|item| item.item_id).collect();
    ApiResponse::catalogue(&items, language, shows)
}

/// `GET /item/{id}`: one item, with its newest hundred reviews.
pub async fn item(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let (item, language) = super::item(&cx, req.param("id")).await?;
    ApiResponse::catalogue(&item, language, vec![item.item_id])
}

/// `GET /randomitems?count=5&category=…`.
pub async fn random_items(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let count = usize::try_from(req.count(5)?).or_internal()?;
    let (items, language) = super::random_items(&cx, count, req.query("category")?).await?;
    Ok(ApiResponse::json_list(items.iter().map(|item| item.json())).in_language(language))
}
