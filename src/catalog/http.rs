//! Catalogue endpoints.

use super::random::Card;
use crate::foundation::error::{Result, ResultExt};
use crate::foundation::language::Language;
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
    let (count, category) = random_items_query(&req)?;
    let (cards, language) = super::random_items(&cx, count, category).await?;
    Ok(list_of_cards(&cards, language))
}

/// `GET /randomitems`, while numbers and cards are cached.
pub(crate) fn random_items_from_memory(cx: &RequestContext, req: &ApiRequest) -> Result<Option<ApiResponse>> {
    let (count, category) = random_items_query(req)?;
    let drawn = super::random_items_from_memory(cx, count, category)?;
    Ok(drawn.map(|(cards, language)| list_of_cards(&cards, language)))
}

fn random_items_query(req: &ApiRequest) -> Result<(usize, Option<&str>)> {
    Ok((usize::try_from(req.count(5)?).or_internal()?, req.query("category")?))
}

fn list_of_cards(cards: &[Card], language: Language) -> ApiResponse {
    ApiResponse::json_list(cards.iter().map(|card| &card.json)).in_language(language)
}
