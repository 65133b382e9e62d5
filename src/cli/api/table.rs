//! Tables for people: columns aligned, the heading bold on a terminal.

use std::io::IsTerminal;

/// Prints a table; of no rows, nothing.
pub(super) fn print(heads: &[&str], rows: &[Vec<String>]) {
    let is_bold = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    for (number, line) in lines(heads, rows).into_iter().enumerate() {
        match number == 0 && is_bold {
            true => println!("\x1b[1m{line}\x1b[0m"),
            false => println!("{line}"),
        }
    }
}

/// The lines of a table. Control characters in a value must not reach the terminal.
fn lines(heads: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let plain = |text: &str| -> String {
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    };
    let heads = heads.iter().map(|head| head.to_string()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heads)
        .chain(rows.iter().map(|row| row.iter().map(|text| plain(text)).collect()))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|text| text.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_reaches_the_terminal() {
        let rows = [vec!["a".into(), "1".into()], vec!["bbb".into(), "\x1b[2J".into()]];
        assert_eq!(lines(&["N", "VALUE"], &rows), ["N    VALUE", "a    1", "bbb  \u{fffd}[2J"]);
        assert_eq!(lines(&["N"], &[]), [""; 0]);
    }
}
