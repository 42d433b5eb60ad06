//! `GET /openapi.json`: its structure, and that it describes exactly the routes and error codes of the gateway. `openapi_answers` and
//! `openapi_errors` compare it with real responses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::api_document::ApiDocument;
use crate::harness::{demo_shops, request};

/// The description that a brand serves.
pub(crate) async fn description(brand: &str) -> ApiDocument {
    ApiDocument(demo_shops().gateway.client(brand).json("/openapi.json").await)
}

/// `("get", "/ping", operation)` of all operations.
fn operations(description: &ApiDocument) -> Vec<(&str, &str, &Value)> {
    let paths = description.0["paths"].as_object().expect("paths").iter();
    let methods = paths.flat_map(|(path, item)| item.as_object().expect("an item").iter().map(move |o| (path, o)));
    methods.map(|(path, (method, operation))| (method.as_str(), path.as_str(), operation)).collect()
}

/// Visits a node and everything below it.
fn walk<'a>(node: &'a Value, visit: &mut impl FnMut(&'a Value)) {
    visit(node);
    match node {
        Value::Object(members) => members.values().for_each(|value| walk(value, visit)),
        Value::Array(list) => list.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

#[tokio::test]
async fn each_brand_serves_its_own_description_with_an_entity_tag() {
    for brand in ["dexar", "novo"] {
        let client = demo_shops().gateway.client(brand);
        let plain = client.get("/openapi.json").await;
        let document = plain.ok_json();
        assert_eq!(document["openapi"], "3.1.0");
        let url = format!("https://localhost:{}", demo_shops().gateway.address(brand).port());
        assert_eq!(document["servers"], json!([{ "url": url }]));
        assert_eq!(document["info"]["title"], format!("Shop {brand}: API of the shop"));
        let session = &document["components"]["securitySchemes"]["session"]["name"];
        assert_eq!(session, &json!(format!("__Host-{brand}_session")));
        assert!(!String::from_utf8_lossy(&plain.body).contains("BRAND_"), "all placeholders are replaced");
        assert_eq!(plain.header("cache-control"), Some("no-cache"));
        assert_eq!(plain.header("content-language"), Some("en"));
        let packed = client.send(request("/openapi.json").header("accept-encoding", "br")).await;
        assert_eq!((packed.header("content-encoding"), packed.ok_json()), (Some("br"), document));
        let etag = plain.header("etag").expect("a tag");
        let again = client.send(request("/openapi.json").header("if-none-match", etag)).await;
        assert_eq!((again.status, again.header("etag")), (304, Some(etag)));
        let head = client.send(request("/openapi.json").method("HEAD")).await;
        assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, Some(etag)));
    }
}

#[tokio::test]
async fn description_has_the_structure_of_openapi_3_1() {
    let description = description("dexar").await;
    let document = &description.0;
    let known = ["openapi", "info", "servers", "tags", "paths", "components"];
    assert!(document.as_object().expect("an object").keys().all(|name| known.contains(&name.as_str())));
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    // All references resolve.
    let mut referred = BTreeSet::new();
    walk(document, &mut |node| {
        if let Some(place) = node.get("$ref").and_then(Value::as_str) {
            assert!(!description.resolve(node).is_null(), "{place}");
            referred.insert(place.to_owned());
        }
    });
    for section in ["schemas", "parameters", "headers", "responses", "examples"] {
        for name in document["components"][section].as_object().expect("a section").keys() {
            let place = format!("#/components/{section}/{name}");
            // Responses to paths, methods and headers that are not described.
            let alone =
                ["NoSuchPath", "MethodNotAllowed", "ExpectationFailed", "NotImplemented"].contains(&name.as_str());
            assert!(referred.contains(&place) || alone, "{place} is unused");
        }
    }
    let tags: Vec<&Value> = document["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]).collect();
    let schemes = document["components"]["securitySchemes"].as_object().expect("schemes");
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&description) {
        let place = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().expect("an id")), "{place}: duplicate operationId");
        assert!(operation["summary"].is_string(), "{place}");
        assert!(operation["tags"].as_array().expect("tags").iter().all(|tag| tags.contains(&tag)), "{place}");
        let security = operation["security"].as_array().expect("security requirements").iter();
        let named = security.flat_map(|way| way.as_object().expect("schemes").keys());
        assert!(named.into_iter().all(|name| schemes.contains_key(name)), "{place}");
        let parameters: Vec<&Value> =
            operation["parameters"].as_array().into_iter().flatten().map(|p| description.resolve(p)).collect();
        for parameter in &parameters {
            assert!(parameter["schema"].is_object() && parameter["name"].is_string(), "{place}: {parameter}");
            let inside = ["path", "query", "header"].contains(&parameter["in"].as_str().expect("where"));
            assert!(inside && (parameter["in"] != "path" || parameter["required"] == true), "{place}: {parameter}");
        }
        let of_path = parameters.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().expect("a name"));
        let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        assert_eq!(of_path.collect::<Vec<_>>(), in_path.collect::<Vec<_>>(), "{place}");
        for (status, response) in operation["responses"].as_object().expect("responses") {
            assert!(matches!(status.parse(), Ok(200_u16..600)), "{place} {status}");
            assert!(description.resolve(response)["description"].is_string(), "{place} {status}");
        }
    }
}

#[tokio::test]
async fn description_has_exactly_the_routes() {
    let description = description("novo").await;
    let described: BTreeSet<(String, String)> =
        operations(&description).iter().map(|(method, path, _)| (method.to_uppercase(), (*path).to_owned())).collect();
    let router = brandgate::routes::routes();
    let routed = router.entries().map(|(method, path)| (method.to_string(), path.to_owned()));
    assert_eq!(described, routed.collect());
}

#[tokio::test]
async fn examples_match_their_schemas() {
    let description = description("dexar").await;
    let mut seen = 0;
    let mut check = |place: &str, schema: &Value, holder: &Value| {
        let named = holder["examples"].as_object().into_iter().flatten();
        let examples = named.map(|(_, example)| &description.resolve(example)["value"]);
        for example in holder.get("example").into_iter().chain(examples) {
            let faults = description.validation_errors(schema, example);
            assert!(faults.is_empty(), "{place}: {faults:#?}");
            seen += 1;
        }
    };
    for (method, path, operation) in operations(&description) {
        let body = operation["requestBody"]["content"].as_object().into_iter().flatten();
        for (media_type, content) in body {
            check(&format!("{method} {path} {media_type}"), &content["schema"], content);
        }
        for (status, response) in operation["responses"].as_object().expect("responses") {
            let response = description.resolve(response);
            let content = &response["content"]["application/json"];
            let has_example = content["example"] != Value::Null || content["examples"] != Value::Null;
            assert!(content.is_null() || has_example || path == "/openapi.json", "{method} {path} {status}");
            if content.is_object() {
                check(&format!("{method} {path} {status}"), &content["schema"], content);
            }
        }
    }
    for section in ["parameters", "headers"] {
        for (name, described) in description.0["components"][section].as_object().expect("a section") {
            check(name, &described["schema"], described);
        }
    }
    for (name, example) in description.0["components"]["examples"].as_object().expect("examples") {
        let error = json!({"$ref": "#/components/schemas/Error"});
        assert_eq!(description.validation_errors(&error, &example["value"]), Vec::<String>::new(), "{name}");
    }
    assert!(seen > 150, "only {seen} examples were found");
}

/// All error codes with their statuses, extracted from the sources: `Error::conflict("…"`.
pub(crate) fn codes_of_the_sources() -> BTreeMap<String, u16> {
    fn read(directory: &Path, into: &mut String) {
        for entry in std::fs::read_dir(directory).expect("the repository") {
            let path = entry.expect("readable").path();
            let name = path.to_str().expect("UTF-8");
            // Errors that only commands return.
            let is_command = ["src/bin", "catalog/import", "payments/refund", "payments/unknown_money"]
                .iter()
                .any(|part| name.ends_with(part));
            match (is_command, path.is_dir()) {
                (true, _) => {}
                (false, true) => read(&path, into),
                (false, false) if name.ends_with(".rs") => {
                    let text = std::fs::read_to_string(&path).expect("readable");
                    let code = text.split("#[cfg(test)]").next().expect("a first part");
                    into.extend(code.split_whitespace());
                }
                (false, false) => {}
            }
        }
    }
    let mut code = String::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
    let mut codes = BTreeMap::new();
    for (call, status) in [
        ("malformed(\"", 400),
        ("bad_member(\"", 400),
        ("unauthorized(\"", 401),
        ("forbidden(\"", 403),
        ("Kind::NotFound,\"", 404),
        ("Kind::MethodNotAllowed(allow.to_owned()),\"", 405),
        ("conflict(\"", 409),
        ("Kind::BodyTooLarge,\"", 413),
        ("Kind::UriTooLong,\"", 414),
        ("Kind::UnsupportedMediaType,\"", 415),
        ("Kind::ExpectationFailed,\"", 417),
        ("unprocessable(\"", 422),
        ("Kind::TooManyRequests{retry_after_s},\"", 429),
        ("Kind::HeadersTooLarge,\"", 431),
        ("Kind::Internal,\"", 500),
        ("Kind::NotImplemented,\"", 501),
        ("Kind::BadGateway,\"", 502),
        ("Kind::Unavailable{retry_after_s:2},\"", 503),
        ("Kind::Overloaded{retry_after_s:1},\"", 503),
        ("Kind::Timeout,\"", 504),
        ("Kind::BodyTimeout,\"", 408),
    ] {
        let found: Vec<&str> = code.split(call).skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(!found.is_empty(), "{call} was not found: is it written in another way now?");
        codes.extend(found.into_iter().map(|code| (code.to_owned(), status)));
    }
    // That response has no code.
    assert_eq!(codes.remove("no_session"), Some(401));
    codes
}

#[tokio::test]
async fn description_has_exactly_the_error_codes() {
    let description = description("dexar").await;
    let mut described = BTreeMap::new();
    let mut read = |status: &str, response: &Value| {
        let schema = &description.resolve(response)["content"]["application/json"]["schema"];
        let codes = schema.pointer("/allOf/1/properties/code/enum").and_then(Value::as_array);
        for code in codes.into_iter().flatten() {
            let status: u16 = status.parse().expect("a status");
            let before = described.insert(code.as_str().expect("a code").to_owned(), status);
            assert!(before.is_none_or(|before| before == status), "{code} is {before:?} and {status}");
        }
    };
    for (_, _, operation) in operations(&description) {
        operation["responses"].as_object().expect("responses").iter().for_each(|(status, r)| read(status, r));
    }
    for (status, name) in [("405", "MethodNotAllowed"), ("417", "ExpectationFailed"), ("501", "NotImplemented")] {
        read(status, &description.0["components"]["responses"][name]);
    }
    assert_eq!(described, codes_of_the_sources());
    let listed = description.0["components"]["schemas"]["ErrorCode"]["enum"].as_array().expect("codes").iter();
    let listed: Vec<&str> = listed.map(|code| code.as_str().expect("a code")).collect();
    assert_eq!(listed, described.keys().map(String::as_str).collect::<Vec<_>>());
    for name in described.keys() {
        assert_eq!(description.error_example(name)["code"], name.as_str(), "an example of every code");
    }
}
