//! Tables and lists of fields on standard output. Whatever a cell holds does nothing on a terminal.

use crate::base::terminal::{self, Style};
use crate::engine::text::printable;
use std::io;

/// Prints a table, its head bold on a terminal; of no rows, nothing.
pub(super) fn print(head: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let text = text(head, rows);
    let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
    print!("{}\n{rest}", Style::Bold.paint(terminal::is_styled(&io::stdout()), head));
}

/// Rows under a head, in columns as wide as they must be. Numbers in a column do not need to line up to be read.
pub(super) fn text(head: &[&str], rows: &[Vec<String>]) -> String {
    let head = head.iter().map(ToString::to_string).collect();
    let rows: Vec<Vec<String>> = std::iter::once(&head)
        .chain(rows)
        .map(|row| row.iter().map(|cell| printable(cell).into_owned()).collect())
        .collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let padded = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        out += padded.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    out
}

/// Prints fields below a title: labels, and values in a column. Labels are ours.
pub(super) fn print_fields(fields: &[(&str, String)]) {
    let width = fields.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    for (label, value) in fields {
        println!("  {label:<width$}  {}", printable(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_acts_on_the_terminal() {
        let rows = [vec!["a".into(), "1".into()], vec!["bbb".into(), "\x1b[2J\u{202e}\n".into()]];
        let expected = "N    VALUE\na    1\nbbb  \\027[2J\\226\\128\\174\\010\n";
        assert_eq!(text(&["N", "VALUE"], &rows), expected);
    }
}
