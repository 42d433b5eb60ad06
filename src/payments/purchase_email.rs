//! The email about a paid order, in the visitor's language, as text and HTML.

use jiff::Timestamp;
use maud::{DOCTYPE, html};
use rust_decimal::Decimal;

use super::order::OrderLine;
use crate::config::BrandConfig;
use crate::foundation::clock::local_date_time;
use crate::foundation::language::Language;
use crate::foundation::texts::{ReceiptTexts, Texts, fill};

/// What the email says about an order.
pub(super) struct PaidOrder<'a> {
    /// The shop's own number.
    pub number: i64,
    /// What the buyer's page called the order: a stranger's text.
    pub site_order_id: &'a str,
    pub lines: &'a [OrderLine],
    pub amount: Decimal,
    /// What was returned, or is being returned, to the buyer.
    pub refunded: Decimal,
    pub paid_at: Timestamp,
}

pub(super) struct ReceiptEmail {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// Writes the email.
pub(super) fn write(brand: &BrandConfig, language: Language, order: &PaidOrder<'_>) -> ReceiptEmail {
    let texts = &Texts::of(language).receipt;
    let number = order.number.to_string();
    let fill = |template: &str| fill(template, &[("shop", &brand.title), ("order", &number)]);
    let subject = fill(texts.subject);
    let paid_at = local_date_time(order.paid_at, &brand.timezone);
    let reference = without_links(order.site_order_id);
    let text = text_part(brand, texts, order, &fill(texts.thanks), &paid_at);
    let [open, close] = texts.quotes;
    let page = html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head { meta charset="utf-8"; title { (subject) } }
            body style="margin:0;padding:24px;background:#f3f4f7;font-family:Arial,sans-serif;color:#1b1d22" {
                div style="max-width:560px;margin:0 auto;background:#ffffff;border-radius:12px;padding:24px;overflow-wrap:anywhere" {
                    h1 style=(format!("margin:0 0 16px;font-size:22px;font-weight:bold;color:{}", brand.accent)) { (brand.title) }
                    p { (texts.greeting) }
                    p { (fill(texts.thanks)) }
                    p { (texts.order_number) ": " b { (number) } br; (texts.paid_at) ": " (paid_at) }
                    table style="width:100%;border-collapse:collapse" {
                        @for line in order.lines {
                            tr {
                                td style="padding:8px 0;border-bottom:1px solid #e3e5ea" { (line.name) " × " (line.quantity) }
                                td style="padding:8px 0;border-bottom:1px solid #e3e5ea;text-align:right;white-space:nowrap" { (line_total(line, texts)) }
                            }
                        }
                        tr {
                            td style="padding:12px 0;font-weight:bold" { (texts.total) }
                            td style="padding:12px 0;font-weight:bold;text-align:right;white-space:nowrap" { (format_amount(order.amount, texts)) }
                        }
                        @if !order.refunded.is_zero() {
                            tr {
                                td style="padding:0 0 12px;font-weight:bold" { (texts.refunded) }
                                td style="padding:0 0 12px;font-weight:bold;text-align:right;white-space:nowrap" { (format_amount(order.refunded, texts)) }
                            }
                        }
                    }
                    p style="color:#5a6070" { (texts.reference) ": " (open) (reference) (close) }
                    p style="color:#5a6070" { (texts.questions) }
                    p { a href=(brand.storefront_url) style=(format!("color:{}", brand.accent)) { (brand.storefront_url) } }
                }
            }
        }
    };
    ReceiptEmail { subject, text, html: page.into_string() }
}

fn text_part(brand: &BrandConfig, texts: &ReceiptTexts, order: &PaidOrder<'_>, thanks: &str, paid_at: &str) -> String {
    let mut text = format!(
        "{}\n\n{thanks}\n\n{}: {}\n{}: {paid_at}\n\n",
        texts.greeting, texts.order_number, order.number, texts.paid_at
    );
    for line in order.lines {
        text += &format!("{} × {} — {}\n", line.name, line.quantity, line_total(line, texts));
    }
    text += &format!("\n{}: {}\n", texts.total, format_amount(order.amount, texts));
    if !order.refunded.is_zero() {
        text += &format!("{}: {}\n", texts.refunded, format_amount(order.refunded, texts));
    }
    let [open, close] = texts.quotes;
    text += &format!(
        "\n{}: {open}{}{close}\n\n{}\n\n{}\n{}\n",
        texts.reference,
        without_links(order.site_order_id),
        texts.questions,
        brand.title,
        brand.storefront_url
    );
    text
}

/// Keeps mail programs from turning `shop.example` into a link: an invisible zero-width space follows every dot.
fn without_links(text: &str) -> String {
    text.replace('.', ".\u{200b}")
}

fn line_total(line: &OrderLine, texts: &ReceiptTexts) -> String {
    format_amount(line.price * Decimal::from(line.quantity), texts)
}

/// `1 234 567,80 ₽` with no-break spaces, `1,234,567.80 RUB`.
fn format_amount(amount: Decimal, texts: &ReceiptTexts) -> String {
    let mut rounded = amount;
    rounded.rescale(2);
    let text = rounded.to_string();
    let (whole, kopecks) = text.split_once('.').unwrap_or((&text, "00"));
    let digits: Vec<char> = whole.chars().collect();
    let mut grouped = String::new();
    for (index, digit) in digits.iter().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(texts.group_separator);
        }
        grouped.push(*digit);
    }
    format!("{grouped}{}{kopecks}\u{a0}{}", texts.decimal_separator, texts.currency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_follow_the_conventions_of_the_language() {
        let amount = |text: &str, language| {
            let amount = format_amount(text.parse().expect("a decimal"), &Texts::of(language).receipt);
            amount.replace('\u{a0}', " ")
        };
        assert_eq!(amount("1234567.8", Language::Ru), "1 234 567,80 ₽");
        assert_eq!(amount("1234567.8", Language::En), "1,234,567.80 RUB");
        assert_eq!(amount("999", Language::En), "999.00 RUB");
        assert_eq!(amount("0.05", Language::Hy), "0,05 ₽");
    }
}
