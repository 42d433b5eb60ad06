//! The description of the API for programs: `GET /openapi.json` (contract section 8), OpenAPI 3.1.
//!
//! Called by `routes`. The JSON files beside this one are the description, written by hand and part of the program; here they
//! are put together, and a brand's name, title and address put in. What must never happen: the description says something else
//! than the gateway does; `tests/it/openapi.rs` compares it with the routes and with real answers.

use std::sync::LazyLock;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::config::BrandConfig;
use crate::foundation::error::{Result, ResultExt};
use crate::foundation::language::Language;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::tenant::context::RequestContext;

const HEAD: &str = include_str!("document.json");
const PATHS: [&str; 4] = [
    include_str!("catalogue.json"),
    include_str!("cart.json"),
    include_str!("payments.json"),
    include_str!("login.json"),
];
const COMPONENTS: [(&str, &str); 3] = [
    ("schemas", include_str!("schemas.json")),
    ("responses", include_str!("responses.json")),
    ("examples", include_str!("errors.json")),
];

/// What stands in the files for what differs between brands.
const NAME: &str = "BRAND_NAME";
const TITLE: &str = "BRAND_TITLE";
const URL: &str = "BRAND_URL";

/// All files in one, with the words above still in it.
static TEMPLATE: LazyLock<String> = LazyLock::new(|| {
    let mut document = part(HEAD);
    let paths = PATHS.into_iter().flat_map(part).collect();
    document.insert("paths".to_owned(), Value::Object(paths));
    let components = document.entry("components").or_insert_with(|| json!({}));
    for (section, text) in COMPONENTS {
        components[section] = Value::Object(part(text));
    }
    Value::Object(document).to_string()
});

fn part(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).expect("the files beside this one are JSON objects")
}

/// `GET /openapi.json`.
pub async fn document(cx: RequestContext, _: ApiRequest) -> Result<ApiResponse> {
    let text = of_brand(&cx.brand.config);
    ApiResponse::catalogue(&RawValue::from_string(text).or_internal()?, Language::En, Vec::new())
}

fn of_brand(config: &BrandConfig) -> String {
    let inside_quotes = |text: &str| {
        let quoted = Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    // The title last: it may be any text.
    TEMPLATE
        .replace(NAME, &inside_quotes(&config.name))
        .replace(URL, &inside_quotes(&config.public_url))
        .replace(TITLE, &inside_quotes(&config.title))
}
