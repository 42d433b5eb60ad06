//! Timestamp formats of the bank, in Moscow time, and the expiration formats of a QR code.

use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp, ToSpan, Zoned};

/// Moscow is UTC+3 all year.
fn moscow(at: Timestamp) -> Zoned {
    at.to_zoned(TimeZone::fixed(Offset::constant(3)))
}

/// `2020-01-31T09:14:38.107227+03:00`: `createDate` and `transactionDate` in `sbp.yaml`.
pub fn format_micros(at: Timestamp) -> String {
    moscow(at).strftime("%Y-%m-%dT%H:%M:%S.%6f%:z").to_string()
}

/// `2023-07-22T09:14:38+03:00`: `qrExpirationDate` in `sbp.yaml`; with a fraction if there is one.
pub fn format_seconds(at: Timestamp) -> String {
    match at.subsec_nanosecond() {
        0 => moscow(at).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        _ => format_micros(at),
    }
}

/// `2026-11-24T06:31:10.123+00:00`: `timestamp` of Spring's error attributes.
pub fn format_spring(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3f+00:00").to_string()
}

/// Parses `qrExpirationDate`: RFC 3339 with an offset, or `+1d5m` relative to now (`M` month, `d` day, `H` hour,
/// `m` minute, `s` second, as in the bank's Java SDK).
pub fn parse_expiration(text: &str, now: Timestamp) -> Option<Timestamp> {
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
    fn timestamps_have_the_formats_of_the_bank() {
        let at: Timestamp = "2020-01-31T06:14:38.107227Z".parse().expect("a timestamp");
        assert_eq!(format_micros(at), "2020-01-31T09:14:38.107227+03:00");
        let whole: Timestamp = "2023-07-22T06:14:38Z".parse().expect("a timestamp");
        assert_eq!(format_micros(whole), "2023-07-22T09:14:38.000000+03:00");
        assert_eq!(format_seconds(whole), "2023-07-22T09:14:38+03:00");
        assert_eq!(format_spring(at), "2020-01-31T06:14:38.107+00:00");
    }

    #[test]
    fn expiration_has_an_offset_or_is_relative() {
        let now: Timestamp = "2020-01-31T06:00:00Z".parse().expect("a timestamp");
        let read = |text| parse_expiration(text, now).map(format_seconds);
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
