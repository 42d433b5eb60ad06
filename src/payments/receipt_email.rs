//! The mail about a paid order: what was bought, for how much, under which number, in the visitor's language.
//!
//! Made by `payments::purchase`. Everything that came from outside (names of items, the order's number) goes through maud in
//! the HTML part, which escapes it.

use jiff::Timestamp;
use maud::{DOCTYPE, html};
use rust_decimal::Decimal;

use super::order::OrderLine;
use crate::config::BrandConfig;
use crate::foundation::language::Language;

/// A paid order, as its mail tells it.
pub struct PaidOrder<'a> {
    pub number: &'a str,
    pub lines: &'a [OrderLine],
    pub amount: Decimal,
    pub paid_at: Timestamp,
}

/// Subject, text and HTML.
pub struct ReceiptEmail {
    pub subject: String,
    pub text: String,
    pub html: String,
}

struct Words {
    subject: &'static str,
    greeting: &'static str,
    thanks: &'static str,
    order: &'static str,
    paid: &'static str,
    total: &'static str,
    questions: &'static str,
    currency: &'static str,
    point: char,
}

static RU: Words = Words {
    subject: "{shop}: заказ {order} оплачен",
    greeting: "Здравствуйте!",
    thanks: "Спасибо за покупку в {shop}. Мы получили вашу оплату.",
    order: "Заказ",
    paid: "Оплачен",
    total: "Итого",
    questions: "Если есть вопросы, ответьте на это письмо и назовите номер заказа.",
    currency: "₽",
    point: ',',
};

static EN: Words = Words {
    subject: "{shop}: order {order} is paid",
    greeting: "Hello!",
    thanks: "Thank you for shopping at {shop}. Your payment has arrived.",
    order: "Order",
    paid: "Paid",
    total: "Total",
    questions: "If you have a question, reply to this mail and name the order's number.",
    currency: "RUB",
    point: '.',
};

static HY: Words = Words {
    subject: "{shop}՝ {order} պատվերը վճարված է",
    greeting: "Ողջույն։",
    thanks: "Շնորհակալություն {shop} խանութում գնում կատարելու համար։ Ձեր վճարումն ստացվել է։",
    order: "Պատվեր",
    paid: "Վճարված է",
    total: "Ընդամենը",
    questions: "Հարցերի դեպքում պատասխանեք այս նամակին և նշեք պատվերի համարը։",
    currency: "₽",
    point: ',',
};

/// Writes the mail.
pub fn write(brand: &BrandConfig, language: Language, order: &PaidOrder<'_>) -> ReceiptEmail {
    let words = match language {
        Language::Ru => &RU,
        Language::En => &EN,
        Language::Hy => &HY,
    };
    let fill = |sentence: &str| sentence.replace("{shop}", &brand.title).replace("{order}", order.number);
    let paid_at = order.paid_at.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let sum = |line: &OrderLine| money(line.price * Decimal::from(line.quantity), words);
    let mut text = format!(
        "{}\n\n{}\n\n{}: {}\n{}: {paid_at}\n\n",
        words.greeting,
        fill(words.thanks),
        words.order,
        order.number,
        words.paid
    );
    for line in order.lines {
        text += &format!("{} × {} — {}\n", line.name, line.quantity, sum(line));
    }
    text += &format!(
        "\n{}: {}\n\n{}\n\n{}\n{}\n",
        words.total,
        money(order.amount, words),
        words.questions,
        brand.title,
        brand.storefront_url
    );
    let page = html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head { meta charset="utf-8"; title { (fill(words.subject)) } }
            body style="margin:0;padding:24px;background:#f3f4f7;font-family:Arial,sans-serif;color:#1b1d22" {
                div style="max-width:560px;margin:0 auto;background:#ffffff;border-radius:12px;padding:24px;overflow-wrap:anywhere" {
                    p style=(format!("margin:0 0 16px;font-size:22px;font-weight:bold;color:{}", brand.accent)) { (brand.title) }
                    p { (words.greeting) }
                    p { (fill(words.thanks)) }
                    p { (words.order) ": " b { (order.number) } br; (words.paid) ": " (paid_at) }
                    table style="width:100%;border-collapse:collapse" {
                        @for line in order.lines {
                            tr {
                                td style="padding:8px 0;border-bottom:1px solid #e3e5ea" { (line.name) " × " (line.quantity) }
                                td style="padding:8px 0;border-bottom:1px solid #e3e5ea;text-align:right;white-space:nowrap" { (sum(line)) }
                            }
                        }
                        tr {
                            td style="padding:12px 0;font-weight:bold" { (words.total) }
                            td style="padding:12px 0;font-weight:bold;text-align:right;white-space:nowrap" { (money(order.amount, words)) }
                        }
                    }
                    p style="color:#5a6070" { (words.questions) }
                    p { a href=(brand.storefront_url) style=(format!("color:{}", brand.accent)) { (brand.storefront_url) } }
                }
            }
        }
    };
    ReceiptEmail { subject: fill(words.subject), text, html: page.into_string() }
}

/// `1 234 567,80 ₽`: groups of three with a space that does not break.
fn money(amount: Decimal, words: &Words) -> String {
    let mut two = amount;
    two.rescale(2);
    let text = two.to_string();
    let (whole, kopecks) = text.split_once('.').unwrap_or((&text, "00"));
    let digits: Vec<char> = whole.chars().collect();
    let mut grouped = String::new();
    for (index, digit) in digits.iter().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{a0}');
        }
        grouped.push(*digit);
    }
    format!("{grouped}{}{kopecks}\u{a0}{}", words.point, words.currency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_the_language_does() {
        let amount = |text: &str, words| money(text.parse().expect("a decimal"), words).replace('\u{a0}', " ");
        assert_eq!(amount("1234567.8", &RU), "1 234 567,80 ₽");
        assert_eq!(amount("999", &EN), "999.00 RUB");
        assert_eq!(amount("0.05", &HY), "0,05 ₽");
    }
}
