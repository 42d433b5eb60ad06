//! Lists on standard output: an aligned table, or with `--json` a JSON array of objects.

use serde::Serialize;

use crate::output::say;

#[derive(Clone, Copy)]
pub(crate) enum Align {
    Left,
    Right,
}

/// One row of a list. Its JSON members are stable.
pub(crate) trait Row: Serialize {
    const COLUMNS: &'static [(&'static str, Align)];

    /// One cell per column.
    fn cells(&self) -> Vec<String>;
}

/// Prints a table with a header, or a JSON array.
pub(crate) fn print<R: Row>(rows: &[R], as_json: bool) {
    if as_json {
        say!("{}", serde_json::to_string_pretty(rows).expect("a row has string keys"));
        return;
    }
    for line in table(rows) {
        say!("{line}");
    }
}

fn table<R: Row>(rows: &[R]) -> Vec<String> {
    let header = R::COLUMNS.iter().map(|(title, _)| (*title).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header)
        .chain(rows.iter().map(|row| row.cells().iter().map(|cell| printable(cell)).collect()))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..R::COLUMNS.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(R::COLUMNS).zip(&widths).map(|((cell, (_, align)), &width)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The text on one line, without control characters and changes of direction, which could manipulate the terminal.
pub(crate) fn printable(text: &str) -> String {
    let is_unsafe = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if is_unsafe(c) { ' ' } else { c }).collect()
}

/// `2026-02-28T12:00:00Z`.
pub(crate) fn time(timestamp: jiff::Timestamp) -> String {
    timestamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Fruit {
        count: u32,
        name: &'static str,
    }

    impl Row for Fruit {
        const COLUMNS: &'static [(&'static str, Align)] = &[("n", Align::Right), ("name", Align::Left)];

        fn cells(&self) -> Vec<String> {
            vec![self.count.to_string(), self.name.to_owned()]
        }
    }

    #[test]
    fn columns_are_aligned_under_their_titles() {
        assert_eq!(table::<Fruit>(&[]), ["n  name"]);
        let fruits = [Fruit { count: 5, name: "яблоко" }, Fruit { count: 120, name: "fig" }];
        assert_eq!(table(&fruits), ["  n  name", "  5  яблоко", "120  fig"]);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\nb\u{1b}[2Jc\u{202e}d\r👍"), "a b [2Jc d 👍");
    }
}
