//! The request bodies of questions and votes, parsed member by member so that an error names the invalid one.
//!
//! # Invariants
//!
//! The text is stored exactly as it was sent.

use serde_json::Value;

use super::{NewQuestion, NewVote};
use crate::foundation::error::{Error, Result};
use crate::reviews::request_body::{id_of, item_id, visible_text};

/// In Unicode scalar values.
const MAX_QUESTION_CHARACTERS: usize = 1_000;

/// `{"itemID", "question"}`.
///
/// # Errors
/// 400 that names the first invalid member.
pub(super) fn question(body: &Value) -> Result<NewQuestion> {
    let item_id = item_id(body)?;
    let text = visible_text(body.get("question"), "question", MAX_QUESTION_CHARACTERS)
        .map_err(|problem| Error::malformed("bad_question", problem))?;
    Ok(NewQuestion { item_id, text })
}

/// `{"itemID", "question", "vote"}` with the id of the question.
///
/// # Errors
/// 400 that names the first invalid member.
pub(super) fn vote(body: &Value) -> Result<NewVote> {
    let item_id = item_id(body)?;
    let question_id = body.get("question").and_then(id_of);
    let question_id = question_id
        .ok_or_else(|| Error::malformed("bad_question", "question: expected the id of a question of the item"))?;
    let is_up = match body.get("vote").and_then(Value::as_str) {
        Some("up") => true,
        Some("down") => false,
        _ => return Err(Error::malformed("bad_vote", "vote: expected \"up\" or \"down\"")),
    };
    Ok(NewVote { item_id, question_id, is_up })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::fuzz::{fuzz, refused};
    use crate::foundation::visible::has_visible;
    use serde_json::json;

    #[test]
    fn question_has_a_visible_text_of_at_most_a_thousand_characters() {
        let parse = |text: Value| question(&json!({"itemID": 5, "question": text})).map(|asked| asked.text);
        for fits in ["Есть гарантия?".to_owned(), "👍".repeat(1_000)] {
            assert_eq!(parse(json!(fits)).expect("a question"), fits);
        }
        for wrong in [json!(null), json!(""), json!(" \u{2800}"), json!("я".repeat(1_001)), json!("a\0"), json!(7)] {
            let error = parse(wrong.clone()).expect_err("no question");
            assert!(
                error.code == "bad_question" && error.public.starts_with("question: "),
                "{wrong}: {}",
                error.public
            );
        }
    }

    #[test]
    fn vote_names_a_question_and_a_direction() {
        let with = |key: &str, value: Value| {
            let mut body = json!({"itemID": 5, "question": 7, "vote": "up"});
            body[key] = value;
            vote(&body)
        };
        assert_eq!(with("other", json!(1)).expect("a vote"), NewVote { item_id: 5, question_id: 7, is_up: true });
        assert!(!with("vote", json!("down")).expect("a vote").is_up);
        for (key, value, code) in [
            ("itemID", json!("5"), "bad_item_id"),
            ("question", json!("7"), "bad_question"),
            ("question", json!(0), "bad_question"),
            ("question", json!(null), "bad_question"),
            ("vote", json!("UP"), "bad_vote"),
            ("vote", json!(1), "bad_vote"),
            ("vote", json!(null), "bad_vote"),
        ] {
            assert_eq!(with(key, value.clone()).expect_err("an invalid member").code, code, "{key} {value}");
        }
    }

    #[test]
    fn fuzz_question_bodies() {
        let seeds = [
            r#"{"itemID":5,"question":"Есть гарантия?"}"#,
            r#"{"itemID":5,"question":7,"vote":"up"}"#,
            r#"{"itemID":9007199254740991,"question":"\u2800\u3164","vote":"down"}"#,
        ];
        let words = ["\"question\":", "\"vote\":", "\"up\"", "\"down\"", "\\u0000", "\\u200b", "null", "5.0", "1e300"];
        let outcomes = fuzz(&seeds, &words, |input| {
            let Ok(body) = crate::http::request::json(input) else { return "no JSON".to_owned() };
            match (question(&body), vote(&body)) {
                (Ok(asked), _) => {
                    assert!((1..=MAX_QUESTION_CHARACTERS).contains(&asked.text.chars().count()));
                    assert!(has_visible(&asked.text) && !asked.text.contains('\0'), "{:?}", asked.text);
                    "question".to_owned()
                }
                (Err(_), Ok(vote)) => {
                    assert!(vote.item_id > 0 && vote.question_id > 0);
                    "vote".to_owned()
                }
                (Err(_), Err(error)) => refused(&error),
            }
        });
        outcomes.assert_seen(&["question", "vote", "bad_item_id", "bad_question", "bad_vote"]);
    }
}
