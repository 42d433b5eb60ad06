//! The text formats of `/metrics`: which one a scraper accepts, and the conversion of OpenMetrics to the older one.

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Prometheus,
}

/// `application/openmetrics-text` or `text/plain`, with the versions of it that are written.
struct MediaType {
    main: &'static str,
    sub: &'static str,
    versions: &'static [&'static str],
}

const OPEN_METRICS: MediaType = MediaType { main: "application", sub: "openmetrics-text", versions: &["1.0.0", "1.0"] };
const PROMETHEUS: MediaType = MediaType { main: "text", sub: "plain", versions: &["0.0.4"] };

impl ExpositionFormat {
    /// The format for a value of `Accept` (RFC 9110, 12.5.1): OpenMetrics where it is named and preferred to Prometheus text or
    /// equal to it, otherwise Prometheus text, also where neither is accepted. A wildcard does not name OpenMetrics.
    pub fn from_accept(accept: &str) -> ExpositionFormat {
        let ranges: Vec<MediaRange<'_>> = split_unquoted(accept, ',').filter_map(MediaRange::parse).collect();
        let open_metrics =
            OPEN_METRICS.quality(&ranges).filter(|found| found.specificity == EXACT && found.quality > 0);
        let prometheus = PROMETHEUS.quality(&ranges).map_or(0, |found| found.quality);
        match open_metrics {
            Some(found) if found.quality >= prometheus => ExpositionFormat::OpenMetrics,
            _ => ExpositionFormat::Prometheus,
        }
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            ExpositionFormat::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            ExpositionFormat::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The specificity of a range that names type and subtype; of `text/*` it is one less, of `*/*` two.
const EXACT: u8 = 2;

/// The quality of a media type by the most specific range that matches it.
#[derive(Clone, Copy)]
struct Preference {
    specificity: u8,
    /// In thousandths.
    quality: u16,
}

/// One element of `Accept`.
struct MediaRange<'a> {
    main: &'a str,
    sub: &'a str,
    version: Option<&'a str>,
    /// In thousandths.
    quality: u16,
}

impl<'a> MediaRange<'a> {
    /// `None` for what is no media range.
    fn parse(text: &'a str) -> Option<MediaRange<'a>> {
        let mut parts = split_unquoted(text, ';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let (mut version, mut quality) = (None, 1_000);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                name if name.eq_ignore_ascii_case("q") => quality = parse_quality(value.trim())?,
                name if name.eq_ignore_ascii_case("version") => version = Some(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        Some(MediaRange { main, sub, version, quality })
    }
}

impl MediaType {
    fn quality(&self, ranges: &[MediaRange<'_>]) -> Option<Preference> {
        let matching = ranges.iter().filter_map(|range| {
            let is_main = range.main.eq_ignore_ascii_case(self.main);
            let specificity = match (range.main, range.sub) {
                ("*", "*") => 0,
                (_, "*") if is_main => 1,
                (_, sub) if is_main && sub.eq_ignore_ascii_case(self.sub) => {
                    range.version.is_none_or(|version| self.versions.contains(&version)).then_some(EXACT)?
                }
                _ => return None,
            };
            Some(Preference { specificity, quality: range.quality })
        });
        matching.max_by_key(|found| (found.specificity, found.quality))
    }
}

/// `0.5` in thousandths; `None` for what is no quality value.
fn parse_quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{whole}{decimals:0<3}").parse().ok()?;
    (thousandths <= 1_000).then_some(thousandths)
}

/// The parts between separators that are not inside a quoted string.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c: char| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
}

/// Converts OpenMetrics to Prometheus text 0.0.4: a counter is described under the name of its samples, an info metric is a gauge,
/// and units and the end marker are left out.
pub(super) fn to_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap_or((typed, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, help)) = help.take().filter(|(described, _)| *described == name) {
                text.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            }
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::fuzz::fuzz;

    #[test]
    fn open_metrics_is_written_where_it_is_named_and_preferred() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [
            prometheus_3,
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"",
            "text/plain, application/openmetrics-text",
            "text/plain;q=0.5, application/openmetrics-text;q=0.501",
            "application/openmetrics-text;q=0.1, text/plain;q=0",
            "application/openmetrics-text;note=\"a,b;q=0\"",
        ] {
            assert_eq!(ExpositionFormat::from_accept(accept), ExpositionFormat::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "application/*",
            "text/plain",
            "text/html, application/json",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.000, */*",
            "application/openmetrics-text;version=0.0.1, text/plain;q=0.1",
            "application/openmetrics-text;q=0.4, text/plain;q=0.5",
            "application/openmetrics-text;q=0.4, text/*;q=0.5",
            "application/openmetrics-text;q=0.4, */*",
            "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=0.1234",
            "application/openmetrics-text;q=1.001",
            "openmetrics-text",
        ] {
            assert_eq!(ExpositionFormat::from_accept(accept), ExpositionFormat::Prometheus, "{accept}");
        }
    }

    #[test]
    fn counters_and_info_metrics_are_described_under_their_sample_names() {
        let open_metrics = "# HELP a Counts \\\"a\\\".\n# TYPE a counter\n# UNIT a seconds\na_total{b=\"#\"} 1\n\
                            # HELP c Version.\n# TYPE c info\nc_info{v=\"1\"} 1\n# TYPE d unknown\nd 2\n\
                            # HELP e_seconds Time.\n# TYPE e_seconds histogram\n# UNIT e_seconds seconds\n\
                            e_seconds_bucket{le=\"+Inf\"} 0\n# EOF\n";
        let text = "# HELP a_total Counts \\\"a\\\".\n# TYPE a_total counter\na_total{b=\"#\"} 1\n\
                    # HELP c_info Version.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n# TYPE d untyped\nd 2\n\
                    # HELP e_seconds Time.\n# TYPE e_seconds histogram\ne_seconds_bucket{le=\"+Inf\"} 0\n";
        assert_eq!(to_prometheus(open_metrics), text);
    }

    #[test]
    fn fuzz_accept() {
        let seeds =
            ["application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", "*/*"];
        let words =
            ["application/openmetrics-text", "text/plain", ";q=", "0.5", "1", ";version=", "1.0.0", "\"", ",", "*"];
        let outcomes = fuzz(&seeds, &words, |input| {
            let Ok(accept) = std::str::from_utf8(input) else { return "not UTF-8".to_owned() };
            let format = ExpositionFormat::from_accept(accept);
            if format == ExpositionFormat::OpenMetrics {
                assert!(accept.to_ascii_lowercase().contains("openmetrics-text"), "{accept:?}");
            }
            format!("{format:?}")
        });
        outcomes.assert_seen(&["OpenMetrics", "Prometheus"]);
    }
}
