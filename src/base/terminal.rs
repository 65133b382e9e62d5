//! Styles of text on a terminal.

use std::io::IsTerminal;

/// The sequence that clears a terminal, for output that is refreshed.
pub const CLEAR: &str = "\x1b[H\x1b[2J";

/// True for a stream with styles: a terminal, unless NO_COLOR is set.
pub fn is_styled(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A style, with its code among those of ECMA-48.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Heads, titles.
    Bold,
    /// Less important text.
    Faint,
    /// Failures, removals.
    Red,
    /// Successes, additions.
    Green,
    /// Warnings.
    Yellow,
    /// Sections, requests.
    Cyan,
    /// Errors of a file.
    BoldRed,
    /// Warnings of a file.
    BoldYellow,
    /// Margins.
    BoldBlue,
    /// Hints.
    BoldCyan,
}

impl Style {
    /// The text in this style, if styles are on. The text must have no control characters.
    pub fn paint(self, is_styled: bool, text: &str) -> String {
        let code = match self {
            Self::Bold => "1",
            Self::Faint => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Cyan => "36",
            Self::BoldRed => "1;31",
            Self::BoldYellow => "1;33",
            Self::BoldBlue => "1;34",
            Self::BoldCyan => "1;36",
        };
        if is_styled { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_style_only_where_styles_are_shown() {
        assert_eq!(Style::Red.paint(true, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Style::Red.paint(false, "x"), "x");
        assert!(!is_styled(&std::fs::File::open("/dev/null").unwrap()), "no terminal");
    }
}
