//! The login pages: the started attempt, the confirmation before a link logs a browser in, and errors.
//!
//! They work without scripts, load nothing, and use the visitor's language and the brand's colour. maud escapes every value.

use fast_qr::QRBuilder;
use fast_qr::convert::svg::SvgBuilder;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Attempt, SignedData};
use crate::config::BrandConfig;
use crate::foundation::clock::local_time;
use crate::foundation::error::{Error, Kind, Result};
use crate::foundation::hex;
use crate::foundation::language::Language;
use crate::foundation::texts::{Texts, fill};

/// A page and the nonce of its style sheet.
pub(super) struct LoginPage {
    pub html: String,
    pub nonce: String,
}

/// The ways from an attempt to the bot.
pub(super) struct AttemptLinks {
    /// `@BOT`
    pub bot: String,
    /// `https://t.me/BOT?start=auth_TOKEN`
    pub url: String,
    /// `tg://resolve?domain=BOT&start=auth_TOKEN`
    pub tg_url: String,
    /// `/start auth_TOKEN`
    pub command: String,
}

/// The page of a pending attempt: the number, and the links to the bot.
pub(super) fn attempt_page(
    brand: &BrandConfig,
    language: Language,
    attempt: &Attempt,
    links: &AttemptLinks,
    expires_at: Timestamp,
) -> Result<LoginPage> {
    let texts = &Texts::of(language).login_page;
    let (before_bot, after_bot) = texts.send_command.split_once("{bot}").unwrap_or((texts.send_command, ""));
    let valid_until = fill(texts.valid_until, &[("time", &local_time(expires_at, &brand.timezone))]);
    let body = html! {
        p { (texts.attempt_steps) }
        p.label { (texts.attempt_code) }
        div.code { (attempt.code) }
        p { a.button href=(links.url) { (texts.open_telegram) } " " a.second href=(links.tg_url) { (texts.open_app) } }
        p { (texts.scan_qr) }
        div.qr role="img" aria-label=(links.url) { (PreEscaped(qr_svg(&links.url)?)) }
        p { (before_bot) b { (links.bot) } (after_bot) }
        p { code { (links.command) } }
        p.small { (valid_until) }
        p { a href=(brand.storefront_url) { (texts.back_to_shop) } }
    };
    page(brand, language, &fill(texts.attempt_title, &[("shop", &brand.title)]), body)
}

/// "Log in to Dexar as Anna?": only the button of this page logs the browser in.
pub(super) fn confirmation_page(
    brand: &BrandConfig,
    language: Language,
    data: &SignedData,
    form_token: &str,
) -> Result<LoginPage> {
    let texts = &Texts::of(language).login_page;
    let user = data.user();
    let name = match &user.username {
        Some(username) => format!("{} (@{username})", user.display_name),
        None => user.display_name.clone(),
    };
    let question = texts.confirm_question.split_once("{name}").unwrap_or((texts.confirm_question, ""));
    let with_shop = |part: &str| fill(part, &[("shop", &brand.title)]);
    let (before_name, after_name) = (with_shop(question.0), with_shop(question.1));
    let body = html! {
        p.question { (before_name) bdi { (name) } (after_name) }
        p { (texts.confirm_warning) }
        form method="post" action="/auth/telegram/callback" {
            @for (name, value) in data.pairs() {
                input type="hidden" name=(name) value=(value);
            }
            input type="hidden" name="form_token" value=(form_token);
            button type="submit" { (texts.confirm_button) }
        }
        p { a href=(brand.storefront_url) { (texts.confirm_cancel) } }
    };
    page(brand, language, &fill(texts.confirm_title, &[("shop", &brand.title)]), body)
}

/// An error in words for the visitor.
pub(super) fn error_page(brand: &BrandConfig, language: Language, error: &Error) -> Result<LoginPage> {
    let texts = &Texts::of(language).login_page;
    let message = match (&error.kind, error.code) {
        (_, "stale_login") => texts.error_stale,
        (_, "used_login") => texts.error_used,
        (Kind::Malformed, _) | (_, "bad_hash") => texts.error_not_signed,
        (Kind::Forbidden, _) => texts.error_page_expired,
        _ => texts.error_unavailable,
    };
    let body = html! {
        p { (message) }
        p { a href=(brand.storefront_url) { (texts.back_to_shop) } }
    };
    page(brand, language, texts.error_title, body)
}

fn page(brand: &BrandConfig, language: Language, title: &str, body: Markup) -> Result<LoginPage> {
    let nonce = hex::random_name()?;
    let style = format!(":root{{--accent:{}}}{STYLE}", brand.accent);
    let page = html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) }
                style nonce=(nonce) { (PreEscaped(style)) }
            }
            body {
                header { (brand.title) }
                main {
                    h1 { (title) }
                    (body)
                }
            }
        }
    };
    Ok(LoginPage { html: page.into_string(), nonce })
}

/// # Errors
/// For a text that exceeds the capacity of a QR code, which no configured URL does.
fn qr_svg(text: &str) -> Result<String> {
    let code = QRBuilder::new(text).build().map_err(|error| Error::internal(error.to_string()))?;
    Ok(SvgBuilder::default().to_str(&code))
}

const STYLE: &str = "\
*{box-sizing:border-box}\
body{margin:0;font:1.05rem/1.5 system-ui,sans-serif;color:#1b1d22;background:#f3f4f7}\
header{padding:1rem 1.5rem;background:var(--accent);color:#fff;font-weight:700;font-size:1.25rem}\
main{max-width:30rem;margin:1.5rem auto;padding:1.5rem;background:#fff;border-radius:1rem}\
h1{margin-top:0;font-size:1.4rem;line-height:1.25}\
.label{margin-bottom:0}\
.code{margin:.1rem 0 1rem;font-size:4rem;line-height:1;font-weight:700;letter-spacing:.1em}\
.question{font-size:1.2rem;font-weight:600;overflow-wrap:anywhere}\
.button,button{display:inline-block;padding:.7rem 1.4rem;border:0;border-radius:.6rem;background:var(--accent);\
color:#fff;font:inherit;font-weight:600;text-decoration:none;cursor:pointer}\
.second{display:inline-block;padding:.7rem .5rem}\
a:focus-visible,button:focus-visible{outline:3px solid #1b1d22;outline-offset:2px}\
.qr svg{display:block;width:11rem;height:11rem}\
code{overflow-wrap:anywhere;background:#f3f4f7;padding:.2rem .4rem;border-radius:.3rem}\
.small{color:#5a6070;font-size:.9rem}\
@media(prefers-color-scheme:dark){body{background:#14161b;color:#eceef3}main{background:#1e2129}code{background:#14161b}\
.small{color:#a8aebd}a:not(.button){color:#9cc2ff}.qr svg{background:#fff}\
a:focus-visible,button:focus-visible{outline-color:#fff}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qr_code_is_an_svg_element() {
        let svg = qr_svg("https://t.me/dexarmarket_bot?start=auth_0123").expect("short enough");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"), "{svg}");
    }
}
