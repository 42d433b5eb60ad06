//! `GET /openapi.json`: the OpenAPI 3.1 description of the API.
//!
//! The JSON files in this folder are written by hand. They are merged at the first request, and the brand's name, title and
//! URL are inserted for each. `tests/it/openapi.rs` compares the description with the routes and with real responses.

use std::sync::LazyLock;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::config::BrandConfig;
use crate::foundation::error::{Result, ResultExt};
use crate::foundation::language::Language;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::tenant::context::RequestContext;

const DOCUMENT: &str = include_str!("document.json");
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

/// Placeholders in the files.
const NAME: &str = "BRAND_NAME";
const TITLE: &str = "BRAND_TITLE";
const URL: &str = "BRAND_URL";
/// A regular expression for the pages of the storefront.
const PAGES: &str = "BRAND_PAGES";

/// The merged files, with placeholders.
static TEMPLATE: LazyLock<String> = LazyLock::new(|| {
    let mut document = parse(DOCUMENT);
    let paths = PATHS.into_iter().flat_map(parse).collect();
    document.insert("paths".to_owned(), Value::Object(paths));
    let components = document.entry("components").or_insert_with(|| json!({}));
    for (section, text) in COMPONENTS {
        components[section] = Value::Object(parse(text));
    }
    Value::Object(document).to_string()
});

fn parse(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).expect("the files in this folder are JSON objects")
}

/// `GET /openapi.json`.
pub(crate) async fn document(cx: RequestContext, _: ApiRequest) -> Result<ApiResponse> {
    let text = render(&cx.brand.config);
    ApiResponse::catalogue(&RawValue::from_string(text).or_internal()?, Language::En, Vec::new())
}

fn render(config: &BrandConfig) -> String {
    let escape = |text: &str| {
        let quoted = Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    // The title last, because it may contain the text of a placeholder.
    TEMPLATE
        .replace(NAME, &escape(&config.name))
        .replace(URL, &escape(&config.public_url))
        .replace(PAGES, &escape(&pages_pattern(config)))
        .replace(TITLE, &escape(&config.title))
}

/// What `redirectUrl` may be: empty, or a URL of one of the brand's origins.
fn pages_pattern(config: &BrandConfig) -> String {
    let origins = config.origins.iter().chain([&config.storefront_url]);
    let origins: Vec<String> = origins.map(|origin| origin.replace('.', "\\.")).collect();
    format!("^(({})([/?#][!-~]*)?)?$", origins.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::visible::is_visible;

    #[test]
    fn description_and_parser_agree_on_every_blank_character() {
        let schemas = Value::Object(parse(include_str!("schemas.json")));
        let comment = &schemas["NewReview"]["properties"]["comment"];
        assert_eq!(schemas["NewQuestion"]["properties"]["question"]["pattern"], comment["pattern"]);
        let validator = jsonschema::validator_for(comment).expect("a schema");
        // The planes between these hold Han characters alone.
        for c in ('\u{0}'..='\u{1ffff}').chain('\u{e0000}'..='\u{effff}') {
            assert_eq!(validator.is_valid(&Value::from(c.to_string())), is_visible(c), "{c:?}");
        }
    }
}
