//! The request body of a review, parsed member by member so that an error names the invalid one.
//!
//! # Invariants
//!
//! The text is stored exactly as it was sent.

use jiff::Timestamp;
use serde_json::Value;

use super::NewReview;
use crate::foundation::error::{Error, Result};
use crate::foundation::visible::has_visible;
use crate::foundation::whole_number;
use crate::http::request::MAX_SAFE_INTEGER;

/// In Unicode scalar values.
const MAX_COMMENT_CHARACTERS: usize = 4_000;

/// `{"itemID", "rating", "comment", "username"?, "userId"?, "timestamp"?}`; `null` means absent. The name is validated and
/// discarded, because reviews are signed with a pseudonym.
///
/// # Errors
/// 400 that names the first invalid member.
pub(super) fn parse(body: &Value) -> Result<NewReview> {
    let member = |key: &str| body.get(key).filter(|value| !value.is_null());
    let item_id = item_id(body)?;
    let stars = member("rating").and_then(whole_number::from_json).and_then(|stars| i16::try_from(stars).ok());
    let stars = stars.filter(|stars| (1..=5).contains(stars));
    let stars = stars.ok_or_else(|| Error::malformed("bad_rating", "rating: expected a whole number from 1 to 5"))?;
    let text = visible_text(body.get("comment"), "comment", MAX_COMMENT_CHARACTERS)
        .map_err(|problem| Error::malformed("bad_comment", problem))?;
    if member("username").is_some_and(|name| !name.is_string()) {
        return Err(Error::malformed("bad_username", "username: expected a text"));
    }
    let user_id = member("userId")
        .map(|id| id_of(id).ok_or_else(|| Error::malformed("bad_user_id", "userId: expected a positive integer")));
    let written_at = member("timestamp").map(|time| {
        parse_time(time).ok_or_else(|| {
            let public = "timestamp: expected an RFC 3339 time, such as 2026-02-28T12:00:00Z";
            Error::malformed("bad_timestamp", public)
        })
    });
    Ok(NewReview { item_id, stars, text, user_id: user_id.transpose()?, written_at: written_at.transpose()? })
}

/// The member `itemID`.
///
/// # Errors
/// 400 `bad_item_id`.
pub(super) fn item_id(body: &Value) -> Result<i64> {
    let item_id = body.get("itemID").and_then(id_of);
    item_id.ok_or_else(|| Error::malformed("bad_item_id", "itemID: expected a positive integer"))
}

/// A number that JavaScript represents exactly, from 1.
pub(super) fn id_of(value: &Value) -> Option<i64> {
    whole_number::from_json(value).filter(|id| (1..=MAX_SAFE_INTEGER).contains(id))
}

/// A text of the member `key` with at least one visible character and at most `max_characters` (Unicode scalar values).
///
/// # Errors
/// The problem, beginning with the member's name.
pub(super) fn visible_text(value: Option<&Value>, key: &str, max_characters: usize) -> Result<String, String> {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    let problem = if !has_visible(text) {
        format!("{key}: expected a text of 1 to {max_characters} characters")
    } else if text.contains('\0') {
        format!("{key}: holds a NUL character")
    } else if text.chars().count() > max_characters {
        format!("{key}: at most {max_characters} characters")
    } else {
        return Ok(text.to_owned());
    };
    Err(problem)
}

/// A time from 1970 on, the range that PostgreSQL, browsers and the catalogue import all support.
fn parse_time(value: &Value) -> Option<Timestamp> {
    let time: Timestamp = value.as_str()?.parse().ok()?;
    (time >= Timestamp::UNIX_EPOCH).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::fuzz::{fuzz, refused};
    use serde_json::json;

    fn with(key: &str, value: Value) -> Value {
        let mut body = json!({"itemID": 5, "rating": 4, "comment": "Да"});
        body[key] = value;
        body
    }

    #[test]
    fn three_members_are_required_and_null_means_absent() {
        let wanted = NewReview { item_id: 5, stars: 4, text: "Да".to_owned(), user_id: None, written_at: None };
        for body in [
            json!({"itemID": 5, "rating": 4, "comment": "Да"}),
            json!({"itemID": 5.0, "rating": 4.0, "comment": "Да"}),
            json!({"itemID": 5, "rating": 4, "comment": "Да", "username": null, "userId": null, "timestamp": null}),
            json!({"itemID": 5, "rating": 4, "comment": "Да", "username": "anna", "something": [1]}),
        ] {
            assert_eq!(parse(&body).expect("a review"), wanted, "{body}");
        }
        assert_eq!(parse(&with("userId", json!(123_456_789))).expect("a review").user_id, Some(123_456_789));
        for time in ["2026-02-28T12:00:00Z", "2026-02-28T15:00:00.000+03:00", "2026-02-28t12:00:00z"] {
            let posted = parse(&with("timestamp", json!(time))).expect("a review");
            assert_eq!(posted.written_at, Some("2026-02-28T12:00:00Z".parse().expect("a time")), "{time}");
        }
    }

    #[test]
    fn error_names_the_invalid_member() {
        let wrong = [
            (
                "itemID",
                vec![json!(null), json!(0), json!(-1), json!("5"), json!(1.5), json!(9_007_199_254_740_992_i64)],
            ),
            ("rating", vec![json!(null), json!(0), json!(6), json!(4.5), json!("5"), json!(true), json!(65_541)]),
            ("comment", vec![json!(null), json!(""), json!(7), json!(["a"]), json!("a\0b")]),
            ("username", vec![json!(7), json!({})]),
            ("userId", vec![json!(0), json!(-5), json!("tg_5"), json!(1e300)]),
            ("timestamp", vec![json!(""), json!(1_709_100_000), json!("yesterday"), json!("2026-02-28T12:00:00")]),
            ("timestamp", vec![json!("-004712-01-01T00:00:00Z"), json!("2026-02-30T12:00:00Z"), json!({})]),
        ];
        for (key, values) in wrong {
            for value in values {
                let error = parse(&with(key, value.clone())).expect_err("an invalid member");
                assert!(error.public.starts_with(&format!("{key}: ")), "{key} {value}: {}", error.public);
            }
        }
        assert_eq!(
            parse(&with("rating", json!(6))).expect_err("too many").public,
            "rating: expected a whole number from 1 to 5"
        );
        for body in [json!([]), json!("x"), json!(null)] {
            assert!(parse(&body).expect_err("no object").public.starts_with("itemID: "), "{body}");
        }
    }

    #[test]
    fn comment_length_is_in_characters_and_blank_comments_are_rejected() {
        let text = |comment: String| parse(&with("comment", json!(comment))).map(|posted| posted.text);
        for fits in ["👍".repeat(4_000), " ".repeat(3_999) + "!", "\n<b>&amp;</b>\t\"' ".to_owned()] {
            assert_eq!(text(fits.clone()).expect("a comment"), fits);
        }
        for wrong in [
            "👍".repeat(4_001),
            " ".repeat(4_000) + "!",
            "  \n\t\u{3000}".to_owned(),
            "\u{200b}".to_owned(),
            "\u{2800}\u{3164}".to_owned(),
        ] {
            assert!(text(wrong).expect_err("no comment").public.starts_with("comment: "));
        }
    }

    #[test]
    fn fuzz_review_bodies() {
        let seeds = [
            r#"{"itemID":5,"rating":4,"comment":"Да","username":"Анна","userId":42,"timestamp":"2026-02-28T12:00:00Z"}"#,
            r#"{"itemID":9007199254740991,"rating":1,"comment":"\u202e<b>\ud83d\ude00</b>\n","timestamp":null}"#,
        ];
        let words =
            ["\"comment\":", "\"rating\":", "\\u0000", "\\u200b", "\\ud800", "null", "5.0", "-009999-01-01T00:00:00Z"];
        let outcomes = fuzz(&seeds, &words, |input| {
            let review = match crate::http::request::json(input).and_then(|body| parse(&body)) {
                Ok(review) => review,
                Err(error) => return refused(&error),
            };
            assert!((1..=MAX_SAFE_INTEGER).contains(&review.item_id) && (1..=5).contains(&review.stars));
            assert!((1..=MAX_COMMENT_CHARACTERS).contains(&review.text.chars().count()));
            assert!(!review.text.contains('\0') && has_visible(&review.text), "{:?}", review.text);
            assert!(review.user_id.is_none_or(|id| (1..=MAX_SAFE_INTEGER).contains(&id)));
            assert!(review.written_at.is_none_or(|time| time >= Timestamp::UNIX_EPOCH));
            let again = json!({"itemID": review.item_id, "rating": review.stars, "comment": review.text,
                               "userId": review.user_id, "timestamp": review.written_at});
            assert_eq!(parse(&again).expect("accepted before"), review, "the text is kept as it was sent");
            "accepted".to_owned()
        });
        outcomes.assert_seen(&["accepted", "bad_json", "bad_item_id", "bad_rating", "bad_comment", "bad_username"]);
        outcomes.assert_seen(&["bad_user_id", "bad_timestamp"]);
    }
}
