//! The moment that a file says it is of, in the notations that files use.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A moment, or a time of day without its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileTime {
    Moment(Timestamp),
    Local(DateTime),
}

impl FileTime {
    /// Reads RFC 3339, ISO 8601 with or without time and zone, and `31.12.2026 23:59`; `None` for anything else. A date
    /// without a time is its beginning.
    pub(crate) fn parse(text: &str) -> Option<FileTime> {
        let text = text.trim();
        let with_offset = ["%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M %z"];
        let local = ["%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M"];
        let moment =
            text.parse().ok().or_else(|| with_offset.iter().find_map(|format| Timestamp::strptime(format, text).ok()));
        if let Some(moment) = moment {
            return Some(FileTime::Moment(moment));
        }
        let time: Option<DateTime> = text.parse().ok();
        let date_only =
            || Some(jiff::civil::Date::strptime("%d.%m.%Y", text).ok()?.to_datetime(jiff::civil::Time::midnight()));
        time.or_else(|| local.iter().find_map(|format| DateTime::strptime(format, text).ok()))
            .or_else(date_only)
            .map(FileTime::Local)
    }

    /// The moment, where a time without a zone is of `zone`; `None` beyond the years that can be represented.
    pub(crate) fn in_zone(self, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            FileTime::Moment(moment) => Some(moment),
            FileTime::Local(time) => Some(time.to_zoned(zone.clone()).ok()?.timestamp()),
        }
    }
}

/// Reads the time of an option as [`FileTime`], in `zone` where it names none.
pub fn parse_time(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    FileTime::parse(text)?.in_zone(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_feeds_and_exports_are_understood() {
        let zone = TimeZone::fixed(jiff::tz::offset(3));
        for text in [
            "2026-02-28T09:00:00Z",
            "2026-02-28T12:00:00+03:00",
            "2026-02-28T12:00+03:00",
            "2026-02-28 12:00:00 +0300",
            " 2026-02-28 12:00 ",
            "2026-02-28 12:00:00",
            "2026-02-28T12:00:00.000",
            "28.02.2026 12:00",
            "28.02.2026 12:00:00",
        ] {
            let moment = parse_time(text, &zone).map(|moment| moment.to_string());
            assert_eq!(moment.as_deref(), Some("2026-02-28T09:00:00Z"), "{text}");
        }
        for text in ["2026-02-28", "28.02.2026"] {
            let moment = parse_time(text, &zone).map(|moment| moment.to_string());
            assert_eq!(moment.as_deref(), Some("2026-02-27T21:00:00Z"), "{text}");
        }
        for text in ["", "yesterday", "2026", "12:00", "28/02/2026", "1772269200"] {
            assert_eq!(FileTime::parse(text), None, "{text}");
        }
    }
}
