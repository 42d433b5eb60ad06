//! The bank's times: Moscow's offset, as its samples have them; and the moment until which a QR code lives.
//!
//! Called by everything of the bank that shows or reads a time. What must never happen: a time that leaves without an
//! offset.

use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp, ToSpan, Zoned};

/// Moscow is three hours ahead, the whole year.
fn moscow(at: Timestamp) -> Zoned {
    at.to_zoned(TimeZone::fixed(Offset::constant(3)))
}

/// `2020-01-31T09:14:38.107227+03:00`: `createDate` and `transactionDate` in `sbp.yaml`.
pub fn with_micros(at: Timestamp) -> String {
    moscow(at).strftime("%Y-%m-%dT%H:%M:%S.%6f%:z").to_string()
}

/// `2023-07-22T09:14:38+03:00`: `qrExpirationDate` in `sbp.yaml`; a fraction only where there is one.
pub fn to_the_second(at: Timestamp) -> String {
    match at.subsec_nanosecond() {
        0 => moscow(at).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        _ => with_micros(at),
    }
}

/// `2026-11-24T06:31:10.123+00:00`: the clock of Spring's error answers.
pub fn spring(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3f+00:00").to_string()
}

/// What `qrExpirationDate` may be: RFC 3339 with an offset, or `+1d5m`, counted from now (`M` month, `d` day, `H` hour,
/// `m` minute, `s` second, as the bank's Java SDK has it).
pub fn expiration(text: &str, now: Timestamp) -> Option<Timestamp> {
    let Some(relative) = text.strip_prefix('+') else { return text.parse().ok() };
    let mut at = moscow(now);
    let mut rest = relative;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit_and_rest) = rest.split_at(digits);
        let unit = unit_and_rest.chars().next()?;
        at = at.checked_add(span(number.parse().ok()?, unit)?).ok()?;
        rest = &unit_and_rest[unit.len_utf8()..];
    }
    (!relative.is_empty()).then(|| at.timestamp())
}

fn span(number: i32, unit: char) -> Option<Span> {
    let span = 0.seconds();
    match unit {
        'M' => span.try_months(number).ok(),
        'd' => span.try_days(number).ok(),
        'H' => span.try_hours(number).ok(),
        'm' => span.try_minutes(number).ok(),
        's' => span.try_seconds(number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_bank_writes_them() {
        let at: Timestamp = "2020-01-31T06:14:38.107227Z".parse().expect("a time");
        assert_eq!(with_micros(at), "2020-01-31T09:14:38.107227+03:00");
        let whole: Timestamp = "2023-07-22T06:14:38Z".parse().expect("a time");
        assert_eq!(with_micros(whole), "2023-07-22T09:14:38.000000+03:00");
        assert_eq!(to_the_second(whole), "2023-07-22T09:14:38+03:00");
        assert_eq!(spring(at), "2020-01-31T06:14:38.107+00:00");
    }

    #[test]
    fn an_expiration_has_an_offset_or_is_counted_from_now() {
        let now: Timestamp = "2020-01-31T06:00:00Z".parse().expect("a time");
        let read = |text| expiration(text, now).map(to_the_second);
        assert_eq!(read("2023-07-22T09:14:38+03:00").as_deref(), Some("2023-07-22T09:14:38+03:00"));
        assert_eq!(read("2023-07-22T06:14:38Z").as_deref(), Some("2023-07-22T09:14:38+03:00"));
        assert_eq!(read("+5m").as_deref(), Some("2020-01-31T09:05:00+03:00"));
        assert_eq!(read("+1d5m").as_deref(), Some("2020-02-01T09:05:00+03:00"));
        assert_eq!(read("+1M").as_deref(), Some("2020-02-29T09:00:00+03:00"));
        for wrong in ["2023-07-22T09:14:38", "2023-07-22", "tomorrow", "+", "+5", "+m", "+5x", "+99999999999m", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
