//! The regions of a shop, by which the catalogue is filtered.

pub(crate) mod http;
mod store;

use serde::{Deserialize, Serialize};

use crate::foundation::error::Result;
use crate::foundation::language::Language;
use crate::tenant::context::RequestContext;

/// A region as `GET /regions` lists it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Region {
    pub id: String,
    pub city: String,
    pub country: String,
    pub country_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

/// The names of a region in one language; a missing one stays Russian.
#[derive(Debug, Default, Deserialize)]
struct Translation {
    city: Option<String>,
    country: Option<String>,
}

/// All regions in the visitor's language, and the language that was used.
pub(crate) async fn list(cx: &RequestContext) -> Result<(Vec<Region>, Language)> {
    let client = cx.brand.postgres().await?;
    let mut language = Language::Ru;
    let mut regions = Vec::new();
    let rows = store::list(&client, cx.language).await?;
    for (mut region, translation) in rows {
        for (text, translated) in [(&mut region.city, translation.city), (&mut region.country, translation.country)] {
            if let Some(translated) = translated.filter(|translated| !translated.is_empty()) {
                *text = translated;
                language = cx.language;
            }
        }
        regions.push(region);
    }
    Ok((regions, language))
}
