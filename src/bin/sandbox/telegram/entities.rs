//! `bot_command` entities of a message: `/start`, `/start@some_bot`. Offsets are in UTF-16 code units.

use serde_json::{Value, json};

/// The `bot_command` entities of a text: `/start`, `/start@some_bot`.
pub fn bot_commands(text: &str) -> Vec<Value> {
    let mut entities = Vec::new();
    let mut offset = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let of_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        if let Some(rest) = word.strip_prefix('/') {
            let name: String = rest.chars().take_while(of_name).collect();
            let after = rest.strip_prefix(name.as_str()).and_then(|after| after.strip_prefix('@')).unwrap_or_default();
            let addressed = after.chars().take_while(of_name).count();
            let length = 1 + name.len() + if addressed > 0 { 1 + addressed } else { 0 };
            let rest_is_apart = !word[length..].starts_with(|c: char| c.is_alphanumeric() || c == '/');
            if (1..=32).contains(&name.len()) && rest_is_apart {
                entities.push(json!({ "offset": offset, "length": length, "type": "bot_command" }));
            }
        }
        offset += word.encode_utf16().count();
    }
    entities
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found() {
        let marks =
            |text| bot_commands(text).iter().map(|e| (e["offset"].as_u64(), e["length"].as_u64())).collect::<Vec<_>>();
        assert_eq!(marks("/start auth_x"), [(Some(0), Some(6))]);
        assert_eq!(marks("🙂 /help@some_bot!"), [(Some(3), Some(14))]);
        assert_eq!(marks("/ a/b /пуск /a/b"), []);
    }
}
