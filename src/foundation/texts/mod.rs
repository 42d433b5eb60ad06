//! Every text that people read, one file per language.

mod en;
mod hy;
mod ru;

use super::language::Language;

/// The texts of one language. A name in braces, such as `{shop}`, is a placeholder for [`fill`].
pub(crate) struct Texts {
    pub login_page: LoginPageTexts,
    pub bot: BotTexts,
    pub receipt: ReceiptTexts,
}

/// The login pages. Placeholders: `{shop}`, `{name}`, `{bot}`, `{time}`.
pub(crate) struct LoginPageTexts {
    pub attempt_title: &'static str,
    pub attempt_code: &'static str,
    pub attempt_steps: &'static str,
    pub open_telegram: &'static str,
    pub open_app: &'static str,
    pub scan_qr: &'static str,
    pub send_command: &'static str,
    pub valid_until: &'static str,
    pub back_to_shop: &'static str,
    pub confirm_title: &'static str,
    pub confirm_question: &'static str,
    pub confirm_warning: &'static str,
    pub confirm_button: &'static str,
    pub confirm_cancel: &'static str,
    pub error_title: &'static str,
    pub error_stale: &'static str,
    pub error_used: &'static str,
    pub error_not_signed: &'static str,
    pub error_page_expired: &'static str,
    pub error_unavailable: &'static str,
}

/// The bot's messages and buttons. Placeholders: `{shop}`, `{browser}`, `{address}`, `{time}`.
pub(crate) struct BotTexts {
    pub welcome: &'static str,
    pub log_in: &'static str,
    pub confirm_login: &'static str,
    pub unknown_browser: &'static str,
    pub decline: &'static str,
    pub approved: &'static str,
    pub wrong_code: &'static str,
    pub declined: &'static str,
    pub already_denied: &'static str,
    pub expired: &'static str,
    pub other_user: &'static str,
    pub button_of_other_user: &'static str,
    pub help: &'static str,
    pub private_chat_only: &'static str,
    pub open_bot: &'static str,
    pub back_to_shop: &'static str,
}

/// The email about a paid order. Placeholders: `{shop}`, `{order}`.
pub(crate) struct ReceiptTexts {
    pub subject: &'static str,
    pub greeting: &'static str,
    pub thanks: &'static str,
    pub order_number: &'static str,
    pub paid_at: &'static str,
    pub total: &'static str,
    pub refunded: &'static str,
    pub reference: &'static str,
    pub questions: &'static str,
    pub currency: &'static str,
    pub decimal_separator: char,
    /// Between groups of three digits.
    pub group_separator: char,
    /// The opening and the closing mark.
    pub quotes: [char; 2],
}

impl Texts {
    pub(crate) fn of(language: Language) -> &'static Texts {
        match language {
            Language::Ru => &ru::TEXTS,
            Language::En => &en::TEXTS,
            Language::Hy => &hy::TEXTS,
        }
    }
}

/// Replaces each `{key}` of a template by its value. One pass: braces inside a value stay as they are.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let placeholder =
            values.iter().find_map(|(key, value)| Some((value, after.strip_prefix(key)?.strip_prefix('}')?)));
        rest = match placeholder {
            Some((value, after)) => {
                filled.push_str(value);
                after
            }
            None => {
                filled.push('{');
                after
            }
        };
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_once() {
        let values = [("shop", "Dexar"), ("name", "{shop}")];
        assert_eq!(fill("Log in to {shop} as {name}?", &values), "Log in to Dexar as {shop}?");
        assert_eq!(fill("{other} {shop", &values), "{other} {shop");
    }

    #[test]
    fn every_language_has_the_placeholders_that_its_values_need() {
        for language in Language::ALL {
            let Texts { login_page, bot, receipt } = Texts::of(*language);
            for (template, keys) in [
                (login_page.attempt_title, &["{shop}"][..]),
                (login_page.send_command, &["{bot}"]),
                (login_page.valid_until, &["{time}"]),
                (login_page.confirm_question, &["{shop}", "{name}"]),
                (bot.confirm_login, &["{shop}", "{browser}", "{address}", "{time}"]),
                (bot.welcome, &["{shop}"]),
                (receipt.subject, &["{shop}", "{order}"]),
                (receipt.thanks, &["{shop}"]),
            ] {
                assert!(
                    keys.iter().all(|key| template.contains(key)),
                    "{language:?}: {template} lacks one of {keys:?}"
                );
            }
        }
    }
}
