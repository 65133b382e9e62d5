//! The words of a value: separated by blanks, quoted or not, over several lines between parentheses.

use super::escape::{octets, printable};

/// A word, its escapes not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'t> {
    /// Without its quotes. Of `key="value"`, the whole.
    pub(super) text: &'t str,
    /// The whole of it stood between quotes.
    pub(super) is_quoted: bool,
}

impl Token<'_> {
    /// The octets of the word.
    pub(super) fn octets(&self) -> Result<Vec<u8>, String> {
        octets(self.text)
    }
}

/// The words of a value.
///
/// # Errors
/// A quote or a parenthesis is not closed, or stands where it has no meaning.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let (mut at, mut is_open) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' => at += 1,
            b'\r' | b'\n' if is_open => at += 1,
            b'\r' | b'\n' => {
                return Err("a value may continue on the next line only in parentheses".into());
            }
            b'(' if !is_open => (is_open, at) = (true, at + 1),
            b')' if is_open => (is_open, at) = (false, at + 1),
            b'(' | b')' => {
                return Err(format!("an unmatched `{}`; \\{0} is the character", char::from(byte)));
            }
            b';' => at += bytes[at..].iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len() - at),
            b'"' => {
                let end = closing(bytes, at + 1)?;
                tokens.push(Token { text: &text[at + 1..end], is_quoted: true });
                at = end + 1;
            }
            _ => {
                let end = word(text, at)?;
                tokens.push(Token { text: &text[at..end], is_quoted: false });
                at = end;
            }
        }
    }
    match is_open {
        true => Err("an opening parenthesis without the closing one".into()),
        false => Ok(tokens),
    }
}

/// The place of the quote that ends a quoted string.
fn closing(bytes: &[u8], mut at: usize) -> Result<usize, String> {
    loop {
        match bytes.get(at) {
            None => return Err("a quoted string without its closing quote".into()),
            Some(b'"') => return Ok(at),
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

/// The end of the word that begins at `at`.
fn word(text: &str, mut at: usize) -> Result<usize, String> {
    let (bytes, start) = (text.as_bytes(), at);
    loop {
        match bytes.get(at) {
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')') => return Ok(at.min(bytes.len())),
            Some(b'\\') => at += 2,
            Some(b'"') if at > start && bytes[at - 1] == b'=' => {
                at = closing(bytes, at + 1)? + 1;
                if !matches!(bytes.get(at), None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')')) {
                    return Err("text right behind a closing quote".into());
                }
                return Ok(at);
            }
            Some(&byte @ (b'"' | b';')) => {
                return Err(format!(
                    "`{}` has a `{}` in it; put the string between quotes, or write \\{1}",
                    printable(&text[start..at]),
                    char::from(byte)
                ));
            }
            Some(_) => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_separated_by_blanks_outside_quotes() {
        let read = |text| -> Vec<(&str, bool)> {
            tokens(text).unwrap().iter().map(|token| (token.text, token.is_quoted)).collect()
        };
        assert_eq!(read(" a  b\\ c\t\\\"d "), [("a", false), ("b\\ c", false), ("\\\"d", false)]);
        assert_eq!(read("\"a b\" \"\\\"\"\"c\""), [("a b", true), ("\\\"", true), ("c", true)]);
        assert_eq!(
            read("1 . ( a=\"b c\" ; note (\n d\n)"),
            [("1", false), (".", false), ("a=\"b c\"", false), ("d", false)]
        );
        assert_eq!(read("a ; the rest"), [("a", false)]);
        assert_eq!(read(""), []);
        for bad in ["\"a", "\"a\\", "a\"b", "a;b", "( a", "a )", "( ( a ) )", "a\nb", "k=\"v\"x", "k=\"v"] {
            assert!(tokens(bad).is_err(), "{bad:?}");
        }
        assert_eq!(read("a\\"), [("a\\", false)]);
    }
}
