//! Catalogue endpoints.

use crate::foundation::error::{Result, ResultExt};
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::tenant::context::RequestContext;

/// `GET /category`: the tree of categories.
pub(crate) async fn categories(cx: RequestContext, _: ApiRequest) -> Result<ApiResponse> {
    let (categories, language) = super::categories(&cx).await?;
    ApiResponse::catalogue(&categories, language, Vec::new())
}

/// `GET /item/{id}`: one item with its newest 100 reviews.
pub(crate) async fn item(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let (item, language) = super::item(&cx, req.param("id")).await?;
    ApiResponse::catalogue(&item, language, vec![item.item_id])
}

/// `GET /randomitems?count=5&category=…`: random items.
pub(crate) async fn random_items(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let count = usize::try_from(req.count(5)?).or_internal()?;
    let (cards, language) = super::random_items(&cx, count, req.query("category")?).await?;
    Ok(ApiResponse::json_list(cards.iter().map(|card| &card.json)).in_language(language))
}
