//! The OpenAPI document that the gateway serves, and whether a value or a response matches it.

use jsonschema::Draft;
use serde_json::{Value, json};

use super::client::TestResponse;

/// Every schema keyword that the document uses. The validator ignores unknown keywords, so a misspelt one would check nothing.
const KEYWORDS: [&str; 23] = [
    "$ref",
    "additionalProperties",
    "allOf",
    "const",
    "default",
    "description",
    "enum",
    "example",
    "examples",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "type",
];

/// Headers that a response may carry only where the document declares them for it.
const DECLARED_HEADERS: [&str; 7] =
    ["etag", "content-language", "location", "allow", "retry-after", "set-cookie", "ratelimit"];

pub struct ApiDocument(pub Value);

impl ApiDocument {
    /// The node itself, or the node that its `$ref` points to.
    pub fn resolve<'a>(&'a self, node: &'a Value) -> &'a Value {
        match node["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} is not a local $ref"));
                self.resolve(self.0.pointer(pointer).unwrap_or_else(|| panic!("{reference} does not resolve")))
            }
            None => node,
        }
    }

    /// The body of `#/components/examples/NAME`.
    pub fn error_example(&self, name: &str) -> Value {
        self.resolve(&self.0["components"]["examples"][name])["value"].clone()
    }

    /// Checks that the document declares this response of an operation.
    #[track_caller]
    pub fn assert_documented(&self, method: &str, pattern: &str, response: &TestResponse) {
        let context = format!("{method} {pattern} {}", response.status);
        let operation = &self.0["paths"][pattern][method.to_lowercase()];
        assert!(operation.is_object(), "{context}: the operation is not documented");
        self.assert_response(&context, &operation["responses"][response.status.to_string()], response);
    }

    /// Checks a response against a Response Object, also one that no operation lists.
    #[track_caller]
    pub fn assert_response(&self, context: &str, declared: &Value, response: &TestResponse) {
        let text = String::from_utf8_lossy(&response.body);
        assert!(!declared.is_null(), "{context}: the status is not documented: {text}");
        let declared = self.resolve(declared);
        // Any error may carry cookies and rate limit headers.
        let is_implicit = |name: &str| response.status >= 400 && ["set-cookie", "ratelimit"].contains(&name);
        let headers = declared["headers"].as_object().into_iter().flatten();
        let headers: Vec<String> = headers.map(|(name, _)| name.to_lowercase()).collect();
        for name in DECLARED_HEADERS.iter().filter(|name| response.headers.contains_key(**name) && !is_implicit(name)) {
            assert!(headers.iter().any(|n| n == name), "{context}: the header {name} is not documented");
        }
        let has_request_id = response.headers.contains_key("x-request-id");
        assert!(headers.contains(&"x-request-id".to_owned()) && has_request_id, "{context}: x-request-id");
        if response.body.is_empty() {
            return assert!(declared["content"].is_null(), "{context}: the body is empty");
        }
        let media_type = response.header("content-type").and_then(|t| t.split(';').next()).expect("a media type");
        let content = &declared["content"][media_type];
        assert!(content.is_object(), "{context}: {media_type} is not documented: {text}");
        if media_type == "application/json" {
            let value = serde_json::from_slice(&response.decoded()).expect("the body is JSON");
            let errors = self.validation_errors(&content["schema"], &value);
            assert!(errors.is_empty(), "{context}: {errors:#?}\n{value:#}");
        }
    }

    /// Every violation of a schema of this document. A member that the schema does not name is one.
    pub fn validation_errors(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut root = closed(schema, true);
        let schemas = self.0["components"]["schemas"].as_object().into_iter().flatten();
        let schemas: serde_json::Map<_, _> =
            schemas.map(|(name, schema)| (name.clone(), closed(schema, false))).collect();
        root["components"] = json!({ "schemas": schemas });
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        let validator = options.build(&root).unwrap_or_else(|error| panic!("invalid schema: {error}: {schema}"));
        let errors = validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path()));
        errors.collect()
    }
}

/// The schema with `unevaluatedProperties: false` wherever it describes a whole value.
///
/// `is_whole`: the schema is not one part of an `allOf`, and not a component that may be referenced by one.
fn closed(schema: &Value, is_whole: bool) -> Value {
    let members = schema.as_object().unwrap_or_else(|| panic!("a schema is an object, not {schema}"));
    let each = |list: &Value, is_whole| -> Value {
        list.as_array().expect("a list of schemas").iter().map(|schema| closed(schema, is_whole)).collect()
    };
    let mut closed_members = serde_json::Map::new();
    for (keyword, value) in members {
        assert!(KEYWORDS.contains(&keyword.as_str()), "unknown keyword {keyword} in {schema}");
        let value = match keyword.as_str() {
            "properties" => {
                let properties = value.as_object().expect("schemas by name").iter();
                properties.map(|(name, schema)| (name.clone(), closed(schema, true))).collect()
            }
            "items" => closed(value, true),
            "additionalProperties" if value.is_object() => closed(value, true),
            "oneOf" => each(value, true),
            "allOf" => each(value, false),
            _ => value.clone(),
        };
        closed_members.insert(keyword.clone(), value);
    }
    if is_whole {
        closed_members.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
    }
    Value::Object(closed_members)
}

#[test]
fn schema_violations_are_found() {
    let part = json!({"properties": {"code": {"enum": ["a", "b"]}}});
    let error = json!({"type": "object", "required": ["code"], "properties": {"code": {"type": "string"}, "left": {"type": "integer", "minimum": 0}}});
    let document = ApiDocument(json!({"components": {"schemas": {"Error": error}}}));
    let schema = json!({"allOf": [{"$ref": "#/components/schemas/Error"}, part]});
    let count = |value: Value| document.validation_errors(&schema, &value).len();
    assert_eq!(count(json!({"code": "a"})), 0);
    assert_eq!(count(json!({"code": "a", "left": 5})), 0);
    for wrong in
        [json!({"code": "c"}), json!({}), json!({"code": "a", "left": -1}), json!({"code": "a", "more": 1}), json!([])]
    {
        assert!(count(wrong.clone()) > 0, "{wrong}");
    }
    let either = json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]});
    assert!(document.validation_errors(&either, &json!([1])).is_empty());
    assert!(!document.validation_errors(&either, &json!(["1"])).is_empty());
    let date = json!({"type": "string", "format": "date-time"});
    assert!(document.validation_errors(&date, &json!("2026-11-24T06:31:10Z")).is_empty());
    assert!(!document.validation_errors(&date, &json!("2026-11-24")).is_empty());
}
