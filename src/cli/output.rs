//! What commands print.

use std::io::{self, Write as _};

use serde_json::Value;

use super::CliError;

/// Between two columns.
const GAP: &str = "  ";

/// Writes to stdout.
pub fn say(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            CliError::ReaderGone
        } else {
            CliError::Told(format!("cannot write to stdout: {error}; check where it goes"))
        }
    })
}

/// Writes a line to stderr, for the person who watches.
pub(super) fn note(text: &str) {
    // Nothing is left to do where even stderr is gone.
    let _ = writeln!(io::stderr(), "tidegate: {text}");
}

/// Prints one JSON document.
pub(super) fn say_json(value: &Value) -> Result<(), CliError> {
    say(&format!("{value:#}\n"))
}

/// Rows below their titles, each column as wide as it needs to be. No rows is a line that says `none`.
pub(super) fn table(titles: &[&str], rows: &[Vec<String>], none: &str) -> String {
    if rows.is_empty() {
        return format!("{none}\n");
    }
    let mut lines: Vec<Vec<String>> = vec![titles.iter().map(|title| (*title).to_owned()).collect()];
    lines.extend(rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()));
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join(GAP).trim_end());
        text.push('\n');
    }
    text
}

/// A text of somebody else without what a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// A field of an answer as a cell: `-` where it is absent or null.
pub(super) fn cell(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The items of a list in an answer.
pub(super) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["早会".to_owned(), "2\u{1b}[2J".to_owned()]];
        assert_eq!(table(&["ROOM", "N"], &rows, "none"), "ROOM  N\na     1\n早会    2\u{fffd}[2J\n");
        assert_eq!(table(&["ROOM"], &[], "no rooms"), "no rooms\n");
    }

    #[test]
    fn what_is_not_there_is_a_dash() {
        let value = json!({ "a": null, "b": "", "c": 3, "d": "x", "e": [1] });
        let cells = ["/a", "/b", "/c", "/d", "/f"].map(|pointer| cell(&value, pointer));
        assert_eq!(cells, ["-", "-", "3", "x", "-"]);
        assert_eq!((items(&value, "/e").len(), items(&value, "/c").len()), (1, 0));
    }
}
