//! The gateway's own description of its API, and whether a value or an answer is what it says: the keywords of JSON Schema
//! that the description uses, and no others.
//!
//! Members that the description does not name are faults here, so that neither can know more than the other.

use std::collections::BTreeSet;

use serde_json::Value;

use super::client::TestResponse;

/// Keywords that say nothing about a value's shape.
const REMARKS: [&str; 4] = ["description", "example", "examples", "default"];

/// Headers that stand in an answer only where the description of that answer names them.
const TOLD_HEADERS: [&str; 7] =
    ["etag", "content-language", "location", "allow", "retry-after", "set-cookie", "ratelimit"];

/// An OpenAPI document.
pub struct ApiDocument(pub Value);

impl ApiDocument {
    /// What a node says, also one that refers to another place.
    pub fn resolve<'a>(&'a self, node: &'a Value) -> &'a Value {
        match node["$ref"].as_str() {
            Some(place) => {
                let pointer = place.strip_prefix('#').unwrap_or_else(|| panic!("{place} is elsewhere"));
                self.resolve(self.0.pointer(pointer).unwrap_or_else(|| panic!("{place} leads nowhere")))
            }
            None => node,
        }
    }

    /// The body of an error as the description shows it.
    pub fn error_example(&self, name: &str) -> Value {
        self.resolve(&self.0["components"]["examples"][name])["value"].clone()
    }

    /// Checks that this answer is one that the description foresees.
    #[track_caller]
    pub fn assert_documented(&self, method: &str, pattern: &str, answer: &TestResponse) {
        let place = format!("{method} {pattern} {}", answer.status);
        let operation = &self.0["paths"][pattern][method.to_lowercase()];
        assert!(operation.is_object(), "{place}: no such operation");
        self.assert_response(&place, &operation["responses"][answer.status.to_string()], answer);
    }

    /// The same for what any path can answer.
    #[track_caller]
    pub fn assert_response(&self, place: &str, response: &Value, answer: &TestResponse) {
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!response.is_null(), "{place}: not described: {text}");
        let response = self.resolve(response);
        // Cookies and counts come with every error as well, whatever it is.
        let may_come = |name: &str| answer.status >= 400 && ["set-cookie", "ratelimit"].contains(&name);
        let named = response["headers"].as_object().into_iter().flatten();
        let named: Vec<String> = named.map(|(name, _)| name.to_lowercase()).collect();
        for name in TOLD_HEADERS.iter().filter(|name| answer.headers.contains_key(**name) && !may_come(name)) {
            assert!(named.iter().any(|n| n == name), "{place}: the header {name} is not described");
        }
        assert!(named.contains(&"x-request-id".to_owned()) && answer.headers.contains_key("x-request-id"), "{place}");
        if answer.body.is_empty() {
            return assert!(response["content"].is_null(), "{place}: nothing came");
        }
        let media_type = answer.header("content-type").and_then(|t| t.split(';').next()).expect("a media type");
        let content = &response["content"][media_type];
        assert!(content.is_object(), "{place}: {media_type} is not described: {text}");
        if media_type == "application/json" {
            let value = serde_json::from_slice(&answer.decoded()).expect("JSON");
            let faults = self.faults(&content["schema"], &value);
            assert!(faults.is_empty(), "{place}: {faults:#?}\n{value:#}");
        }
    }

    /// Everything in which a value is not what a schema says.
    pub fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(schema, value, "", true, &mut faults);
        faults
    }

    /// `whole`: the schema is not one of several that describe the value together.
    fn check(&self, schema: &Value, value: &Value, at: &str, whole: bool, faults: &mut Vec<String>) {
        let members = schema.as_object().unwrap_or_else(|| panic!("{at}: a schema is an object, not {schema}"));
        for (keyword, says) in members {
            if let Some(fault) = self.fault(keyword, says, schema, value, at, faults) {
                faults.push(format!("{at}: {fault}"));
            }
        }
        if whole && let (Some(object), Some(known)) = (value.as_object(), self.known_members(schema)) {
            let unknown = object.keys().filter(|name| !known.contains(name.as_str()));
            faults.extend(unknown.map(|name| format!("{at}: {name} is not described")));
        }
    }

    fn fault(
        &self,
        keyword: &str,
        says: &Value,
        schema: &Value,
        value: &Value,
        at: &str,
        faults: &mut Vec<String>,
    ) -> Option<String> {
        let list = || says.as_array().unwrap_or_else(|| panic!("{at}: {keyword} is a list"));
        let number = || says.as_f64().unwrap_or_else(|| panic!("{at}: {keyword} is a number"));
        let wrong = |is_wrong: bool| is_wrong.then(|| format!("{value} is not {keyword} {says}"));
        let length = |text: &str| text.chars().count() as f64;
        match keyword {
            "$ref" => self.check(self.resolve(schema), value, at, false, faults),
            "type" => {
                let is_a = |name: &Value| is_of_type(value, name.as_str().expect("a type's name"));
                return wrong(!says.as_array().map_or_else(|| is_a(says), |names| names.iter().any(is_a)));
            }
            "const" => return wrong(value != says),
            "enum" => return wrong(!list().contains(value)),
            "allOf" => list().iter().for_each(|part| self.check(part, value, at, false, faults)),
            "oneOf" | "anyOf" => {
                let right = list().iter().filter(|one| self.faults(one, value).is_empty()).count();
                return wrong(right == 0 || (keyword == "oneOf" && right > 1));
            }
            "required" => {
                let missing = |name: &&Value| value.is_object() && value.get(name.as_str().expect("a name")).is_none();
                return list().iter().find(missing).map(|name| format!("{name} is missing"));
            }
            "properties" => {
                for (name, schema) in says.as_object().expect("schemas by name") {
                    if let Some(member) = value.get(name) {
                        self.check(schema, member, &format!("{at}.{name}"), true, faults);
                    }
                }
            }
            "additionalProperties" => {
                let others = value.as_object().into_iter().flatten();
                let others = others.filter(|(name, _)| schema["properties"].get(name.as_str()).is_none());
                for (name, member) in others.filter(|_| says.is_object()) {
                    self.check(says, member, &format!("{at}.{name}"), true, faults);
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    self.check(says, item, &format!("{at}[{index}]"), true, faults);
                }
            }
            "pattern" => return wrong(value.as_str().is_some_and(|text| !fits(text, says.as_str().expect("a text")))),
            "format" => {
                assert_eq!(says, "date-time", "no other format is used");
                return wrong(value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_err()));
            }
            "minimum" => return wrong(value.as_f64().is_some_and(|n| n < number())),
            "maximum" => return wrong(value.as_f64().is_some_and(|n| n > number())),
            "exclusiveMinimum" => return wrong(value.as_f64().is_some_and(|n| n <= number())),
            "minLength" => return wrong(value.as_str().is_some_and(|text| length(text) < number())),
            "maxLength" => return wrong(value.as_str().is_some_and(|text| length(text) > number())),
            "minItems" => return wrong(value.as_array().is_some_and(|list| (list.len() as f64) < number())),
            "maxItems" => return wrong(value.as_array().is_some_and(|list| list.len() as f64 > number())),
            remark => assert!(REMARKS.contains(&remark), "{at}: nobody checks the keyword {remark}"),
        }
        None
    }

    /// The members that a schema names; `None` where there may be others.
    fn known_members<'a>(&'a self, schema: &'a Value) -> Option<BTreeSet<&'a str>> {
        let schema = self.resolve(schema);
        let open = schema.get("additionalProperties").is_some_and(|more| more != &Value::Bool(false));
        if open || schema.get("oneOf").is_some() {
            return None;
        }
        let mut known: BTreeSet<&str> =
            schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            known.extend(self.known_members(part)?);
        }
        Some(known)
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

/// Whether a text fits a pattern: characters and classes in a row, each with `*`, `{n}` or `{n,m}` behind it, from `^` on.
pub fn fits(text: &str, pattern: &str) -> bool {
    let mut left: Vec<char> = text.chars().rev().collect();
    let mut pattern = pattern.strip_prefix('^').expect("a pattern begins with ^");
    while !pattern.is_empty() && pattern != "$" {
        let end = if pattern.starts_with('[') { pattern.find(']').expect("it closes") + 1 } else { 1 };
        let (class, rest) = pattern.split_at(end);
        let (least, most, rest) = repetition(rest);
        let mut seen = 0;
        while seen < most && left.last().is_some_and(|c| is_in(*c, class)) {
            left.pop();
            seen += 1;
        }
        if seen < least {
            return false;
        }
        pattern = rest;
    }
    pattern.is_empty() || left.is_empty()
}

fn repetition(rest: &str) -> (usize, usize, &str) {
    if let Some(rest) = rest.strip_prefix('*') {
        return (0, usize::MAX, rest);
    }
    let Some((counts, rest)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return (1, 1, rest);
    };
    let (least, most) = counts.split_once(',').unwrap_or((counts, counts));
    (least.parse().expect("a number"), most.parse().expect("a number"), rest)
}

fn is_in(c: char, class: &str) -> bool {
    let Some(inside) = class.strip_prefix('[').and_then(|class| class.strip_suffix(']')) else {
        return class.chars().eq([c]);
    };
    let inside: Vec<char> = inside.chars().collect();
    let is_range = |i: usize| inside.get(i + 1) == Some(&'-') && i + 2 < inside.len();
    (0..inside.len()).any(|i| if is_range(i) { (inside[i]..=inside[i + 2]).contains(&c) } else { inside[i] == c })
}

#[test]
fn patterns_are_understood() {
    for (text, pattern, wanted) in [
        ("AD", "^[A-Z]{2}$", true),
        ("ADA", "^[A-Z]{2}$", false),
        ("sess_1", "^sess_", true),
        ("ses_1", "^sess_", false),
        ("a_B.-9", "^[A-Za-z0-9_.-]{1,40}$", true),
        ("a/b", "^[A-Za-z0-9_.-]{1,40}$", false),
        ("", "^[A-Za-z0-9_.-]{1,40}$", false),
        ("10", "^[1-9][0-9]*$", true),
        ("01", "^[1-9][0-9]*$", false),
    ] {
        assert_eq!(fits(text, pattern), wanted, "{text} {pattern}");
    }
}

#[test]
fn what_is_not_as_described_is_found() {
    use serde_json::json;
    let part = json!({"properties": {"code": {"enum": ["a", "b"]}}});
    let error = json!({"type": "object", "required": ["code"], "properties": {"code": {"type": "string"}, "left": {"type": "integer", "minimum": 0}}});
    let description = ApiDocument(json!({"components": {"schemas": {"Error": error}}}));
    let schema = json!({"allOf": [{"$ref": "#/components/schemas/Error"}, part]});
    let found = |value: Value| description.faults(&schema, &value).len();
    assert_eq!(found(json!({"code": "a"})), 0);
    assert_eq!(found(json!({"code": "a", "left": 5})), 0);
    for wrong in
        [json!({"code": "c"}), json!({}), json!({"code": "a", "left": -1}), json!({"code": "a", "more": 1}), json!([])]
    {
        assert!(found(wrong.clone()) > 0, "{wrong}");
    }
    let either = json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]});
    assert!(
        description.faults(&either, &json!([1])).is_empty() && !description.faults(&either, &json!(["1"])).is_empty()
    );
}
